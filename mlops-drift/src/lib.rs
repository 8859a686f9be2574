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
//!
//! # Cookbook
//!
//! ## Which test for which data?
//!
//! | you have | take | reads |
//! |---|---|---|
//! | tables, many columns | [`monitor::Baseline`] and [`monitor::Monitor`] | a report with one decision a column |
//! | two lists of numbers | [`two_sample::kolmogorov_smirnov`]; [`two_sample::anderson_darling`] for tails; [`two_sample::mann_whitney`] or [`two_sample::welch_t`] for location | p and an effect |
//! | counts of categories | [`two_sample::chi_squared`], [`two_sample::g_test`] | p and Cramer's V |
//! | two rates | [`two_sample::fisher_exact`] for small counts, [`two_sample::two_proportion_z`] | p and the difference |
//! | a live stream against a fixed reference | [`gap_count::GapCounts`] | exact KS, at any moment |
//! | one number at a time, no reference | a [`detector`] | stable, warning, drift |
//!
//! A p-value tells how sure, an effect tells how large. A million rows make any difference sure; ask for both:
//!
//! ```
//! use mlops_drift::Sample;
//! use mlops_drift::two_sample::kolmogorov_smirnov;
//!
//! let numbers = |shift: f64| Sample::new((0..400).map(move |i| f64::from(i * 7 % 400) + shift));
//! let result = kolmogorov_smirnov(&numbers(0.0)?, &numbers(120.0)?)?;
//! assert!(result.p_value < 0.001 && result.effect == 0.3);
//! assert!(result.to_string().starts_with("very strong evidence of a medium difference"));
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! ## Is this distance large?
//!
//! The classic bands of the population stability index, 0.1 and 0.25, suit large samples: at 200 rows about every
//! second unchanged column lies above 0.1. [`distance::compare`] knows the sample sizes:
//!
//! ```
//! use mlops_core::Seed;
//! use mlops_drift::binning::{Binning, count};
//! use mlops_drift::distance::{BinnedDistance, compare};
//! use mlops_drift::{Sample, gap_count::Reference};
//!
//! let was: Vec<f64> = (0..1000).map(|i| f64::from(i * 37 % 1009)).collect();
//! let is: Vec<f64> = (0..200).map(|i| f64::from(i * 53 % 1009)).collect();
//! // Buckets are fixed on the reference: live data cannot move them.
//! let edges = Binning::default().edges(&Reference::new(&Sample::new(was.iter().copied())?)?)?;
//! let result = compare(BinnedDistance::Psi, &count(&edges, &was)?, &count(&edges, &is)?, 0.01, Seed::new(1))?;
//! assert!(result.value < result.limit);
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! ## Live data without keeping it
//!
//! ```
//! use mlops_drift::Sample;
//! use mlops_drift::gap_count::{GapCounts, Reference};
//!
//! let reference = Reference::new(&Sample::new((0..5000).map(f64::from))?)?;
//! // Two shards count, and are added.
//! let (mut first, mut second) = (GapCounts::new(&reference), GapCounts::new(&reference));
//! (0..300).try_for_each(|i| first.update(&reference, f64::from(i * 11)))?;
//! (0..300).try_for_each(|i| second.update(&reference, f64::from(i * 13)))?;
//! first.merge(&second)?;
//! let (d, p) = first.kolmogorov_smirnov(&reference)?;
//! assert!(d < -0.2 && p < 1e-9, "live values are smaller");
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! ## Which detector?
//!
//! Numbers: [`detector::Adwin`] needs no tuning if the spread is near 1 (rescale if not), [`detector::PageHinkley`] and
//! [`detector::Cusum`] find small lasting shifts, [`detector::Kswin`] changes of shape. Errors of a model:
//! [`detector::HddmW`] is quick, [`detector::Rddm`] and [`detector::Ddm`] know a warning, [`detector::Eddm`] sees slow
//! decay. Their thresholds mean different things; what you know is how many false alarms you can bear. Ask for that, and
//! read the table in [`detector::calibrate`]:
//!
//! ```
//! use mlops_core::Seed;
//! use mlops_drift::detector::{Calibration, Detector, DetectorKind, Stationary};
//!
//! // One false alarm in 500 errors at a rate of 0.2. For real use ask for more.
//! let wanted = Calibration::new(DetectorKind::Gma, Stationary::ErrorRate(0.2), 500.0, Seed::new(1));
//! let mut found = wanted.run()?;
//! assert!((found.run_length - 500.0).abs() < 100.0 + 3.0 * found.standard_error);
//! let mut drifts = 0;
//! for step in 0..2000 {
//!     // The model breaks at step 1000.
//!     let error = if step < 1000 { step % 5 == 0 } else { step % 2 == 0 };
//!     drifts += u32::from(found.detector.update(f64::from(error))?.is_drift());
//! }
//! assert!(drifts > 0);
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! Thousands of streams: [`detector::DetectorBank`], or [`detector::DetectorList`] for detectors with a window.
//!
//! ## The same answers as the tool you come from
//!
//! Detectors have `river()` and `moa()` settings, [`monitor::CheckOptions::evidently`] and
//! [`monitor::CheckOptions::from_chunks`] judge tables as Evidently and NannyML do, and functions named `_as_evidently`
//! repeat its arithmetic, faults included:
//!
//! ```
//! use mlops_drift::distance::{EvidentlyMethod, psi_as_evidently};
//!
//! assert_eq!(EvidentlyMethod::choose(true, 20_000, 900), EvidentlyMethod::WassersteinNormed);
//! assert!(psi_as_evidently(&[50, 50], &[25, 75])? > 0.27);
//! # Ok::<(), mlops_drift::Error>(())
//! ```
//!
//! ## Keeping state
//!
//! [`detector::AnyDetector`], banks, counts, baselines, monitors and reports serialise with a version, and later builds read
//! what earlier ones wrote. Use a format that keeps every bit of a float: in JSON, `serde_json` with its feature
//! `float_roundtrip`.
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
mod version;

pub use correction::Correction;
pub use mlops_core::{Error, ErrorKind, Result};
pub use sample::Sample;
