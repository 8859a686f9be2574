//! Special functions: statrs where it is accurate to 1e-13, libm where it is not (its `erfc` has 5e-11 at 7).

mod beta;
mod gamma;

pub(crate) use beta::{beta_quantile, beta_reg};
pub(crate) use gamma::{deviance, ln_incomplete_gamma_scaled, stirling_error};

use libm::erfc;
use statrs::function::erf::erfc_inv;

use super::roots::solve;
use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// `ln Phi(x)`, accurate in both tails.
pub(crate) fn ln_normal_cdf(x: f64) -> f64 {
    if x > 0.0 {
        (-0.5 * erfc(x * FRAC_1_SQRT_2)).ln_1p()
    } else if x > -30.0 {
        (0.5 * erfc(-x * FRAC_1_SQRT_2)).ln()
    } else {
        // The asymptotic series of Mills' ratio: at 30 its fifth term is below 1e-12 of the first.
        let t = 1.0 / (x * x);
        let series = 1.0 - t * (1.0 - 3.0 * t * (1.0 - 5.0 * t * (1.0 - 7.0 * t)));
        -0.5 * x * x - (-x).ln() - 0.5 * (2.0 * PI).ln() + series.ln()
    }
}

/// `phi(x) / Phi(x)`.
pub(crate) fn normal_pdf_over_cdf(x: f64) -> f64 {
    (-0.5 * x * x - 0.5 * (2.0 * PI).ln() - ln_normal_cdf(x)).exp()
}

/// `P(Z > z)` of the standard normal law.
pub(crate) fn normal_upper_tail(z: f64) -> f64 {
    0.5 * erfc(z * FRAC_1_SQRT_2)
}

/// The `z` with `P(Z > z) = tail`, for a tail within (0, 1).
pub(crate) fn normal_quantile(tail: f64) -> f64 {
    let mut z = SQRT_2 * erfc_inv(2.0 * tail);
    // Two of Newton's steps take statrs' 1e-10 to full precision.
    for _ in 0..2 {
        let step = (normal_upper_tail(z) - tail) / (-0.5 * z * z - 0.5 * (2.0 * PI).ln()).exp();
        z += if step.is_finite() { step } else { 0.0 };
    }
    z
}

/// `P(T > t)` of Student's law.
pub(crate) fn student_upper_tail(t: f64, degrees: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - student_upper_tail(-t, degrees);
    }
    if degrees >= 1e3 {
        return normal_upper_tail(student_as_normal(t, degrees));
    }
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    0.5 * beta_reg(0.5 * degrees, 0.5, degrees / (degrees + square), square / (degrees + square))
}

/// The normal deviate with the tail of a Student deviate `t >= 0`, for a thousand degrees and above.
///
/// Source: G. W. Hill, "Student's t-distribution", algorithm 395, 1970.
fn student_as_normal(t: f64, degrees: f64) -> f64 {
    let a = degrees - 0.5;
    let b = 48.0 * a * a;
    let square = a * (t * (t / degrees)).ln_1p();
    let z = square.sqrt();
    let second =
        (((-0.4 * square - 3.3) * square - 24.0) * square - 85.5) / (0.8 * square * square + 100.0 + b);
    ((second + square + 3.0) / b + 1.0) * z
}

/// The `t` with `P(T > t) = tail`, for a tail within (0, 1).
pub(crate) fn student_quantile(tail: f64, degrees: f64) -> f64 {
    if tail > 0.5 {
        return -student_quantile(1.0 - tail, degrees);
    }
    let excess = |t: f64| student_upper_tail(t, degrees) - tail;
    let mut high = 2.0;
    while excess(high) > 0.0 && high < 1e150 {
        high *= high;
    }
    solve(0.0, high, excess)
}

/// Riemann's zeta function for `s > 1`, by the Euler-Maclaurin sum.
pub(crate) fn zeta(s: f64) -> f64 {
    const N: f64 = 16.0;
    let head: f64 = (1..16).map(|n| f64::from(n).powf(-s)).sum();
    // B_2k / (2k)!
    let weights = [1.0 / 12.0, -1.0 / 720.0, 1.0 / 30_240.0, -1.0 / 1_209_600.0, 1.0 / 47_900_160.0];
    let mut factor = s * N.powf(-s - 1.0);
    let mut tail = N.powf(1.0 - s) / (s - 1.0) + 0.5 * N.powf(-s);
    for (k, weight) in weights.into_iter().enumerate() {
        tail += weight * factor;
        let j = s + 2.0 * k as f64;
        factor *= (j + 1.0) * (j + 2.0) / (N * N);
    }
    head + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeta_has_its_known_values() {
        assert!((zeta(2.0) - PI * PI / 6.0).abs() < 1e-14);
        assert!((zeta(4.0) - PI.powi(4) / 90.0).abs() < 1e-14);
        assert!((zeta(1.4) - 3.105_547_277_977_580_6).abs() < 1e-14);
    }

    #[test]
    fn the_tails_of_the_normal_law_join() {
        for x in [-30.0, 0.0] {
            let (below, above) = (ln_normal_cdf(x), ln_normal_cdf(x + 1e-12));
            assert!((below - above).abs() < 1e-10, "{below} {above}");
        }
        // scipy.stats.norm.logcdf
        assert!((ln_normal_cdf(-10.0) + 53.231_285_150_512_48).abs() < 1e-12);
        assert!((ln_normal_cdf(-40.0) + 804.608_442_013_753_9).abs() < 1e-10);
        assert!((ln_normal_cdf(5.0) / -2.866_516_129_637_629_4e-7 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_branches_of_the_incomplete_gamma_function_join() {
        for a in [0.5, 3.0, 80.0, 1e4] {
            let (below, above) = (
                ln_incomplete_gamma_scaled(a, (a + 1.0) * (1.0 - 1e-14)),
                ln_incomplete_gamma_scaled(a, a + 1.0),
            );
            assert!((below - above).abs() < 1e-11 * above.abs().max(1.0), "{below} {above}");
        }
    }

    /// Numerical integrals at 40 digits.
    #[test]
    fn tails_hold_at_any_number_of_rows() {
        for (a, b, x, expected) in [
            (5.0, 3.0, 0.4, 0.096_256),
            (300.0, 1e8, 2.9e-6, 0.286_192_666_036_353_1),
            (1e6, 1e6, 0.5004, 0.871_050_490_683_616_7),
            (5e7, 5e7 + 1.0, 0.499_95, 0.158_679_451_003_814_63),
            (2e9, 2e9, 0.499_99, 0.102_951_605_357_304_52),
            (2e9, 3e9, 0.400_005, 0.764_757_072_507_623_9),
        ] {
            // One unit in the last place of x moves the value by about this much.
            let noise = 1e-12 + 2e-16 * f64::sqrt(a + b);
            let value = beta_reg(a, b, x, 1.0 - x);
            assert!((value - expected).abs() < noise, "{a} {b} {x}: {value} for {expected}");
            let turned = 1.0 - beta_reg(b, a, 1.0 - x, x);
            assert!((turned - expected).abs() < noise, "{a} {b} {x}: {turned} for {expected}");
            assert!((beta_quantile(expected, a, b) / x - 1.0).abs() < 1e-12);
        }
        for (t, degrees, expected) in [
            (3.0, 7.5, 0.009_195_469_304_100_925),
            (2.0, 1e3, 0.022_885_173_246_625_82),
            (5.0, 1e4, 2.915_163_306_831_323_7e-7),
            (2.0, 1e6, 0.022_750_266_925_659_604),
            (1.5, 1e10, 0.066_807_201_284_643_02),
        ] {
            let value = student_upper_tail(t, degrees);
            assert!((value / expected - 1.0).abs() < 1e-12, "{t} {degrees}: {value}");
        }
        for (a, x, expected) in [
            (50.0, 60.0, -0.239_667_152_647_346_54),
            (9999.0, 10_100.0, -3.349_377_684_278_356_8),
            (1e4, 1e4, -4.376_714_413_852_06),
            (1e4, 10_300.0, 0.724_282_687_970_797_7),
            (1e4, 9500.0, -6.249_479_771_957_361),
            (1e6, 1_003_000.0, -1.499_159_129_580_523_5),
            (1e8, 1e8 + 3e4, -3.793_653_629_120_016),
            (1e12, 1e12 + 2e6, -10.919_587_655_998_985),
            (1e15, 1e15 - 1e8, -18.503_209_291_436_31),
        ] {
            let value = ln_incomplete_gamma_scaled(a, x);
            assert!((value - expected).abs() < 2e-11, "{a} {x}: {value}");
        }
    }
}
