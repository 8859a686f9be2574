//! The thread that carries captured records to a sink.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_array::RecordBatch;
use mlops_core::{Error, Result};

use super::{Capture, RecordSink};
use crate::endpoint::isolate;

/// A background thread that drains a [`Capture`] into a [`RecordSink`].
///
/// A batch that the sink cannot take for now (`Unavailable`) is offered again every time; meanwhile the
/// buffers of the capture fill and then drop, counted. Dropping the writer carries over what waits, flushes
/// the sink and ends the thread.
#[derive(Debug)]
pub struct CaptureWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    rows_written: AtomicU64,
    rows_lost: AtomicU64,
    error: Mutex<Option<Error>>,
}

impl CaptureWriter {
    /// Starts a thread that drains every `interval`.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no thread.
    pub fn spawn(capture: Arc<Capture>, sink: impl RecordSink, interval: Duration) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Worker { capture, sink: Box::new(sink), shared: Arc::clone(&shared), pending: None };
        let thread = std::thread::Builder::new()
            .name("mlops-capture".into())
            .spawn(move || worker.run(interval))
            .map_err(|error| Error::unavailable("no thread for the capture writer").with_source(error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The number of records that the sink took.
    pub fn rows_written(&self) -> u64 {
        self.shared.rows_written.load(Ordering::Relaxed)
    }

    /// The number of records that the sink refused for good, panicked on, or had not taken when the writer
    /// ended.
    pub fn rows_lost(&self) -> u64 {
        self.shared.rows_lost.load(Ordering::Relaxed)
    }

    /// Takes out the last error of the sink, if there was one since the last call.
    pub fn take_error(&self) -> Option<Error> {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Carries over what waits, flushes the sink and ends the thread.
    ///
    /// # Errors
    /// The last error of the sink, if nobody took it before.
    pub fn close(mut self) -> Result<()> {
        self.stop();
        self.take_error().map_or(Ok(()), Err)
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                self.shared.fail(Error::internal("the capture writer panicked"));
            }
        }
    }
}

impl Drop for CaptureWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn fail(&self, error: Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

struct Worker {
    capture: Arc<Capture>,
    sink: Box<dyn RecordSink>,
    shared: Arc<Shared>,
    /// A batch that the sink could not take yet.
    pending: Option<RecordBatch>,
}

impl Worker {
    fn run(mut self, interval: Duration) {
        loop {
            // Read before draining, so that what was offered before the stop is carried over.
            let last = self.shared.stop.load(Ordering::Acquire);
            self.carry();
            self.call(RecordSink::tick);
            if last {
                break;
            }
            std::thread::park_timeout(interval);
        }
        // What the first pass found behind a pending batch.
        self.carry();
        self.call(RecordSink::flush);
        if let Some(batch) = self.pending {
            self.shared.rows_lost.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
        self.shared.rows_lost.fetch_add(self.capture.waiting() as u64, Ordering::Relaxed);
    }

    /// Keeps the error of a call. A panic costs what the sink had in its hands, not the thread.
    fn call(&mut self, call: impl FnOnce(&mut (dyn RecordSink + 'static)) -> Result<()>) {
        if let Err(error) = isolate("the capture sink", || call(&mut *self.sink)) {
            self.shared.fail(error);
        }
    }

    fn carry(&mut self) {
        let batch = match self.pending.take().map_or_else(|| self.capture.drain(), |batch| Ok(Some(batch))) {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(error) => return self.shared.fail(error),
        };
        let rows = batch.num_rows() as u64;
        match isolate("the capture sink", || self.sink.write(&batch)) {
            Ok(()) => {
                self.shared.rows_written.fetch_add(rows, Ordering::Relaxed);
            }
            Err(error) => {
                if error.is_retryable() {
                    self.pending = Some(batch);
                } else {
                    self.shared.rows_lost.fetch_add(rows, Ordering::Relaxed);
                }
                self.shared.fail(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
    use mlops_core::record::{InferenceRecord, RecordSchema};
    use mlops_core::{RequestId, Timestamp};

    use super::*;
    use crate::capture::{BatchSink, CaptureSettings};

    fn capture() -> Arc<Capture> {
        let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
        let schema = RecordSchema::new(&table, ["score"]).unwrap();
        Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap())
    }

    fn offer(capture: &Capture, rows: u64) {
        for row in 0..rows {
            capture.offer(&InferenceRecord {
                id: RequestId::from_u128(row.into()),
                time: Timestamp::EPOCH,
                model: "shop",
                version: 1,
                arm: "champion",
                propensity: 1.0,
                fallback: false,
                decision: None,
                latency_us: 1.0,
                candidates: &[],
                features: &[Value::Float(1.0)],
                outputs: &[0.5],
            });
        }
    }

    #[derive(Debug)]
    struct Faulty {
        inner: BatchSink,
        faults: Vec<Error>,
    }

    impl RecordSink for Faulty {
        fn write(&mut self, batch: &RecordBatch) -> Result<()> {
            self.faults.pop().map_or_else(|| self.inner.write(batch), Err)
        }

        fn flush(&mut self) -> Result<()> {
            self.inner.flush()
        }
    }

    fn rows(sink: &BatchSink) -> usize {
        sink.take().iter().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn closing_carries_over_what_waits() {
        let (capture, sink) = (capture(), BatchSink::default());
        let writer =
            CaptureWriter::spawn(Arc::clone(&capture), sink.clone(), Duration::from_secs(3600)).unwrap();
        offer(&capture, 100);
        writer.close().unwrap();
        assert_eq!(rows(&sink), 100);
    }

    #[test]
    fn a_sink_that_recovers_gets_everything_and_one_that_refuses_is_counted() {
        for (fault, lost) in [(Error::unavailable("disk is full"), 0), (Error::data("not for me"), 10)] {
            let (capture, sink) = (capture(), BatchSink::default());
            offer(&capture, 10);
            let faulty = Faulty { inner: sink.clone(), faults: vec![fault] };
            let writer =
                CaptureWriter::spawn(Arc::clone(&capture), faulty, Duration::from_micros(100)).unwrap();
            while writer.rows_lost() + writer.rows_written() < 10 {
                std::thread::yield_now();
            }
            offer(&capture, 5);
            assert!(writer.take_error().is_some());
            writer.close().unwrap();
            assert_eq!(rows(&sink), 15 - lost);
        }
    }

    #[test]
    fn a_sink_that_panics_is_reported_and_goes_on() {
        #[derive(Debug)]
        struct Panics(bool);
        impl RecordSink for Panics {
            fn write(&mut self, _: &RecordBatch) -> Result<()> {
                assert!(!std::mem::take(&mut self.0), "sink");
                Ok(())
            }

            fn flush(&mut self) -> Result<()> {
                Ok(())
            }
        }
        let capture = capture();
        offer(&capture, 10);
        let writer =
            CaptureWriter::spawn(Arc::clone(&capture), Panics(true), Duration::from_micros(100)).unwrap();
        while writer.rows_lost() == 0 {
            std::thread::yield_now();
        }
        offer(&capture, 7);
        while writer.rows_written() == 0 {
            std::thread::yield_now();
        }
        assert_eq!((writer.rows_lost(), writer.rows_written(), capture.counts().captured), (10, 7, 17));
        assert!(writer.close().unwrap_err().to_string().contains("panicked"));
    }
}
