//! Futures of object stores, waited for on the calling thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::runtime::Builder;

use crate::{Error, Result};

/// A runtime with one thread for the I/O of stores; it ends when the last clone is dropped.
///
/// Futures are polled on the calling thread, which may be one of another runtime.
#[derive(Clone, Debug)]
pub(super) struct Driver(Arc<Runtime>);

#[derive(Debug)]
struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        // A plain drop would wait for blocked threads, and panic inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Driver {
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| {
            Error::unavailable("cannot start a thread for the store's I/O").with_source(error)
        })?;
        Ok(Self(Arc::new(Runtime(Some(runtime)))))
    }

    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.0.0.as_ref().map(tokio::runtime::Runtime::enter);
        let signal = Arc::new(Signal { thread: std::thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&signal));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            while !signal.woken.swap(false, Ordering::Acquire) {
                std::thread::park();
            }
        }
    }
}

struct Signal {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
