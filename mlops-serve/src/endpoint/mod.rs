//! Answers requests with the models of the moment, and changes them while it answers.
//!
//! An [`Endpoint`] holds arms, each with a loaded [`Model`]. A request falls into an arm by its key and is
//! answered in the caller's thread: encode, compute, check, count, capture. Changing the arms is one atomic
//! swap; requests in flight end on the models they began with.
//!
//! ```text
//! ModelSource -> ModelPackage -> Loader -> Model -> Endpoint::deploy, challenge, promote, ...
//!                                 verify digests            |
//!                                 build the runtime         v
//!                                 score golden rows      Endpoint::score -> Answer, InferenceRecord
//!                                 warm up
//! ```
//!
//! ```
//! use mlops_core::data::Value;
//! use mlops_core::{ElementType, ModelSignature, ModelVersion, RequestId, SystemClock, TensorSpec};
//! use mlops_serve::endpoint::{Endpoint, Model};
//! use mlops_serve::runtime::FnRuntime;
//!
//! # fn model(version: u64, factor: f32) -> mlops_serve::Result<std::sync::Arc<Model>> {
//! #     let signature = ModelSignature {
//! #         inputs: vec![TensorSpec::batch("features", ElementType::F32, 1)],
//! #         outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
//! #     };
//! #     let runtime = FnRuntime::new("times", signature, move |inputs, outputs| {
//! #         let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
//! #         let features = inputs[0].values::<f32>()?;
//! #         scores.iter_mut().zip(features).for_each(|(score, feature)| *score = factor * feature);
//! #         Ok(())
//! #     })?;
//! #     Ok(std::sync::Arc::new(Model::new(ModelVersion::new("shop", version), runtime)?))
//! # }
//! let endpoint = Endpoint::new("shop", SystemClock::new());
//! endpoint.deploy(model(1, 1.0)?)?;
//! endpoint.challenge(model(2, 2.0)?, 0.5)?;
//!
//! let answer = endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(3.0)])?;
//! let want = if answer.origin.arm == "champion" { 3.0 } else { 6.0 };
//! assert_eq!((answer.score, answer.origin.propensity), (want, 0.5));
//!
//! endpoint.promote()?;
//! let answer = endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(3.0)])?;
//! assert_eq!((answer.score, answer.origin.version.version), (6.0, 2));
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! A model that panics, gives an error, or answers with NaN never reaches the caller while something else can
//! answer: the champion, the champion before it ([`Endpoint::with_previous`]), what an equal row was answered
//! before ([`Endpoint::with_remembered_answers`]), a default ([`Endpoint::with_default_score`]). The request counts
//! as a failure of its arm, and the answer says [`fallback`](Origin::fallback). A model that fails again and again
//! is left alone ([`HealthSettings`]); the endpoint tells of it ([`Endpoint::with_events`]). One that may hang
//! belongs into an [`IsolatedRuntime`](crate::isolation::IsolatedRuntime). A [`Shadow`] is asked everything and
//! heard by nobody. Models that are seldom asked need not stay in memory ([`ModelCache::on_demand`]).

mod admin;
mod answer;
mod apply;
#[cfg(feature = "native")]
mod auto;
mod batch;
mod builder;
mod cache;
mod deployment;
mod fed;
mod follow;
mod golden;
mod head;
mod health;
mod inputs;
mod isolate;
mod ledger;
mod loader;
mod model;
mod notice;
mod on_demand;
#[cfg(feature = "tower")]
mod owned;
mod precision;
mod record;
mod remembered;
mod request;
mod rescue;
mod scratch;
mod shadow;
#[cfg(feature = "tower")]
mod threads;
#[cfg(feature = "tower")]
mod tower;
mod traffic;

pub use builder::Endpoint;
pub use cache::{CacheStats, ModelCache};
pub use deployment::{ArmSpec, Origin};
pub use follow::Follower;
pub use golden::Golden;
pub use head::Head;
pub use health::HealthSettings;
pub use loader::Loader;
pub use model::Model;
#[cfg(feature = "tower")]
pub use owned::{Cell, OwnedRequest};
pub use precision::Precision;
pub use request::{Answer, Request};
pub use shadow::{Shadow, ShadowStats};
#[cfg(feature = "tower")]
pub use tower::{AnswerFuture, EndpointService};
pub use traffic::{ArmStats, ArmTraffic};

pub(crate) use isolate::isolate;
#[cfg(feature = "conformance")]
pub(crate) use loader::zeros;
