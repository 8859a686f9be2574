//! Records copied end to end into a few vectors.

use mlops_core::data::Value;
use mlops_core::record::InferenceRecord;
use mlops_core::{RequestId, Timestamp};

use super::room::Room;

/// Records in the order in which they came. Memory is kept when it is cleared.
///
/// No two share a cache line, nor the pair of them that is fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Buffer {
    rows: Vec<Row>,
    /// The bits of the cells; of a text, its length.
    cells: Vec<u64>,
    /// What the cells of a row are, unless all are floats.
    kinds: Vec<Kind>,
    /// The lengths of the candidates' names.
    candidates: Vec<usize>,
    outputs: Vec<f64>,
    /// The texts of a row's cells, then the names of its candidates, row after row.
    text: String,
    /// Few, and the same in row after row.
    origins: Vec<Origin>,
    /// The bytes that it has taken of the common room.
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: RequestId,
    time: Timestamp,
    propensity: f64,
    fallback: bool,
    decision: Option<bool>,
    latency_us: f64,
    origin: usize,
    cells: usize,
    candidates: usize,
    outputs: usize,
    is_all_floats: bool,
    in_sample: bool,
}

/// Who answered.
#[derive(Debug)]
struct Origin {
    model: String,
    version: u64,
    arm: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Missing,
    Float,
    Integer,
    Boolean,
    Text,
}

impl Buffer {
    /// What a record of so many features and outputs takes: more with texts or candidates.
    pub(crate) fn record_bytes(features: usize, outputs: usize) -> usize {
        size_of::<Row>() + (features + outputs) * size_of::<u64>()
    }

    /// Takes in a record, if there is room for it.
    #[inline]
    pub(crate) fn push(&mut self, record: &InferenceRecord<'_>, in_sample: bool, room: &Room) -> bool {
        let cell_bytes = record.features.len() * size_of::<u64>();
        let names = record.candidates.iter().map(|name| name.len() + size_of::<usize>()).sum::<usize>();
        let other_bytes = Self::record_bytes(0, record.outputs.len()) + names;
        if !self.fits(cell_bytes + other_bytes, room) {
            return false;
        }
        let before = self.cells.len();
        let mut is_all_floats = true;
        // Without a branch: a request waits for this.
        self.cells.extend(record.features.iter().map(|value| match *value {
            Value::Float(value) => value.to_bits(),
            _ => {
                is_all_floats = false;
                0
            }
        }));
        if !is_all_floats && !self.fits(other_bytes + mixed_bytes(record.features), room) {
            self.cells.truncate(before);
            return false;
        }
        if !is_all_floats {
            self.cells.truncate(before);
            self.push_mixed(record.features);
        }
        for name in record.candidates {
            self.candidates.push(name.len());
            self.text.push_str(name);
        }
        self.outputs.extend_from_slice(record.outputs);
        let row = Row {
            id: record.id,
            time: record.time,
            propensity: record.propensity,
            fallback: record.fallback,
            decision: record.decision,
            latency_us: record.latency_us,
            origin: self.origin(record),
            cells: record.features.len(),
            candidates: record.candidates.len(),
            outputs: record.outputs.len(),
            is_all_floats,
            in_sample,
        };
        self.rows.push(row);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Gives back what it took of the room; for a buffer whose records wait no more.
    pub(crate) fn give_back(&mut self, room: &Room) {
        room.give(std::mem::take(&mut self.taken));
    }

    /// Bytes of memory that it holds, used or not.
    pub(crate) fn memory_usage(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.cells.capacity() * size_of::<u64>()
            + self.kinds.capacity() * size_of::<Kind>()
            + self.candidates.capacity() * size_of::<usize>()
            + self.outputs.capacity() * size_of::<f64>()
            + self.text.capacity()
    }

    /// Lets go of its memory if that is more than so many bytes. It must be empty.
    pub(crate) fn shrink(&mut self, bytes_max: usize) {
        if self.memory_usage() > bytes_max {
            *self = Self::default();
        }
    }

    /// Calls `each` with every record and whether its request is in the sample, then forgets them.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&InferenceRecord<'_>, bool)) {
        let mut rest = Rest {
            cells: &self.cells,
            kinds: &self.kinds,
            candidates: &self.candidates,
            outputs: &self.outputs,
            text: &self.text,
        };
        let (mut features, mut candidates) = (Vec::new(), Vec::new());
        for row in &self.rows {
            rest.features(row, &mut features);
            candidates.clear();
            candidates.extend(
                split_off(&mut rest.candidates, row.candidates).iter().map(|length| rest.text(*length)),
            );
            let origin = &self.origins[row.origin];
            let record = InferenceRecord {
                id: row.id,
                time: row.time,
                model: &origin.model,
                version: origin.version,
                arm: &origin.arm,
                propensity: row.propensity,
                fallback: row.fallback,
                decision: row.decision,
                latency_us: row.latency_us,
                candidates: &candidates,
                features: &features,
                outputs: split_off(&mut rest.outputs, row.outputs),
            };
            each(&record, row.in_sample);
        }
        self.rows.clear();
        self.cells.clear();
        self.kinds.clear();
        self.candidates.clear();
        self.outputs.clear();
        self.text.clear();
        self.origins.clear();
    }

    /// Whether so many bytes more fit into what was taken of the room, or more could be taken.
    #[inline]
    fn fits(&mut self, more: usize, room: &Room) -> bool {
        let want = self.bytes() + more;
        if want > self.taken {
            self.taken += room.take(want - self.taken);
        }
        want <= self.taken
    }

    /// Bytes that the records take, but for who answered them.
    fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>()
            + self.cells.len() * size_of::<u64>()
            + self.kinds.len() * size_of::<Kind>()
            + self.candidates.len() * size_of::<usize>()
            + self.outputs.len() * size_of::<f64>()
            + self.text.len()
    }

    fn push_mixed(&mut self, features: &[Value<'_>]) {
        for value in features {
            let (kind, bits) = match *value {
                Value::Float(value) => (Kind::Float, value.to_bits()),
                Value::Integer(value) => (Kind::Integer, value.cast_unsigned()),
                Value::Boolean(value) => (Kind::Boolean, value.into()),
                Value::Text(text) => {
                    self.text.push_str(text);
                    (Kind::Text, text.len() as u64)
                }
                _ => (Kind::Missing, 0),
            };
            self.kinds.push(kind);
            self.cells.push(bits);
        }
    }

    #[inline]
    fn origin(&mut self, record: &InferenceRecord<'_>) -> usize {
        let is_it = |origin: &Origin| {
            origin.version == record.version && origin.arm == record.arm && origin.model == record.model
        };
        self.origins.iter().position(is_it).unwrap_or_else(|| {
            self.origins.push(Origin {
                model: record.model.to_owned(),
                version: record.version,
                arm: record.arm.to_owned(),
            });
            self.origins.len() - 1
        })
    }
}

/// What the rows to come are made of.
struct Rest<'a> {
    cells: &'a [u64],
    kinds: &'a [Kind],
    candidates: &'a [usize],
    outputs: &'a [f64],
    text: &'a str,
}

impl<'a> Rest<'a> {
    fn features(&mut self, row: &Row, features: &mut Vec<Value<'a>>) {
        features.clear();
        let cells = split_off(&mut self.cells, row.cells);
        if row.is_all_floats {
            features.extend(cells.iter().map(|bits| Value::Float(f64::from_bits(*bits))));
            return;
        }
        let kinds = split_off(&mut self.kinds, row.cells);
        features.extend(kinds.iter().zip(cells).map(|(kind, bits)| match kind {
            Kind::Missing => Value::Missing,
            Kind::Float => Value::Float(f64::from_bits(*bits)),
            Kind::Integer => Value::Integer(bits.cast_signed()),
            Kind::Boolean => Value::Boolean(*bits != 0),
            Kind::Text => Value::Text(self.text(*bits as usize)),
        }));
    }

    fn text(&mut self, length: usize) -> &'a str {
        let (head, tail) = self.text.split_at(length);
        self.text = tail;
        head
    }
}

/// Takes so many elements off the front.
fn split_off<'a, T>(rest: &mut &'a [T], count: usize) -> &'a [T] {
    let (head, tail) = rest.split_at(count);
    *rest = tail;
    head
}

/// What cells take beside their bits, if not all are floats.
#[cold]
fn mixed_bytes(features: &[Value<'_>]) -> usize {
    let text = |value: &Value<'_>| if let Value::Text(text) = value { text.len() } else { 0 };
    features.iter().map(|value| size_of::<Kind>() + text(value)).sum()
}
