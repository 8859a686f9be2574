//! Integration tests of `mlops-serve`: one binary, a module a subject.
#![allow(clippy::unwrap_used, reason = "tests say what must hold")]

#[cfg(feature = "native")]
mod allocations;
mod batch;
mod cache;
#[cfg(feature = "conformance")]
mod conformance;
mod decisions;
#[cfg(feature = "native")]
mod deploy;
#[cfg(feature = "native")]
mod encoded;
mod endpoint;
mod events;
mod experiment;
mod external;
mod follow;
#[cfg(feature = "native")]
mod golden;
#[cfg(feature = "native")]
mod hostile;
#[cfg(feature = "native")]
mod hostile_files;
#[cfg(feature = "native")]
mod hostile_trees;
mod isolation;
mod load;
mod memory;
mod models;
#[cfg(feature = "native")]
mod native;
#[cfg(all(feature = "native", feature = "ort"))]
mod ort;
#[cfg(feature = "native")]
mod precision;
mod resilience;
mod rollout;
mod score_batch;
mod shelf;
mod soak;
mod swap;
#[cfg(feature = "native")]
#[cfg(feature = "telemetry")]
mod telemetry;
mod tensors;
#[cfg(feature = "tower")]
mod tower;
#[cfg(all(feature = "native", feature = "tract", feature = "conformance"))]
mod tract;
mod traffic;

#[cfg(not(feature = "ort"))]
#[test]
#[cfg_attr(not(feature = "ort"), ignore = "ONNX Runtime is left out: `cargo xtask test` brings it")]
fn onnx_runtime() {
    panic!("it needs the feature `ort` and the library: `cargo xtask test` has both");
}
