//! How large a distance chance alone makes.

use std::fmt;

use mlops_core::Seed;
use serde::{Deserialize, Serialize};

use super::{
    hellinger, jensen_shannon_distance_base2, jensen_shannon_divergence_nats, kullback_leibler_nats,
    l_infinity, psi, smoothed, total_variation,
};
use crate::random::SplitMix64;
use crate::special::{chi_squared_sf, chi_squared_upper_quantile};
use crate::version::versioned;
use crate::{Error, Result};

/// A distance over buckets, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BinnedDistance {
    /// [`psi`](super::psi) of [`smoothed`] counts.
    Psi,
    /// [`jensen_shannon_distance_base2`](super::jensen_shannon_distance_base2).
    JensenShannonDistanceBase2,
    /// [`jensen_shannon_divergence_nats`](super::jensen_shannon_divergence_nats).
    JensenShannonDivergenceNats,
    /// [`kullback_leibler_nats`](super::kullback_leibler_nats) of the reference from the current, of [`smoothed`] counts.
    KullbackLeiblerNats,
    /// [`hellinger`](super::hellinger).
    Hellinger,
    /// [`total_variation`](super::total_variation).
    TotalVariation,
    /// [`l_infinity`](super::l_infinity).
    LInfinity,
}

/// A distance, held against what two samples of these sizes differ by if nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub struct DistanceResult {
    /// Which distance.
    pub distance: BinnedDistance,
    /// Its value: the effect.
    #[serde(with = "crate::float")]
    pub value: f64,
    /// What `1 - level` of pairs from one distribution stay below.
    pub limit: f64,
    /// Of the limit.
    pub level: f64,
    /// How likely a distance at least so large is if nothing changed.
    pub p_value: f64,
    /// How many values there were.
    pub sizes: (u64, u64),
}

/// A distance of two lists of counts with its p-value and the limit that chance alone keeps at these sample sizes.
///
/// * PSI, KL, Jensen-Shannon and Hellinger: to second order a multiple of chi-squared with k - 1 degrees of freedom,
///   where k counts the buckets that are not empty in both: (1/n + 1/m) times 1, 1/2, 1/8 and (squared) 1/8. Total
///   variation and L-infinity: the distribution of their limit, from 1999 draws of correlated normal numbers; the same
///   seed gives the same result.
/// * Asymptotic: believe it when most buckets expect five values on either side. Join rarer ones first.
/// * One bucket: 0, p = 1. Cost: O(k), or 2000 k.
///
/// ```
/// use mlops_core::Seed;
/// use mlops_drift::distance::{BinnedDistance, compare};
///
/// let (was, is) = ([20; 10], [26, 14, 22, 18, 25, 15, 20, 20, 23, 17]);
/// let result = compare(BinnedDistance::Psi, &was, &is, 0.05, Seed::new(1))?;
/// // Beyond a tenth of the classic band of 0.1, and nothing special at 200 rows.
/// assert!(result.value > 0.03 && result.value < result.limit);
/// assert!(result.to_string().starts_with("psi 0.0"), "{result}");
/// assert!(result.to_string().contains("no more than chance"), "{result}");
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the lists have different lengths, one sums to 0, or the level is not a probability between 0 and 1.
pub fn compare(
    distance: BinnedDistance,
    reference: &[u64],
    current: &[u64],
    level: f64,
    seed: Seed,
) -> Result<DistanceResult> {
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::invalid(format!("level is {level}: want a probability between 0 and 1")));
    }
    let real = |counts: &[u64]| counts.iter().map(|count| *count as f64).collect::<Vec<_>>();
    let (p, q) = match distance {
        BinnedDistance::Psi | BinnedDistance::KullbackLeiblerNats => (smoothed(reference), smoothed(current)),
        _ => (real(reference), real(current)),
    };
    let value = distance.of(&p, &q)?;
    let sizes = (reference.iter().sum::<u64>(), current.iter().sum::<u64>());
    if sizes.0 == 0 || sizes.1 == 0 {
        return Err(Error::invalid(format!("cannot compare {} with {} values", sizes.0, sizes.1)));
    }
    let filled: Vec<f64> =
        reference.iter().zip(current).map(|(was, is)| (was + is) as f64).filter(|both| *both > 0.0).collect();
    let freedom = filled.len() as f64 - 1.0;
    let scale = 1.0 / sizes.0 as f64 + 1.0 / sizes.1 as f64;
    let (limit, p_value) = if freedom == 0.0 {
        (0.0, 1.0)
    } else if let Some((unit, quadratic)) = distance.unit(value, scale) {
        let quantile = chi_squared_upper_quantile(level, freedom) * unit;
        (distance.limit_of(quantile), chi_squared_sf(quadratic / unit, freedom))
    } else {
        distance.draw(&filled, scale, value, level, seed)
    };
    Ok(DistanceResult { distance, value, limit, level, p_value, sizes })
}

impl BinnedDistance {
    fn of(self, p: &[f64], q: &[f64]) -> Result<f64> {
        match self {
            Self::Psi => psi(p, q),
            Self::JensenShannonDistanceBase2 => jensen_shannon_distance_base2(p, q),
            Self::JensenShannonDivergenceNats => jensen_shannon_divergence_nats(p, q),
            Self::KullbackLeiblerNats => kullback_leibler_nats(p, q),
            Self::Hellinger => hellinger(p, q),
            Self::TotalVariation => total_variation(p, q),
            Self::LInfinity => l_infinity(p, q),
        }
    }

    /// What multiplies chi-squared, and the form of the value that it is a multiple of.
    fn unit(self, value: f64, scale: f64) -> Option<(f64, f64)> {
        Some(match self {
            Self::Psi => (scale, value),
            Self::KullbackLeiblerNats => (scale / 2.0, value),
            Self::JensenShannonDivergenceNats => (scale / 8.0, value),
            Self::JensenShannonDistanceBase2 => (scale / 8.0, value * value * std::f64::consts::LN_2),
            Self::Hellinger => (scale / 8.0, value * value),
            Self::TotalVariation | Self::LInfinity => return None,
        })
    }

    fn limit_of(self, quadratic: f64) -> f64 {
        match self {
            Self::JensenShannonDistanceBase2 => (quadratic / std::f64::consts::LN_2).sqrt().min(1.0),
            Self::Hellinger => quadratic.sqrt().min(1.0),
            _ => quadratic,
        }
    }

    /// Limit and p-value from draws of the limit distribution of the differences of shares.
    fn draw(self, both: &[f64], scale: f64, value: f64, level: f64, seed: Seed) -> (f64, f64) {
        let total: f64 = both.iter().sum();
        let shares: Vec<f64> = both.iter().map(|count| count / total).collect();
        let mut random = SplitMix64::new(seed.value());
        let mut normals = vec![0.0; shares.len()];
        let mut draws: Vec<f64> = (0..DRAWS)
            .map(|_| {
                normals.iter_mut().zip(&shares).for_each(|(z, share)| *z = random.normal() * share.sqrt());
                let sum: f64 = normals.iter().sum();
                let differences = normals.iter().zip(&shares).map(|(z, share)| (z - share * sum).abs());
                let unscaled = match self {
                    Self::TotalVariation => 0.5 * differences.sum::<f64>(),
                    _ => differences.fold(0.0, f64::max),
                };
                (unscaled * scale.sqrt()).min(1.0)
            })
            .collect();
        draws.sort_unstable_by(f64::total_cmp);
        let beyond = DRAWS - draws.partition_point(|draw| *draw < value);
        let rank = (((1.0 - level) * (DRAWS + 1) as f64).ceil() as usize).clamp(1, DRAWS);
        (draws[rank - 1], (beyond + 1) as f64 / (DRAWS + 1) as f64)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::JensenShannonDistanceBase2 => "jensen_shannon_distance_base2",
            Self::JensenShannonDivergenceNats => "jensen_shannon_divergence_nats",
            Self::KullbackLeiblerNats => "kullback_leibler_nats",
            Self::Hellinger => "hellinger",
            Self::TotalVariation => "total_variation",
            Self::LInfinity => "l_infinity",
        }
    }
}

versioned!(DistanceResult, "distance");

impl fmt::Display for DistanceResult {
    /// A sentence for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distance, value, limit, level, p_value, sizes: (first, second) } = self;
        let verdict =
            if p_value <= level { "more than chance explains" } else { "no more than chance explains" };
        write!(
            f,
            "{} {value:.4} of {first} and {second} values, {verdict}: {:.1} % of unchanged pairs stay below {limit:.4}, \
             p = {p_value:.3e}",
            distance.name(),
            100.0 * (1.0 - level)
        )
    }
}

const DRAWS: usize = 1_999;

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of pairs from one distribution that exceed their limit at 5 %.
    fn false_alarms(distance: BinnedDistance, (n, m): (u32, u32), pairs: u32) -> f64 {
        let weights = [0.3, 0.2, 0.15, 0.15, 0.1, 0.1];
        let mut random = SplitMix64::new(u64::from(n) + 7 * distance as u64);
        let mut counts = |size: u32| {
            let mut counts = [0u64; 6];
            for _ in 0..size {
                let (mut u, mut bucket) = (random.uniform(), 0);
                while bucket < 5 && u >= weights[bucket] {
                    u -= weights[bucket];
                    bucket += 1;
                }
                counts[bucket] += 1;
            }
            counts
        };
        let mut alarms = 0;
        for pair in 0..pairs {
            let (was, is) = (counts(n), counts(m));
            let result = compare(distance, &was, &is, 0.05, Seed::new(pair.into())).unwrap();
            alarms += u32::from(result.p_value <= 0.05);
            assert_eq!(result.p_value <= 0.05, result.value >= result.limit, "{result:?}");
        }
        f64::from(alarms) / f64::from(pairs)
    }

    #[test]
    fn limits_hold_what_they_promise_at_any_sample_sizes() {
        for distance in [
            BinnedDistance::Psi,
            BinnedDistance::JensenShannonDistanceBase2,
            BinnedDistance::KullbackLeiblerNats,
            BinnedDistance::Hellinger,
            BinnedDistance::JensenShannonDivergenceNats,
        ] {
            for sizes in [(200, 200), (1000, 150)] {
                let rate = false_alarms(distance, sizes, 1_500);
                // Three standard errors of 1500 pairs, and a little for the asymptotics.
                assert!((0.028..=0.075).contains(&rate), "{distance:?} {sizes:?}: {rate}");
            }
        }
        for distance in [BinnedDistance::TotalVariation, BinnedDistance::LInfinity] {
            let rate = false_alarms(distance, (300, 200), 120);
            assert!(rate <= 0.11, "{distance:?}: {rate}");
        }
    }

    #[test]
    fn changes_are_found_and_bad_input_is_refused() {
        for distance in [BinnedDistance::TotalVariation, BinnedDistance::LInfinity, BinnedDistance::Hellinger]
        {
            let result = compare(distance, &[500, 300, 200], &[300, 300, 400], 0.05, Seed::new(2)).unwrap();
            assert!(result.p_value < 0.01 && result.value > result.limit, "{result}");
            assert!(result.to_string().contains("more than chance explains"), "{result}");
            assert_eq!(compare(distance, &[5, 0], &[9, 0], 0.05, Seed::new(2)).unwrap().p_value, 1.0);
        }
        assert!(compare(BinnedDistance::Psi, &[1, 2], &[0, 0], 0.05, Seed::new(1)).is_err());
        assert!(compare(BinnedDistance::Psi, &[1, 2], &[3], 0.05, Seed::new(1)).is_err());
        assert!(compare(BinnedDistance::Psi, &[1, 2], &[3, 1], -0.1, Seed::new(1)).is_err());
    }
}
