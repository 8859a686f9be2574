//! How good is a model: metrics that stream, merge and serialise, on all rows and on slices of them.
//!
//! ```
//! use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
//! use mlops_core::evaluation::{Evaluation, Gate, Rule, Slices};
//!
//! let mut slices = Slices::new(BinaryMetrics::new(BinarySettings::default())?);
//! for (bought, probability, visitor) in [(true, 0.9, "new"), (false, 0.2, "new"), (false, 0.4, "returning")] {
//!     slices.push(&BinaryRow::new(bought, probability), &[("visitor", visitor)])?;
//! }
//! let evaluation = Evaluation::of_slices(&slices);
//! let gate = Gate::new([Rule::at_least("roc_auc", 0.8), Rule::at_most("log_loss", 0.5).on("visitor=new")])?;
//! assert!(gate.check(&evaluation).passed());
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! | part | holds |
//! |---|---|
//! | [`binary`] | two classes: ROC and PR area, losses, calibration, decisions, lift, KS, threshold by cost |
//! | [`multiclass`] | several classes: averaged precision, recall and F1, kappa, MCC, ROC area by class and by pair |
//! | [`regression`] | numbers: errors, explained variance, quantile loss, residuals |
//! | [`ranking`] | lists: NDCG, MAP, MRR with the presets of three tools, group AUC, coverage, novelty, diversity |
//! | [`bias`] | SageMaker Clarify's bias metrics and fairlearn's gaps from one contingency pass |
//! | [`business`] | click-through and conversion rates, revenue per user, with the delta method |
//! | [`Slices`], [`SliceSearch`] | any of these on parts of the rows; the parts where the loss stands out |
//! | [`interval`] | Wilson and other intervals of shares, the bootstrap, the mergeable Poisson bootstrap |
//! | [`paired`] | two models on the same rows: DeLong, McNemar, paired t |
//! | [`calibration`] | isotonic regression, Platt's and temperature scaling: fitted here, applied when serving |
//! | [`Evaluation`] | the results: a plain value that travels with a model version |
//! | [`Gate`] | rules over an evaluation, absolute or against another model, with a verdict that says why |
//!
//! A metric that is undefined on the rows at hand (no rows; one class only, where that defines nothing) is `None` or absent, never NaN.
//! Values outside a metric's domain are an error of kind `Data` that names the row.

pub mod bias;
pub mod binary;
pub mod business;
pub mod calibration;
pub mod interval;
pub mod multiclass;
pub mod paired;
pub mod ranking;
pub mod regression;

mod error;
mod gate;
mod metric;
mod quantile;
mod report;
mod slice_search;
mod slices;
mod sum;

pub use crate::experiment::Interval;
pub use error::MetricError;
pub use gate::{Against, Check, Evidence, Gate, Outcome, Reference, Rule, Status, Verdict};
pub use metric::{Metric, MetricState, Metrics};
pub use report::{Evaluation, SliceEvaluation};
pub use slice_search::{SliceSearch, WeakSlice};
pub use slices::{Goal, Slice, Slices};
pub use sum::{Mean, Sum};
