//! Answer with a model in the caller's process: hot swap, safe rollout, capture, and no server beside yours.
//!
//! # In five minutes
//!
//! **Load and answer.** An [`Endpoint`](endpoint::Endpoint) holds the models of the moment. A
//! [`Model`](endpoint::Model) is the bytes of an ONNX, LightGBM or XGBoost file on our own kernels, or any other
//! [`Runtime`](runtime::Runtime), a closure included.
//!
//! ```
//! use std::sync::Arc;
//! use mlops_core::data::Value;
//! use mlops_core::onnx::{LinearModel, Link};
//! use mlops_core::{ModelVersion, RequestId, SystemClock};
//! use mlops_serve::endpoint::{Endpoint, Model};
//!
//! // Or `Model::from_file(version, "model.onnx")`.
//! let bytes = LinearModel::new(vec![1.0, -1.0], 0.0).link(Link::Logistic).to_bytes()?;
//! let model = Model::from_bytes(ModelVersion::new("shop", 1), &bytes)?;
//!
//! let endpoint = Endpoint::new("shop", SystemClock::new());
//! endpoint.deploy(Arc::new(model))?;
//! let answer = endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(2.0), Value::Integer(2)])?;
//! assert_eq!((answer.score, answer.origin.version.to_string()), (0.5, "shop/1".into()));
//!
//! // Swap: requests in flight end on the version they began with, none fails or waits.
//! let bytes = LinearModel::new(vec![1.0, -1.0], 0.5).to_bytes()?;
//! endpoint.deploy(Arc::new(Model::from_bytes(ModelVersion::new("shop", 2), &bytes)?))?;
//! let answer = endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(2.0), Value::Integer(2)])?;
//! assert_eq!((answer.score, answer.origin.version.version), (0.5, 2));
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! **Follow a registry.** Where versions come from is a [`ModelSource`](mlops_core::ModelSource), such as the
//! registry of `mlops-registry`. A [`Follower`](endpoint::Follower) verifies, checks against known answers and
//! warms up what an alias points at, then deploys it. [`Loader::wrap`](endpoint::Loader::wrap) puts batching and time
//! limits around what is loaded, [`Follower::on_demand`](endpoint::Follower::on_demand) keeps many models within one
//! memory budget.
//!
//! ```
//! # use std::collections::BTreeMap;
//! # use mlops_core::onnx::LinearModel;
//! # use mlops_core::{BoxFuture, Digest, Error, ModelFile, ModelPackage, ModelRef, ModelSignature, ModelSource};
//! # #[derive(Debug)]
//! # struct Registry;
//! # impl ModelSource for Registry {
//! #     fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
//! #         Box::pin(async { Ok(ModelVersion::new("shop", 3)) })
//! #     }
//! #     fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
//! #         Box::pin(async {
//! #             let bytes = LinearModel::new(vec![1.0], 0.0).to_bytes()?;
//! #             let file = (Digest::of(&bytes), ModelFile::Bytes(bytes));
//! #             let files = BTreeMap::from([("model.onnx".into(), file)]);
//! #             Ok(ModelPackage::new(version.clone(), ModelSignature::default(), files))
//! #         })
//! #     }
//! # }
//! # let registry = std::sync::Arc::new(Registry);
//! use mlops_core::{ModelVersion, SystemClock};
//! use mlops_serve::endpoint::{Endpoint, Follower, Loader};
//!
//! let endpoint = Endpoint::new("shop", SystemClock::new());
//! let follower = Follower::new(Loader::auto(SystemClock::new()), registry, "shop@champion".parse()?)?;
//! // From a timer, or in a thread of its own by `Follower::spawn`.
//! assert_eq!(follower.poll_blocking(&endpoint)?, Some(ModelVersion::new("shop", 3)));
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! **Roll out.** A [`Rollout`](rollout::Rollout) moves traffic to a challenger step by step, and back if a guardrail
//! objects. Look as often as you like: all its checks stay valid. With a registry, followers, late labels and restarts:
//! `cargo run --example canary` in the repository.
//!
//! ```
//! # use std::sync::Arc;
//! # use mlops_core::data::Value;
//! # use mlops_core::onnx::LinearModel;
//! # use mlops_core::{Clock, ManualClock, ModelVersion, RequestId, Timestamp};
//! # use mlops_serve::endpoint::{Endpoint, Model};
//! # let model = |version| {
//! #     let bytes = LinearModel::new(vec![1.0], version as f64).to_bytes()?;
//! #     Model::from_bytes(ModelVersion::new("shop", version), &bytes).map(Arc::new)
//! # };
//! use mlops_serve::rollout::{Guardrail, Plan, Rollout, Status};
//!
//! # let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
//! # let endpoint = Endpoint::new("shop", Arc::clone(&clock));
//! endpoint.deploy(model(1)?)?;
//! endpoint.challenge(model(2)?, 0.0)?;
//! let version = |version| ModelVersion::new("shop", version);
//! // A tenth of the traffic, then half; each for 100 answers at least.
//! let plan = Plan::canary([0.1, 0.5], 0, 100).guardrail(Guardrail::FailureRatio { max: 1.0 });
//! let mut rollout = Rollout::new(plan, version(1), version(2), clock.now())?;
//! endpoint.apply(&rollout)?;
//!
//! for visit in 0_u32.. {
//!     endpoint.score(RequestId::from_key(visit.to_le_bytes()), &[Value::Float(1.0)])?;
//!     for arm in endpoint.take_traffic() {
//!         rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic);
//!     }
//!     rollout.advance(clock.now());
//!     endpoint.apply(&rollout)?;
//!     if rollout.status() != Status::Running {
//!         break;
//!     }
//! }
//! assert_eq!(rollout.status(), Status::Promoted);
//! assert_eq!(endpoint.arms()[0].model.version(), &version(2));
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! **Capture.** What was asked and answered, with version, arm and propensity, as Arrow batches for monitors and late
//! labels. The request path never waits for it.
//!
//! ```
//! # use std::sync::Arc;
//! # use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
//! # use mlops_core::onnx::LinearModel;
//! # use mlops_core::record::RecordSchema;
//! # use mlops_core::{ModelVersion, RequestId, SystemClock};
//! # use mlops_serve::endpoint::{Endpoint, Model};
//! # let bytes = LinearModel::new(vec![1.0], 0.0).to_bytes()?;
//! # let model = Arc::new(Model::from_bytes(ModelVersion::new("shop", 1), &bytes)?);
//! use mlops_serve::capture::{Capture, CaptureSettings};
//!
//! let table = TableSchema::new([Column::new("page_value", ColumnKind::Float)])?;
//! let capture = Capture::new(RecordSchema::new(&table, ["score"])?, CaptureSettings::default())?;
//! let capture = Arc::new(capture);
//! let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
//! endpoint.deploy(model)?;
//! endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(2.0)])?;
//!
//! // Or by a thread that writes Parquet: `capture::CaptureWriter`.
//! let batch = capture.drain()?.expect("one request was answered");
//! assert_eq!(batch.num_rows(), 1);
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! # Where to look
//!
//! | to | use |
//! |---|---|
//! | load, swap and ask models; split traffic; fall back; shadow; follow an alias; many models in little memory | [`endpoint`] |
//! | move traffic to a challenger in steps, with guardrails that may be looked at all the time | [`rollout`] |
//! | try several variants at once (A/B/n) and promote the best | [`rollout::experiment`] |
//! | keep what was asked and answered, for monitors and labels | [`capture`] |
//! | hear of swaps, failing models and quarantines | [`Endpoint::with_events`](endpoint::Endpoint::with_events), [`Endpoint::stats`](endpoint::Endpoint::stats), feature `telemetry` |
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
//! | `conformance` | a suite that checks a [`Runtime`](runtime::Runtime) of your own |
//! | `native` (default) | our own kernels for linear models, trees and small networks |
//! | `ort` | ONNX Runtime, loaded from a library that the host names |
//! | `parquet` | captured records as rotated, crash-safe Parquet files |
//! | `tract` | other ONNX graphs in pure Rust, by tract |
//! | `telemetry` | counters by `metrics` and spans by `tracing`: the table in `telemetry` |
//! | `tower` | the endpoint as a `tower::Service` |
//!
//! Signatures name types of `arrow-array` 59, `bytes` 1, `half` 2 and `ndarray` 0.17; with `ort` those of `ort`
//! =2.0.0-rc.15, with `tower` of `tower-service` 0.3, with `telemetry` nothing more. What you pass in has to be of these
//! versions.
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
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod tensor;

mod background;
mod latency;
mod overloaded;
mod spares;
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
pub const SHADOW: &str = mlops_core::record::SHADOW_ARM;
