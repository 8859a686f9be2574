//! Tests of two proportions.

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::evaluation::interval::{ProportionMethod, proportion_interval};
use crate::experiment::interval::{Alternative, Interval};
use crate::experiment::proportion::Proportion;
use crate::experiment::rate_difference::control_rate_at;
use crate::experiment::roots::solve;
use crate::experiment::settings::check_alpha;
use crate::experiment::special::{normal_quantile, normal_upper_tail};
use crate::experiment::two_arm::TwoArm;
use crate::{Error, Result};

/// The pooled z-test of two proportions, with an interval for `rate(treatment) - rate(control)`.
///
/// `z = D / sqrt(p (1 - p) (1/nc + 1/nt))`, `p` the rate of both arms together. Asymptotic: trust the p-value when
/// each arm expects five successes and five failures. Needs a row in each arm; if all outcomes of both agree, the
/// statistic is 0. One-sided the other end of the interval is -1 or 1.
///
/// The numbers are those of statsmodels' `proportions_ztest` and `confint_proportions_2indep`.
///
/// ```
/// use mlops_core::experiment::fixed::TwoRates;
/// use mlops_core::experiment::{Proportion, TwoArm};
///
/// let clicks = TwoArm::new(Proportion::of(120, 2400)?, Proportion::of(170, 2410)?);
/// let answer = TwoRates::default().compare(&clicks)?;
/// assert!(answer.p_value < 0.01 && answer.interval.lower() > 0.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwoRates {
    /// The error probability of the interval, within (0, 1). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// How the interval is made. Default Newcombe's.
    pub method: DifferenceMethod,
}

/// How the interval of a difference of two rates is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceMethod {
    /// Each arm's Wilson interval, combined: good at any rate. R. G. Newcombe, 1998, method 10.
    #[default]
    Newcombe,
    /// The score test inverted: the most accurate. O. Miettinen, M. Nurminen, 1985.
    Score,
    /// The score test as statsmodels 0.15 has it: a count where Miettinen and Nurminen's cubic has the rows, so
    /// that exchanging the arms does not mirror the interval. For parity alone; where the cubic has no root, at
    /// rates near 0 and 1, the end of the range.
    StatsmodelsScore,
    /// One success and one failure added to each arm. A. Agresti, B. Caffo, 2000.
    AgrestiCaffo,
    /// The normal approximation: of no width when both rates are 0 or 1.
    Wald,
}

impl Default for TwoRates {
    fn default() -> Self {
        Self { alpha: 0.05, alternative: Alternative::TwoSided, method: DifferenceMethod::Newcombe }
    }
}

impl TwoRates {
    /// Tests the outcomes.
    ///
    /// # Errors
    /// `Invalid` if alpha is outside its range (with Newcombe's method, one-sided alpha is within (0, 1/2)).
    /// `Data` if an arm has no rows.
    pub fn compare(&self, arms: &TwoArm<Proportion>) -> Result<Answer> {
        check_alpha(self.alpha)?;
        let (Some(control), Some(treatment)) = (arms.control.rate(), arms.treatment.rate()) else {
            return Err(Error::data("an arm has no rows: a test of rates needs one in each"));
        };
        let estimate = treatment - control;
        let (nc, nt) = (arms.control.trials() as f64, arms.treatment.trials() as f64);
        let pooled = (arms.control.successes() as f64 + arms.treatment.successes() as f64) / (nc + nt);
        let variance = pooled * (1.0 - pooled) * (1.0 / nc + 1.0 / nt);
        let statistic = if variance > 0.0 { estimate / variance.sqrt() } else { 0.0 };
        let z = normal_quantile(self.alternative.tail(self.alpha));
        let (lower, upper) = match self.method {
            DifferenceMethod::Newcombe => self.newcombe(arms, estimate)?,
            DifferenceMethod::Score => score(arms, estimate, z, control_rate_at),
            DifferenceMethod::StatsmodelsScore => score(arms, estimate, z, statsmodels_control_rate_at),
            DifferenceMethod::AgrestiCaffo => {
                let more = |arm: &Proportion| {
                    let trials = arm.trials() as f64 + 2.0;
                    ((arm.successes() as f64 + 1.0) / trials, trials)
                };
                wald(more(&arms.control), more(&arms.treatment), z)
            }
            DifferenceMethod::Wald => wald((control, nc), (treatment, nt), z),
        };
        let (lower, upper) = (lower.clamp(-1.0, 1.0), upper.clamp(-1.0, 1.0));
        Ok(Answer {
            estimate,
            interval: match self.alternative {
                Alternative::TwoSided => Interval::new(lower, upper),
                Alternative::Greater => Interval::new(lower, 1.0),
                Alternative::Less => Interval::new(-1.0, upper),
            }?,
            statistic,
            degrees_of_freedom: None,
            p_value: self.alternative.p_value(statistic, normal_upper_tail),
            alpha: self.alpha,
            alternative: self.alternative,
        })
    }

    fn newcombe(&self, arms: &TwoArm<Proportion>, estimate: f64) -> Result<(f64, f64)> {
        let confidence = 1.0 - 2.0 * self.alternative.tail(self.alpha);
        let reach = |arm: &Proportion| {
            let rate = arm.rate().unwrap_or(0.5);
            proportion_interval(arm.successes(), arm.trials(), confidence, ProportionMethod::Wilson)
                .map(|wilson| (rate - wilson.lower(), wilson.upper() - rate))
        };
        let (control, treatment) = (reach(&arms.control)?, reach(&arms.treatment)?);
        Ok((estimate - treatment.0.hypot(control.1), estimate + treatment.1.hypot(control.0)))
    }
}

fn wald((control, nc): (f64, f64), (treatment, nt): (f64, f64), z: f64) -> (f64, f64) {
    let radius = z * (control * (1.0 - control) / nc + treatment * (1.0 - treatment) / nt).sqrt();
    (treatment - control - radius, treatment - control + radius)
}

/// Where the score statistic, with the variance of the likeliest rates at that difference, reaches `z`.
fn score(
    arms: &TwoArm<Proportion>,
    estimate: f64,
    z: f64,
    control_rate_at: fn(&TwoArm<Proportion>, f64) -> f64,
) -> (f64, f64) {
    let (nc, nt) = (arms.control.trials() as f64, arms.treatment.trials() as f64);
    let excess = |difference: f64| {
        let control = control_rate_at(arms, difference);
        let treatment = (control + difference).clamp(0.0, 1.0);
        let variance = control * (1.0 - control) / nc + treatment * (1.0 - treatment) / nt;
        let corrected = variance * (nc + nt) / (nc + nt - 1.0);
        (estimate - difference).abs() - z * corrected.sqrt()
    };
    let end = |limit: f64| {
        if estimate != limit && excess(limit) > 0.0 { solve(estimate, limit, excess) } else { limit }
    };
    (end(-1.0), end(1.0))
}

/// The root of the cubic for the control's rate, with the slip of statsmodels in its linear term.
fn statsmodels_control_rate_at(arms: &TwoArm<Proportion>, difference: f64) -> f64 {
    if difference == 0.0 {
        return control_rate_at(arms, difference);
    }
    let (nc, nt) = (arms.control.trials() as f64, arms.treatment.trials() as f64);
    let (rows, control) = (nc + nt, arms.control.successes() as f64);
    let successes = control + arms.treatment.successes() as f64;
    let square = ((nt + 2.0 * nc) * difference - rows - successes) / (3.0 * rows);
    let linear = ((control * difference - rows - 2.0 * control) * difference + successes) / rows;
    let constant = control * difference * (1.0 - difference) / rows;
    let q = square.powi(3) - 0.5 * linear * square + 0.5 * constant;
    let p = (square * square - linear / 3.0).sqrt().copysign(q);
    let angle = (std::f64::consts::PI + (q / p.powi(3)).clamp(-1.0, 1.0).acos()) / 3.0;
    2.0 * p * angle.cos() - square
}
