//! More than two classes: decisions in a matrix, probabilities row by row.
//!
//! Classes are numbers from 0. Conventions are those of scikit-learn 1.9: averages run over the classes that
//! occur as a label or a prediction, and a share whose denominator is zero counts 0.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::binary::{Scored, ratio};
use super::error::{MetricError, in_range_at, same_length};
use super::metric::{MetricState, Metrics, Version, insert};
use super::{Mean, Sum};
use crate::Result;

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
    /// `Data` if a class is too large or the weight negative or not finite.
    pub fn add(&mut self, label: usize, predicted: usize, weight: f64) -> Result<()> {
        let last = (self.classes - 1) as f64;
        in_range_at("label", 0, label as f64, 0.0, last)?;
        in_range_at("prediction", 0, predicted as f64, 0.0, last)?;
        in_range_at("weight", 0, weight, 0.0, f64::MAX)?;
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

    fn hits(&self) -> f64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    fn total(&self) -> f64 {
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

/// Labels and predicted probabilities of the same rows, checked once.
///
/// ```
/// use mlops_core::evaluation::multiclass::{Average, ScoredClasses};
/// use ndarray::array;
///
/// let probabilities = array![[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]];
/// let rows = ScoredClasses::new(&[0, 1, 2], &probabilities.view())?;
/// assert_eq!(rows.auc_one_vs_rest(Average::Macro), Some(1.0));
/// assert_eq!(rows.confusion()?.accuracy(), Some(1.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ScoredClasses<'a> {
    labels: &'a [usize],
    probabilities: ArrayView2<'a, f64>,
}

impl<'a> ScoredClasses<'a> {
    /// The rows with these labels and probabilities, a column a class.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ or there are fewer than 2 columns; `Data` if a label has no column, or a
    /// row is not made of probabilities that add up to 1 within 1e-5.
    pub fn new(labels: &'a [usize], probabilities: &ArrayView2<'a, f64>) -> Result<Self> {
        same_length("rows of probabilities", probabilities.nrows(), labels.len())?;
        ConfusionMatrix::new(probabilities.ncols())?;
        for (row, (&label, of_row)) in labels.iter().zip(probabilities.rows()).enumerate() {
            in_range_at("label", row, label as f64, 0.0, (probabilities.ncols() - 1) as f64)?;
            of_row.iter().try_for_each(|&value| in_range_at("probability", row, value, 0.0, 1.0))?;
            in_range_at("sum of probabilities", row, of_row.sum(), 1.0 - 1e-5, 1.0 + 1e-5)?;
        }
        Ok(Self { labels, probabilities: *probabilities })
    }

    /// The mean of -ln(probability of the label), clipped as for two classes.
    pub fn log_loss(&self) -> Option<f64> {
        self.log_losses().value()
    }

    /// The decisions for the most probable class, the first one if tied.
    ///
    /// # Errors
    /// `Invalid` with more than 10,000 classes.
    pub fn confusion(&self) -> Result<ConfusionMatrix> {
        let mut matrix = ConfusionMatrix::new(self.probabilities.ncols())?;
        for (&label, of_row) in self.labels.iter().zip(self.probabilities.rows()) {
            matrix.add(label, most_probable(of_row.iter().copied()), 1.0)?;
        }
        Ok(matrix)
    }

    /// The share of rows whose label is among the `k` most probable classes; ties count for the row.
    pub fn top_k_accuracy(&self, k: usize) -> Option<f64> {
        let hit = |(&label, of_row): (&usize, ndarray::ArrayView1<'_, f64>)| {
            of_row.iter().filter(|&&other| other > of_row[label]).count() < k
        };
        let hits =
            self.labels.iter().zip(self.probabilities.rows()).filter(|row| hit((row.0, row.1))).count();
        ratio(hits as f64, self.labels.len() as f64)
    }

    /// The area under the ROC curve of each class against all others, averaged.
    ///
    /// `None` if a class has no rows or all of them.
    pub fn auc_one_vs_rest(&self, average: Average) -> Option<f64> {
        let (mut sum, mut total) = (0.0, 0.0);
        for class in 0..self.probabilities.ncols() {
            let rows = self.rows_of(class);
            let weight = if average == Average::Macro { 1.0 } else { rows as f64 };
            sum += weight * self.auc(class, |_| true)?;
            total += weight;
        }
        ratio(sum, total)
    }

    /// The area under the ROC curve of each pair of classes, averaged; with [`Average::Weighted`] a pair counts
    /// by the number of its rows. `None` if a class has no rows.
    ///
    /// Source: D. J. Hand, R. J. Till, "A simple generalisation of the area under the ROC curve for multiple
    /// class classification problems", 2001.
    pub fn auc_one_vs_one(&self, average: Average) -> Option<f64> {
        let (mut sum, mut total) = (0.0, 0.0);
        for low in 0..self.probabilities.ncols() {
            for high in low + 1..self.probabilities.ncols() {
                let pair = |label: usize| label == low || label == high;
                let area = (self.auc(low, pair)? + self.auc(high, pair)?) / 2.0;
                let rows = self.rows_of(low) + self.rows_of(high);
                let weight = if average == Average::Macro { 1.0 } else { rows as f64 };
                sum += weight * area;
                total += weight;
            }
        }
        ratio(sum, total)
    }

    fn auc(&self, class: usize, among: impl Fn(usize) -> bool) -> Option<f64> {
        let column = self.labels.iter().zip(self.probabilities.column(class)).filter(|row| among(*row.0));
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            column.map(|(&label, &score)| (label == class, score)).unzip();
        Scored::new(&labels, &scores).ok()?.roc_auc()
    }

    fn rows_of(&self, class: usize) -> usize {
        self.labels.iter().filter(|&&label| label == class).count()
    }

    fn log_losses(&self) -> Mean {
        let mut losses = Mean::default();
        for (&label, of_row) in self.labels.iter().zip(self.probabilities.rows()) {
            losses.add(log_loss_of(of_row[label]), 1.0);
        }
        losses
    }
}

/// One row for [`MulticlassMetrics`]: the label and a probability for each class.
#[derive(Clone, Debug, PartialEq)]
pub struct MulticlassRow {
    /// The true class.
    pub label: usize,
    /// The predicted probabilities.
    pub probabilities: Vec<f64>,
}

/// Metrics of several classes as a value that streams, merges and serialises: `accuracy`, `precision`, `recall`,
/// `f_beta` (macro, beta 1), `kappa`, `mcc` and `log_loss`.
///
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::multiclass::{MulticlassMetrics, MulticlassRow};
///
/// let mut metrics = MulticlassMetrics::new(3)?;
/// metrics.push(&MulticlassRow { label: 2, probabilities: vec![0.1, 0.2, 0.7] })?;
/// assert_eq!(metrics.metrics()["accuracy"].value, 1.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MulticlassMetrics {
    version: Version<1>,
    rows: u64,
    matrix: ConfusionMatrix,
    log_loss: Mean,
}

impl MulticlassMetrics {
    /// No rows yet.
    ///
    /// # Errors
    /// `Invalid` with fewer than 2 or more than 10,000 classes.
    pub fn new(classes: usize) -> Result<Self> {
        let matrix = ConfusionMatrix::new(classes)?;
        Ok(Self { version: Version, rows: 0, matrix, log_loss: Mean::default() })
    }

    /// The decisions.
    pub fn confusion(&self) -> &ConfusionMatrix {
        &self.matrix
    }
}

impl MetricState for MulticlassMetrics {
    type Row = MulticlassRow;

    fn push(&mut self, row: &MulticlassRow) -> Result<()> {
        let place = usize::try_from(self.rows).unwrap_or(usize::MAX);
        same_length("probabilities", row.probabilities.len(), self.matrix.classes)?;
        for &probability in &row.probabilities {
            in_range_at("probability", place, probability, 0.0, 1.0)?;
        }
        let sum = row.probabilities.iter().copied().collect::<Sum>().value();
        in_range_at("sum of probabilities", place, sum, 1.0 - 1e-5, 1.0 + 1e-5)?;
        self.matrix.add(row.label, most_probable(row.probabilities.iter().copied()), 1.0)?;
        self.log_loss.add(log_loss_of(row.probabilities[row.label]), 1.0);
        self.rows += 1;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.matrix.merge(&other.matrix)?;
        self.log_loss.merge(&other.log_loss);
        self.rows += other.rows;
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let average = self.matrix.average(Average::Macro);
        insert(&mut metrics, "log_loss", self.log_loss.value(), self.log_loss.std_error());
        for (name, value) in [
            ("accuracy", self.matrix.accuracy()),
            ("precision", average.map(|average| average.precision)),
            ("recall", average.map(|average| average.recall)),
            ("f_beta", average.map(|average| average.f1)),
            ("kappa", self.matrix.kappa()),
            ("mcc", self.matrix.mcc()),
        ] {
            insert(&mut metrics, name, value, None);
        }
        metrics
    }
}

fn log_loss_of(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// The place of the largest value, the first one if tied.
fn most_probable(values: impl Iterator<Item = f64>) -> usize {
    let best =
        values.enumerate().fold(
            (0, f64::NEG_INFINITY),
            |best, (class, value)| {
                if value > best.1 { (class, value) } else { best }
            },
        );
    best.0
}
