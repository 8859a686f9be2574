//! A checked batch of labels and scores.

use super::scores::{curve_of_rows, key, score_of};
use super::{BinEdge, CalibrationTable, Confusion, Curve, ProbabilityLosses, Run};
use crate::evaluation::error::{MetricError, finite, in_range, same_length};
use crate::evaluation::quantile::quantile_edges;
use crate::{Error, Result};

/// Labels, scores and, if you like, weights of the same rows: checked once, asked often.
///
/// Scores are finite; those metrics that read them as probabilities check that they lie in 0..=1. Rows of
/// weight zero count for nothing. An empty batch is allowed: its metrics are `None`.
///
/// ```
/// use mlops_core::evaluation::binary::Scored;
///
/// let labels = [false, true, true, false];
/// let rows = Scored::new(&labels, &[0.2, 0.9, 0.4, 0.4])?;
/// assert_eq!(rows.roc_auc(), Some(0.875));
/// assert_eq!(rows.confusion(0.5).recall(), Some(0.5));
/// assert!((rows.losses()?.log_loss().unwrap() - 0.4389).abs() < 1e-4);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    labels: &'a [bool],
    scores: &'a [f64],
    weights: Option<&'a [f64]>,
}

impl<'a> Scored<'a> {
    /// The rows with these labels and scores.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a score is NaN or infinite.
    pub fn new(labels: &'a [bool], scores: &'a [f64]) -> Result<Self> {
        same_length("scores", scores.len(), labels.len())?;
        finite("score", scores)?;
        Ok(Self { labels, scores, weights: None })
    }

    /// The same rows with weights.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a weight is negative, not finite or above 1e20.
    pub fn weighted(self, weights: &'a [f64]) -> Result<Self> {
        same_length("weights", weights.len(), self.labels.len())?;
        crate::evaluation::error::weights(weights)?;
        Ok(Self { weights: Some(weights), ..self })
    }

    /// The labels.
    pub fn labels(&self) -> &'a [bool] {
        self.labels
    }

    /// The scores.
    pub fn scores(&self) -> &'a [f64] {
        self.scores
    }

    /// Label, score and weight of each row.
    pub fn rows(&self) -> impl Iterator<Item = (bool, f64, f64)> {
        let weight = |row: usize| self.weights.map_or(1.0, |weights| weights[row]);
        let pairs = self.labels.iter().zip(self.scores).enumerate();
        pairs.map(move |(row, (&label, &score))| (label, score, weight(row)))
    }

    /// The scores in order, with the rows that share them. O(n log n) time, O(n) memory.
    pub fn curve(&self) -> Curve {
        if self.weights.is_some() {
            let run = |(label, score, weight)| run_of(label, score, weight);
            return curve_of_rows(self.rows().filter(|row| row.2 > 0.0).map(run).collect());
        }
        let (positives, negatives) = self.sorted_keys();
        let mut runs: Vec<Run> = Vec::new();
        let (mut positive, mut negative) = (positives.len(), negatives.len());
        while positive + negative > 0 {
            let top = positives[..positive].last().max(negatives[..negative].last());
            let Some(&top) = top else { break };
            let ties = |keys: &[u64]| keys.iter().rev().take_while(|&&key| key == top).count();
            let (hits, misses) = (ties(&positives[..positive]), ties(&negatives[..negative]));
            runs.push(Run { score: score_of(top), positives: hits as f64, negatives: misses as f64 });
            (positive, negative) = (positive - hits, negative - misses);
        }
        Curve::new(runs)
    }

    /// The exact area under the ROC curve; see [`Curve::roc_auc`]. Faster than going through the curve.
    pub fn roc_auc(&self) -> Option<f64> {
        if self.weights.is_some() {
            return self.curve().roc_auc();
        }
        let (positives, negatives) = self.sorted_keys();
        if positives.is_empty() || negatives.is_empty() {
            return None;
        }
        // Twice the number of (positive, negative) pairs in order, a tie counting one: whole numbers, no rounding.
        let (mut below, mut ties_end, mut twice) = (0, 0, 0_u128);
        for &key in &positives {
            while below < negatives.len() && negatives[below] < key {
                below += 1;
            }
            ties_end = ties_end.max(below);
            while ties_end < negatives.len() && negatives[ties_end] == key {
                ties_end += 1;
            }
            twice += (below + ties_end) as u128;
        }
        Some(twice as f64 / 2.0 / (positives.len() as f64 * negatives.len() as f64))
    }

    /// The decisions at a threshold: a score of at least `threshold` is positive.
    pub fn confusion(&self, threshold: f64) -> Confusion {
        let mut confusion = Confusion::default();
        self.rows().for_each(|(label, score, weight)| confusion.take(label, score >= threshold, weight));
        confusion
    }

    /// Log loss, Brier score and their kin.
    ///
    /// # Errors
    /// `Data` if a score is not a probability in 0..=1.
    pub fn losses(&self) -> Result<ProbabilityLosses> {
        in_range("probability", self.scores, 0.0, 1.0)?;
        let mut losses = ProbabilityLosses::default();
        match self.weights {
            None => losses.extend(self.labels, self.scores),
            Some(_) => self.rows().for_each(|(label, score, weight)| losses.take(label, score, weight)),
        }
        Ok(losses)
    }

    /// The reliability table with bins of equal width.
    ///
    /// # Errors
    /// `Data` if a score is not a probability in 0..=1, `Invalid` if `bins` is 0 or above 1,000,000.
    pub fn calibration(&self, bins: usize, edge: BinEdge) -> Result<CalibrationTable> {
        self.fill(CalibrationTable::new(bins, edge)?)
    }

    /// The reliability table with bins of about equal numbers of rows: edges are the quantiles of the scores
    /// (linear interpolation, weights not counted), each bin (a, b].
    ///
    /// # Errors
    /// `Data` if a score is not a probability in 0..=1, `Invalid` if `bins` is 0 or above 1,000,000.
    pub fn calibration_by_quantile(&self, bins: usize) -> Result<CalibrationTable> {
        in_range("probability", self.scores, 0.0, 1.0)?;
        if bins == 0 || bins > 1_000_000 {
            let want = "1 to 1000000 bins";
            return Err(MetricError::Setting { what: "number of bins", value: bins as f64, want }.into());
        }
        self.fill(CalibrationTable::with_edges(&quantile_edges(self.scores, bins), BinEdge::UpperClosed)?)
    }

    fn fill(&self, mut table: CalibrationTable) -> Result<CalibrationTable> {
        in_range("probability", self.scores, 0.0, 1.0)?;
        self.rows().for_each(|(label, score, weight)| table.take(label, score, weight));
        Ok(table)
    }

    /// The order keys of the positives and of the negatives, each ascending.
    fn sorted_keys(&self) -> (Vec<u64>, Vec<u64>) {
        let positives = self.labels.iter().filter(|&&label| label).count();
        // Every key is written to both lists and only the list of its class moves on: no branch to mispredict.
        let mut lists = [vec![0; positives + 1], vec![0; self.labels.len() - positives + 1]];
        let mut ends = [0, 0];
        for (&label, &score) in self.labels.iter().zip(self.scores) {
            let class = usize::from(!label);
            lists[class][ends[class]] = key(score);
            ends[class] += 1;
        }
        let [mut positives, mut negatives] = lists;
        positives.truncate(ends[0]);
        negatives.truncate(ends[1]);
        positives.sort_unstable();
        negatives.sort_unstable();
        (positives, negatives)
    }
}

/// A run of one row.
pub(super) fn run_of(label: bool, score: f64, weight: f64) -> Run {
    let (positives, negatives) = if label { (weight, 0.0) } else { (0.0, weight) };
    Run { score, positives, negatives }
}

/// Labels from numbers: 1 is positive, 0 is negative.
///
/// # Errors
/// `Data` if a number is neither 0 nor 1.
///
/// ```
/// use mlops_core::evaluation::binary::labels_from;
///
/// assert_eq!(labels_from(&[0.0, 1.0])?, [false, true]);
/// assert!(labels_from(&[0.5]).is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn labels_from(numbers: &[f64]) -> Result<Vec<bool>> {
    let label = |(row, &value): (usize, &f64)| match value {
        0.0 => Ok(false),
        1.0 => Ok(true),
        value if value.is_nan() => Err(MetricError::NonFinite { what: "label", row, value }.into()),
        value => Err(Error::data(format!(
            "label {value} at row {row} is neither 0 nor 1: decide by a threshold first"
        ))),
    };
    numbers.iter().enumerate().map(label).collect()
}
