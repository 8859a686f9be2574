//! The gamma function's kin, without cancellation at large arguments.

use libm::lgamma as ln_gamma;
use statrs::function::gamma::gamma_lr;
use std::f64::consts::PI;

use super::{ln_normal_cdf, normal_pdf_over_cdf};

/// `ln Gamma(z) - ((z - 1/2) ln z - z + ln(2 pi) / 2)`, what Stirling's formula leaves over, for `z > 0`.
pub(crate) fn stirling_error(z: f64) -> f64 {
    if z < 10.0 {
        return ln_gamma(z) - ((z - 0.5) * z.ln() - z + 0.5 * (2.0 * PI).ln());
    }
    let t = 1.0 / (z * z);
    let tail = 1.0 / 1188.0 - t * (691.0 / 360_360.0 - t / 156.0);
    (1.0 / 12.0 - t * (1.0 / 360.0 - t * (1.0 / 1260.0 - t * (1.0 / 1680.0 - t * tail)))) / z
}

/// `x ln(x / m) + m - x`, for `x >= 0` and `m > 0`: half the deviance of a count `x` of mean `m`. It does not cancel
/// where the two are near.
///
/// Source: C. Loader, "Fast and accurate computation of binomial probabilities", 2000.
pub(crate) fn deviance(x: f64, m: f64) -> f64 {
    if x == 0.0 {
        return m;
    }
    let gap = x - m;
    if gap.abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() - gap;
    }
    let v = gap / (x + m);
    let mut sum = gap * v;
    let mut power = 2.0 * x * v;
    for j in 1..40 {
        power *= v * v;
        let next = sum + power / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// `ln(gamma(a, x) / x^a) + x`, the lower incomplete gamma function without its steep factors, for `a, x > 0`.
pub(crate) fn ln_incomplete_gamma_scaled(a: f64, x: f64) -> f64 {
    let steep = || deviance(a, x) - 0.5 * (a / (2.0 * PI)).ln() + stirling_error(a);
    if a >= LARGE {
        return steep() + ln_regularised(a, x);
    }
    if x >= a + 1.0 {
        // P is at least a third here, so that its logarithm is harmless.
        return steep() + gamma_lr(a, x).ln();
    }
    let (mut term, mut sum, mut k) = (1.0 / a, 1.0 / a, 0.0);
    while term > 1e-17 * sum {
        k += 1.0;
        term *= x / (a + k);
        sum += term;
    }
    sum.ln()
}

/// `ln P(a, x)` for a large `a`, by the uniform expansion of N. M. Temme, "The asymptotic expansion of the
/// incomplete gamma functions", 1979: constant time where a series takes some `sqrt(a)` terms.
fn ln_regularised(a: f64, x: f64) -> f64 {
    let mu = (x - a) / a;
    let eta = (2.0 * deviance(a, x) / a).sqrt().copysign(mu);
    let (first, second) = if eta.abs() < 0.2 {
        (polynomial(&FIRST, eta), polynomial(&SECOND, eta))
    } else {
        let of_mu = 1.0 / mu;
        (of_mu - 1.0 / eta, 1.0 / eta.powi(3) - of_mu * (of_mu * of_mu + of_mu + 1.0 / 12.0))
    };
    let correction = first + (second + THIRD / a) / a;
    let t = eta * a.sqrt();
    ln_normal_cdf(t) + (-normal_pdf_over_cdf(t) * correction / a.sqrt()).ln_1p()
}

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Where the expansion takes over; its error is below 1e-13 from here on.
const LARGE: f64 = 1e4;

/// The expansions at 0 of the first coefficients.
const FIRST: [f64; 9] = [
    -1.0 / 3.0,
    1.0 / 12.0,
    -2.0 / 135.0,
    1.0 / 864.0,
    1.0 / 2835.0,
    -139.0 / 777_600.0,
    1.0 / 25_515.0,
    -571.0 / 261_273_600.0,
    -281.0 / 151_559_100.0,
];
const SECOND: [f64; 5] = [-1.0 / 540.0, -1.0 / 288.0, 1.0 / 378.0, -77.0 / 77_760.0, 1.0 / 4860.0];
const THIRD: f64 = 25.0 / 6048.0;
