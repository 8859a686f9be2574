//! All metrics of two classes over a stream of rows.

use serde::{Deserialize, Serialize};

use super::{BinEdge, CalibrationTable, Confusion, Curve, ExactScores, ProbabilityLosses, ScoreHistogram};
use crate::Result;
use crate::evaluation::error::{MetricError, in_range_at};
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};

/// What is kept of the scores, for the metrics that need their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreMemory {
    /// Every distinct score: exact, 24 bytes each.
    Exact,
    /// A histogram: constant memory, 16 bytes a bin, with an error bound.
    Histogram {
        /// The number of bins over 0..=1.
        bins: usize,
    },
}

/// How [`BinaryMetrics`] measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinarySettings {
    /// Probabilities of at least this are decided positive. Default 0.5.
    pub threshold: f64,
    /// The beta of the F score. Default 1.
    pub beta: f64,
    /// The number of bins of the reliability table. Default 10.
    pub calibration_bins: usize,
    /// To which bin a probability on an edge belongs.
    pub calibration_edge: BinEdge,
    /// What is kept of the scores. Default exact.
    pub scores: ScoreMemory,
}

impl Default for BinarySettings {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            beta: 1.0,
            calibration_bins: 10,
            calibration_edge: BinEdge::LowerClosed,
            scores: ScoreMemory::Exact,
        }
    }
}

/// One row: what was true, what was predicted, how much it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryRow {
    /// The true class.
    pub label: bool,
    /// The predicted probability of the positive class, in 0..=1.
    pub probability: f64,
    /// How much the row counts, 0 or above.
    pub weight: f64,
}

impl BinaryRow {
    /// A row of weight 1.
    pub fn new(label: bool, probability: f64) -> Self {
        Self { label, probability, weight: 1.0 }
    }
}

/// Classification metrics as a value that streams, merges and serialises.
///
/// Gives, where defined: `accuracy`, `balanced_accuracy`, `precision`, `recall`, `specificity`, `f_beta`,
/// `mcc`, `prevalence`, `selection_rate`, `log_loss`, `normalized_entropy`, `brier`, `calibration_ratio`, `ece`,
/// `mce`, `roc_auc`, `average_precision` and `ks`, with standard errors for means, shares and `roc_auc`.
///
/// ```
/// use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
/// use mlops_core::evaluation::{Evaluation, MetricState};
///
/// let mut monday = BinaryMetrics::new(BinarySettings::default())?;
/// monday.push(&BinaryRow::new(true, 0.9))?;
/// let mut tuesday = BinaryMetrics::new(BinarySettings::default())?;
/// tuesday.push(&BinaryRow::new(false, 0.2))?;
/// monday.merge(&tuesday)?;
///
/// let evaluation = Evaluation::of(&monday);
/// assert_eq!(evaluation.rows, 2);
/// assert_eq!(evaluation.metrics["roc_auc"].value, 1.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinaryMetrics {
    version: Version<1>,
    settings: BinarySettings,
    rows: u64,
    confusion: Confusion,
    losses: ProbabilityLosses,
    calibration: CalibrationTable,
    scores: Scores,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scores {
    Exact(ExactScores),
    Histogram(ScoreHistogram),
}

impl BinaryMetrics {
    /// No rows yet.
    ///
    /// # Errors
    /// `Invalid` if the threshold is NaN, beta negative or not finite, or a number of bins is 0 or too large.
    pub fn new(settings: BinarySettings) -> Result<Self> {
        if settings.threshold.is_nan() {
            let value = settings.threshold;
            return Err(MetricError::Setting { what: "threshold", value, want: "a number" }.into());
        }
        if !(settings.beta >= 0.0 && settings.beta.is_finite()) {
            let value = settings.beta;
            return Err(
                MetricError::Setting { what: "beta", value, want: "a finite number of 0 or above" }.into()
            );
        }
        let calibration = CalibrationTable::new(settings.calibration_bins, settings.calibration_edge)?;
        let scores = match settings.scores {
            ScoreMemory::Exact => Scores::Exact(ExactScores::default()),
            ScoreMemory::Histogram { bins } => Scores::Histogram(ScoreHistogram::probabilities(bins)?),
        };
        Ok(Self {
            version: Version,
            settings,
            rows: 0,
            confusion: Confusion::default(),
            losses: ProbabilityLosses::default(),
            calibration,
            scores,
        })
    }

    /// The decisions at the threshold.
    pub fn confusion(&self) -> &Confusion {
        &self.confusion
    }

    /// Log loss, Brier score and their kin.
    pub fn losses(&self) -> &ProbabilityLosses {
        &self.losses
    }

    /// The reliability table.
    pub fn calibration(&self) -> &CalibrationTable {
        &self.calibration
    }

    /// The scores in order.
    pub fn curve(&self) -> Curve {
        match &self.scores {
            Scores::Exact(scores) => scores.curve(),
            Scores::Histogram(scores) => scores.curve(),
        }
    }
}

impl MetricState for BinaryMetrics {
    type Row = BinaryRow;

    fn push(&mut self, &BinaryRow { label, probability, weight }: &BinaryRow) -> Result<()> {
        let row = usize::try_from(self.rows).unwrap_or(usize::MAX);
        in_range_at("probability", row, probability, 0.0, 1.0)?;
        in_range_at("weight", row, weight, 0.0, f64::MAX)?;
        match &mut self.scores {
            Scores::Exact(scores) => scores.add(label, probability, weight)?,
            Scores::Histogram(scores) => scores.add(label, probability, weight)?,
        }
        self.rows += 1;
        self.confusion.add(label, probability >= self.settings.threshold, weight);
        self.losses.add(label, probability, weight);
        self.calibration.add(label, probability, weight);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.settings != other.settings {
            return Err(MetricError::Incompatible { what: "binary metrics" }.into());
        }
        self.calibration.merge(&other.calibration)?;
        match (&mut self.scores, &other.scores) {
            (Scores::Exact(scores), Scores::Exact(other)) => scores.merge(other),
            (Scores::Histogram(scores), Scores::Histogram(other)) => scores.merge(other)?,
            _ => return Err(MetricError::Incompatible { what: "binary metrics" }.into()),
        }
        self.rows += other.rows;
        self.confusion.merge(&other.confusion);
        self.losses.merge(&other.losses);
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let matrix = &self.confusion;
        let mut share = |name, value: Option<f64>, of: f64| {
            insert(&mut metrics, name, value, value.map(|p| (p * (1.0 - p) / of).sqrt()));
        };
        share("accuracy", matrix.accuracy(), matrix.total());
        share("precision", matrix.precision(), matrix.predicted_positives());
        share("recall", matrix.recall(), matrix.positives());
        share("specificity", matrix.specificity(), matrix.negatives());
        share("prevalence", matrix.prevalence(), matrix.total());
        share("selection_rate", matrix.selection_rate(), matrix.total());
        let losses = &self.losses;
        insert(&mut metrics, "log_loss", losses.log_loss(), losses.log_loss_std_error());
        insert(&mut metrics, "brier", losses.brier(), losses.brier_std_error());
        let curve = self.curve();
        insert(&mut metrics, "roc_auc", curve.roc_auc(), curve.roc_auc_std_error());
        let mut plain = |name, value| insert(&mut metrics, name, value, None);
        plain("balanced_accuracy", matrix.balanced_accuracy());
        plain("f_beta", matrix.f_beta(self.settings.beta));
        plain("mcc", matrix.mcc());
        plain("normalized_entropy", losses.normalized_entropy());
        plain("calibration_ratio", losses.calibration_ratio());
        plain("ece", self.calibration.ece());
        plain("mce", self.calibration.mce());
        plain("average_precision", curve.average_precision());
        plain("ks", curve.ks().map(|(gap, _)| gap));
        metrics
    }
}
