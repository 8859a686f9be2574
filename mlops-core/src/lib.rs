//! The words that the mlops crates share.
#![forbid(unsafe_code)]

pub mod data;
pub mod evaluation;
pub mod experiment;
pub mod features;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod pipeline;
pub mod record;
pub mod run;
pub mod trigger;

mod clock;
mod digest;
mod error;
mod event;
mod id;
mod model;
mod seed;
mod version;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use digest::{Digest, Digester};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventKind, EventLog, EventSink, Measurement, Severity};
pub use id::RequestId;
pub use model::{
    BoxFuture, Dimension, ElementType, ModelFile, ModelPackage, ModelRef, ModelSignature, ModelSource,
    ModelVersion, Selector, TensorSpec,
};
pub use seed::Seed;
