//! The endpoint as a `tower::Service`.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{Error, Result};
use tower_service::Service;

use super::threads::{Pending, Threads};
use super::{Answer, Endpoint, OwnedRequest, Request};
use crate::batch::{Call, Cancel};

/// The endpoint as a `tower::Service`, for the layers of the host's stack: limits, load shedding, timeouts,
/// tracing. Clones share the endpoint and its threads. It is always ready to be called; without a model it answers
/// with an `Unavailable` error.
///
/// As it is made by [`new`](Self::new), a future computes when it is polled first, in the thread that polls: right
/// for models that take microseconds. A slow model would hold up the executor, and no timeout could go off
/// meanwhile: give it threads ([`on_threads`](Self::on_threads)).
///
/// Dropping the future calls the request off, which is what the timeout layer of `tower` does: a request that no thread
/// has begun is not begun, and one that waits for its batch in a [`BatchRuntime`](crate::batch::BatchRuntime) leaves it.
/// A model that computes already is not interrupted. [`OwnedRequest::within`] says the same beforehand, so that
/// what cannot be answered in time is turned away at once.
///
/// ```
/// use std::sync::Arc;
/// use mlops_core::{RequestId, SystemClock};
/// use mlops_serve::endpoint::{Cell, Endpoint, EndpointService, OwnedRequest};
/// use tower::{ServiceBuilder, ServiceExt};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let endpoint = Arc::new(Endpoint::new("shop", SystemClock::new()));
/// let service = EndpointService::new(endpoint).on_threads(2.try_into()?, 100)?;
/// let service = ServiceBuilder::new().timeout(Duration::from_millis(50)).service(service);
/// let row: Vec<Cell> = vec![1.0.into(), "mobile".into(), None::<f64>.into()];
/// let error = service.oneshot(OwnedRequest::new(RequestId::from_key("visit-1"), row)).await.unwrap_err();
/// assert_eq!(error.to_string(), "endpoint `shop` has no model yet: deploy one");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EndpointService {
    endpoint: Arc<Endpoint>,
    threads: Option<Arc<Threads>>,
}

impl EndpointService {
    /// The service of this endpoint, which computes where its futures are polled.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, threads: None }
    }

    /// Computes on so many threads of its own, which end with the last clone of the service. Requests wait for
    /// them in the order in which they came, at most `waiting_max`: further ones are turned away at once
    /// ([`Overloaded`](crate::Overloaded)). Several threads fill the batches of a model that batches.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no thread.
    pub fn on_threads(mut self, threads: NonZeroUsize, waiting_max: usize) -> Result<Self> {
        self.threads = Some(Arc::new(Threads::new(&self.endpoint, threads, waiting_max)?));
        Ok(self)
    }
}

impl Service<OwnedRequest> for EndpointService {
    type Response = Answer;
    type Error = Error;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: OwnedRequest) -> Self::Future {
        let asked = Asked::new(&self.endpoint, request);
        AnswerFuture(match &self.threads {
            None => State::Lazy(Arc::clone(&self.endpoint), asked),
            Some(threads) => match threads.enqueue(asked) {
                Ok(pending) => State::Pending(pending),
                Err(error) => State::Refused(error),
            },
        })
    }
}

/// The answer to come. Dropping it calls the request off.
#[derive(Debug)]
#[must_use = "a request is answered as its future is polled"]
pub struct AnswerFuture(State);

#[derive(Debug)]
enum State {
    Lazy(Arc<Endpoint>, Asked),
    Pending(Arc<Pending>),
    Refused(Error),
    Done,
}

impl Future for AnswerFuture {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, State::Done) {
            State::Lazy(endpoint, asked) => Poll::Ready(asked.answer(&endpoint, &Cancel::default())),
            State::Pending(pending) => {
                let answer = pending.poll(context);
                if answer.is_pending() {
                    self.0 = State::Pending(pending);
                }
                answer
            }
            State::Refused(error) => Poll::Ready(Err(error)),
            State::Done => Poll::Ready(Err(Error::internal("the answer was taken already: poll no more"))),
        }
    }
}

impl Drop for AnswerFuture {
    fn drop(&mut self) {
        if let State::Pending(pending) = &self.0 {
            pending.cancel.cancel();
        }
    }
}

/// A request and when it came.
#[derive(Debug)]
pub(super) struct Asked {
    request: OwnedRequest,
    /// By the clock of the endpoint, if the request has a deadline.
    begin_ns: u64,
}

impl Asked {
    fn new(endpoint: &Endpoint, request: OwnedRequest) -> Self {
        let begin_ns = if request.within.is_some() { endpoint.clock.monotonic_ns() } else { 0 };
        Self { request, begin_ns }
    }

    pub(super) fn answer(&self, endpoint: &Endpoint, cancel: &Cancel) -> Result<Answer> {
        let OwnedRequest { id, key, row, within, caller } = &self.request;
        let mut call = Call::default().caller(*caller).cancel(cancel);
        if let Some(limit) = within {
            let spent_ns = endpoint.clock.monotonic_ns().saturating_sub(self.begin_ns);
            call = call.within(limit.saturating_sub(Duration::from_nanos(spent_ns)));
        }
        let row: Vec<Value<'_>> = row.iter().map(Value::from).collect();
        let request = Request::new(*id).call(&call);
        endpoint.score(key.as_deref().map_or(request, |key| request.key(key)), &row)
    }
}
