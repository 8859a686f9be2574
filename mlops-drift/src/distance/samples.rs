//! Distances of two samples, without buckets.

use crate::two_sample::finite;
use crate::{Result, Sample};

/// The Wasserstein-1 (earth mover's) distance: the integral of |F - G|, in the data's unit.
///
/// Domain: finite numbers. One far outlier moves it as far as its share of the sample times its distance.
/// Cost: O(n + m) on sorted samples.
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
    Ok(integral(a, b, f64::abs))
}

/// [`wasserstein`] over the standard deviation of the first sample (n), at least 0.001: free of units.
///
/// # Errors
/// `Data` if a value is infinite.
pub fn wasserstein_normed(reference: &Sample, current: &Sample) -> Result<f64> {
    let distance = wasserstein(reference, current)?;
    let n = reference.len() as f64;
    let values = reference.sorted();
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    Ok(distance / variance.sqrt().max(0.001))
}

/// The energy distance: sqrt(2 integral (F - G)^2), in the root of the data's unit (G. Szekely, M. Rizzo, Energy
/// Statistics, 2013). Cost: O(n + m) on sorted samples.
///
/// # Errors
/// `Data` if a value is infinite.
pub fn energy(a: &Sample, b: &Sample) -> Result<f64> {
    finite("energy", a)?;
    finite("energy", b)?;
    Ok((2.0 * integral(a, b, |difference| difference * difference)).sqrt())
}

/// The integral of `weigh(F - G)`.
fn integral(a: &Sample, b: &Sample, weigh: impl Fn(f64) -> f64) -> f64 {
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
        sum += weigh(i as f64 / n - j as f64 / m) * (value - last);
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
