//! Tests whose p-values come from random relabelling.

use mlops_core::Seed;

use super::TestResult;
use super::means::{finite, unit};
use crate::random::SplitMix64;
use crate::{Error, Result, Sample};

/// The energy test: is the energy distance larger than random relabelling makes it? (G. Szekely, M. Rizzo,
/// Testing for Equal Distributions in High Dimension, 2004.)
///
/// * Statistic: the energy distance sqrt(2 integral (F - G)^2), as [`energy`](crate::distance::energy); zero
///   only for equal samples, sensitive to any change.
/// * p-value: (1 + relabellings at least as extreme) / (1 + all of them): valid at any sample size; never
///   below 1 / (1 + `relabellings`). The same seed gives the same value.
/// * Effect: the statistic, in the root of the data's unit. Cost: O(relabellings (n + m)).
///
/// # Errors
/// `Data` if a value is infinite; `Invalid` if there are no relabellings.
pub fn energy_test(a: &Sample, b: &Sample, relabellings: u32, seed: Seed) -> Result<TestResult> {
    finite("energy_test", a)?;
    finite("energy_test", b)?;
    let mut pooled: Vec<(f64, bool)> = a.sorted().iter().map(|value| (*value, true)).collect();
    pooled.extend(b.sorted().iter().map(|value| (*value, false)));
    pooled.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
    let scale = unit(a, b);
    let widths: Vec<f64> = pooled.windows(2).map(|pair| pair[1].0 * scale - pair[0].0 * scale).collect();
    let (n, m) = (a.len() as f64, b.len() as f64);
    let squared = |labels: &[bool]| {
        let mut difference = 0.0;
        let mut sum = 0.0;
        for (label, width) in labels.iter().zip(&widths) {
            difference += if *label { 1.0 / n } else { -1.0 / m };
            sum += difference * difference * width;
        }
        sum
    };
    let labels: Vec<bool> = pooled.iter().map(|(_, label)| *label).collect();
    let seen = squared(&labels);
    let (p_value, _) = relabelled(labels, relabellings, seed, seen, squared)?;
    let distance = (2.0 * seen).sqrt() / scale.sqrt();
    Ok(TestResult {
        test: "energy".into(),
        statistic: distance,
        p_value,
        effect: distance,
        sizes: (a.len() as u64, b.len() as u64),
    })
}

/// The maximum mean discrepancy test with a Gaussian kernel (A. Gretton et al., A Kernel Two-Sample Test,
/// 2012).
///
/// * Statistic: the biased estimate of MMD^2, in 0..=2; the kernel's width is the median distance of the
///   pooled values.
/// * p-value: as [`energy_test`].
/// * Effect: MMD. Cost: O((n + m)^2) time and memory for each of the relabellings, so at most 4096 values
///   together: draw some from larger samples.
///
/// # Errors
/// `Data` if a value is infinite; `Invalid` if there are no relabellings; `Unsupported` if there are more than
/// 4096 values.
pub fn mmd_test(a: &Sample, b: &Sample, relabellings: u32, seed: Seed) -> Result<TestResult> {
    finite("mmd_test", a)?;
    finite("mmd_test", b)?;
    let scale = unit(a, b);
    let pooled: Vec<f64> = a.sorted().iter().chain(b.sorted()).map(|value| value * scale).collect();
    let total = pooled.len();
    if total > MMD_MOST {
        return Err(Error::unsupported(format!(
            "mmd_test compares all pairs, at most {MMD_MOST} values together, got {total}: draw some of them"
        )));
    }
    let mut distances: Vec<f64> = (0..total)
        .flat_map(|i| pooled[..i].iter().map(move |other| (i, *other)))
        .map(|(i, other)| (pooled[i] - other).abs())
        .collect();
    let middle = distances.len() / 2;
    let width = *distances.select_nth_unstable_by(middle, f64::total_cmp).1;
    // Half or more of the pairs may be ties: then any positive distance is far.
    let width = if width > 0.0 { width } else { f64::MIN_POSITIVE.sqrt() };
    let mut kernel = vec![0.0; total * total];
    for (i, row) in kernel.chunks_exact_mut(total).enumerate() {
        for (cell, other) in row.iter_mut().zip(&pooled) {
            let distance = (pooled[i] - other) / width;
            *cell = (-0.5 * distance * distance).exp();
        }
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let squared = |labels: &[bool]| {
        let weight = |label: bool| if label { 1.0 / n } else { -1.0 / m };
        labels
            .iter()
            .zip(kernel.chunks_exact(total))
            .map(|(label, row)| {
                weight(*label)
                    * row.iter().zip(labels).map(|(cell, label)| cell * weight(*label)).sum::<f64>()
            })
            .sum::<f64>()
    };
    let labels: Vec<bool> = (0..total).map(|i| i < a.len()).collect();
    let seen = squared(&labels);
    let (p_value, _) = relabelled(labels, relabellings, seed, seen, squared)?;
    let seen = seen.max(0.0);
    Ok(TestResult {
        test: "mmd".into(),
        statistic: seen,
        p_value,
        effect: seen.sqrt(),
        sizes: (a.len() as u64, b.len() as u64),
    })
}

/// The p-value of what was seen, and the statistic of each relabelling.
pub(crate) fn relabelled(
    mut labels: Vec<bool>,
    relabellings: u32,
    seed: Seed,
    seen: f64,
    statistic: impl Fn(&[bool]) -> f64,
) -> Result<(f64, Vec<f64>)> {
    if relabellings == 0 {
        return Err(Error::invalid("a permutation test needs at least one relabelling"));
    }
    if seen.is_nan() {
        return Err(Error::data("the statistic of a permutation test is NaN: rescale the values"));
    }
    let mut random = SplitMix64::new(seed.value());
    let mut statistics = Vec::new();
    for _ in 0..relabellings {
        for last in (1..labels.len()).rev() {
            labels.swap(last, random.below(last as u64 + 1) as usize);
        }
        statistics.push(statistic(&labels));
    }
    // Sums of the same terms in another order are equal but for rounding.
    let extreme = statistics.iter().filter(|statistic| **statistic >= seen * (1.0 - 1e-12)).count();
    Ok(((extreme as f64 + 1.0) / (f64::from(relabellings) + 1.0), statistics))
}

const MMD_MOST: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_equal_samples_do_not_differ() {
        let x = 1.7e308;
        let sample = |values: &[f64]| Sample::new(values.iter().copied()).unwrap();
        let same = sample(&[-x, x]);
        assert_eq!(energy_test(&same, &same, 99, Seed::new(1)).unwrap().p_value, 1.0);
        assert_eq!(mmd_test(&same, &same, 99, Seed::new(1)).unwrap().p_value, 1.0);
        assert!(mmd_test(&sample(&[x]), &sample(&[-x]), 99, Seed::new(1)).unwrap().statistic > 0.5);
    }

    #[test]
    fn a_shift_is_found_and_noise_is_not() {
        let mut random = SplitMix64::new(5);
        let mut draw = |shift: f64| Sample::new((0..60).map(|_| random.uniform() + shift)).unwrap();
        let (a, b, c) = (draw(0.0), draw(0.0), draw(0.4));
        for test in [energy_test, mmd_test] {
            assert!(test(&a, &b, 199, Seed::new(2)).unwrap().p_value > 0.05);
            assert!(test(&a, &c, 199, Seed::new(2)).unwrap().p_value < 0.01);
        }
    }
}
