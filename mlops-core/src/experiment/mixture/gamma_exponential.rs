//! The gamma-exponential mixture: for sums with one heavy side.

use serde::{Deserialize, Serialize};

use super::Sides;
use super::normal::best_rho;
use crate::experiment::roots::solve;
use crate::experiment::settings::{check_alpha, check_open};
use crate::experiment::special::ln_incomplete_gamma_scaled;
use crate::{Error, Result};

/// A gamma mixture over drifts, for a sum that is sub-exponential with scale `c` (one-sided).
///
/// Sums of values in [0, 1] around a predictable guess are, with `c = 1` and `v` the sum of squared
/// deviations from the guess: the empirical-Bernstein setting. With `r = rho / c^2`, `a = (v + rho) / c^2` and
/// `x = (c s + v + rho) / c^2`:
/// `M = exp(x - r) gamma(a, x) x^-a / (gamma(r, r) r^-r)`, `gamma` the lower incomplete gamma function.
///
/// Read as [`NormalMixture`](super::NormalMixture). An evaluation takes at most some hundred terms a digit whatever
/// `v` is; the bound takes some ten evaluations.
///
/// Source: S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
/// confidence sequences", 2021, proposition 9.
///
/// ```
/// use mlops_core::experiment::mixture::GammaExponentialMixture;
///
/// let mixture = GammaExponentialMixture::narrowest_at(100.0, 0.05, 1.0)?;
/// assert!((mixture.bound(100.0, 0.05)? - 30.238_129_620_079).abs() < 1e-9);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct GammaExponentialMixture {
    rho: f64,
    c: f64,
}

impl GammaExponentialMixture {
    /// The mixture of precision `rho` for scale `c`.
    ///
    /// # Errors
    /// `Invalid` unless both are positive and finite.
    pub fn new(rho: f64, c: f64) -> Result<Self> {
        check_open("rho", rho, 0.0, f64::INFINITY)?;
        check_open("c", c, 0.0, f64::INFINITY)?;
        Ok(Self { rho, c })
    }

    /// The mixture whose bound at level alpha is nearly the narrowest possible at intrinsic time `v_opt`.
    ///
    /// # Errors
    /// `Invalid` unless `v_opt` and `c` are positive and finite and alpha is within (0, 1/2).
    pub fn narrowest_at(v_opt: f64, alpha: f64, c: f64) -> Result<Self> {
        check_open("v_opt", v_opt, 0.0, f64::INFINITY)?;
        Self::new(v_opt * best_rho(alpha, Sides::One)?, c)
    }

    /// `ln M(s, v)`: the log of the evidence against the null.
    ///
    /// # Errors
    /// `Invalid` if `s` is not finite or not above `-(v + rho) / c`, or `v` is negative or not finite.
    pub fn log_mixture(&self, s: f64, v: f64) -> Result<f64> {
        super::check_point(s, v)?;
        if self.c * s + v + self.rho <= 0.0 {
            let low = -(v + self.rho) / self.c;
            return Err(Error::invalid(format!("s is {s}: the mixture exists above {low} only")));
        }
        Ok(self.value(s, v))
    }

    /// The least `s >= 0` at which `M(s, v)` reaches `1 / alpha`: under the null the sum stays below it at all
    /// times with probability at least `1 - alpha`.
    ///
    /// # Errors
    /// `Invalid` unless alpha is within (0, 1) and `v` is non-negative and finite.
    pub fn bound(&self, v: f64, alpha: f64) -> Result<f64> {
        check_alpha(alpha)?;
        super::check_point(0.0, v)?;
        let excess = |s: f64| self.value(s, v) + alpha.ln();
        let mut high = v.max(self.c);
        while excess(high) < 0.0 && high < f64::MAX / 2.0 {
            high *= 2.0;
        }
        Ok(solve(0.0, high, excess))
    }

    fn value(&self, s: f64, v: f64) -> f64 {
        let squared = self.c * self.c;
        let (start, a) = (self.rho / squared, (v + self.rho) / squared);
        let x = s / self.c + a;
        ln_incomplete_gamma_scaled(a, x) - ln_incomplete_gamma_scaled(start, start)
    }
}

#[derive(Deserialize)]
struct Wire {
    rho: f64,
    c: f64,
}

impl TryFrom<Wire> for GammaExponentialMixture {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::new(wire.rho, wire.c)
    }
}
