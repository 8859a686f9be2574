//! All metrics of two classes over a stream of rows.

use serde::{Deserialize, Serialize};

use super::{BinEdge, CalibrationTable, Confusion, Curve, ExactScores, ProbabilityLosses, ScoreHistogram};
use crate::evaluation::error::{MetricError, in_range_at, row_after, weight_at};
use crate::evaluation::metric::{Metric, MetricState, Metrics, Version, insert, insert_share};
use crate::evaluation::sum::kish;
use crate::{Error, Result};

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
    /// Which share of the best-scored rows the lift is about, above 0 up to 1. Default 0.1.
    pub lift_at: f64,
}

impl Default for BinarySettings {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            beta: 1.0,
            calibration_bins: 10,
            calibration_edge: BinEdge::LowerClosed,
            scores: ScoreMemory::Exact,
            lift_at: 0.1,
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
/// `mce`, `roc_auc`, `average_precision`, `ks` and `lift@0.1` (at the share of the settings), with standard errors for
/// means, shares and `roc_auc`.
///
/// **One class only** `roc_auc` and `ks` are absent, and so is `recall` without positives or `specificity` without
/// negatives. The others are what scikit-learn has: `mcc` is 0, `balanced_accuracy` the recall of the class there is,
/// `average_precision` 1 without negatives. A gate that means both classes asks for `roc_auc` too.
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
#[serde(try_from = "Stored")]
pub struct BinaryMetrics {
    version: Version<1>,
    settings: BinarySettings,
    rows: u64,
    confusion: Confusion,
    /// The squares of the weights, counted in the same way.
    squares: Confusion,
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
        if !(settings.lift_at > 0.0 && settings.lift_at <= 1.0) {
            let (value, want) = (settings.lift_at, "above 0 up to 1");
            return Err(MetricError::Setting { what: "share of the lift", value, want }.into());
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
            squares: Confusion::default(),
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

impl BinaryMetrics {
    /// The area under the ROC curve. DeLong's standard error is of no use for a perfect order or a handful of
    /// rows of a class; the variance of any area is at most that of a share of the rarer class (Z. W. Birnbaum,
    /// O. M. Klose, 1957), so it is then called one.
    fn area(&self, curve: &Curve) -> Option<Metric> {
        let positives = kish(self.confusion.positives(), self.squares.positives())?;
        let negatives = kish(self.confusion.negatives(), self.squares.negatives())?;
        let std_error = curve.roc_auc_std_error_of(positives, negatives);
        let metric = Metric::new(curve.roc_auc()?).with_std_error(std_error);
        let fewer = positives.min(negatives);
        let usual = fewer >= CLASS_ROWS_MIN && std_error.is_some_and(|error| error > 0.0);
        Some(if usual { metric } else { metric.with_trials(fewer) })
    }
}

/// Below so many rows of a class DeLong's standard error is not trusted.
const CLASS_ROWS_MIN: f64 = 10.0;

/// Metrics as they were stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    version: Version<1>,
    settings: BinarySettings,
    rows: u64,
    confusion: Confusion,
    squares: Confusion,
    losses: ProbabilityLosses,
    calibration: CalibrationTable,
    scores: Scores,
}

impl TryFrom<Stored> for BinaryMetrics {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, settings, rows, confusion, squares, losses, calibration, scores } = stored;
        let empty = Self::new(settings)?;
        // Merging is where unequal bins are found.
        empty.calibration.clone().merge(&calibration)?;
        match (empty.scores, &scores) {
            (Scores::Exact(_), Scores::Exact(_)) => {}
            (Scores::Histogram(mut empty), Scores::Histogram(scores)) => empty.merge(scores)?,
            _ => return Err(Error::data("the scores are not kept as the settings say")),
        }
        Ok(Self { version, settings, rows, confusion, squares, losses, calibration, scores })
    }
}

impl MetricState for BinaryMetrics {
    type Row = BinaryRow;

    fn push(&mut self, &BinaryRow { label, probability, weight }: &BinaryRow) -> Result<()> {
        let row = row_after(self.rows);
        in_range_at("probability", row, probability, 0.0, 1.0)?;
        weight_at(row, weight)?;
        match &mut self.scores {
            Scores::Exact(scores) => scores.add(label, probability, weight)?,
            Scores::Histogram(scores) => scores.add(label, probability, weight)?,
        }
        self.rows = self.rows.saturating_add(1);
        let predicted = probability >= self.settings.threshold;
        self.confusion.take(label, predicted, weight);
        self.squares.take(label, predicted, weight * weight);
        self.losses.take(label, probability, weight);
        self.calibration.take(label, probability, weight);
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
        self.rows = self.rows.saturating_add(other.rows);
        self.confusion.merge(&other.confusion);
        self.squares.merge(&other.squares);
        self.losses.merge(&other.losses);
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let (matrix, squares) = (&self.confusion, &self.squares);
        let right = matrix.true_positives + matrix.true_negatives;
        let (hits, kept) = (matrix.true_positives, matrix.true_negatives);
        for (name, part, of) in [
            ("accuracy", right, Confusion::total as fn(&Confusion) -> f64),
            ("precision", hits, Confusion::predicted_positives),
            ("recall", hits, Confusion::positives),
            ("specificity", kept, Confusion::negatives),
            ("prevalence", matrix.positives(), Confusion::total),
            ("selection_rate", matrix.predicted_positives(), Confusion::total),
        ] {
            insert_share(&mut metrics, name, Metric::share(part, of(matrix), of(squares)));
        }
        let losses = &self.losses;
        insert(&mut metrics, "log_loss", losses.log_loss(), losses.log_loss_std_error());
        insert(&mut metrics, "brier", losses.brier(), losses.brier_std_error());
        let curve = self.curve();
        if let Some(area) = self.area(&curve).filter(|area| !area.value.is_nan()) {
            metrics.insert("roc_auc".to_owned(), area);
        }
        let mut plain = |name: &str, value| insert(&mut metrics, name, value, None);
        plain("balanced_accuracy", matrix.balanced_accuracy());
        plain("f_beta", matrix.f_beta(self.settings.beta));
        plain("mcc", matrix.mcc());
        plain("normalized_entropy", losses.normalized_entropy());
        plain("calibration_ratio", losses.calibration_ratio());
        plain("ece", self.calibration.ece());
        plain("mce", self.calibration.mce());
        plain("average_precision", curve.average_precision());
        plain("ks", curve.ks().map(|(gap, _)| gap));
        let share = self.settings.lift_at;
        plain(&format!("lift@{share}"), curve.lift(share));
        metrics
    }
}
