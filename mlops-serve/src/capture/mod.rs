//! Keeps what was asked and answered: bounded, never blocking, lossless or counted.
//!
//! The request path copies a record into a buffer ([`Capture::offer`]); off the request path the buffers are
//! taken out as Arrow batches ([`Capture::drain`]), by hand or by the thread of a [`CaptureWriter`], which
//! hands them to a [`RecordSink`].
//!
//! Answers are captured, and of answers that stood in for the arm's own the column `fallback` is true. Requests that end
//! in an error are not: [`Endpoint::take_traffic`](crate::endpoint::Endpoint::take_traffic) counts them.
//!
//! | sink | writes |
//! |---|---|
//! | [`BatchSink`] | batches to memory, for monitors in the same process |
//! | [`SageMakerSink`] | JSON lines as SageMaker's data capture writes them |
//! | `ParquetSink` (feature `parquet`) | rotated Parquet files that survive a crash |
//!
//! ```
//! use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
//! use mlops_core::record::{InferenceRecord, RecordSchema};
//! use mlops_core::{RequestId, Timestamp};
//! use mlops_serve::capture::{Capture, CaptureSettings};
//!
//! let table = TableSchema::new([Column::new("page_value", ColumnKind::Float)])?;
//! let capture = Capture::new(RecordSchema::new(&table, ["score"])?, CaptureSettings::default())?;
//! capture.offer(&InferenceRecord {
//!     id: RequestId::from_u128(1),
//!     time: Timestamp::EPOCH,
//!     model: "shop",
//!     version: 3,
//!     arm: "champion",
//!     propensity: 1.0,
//!     fallback: false,
//!     decision: None,
//!     latency_us: 12.5,
//!     candidates: &[],
//!     features: &[Value::Float(2.0)],
//!     outputs: &[0.7],
//! });
//! let batch = capture.drain()?.expect("one record waits");
//! assert_eq!(batch.num_rows(), 1);
//! assert_eq!(capture.counts().captured, 1);
//! # Ok::<(), mlops_serve::Error>(())
//! ```

mod buffer;
mod buffers;
#[cfg(feature = "parquet")]
mod parquet;
mod privacy;
mod queue;
mod room;
mod sagemaker;
mod settings;
mod sink;
mod tally;
mod writer;

#[cfg(feature = "parquet")]
pub use self::parquet::{ParquetSettings, ParquetSink};
pub(crate) use buffer::Buffer;
pub(crate) use buffers::Buffers;
pub use privacy::Redaction;
pub use queue::Capture;
pub use sagemaker::SageMakerSink;
pub use settings::{CaptureRule, CaptureSettings};
pub use sink::{BatchSink, RecordSink};
pub use tally::CaptureCounts;
pub use writer::CaptureWriter;
