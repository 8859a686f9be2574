//! Two models on the same rows: differences are far surer than the two metrics are.
//!
//! A difference is candidate minus champion. [`PairedBinary`] and [`PairedMean`] stream and merge;
//! [`paired_roc_auc`] needs the rows at once. The results are an [`Evaluation`](super::Evaluation) of differences,
//! which [`Gate`](super::Gate) takes beside the two evaluations.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;

use super::binary::Scored;
use super::error::{in_range_at, same_length};
use super::metric::{Metric, MetricState, Metrics, Version, insert};
use super::{Evaluation, Mean};
use crate::{Error, Result};

/// A test of no difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// Candidate minus champion.
    pub difference: f64,
    /// The standard error of the difference.
    pub std_error: f64,
    /// The two-sided p-value: how often chance alone makes a difference at least this large.
    pub p_value: f64,
}

/// The mean of the differences of any loss or score, row by row. Merges up to rounding.
///
/// ```
/// use mlops_core::evaluation::paired::PairedMean;
///
/// let mut paired = PairedMean::default();
/// for (candidate, champion) in [(0.9, 0.8), (0.7, 0.65), (0.8, 0.72), (0.6, 0.61)] {
///     paired.add(candidate, champion)?;
/// }
/// let test = paired.t_test().unwrap();
/// assert!((test.difference - 0.055).abs() < 1e-12 && test.p_value > 0.05);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairedMean {
    differences: Mean,
}

impl PairedMean {
    /// Adds the values of both models on one row.
    ///
    /// # Errors
    /// `Data` if a value is not finite.
    pub fn add(&mut self, candidate: f64, champion: f64) -> Result<()> {
        in_range_at("difference", 0, candidate - champion, f64::MIN, f64::MAX)?;
        self.differences.add(candidate - champion, 1.0);
        Ok(())
    }

    /// Adds all rows of another state.
    pub fn merge(&mut self, other: &Self) {
        self.differences.merge(&other.differences);
    }

    /// The mean difference with its standard error; `None` without rows.
    pub fn metric(&self) -> Option<Metric> {
        Some(Metric::new(self.differences.value()?).with_std_error(self.differences.std_error()))
    }

    /// Student's paired t-test. `None` with fewer than two rows; differences that are all equal give p = 1 if
    /// they are 0, else 0.
    pub fn t_test(&self) -> Option<PairedTest> {
        let (difference, std_error) = (self.differences.value()?, self.differences.std_error()?);
        let freedom = self.differences.weight() - 1.0;
        let p_value = if std_error > 0.0 {
            // Two-sided p of Student's t through the incomplete beta function: no cancellation in the tail.
            let t = difference / std_error;
            beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t))
        } else {
            f64::from(u8::from(difference == 0.0))
        };
        Some(PairedTest { difference, std_error, p_value })
    }

    /// The interval of the mean difference by Student's t; `None` with fewer than two rows or if the
    /// confidence is not above 0 and below 1.
    pub fn interval(&self, confidence: f64) -> Option<super::Interval> {
        super::interval::confidence_in_range(confidence).ok()?;
        let test = self.t_test()?;
        let student = StudentsT::new(0.0, 1.0, self.differences.weight() - 1.0).ok()?;
        let reach = student.inverse_cdf(0.5 + confidence / 2.0) * test.std_error;
        Some(super::Interval { low: test.difference - reach, high: test.difference + reach, confidence })
    }
}

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
/// Streams, merges (counts exactly), serialises. Add `roc_auc` by [`paired_roc_auc`] where the rows are at hand.
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
            return Err(super::MetricError::Incompatible { what: "paired metrics" }.into());
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

/// DeLong's test of two areas under the ROC curve on the same rows. O(n log n).
///
/// `None` with fewer than two rows of a class. Rankings that agree in every pair give p = 1. Source: E. R.
/// DeLong, D. M. DeLong, D. L. Clarke-Pearson, 1988; the fast form is X. Sun, W. Xu, "Fast implementation of
/// DeLong's algorithm", 2014.
///
/// # Errors
/// `Invalid` if the lengths differ, `Data` if a score is not finite.
///
/// ```
/// use mlops_core::evaluation::paired::paired_roc_auc;
///
/// let labels = [true, true, true, false, false, false];
/// let test = paired_roc_auc(&labels, &[0.9, 0.8, 0.4, 0.5, 0.3, 0.2], &[0.7, 0.3, 0.4, 0.5, 0.6, 0.2])?;
/// assert!((test.unwrap().difference - 1.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn paired_roc_auc(labels: &[bool], candidate: &[f64], champion: &[f64]) -> Result<Option<PairedTest>> {
    same_length("champion's scores", champion.len(), candidate.len())?;
    let (ours, theirs) = (Scored::new(labels, candidate)?, Scored::new(labels, champion)?);
    let (Some(our_area), Some(their_area)) = (ours.roc_auc(), theirs.roc_auc()) else { return Ok(None) };
    let difference = our_area - their_area;
    let (ours, theirs) = (placements(labels, candidate), placements(labels, champion));
    let mut variance = 0.0;
    for class in [true, false] {
        let mut gaps = Mean::default();
        let rows = labels.iter().zip(ours.iter().zip(&theirs)).filter(|row| *row.0 == class);
        rows.for_each(|(_, (ours, theirs))| gaps.add(ours - theirs, 1.0));
        let Some(spread) = gaps.variance() else { return Ok(None) };
        variance += spread / gaps.weight();
    }
    let std_error = variance.sqrt();
    let p_value = if std_error > 0.0 {
        2.0 * Normal::standard().cdf(-(difference / std_error).abs())
    } else {
        f64::from(u8::from(difference == 0.0))
    };
    Ok(Some(PairedTest { difference, std_error, p_value }))
}

/// For each row the share of the other class that it is ordered right against, ties counting half.
fn placements(labels: &[bool], scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let positives = labels.iter().filter(|&&label| label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    let (mut positives_below, mut negatives_below) = (0.0, 0.0);
    let mut placements = vec![0.0; scores.len()];
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = tied.iter().filter(|&&row| labels[row]).count() as f64;
        let misses = tied.len() as f64 - hits;
        for &row in tied {
            placements[row] = if labels[row] {
                (negatives_below + misses / 2.0) / negatives
            } else {
                (positives - positives_below - hits / 2.0) / positives
            };
        }
        positives_below += hits;
        negatives_below += misses;
    }
    placements
}

/// The differences of two binary models on rows at hand, `roc_auc` included: what
/// [`Against::champion_paired`](super::Against::champion_paired) takes.
///
/// # Errors
/// `Invalid` if the lengths differ or the threshold is NaN, `Data` if a probability is outside 0..=1.
pub fn paired_evaluation(
    labels: &[bool],
    candidate: &[f64],
    champion: &[f64],
    threshold: f64,
) -> Result<Evaluation> {
    let area = paired_roc_auc(labels, candidate, champion)?;
    let mut paired = PairedBinary::new(threshold)?;
    for ((&label, &candidate), &champion) in labels.iter().zip(candidate).zip(champion) {
        paired.push(&PairedRow { label, candidate, champion })?;
    }
    let evaluation = Evaluation::of(&paired);
    Ok(match area {
        Some(area) => {
            evaluation.with("roc_auc", Metric::new(area.difference).with_std_error(Some(area.std_error)))
        }
        None => evaluation,
    })
}
