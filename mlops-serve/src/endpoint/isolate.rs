//! A panic costs one request.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlops_core::{Error, Result};

/// Calls `f`; a panic becomes an error that names `subject`.
///
/// The closure may leave broken state behind: only pass what is dropped or reset after an error.
#[inline]
pub(crate) fn isolate<T>(subject: impl fmt::Display, f: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => Err(panicked(&subject, payload.as_ref())),
    }
}

#[cold]
fn panicked(subject: &dyn fmt::Display, payload: &(dyn Any + Send)) -> Error {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::internal(format!("{subject} panicked: {message}"))
}
