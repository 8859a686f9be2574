//! The stitched bound: closed form, and of the order that no bound can beat.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::experiment::settings::{check_alpha, check_open};
use crate::experiment::special::zeta;

/// A bound that grows as `sqrt(v ln ln v)`, stitched over epochs of geometric length; one-sided.
///
/// With `u = max(v, v_min)`, `l = s ln ln(eta u / v_min) + ln(zeta(s) / (alpha ln(eta)^s))`,
/// `k1 = (eta^(1/4) + eta^(-1/4)) / sqrt(2)` and `k2 = (sqrt(eta) + 1) / 2`:
/// `bound = sqrt(k1^2 u l + k2^2 c^2 l^2) + k2 c l`.
///
/// Wider than a mixture at the time that a mixture is tuned for, narrower far beyond it. For two sides halve
/// alpha. Exact for sub-gamma sums of scale `c` (0: sub-Gaussian). Constant time.
///
/// Source: S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
/// confidence sequences", 2021, theorem 1.
///
/// ```
/// use mlops_core::experiment::mixture::PolyStitching;
///
/// let bound = PolyStitching { v_min: 1.0, ..Default::default() }.bound(100.0, 0.05)?;
/// assert!((bound - 37.915_642_403_736_9).abs() < 1e-9);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolyStitching {
    /// The intrinsic time before which the bound is flat, above 0. Default 1.
    pub v_min: f64,
    /// The scale of the heavy side, 0 or above. Default 0.
    pub c: f64,
    /// The power of the epochs' weights, above 1. Default 1.4.
    pub s: f64,
    /// The ratio of the epochs' lengths, above 1. Default 2.
    pub eta: f64,
}

impl Default for PolyStitching {
    fn default() -> Self {
        Self { v_min: 1.0, c: 0.0, s: 1.4, eta: 2.0 }
    }
}

impl PolyStitching {
    /// What the sum stays below at all times with probability at least `1 - alpha`.
    ///
    /// # Errors
    /// `Invalid` unless alpha is within (0, 1), `v` is non-negative and finite and each setting within its
    /// range.
    pub fn bound(&self, v: f64, alpha: f64) -> Result<f64> {
        check_alpha(alpha)?;
        super::check_point(0.0, v)?;
        check_open("v_min", self.v_min, 0.0, f64::INFINITY)?;
        check_open("c", self.c, -f64::MIN_POSITIVE, f64::INFINITY)?;
        check_open("s", self.s, 1.0, f64::INFINITY)?;
        check_open("eta", self.eta, 1.0, f64::INFINITY)?;
        let time = v.max(self.v_min);
        let epochs = self.s * (self.eta * time / self.v_min).ln().ln();
        let l = epochs + zeta(self.s).ln() - self.s * self.eta.ln().ln() - alpha.ln();
        let k1 = (self.eta.powf(0.25) + self.eta.powf(-0.25)) * std::f64::consts::FRAC_1_SQRT_2;
        let heavy = 0.5 * (self.eta.sqrt() + 1.0) * self.c * l;
        Ok((k1 * k1 * time * l + heavy * heavy).sqrt() + heavy)
    }
}
