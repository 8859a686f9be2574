//! Integration tests of `mlops-core`: one binary, a module a subject.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "conformance")]
mod conformance;
mod data;
mod evaluation;
mod experiment;
mod features;
mod fill;
mod fingerprint;
mod messages;
mod pipeline;
mod point_in_time;
mod record;
mod sample;
#[cfg(all(feature = "object-store", feature = "csv", feature = "ipc", feature = "parquet"))]
mod stored;
mod validate;
