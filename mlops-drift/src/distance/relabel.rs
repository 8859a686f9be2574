//! How large a distance of samples chance alone makes.

use std::fmt;

use mlops_core::Seed;
use serde::{Deserialize, Serialize};

use super::samples::scaled;
use crate::two_sample::relabelled;
use crate::version::versioned;
use crate::{Error, Result, Sample};

/// A distance of two samples, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SampleDistance {
    /// [`wasserstein`](super::wasserstein).
    Wasserstein,
    /// [`wasserstein_normed`](super::wasserstein_normed).
    WassersteinNormed,
    /// [`energy`](super::energy).
    Energy,
}

/// A distance of two samples, held against what random halves of them differ by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub struct SampleDistanceResult {
    /// Which distance.
    pub distance: SampleDistance,
    /// Its value: the effect.
    #[serde(with = "crate::float")]
    pub value: f64,
    /// What at least `1 - level` of the relabelled pairs do not exceed.
    #[serde(with = "crate::float")]
    pub limit: f64,
    /// Of the limit.
    pub level: f64,
    /// How likely a distance at least so large is if nothing changed.
    pub p_value: f64,
    /// How many values there were.
    pub sizes: (u64, u64),
}

versioned!(SampleDistanceResult, "distance");

/// A distance of two samples with its p-value and the limit that chance alone keeps, by random relabelling of the
/// pooled values.
///
/// * Exact in that the chance of p <= x is at most x for unchanged data, whatever their distribution; the limit is an
///   order statistic of the relabelled distances, so it moves with the seed by about 1/sqrt(relabellings x level) of
///   its tail. The same seed gives the same result.
/// * [`SampleDistance::WassersteinNormed`] divides all by the deviation of the reference as it is.
/// * Cost: O(n + m) for each relabelling, after sorting the pooled values once.
///
/// ```
/// use mlops_core::Seed;
/// use mlops_drift::{Sample, distance::{SampleDistance, compare_samples}};
///
/// let reference = Sample::new((0..200).map(f64::from))?;
/// let current = Sample::new((0..100).map(|i| 2.0 * f64::from(i) + 60.0))?;
/// let result = compare_samples(SampleDistance::Wasserstein, &reference, &current, 0.05, 199, Seed::new(1))?;
/// assert!(result.value > 50.0 && result.value > result.limit && result.p_value == 1.0 / 200.0);
/// assert!(result.to_string().contains("more than chance explains"), "{result}");
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the level is not a probability between 0 and 1, or there are fewer than 1/level - 1 relabellings, of
/// which no order statistic could be the limit; `Data` if a value is infinite.
pub fn compare_samples(
    distance: SampleDistance,
    reference: &Sample,
    current: &Sample,
    level: f64,
    relabellings: u32,
    seed: Seed,
) -> Result<SampleDistanceResult> {
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::invalid(format!("level is {level}: want a probability between 0 and 1")));
    }
    let places = f64::from(relabellings) + 1.0;
    // The least place from above that is no further out than the level.
    let place = (level * places * (1.0 + 1e-12)).floor();
    if place < 1.0 {
        return Err(Error::invalid(format!(
            "{relabellings} relabellings have no limit at level {level}: want at least {:.0}",
            (1.0 / level - 1.0).ceil()
        )));
    }
    let (_, deviation, scale) = scaled(reference, current)?;
    let mut pooled: Vec<(f64, bool)> = reference.sorted().iter().map(|value| (*value, true)).collect();
    pooled.extend(current.sorted().iter().map(|value| (*value, false)));
    pooled.sort_by(|a, b| a.0.total_cmp(&b.0));
    let widths: Vec<f64> = pooled.windows(2).map(|pair| pair[1].0 * scale - pair[0].0 * scale).collect();
    let (n, m) = (reference.len() as f64, current.len() as f64);
    let is_energy = distance == SampleDistance::Energy;
    let integral = |labels: &[bool]| {
        let (mut difference, mut sum) = (0.0f64, 0.0);
        for (label, width) in labels.iter().zip(&widths) {
            difference += if *label { 1.0 / n } else { -1.0 / m };
            sum += width * if is_energy { difference * difference } else { difference.abs() };
        }
        sum
    };
    let in_units = |integral: f64| match distance {
        SampleDistance::Wasserstein => integral / scale,
        SampleDistance::WassersteinNormed if integral == 0.0 => 0.0,
        SampleDistance::WassersteinNormed => integral / deviation,
        SampleDistance::Energy => (2.0 * integral).sqrt() / scale.sqrt(),
    };
    let labels: Vec<bool> = pooled.iter().map(|(_, label)| *label).collect();
    let seen = integral(&labels);
    let (p_value, mut chance) = relabelled(labels, relabellings, seed, seen, integral)?;
    chance.sort_by(f64::total_cmp);
    let limit = in_units(chance[chance.len() - place as usize]);
    let sizes = (reference.len() as u64, current.len() as u64);
    Ok(SampleDistanceResult { distance, value: in_units(seen), limit, level, p_value, sizes })
}

impl fmt::Display for SampleDistanceResult {
    /// A sentence for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distance, value, limit, level, p_value, sizes: (first, second) } = self;
        let name = match distance {
            SampleDistance::Wasserstein => "wasserstein",
            SampleDistance::WassersteinNormed => "wasserstein_normed",
            SampleDistance::Energy => "energy",
        };
        let verdict =
            if p_value <= level { "more than chance explains" } else { "no more than chance explains" };
        write!(
            f,
            "{name} {value:.4} of {first} and {second} values, {verdict}: {:.1} % of random relabellings stay up to \
             {limit:.4}, p = {p_value:.3e}",
            100.0 * (1.0 - level)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{energy, wasserstein, wasserstein_normed};
    use crate::random::SplitMix64;

    const ALL: [SampleDistance; 3] =
        [SampleDistance::Wasserstein, SampleDistance::WassersteinNormed, SampleDistance::Energy];

    #[test]
    fn values_are_the_distances_and_limits_keep_their_level() {
        let mut random = SplitMix64::new(11);
        let mut draw = |n: usize| Sample::new((0..n).map(|_| random.normal())).unwrap();
        let mut beyond = [0; 3];
        for trial in 0..200 {
            let (a, b) = (draw(40), draw(25));
            for (count, distance) in beyond.iter_mut().zip(ALL) {
                let result = compare_samples(distance, &a, &b, 0.1, 99, Seed::new(trial)).unwrap();
                let direct = match distance {
                    SampleDistance::Wasserstein => wasserstein(&a, &b),
                    SampleDistance::WassersteinNormed => wasserstein_normed(&a, &b),
                    SampleDistance::Energy => energy(&a, &b),
                };
                assert!((result.value - direct.unwrap()).abs() < 1e-12, "{result}");
                assert_eq!(result.p_value <= 0.1, result.value > result.limit, "{result}");
                *count += u32::from(result.value > result.limit);
            }
        }
        // 20 are expected; beyond 6..=36 lies a chance of 0.03 %.
        assert!(beyond.iter().all(|count| (6..=36).contains(count)), "{beyond:?}");
    }

    #[test]
    fn levels_that_cannot_be_told_are_refused() {
        let sample = Sample::new([1.0, 2.0]).unwrap();
        let error =
            compare_samples(SampleDistance::Energy, &sample, &sample, 0.001, 99, Seed::new(1)).unwrap_err();
        assert!(error.to_string().contains("want at least 999"), "{error}");
        assert!(compare_samples(SampleDistance::Energy, &sample, &sample, 1.0, 99, Seed::new(1)).is_err());
        let same = compare_samples(SampleDistance::Energy, &sample, &sample, 0.5, 9, Seed::new(1)).unwrap();
        assert_eq!((same.value, same.p_value), (0.0, 1.0));
    }
}
