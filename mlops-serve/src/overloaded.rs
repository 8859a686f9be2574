//! Calls that were turned away because there were too many.

use std::fmt;

use crate::Error;

/// The cause of an `Unavailable` error that says nothing about the model: a full queue, a full bulkhead, a
/// deadline that cannot be met.
///
/// The breaker of an [`Endpoint`](crate::endpoint::Endpoint) does not count such errors. A host may answer
/// them with "too many requests", and a runtime of a third party may give them too.
///
/// ```
/// use mlops_serve::Overloaded;
///
/// let error = Overloaded::error("the queue is full: try again later");
/// assert!(error.is_retryable() && Overloaded::is_cause_of(&error));
/// assert!(!Overloaded::is_cause_of(&mlops_serve::Error::unavailable("no connection")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overloaded;

impl Overloaded {
    /// An `Unavailable` error with this cause.
    #[cold]
    pub fn error(message: impl Into<String>) -> Error {
        Error::unavailable(message).with_source(Self)
    }

    /// Whether this error, or one of its causes, has this cause.
    pub fn is_cause_of(error: &Error) -> bool {
        let mut cause = std::error::Error::source(error);
        while let Some(found) = cause {
            if found.is::<Self>() {
                return true;
            }
            cause = found.source();
        }
        false
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many calls at once")
    }
}

impl std::error::Error for Overloaded {}
