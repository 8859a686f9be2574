//! Root finding.

/// The root of `f` between two points where it has different signs, to a few units in the last place.
///
/// Inverse quadratic steps that fall back to halving, so that an infinite value at an end does no harm. If the
/// signs agree, the end where `f` is smaller is returned.
///
/// Source: T. R. Chandrupatla, "A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear
/// function without using derivatives", 1997.
pub(super) fn solve(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut b, mut a) = (low, high);
    let (mut fb, mut fa) = (f(b), f(a));
    let mut t = 0.5;
    for _ in 0..200 {
        let best = if fa.abs() < fb.abs() { a } else { b };
        let tolerance = 2.0 * f64::EPSILON * best.abs() + f64::MIN_POSITIVE;
        let step_min = tolerance / (b - a).abs();
        if fa == 0.0 || fb == 0.0 || (fa > 0.0) == (fb > 0.0) || step_min.is_nan() || step_min > 0.5 {
            return best;
        }
        let x = a + f64::clamp(t, step_min, 1.0 - step_min) * (b - a);
        let fx = f(x);
        // The point that leaves the bracket still bends the parabola.
        let (c, fc) = if (fx > 0.0) == (fa > 0.0) {
            (a, fa)
        } else {
            let left = (b, fb);
            (b, fb) = (a, fa);
            left
        };
        (a, fa) = (x, fx);
        let (xi, phi) = ((a - b) / (c - b), (fa - fb) / (fc - fb));
        t = 0.5;
        if phi * phi < xi && (1.0 - phi).powi(2) < 1.0 - xi {
            let quadratic =
                fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb);
            if quadratic.is_finite() {
                t = quadratic;
            }
        }
    }
    if fa.abs() < fb.abs() { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn finds_roots_of_awkward_functions() {
        for (f, low, high, root) in [
            ((|x| x * x - 2.0) as fn(f64) -> f64, 0.0, 2.0, 2_f64.sqrt()),
            (|x| x.ln() + 3.0, 0.0, 1.0, (-3_f64).exp()),
            (|x| 1.0 / x - 1e6, 0.0, 1.0, 1e-6),
            (|x| (x - 0.25).powi(9), 0.0, 1.0, 0.25),
            (|x| if x < 0.7 { -1.0 } else { 1.0 }, 0.0, 1.0, 0.7),
        ] {
            let found = solve(low, high, f);
            assert!((found - root).abs() <= 1e-12 * root || f(found) == 0.0, "{found} for {root}");
        }
    }

    #[test]
    fn without_a_change_of_sign_an_end_is_returned() {
        assert_eq!(solve(1.0, 2.0, |x| x), 1.0);
        assert_eq!(solve(1.0, 2.0, |x| -x), 1.0);
        assert_eq!(solve(1.0, 1.0, |x| x), 1.0);
    }
}
