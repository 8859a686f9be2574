//! Two classes: how well scores rank, how well probabilities are calibrated, how well decisions hit.
//!
//! [`Scored`] checks a batch once and answers everything about it. [`BinaryMetrics`] takes rows one by one,
//! merges, and hands out an [`Evaluation`](super::Evaluation). Both are made of the same parts: [`Confusion`]
//! at a threshold, [`ProbabilityLosses`], [`CalibrationTable`], and a [`Curve`] of scores from
//! [`ExactScores`] or, in constant memory, a [`ScoreHistogram`].
//!
//! The conventions are those of scikit-learn 1.9 unless an item says otherwise: a score at the threshold is
//! positive, tied scores count one half, rows of weight zero are left out.

mod calibration;
mod confusion;
mod curve;
mod losses;
mod metrics;
mod scored;
mod scores;

pub use calibration::{Bin, BinEdge, CalibrationTable};
pub use confusion::Confusion;
pub(super) use confusion::ratio;
pub use curve::{Curve, CurvePoint, Run};
pub use losses::{ProbabilityLosses, log_loss_f32};
pub use metrics::{BinaryMetrics, BinaryRow, BinarySettings, ScoreMemory};
pub use scored::{Scored, labels_from};
pub use scores::{ExactScores, ScoreHistogram};
