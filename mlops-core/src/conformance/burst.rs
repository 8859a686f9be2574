//! Calls from several threads at once, with an end to waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::{THREADS, said};
use crate::{Error, Result};

/// Runs `calls` with the number of the thread in several at once. A thread that never returns is left behind.
pub(super) fn burst(
    what: &str,
    patience: Duration,
    calls: impl Fn(usize) + Send + Sync + 'static,
) -> Result<()> {
    let calls = Arc::new(calls);
    let (done, results) = mpsc::channel();
    for number in 0..THREADS {
        let (calls, done) = (Arc::clone(&calls), done.clone());
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| calls(number)));
            // Nobody waits any more once another thread failed.
            let _ = done.send(result.map_err(|panic| said(&*panic).to_owned()));
        };
        thread::Builder::new()
            .spawn(run)
            .map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
    }
    for _ in 0..THREADS {
        match results.recv_timeout(patience) {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => return Err(Error::data(format!("{what} panics: {panic}"))),
            Err(_) => {
                let broken =
                    format!("{what} blocks: a burst from {THREADS} threads was not over in {patience:?}");
                return Err(Error::data(broken));
            }
        }
    }
    Ok(())
}
