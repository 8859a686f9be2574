//! From many request threads to one writer, without a wait.

use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use mlops_core::record::{InferenceLog, InferenceRecord, RecordSchema};
use mlops_core::{Error, RequestId, Result};

use super::buffer::Buffer;
use super::buffers::Buffers;
use super::privacy::Privacy;
use super::settings::{CaptureRule, CaptureSettings};
use super::tally::{CaptureCounts, Tally};
use crate::split::mix;

/// A bounded buffer of records between the request path and whoever reads them.
///
/// [`offer`](Self::offer) never waits: each thread writes to its own of a few buffers, and goes to the next
/// if that one is in use. Records of different threads come out in any order.
#[derive(Debug)]
pub struct Capture {
    schema: RecordSchema,
    privacy: Privacy,
    always: Vec<CaptureRule>,
    sample_below: u64,
    buffers: Buffers,
    log: Mutex<Draining>,
    tally: Tally,
    last_rejection: Mutex<Option<String>>,
    /// The features and outputs of a record, before any is dropped for privacy.
    widths: (usize, usize),
}

#[derive(Debug)]
struct Draining {
    log: InferenceLog,
    spare: Buffer,
}

impl Capture {
    /// An empty buffer for records of this schema.
    ///
    /// # Errors
    /// `Invalid` if the sample is not within [0, 1], no record fits into the most bytes, or a redaction names no feature
    /// or does not fit its kind.
    pub fn new(schema: RecordSchema, settings: CaptureSettings) -> Result<Self> {
        let CaptureSettings { sample, bytes_max, always, privacy, candidates } = settings;
        if !(0.0..=1.0).contains(&sample) {
            return Err(Error::invalid(format!("the captured share is {sample}: want 0 to 1")));
        }
        let widths = (schema.features().len(), schema.outputs().len());
        let record_bytes = Buffer::record_bytes(widths.0, widths.1);
        if bytes_max < record_bytes {
            return Err(Error::invalid(format!(
                "bytes_max is {bytes_max}: one record of {} features and {} outputs takes {record_bytes} bytes at least",
                widths.0, widths.1
            )));
        }
        let (privacy, schema) = Privacy::new(schema, privacy, candidates)?;
        Ok(Self {
            privacy,
            always,
            log: Mutex::new(Draining { log: InferenceLog::new(schema.clone()), spare: Buffer::default() }),
            schema,
            // 1.0 saturates to u64::MAX, which no 63-bit hash reaches.
            sample_below: (sample * (1_u64 << 63) as f64) as u64,
            buffers: Buffers::new(bytes_max),
            tally: Tally::default(),
            last_rejection: Mutex::default(),
            widths,
        })
    }

    /// The columns of the records that come out: without those that are dropped for privacy.
    pub fn schema(&self) -> &RecordSchema {
        &self.schema
    }

    /// Takes in a record, skips it, or drops and counts it. Never waits, never fails the caller.
    #[inline]
    pub fn offer(&self, record: &InferenceRecord<'_>) {
        self.offer_if(self.is_in_sample(record.id), record);
    }

    /// Whether all records of this request are in the sample, or none.
    #[inline]
    pub(crate) fn is_in_sample(&self, request: RequestId) -> bool {
        let bits = request.as_u128();
        mix(bits as u64 ^ (bits >> 64) as u64) >> 1 < self.sample_below
    }

    /// Whether so many records of a request that is not in the sample can be skipped unseen; counts them then.
    #[inline]
    pub(crate) fn skips(&self, in_sample: bool, records: usize) -> bool {
        let skips = !in_sample && self.always.is_empty();
        if skips {
            self.tally.skipped(records);
        }
        skips
    }

    /// As [`offer`](Self::offer), for one of the records of a request.
    #[inline]
    pub(crate) fn offer_if(&self, in_sample: bool, record: &InferenceRecord<'_>) {
        if in_sample || self.always.iter().any(|rule| rule.matches(record)) {
            self.keep(record);
        } else {
            self.tally.skipped(1);
        }
    }

    fn keep(&self, record: &InferenceRecord<'_>) {
        let (features, outputs) = self.widths;
        if record.features.len() != features || record.outputs.len() != outputs {
            self.tally.misfit();
            return self.reject_misfit(record);
        }
        self.tally.pushed();
        if !self.buffers.push(record, true) {
            self.tally.dropped();
        }
    }

    /// Takes out all records that wait, as one batch; `None` if there are none. Not for the request path.
    ///
    /// # Errors
    /// `Internal` if Arrow refuses the columns, which the checks on the way rule out.
    pub fn drain(&self) -> Result<Option<RecordBatch>> {
        let mut draining = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Draining { log, spare } = &mut *draining;
        let mut rejected = 0;
        self.buffers.drain(spare, |record, _| {
            if let Err(error) = self.privacy.apply(record, |record| log.push(record)) {
                rejected += 1;
                self.reject(&error);
            }
        });
        let rows = log.len() as u64;
        let batch = if rows == 0 { Ok(None) } else { log.finish().map(Some) };
        match &batch {
            Ok(_) => self.tally.settled(rows, rejected),
            Err(_) => self.tally.settled(0, rejected + rows),
        }
        batch
    }

    /// What became of the records so far.
    pub fn counts(&self) -> CaptureCounts {
        self.tally.read().0
    }

    /// As [`counts`](Self::counts), and how many of the captured ones came out in batches.
    #[cfg(feature = "telemetry")]
    pub(crate) fn counts_and_drained(&self) -> (CaptureCounts, u64) {
        self.tally.read()
    }

    /// Why a record was rejected last, if one was: its cells do not fit the schema.
    pub fn last_rejection(&self) -> Option<String> {
        self.last_rejection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the reason, unless another thread does so now.
    fn reject(&self, error: &Error) {
        if let Ok(mut last) = self.last_rejection.try_lock() {
            *last = Some(format!("{error:#}"));
        }
    }

    #[cold]
    fn reject_misfit(&self, record: &InferenceRecord<'_>) {
        let (features, outputs) = self.widths;
        self.reject(&Error::invalid(format!(
            "record {} has {} features and {} outputs, its schema has {features} and {outputs}",
            record.id,
            record.features.len(),
            record.outputs.len()
        )));
    }

    /// The number of records that wait.
    pub fn waiting(&self) -> usize {
        self.buffers.len()
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::Timestamp;
    use mlops_core::data::{Column, ColumnKind, TableSchema, Value};

    use super::*;

    fn schema() -> RecordSchema {
        let table =
            TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("visitor", ColumnKind::Text)]);
        RecordSchema::new(&table.unwrap(), ["score"]).unwrap()
    }

    fn offer(capture: &Capture, id: u64, features: &[Value<'_>]) {
        capture.offer(&InferenceRecord {
            id: RequestId::from_key(id.to_le_bytes()),
            time: Timestamp::from_micros(id as i64),
            model: "shop",
            version: 1,
            arm: if id.is_multiple_of(3) { "challenger" } else { "champion" },
            propensity: 0.5,
            fallback: false,
            decision: None,
            latency_us: 1.0,
            candidates: &["a", "", "bc"][..(id % 4) as usize],
            features,
            outputs: &[id as f64],
        });
    }

    /// What came out is what a log without the buffer would hold.
    #[test]
    fn records_come_out_as_they_went_in() {
        let capture = Capture::new(schema(), CaptureSettings::default()).unwrap();
        let mut direct = InferenceLog::new(schema());
        for id in 0..50_u64 {
            let text = id.to_string();
            let features = [
                Value::Float(id as f64),
                if id.is_multiple_of(5) { Value::Missing } else { Value::Text(&text) },
            ];
            offer(&capture, id, &features);
            let mut buffer = Buffer::default();
            let probe = Capture::new(schema(), CaptureSettings::default()).unwrap();
            offer(&probe, id, &features);
            probe.buffers.drain(&mut buffer, |record, _| direct.push(record).unwrap());
        }
        let batch = capture.drain().unwrap().unwrap();
        assert_eq!(batch, direct.finish().unwrap());
        assert_eq!(batch.num_rows(), 50);
        assert!(capture.drain().unwrap().is_none());
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let capture = Capture::new(schema(), CaptureSettings::default().bytes_max(8 * 1000)).unwrap();
        let row = [Value::Float(0.0), Value::Text("new")];
        (0..1000).for_each(|id| offer(&capture, id, &row));
        offer(&capture, 0, &[Value::Text(&"x".repeat(9000)), Value::Missing]);
        let counts = capture.counts();
        assert_eq!(counts.captured as usize, capture.waiting());
        assert_eq!(counts.captured + counts.dropped, 1001);
        assert!(counts.captured > 0 && counts.dropped > 0);

        capture.drain().unwrap();
        offer(&capture, 1, &[Value::Text("not a float"), Value::Missing]);
        offer(&capture, 2, &[]);
        assert_eq!(capture.counts().rejected, 1, "a wrong number of cells is seen at once");
        let why = capture.last_rejection().unwrap();
        assert!(why.ends_with("has 0 features and 1 outputs, its schema has 2 and 1"), "{why}");
        assert!(capture.drain().unwrap().is_none());
        assert!(capture.last_rejection().unwrap().contains("for feature `x`"));
        assert_eq!(capture.counts().rejected, 2);
        assert_eq!(capture.counts().captured, counts.captured);
    }

    #[test]
    fn the_sample_is_of_the_size_asked_for_and_the_same_everywhere() {
        let row = [Value::Float(0.0), Value::Missing];
        let ids = |sample: f64| {
            let capture = Capture::new(schema(), CaptureSettings::default().sample(sample)).unwrap();
            (0..10_000).for_each(|id| offer(&capture, id, &row));
            let counts = capture.counts();
            assert_eq!(counts.captured + counts.skipped, 10_000);
            capture.drain().unwrap()
        };
        assert!(ids(0.0).is_none());
        assert_eq!(ids(1.0).unwrap().num_rows(), 10_000);
        let tenth = ids(0.1).unwrap();
        assert!(tenth.num_rows().abs_diff(1000) < 150, "{}", tenth.num_rows());
        assert_eq!(tenth, ids(0.1).unwrap());
        assert!(Capture::new(schema(), CaptureSettings::default().sample(f64::NAN)).is_err());
    }

    #[test]
    fn rules_bring_in_what_the_sample_leaves_out() {
        let row = [Value::Float(0.0), Value::Missing];
        let captured = |rule: CaptureRule| {
            let settings = CaptureSettings::default().sample(0.0).always(rule);
            let capture = Capture::new(schema(), settings).unwrap();
            (0..30).for_each(|id| offer(&capture, id, &row));
            capture.counts().captured
        };
        assert_eq!(captured(CaptureRule::Arm("challenger".into())), 10);
        assert_eq!(captured(CaptureRule::SlowerThanUs(0.5)), 30);
        assert_eq!(captured(CaptureRule::SlowerThanUs(1.0)), 0);
        assert_eq!(captured(CaptureRule::OutputBetween(3.0, 5.0)), 3);
    }

    #[test]
    fn many_threads_lose_nothing_that_is_not_counted() {
        let capture = Capture::new(schema(), CaptureSettings::default().bytes_max(1 << 20)).unwrap();
        let mut rows = 0;
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|thread| {
                    let capture = &capture;
                    scope.spawn(move || {
                        (0..2500).for_each(|id| {
                            offer(capture, thread * 2500 + id, &[Value::Float(0.0), Value::Missing]);
                        });
                    })
                })
                .collect();
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                rows += capture.drain().unwrap().map_or(0, |batch| batch.num_rows());
            }
        });
        rows += capture.drain().unwrap().map_or(0, |batch| batch.num_rows());
        let counts = capture.counts();
        assert_eq!(counts.captured as usize, rows);
        assert_eq!(counts.captured + counts.dropped, 10_000);
    }
}
