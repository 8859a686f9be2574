//! Two binary models over a stream of rows.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use super::{PairedMean, PairedTest};
use crate::evaluation::error::{MetricError, in_range_at};
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};
use crate::{Error, Result};

/// One row: the label and the probabilities of both models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedRow {
    /// The true class.
    pub label: bool,
    /// The candidate's probability of the positive class.
    pub candidate: f64,
    /// The champion's.
    pub champion: f64,
}

/// Two binary models on the same rows: differences of `log_loss`, `brier` and `accuracy` with standard errors.
///
/// Streams, merges (counts exactly), serialises. Add `roc_auc` by [`paired_roc_auc`](super::paired_roc_auc) where the rows are at hand.
///
/// ```
/// use mlops_core::evaluation::paired::{PairedBinary, PairedRow};
/// use mlops_core::evaluation::{Evaluation, Gate, Metric, MetricState, Reference, Rule};
///
/// let mut paired = PairedBinary::new(0.5)?;
/// for row in 0..200 {
///     let (label, noise) = (row % 2 == 0, f64::from(row % 7) / 50.0);
///     let (candidate, champion) = if label { (0.8, 0.7 - noise) } else { (0.2, 0.3 + noise) };
///     paired.push(&PairedRow { label, candidate, champion })?;
/// }
/// let candidate = Evaluation::new(200).with("log_loss", Metric::new(0.223));
/// let champion = Evaluation::new(200).with("log_loss", Metric::new(0.449));
/// let gate = Gate::new([Rule::better_than("log_loss", Reference::Champion, 0.0).proven(0.95)]);
/// let differences = Evaluation::of(&paired);
/// assert!(gate.against().champion_paired(&champion, &differences).check(&candidate).passed());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedBinary {
    version: Version<1>,
    threshold: f64,
    rows: u64,
    log_loss: PairedMean,
    brier: PairedMean,
    /// Rows that the candidate alone had right.
    candidate_only: u64,
    /// Rows that the champion alone had right.
    champion_only: u64,
}

impl PairedBinary {
    /// No rows yet; probabilities of at least `threshold` are decided positive.
    ///
    /// # Errors
    /// `Invalid` if the threshold is NaN.
    pub fn new(threshold: f64) -> Result<Self> {
        if threshold.is_nan() {
            return Err(Error::invalid("the threshold is NaN: want a number"));
        }
        Ok(Self {
            version: Version,
            threshold,
            rows: 0,
            log_loss: PairedMean::default(),
            brier: PairedMean::default(),
            candidate_only: 0,
            champion_only: 0,
        })
    }

    /// McNemar's exact test of equal accuracy: a sign test on the rows that one model alone had right.
    ///
    /// `None` without rows. Source: Q. McNemar, "Note on the sampling error of the difference between
    /// correlated proportions or percentages", 1947.
    pub fn mcnemar(&self) -> Option<PairedTest> {
        let (won, lost) = (self.candidate_only as f64, self.champion_only as f64);
        let rows = self.rows as f64;
        if self.rows == 0 {
            return None;
        }
        let difference = (won - lost) / rows;
        let std_error = ((won + lost) / rows - difference * difference).max(0.0) / rows;
        // P(X <= min) of a fair binomial, as an incomplete beta function.
        let (few, many) = (won.min(lost), won.max(lost));
        let tail = if won == lost { 0.5 } else { beta_reg(many, few + 1.0, 0.5) };
        Some(PairedTest { difference, std_error: std_error.sqrt(), p_value: (2.0 * tail).min(1.0) })
    }
}

impl MetricState for PairedBinary {
    type Row = PairedRow;

    fn push(&mut self, &PairedRow { label, candidate, champion }: &PairedRow) -> Result<()> {
        let row = usize::try_from(self.rows).unwrap_or(usize::MAX);
        in_range_at("candidate's probability", row, candidate, 0.0, 1.0)?;
        in_range_at("champion's probability", row, champion, 0.0, 1.0)?;
        let of_label = |probability: f64| if label { probability } else { 1.0 - probability };
        let log_loss = |probability| -of_label(probability).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
        let right = |probability: f64| (probability >= self.threshold) == label;
        self.log_loss.add(log_loss(candidate), log_loss(champion))?;
        self.brier.add((1.0 - of_label(candidate)).powi(2), (1.0 - of_label(champion)).powi(2))?;
        match (right(candidate), right(champion)) {
            (true, false) => self.candidate_only += 1,
            (false, true) => self.champion_only += 1,
            _ => {}
        }
        self.rows += 1;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.threshold != other.threshold {
            return Err(MetricError::Incompatible { what: "paired metrics" }.into());
        }
        self.rows += other.rows;
        self.log_loss.merge(&other.log_loss);
        self.brier.merge(&other.brier);
        self.candidate_only += other.candidate_only;
        self.champion_only += other.champion_only;
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for (name, paired) in [("log_loss", &self.log_loss), ("brier", &self.brier)] {
            let metric = paired.metric();
            insert(
                &mut metrics,
                name,
                metric.map(|metric| metric.value),
                metric.and_then(|metric| metric.std_error),
            );
        }
        let accuracy = self.mcnemar();
        insert(
            &mut metrics,
            "accuracy",
            accuracy.map(|test| test.difference),
            accuracy.map(|test| test.std_error),
        );
        metrics
    }
}
