//! Futures waited for on the calling thread: what the blocking faces of the crates stand on. No part of the interface.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::Result;

/// Polls futures on the calling thread, which may be one of a runtime.
///
/// With the feature `runtime` their I/O is driven by a runtime of one thread, which ends when the last clone is
/// dropped, or by that of the host.
#[derive(Clone, Debug)]
pub struct Driver {
    #[cfg(feature = "runtime")]
    handle: tokio::runtime::Handle,
    #[cfg(feature = "runtime")]
    _own: Option<Arc<Own>>,
}

impl Driver {
    /// A driver with a runtime of its own.
    #[cfg(not(feature = "runtime"))]
    #[allow(clippy::unnecessary_wraps, reason = "the other form can fail")]
    pub fn new() -> Result<Self> {
        Ok(Self {})
    }

    /// A driver with a runtime of its own.
    #[cfg(feature = "runtime")]
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| {
            crate::Error::unavailable("cannot start a thread for the store's I/O").with_source(error)
        })?;
        Ok(Self { handle: runtime.handle().clone(), _own: Some(Arc::new(Own(Some(runtime)))) })
    }

    /// A driver with the runtime that the caller is in, or one of its own if it is in none.
    pub fn current() -> Result<Self> {
        #[cfg(feature = "runtime")]
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            return Ok(Self { handle, _own: None });
        }
        Self::new()
    }

    /// Waits for a future.
    #[allow(clippy::unused_self, reason = "the other form enters a runtime")]
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        #[cfg(feature = "runtime")]
        let _entered = self.handle.enter();
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

#[cfg(feature = "runtime")]
#[derive(Debug)]
struct Own(Option<tokio::runtime::Runtime>);

#[cfg(feature = "runtime")]
impl Drop for Own {
    fn drop(&mut self) {
        // A plain drop would wait for blocked threads, and panic inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
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
