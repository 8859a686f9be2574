//! The endpoint as a `tower::Service`.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use mlops_core::data::Value;
use mlops_core::{Error, RequestId, Result};
use tower_service::Service;

use super::{Answer, Endpoint, Request};

/// One cell of a request that owns its text.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// No value.
    #[default]
    Missing,
    /// A real number.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// Text.
    Text(String),
}

/// A request that owns what it carries, so that layers may keep, queue and retry it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OwnedRequest {
    /// Names the request.
    pub id: RequestId,
    /// Requests with equal keys fall into the same arm; the id without one.
    pub key: Option<Vec<u8>>,
    /// The row to score.
    pub row: Vec<Cell>,
}

impl OwnedRequest {
    /// A request that falls into an arm by its id.
    pub fn new(id: RequestId, row: Vec<Cell>) -> Self {
        Self { id, key: None, row }
    }

    /// Chooses the arm by this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// The endpoint as a `tower::Service`, for the layers of the host's stack: limits, load shedding, timeouts,
/// tracing. Clones share the endpoint.
///
/// `call` computes before it returns, in the caller's thread, and its future is ready: right for models that
/// take microseconds. Put slower ones into an [`IsolatedRuntime`](crate::isolation::IsolatedRuntime), or
/// call on a blocking thread. It is always ready to be called; without a model it answers with an
/// `Unavailable` error.
///
/// ```
/// use std::sync::Arc;
/// use mlops_core::{RequestId, SystemClock};
/// use mlops_serve::endpoint::{Cell, Endpoint, EndpointService, OwnedRequest};
/// use tower_service::Service;
///
/// # fn main() {
/// let mut service = EndpointService::new(Arc::new(Endpoint::new("shop", SystemClock::new())));
/// let row: Vec<Cell> = vec![1.0.into(), "mobile".into(), None::<f64>.into()];
/// let request = OwnedRequest::new(RequestId::from_key("visit-1"), row);
/// let error = service.call(request).into_inner().unwrap_err();
/// assert!(error.is_retryable());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EndpointService(Arc<Endpoint>);

impl EndpointService {
    /// The service of this endpoint.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self(endpoint)
    }
}

impl Service<OwnedRequest> for EndpointService {
    type Response = Answer;
    type Error = Error;
    type Future = Ready<Result<Answer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: OwnedRequest) -> Self::Future {
        let row: Vec<Value<'_>> = request.row.iter().map(Value::from).collect();
        let borrowed = Request::new(request.id);
        let borrowed = request.key.as_deref().map_or(borrowed, |key| borrowed.key(key));
        ready(self.0.score(borrowed, &row))
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl<'a> From<&'a Cell> for Value<'a> {
    fn from(cell: &'a Cell) -> Self {
        match cell {
            Cell::Missing => Self::Missing,
            Cell::Float(value) => Self::Float(*value),
            Cell::Integer(value) => Self::Integer(*value),
            Cell::Boolean(value) => Self::Boolean(*value),
            Cell::Text(value) => Self::Text(value),
        }
    }
}

impl From<Value<'_>> for Cell {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Float(value) => Self::Float(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Boolean(value) => Self::Boolean(value),
            Value::Text(value) => Self::Text(value.to_owned()),
            _ => Self::Missing,
        }
    }
}
