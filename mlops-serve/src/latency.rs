//! Latencies as counts in logarithmic bins: mergeable, constant memory.

use serde::{Deserialize, Serialize};

use crate::sync::atomic::{AtomicU64, Ordering};

/// Bins per doubling: neighbouring bounds differ by at most an eighth.
const PER_OCTAVE: usize = 8;
const PER_OCTAVE_BITS: u32 = PER_OCTAVE.trailing_zeros();
/// From 0 to 2^40 ns, about 18 minutes; anything slower falls into the last bin.
const BINS: usize = if cfg!(loom) { 1 } else { (40 - PER_OCTAVE_BITS as usize + 1) * PER_OCTAVE };

/// How long requests took: counts in bins that are at most 1/8 wide relative to their lower bound.
///
/// Quantiles are upper bounds of bins, so they overstate by at most 12.5 %. Merging is addition. At most
/// 304 counts, whatever the number of requests.
///
/// ```
/// use mlops_serve::Latencies;
///
/// let mut latencies = Latencies::default();
/// for us in 1..=1000 {
///     latencies.record(us * 1000);
/// }
/// let p99_us = latencies.quantile_ns(0.99).unwrap() as f64 / 1e3;
/// assert!((990.0..=990.0 * 1.125).contains(&p99_us), "{p99_us}");
/// assert_eq!(latencies.slower_than(2_000_000), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub struct Latencies {
    /// Counts by bin; bins beyond the end are zero, and the last one is not.
    bins: Vec<u64>,
}

impl Latencies {
    /// Takes in one duration in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.add(bin(ns), 1);
    }

    /// Takes in what another saw.
    pub fn merge(&mut self, other: &Self) {
        for (bin, count) in other.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(bin, *count);
        }
    }

    /// The number of durations seen.
    pub fn count(&self) -> u64 {
        self.bins.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The upper bound of the bin that holds this quantile, in nanoseconds; `None` if nothing was seen.
    ///
    /// `quantile` is clamped to [0, 1]; NaN counts as 0.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        let rank = ((quantile.max(0.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0_u64;
        let reaches = |count: &u64| {
            seen = seen.saturating_add(*count);
            seen >= rank
        };
        let found = self.bins.iter().position(reaches).or_else(|| self.bins.len().checked_sub(1));
        found.map(|bin| lower_ns(bin + 1))
    }

    /// How many durations were longer than this limit. The bin that holds the limit counts as within it.
    pub fn slower_than(&self, limit_ns: u64) -> u64 {
        self.bins.iter().skip(bin(limit_ns) + 1).fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The bins with something in them: the upper bound in nanoseconds, and the count.
    #[cfg(feature = "telemetry")]
    pub(crate) fn bins(&self) -> impl Iterator<Item = (u64, u64)> {
        let bins = self.bins.iter().enumerate().filter(|(_, count)| **count > 0);
        bins.map(|(bin, count)| (lower_ns(bin + 1), *count))
    }

    /// What was recorded after `before`, an earlier state of the same.
    #[cfg(feature = "telemetry")]
    pub(crate) fn since(&self, before: &Self) -> Self {
        let earlier = before.bins.iter().copied().chain(std::iter::repeat(0));
        self.bins
            .iter()
            .zip(earlier)
            .map(|(now, earlier)| now.saturating_sub(earlier))
            .collect::<Vec<_>>()
            .into()
    }

    fn add(&mut self, bin: usize, count: u64) {
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] = self.bins[bin].saturating_add(count);
    }
}

impl From<Vec<u64>> for Latencies {
    /// From counts by bin. Counts beyond the last bin fall into it.
    fn from(counts: Vec<u64>) -> Self {
        let mut latencies = Self::default();
        for (bin, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            latencies.add(bin.min(BINS - 1), count);
        }
        latencies
    }
}

impl From<Latencies> for Vec<u64> {
    fn from(latencies: Latencies) -> Self {
        latencies.bins
    }
}

/// The same counts, written from many threads.
#[derive(Debug)]
pub(crate) struct AtomicLatencies(Box<[AtomicU64]>);

impl Default for AtomicLatencies {
    fn default() -> Self {
        Self((0..BINS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl AtomicLatencies {
    #[inline]
    pub(crate) fn record(&self, ns: u64) {
        self.0[bin(ns)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was recorded so far.
    pub(crate) fn read(&self) -> Latencies {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        counts.into()
    }

    /// Takes out what was recorded since the last call.
    pub(crate) fn take(&self) -> Latencies {
        let mut taken = Latencies::default();
        // Most are zero, and a look costs less than a swap.
        let seen = |(_, count): &(usize, &AtomicU64)| count.load(Ordering::Relaxed) > 0;
        for (bin, count) in self.0.iter().enumerate().filter(seen) {
            taken.add(bin, count.swap(0, Ordering::Relaxed));
        }
        taken
    }
}

/// The first `PER_OCTAVE` bins are one nanosecond wide; then each doubling is cut into `PER_OCTAVE`.
#[inline]
fn bin(ns: u64) -> usize {
    let octave = (63 - (ns | 1).leading_zeros()).saturating_sub(PER_OCTAVE_BITS);
    (octave as usize * PER_OCTAVE + (ns >> octave) as usize).min(BINS - 1)
}

fn lower_ns(bin: usize) -> u64 {
    let octave = (bin / PER_OCTAVE).saturating_sub(1);
    ((bin - octave * PER_OCTAVE) as u64) << octave
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_tile_the_range() {
        for index in 0..BINS - 1 {
            assert_eq!(bin(lower_ns(index)), index);
            assert_eq!(bin(lower_ns(index + 1) - 1), index);
        }
        assert_eq!(bin(u64::MAX), BINS - 1);
        assert_eq!(lower_ns(BINS), 1 << 40);
    }

    #[test]
    fn nothing_seen_has_no_quantile() {
        assert_eq!(Latencies::default().quantile_ns(0.5), None);
        assert_eq!(Latencies::default().slower_than(0), 0);
    }

    #[test]
    fn hostile_states_are_cut_to_size() {
        let latencies: Latencies = serde_json::from_str(&format!("{:?}", vec![u64::MAX; 4000])).unwrap();
        assert_eq!(latencies.count(), u64::MAX);
        assert!(latencies.quantile_ns(f64::NAN).is_some());
    }

    proptest! {
        #[test]
        fn merging_is_concatenating(a: Vec<u64>, b: Vec<u64>) {
            let of = |values: &[u64]| {
                let mut latencies = Latencies::default();
                values.iter().for_each(|ns| latencies.record(*ns));
                latencies
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }

        #[test]
        fn quantiles_overstate_by_an_eighth_at_most(mut values in proptest::collection::vec(1_u64..1 << 39, 1..200), q in 0.0_f64..=1.0) {
            let mut latencies = Latencies::default();
            values.iter().for_each(|ns| latencies.record(*ns));
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let got = latencies.quantile_ns(q).unwrap();
            prop_assert!(got > exact && got as f64 <= exact as f64 * 1.125 + 1.0, "{got} for {exact}");
        }
    }
}
