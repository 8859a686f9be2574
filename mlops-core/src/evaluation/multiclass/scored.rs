//! Probabilities of several classes, row by row.

use ndarray::ArrayView2;

use super::{Average, ConfusionMatrix};
use crate::Result;
use crate::evaluation::Mean;
use crate::evaluation::binary::{Scored, ratio};
use crate::evaluation::error::{in_range_at, same_length};

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

pub(super) fn log_loss_of(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// The place of the largest value, the first one if tied.
pub(super) fn most_probable(values: impl Iterator<Item = f64>) -> usize {
    let best =
        values.enumerate().fold(
            (0, f64::NEG_INFINITY),
            |best, (class, value)| {
                if value > best.1 { (class, value) } else { best }
            },
        );
    best.0
}
