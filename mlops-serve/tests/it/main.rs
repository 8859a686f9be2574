//! Integration tests of `mlops-serve`: one binary, a module a subject.
#![allow(clippy::unwrap_used, reason = "tests say what must hold")]

mod batch;
mod endpoint;
#[cfg(feature = "native")]
mod golden;
#[cfg(feature = "native")]
mod hostile;
mod isolation;
mod models;
#[cfg(feature = "native")]
mod native;
#[cfg(all(feature = "native", feature = "ort"))]
mod ort;
mod resilience;
mod rollout;
#[cfg(feature = "tower")]
mod tower;
