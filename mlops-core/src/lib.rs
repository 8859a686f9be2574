//! Data, pipelines, evaluation and always-valid statistics: the words that the mlops crates share.
//!
//! ```
//! use mlops_core::data::{Column, ColumnKind, Dataset, Role, Split, TableSchema};
//! use mlops_core::features::{Encoder, EncoderSpec, Transform};
//! use mlops_core::Seed;
//!
//! let schema = TableSchema::new([
//!     Column::new("page_value", ColumnKind::Float).range(0.0, f64::INFINITY),
//!     Column::new("visitor", ColumnKind::Text),
//!     Column::new("bought", ColumnKind::Boolean).role(Role::Label).required(),
//! ])?;
//! let csv = format!("page_value,visitor,bought\n{}", "12.5,new,true\n0,returning,false\n".repeat(50));
//! # #[cfg(feature = "csv")] {
//! let rows = Dataset::from_csv(csv.as_bytes(), schema)?;
//! rows.validate()?.into_result()?;
//! let [train, test] = rows.split(Split::Stratified("bought"), [0.8, 0.2], Seed::new(1))?;
//! let spec = EncoderSpec::new([("page_value", Transform::standardise()), ("visitor", Transform::one_hot(10))]);
//! let encoder = Encoder::fit(&spec, &train)?;
//! assert_eq!(encoder.encode_dataset(&test)?.dim(), (20, 3));
//! println!("data version {}", rows.fingerprint().short());
//! # }
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! # What is where
//!
//! | module | holds |
//! |---|---|
//! | [`data`] | tables over Arrow: schema, files, fingerprint, splits, validation, point-in-time joins, samples |
//! | [`features`] | the fitted encoder, the same in training and in serving |
//! | [`pipeline`], [`run`] | typed steps with cache, journal and resume; what a run leaves behind |
//! | [`trigger`] | when to run: schedules, new rows, drift, cooldown |
//! | [`evaluation`] | metrics, bias, slices, intervals, gates, calibration |
//! | [`experiment`] | always-valid and fixed-sample comparisons, corrections for many tests |
//! | [`record`] | captured requests, late labels, training rows out of both |
//! | `onnx` | ONNX files, read with limits and written |
//!
//! At the top: the one [`Error`], time and chance as values ([`Clock`], [`Seed`]), what happened ([`Event`]),
//! and how models are named and found ([`ModelRef`], [`ModelSource`]).
//!
//! # Crate features
//!
//! | feature | what it adds |
//! |---|---|
//! | `csv` (default) | CSV files |
//! | `ipc` (default) | Arrow IPC files; data sets and tables as pipeline artifacts |
//! | `parquet` | Parquet files: plain, Snappy, gzip, LZ4 |
//! | `zstd` | Parquet files that are compressed with Zstandard |
//! | `object-store` | tables in any object store: folders, and stores of the caller's |
//! | `aws`, `azure`, `gcp`, `http` | tables at `s3://`, `az://`, `gs://` and `https://` |
//! | `onnx` | ONNX files |
//! | `conformance` | suites that check a clock, sink, observer, artifact or model source of your own |
//! | `cron` | schedules as cron patterns, in UTC |
//! | `time-zones` | cron patterns in any time zone |
//! | `progress` | progress bars for pipelines |
//! | `telemetry` | spans by `tracing` and counters by `metrics` of what pipelines do |
//!
//! # Crates beside it
//!
//! Signatures name types of `arrow-array` and `arrow-schema` 59, `bytes` 1, `ndarray` 0.17, `object_store` 0.14,
//! `rand` 0.10, `serde` 1 and `serde_json` 1: a crate that touches those types depends on the same versions.
#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
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
#[doc(hidden)]
pub mod driver;
mod error;
mod event;
mod id;
mod model;
mod rounded;
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
pub use rounded::Rounded;
pub use seed::Seed;
