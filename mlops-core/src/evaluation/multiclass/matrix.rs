//! Decisions among several classes, counted.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::evaluation::binary::ratio;
use crate::evaluation::error::{MetricError, WEIGHT_MAX, in_range_at, row_after, same_length, weight_at};

/// How the metrics of single classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// Every class counts the same.
    Macro,
    /// Every class counts by its number of labels.
    Weighted,
}

/// Precision, recall and F1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecall {
    /// The share of the predictions of the class that are right.
    pub precision: f64,
    /// The share of the labels of the class that were found.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
}

/// Labels against predictions, counted. Merges; counts are exact.
///
/// ```
/// use mlops_core::evaluation::multiclass::{Average, ConfusionMatrix};
///
/// let mut matrix = ConfusionMatrix::new(3)?;
/// for (label, predicted) in [(0, 0), (1, 1), (2, 1), (2, 2)] {
///     matrix.add(label, predicted, 1.0)?;
/// }
/// assert_eq!(matrix.accuracy(), Some(0.75));
/// assert_eq!(matrix.average(Average::Macro).unwrap().precision, (1.0 + 0.5 + 1.0) / 3.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f64>>", into = "Vec<Vec<f64>>")]
pub struct ConfusionMatrix {
    classes: usize,
    /// By label, then by prediction.
    counts: Vec<f64>,
}

impl ConfusionMatrix {
    /// An empty matrix.
    ///
    /// # Errors
    /// `Invalid` with fewer than 2 or more than 10,000 classes.
    pub fn new(classes: usize) -> Result<Self> {
        if !(2..=10_000).contains(&classes) {
            let want = "2 to 10000";
            return Err(
                MetricError::Setting { what: "number of classes", value: classes as f64, want }.into()
            );
        }
        Ok(Self { classes, counts: vec![0.0; classes * classes] })
    }

    /// Adds one row of this weight.
    ///
    /// # Errors
    /// `Data` if a class is too large or the weight negative, not finite or above 1e20.
    pub fn add(&mut self, label: usize, predicted: usize, weight: f64) -> Result<()> {
        if label >= self.classes || predicted >= self.classes || !(0.0..=WEIGHT_MAX).contains(&weight) {
            let (row, last) = (row_after(self.total() as u64), (self.classes - 1) as f64);
            in_range_at("label", row, label as f64, 0.0, last)?;
            in_range_at("prediction", row, predicted as f64, 0.0, last)?;
            weight_at(row, weight)?;
        }
        self.counts[label * self.classes + predicted] += weight;
        Ok(())
    }

    /// Adds all rows of another matrix.
    ///
    /// # Errors
    /// `Invalid` if the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.classes != other.classes {
            return Err(MetricError::Incompatible { what: "confusion matrices" }.into());
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        Ok(())
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The weight of the rows of this label that were predicted so; 0 for an unknown class.
    pub fn count(&self, label: usize, predicted: usize) -> f64 {
        let known = label < self.classes && predicted < self.classes;
        if known { self.counts[label * self.classes + predicted] } else { 0.0 }
    }

    /// The share of rows that were predicted right.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.hits(), self.total())
    }

    /// Precision, recall and F1 of one class; `None` if it occurs neither as label nor as prediction.
    pub fn of_class(&self, class: usize) -> Option<PrecisionRecall> {
        let (hits, labels, predictions) =
            (self.count(class, class), self.labels(class), self.predictions(class));
        ratio(2.0 * hits, labels + predictions).map(|f1| PrecisionRecall {
            precision: ratio(hits, predictions).unwrap_or(0.0),
            recall: ratio(hits, labels).unwrap_or(0.0),
            f1,
        })
    }

    /// Precision, recall and F1 averaged over the classes that occur; `None` without rows.
    pub fn average(&self, average: Average) -> Option<PrecisionRecall> {
        let (mut sum, mut total) = ([0.0; 3], 0.0);
        for class in 0..self.classes {
            let Some(one) = self.of_class(class) else { continue };
            let weight = if average == Average::Macro { 1.0 } else { self.labels(class) };
            for (sum, value) in sum.iter_mut().zip([one.precision, one.recall, one.f1]) {
                *sum += weight * value;
            }
            total += weight;
        }
        let [precision, recall, f1] = sum.map(|sum| sum / total);
        (total > 0.0).then_some(PrecisionRecall { precision, recall, f1 })
    }

    /// Cohen's kappa: how much the agreement exceeds that of chance. `None` if chance alone would always agree.
    pub fn kappa(&self) -> Option<f64> {
        let total = self.total();
        let chance: f64 = self.margins().map(|(labels, predictions)| labels * predictions).sum();
        let expected = chance / (total * total);
        ratio(self.accuracy()? - expected, 1.0 - expected)
    }

    /// Matthews' correlation for several classes; 0 if labels or predictions are constant.
    ///
    /// Source: J. Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    pub fn mcc(&self) -> Option<f64> {
        let total = self.total();
        if total <= 0.0 {
            return None;
        }
        let sum = |term: fn(f64, f64) -> f64| self.margins().map(|(l, p)| term(l, p)).sum::<f64>();
        let together = self.hits() * total - sum(|labels, predictions| labels * predictions);
        let labels = total * total - sum(|labels, _| labels * labels);
        let predictions = total * total - sum(|_, predictions| predictions * predictions);
        Some(ratio(together, (labels * predictions).sqrt()).unwrap_or(0.0))
    }

    pub(super) fn hits(&self) -> f64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    pub(super) fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    fn labels(&self, class: usize) -> f64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    fn predictions(&self, class: usize) -> f64 {
        (0..self.classes).map(|label| self.count(label, class)).sum()
    }

    fn margins(&self) -> impl Iterator<Item = (f64, f64)> {
        (0..self.classes).map(|class| (self.labels(class), self.predictions(class)))
    }
}

impl From<ConfusionMatrix> for Vec<Vec<f64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.counts.chunks(matrix.classes).map(<[f64]>::to_vec).collect()
    }
}

impl TryFrom<Vec<Vec<f64>>> for ConfusionMatrix {
    type Error = crate::Error;

    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self> {
        let mut matrix = Self::new(rows.len())?;
        for (label, row) in rows.iter().enumerate() {
            same_length("predictions of a label", row.len(), matrix.classes)?;
            for (predicted, &weight) in row.iter().enumerate() {
                matrix.add(label, predicted, weight)?;
            }
        }
        Ok(matrix)
    }
}
