//! The locks and atomics of the parts that loom checks.
//!
//! Each of these is tried in all interleavings: who computes for whom (`batch::combiner`), what arms count
//! (`endpoint::deployment`), when a model is left alone (`endpoint::health`), threads that hang and come back
//! (`isolation::pool`), and captures: their memory (`capture::room`), their records on the way from threads to the
//! drain (`capture::buffers`) and their counts (`capture::tally`), which are without a lock but for a mutex a buffer.
//!
//! The rest needs none: the arms are swapped by `arc-swap`, whose readers own what they read; shadows, remembered
//! answers, the cache, the threads of the `tower` service and the sessions of ONNX Runtime keep all they have under a
//! mutex, a place each, and never hold two. A drain holds the lock of its log while it takes that of one buffer after
//! another; nobody takes them the other way round.

use std::time::Duration;

#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
#[cfg(loom)]
pub(crate) use std::sync::PoisonError;

/// Whether a count of 1 was seen, after which all that former owners did is seen, too.
pub(crate) fn is_alone(strong_count: usize) -> bool {
    let alone = strong_count == 1;
    if alone {
        // Owners let go with `Release`; the count is read without ordering.
        atomic::fence(atomic::Ordering::Acquire);
    }
    alone
}

/// Starts a thread that nobody waits for.
pub(crate) fn spawn(name: String, f: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    #[cfg(not(loom))]
    return std::thread::Builder::new().name(name).spawn(f).map(drop);
    #[cfg(loom)]
    {
        drop((name, loom::thread::spawn(f)));
        Ok(())
    }
}

/// Waits while the condition holds, no longer than `limit`; with loom for as long as it takes.
pub(crate) fn wait_while<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Duration,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    #[cfg(not(loom))]
    return changed.wait_timeout_while(guard, limit, condition).unwrap_or_else(PoisonError::into_inner).0;
    #[cfg(loom)]
    {
        let (mut guard, mut condition, _) = (guard, condition, limit);
        while condition(&mut guard) {
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        guard
    }
}
