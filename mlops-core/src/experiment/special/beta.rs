//! The regularised incomplete beta function, right at any number of rows.

use super::{deviance, normal_upper_tail, stirling_error};
use crate::experiment::roots::solve;
use std::f64::consts::PI;

/// `I_x(a, b)` with `y = 1 - x`, which is passed because `x` near 1 does not hold it. `a, b > 0`.
///
/// The continued fraction of DLMF 8.17.22 with the prefactor of C. Loader, "Fast and accurate computation of binomial
/// probabilities", 2000, which does not cancel; with both above 1e9, where the fraction would take seconds,
/// Temme's uniform expansion (DLMF 8.18.9), whose error is then below 1e-13.
pub(crate) fn beta_reg(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return f64::from(u8::from(y <= 0.0));
    }
    if a.min(b) > 1e9 {
        return uniform(a, b, x, y);
    }
    if x < (a + 1.0) / (a + b + 2.0) {
        (prefactor(a, b, x, y) / a * fraction(a, b, x)).min(1.0)
    } else {
        (1.0 - prefactor(a, b, x, y) / b * fraction(b, a, y)).max(0.0)
    }
}

/// The `x` with `I_x(a, b) = p`, for `p` within (0, 1).
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    solve(0.0, 1.0, |x| beta_reg(a, b, x, 1.0 - x) - p)
}

/// `x^a y^b / B(a, b)`.
fn prefactor(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let log =
        stirling_error(n) - stirling_error(a) - stirling_error(b) - deviance(a, n * x) - deviance(b, n * y);
    log.exp() * (a * (b / n) / (2.0 * PI)).sqrt()
}

/// The continued fraction, by Lentz' method.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nudge = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nudge(1.0 - (a + b) * x / (a + 1.0));
    let mut product = d;
    // The terms needed grow as the square root of the smaller parameter.
    for m in 1..1_000_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nudge(1.0 + even * d);
        c = nudge(1.0 + even / c);
        product *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nudge(1.0 + odd * d);
        c = nudge(1.0 + odd / c);
        product *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    product
}

fn uniform(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let (x0, y0) = (a / n, b / n);
    let below = if n * x < a { -1.0 } else { 1.0 };
    let t = below * (2.0 * (deviance(a, n * x) + deviance(b, n * y))).sqrt();
    let spread = (x0 * y0).sqrt();
    let (skew, weight) = ((y0 - x0) / spread, (1.0 - 3.0 * x0 * y0) / (x0 * y0));
    let correction = skew / 3.0 + (skew * skew / 6.0 - weight / 4.0) * (t / n.sqrt());
    let density = (-0.5 * t * t).exp() / (2.0 * PI * n).sqrt();
    (normal_upper_tail(-t) + density * correction).clamp(0.0, 1.0)
}
