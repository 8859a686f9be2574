//! Exact statistics of live data against a fixed reference, without storing or sorting the live data.

use serde::{Deserialize, Serialize};

use std::collections::VecDeque;

use crate::binning::bucket_counts;
use crate::two_sample::{
    Alternative, Gaps, Method, TestResult, Tie, cramer_from_ties, kolmogorov_smirnov_p_value,
    mann_whitney_from_ties,
};
use crate::{Error, Result, Sample};

/// The distinct numbers of a reference in ascending order, each with how many lie at or below it.
///
/// Merging two references gives the reference of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Reference {
    values: Vec<f64>,
    cumulative: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct Parts {
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
        let mut reference = Self::default();
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
        reference
    }

    /// The same reference, which also tells apart live numbers on both sides of these points.
    #[must_use]
    pub(crate) fn with_points(&self, points: &[f64]) -> Self {
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

    /// Where a number falls: 2 i + 1 at the i-th distinct value, 2 i in the gap before it.
    fn slot(&self, value: f64) -> usize {
        let index = if self.values.len() <= LINEAR_UP_TO {
            self.values.iter().map(|reference| usize::from(*reference < value)).sum()
        } else {
            self.values.partition_point(|reference| *reference < value)
        };
        2 * index + usize::from(self.values.get(index) == Some(&value))
    }
}

impl TryFrom<Parts> for Reference {
    type Error = Error;

    fn try_from(Parts { values, counts }: Parts) -> Result<Self> {
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
        Self { values, counts }
    }
}

/// How many live numbers fell on each distinct value of a [`Reference`] and into each gap between them.
///
/// All that rank statistics need: Kolmogorov-Smirnov's D follows exactly, ties included. One update costs
/// one binary search, memory is 2 k + 1 counters for k distinct reference values, counts add up under
/// [`merge`](Self::merge) and go away under [`subtract`](Self::subtract), which makes sliding windows.
///
/// ```
/// use mlops_drift::{Sample, gap_count::{GapCounts, Reference}, two_sample::kolmogorov_smirnov};
///
/// let reference = Reference::new(&Sample::new([1.0, 2.0, 3.0, 4.0])?)?;
/// let mut counts = GapCounts::new(&reference);
/// for value in [2.5, 4.0, 9.0] {
///     counts.update(&reference, value)?;
/// }
/// let direct = kolmogorov_smirnov(&Sample::new([1.0, 2.0, 3.0, 4.0])?, &Sample::new([2.5, 4.0, 9.0])?)?;
/// assert_eq!(counts.kolmogorov_smirnov(&reference)?, (direct.effect, direct.p_value));
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredCounts", into = "StoredCounts")]
pub struct GapCounts {
    counts: Vec<u64>,
    total: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredCounts {
    version: u32,
    counts: Vec<u64>,
}

impl TryFrom<StoredCounts> for GapCounts {
    type Error = Error;

    fn try_from(StoredCounts { version, counts }: StoredCounts) -> Result<Self> {
        readable(version)?;
        let total = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        match total {
            Some(total) if counts.len() % 2 == 1 && total <= MOST => Ok(Self { counts, total }),
            _ => Err(Error::data("the stored counts are damaged: want an odd number with a sum below 2^63")),
        }
    }
}

impl From<GapCounts> for StoredCounts {
    fn from(GapCounts { counts, .. }: GapCounts) -> Self {
        Self { version: VERSION, counts }
    }
}

fn readable(version: u32) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::unsupported(format!("the stored counts have version {version}, this build reads {VERSION}")))
}

const VERSION: u32 = 1;

impl GapCounts {
    /// No live numbers yet.
    pub fn new(reference: &Reference) -> Self {
        Self { counts: vec![0; 2 * reference.values.len() + 1], total: 0 }
    }

    /// Takes in one number; infinities fall into the outer gaps.
    ///
    /// # Errors
    /// `Data` if it is NaN; `Invalid` if these are counts of another reference.
    pub fn update(&mut self, reference: &Reference, value: f64) -> Result<()> {
        self.fits(reference)?;
        if value.is_nan() {
            return Err(Error::data("cannot place NaN: count missing values apart"));
        }
        self.place(reference, value);
        Ok(())
    }

    /// Takes in many numbers.
    ///
    /// # Errors
    /// As [`update`](Self::update); then none of them is counted.
    pub fn update_all(&mut self, reference: &Reference, values: &[f64]) -> Result<()> {
        self.fits(reference)?;
        if values.iter().fold(false, |any, value| any | value.is_nan()) {
            return Err(Error::data("cannot place NaN: count missing values apart"));
        }
        values.iter().for_each(|value| self.place(reference, *value));
        Ok(())
    }

    /// As [`update`](Self::update) for counts that fit and a value that is no NaN.
    pub(crate) fn place(&mut self, reference: &Reference, value: f64) {
        self.counts[reference.slot(value)] += 1;
        self.total += 1;
    }

    /// How many live numbers there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Adds the counts of another shard of the same live data.
    ///
    /// # Errors
    /// `Invalid` if those are counts of another reference.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.same_size(other)?;
        if self.total > MOST - other.total.min(MOST) {
            return Err(Error::invalid(format!(
                "{} and {} live numbers are too many to add",
                self.total, other.total
            )));
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        Ok(())
    }

    /// Takes out counts that were merged before: how a sliding window forgets its oldest part.
    ///
    /// # Errors
    /// `Invalid` if they were never part of these.
    pub fn subtract(&mut self, other: &Self) -> Result<()> {
        self.same_size(other)?;
        if self.counts.iter().zip(&other.counts).any(|(count, less)| count < less) {
            return Err(Error::invalid("cannot subtract counts that were never merged"));
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, less)| *count -= less);
        self.total -= other.total;
        Ok(())
    }

    /// How many live numbers lie below point `index` of the reference, which lies on it.
    pub(crate) fn strictly_below(&self, index: usize) -> u64 {
        self.counts[..=2 * index].iter().sum()
    }

    /// How many live numbers lie at or below each distinct value of the reference.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        let mut sum = 0;
        self.counts.chunks_exact(2).map(move |pair| {
            sum += pair[0] + pair[1];
            sum
        })
    }

    /// Kolmogorov-Smirnov's D, exact, and its p-value. D is negative if the live values tend to be smaller
    /// where the distribution functions differ most.
    ///
    /// # Errors
    /// `Data` if there are no live numbers or no reference; `Invalid` if these are counts of another one.
    pub fn kolmogorov_smirnov(&self, reference: &Reference) -> Result<(f64, f64)> {
        let (n, m) = self.sizes(reference)?;
        let mut gaps = Gaps::default();
        let (mut below, mut live) = (0, 0);
        for (cumulative, pair) in reference.cumulative.iter().zip(self.counts.chunks_exact(2)) {
            live += pair[0];
            gaps.take(below, live, n, m);
            live += pair[1];
            below = *cumulative;
            gaps.take(below, live, n, m);
        }
        let gap = gaps.of(Alternative::TwoSided);
        let d = gap as f64 / (n as f64 * m as f64);
        let p = kolmogorov_smirnov_p_value(gap, n, m, Alternative::TwoSided, Method::Auto)?;
        Ok((if gaps.above >= gaps.below { d } else { -d }, p))
    }

    /// Mann-Whitney's test of the reference against the live numbers: see
    /// [`mann_whitney`](crate::two_sample::mann_whitney). U is exact; live numbers that fall between reference
    /// values count as distinct in the tie correction.
    ///
    /// # Errors
    /// As [`kolmogorov_smirnov`](Self::kolmogorov_smirnov).
    pub fn mann_whitney(&self, reference: &Reference, alternative: Alternative) -> Result<TestResult> {
        let (n, m) = self.sizes(reference)?;
        mann_whitney_from_ties(self.ties(reference), n, m, alternative, Method::Asymptotic)
    }

    /// The Cramer-von Mises test against the reference: see
    /// [`cramer_von_mises`](crate::two_sample::cramer_von_mises). Exact if live numbers that fall between
    /// reference values are distinct.
    ///
    /// # Errors
    /// As [`kolmogorov_smirnov`](Self::kolmogorov_smirnov), or `Data` if a side has fewer than two values.
    pub fn cramer_von_mises(&self, reference: &Reference) -> Result<TestResult> {
        let (n, m) = self.sizes(reference)?;
        cramer_from_ties(self.ties(reference), n, m, Method::Auto)
    }

    /// How many reference and live numbers fall into the buckets of these edges, each of which has to be a
    /// value of the reference, as those of [`Binning::Quantile`](crate::binning::Binning::Quantile) are: what
    /// the distances of [`distance`](crate::distance) take.
    ///
    /// # Errors
    /// `Invalid` if an edge is no value of the reference, or these are counts of another reference.
    pub fn buckets(&self, reference: &Reference, edges: &[f64]) -> Result<(Vec<u64>, Vec<u64>)> {
        self.fits(reference)?;
        let place = |edge: &f64| reference.values.partition_point(|value| value < edge);
        if let Some(edge) = edges.iter().find(|edge| reference.values.get(place(edge)) != Some(edge)) {
            return Err(Error::invalid(format!("edge {edge} is no value of the reference")));
        }
        if edges.is_empty() || edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::invalid(format!("{edges:?} are no edges: want ascending numbers")));
        }
        let index = place(&edges[0]);
        let below = index.checked_sub(1).map_or(0, |before| reference.cumulative[before]);
        let values = &reference.values;
        Ok((
            bucket_counts(edges, values, reference.cumulative.iter().copied(), below, reference.total()),
            bucket_counts(edges, values, self.cumulative(), self.strictly_below(index), self.total),
        ))
    }

    /// Forgets all live numbers: the start of the next tumbling window.
    pub fn reset(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    fn ties(&self, reference: &Reference) -> impl Iterator<Item = Tie> {
        let (mut below, mut live) = (0, 0);
        let gaps = self.counts.chunks(2).enumerate();
        gaps.flat_map(move |(index, pair)| {
            let gap = Tie { below: (below, live), at: (0, pair[0]), distinct: true };
            live += pair[0];
            let at = pair.get(1).map(|at| {
                let here = Tie {
                    below: (below, live),
                    at: (reference.cumulative[index] - below, *at),
                    distinct: false,
                };
                live += at;
                below = reference.cumulative[index];
                here
            });
            std::iter::once(gap).chain(at)
        })
    }

    fn sizes(&self, reference: &Reference) -> Result<(u64, u64)> {
        self.fits(reference)?;
        let (n, m) = (reference.total(), self.total);
        if n == 0 || m == 0 {
            return Err(Error::data(format!("cannot compare {n} reference values with {m} live values")));
        }
        Ok((n, m))
    }

    pub(crate) fn belongs_to(&self, reference: &Reference) -> bool {
        self.fits(reference).is_ok()
    }

    fn fits(&self, reference: &Reference) -> Result<()> {
        let (want, got) = (2 * reference.values.len() + 1, self.counts.len());
        if want == got {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "these counts belong to another reference: {got} counters, it has {want}"
        )))
    }

    fn same_size(&self, other: &Self) -> Result<()> {
        let (want, got) = (self.counts.len(), other.counts.len());
        if want == got {
            return Ok(());
        }
        Err(Error::invalid(format!("cannot combine counts of two references: {want} and {got} counters")))
    }
}

/// [`GapCounts`] of the last so many live numbers.
///
/// It keeps the place of each number among the reference values, four bytes, not the number.
///
/// ```
/// use mlops_drift::{Sample, gap_count::{Reference, SlidingGapCounts}};
///
/// let reference = Reference::new(&Sample::new([1.0, 2.0, 3.0])?)?;
/// let mut window = SlidingGapCounts::new(&reference, 2)?;
/// for value in [9.0, 1.0, 2.0] {
///     window.update(&reference, value)?;
/// }
/// assert_eq!(window.counts().total(), 2);
/// assert_eq!(window.counts().kolmogorov_smirnov(&reference)?.0, -1.0 / 3.0);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredWindow", into = "StoredWindow")]
pub struct SlidingGapCounts {
    counts: GapCounts,
    slots: VecDeque<u32>,
    window: usize,
}

#[derive(Serialize, Deserialize)]
struct StoredWindow {
    version: u32,
    counters: usize,
    slots: VecDeque<u32>,
    window: usize,
}

impl TryFrom<StoredWindow> for SlidingGapCounts {
    type Error = Error;

    fn try_from(StoredWindow { version, counters, slots, window }: StoredWindow) -> Result<Self> {
        readable(version)?;
        let fits = |slot: &u32| (*slot as usize) < counters;
        // A counter takes eight bytes: more than 2^32 of them were never written.
        if counters % 2 == 0
            || counters > 1 << 32
            || window == 0
            || slots.len() > window
            || !slots.iter().all(fits)
        {
            return Err(Error::data("the stored window is damaged: its places do not fit its reference"));
        }
        let mut counts = Vec::new();
        if counts.try_reserve_exact(counters).is_err() {
            return Err(Error::unavailable(format!(
                "no memory for the {counters} counters of a stored window"
            )));
        }
        counts.resize(counters, 0);
        slots.iter().for_each(|slot| counts[*slot as usize] += 1);
        Ok(Self { counts: GapCounts { counts, total: slots.len() as u64 }, slots, window })
    }
}

impl From<SlidingGapCounts> for StoredWindow {
    fn from(SlidingGapCounts { counts, slots, window }: SlidingGapCounts) -> Self {
        Self { version: VERSION, counters: counts.counts.len(), slots, window }
    }
}

impl SlidingGapCounts {
    /// A window of this many numbers, empty yet.
    ///
    /// # Errors
    /// `Invalid` if the window holds none, or the reference has 2^31 distinct values or more.
    pub fn new(reference: &Reference, window: usize) -> Result<Self> {
        if window == 0 || reference.values.len() >= 1 << 31 {
            return Err(Error::invalid(format!(
                "a window of {window} against {} distinct values is out of range: want at least 1, below 2^31",
                reference.values.len()
            )));
        }
        Ok(Self { counts: GapCounts::new(reference), slots: VecDeque::new(), window })
    }

    /// Takes in one number and forgets the oldest if the window is full.
    ///
    /// # Errors
    /// As [`GapCounts::update`].
    pub fn update(&mut self, reference: &Reference, value: f64) -> Result<()> {
        self.counts.fits(reference)?;
        if value.is_nan() {
            return Err(Error::data("cannot place NaN: count missing values apart"));
        }
        if self.slots.len() == self.window
            && let Some(oldest) = self.slots.pop_front()
        {
            self.counts.counts[oldest as usize] -= 1;
            self.counts.total -= 1;
        }
        let slot = reference.slot(value);
        self.slots.push_back(slot as u32);
        self.counts.counts[slot] += 1;
        self.counts.total += 1;
        Ok(())
    }

    /// The counts of the numbers in the window.
    pub fn counts(&self) -> &GapCounts {
        &self.counts
    }
}

/// More live or reference numbers than anybody counts: sums of two stay in range.
pub(crate) const MOST: u64 = i64::MAX as u64;
/// Up to so many distinct values, comparing with all of them beats a search.
const LINEAR_UP_TO: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binning::Binning;
    use crate::two_sample::{cramer_von_mises, kolmogorov_smirnov, mann_whitney};

    #[test]
    fn rank_tests_are_those_of_the_samples() {
        let reference: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101)).collect();
        // On reference values, between them and beyond them; distinct between.
        let live: Vec<f64> =
            (0..150).map(|i| f64::from(i * 53 % 97) * 1.1 - 3.0 + f64::from(i) * 1e-4).collect();
        let (a, b) = (Sample::new(reference).unwrap(), Sample::new(live.clone()).unwrap());
        let reference = Reference::new(&a).unwrap();
        let mut counts = GapCounts::new(&reference);
        live.iter().for_each(|value| counts.update(&reference, *value).unwrap());
        let ks = kolmogorov_smirnov(&a, &b).unwrap();
        assert_eq!(counts.kolmogorov_smirnov(&reference).unwrap(), (ks.effect, ks.p_value));
        assert_eq!(
            counts.mann_whitney(&reference, Alternative::Less).unwrap(),
            mann_whitney(&a, &b, Alternative::Less, Method::Asymptotic).unwrap()
        );
        assert_eq!(
            counts.cramer_von_mises(&reference).unwrap(),
            cramer_von_mises(&a, &b, Method::Auto).unwrap()
        );
        let edges = Binning::Quantile(4).edges(&reference).unwrap();
        let (was, is) = counts.buckets(&reference, &edges).unwrap();
        assert_eq!((was.iter().sum::<u64>(), is.iter().sum::<u64>()), (200, 150));
        let below = live.iter().filter(|value| **value < edges[0]).count() as u64;
        let first = live.iter().filter(|value| **value >= edges[0] && **value <= edges[1]).count() as u64;
        assert_eq!((is[0], is[1]), (below, first));
        assert!(counts.buckets(&reference, &[0.5]).is_err());
    }

    #[test]
    fn a_sliding_window_counts_its_last_values() {
        let reference = Reference::new(&Sample::new((0..50).map(f64::from)).unwrap()).unwrap();
        let value = |i: i32| f64::from(i * 17 % 61) - 4.5;
        let mut window = SlidingGapCounts::new(&reference, 40).unwrap();
        for i in 0..300 {
            window.update(&reference, value(i)).unwrap();
        }
        let mut last = GapCounts::new(&reference);
        (260..300).for_each(|i| last.update(&reference, value(i)).unwrap());
        assert_eq!(*window.counts(), last);
        assert!(window.update(&reference, f64::NAN).is_err());
        let json = serde_json::to_string(&window).unwrap();
        assert_eq!(serde_json::from_str::<SlidingGapCounts>(&json).unwrap(), window);
        last.subtract(&window.counts).unwrap();
        assert_eq!(last, GapCounts::new(&reference));
    }
}
