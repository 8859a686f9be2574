//! Two models on the same rows: differences are far surer than the two metrics are.
//!
//! A difference is candidate minus champion. [`PairedBinary`] and [`PairedMean`] stream and merge;
//! [`paired_roc_auc`] needs the rows at once. The results are an [`Evaluation`](super::Evaluation) of differences,
//! which [`Gate`](super::Gate) takes beside the two evaluations.

mod area;
mod binary;
mod mean;

pub use area::{paired_evaluation, paired_roc_auc};
pub use binary::{PairedBinary, PairedRow};
pub use mean::PairedMean;

use serde::{Deserialize, Serialize};

/// A test of no difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// Candidate minus champion.
    pub difference: f64,
    /// The standard error of the difference.
    pub std_error: f64,
    /// The two-sided p-value: how often chance alone makes a difference at least this large.
    pub p_value: f64,
}
