//! The asymptotic confidence sequence of one mean.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::experiment::comparison::{Comparison, p_value};
use crate::experiment::interval::{Alternative, Interval};
use crate::experiment::mixture::{Sides, best_rho, log_e_value_and_radius};
use crate::experiment::settings::{check_alpha, check_finite, check_open};
use crate::experiment::two_arm::Outcomes;

/// The asymptotic confidence sequence of one mean, of numbers or of a proportion.
///
/// Radius, with the population variance `s^2` of `n` rows:
/// `s sqrt((n rho^2 + 1) / (n^2 rho^2) ln((n rho^2 + 1) / alpha^2))`; one-sided the bound of the one-sided normal
/// mixture. The p-value is that of the matching sequential probability ratio test.
///
/// **Domain** any values with a variance. **Asymptotic**: no verdict before
/// [`warm_up_rows`](Self::warm_up_rows), nor, for a proportion, before it expects ten successes and failures, nor,
/// for numbers while [`skewness_guard`](Self::skewness_guard) is on, before ten rows for each square of the skewness
/// `g` seen; then `s` is taken `1 + 3 g / sqrt(n)` times as large. One mean needs more care than a difference, where
/// the skewness of two arms cancels in part. A/A streams of 10 000 rows at alpha .05, looked at after every row,
/// ever rejected their true mean: normal .03, exponential .02, log-normal of sigma 1 .01, of sigma 1.5 .04; without
/// the guard and with a warm-up of 30: .03, .04, .10, .27. Heavier tails still break it: for values of a known range
/// use [`Betting`](super::Betting) or [`PredictableMixture`](super::PredictableMixture), which are exact from the
/// first row, for a rate [`RateSequence`](super::RateSequence).
/// **Without evidence** (warm-up, no variance) the interval is everything and the p-value 1. **Merges** as its
/// state does. **Cost** constant. **How to read it** as [`Comparison`] says.
///
/// Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central limit theory
/// and asymptotic confidence sequences", 2024.
///
/// ```
/// use mlops_core::experiment::Moments;
/// use mlops_core::experiment::sequence::AsymptoticMean;
///
/// let delay_s = Moments::of((0..500).map(|i| f64::from(i % 20)))?;
/// let answer = AsymptoticMean::narrowest_at(500.0, 0.05)?.compare(&delay_s)?;
/// assert!(answer.interval.contains(9.5) && answer.interval.width() < 2.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AsymptoticMean {
    /// The probability of ever being wrong, within (0, 1); one-sided within (0, 0.5). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// The mean to test against. Default 0.
    pub null: f64,
    /// The scale of the mixture in standard deviations, positive: the larger, the earlier the interval is
    /// narrowest. Default .1: after some thousand rows.
    pub rho: f64,
    /// Rows before there is a verdict. Default 100.
    pub warm_up_rows: u64,
    /// Whether skewed numbers have to wait and widen the interval. Default true; without it the formula above holds
    /// to the letter, and alpha for near-normal values alone.
    pub skewness_guard: bool,
}

impl Default for AsymptoticMean {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            alternative: Alternative::TwoSided,
            null: 0.0,
            rho: 0.1,
            warm_up_rows: 100,
            skewness_guard: true,
        }
    }
}

impl AsymptoticMean {
    /// The two-sided sequence that is narrowest after about this many rows.
    ///
    /// # Errors
    /// `Invalid` unless `rows` is positive and finite and alpha within (0, 1).
    pub fn narrowest_at(rows: f64, alpha: f64) -> Result<Self> {
        check_open("rows", rows, 0.0, f64::INFINITY)?;
        let rho = (rows * best_rho(alpha, Sides::Two)?).sqrt().recip();
        Ok(Self { alpha, rho, ..Self::default() })
    }

    /// What the rows so far say.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range.
    pub fn compare<S: Outcomes>(&self, rows: &S) -> Result<Comparison> {
        check_alpha(self.alpha)?;
        check_finite("null", self.null)?;
        check_open("rho", self.rho, 0.0, f64::INFINITY)?;
        let (a_square, wider_by) =
            if self.skewness_guard { (ROWS_A_SQUARED_SKEWNESS, WIDER_BY) } else { (0.0, 0.0) };
        let rows_needed = rows.rows_needed([*rows; 2], a_square).max(self.warm_up_rows as f64);
        let moments = rows.moments();
        let mut answer = Comparison {
            estimate: moments.mean(),
            interval: Interval::ALL,
            p_value: 1.0,
            log_e_value: 0.0,
            null: self.null,
            alpha: self.alpha,
            alternative: self.alternative,
        };
        let n = moments.rows() as f64;
        if let (Some(mean), Some(variance)) = (moments.mean(), moments.population_variance())
            && variance > 0.0
            && n >= rows_needed
        {
            let toward = self.alternative.toward(mean, self.null);
            let v = n * self.rho * self.rho;
            let wider = 1.0 + wider_by * rows.skewness([*rows; 2]) / n.sqrt();
            let of_mean = variance / n * wider * wider;
            let (log_e_value, radius) =
                log_e_value_and_radius(v, of_mean, toward, self.alpha, self.alternative.sides())?;
            answer.log_e_value = log_e_value;
            answer.p_value = p_value(log_e_value);
            answer.interval = Interval::around(mean, radius, self.alternative);
        }
        Ok(answer)
    }
}

/// With fewer rows than this times the square of the skewness a sum is too far from normal for a verdict.
const ROWS_A_SQUARED_SKEWNESS: f64 = 10.0;

/// How much the skewness of a mean widens its interval.
const WIDER_BY: f64 = 3.0;
