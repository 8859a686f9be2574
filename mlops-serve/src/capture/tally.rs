//! What became of the records.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use thread_local::ThreadLocal;

/// What became of the records: the sum of the fields is the number of records offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CaptureCounts {
    /// Taken in. Each is in a batch that was drained, or waits.
    pub captured: u64,
    /// Not in the sample.
    pub skipped: u64,
    /// Lost because the buffers were full: drain more often, or allow more memory.
    pub dropped: u64,
    /// Refused by the schema: a wrong number of cells at once, a wrong kind of cells when they are drained.
    /// [`Capture::last_rejection`](super::Capture::last_rejection) says why.
    pub rejected: u64,
}

/// Counts of each thread, so that no request waits for a cache line of another.
#[derive(Debug, Default)]
pub(super) struct Tally {
    threads: ThreadLocal<Offered>,
    /// Rejected at once.
    misfits: AtomicU64,
    /// Captured at first, rejected when they were drained.
    refused: AtomicU64,
}

/// What one thread offered. It alone writes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Offered {
    captured: AtomicU64,
    skipped: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    #[inline]
    pub(super) fn captured(&self) {
        add(&self.offered().captured, 1);
    }

    #[inline]
    pub(super) fn skipped(&self, records: usize) {
        add(&self.offered().skipped, records as u64);
    }

    pub(super) fn dropped(&self) {
        add(&self.offered().dropped, 1);
    }

    pub(super) fn misfit(&self) {
        self.misfits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, records: u64) {
        self.refused.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> CaptureCounts {
        // Before the captured ones, of which they are a part.
        let refused = self.refused.load(Ordering::Acquire);
        let mut counts = CaptureCounts::default();
        for offered in &self.threads {
            counts.captured += offered.captured.load(Ordering::Relaxed);
            counts.skipped += offered.skipped.load(Ordering::Relaxed);
            counts.dropped += offered.dropped.load(Ordering::Relaxed);
        }
        counts.captured = counts.captured.saturating_sub(refused);
        counts.rejected = refused + self.misfits.load(Ordering::Relaxed);
        counts
    }

    #[inline]
    fn offered(&self) -> &Offered {
        self.threads.get_or_default()
    }
}

#[inline]
fn add(own: &AtomicU64, more: u64) {
    own.store(own.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}
