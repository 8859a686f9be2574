//! Upper tails, kept accurate far out.

use statrs::function::{erf::erfc, gamma::gamma_ur};

/// P(Z > z) of the standard normal.
pub(crate) fn normal_sf(z: f64) -> f64 {
    0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// P(X > x) of the chi-squared distribution with `freedom` > 0 degrees of freedom; 1 at x <= 0.
pub(crate) fn chi_squared_sf(x: f64, freedom: f64) -> f64 {
    if x <= 0.0 {
        1.0
    } else if x == f64::INFINITY {
        0.0
    } else {
        gamma_ur(freedom / 2.0, x / 2.0)
    }
}

/// The value that a chi-squared variable with `freedom` > 0 degrees of freedom exceeds with the probability `tail`
/// in 0..=1.
pub(crate) fn chi_squared_upper_quantile(tail: f64, freedom: f64) -> f64 {
    if tail >= 1.0 {
        return 0.0;
    }
    // The upper end: P(X > freedom + 2 sqrt(freedom t) + 2 t) <= exp(-t) (B. Laurent, P. Massart, 2000).
    let t = -tail.max(f64::MIN_POSITIVE).ln();
    let (mut low, mut high) = (0.0, freedom + 2.0 * (freedom * t).sqrt() + 2.0 * t);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if chi_squared_sf(middle, freedom) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_tiny_tails() {
        // Two degrees of freedom: exp(-x / 2).
        for tail in [1.0f64, 0.5, 1e-3, 1e-17, 1e-300] {
            let want = -2.0 * tail.ln();
            assert!((chi_squared_upper_quantile(tail, 2.0) - want).abs() <= 1e-10 * want, "{tail}");
        }
    }
}
