//! The async edge: a run as a future.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use super::context::CancelToken;
use super::pipeline::Pipeline;
use super::request::Request;
use super::runner::{Execution, Runner};
use crate::{Error, Result};

/// A run on a thread of its own, as a future for any async runtime. Dropping it cancels the run.
///
/// ```
/// use mlops_core::SystemClock;
/// use mlops_core::pipeline::{Pipeline, Runner};
/// use std::sync::Arc;
///
/// async fn train(runner: Runner, pipeline: Arc<Pipeline>) -> mlops_core::Result<()> {
///     let done = runner.spawn(pipeline, "2026-05-01")?.await?;
///     println!("{:?}", done.status());
///     Ok(())
/// }
/// ```
#[must_use = "dropping it cancels the run"]
pub struct Running {
    shared: Arc<Mutex<Shared>>,
    cancel: CancelToken,
}

#[derive(Default)]
struct Shared {
    result: Option<Result<Execution>>,
    waker: Option<Waker>,
}

impl Runner {
    /// Starts a run on a thread of its own.
    ///
    /// # Errors
    /// `Unavailable` if no thread can be had. The errors of [`run`](Self::run) come from the future.
    pub fn spawn(&self, pipeline: Arc<Pipeline>, request: impl Into<Request>) -> Result<Running> {
        let mut request = request.into();
        // Dropping the future cancels this run, not all that share the caller's token.
        request.cancel = request.cancel.child();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let cancel = request.cancel.clone();
        let (runner, theirs) = (self.clone(), shared.clone());
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(|| runner.run(&pipeline, request)))
                .unwrap_or_else(|_| Err(Error::internal("a run panicked outside of its steps")));
            let waker = {
                let mut shared = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                shared.result = Some(result);
                shared.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(work)
            .map_err(|error| Error::unavailable("cannot start a thread for the run").with_source(error))?;
        Ok(Running { shared, cancel })
    }
}

impl Future for Running {
    type Output = Result<Execution>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = shared.result.take() {
            return Poll::Ready(result);
        }
        shared.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}
