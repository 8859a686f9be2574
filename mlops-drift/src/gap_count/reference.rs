//! What live data are counted against.

use serde::{Deserialize, Serialize};

use super::MOST;
use super::index::Index;
use crate::fingerprint::fingerprint;
use crate::version::readable;
use crate::{Error, Result, Sample};

/// The distinct numbers of a reference in ascending order, each with how many lie at or below it.
///
/// Merging two references gives the reference of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Reference {
    values: Vec<f64>,
    cumulative: Vec<u64>,
    index: Index,
    fingerprint: u64,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    #[serde(default = "crate::version::first")]
    version: u32,
    values: Vec<f64>,
    counts: Vec<u64>,
}

impl Reference {
    /// The reference of a sample.
    ///
    /// # Errors
    /// `Data` if a value is infinite: count those apart.
    pub fn new(sample: &Sample) -> Result<Self> {
        let sorted = sample.sorted();
        if sorted[0].is_infinite() || sorted[sorted.len() - 1].is_infinite() {
            return Err(Error::data(
                "a reference holds finite numbers only, got an infinity: count those apart",
            ));
        }
        Ok(Self::from_sorted(sorted.iter().map(|value| (*value, 1))))
    }

    /// Pairs of value and count, ascending; equal values are joined.
    pub(crate) fn from_sorted(pairs: impl Iterator<Item = (f64, u64)>) -> Self {
        let (values, cumulative) = (Vec::new(), Vec::new());
        let mut reference = Self { values, cumulative, index: Index::default(), fingerprint: 0 };
        let mut total = 0;
        for (value, count) in pairs {
            total = u64::saturating_add(total, count);
            match (reference.values.last(), reference.cumulative.last_mut()) {
                (Some(last), Some(cumulative)) if *last == value => *cumulative = total,
                _ => {
                    // -0.0 and 0.0 are one value.
                    reference.values.push(value + 0.0);
                    reference.cumulative.push(total);
                }
            }
        }
        reference.index = Index::new(&reference.values);
        reference.fingerprint = fingerprint(
            reference.values.iter().map(|value| value.to_bits()).chain(reference.cumulative.iter().copied()),
        );
        reference
    }

    /// The same reference, which also tells apart live numbers on both sides of these points: any edges can then
    /// cut [`GapCounts::buckets`](super::GapCounts::buckets).
    #[must_use]
    pub fn with_points(&self, points: &[f64]) -> Self {
        let mut pairs: Vec<(f64, u64)> = self.pairs().chain(points.iter().map(|point| (*point, 0))).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self::from_sorted(pairs.into_iter())
    }

    /// The distinct values, ascending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How many numbers lie at or below each distinct value.
    pub fn cumulative(&self) -> &[u64] {
        &self.cumulative
    }

    /// How many numbers there are.
    pub fn total(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// The quantile of `share` in 0..=1, linear between order statistics as NumPy's; NaN if it is empty.
    pub fn quantile(&self, share: f64) -> f64 {
        let Some(last) = self.total().checked_sub(1) else { return f64::NAN };
        let place = share.clamp(0.0, 1.0) * last as f64;
        let at = |rank: u64| self.values[self.cumulative.partition_point(|cumulative| *cumulative <= rank)];
        let low = (place.floor() as u64).min(last);
        let (value, next) = (at(low), at((low + 1).min(last)));
        let weight = place - low as f64;
        if weight == 0.0 { value } else { value * (1.0 - weight) + next * weight }
    }

    /// The reference of both.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut pairs: Vec<(f64, u64)> = self.pairs().chain(other.pairs()).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self::from_sorted(pairs.into_iter())
    }

    /// Each distinct value with its count.
    pub fn pairs(&self) -> impl Iterator<Item = (f64, u64)> {
        let before = std::iter::once(0).chain(self.cumulative.iter().copied());
        self.values
            .iter()
            .zip(self.cumulative.iter().zip(before))
            .map(|(value, (at, before))| (*value, at - before))
    }

    /// A number that tells references apart: equal values with equal counts share it, others do not but by the
    /// chance of one in 2^64.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Where a number falls: 2 i + 1 at the i-th distinct value, 2 i in the gap before it.
    pub(super) fn slot(&self, value: f64) -> usize {
        let index = self.index.lower_bound(&self.values, value);
        2 * index + usize::from(self.values.get(index) == Some(&value))
    }
}

impl Default for Reference {
    /// That of no numbers.
    fn default() -> Self {
        Self::from_sorted(std::iter::empty())
    }
}

impl TryFrom<Parts> for Reference {
    type Error = Error;

    fn try_from(Parts { version, values, counts }: Parts) -> Result<Self> {
        readable("reference", version, VERSION)?;
        let ordered =
            values.windows(2).all(|pair| pair[0] < pair[1]) && values.iter().all(|value| value.is_finite());
        let total = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        if values.len() != counts.len()
            || !ordered
            || counts.contains(&0)
            || total.is_none_or(|total| total > MOST)
        {
            return Err(Error::data(
                "the stored reference is damaged: want finite ascending values, each with a count from 1",
            ));
        }
        Ok(Self::from_sorted(values.into_iter().zip(counts)))
    }
}

impl From<Reference> for Parts {
    fn from(reference: Reference) -> Self {
        let (values, counts) = reference.pairs().unzip();
        Self { version: VERSION, values, counts }
    }
}

const VERSION: u32 = 1;
