//! The always-valid difference of two proportions, exact at any count.

use serde::{Deserialize, Serialize};

use super::comparison::{Comparison, p_value};
use super::interval::{Alternative, Interval};
use super::proportion::Proportion;
use super::roots::solve;
use super::settings::{check_alpha, check_open};
use super::special::{deviance, stirling_error};
use super::two_arm::TwoArm;
use crate::Result;

/// The exact always-valid test and interval for `rate(treatment) - rate(control)`.
///
/// Valid from the first row, however rare the event and however small an arm, and under *any* allocation, even
/// one that follows the outcomes: what a canary that watches errors needs. [`MeanDifference`] is asymptotic and
/// waits for enough events, but sees small differences of common events in about half the rows.
///
/// The e-value is `m(control) m(treatment) / sup L`: the likelihood of each arm mixed over Jeffreys' prior
/// `Beta(1/2, 1/2)`, over the largest likelihood of any two rates that the null allows. The numerator over any
/// one point of the null is a martingale, so the ratio to the supremum is below one.
///
/// **Domain** counts. **Exact**, never asymptotic. **Without rows** in an arm the interval is [-1, 1] and the
/// p-value 1. **One-sided** the other end of the interval is -1 or 1. **Cost** the e-value takes microseconds
/// or less, the interval some ten times that.
///
/// **How to read it** as [`Comparison`] says.
///
/// Sources: R. Turner, A. Ly, P. Grünwald, "Generic E-variables for exact sequential k-sample tests that allow
/// for optional stopping", 2024; L. Wasserman, A. Ramdas, S. Balakrishnan, "Universal inference", 2020.
///
/// [`MeanDifference`]: super::MeanDifference
///
/// ```
/// use mlops_core::experiment::{Alternative, Proportion, RateDifference, TwoArm};
///
/// // The challenger failed 6 of its first 20 requests, the champion 2 of 980.
/// let errors = TwoArm::new(Proportion::of(2, 980)?, Proportion::of(6, 20)?);
/// let test = RateDifference { alternative: Alternative::Greater, ..Default::default() };
/// let answer = test.compare(&errors)?;
/// assert!(answer.p_value < 1e-5 && answer.interval.lower() > 0.03);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateDifference {
    /// The probability of ever being wrong, within (0, 1). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// The difference to test against, within (-1, 1). Default 0.
    pub null: f64,
}

impl Default for RateDifference {
    fn default() -> Self {
        Self { alpha: 0.05, alternative: Alternative::TwoSided, null: 0.0 }
    }
}

impl RateDifference {
    /// What the outcomes so far say.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range.
    pub fn compare(&self, arms: &TwoArm<Proportion>) -> Result<Comparison> {
        let log_e_value = self.log_e_value(arms)?;
        Ok(Comparison {
            estimate: estimate(arms),
            interval: self.interval(arms)?,
            p_value: p_value(log_e_value),
            log_e_value,
            null: self.null,
            alpha: self.alpha,
            alternative: self.alternative,
        })
    }

    /// The log e-value alone, for a look at every row: the null is rejected where it reaches `-ln(alpha)`.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range.
    pub fn log_e_value(&self, arms: &TwoArm<Proportion>) -> Result<f64> {
        check_alpha(self.alpha)?;
        check_open("null", self.null, -1.0, 1.0)?;
        let within_null = estimate(arms).is_none_or(|estimate| match self.alternative {
            Alternative::TwoSided => estimate == self.null,
            Alternative::Greater => estimate <= self.null,
            Alternative::Less => estimate >= self.null,
        });
        let Rates { control, treatment } = Rates::of(arms);
        Ok(if within_null {
            log_ratio(&arms.control, control) + log_ratio(&arms.treatment, treatment)
        } else {
            log_ratio_at(arms, self.null)
        })
    }

    fn interval(&self, arms: &TwoArm<Proportion>) -> Result<Interval> {
        let Some(estimate) = estimate(arms) else { return Interval::new(-1.0, 1.0) };
        let excess = |difference: f64| log_ratio_at(arms, difference) + self.alpha.ln();
        let end = |limit: f64| if excess(limit) <= 0.0 { limit } else { solve(estimate, limit, excess) };
        let lower = if self.alternative == Alternative::Less { -1.0 } else { end(-1.0) };
        let upper = if self.alternative == Alternative::Greater { 1.0 } else { end(1.0) };
        Interval::new(lower, upper)
    }
}

struct Rates {
    control: f64,
    treatment: f64,
}

impl Rates {
    fn of(arms: &TwoArm<Proportion>) -> Self {
        Self { control: arms.control.rate().unwrap_or(0.5), treatment: arms.treatment.rate().unwrap_or(0.5) }
    }
}

fn estimate(arms: &TwoArm<Proportion>) -> Option<f64> {
    arms.treatment.rate().zip(arms.control.rate()).map(|(treatment, control)| treatment - control)
}

/// The log of the likelihood of one arm mixed over Jeffreys' prior, over the likelihood at a rate.
///
/// Written as the deviance of the counts plus small terms, so that nothing cancels at any count.
fn log_ratio(counts: &Proportion, rate: f64) -> f64 {
    let total = counts.trials() as f64 + 1.0;
    let cell = |count: u64, share: f64| {
        let after = count as f64 + 0.5;
        // Half of the logarithm of the share is left over; without rows it cancels that of the deviance.
        let apart = if count > 0 && share == 0.0 {
            f64::INFINITY
        } else if count == 0 {
            0.5 * (0.5 / total).ln() - 0.5 + total * share
        } else {
            deviance(after, total * share) + 0.5 * share.ln()
        };
        apart + stirling_error(after) - stirling_error(0.5) - 0.5 * after.ln()
    };
    cell(counts.successes(), rate) + cell(counts.failures(), 1.0 - rate) - stirling_error(total)
        + stirling_error(1.0)
        + 0.5 * total.ln()
}

/// The log of the same for both arms, at the likeliest of all pairs of rates that differ by `difference`.
fn log_ratio_at(arms: &TwoArm<Proportion>, difference: f64) -> f64 {
    let rate = control_rate_at(arms, difference);
    log_ratio(&arms.control, rate) + log_ratio(&arms.treatment, (rate + difference).clamp(0.0, 1.0))
}

/// The likeliest rate of the control if the treatment's is higher by `difference`.
pub(super) fn control_rate_at(arms: &TwoArm<Proportion>, difference: f64) -> f64 {
    let (control, treatment) = (&arms.control, &arms.treatment);
    if difference == 0.0 {
        let trials = control.trials() as f64 + treatment.trials() as f64;
        return (control.successes() as f64 + treatment.successes() as f64) / trials.max(1.0);
    }
    // The likelihood is concave in the control's rate, so its slope falls.
    let slope = |rate: f64| slope(control, rate) + slope(treatment, rate + difference);
    solve(0_f64.max(-difference), 1_f64.min(1.0 - difference), slope)
}

fn slope(counts: &Proportion, rate: f64) -> f64 {
    let part = |count: u64, rate: f64| if count == 0 { 0.0 } else { count as f64 / rate.max(0.0) };
    part(counts.successes(), rate) - part(counts.failures(), 1.0 - rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same with log-gamma functions at 60 digits.
    #[test]
    fn the_ratio_holds_at_any_count() {
        for (successes, failures, rate, expected) in [
            (3, 7, 0.25, -1.341_147_029_296_97),
            (0, 10, 0.001, -1.726_147_293_260_616_4),
            (1_000_000, 1_000_000, 0.5, -7.480_120_346_906_837),
            (1_000_000_000_000, 1_000_000_000_000, 0.5, -14.387_875_500_889_1),
            (1_000_003_000_000, 1_000_000_000_000, 0.5, -12.137_879_625_882_63),
            (0, 1_000_000_000, 1e-12, -10.932_997_861_522_906),
        ] {
            let counts = Proportion::of(successes, successes + failures).unwrap();
            let value = log_ratio(&counts, rate);
            assert!((value - expected).abs() < 1e-11, "{successes} {failures}: {value}");
        }
        let counts = Proportion::of(1, 5).unwrap();
        assert_eq!(log_ratio(&counts, 0.0), f64::INFINITY);
    }
}
