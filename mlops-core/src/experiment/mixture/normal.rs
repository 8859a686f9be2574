//! The normal mixture: the workhorse of anytime bounds.

use serde::{Deserialize, Serialize};

use super::Sides;
use crate::experiment::settings::{check_alpha, check_open};
use crate::experiment::special::{ln_normal_cdf, normal_pdf_over_cdf};
use crate::{Error, Result};

/// A normal mixture over drifts, for a sum whose deviations are normal or sub-Gaussian.
///
/// `s` is the sum of deviations from the null, `v` its intrinsic time (the sum of the variances, or of their
/// sub-Gaussian stand-ins: 1/4 a row for values in [0, 1]). Two-sided the drift is mixed over `N(0, 1/rho)`,
/// one-sided over its upper half:
///
/// - two-sided: `M = sqrt(rho / (v + rho)) exp(s^2 / (2 (v + rho)))`
/// - one-sided: `M = 2 sqrt(rho / (v + rho)) exp(s^2 / (2 (v + rho))) Phi(s / sqrt(v + rho))`
///
/// Under the null `M` is a supermartingale that starts at 1, so it exceeds `1 / alpha` *at any time ever* with
/// probability at most alpha (Ville's inequality). Exact for sub-Gaussian sums. Constant time; the one-sided
/// bound takes a few Newton steps.
///
/// Source: S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
/// confidence sequences", 2021.
///
/// ```
/// use mlops_core::experiment::mixture::{NormalMixture, Sides};
///
/// let mixture = NormalMixture::narrowest_at(100.0, 0.05, Sides::Two)?;
/// let bound = mixture.bound(100.0, 0.05)?;
/// assert!((bound - 30.352_089_903_762_53).abs() < 1e-12);
/// assert!((mixture.log_mixture(bound, 100.0)? - 20_f64.ln()).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct NormalMixture {
    rho: f64,
    sides: Sides,
}

impl NormalMixture {
    /// The mixture of precision `rho` (the inverse variance of the mixed drift, in the units of `v`).
    ///
    /// # Errors
    /// `Invalid` unless `rho` is positive and finite.
    pub fn new(rho: f64, sides: Sides) -> Result<Self> {
        check_open("rho", rho, 0.0, f64::INFINITY)?;
        Ok(Self { rho, sides })
    }

    /// The mixture whose bound at level alpha is nearly the narrowest possible at intrinsic time `v_opt`.
    ///
    /// # Errors
    /// `Invalid` unless `v_opt` is positive and finite and alpha is within (0, 1), one-sided (0, 1/2).
    pub fn narrowest_at(v_opt: f64, alpha: f64, sides: Sides) -> Result<Self> {
        check_open("v_opt", v_opt, 0.0, f64::INFINITY)?;
        Self::new(v_opt * best_rho(alpha, sides)?, sides)
    }

    /// The precision of the mixed drift.
    pub const fn rho(&self) -> f64 {
        self.rho
    }

    /// `ln M(s, v)`: the log of the evidence against the null.
    ///
    /// # Errors
    /// `Invalid` if `s` is not finite, or `v` is negative or not finite.
    pub fn log_mixture(&self, s: f64, v: f64) -> Result<f64> {
        super::check_point(s, v)?;
        let spread = v + self.rho;
        let x = s / spread.sqrt();
        let two_sided = 0.5 * (x * x - (v / self.rho).ln_1p());
        Ok(match self.sides {
            Sides::Two => two_sided,
            Sides::One => two_sided + std::f64::consts::LN_2 + ln_normal_cdf(x),
        })
    }

    /// The least `s` at which `M(s, v)` reaches `1 / alpha`: under the null the sum stays below it (two-sided:
    /// within it) at all times with probability at least `1 - alpha`.
    ///
    /// # Errors
    /// `Invalid` unless alpha is within (0, 1) and `v` is non-negative and finite.
    pub fn bound(&self, v: f64, alpha: f64) -> Result<f64> {
        check_alpha(alpha)?;
        super::check_point(0.0, v)?;
        let spread = (v + self.rho).sqrt();
        let target = 0.5 * (v / self.rho).ln_1p() - alpha.ln();
        Ok(spread
            * match self.sides {
                Sides::Two => (2.0 * target).sqrt(),
                Sides::One => solve_one_sided(target - std::f64::consts::LN_2),
            })
    }
}

/// The log e-value and the radius of a mean of variance `of_mean` that lies `toward` from its null, when its
/// standard error is `1 / sqrt(v)` of the standard deviation of the mixture.
///
/// In units of the mixture no square overflows.
pub(in crate::experiment) fn log_e_value_and_radius(
    v: f64,
    of_mean: f64,
    toward: f64,
    alpha: f64,
    sides: Sides,
) -> Result<(f64, f64)> {
    let unit = (of_mean / v).sqrt();
    let mixture = NormalMixture::new(1.0, sides)?;
    let s = (toward / unit).clamp(-1e150, 1e150);
    Ok((mixture.log_mixture(s, v)?, mixture.bound(v, alpha)? * unit))
}

/// `rho / v_opt` of the nearly narrowest bound.
pub(in crate::experiment) fn best_rho(alpha: f64, sides: Sides) -> Result<f64> {
    let doubled = match sides {
        Sides::Two => alpha,
        Sides::One => 2.0 * alpha,
    };
    if 0.0 < alpha && doubled < 1.0 {
        let log = -2.0 * doubled.ln();
        return Ok(1.0 / (log + log.ln_1p()));
    }
    Err(Error::invalid(format!("alpha is {alpha}: it must lie between 0 and 1, one-sided between 0 and 0.5")))
}

/// The `x >= 0` with `x^2 / 2 + ln Phi(x) = target`, for a target of at least `ln Phi(0)`.
///
/// The left side is increasing and convex from 0 on and the start lies right of the root, so that Newton's
/// steps fall towards it without overshooting.
fn solve_one_sided(target: f64) -> f64 {
    let mut x = (2.0 * (target + std::f64::consts::LN_2)).sqrt();
    for _ in 0..60 {
        let step = (0.5 * x * x + ln_normal_cdf(x) - target) / (x + normal_pdf_over_cdf(x));
        x -= step;
        if step.abs() <= 1e-16 * x {
            break;
        }
    }
    x.max(0.0)
}

#[derive(Deserialize)]
struct Wire {
    rho: f64,
    sides: Sides,
}

impl TryFrom<Wire> for NormalMixture {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::new(wire.rho, wire.sides)
    }
}
