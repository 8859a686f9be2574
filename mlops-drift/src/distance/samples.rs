//! Distances of two samples, without buckets.

use crate::two_sample::{finite, unit};
use crate::{Result, Sample};

/// The Wasserstein-1 (earth mover's) distance: the integral of |F - G|, in the data's unit.
///
/// Domain: finite numbers. One far outlier moves it as far as its share of the sample times its distance.
/// Infinite if the distance itself exceeds the largest float. Cost: O(n + m) on sorted samples.
///
/// ```
/// use mlops_drift::{Sample, distance::wasserstein};
///
/// assert_eq!(wasserstein(&Sample::new([0.0, 1.0])?, &Sample::new([5.0, 6.0])?)?, 5.0);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Data` if a value is infinite.
pub fn wasserstein(a: &Sample, b: &Sample) -> Result<f64> {
    finite("wasserstein", a)?;
    finite("wasserstein", b)?;
    let scale = unit(a, b);
    Ok(integral(a, b, scale, f64::abs) / scale)
}

/// [`wasserstein`] over the standard deviation of the first sample (n): free of units.
///
/// A constant reference has no deviation: 0 if the other is the same constant, else infinite.
///
/// # Errors
/// `Data` if a value is infinite.
pub fn wasserstein_normed(reference: &Sample, current: &Sample) -> Result<f64> {
    let (distance, deviation, _) = scaled(reference, current)?;
    Ok(if distance == 0.0 { 0.0 } else { distance / deviation })
}

/// The distance and the reference's standard deviation (n), both times the unit.
pub(super) fn scaled(reference: &Sample, current: &Sample) -> Result<(f64, f64, f64)> {
    finite("wasserstein", reference)?;
    finite("wasserstein", current)?;
    let scale = unit(reference, current);
    let n = reference.len() as f64;
    let values = || reference.sorted().iter().map(|value| value * scale);
    let mean = values().sum::<f64>() / n;
    let variance = values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    Ok((integral(reference, current, scale, f64::abs), variance.sqrt(), scale))
}

/// The energy distance: sqrt(2 integral (F - G)^2), in the root of the data's unit (G. Szekely, M. Rizzo, Energy
/// Statistics, 2013). Cost: O(n + m) on sorted samples.
///
/// # Errors
/// `Data` if a value is infinite.
pub fn energy(a: &Sample, b: &Sample) -> Result<f64> {
    finite("energy", a)?;
    finite("energy", b)?;
    let scale = unit(a, b);
    Ok((2.0 * integral(a, b, scale, |difference| difference * difference)).sqrt() / scale.sqrt())
}

/// The integral of `weigh(F - G)` over the values times `scale`.
fn integral(a: &Sample, b: &Sample, scale: f64, weigh: impl Fn(f64) -> f64) -> f64 {
    let (x, y) = (a.sorted(), b.sorted());
    let (n, m) = (x.len() as f64, y.len() as f64);
    let (mut i, mut j) = (0, 0);
    let mut sum = 0.0;
    let mut last = x[0].min(y[0]);
    while i < x.len() || j < y.len() {
        let value = match (x.get(i), y.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(value), None) | (None, Some(value)) => *value,
            (None, None) => last,
        };
        sum += weigh(i as f64 / n - j as f64 / m) * (value * scale - last * scale);
        last = value;
        while x.get(i).is_some_and(|other| *other <= value) {
            i += 1;
        }
        while y.get(j).is_some_and(|other| *other <= value) {
            j += 1;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_have_a_distance() {
        let sample = |values: [f64; 3], scale: f64| Sample::new(values.map(|value| value * scale)).unwrap();
        let (a, b) = ([-1.0, 0.5, 1.0], [-0.5, 0.75, 1.5]);
        let at = |scale: f64| (sample(a, scale), sample(b, scale));
        let (x, y) = at(1.0);
        for scale in [2f64.powi(-1000), 2f64.powi(-600), 2f64.powi(600), 2f64.powi(1022)] {
            let (u, v) = at(scale);
            assert_eq!(wasserstein(&u, &v).unwrap(), wasserstein(&x, &y).unwrap() * scale);
            assert_eq!(wasserstein_normed(&u, &v).unwrap(), wasserstein_normed(&x, &y).unwrap());
            assert_eq!(energy(&u, &v).unwrap(), energy(&x, &y).unwrap() * scale.sqrt());
            assert_eq!((wasserstein(&u, &u).unwrap(), energy(&u, &u).unwrap()), (0.0, 0.0));
        }
        let constant = Sample::new([2.0, 2.0]).unwrap();
        assert_eq!(wasserstein_normed(&constant, &constant).unwrap(), 0.0);
        assert_eq!(wasserstein_normed(&constant, &x).unwrap(), f64::INFINITY);
    }
}
