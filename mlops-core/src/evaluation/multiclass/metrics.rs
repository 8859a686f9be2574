//! Metrics of several classes over a stream of rows.

use serde::{Deserialize, Serialize};

use super::scored::{log_loss_of, most_probable};
use super::{Average, ConfusionMatrix};
use crate::Result;
use crate::evaluation::error::{in_range_at, row_after, same_length};
use crate::evaluation::metric::{Metric, MetricState, Metrics, Version, insert, insert_share};
use crate::evaluation::{Mean, Sum};

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
        let place = row_after(self.rows);
        same_length("probabilities", row.probabilities.len(), self.matrix.classes())?;
        for &probability in &row.probabilities {
            in_range_at("probability", place, probability, 0.0, 1.0)?;
        }
        let sum = row.probabilities.iter().copied().collect::<Sum>().value();
        in_range_at("sum of probabilities", place, sum, 1.0 - 1e-5, 1.0 + 1e-5)?;
        self.matrix.add(row.label, most_probable(row.probabilities.iter().copied()), 1.0)?;
        self.log_loss.add(log_loss_of(row.probabilities[row.label]), 1.0);
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.matrix.merge(&other.matrix)?;
        self.log_loss.merge(&other.log_loss);
        self.rows = self.rows.saturating_add(other.rows);
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let average = self.matrix.average(Average::Macro);
        insert(&mut metrics, "log_loss", self.log_loss.value(), self.log_loss.std_error());
        let total = self.matrix.total();
        insert_share(&mut metrics, "accuracy", Metric::share(self.matrix.hits(), total, total));
        for (name, value) in [
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
