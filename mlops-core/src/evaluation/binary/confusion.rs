//! The four counts behind every metric of yes-or-no decisions.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::evaluation::error::{row_after, stored_size, weight_at};

/// The confusion matrix of two classes, as counts or sums of weights.
///
/// Counts are exact up to 2^53 rows, so merging over any sharding gives the same bits. Ratios whose denominator
/// is zero are `None`: what scikit-learn calls `zero_division` is the caller's `unwrap_or`.
///
/// ```
/// use mlops_core::evaluation::binary::Confusion;
///
/// let matrix = Confusion { true_negatives: 4.0, false_positives: 0.0, false_negatives: 1.0, true_positives: 3.0 };
/// assert_eq!(matrix.precision(), Some(1.0));
/// assert_eq!(matrix.recall(), Some(0.75));
/// assert_eq!(matrix.f_beta(1.0), Some(6.0 / 7.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Negative rows that were predicted negative.
    #[serde(deserialize_with = "stored_size")]
    pub true_negatives: f64,
    /// Negative rows that were predicted positive.
    #[serde(deserialize_with = "stored_size")]
    pub false_positives: f64,
    /// Positive rows that were predicted negative.
    #[serde(deserialize_with = "stored_size")]
    pub false_negatives: f64,
    /// Positive rows that were predicted positive.
    #[serde(deserialize_with = "stored_size")]
    pub true_positives: f64,
}

impl Confusion {
    /// Adds one row of this weight.
    ///
    /// # Errors
    /// `Data` if the weight is negative, not finite or above 1e20.
    #[inline]
    pub fn add(&mut self, label: bool, predicted: bool, weight: f64) -> Result<()> {
        weight_at(row_after(self.total() as u64), weight)?;
        self.take(label, predicted, weight);
        Ok(())
    }

    /// Adds one row that was checked.
    #[inline]
    pub(super) fn take(&mut self, label: bool, predicted: bool, weight: f64) {
        match (label, predicted) {
            (false, false) => self.true_negatives += weight,
            (false, true) => self.false_positives += weight,
            (true, false) => self.false_negatives += weight,
            (true, true) => self.true_positives += weight,
        }
    }

    /// Adds all rows of another matrix.
    pub fn merge(&mut self, other: &Self) {
        self.true_negatives += other.true_negatives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_positives += other.true_positives;
    }

    /// All rows.
    pub fn total(&self) -> f64 {
        self.positives() + self.negatives()
    }

    /// Rows whose label is positive.
    pub fn positives(&self) -> f64 {
        self.true_positives + self.false_negatives
    }

    /// Rows whose label is negative.
    pub fn negatives(&self) -> f64 {
        self.true_negatives + self.false_positives
    }

    /// Rows that were predicted positive.
    pub fn predicted_positives(&self) -> f64 {
        self.true_positives + self.false_positives
    }

    /// Rows that were predicted negative.
    pub fn predicted_negatives(&self) -> f64 {
        self.true_negatives + self.false_negatives
    }

    /// The share of rows that were predicted right: (tp + tn) / n.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.true_positives + self.true_negatives, self.total())
    }

    /// The share of the predicted positives that are positive: tp / (tp + fp).
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.predicted_positives())
    }

    /// The share of the positives that were found: tp / (tp + fn). Also called sensitivity or true positive rate.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.positives())
    }

    /// The share of the negatives that were left alone: tn / (tn + fp). Also called true negative rate.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negatives, self.negatives())
    }

    /// The share of the negatives that were predicted positive: fp / (tn + fp).
    pub fn false_positive_rate(&self) -> Option<f64> {
        ratio(self.false_positives, self.negatives())
    }

    /// The share of the rows that were predicted positive: (tp + fp) / n.
    pub fn selection_rate(&self) -> Option<f64> {
        ratio(self.predicted_positives(), self.total())
    }

    /// The share of the rows that are positive: (tp + fn) / n.
    pub fn prevalence(&self) -> Option<f64> {
        ratio(self.positives(), self.total())
    }

    /// The weighted harmonic mean of precision and recall, with recall `beta` times as important:
    /// (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp).
    ///
    /// From 0, worst, to 1. `None` if there is neither a positive nor a predicted positive, or if `beta` is
    /// negative or not finite. Source: C. J. van Rijsbergen, "Information Retrieval", 1979.
    pub fn f_beta(&self, beta: f64) -> Option<f64> {
        if !beta.is_finite() || beta < 0.0 {
            return None;
        }
        let hits = (1.0 + beta * beta) * self.true_positives;
        ratio(hits, hits + beta * beta * self.false_negatives + self.false_positives)
    }

    /// The mean of the recalls of the classes that occur: 0.5 is chance.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        match (self.recall(), self.specificity()) {
            (Some(recall), Some(specificity)) => Some((recall + specificity) / 2.0),
            (one, other) => one.or(other),
        }
    }

    /// Matthews' correlation of label and prediction: -1 always wrong, 0 chance, 1 always right.
    ///
    /// (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)). 0 if one of the four sums is zero, as in
    /// scikit-learn; `None` without rows. Source: B. W. Matthews, "Comparison of the predicted and observed
    /// secondary structure of T4 phage lysozyme", 1975.
    pub fn mcc(&self) -> Option<f64> {
        if self.total() <= 0.0 {
            return None;
        }
        let numerator =
            self.true_positives * self.true_negatives - self.false_positives * self.false_negatives;
        // Two square roots rather than one of the product: weights of any size stay in range.
        let labels = (self.positives() * self.negatives()).sqrt();
        let predictions = (self.predicted_positives() * self.predicted_negatives()).sqrt();
        Some(ratio(numerator, labels * predictions).unwrap_or(0.0))
    }

    /// Cohen's kappa: how much the agreement exceeds that of chance, 1 if perfect.
    ///
    /// `None` without rows or if chance alone would agree always. Source: J. Cohen, "A coefficient of agreement
    /// for nominal scales", 1960.
    pub fn kappa(&self) -> Option<f64> {
        let total = self.total();
        let observed = self.accuracy()?;
        let expected = (self.positives() * self.predicted_positives()
            + self.negatives() * self.predicted_negatives())
            / (total * total);
        ratio(observed - expected, 1.0 - expected)
    }

    /// What the decisions cost: fp `false_positive_cost` + fn `false_negative_cost`, a row.
    pub fn mean_cost(&self, false_positive_cost: f64, false_negative_cost: f64) -> Option<f64> {
        ratio(
            self.false_positives * false_positive_cost + self.false_negatives * false_negative_cost,
            self.total(),
        )
    }
}

/// a / b, `None` if b is zero.
pub(crate) fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}
