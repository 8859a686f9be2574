//! Has the world changed? Drift tests, distances, stream detectors and monitors.
//!
//! Windows of rows against a reference:
//!
//! ```
//! use arrow_array::{Float64Array, RecordBatch};
//! use mlops_core::Timestamp;
//! use mlops_core::data::{Column, ColumnKind, TableSchema};
//! use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions};
//! use std::sync::Arc;
//!
//! let schema = TableSchema::new([Column::new("page_value", ColumnKind::Float)])?;
//! let batch = |from: i32| {
//!     let values = Float64Array::from_iter_values((0..1000).map(|i| f64::from(from + i * 7 % 100)));
//!     RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(values)])
//! };
//! let baseline = Baseline::fit(&schema, &[batch(0)?], BaselineOptions::default())?;
//! let report = baseline.check(&[batch(30)?], &CheckOptions::default())?;
//! for event in report.events(Timestamp::EPOCH) {
//!     assert!(event.to_string().starts_with("critical data_drift feature `page_value`: psi"));
//! }
//! assert_eq!(report.drifted_share(), 1.0);
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! Streams, one value at a time:
//!
//! ```
//! use mlops_drift::detector::{Adwin, AdwinSettings, Detector};
//!
//! let mut adwin = Adwin::new(AdwinSettings::default())?;
//! for error in [0.0, 1.0, 0.0] {
//!     if adwin.update(error)?.is_drift() {
//!         println!("{:?}", adwin.reason());
//!     }
//! }
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! # Contents
//!
//! * [`monitor`]: tables against a [`Baseline`](monitor::Baseline), column by column, with thresholds that know
//!   the sample sizes.
//! * [`detector`]: change detectors for streams of numbers.
//! * [`two_sample`]: tests of two samples; [`distance`]: distances of two distributions.
//! * [`gap_count`]: exact rank statistics of live data without storing it.
//! * [`binning`]: buckets that the reference fixes; [`Correction`]: p-values of many columns.
//! * [`alert`]: hysteresis and cooldown between events and people.
//! * [`special`]: Kolmogorov's and Smirnov's distributions.
#![forbid(unsafe_code)]

pub mod alert;
pub mod binning;
pub mod detector;
pub mod distance;
pub mod gap_count;
pub mod monitor;
pub mod special;
pub mod two_sample;

mod correction;
mod fingerprint;
mod float;
mod random;
mod sample;
mod sort;

pub use correction::Correction;
pub use mlops_core::{Error, ErrorKind, Result};
pub use sample::Sample;
