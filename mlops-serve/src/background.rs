//! A thread that does something again and again until its handle is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mlops_core::{Error, Result};

/// A background thread. Dropping it ends the thread after the round that it is in.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Calls `round` at once and then every `interval`.
    pub(crate) fn spawn(
        name: &str,
        interval: Duration,
        mut round: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                round();
                std::thread::park_timeout(interval);
            }
        });
        let thread =
            thread.map_err(|error| Error::unavailable("the system gives no thread").with_source(error))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Makes the next round begin now.
    pub fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether the thread has ended, which it does by itself only in a panic.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of a round was reported by the panic hook; there is nothing to hand it to here.
            let _ = thread.join();
        }
    }
}
