//! Records copied end to end into a few vectors.

use mlops_core::data::Value;
use mlops_core::record::InferenceRecord;
use mlops_core::{RequestId, Timestamp};

/// Records in the order in which they came. Memory is kept when it is cleared.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    rows: Vec<Row>,
    cells: Vec<Cell>,
    outputs: Vec<f64>,
    text: String,
    /// Model and arm names: few, and the same in row after row.
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: RequestId,
    time: Timestamp,
    model: usize,
    version: u64,
    arm: usize,
    propensity: f64,
    latency_us: f64,
    features: usize,
    candidates: usize,
    outputs: usize,
    in_sample: bool,
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Missing,
    Float(f64),
    Integer(i64),
    Boolean(bool),
    /// The length of the next piece of `text`.
    Text(usize),
}

impl Buffer {
    /// Takes in a record unless the buffer would hold more than so many bytes then.
    pub(crate) fn push(&mut self, record: &InferenceRecord<'_>, in_sample: bool, bytes_max: usize) -> bool {
        let cells = record.features.len() + record.candidates.len();
        let fixed = size_of::<Row>() + cells * size_of::<Cell>() + size_of_val(record.outputs);
        let Some(mut room) = bytes_max.checked_sub(self.bytes() + fixed) else { return false };
        let (cells, texts) = (self.cells.len(), self.text.len());
        let mut fits = true;
        let Self { cells: all, text, .. } = self;
        let mut put = |piece: &str| {
            fits &= piece.len() <= room;
            if fits {
                room -= piece.len();
                text.push_str(piece);
            }
            Cell::Text(piece.len())
        };
        all.extend(record.features.iter().map(|value| match *value {
            Value::Float(value) => Cell::Float(value),
            Value::Integer(value) => Cell::Integer(value),
            Value::Boolean(value) => Cell::Boolean(value),
            Value::Text(value) => put(value),
            _ => Cell::Missing,
        }));
        all.extend(record.candidates.iter().map(|candidate| put(candidate)));
        if !fits {
            self.cells.truncate(cells);
            self.text.truncate(texts);
            return false;
        }
        self.outputs.extend_from_slice(record.outputs);
        let row = Row {
            id: record.id,
            time: record.time,
            model: self.intern(record.model),
            version: record.version,
            arm: self.intern(record.arm),
            propensity: record.propensity,
            latency_us: record.latency_us,
            features: record.features.len(),
            candidates: record.candidates.len(),
            outputs: record.outputs.len(),
            in_sample,
        };
        self.rows.push(row);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes that the records take, names aside.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>()
            + self.cells.len() * size_of::<Cell>()
            + self.outputs.len() * size_of::<f64>()
            + self.text.len()
    }

    /// Calls `each` with every record and whether its request is in the sample, then forgets them.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&InferenceRecord<'_>, bool)) {
        let (mut cells, mut outputs, mut text) =
            (self.cells.as_slice(), self.outputs.as_slice(), self.text.as_str());
        let (mut features, mut candidates): (Vec<Value<'_>>, Vec<&str>) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let mut value = |cell: &Cell| match *cell {
                Cell::Missing => Value::Missing,
                Cell::Float(value) => Value::Float(value),
                Cell::Integer(value) => Value::Integer(value),
                Cell::Boolean(value) => Value::Boolean(value),
                Cell::Text(length) => {
                    let (head, tail) = text.split_at(length);
                    text = tail;
                    Value::Text(head)
                }
            };
            features.clear();
            features.extend(cells[..row.features].iter().map(&mut value));
            let named = &cells[row.features..row.features + row.candidates];
            candidates.clear();
            candidates.extend(named.iter().map(&mut value).filter_map(|value| match value {
                Value::Text(candidate) => Some(candidate),
                _ => None,
            }));
            let record = InferenceRecord {
                id: row.id,
                time: row.time,
                model: &self.names[row.model],
                version: row.version,
                arm: &self.names[row.arm],
                propensity: row.propensity,
                latency_us: row.latency_us,
                candidates: &candidates,
                features: &features,
                outputs: &outputs[..row.outputs],
            };
            each(&record, row.in_sample);
            cells = &cells[row.features + row.candidates..];
            outputs = &outputs[row.outputs..];
        }
        self.rows.clear();
        self.cells.clear();
        self.outputs.clear();
        self.text.clear();
        self.names.clear();
    }

    fn intern(&mut self, name: &str) -> usize {
        match self.names.iter().position(|known| known == name) {
            Some(place) => place,
            None => {
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        }
    }
}
