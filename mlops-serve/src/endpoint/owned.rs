//! Requests that own what they carry.

use std::time::Duration;

use mlops_core::RequestId;
use mlops_core::data::Value;

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
    /// How long it may take, from when the service is called.
    pub within: Option<Duration>,
    /// Who calls, for models that batch: see [`Call::caller`](crate::batch::Call::caller).
    pub caller: u64,
}

impl OwnedRequest {
    /// A request that falls into an arm by its id.
    pub fn new(id: RequestId, row: Vec<Cell>) -> Self {
        Self { id, key: None, row, within: None, caller: 0 }
    }

    /// Chooses the arm by this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Has to be answered so long from when the service is called: as
    /// [`Call::within`](crate::batch::Call::within), the wait for a thread included.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Says in whose name it comes.
    #[must_use]
    pub fn caller(mut self, caller: u64) -> Self {
        self.caller = caller;
        self
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
