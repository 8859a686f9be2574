//! The suite for clocks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{THREADS, require, said};
use crate::{Clock, Error, Result};

/// Checks a clock.
///
/// Checked are: `monotonic_ns` never goes back, neither in a thread nor from one to another, though several call at
/// once; and neither hand panics. `now` may jump, so its values are free. A clock may stand still.
///
/// A clock that is moved by hand is worth checking while another thread moves it, its wall clock also backwards.
///
/// ```
/// use mlops_core::{SystemClock, conformance};
///
/// conformance::check_clock(&SystemClock::new())?;
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Data`, saying which clause is broken and how.
pub fn check_clock(clock: &dyn Clock) -> Result<()> {
    let latest = AtomicU64::new(0);
    reads(clock, &latest, 1)?;
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        let call = || {
            start.wait();
            reads(clock, &latest, READS)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
        // A panic of the clock was caught in the thread.
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    reads(clock, &latest, 1)
}

fn reads(clock: &dyn Clock, latest: &AtomicU64, count: usize) -> Result<()> {
    let panic = match catch_unwind(AssertUnwindSafe(|| (0..count).try_for_each(|_| read(clock, latest)))) {
        Ok(result) => return result,
        Err(panic) => panic,
    };
    Err(Error::data(format!("the clock panics: {}", said(&*panic))))
}

fn read(clock: &dyn Clock, latest: &AtomicU64) -> Result<()> {
    clock.now();
    // Somebody had read this before the calls below began.
    let seen = latest.load(Ordering::SeqCst);
    let first = clock.monotonic_ns();
    let second = clock.monotonic_ns();
    require(second >= first, || format!("`monotonic_ns` goes back in a thread: {first}, then {second}"))?;
    require(first >= seen, || {
        format!("`monotonic_ns` goes back from thread to thread: {seen} in one, then {first} in another")
    })?;
    latest.fetch_max(second, Ordering::SeqCst);
    Ok(())
}

const READS: usize = 10_000;
