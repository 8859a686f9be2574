//! Two binary models over a stream of rows.

use serde::{Deserialize, Serialize};

use super::{PairedMean, PairedTest};
use crate::evaluation::error::{MetricError, in_range_at, row_after};
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};
use crate::experiment::special::{beta_quantile, beta_reg};
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
/// let gate = Gate::new([Rule::better_than("log_loss", Reference::Champion, 0.0).proven(0.95)])?;
/// let differences = Evaluation::of(&paired);
/// assert!(gate.against().champion_paired(&champion, &differences).check(&candidate).passed());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
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
    /// The standard error is the usual one, or a larger one if few rows differ: 1.645 of it below the
    /// size of the difference lies the exact one-sided bound at 0.95 of the sign test, so that a gate believes no
    /// handful of rows.
    /// `None` without rows. Source: Q. McNemar, "Note on the sampling error of the difference between
    /// correlated proportions or percentages", 1947.
    pub fn mcnemar(&self) -> Option<PairedTest> {
        let (won, lost) = (self.candidate_only as f64, self.champion_only as f64);
        let rows = self.rows as f64;
        if self.rows == 0 {
            return None;
        }
        let difference = (won - lost) / rows;
        let usual = (((won + lost) / rows - difference * difference).max(0.0) / rows).sqrt();
        let std_error = usual.max(sign_reach(won, lost, rows) / Z_95);
        // P(X <= min) of a fair binomial, as an incomplete beta function.
        let (few, many) = (won.min(lost), won.max(lost));
        let tail = if won == lost { 0.5 } else { beta_reg(many, few + 1.0, 0.5, 0.5) };
        Some(PairedTest { difference, std_error, p_value: (2.0 * tail).min(1.0) })
    }
}

/// How far the larger accuracy may be below what it seems by the exact one-sided 95 % bound of the sign test.
fn sign_reach(won: f64, lost: f64, rows: f64) -> f64 {
    let (more, fewer) = (won.max(lost), won.min(lost));
    let differ = more + fewer;
    // Among the rows that differ a share is won, and a share of all rows differs.
    let more_least = if more == 0.0 { 0.0 } else { beta_quantile(0.05, more, fewer + 1.0) };
    let differ_most = if differ >= rows { 1.0 } else { beta_quantile(0.95, differ + 1.0, rows - differ) };
    let lead = 2.0 * more_least - 1.0;
    (more - fewer) / rows - lead * if lead < 0.0 { differ_most } else { differ / rows }
}

/// The normal quantile of 0.95.
const Z_95: f64 = 1.644_853_626_951_472_7;

/// Metrics as they were stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    version: Version<1>,
    threshold: f64,
    rows: u64,
    log_loss: PairedMean,
    brier: PairedMean,
    candidate_only: u64,
    champion_only: u64,
}

impl TryFrom<Stored> for PairedBinary {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, threshold, rows, log_loss, brier, candidate_only, champion_only } = stored;
        Self::new(threshold)?;
        if candidate_only.checked_add(champion_only).is_none_or(|differ| differ > rows) {
            return Err(Error::data(format!(
                "{candidate_only} and {champion_only} rows differ among {rows}: the state is torn"
            )));
        }
        Ok(Self { version, threshold, rows, log_loss, brier, candidate_only, champion_only })
    }
}

impl MetricState for PairedBinary {
    type Row = PairedRow;

    fn push(&mut self, &PairedRow { label, candidate, champion }: &PairedRow) -> Result<()> {
        let row = row_after(self.rows);
        in_range_at("candidate's probability", row, candidate, 0.0, 1.0)?;
        in_range_at("champion's probability", row, champion, 0.0, 1.0)?;
        let of_label = |probability: f64| if label { probability } else { 1.0 - probability };
        let log_loss = |probability| -of_label(probability).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
        let right = |probability: f64| (probability >= self.threshold) == label;
        self.log_loss.add(log_loss(candidate), log_loss(champion))?;
        self.brier.add((1.0 - of_label(candidate)).powi(2), (1.0 - of_label(champion)).powi(2))?;
        match (right(candidate), right(champion)) {
            (true, false) => self.candidate_only = self.candidate_only.saturating_add(1),
            (false, true) => self.champion_only = self.champion_only.saturating_add(1),
            _ => {}
        }
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.threshold != other.threshold {
            return Err(MetricError::Incompatible { what: "paired metrics" }.into());
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.log_loss.merge(&other.log_loss);
        self.brier.merge(&other.brier);
        self.candidate_only = self.candidate_only.saturating_add(other.candidate_only);
        self.champion_only = self.champion_only.saturating_add(other.champion_only);
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
