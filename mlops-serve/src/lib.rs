//! Answer with a model in the caller's process: runtimes, hot swap, rollout, capture.
// `forbid`, but for the calls into code that is compiled for AVX2 and AVX-512: see `runtime::native::simd`.
#![deny(unsafe_code)]

pub mod batch;
pub mod capture;
pub mod compose;
pub mod endpoint;
pub mod isolation;
pub mod post;
pub mod rollout;
pub mod runtime;
pub mod tensor;

mod background;
mod latency;
mod split;
mod sync;

pub use background::Background;
pub use latency::Latencies;
pub use mlops_core::{Error, ErrorKind, Result};
pub use split::Split;

/// The arm that has the traffic until another has proved itself.
pub const CHAMPION: &str = "champion";

/// The arm that wants to take over.
pub const CHALLENGER: &str = "challenger";

/// The arm under which the answers of shadows are captured; nobody hears them.
pub const SHADOW: &str = "shadow";
