//! What became of the records.

use serde::{Deserialize, Serialize};
use thread_local::ThreadLocal;

use crate::sync::atomic::{AtomicU64, Ordering};

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
    settled: Settled,
}

/// What one thread offered. It alone writes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Offered {
    /// Offered to the buffers, those that they dropped included.
    pushed: AtomicU64,
    skipped: AtomicU64,
    dropped: AtomicU64,
}

/// What is seen off the request path, and what is seldom.
#[derive(Debug, Default)]
struct Settled {
    /// Rejected at once.
    misfits: AtomicU64,
    /// Rejected when they were drained.
    refused: AtomicU64,
    /// In batches that were drained.
    drained: AtomicU64,
}

impl Tally {
    /// A record is about to be pushed: before the buffers have it, since afterwards it may be drained at any time.
    #[inline]
    pub(super) fn pushed(&self) {
        self.offered().pushed();
    }

    #[inline]
    pub(super) fn skipped(&self, records: usize) {
        add(&self.offered().skipped, records as u64, Ordering::Relaxed);
    }

    /// The record that was pushed last did not fit.
    pub(super) fn dropped(&self) {
        self.offered().dropped();
    }

    pub(super) fn misfit(&self) {
        self.settled.misfits.fetch_add(1, Ordering::Relaxed);
    }

    /// So many records came out of the buffers into a batch, and so many were refused.
    pub(super) fn settled(&self, drained: u64, refused: u64) {
        self.settled.add(drained, refused);
    }

    /// The counts, and how many of the captured records are in batches that were drained.
    pub(super) fn read(&self) -> (CaptureCounts, u64) {
        self.settled.read(&self.threads)
    }

    #[inline]
    fn offered(&self) -> &Offered {
        self.threads.get_or_default()
    }
}

impl Offered {
    #[inline]
    fn pushed(&self) {
        add(&self.pushed, 1, Ordering::Relaxed);
    }

    fn dropped(&self) {
        add(&self.dropped, 1, Ordering::Release);
    }
}

impl Settled {
    fn add(&self, drained: u64, refused: u64) {
        self.drained.fetch_add(drained, Ordering::Release);
        self.refused.fetch_add(refused, Ordering::Release);
    }

    fn read<'a>(&self, threads: impl IntoIterator<Item = &'a Offered>) -> (CaptureCounts, u64) {
        // Parts before what they are parts of. The lock of a buffer lies between the push of a record, counted before,
        // and its drain, counted after: whoever sees the second sees the first.
        let refused = self.refused.load(Ordering::Acquire);
        let drained = self.drained.load(Ordering::Acquire);
        let mut counts = CaptureCounts::default();
        for offered in threads {
            let dropped = offered.dropped.load(Ordering::Acquire);
            counts.dropped += dropped;
            counts.captured += offered.pushed.load(Ordering::Relaxed) - dropped;
            counts.skipped += offered.skipped.load(Ordering::Relaxed);
        }
        counts.captured -= refused;
        counts.rejected = refused + self.misfits.load(Ordering::Relaxed);
        (counts, drained)
    }
}

#[inline]
fn add(own: &AtomicU64, more: u64, order: Ordering) {
    own.store(own.load(Ordering::Relaxed).wrapping_add(more), order);
}

/// Model checking: every interleaving of a request, a drain and who reads is tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::thread;

    use super::*;
    use crate::sync::{Arc, Mutex};

    #[test]
    fn a_record_is_counted_once_wherever_it_is() {
        loom::model(|| {
            // The buffer has room for one record.
            let shared = Arc::new((Offered::default(), Mutex::new(0), Settled::default()));
            let request = Arc::clone(&shared);
            let request = thread::spawn(move || {
                let (offered, buffer, _) = &*request;
                for _ in 0..2 {
                    offered.pushed();
                    let mut waiting = buffer.lock().expect("no panic");
                    if *waiting == 0 {
                        *waiting = 1;
                    } else {
                        drop(waiting);
                        offered.dropped();
                    }
                }
            });
            let drain = Arc::clone(&shared);
            let drain = thread::spawn(move || {
                let (_, buffer, settled) = &*drain;
                let taken = std::mem::take(&mut *buffer.lock().expect("no panic"));
                settled.add(0, taken);
            });
            let (offered, buffer, settled) = &*shared;
            // Without underflow at any time.
            let (counts, drained) = settled.read([offered]);
            assert!(counts.captured >= drained && counts.captured + counts.rejected + counts.dropped <= 2);
            request.join().expect("no panic");
            drain.join().expect("no panic");
            let waiting = std::mem::take(&mut *buffer.lock().expect("no panic"));
            settled.add(waiting, 0);
            let (counts, drained) = settled.read([offered]);
            assert_eq!((drained, counts.captured), (waiting, waiting));
            assert_eq!(counts.captured + counts.rejected + counts.dropped, 2);
        });
    }
}
