//! One cell of a row: what a request carries before it is encoded.

use std::fmt;

/// One cell, borrowed from the request. `Copy`, 24 bytes, never allocates.
///
/// ```
/// use mlops_core::data::Value;
///
/// let row = [Value::from(3.5), Value::from("new_visitor"), Value::Missing];
/// assert_eq!(row[0].as_f64(), Some(3.5));
/// assert_eq!(row[1].as_f64(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// No value.
    #[default]
    Missing,
    /// A real number; may be NaN or infinite.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// Text.
    Text(&'a str),
}

impl Value<'_> {
    /// The cell as a number: integers and booleans (0, 1) too. `None` for text and missing cells.
    ///
    /// Integers beyond 2^53 are rounded.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value),
            Self::Integer(value) => Some(value as f64),
            Self::Boolean(value) => Some(f64::from(u8::from(value))),
            Self::Missing | Self::Text(_) => None,
        }
    }

    /// Whether there is no value.
    pub fn is_missing(self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Float(value) => fmt::Display::fmt(value, f),
            Self::Integer(value) => fmt::Display::fmt(value, f),
            Self::Boolean(value) => fmt::Display::fmt(value, f),
            Self::Text(value) => write!(f, "`{value}`"),
        }
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}
