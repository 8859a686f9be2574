//! Answer with a model in the caller's process: runtimes, hot swap, rollout, capture.
#![forbid(unsafe_code)]

pub mod runtime;
pub mod tensor;

pub use mlops_core::{Error, ErrorKind, Result};
