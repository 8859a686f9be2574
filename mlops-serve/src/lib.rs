//! Answer with a model in the caller's process: hot swap, safe rollout, capture, and no server beside yours.
//!
//! ```
//! use std::sync::Arc;
//! use mlops_core::data::Value;
//! use mlops_core::{ElementType, ModelSignature, ModelVersion, RequestId, SystemClock, TensorSpec};
//! use mlops_serve::endpoint::{Endpoint, Model};
//! use mlops_serve::runtime::FnRuntime;
//!
//! // A model: here a closure, else `runtime::NativeRuntime` or another engine on a file of the registry.
//! let signature = ModelSignature {
//!     inputs: vec![TensorSpec::batch("features", ElementType::F32, 2)],
//!     outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
//! };
//! let runtime = FnRuntime::new("mean", signature, |inputs, outputs| {
//!     let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
//!     let rows = inputs[0].values::<f32>()?.chunks_exact(2);
//!     scores.iter_mut().zip(rows).for_each(|(score, row)| *score = (row[0] + row[1]) / 2.0);
//!     Ok(())
//! })?;
//!
//! let endpoint = Endpoint::new("shop", SystemClock::new());
//! endpoint.deploy(Arc::new(Model::new(ModelVersion::new("shop", 1), runtime)?))?;
//! let answer = endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(1.0), Value::Float(2.0)])?;
//! assert_eq!((answer.score, answer.origin.version.to_string()), (1.5, "shop/1".into()));
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | load, swap and ask models; split traffic; fall back; shadow; follow an alias; many models in little memory | [`endpoint`] |
//! | move traffic to a challenger in steps, with guardrails that may be looked at all the time | [`rollout`] |
//! | keep what was asked and answered, for monitors and labels | [`capture`] |
//! | compute | [`runtime`], on [`tensor`]s |
//! | answer concurrent callers together | [`batch`] |
//! | survive runtimes that hang | [`isolation`] |
//! | make models of models | [`compose`] |
//! | calibrate, decide, take the best few | [`post`] |
//!
//! # Crate features
//!
//! | feature | adds |
//! |---|---|
//! | `native` (default) | our own kernels for linear models, trees and small networks |
//! | `ort` | ONNX Runtime, loaded from a library that the host names |
//! | `parquet` | captured records as rotated, crash-safe Parquet files |
//! | `tract` | other ONNX graphs in pure Rust, by tract |
//! | `tower` | the endpoint as a `tower::Service` |
//!
//! Nothing here listens, logs, reads the environment or starts a thread unasked. Threads start with an
//! explicit `spawn` (or an [`IsolatedRuntime`](isolation::IsolatedRuntime)) and end with its handle. Time
//! comes from the [`Clock`](mlops_core::Clock) that you pass in.
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
mod overloaded;
mod split;
mod sync;

pub use background::Background;
pub use latency::Latencies;
pub use mlops_core::{Error, ErrorKind, Result};
pub use overloaded::Overloaded;
pub use split::Split;

/// The arm that has the traffic until another has proved itself.
pub const CHAMPION: &str = "champion";

/// The arm that wants to take over.
pub const CHALLENGER: &str = "challenger";

/// The arm under which the answers of shadows are captured; nobody hears them.
pub const SHADOW: &str = "shadow";
