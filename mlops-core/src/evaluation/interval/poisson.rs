//! The bootstrap of a stream that comes in shards.

use serde::{Deserialize, Serialize};

use super::confidence_in_range;
use crate::evaluation::error::MetricError;
use crate::evaluation::metric::{Metric, MetricState, Metrics, Version};
use crate::evaluation::quantile::quantile_of_sorted;
use crate::evaluation::{Interval, Mean};
use crate::{Result, Seed};

/// Any metric with a standard error and an interval, in one pass, mergeable.
///
/// Each row enters each replicate a Poisson(1) number of times. That number follows from the seed, the row's
/// key and the replicate alone: any sharding and any order of rows give the same replicates, bit for bit for
/// counts. Rows that depend on each other (clicks of one user) share a key, and come and go together.
///
/// Cost: as many states as replicates, one push a row and replicate on average. Source: N. Chamandy,
/// O. Muralidharan, A. Najmi, S. Naidu, "Estimating uncertainty for massive data streams", 2012.
///
/// ```
/// use mlops_core::Seed;
/// use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
/// use mlops_core::evaluation::interval::PoissonBootstrap;
///
/// let mut bootstrap = PoissonBootstrap::new(BinaryMetrics::new(BinarySettings::default())?, 50, Seed::new(1))?;
/// for row in 0..200_u64 {
///     let probability = (row * 7 % 20) as f64 / 20.0;
///     bootstrap.push(row, &BinaryRow::new(row % 20 < 7, probability))?;
/// }
/// let accuracy = bootstrap.metrics(0.9)?["accuracy"];
/// let interval = accuracy.interval.unwrap();
/// assert!(interval.lower() < accuracy.value && accuracy.value < interval.upper());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoissonBootstrap<S> {
    version: Version<1>,
    seed: Seed,
    whole: S,
    replicates: Vec<S>,
}

impl<S: MetricState> PoissonBootstrap<S> {
    /// No rows yet; every replicate starts as a copy of `empty`.
    ///
    /// # Errors
    /// `Invalid` with fewer than 2 or more than 100,000 replicates.
    pub fn new(empty: S, replicates: usize, seed: Seed) -> Result<Self> {
        if !(2..=100_000).contains(&replicates) {
            let (what, want) = ("number of replicates", "2 to 100000");
            return Err(MetricError::Setting { what, value: replicates as f64, want }.into());
        }
        let replicates = vec![empty.clone(); replicates];
        Ok(Self { version: Version, seed, whole: empty, replicates })
    }

    /// Takes in a row. The key names what is drawn: the row itself, or the user that it belongs to.
    ///
    /// # Errors
    /// `Data` if the row is refused; then nothing changed.
    pub fn push(&mut self, key: u64, row: &S::Row) -> Result<()> {
        self.whole.push(row)?;
        let start = mix(self.seed.value() ^ mix(key));
        for (index, replicate) in self.replicates.iter_mut().enumerate() {
            let bits = mix(start.wrapping_add((index as u64).wrapping_mul(GOLDEN)));
            for _ in 0..poisson(bits) {
                replicate.push(row)?;
            }
        }
        Ok(())
    }

    /// Takes in all rows of another bootstrap.
    ///
    /// # Errors
    /// `Invalid` if the two differ in seed, replicates or settings.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.seed != other.seed || self.replicates.len() != other.replicates.len() {
            return Err(MetricError::Incompatible { what: "bootstraps" }.into());
        }
        self.whole.merge(&other.whole)?;
        self.replicates.iter_mut().zip(&other.replicates).try_for_each(|(state, other)| state.merge(other))
    }

    /// The state of the rows themselves.
    pub fn whole(&self) -> &S {
        &self.whole
    }

    /// The metrics of the rows, with the standard deviation over replicates as standard error and their
    /// quantiles as interval. A metric that fewer than two replicates define has neither.
    ///
    /// # Errors
    /// `Invalid` if the confidence is not above 0 and below 1.
    pub fn metrics(&self, confidence: f64) -> Result<Metrics> {
        confidence_in_range(confidence)?;
        let drawn: Vec<Metrics> = self.replicates.iter().map(MetricState::metrics).collect();
        let mut metrics = self.whole.metrics();
        for (name, metric) in &mut metrics {
            let values = drawn.iter().filter_map(|metrics| Some(metrics.get(name)?.value));
            let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            values.sort_unstable_by(f64::total_cmp);
            let mut spread = Mean::default();
            spread.extend(&values);
            // What the replicates say stands in place of what the state knows.
            *metric = Metric::new(metric.value);
            let tail = (1.0 - confidence) / 2.0;
            if let [_, _, ..] = values[..]
                && let Some(low) = quantile_of_sorted(&values, tail)
                && let Some(high) = quantile_of_sorted(&values, 1.0 - tail)
            {
                let interval = Interval::new(low, high)?;
                *metric = metric
                    .with_std_error(spread.variance().map(f64::sqrt))
                    .with_interval(interval, confidence);
            }
        }
        Ok(metrics)
    }
}

/// A Poisson(1) number from 64 random bits, by the inverse of the distribution function.
fn poisson(bits: u64) -> usize {
    let u = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    let mut probability = (-1.0_f64).exp();
    let (mut reached, mut count) = (probability, 0);
    while u >= reached && count < COUNT_MAX {
        count += 1;
        probability /= count as f64;
        reached += probability;
    }
    count
}

/// SplitMix64's finaliser: every bit of the input reaches every bit of the output.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(GOLDEN);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Beyond this a Poisson(1) number has a probability below 2^-53.
const COUNT_MAX: usize = 18;
