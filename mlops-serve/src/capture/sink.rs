//! Where captured batches go.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use mlops_core::Result;

/// Takes captured batches to where they stay.
///
/// Contract for implementers: after an error of [`write`](Self::write) the batch counts as not written; the
/// caller offers it again. [`flush`](Self::flush) makes what was written readable to others. All are called
/// from one thread, off the request path, and may block.
pub trait RecordSink: fmt::Debug + Send + 'static {
    /// Takes one batch. All batches have the schema of the capture.
    ///
    /// # Errors
    /// `Unavailable` if the batch may be offered again later; any other kind if it never will be taken.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Makes what was written readable to others.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn flush(&mut self) -> Result<()>;

    /// Called from time to time, also when there is nothing to write: does what is due by the clock.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A sink that keeps the batches in memory, for monitors in the same process and for tests.
///
/// Clones share their batches: give one to the writer and read the other.
#[derive(Clone, Debug, Default)]
pub struct BatchSink(Arc<Mutex<Vec<RecordBatch>>>);

impl BatchSink {
    /// Takes out the batches written since the last call.
    pub fn take(&self) -> Vec<RecordBatch> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RecordSink for BatchSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
