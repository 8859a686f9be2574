//! The exact confidence sequence of a rate.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::experiment::comparison::{Comparison, p_value};
use crate::experiment::interval::{Alternative, Interval};
use crate::experiment::mixture::{Sides, best_rho, log_multinomial_mixture};
use crate::experiment::proportion::Proportion;
use crate::experiment::roots::solve;
use crate::experiment::settings::{check_alpha, check_open};
use crate::experiment::special::beta_reg;

/// The exact confidence sequence of a success rate, by a beta-binomial mixture.
///
/// The likelihood mixed over `Beta(k p, k (1 - p))` against the likelihood at `p`; `k = max(.001, trials / r - 1)`
/// with `r = 2 ln(1/alpha) + ln(1 + 2 ln(1/alpha))` makes the interval narrowest after about
/// [`narrowest_at`](Self::narrowest_at) trials. A rate is in while the ratio is below `1 / alpha`.
///
/// **Exact** at any count. **Merges** bit for bit, since the state is two counts. **Without trials** the interval
/// is [0, 1]. **Cost** some twenty evaluations of the log-gamma function; one-sided, each with two continued fractions of
/// the beta function more. **One-sided** the other end is 0 or 1, and the
/// mixture holds the rates on the side that was asked about alone: all of alpha (below .5) is spent on that side, so the
/// interval is narrower there.
///
/// Source: S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
/// confidence sequences", 2021; the numbers are those of `bernoulli_confidence_interval` in confseq.
///
/// ```
/// use mlops_core::experiment::Proportion;
/// use mlops_core::experiment::sequence::RateSequence;
///
/// let answer = RateSequence::default().compare(&Proportion::of(30, 100)?, 0.5)?;
/// assert!((answer.interval.lower() - 0.173_634_9).abs() < 1e-7);
/// assert!(answer.rejects());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSequence {
    /// The probability of ever being wrong, within (0, 1), one-sided within (0, 0.5). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// The number of trials at which the interval is narrowest. Default 100.
    pub narrowest_at: f64,
}

impl Default for RateSequence {
    fn default() -> Self {
        Self { alpha: 0.05, alternative: Alternative::TwoSided, narrowest_at: 100.0 }
    }
}

impl RateSequence {
    /// The rates that the counts do not contradict.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range.
    pub fn interval(&self, counts: &Proportion) -> Result<Interval> {
        let concentration = self.concentration()?;
        let Some(rate) = counts.rate() else { return Interval::new(0.0, 1.0) };
        let excess = |p: f64| {
            // At 0 and 1 the ratio is infinite, or below one if all trials agree.
            let sure = if p == rate { -1.0 } else { 1.0 };
            if p <= 0.0 || p >= 1.0 {
                sure
            } else {
                self.log_mixture(concentration, counts, p) + self.alpha.ln()
            }
        };
        let open = (self.alternative == Alternative::Less, self.alternative == Alternative::Greater);
        let lower = if open.0 || counts.successes() == 0 { 0.0 } else { solve(rate, 0.0, excess) };
        let upper = if open.1 || counts.failures() == 0 { 1.0 } else { solve(rate, 1.0, excess) };
        Interval::new(lower, upper)
    }

    /// The evidence against the rate `null`, within (0, 1), with the interval.
    ///
    /// # Errors
    /// `Invalid` if a setting or the null is outside its range.
    pub fn compare(&self, counts: &Proportion, null: f64) -> Result<Comparison> {
        check_open("null", null, 0.0, 1.0)?;
        let within_null = counts.rate().is_none_or(|rate| match self.alternative {
            Alternative::TwoSided => false,
            Alternative::Greater => rate <= null,
            Alternative::Less => rate >= null,
        });
        let concentration = self.concentration()?;
        let log_e_value = if within_null { 0.0 } else { self.log_mixture(concentration, counts, null) };
        Ok(Comparison {
            estimate: counts.rate(),
            interval: self.interval(counts)?,
            p_value: p_value(log_e_value),
            log_e_value,
            null,
            alpha: self.alpha,
            alternative: self.alternative,
        })
    }

    fn concentration(&self) -> Result<f64> {
        check_alpha(self.alpha)?;
        check_open("narrowest_at", self.narrowest_at, 0.0, f64::INFINITY)?;
        let sides = match self.alternative {
            Alternative::TwoSided => Sides::Two,
            Alternative::Greater | Alternative::Less => Sides::One,
        };
        Ok((self.narrowest_at * best_rho(self.alpha, sides)? - 1.0).max(1e-3))
    }

    /// The log of the likelihood mixed over the rates on the side that counts, against that at `p`.
    fn log_mixture(&self, concentration: f64, counts: &Proportion, p: f64) -> f64 {
        let (hits, misses) = ((counts.successes(), p), (counts.failures(), 1.0 - p));
        let all = log_multinomial_mixture(concentration, [hits, misses].into_iter());
        // The share of the mixture above `p` is that of the other cell below `1 - p`.
        let (asked, other) = match self.alternative {
            Alternative::TwoSided => return all,
            Alternative::Greater => (misses, hits),
            Alternative::Less => (hits, misses),
        };
        let share = |asked_rows: u64, other_rows: u64| {
            let (a, b) =
                (concentration * asked.1 + asked_rows as f64, concentration * other.1 + other_rows as f64);
            beta_reg(a, b, asked.1, other.1)
        };
        // A share that is too small for its rounding errors counts as more, which takes evidence away.
        all + (share(asked.0, other.0) / share(0, 0).max(1e-12)).ln()
    }
}
