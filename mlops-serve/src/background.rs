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
            // A round may drop its own thread: then it ends once that round is over.
            if thread.thread().id() != std::thread::current().id() {
                // A panic of a round was reported by the panic hook; there is nothing to hand it to here.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    #[test]
    fn a_round_may_drop_its_own_thread() {
        let slot = Arc::new(Mutex::new(None::<Background>));
        let (sender, ended) = mpsc::channel();
        let own = Arc::clone(&slot);
        let mut held = slot.lock().unwrap();
        let round = move || {
            let background = own.lock().unwrap().take();
            let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(background)));
            sender.send(dropped.is_ok()).unwrap();
        };
        *held = Some(Background::spawn("mlops-test", Duration::from_secs(3600), round).unwrap());
        drop(held);
        assert!(ended.recv().unwrap(), "a thread does not join itself");
        assert!(ended.recv().is_err(), "the thread ended");
    }
}
