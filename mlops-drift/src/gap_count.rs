//! Exact statistics of live data against a fixed reference, without storing or sorting the live data.

use serde::{Deserialize, Serialize};

use crate::two_sample::{Alternative, Gaps, Method, kolmogorov_smirnov_p_value};
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
            total += count;
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
        let index = self.values.partition_point(|reference| *reference < value);
        2 * index + usize::from(self.values.get(index) == Some(&value))
    }
}

impl TryFrom<Parts> for Reference {
    type Error = Error;

    fn try_from(Parts { values, counts }: Parts) -> Result<Self> {
        let ordered =
            values.windows(2).all(|pair| pair[0] < pair[1]) && values.iter().all(|value| value.is_finite());
        let total = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        if values.len() != counts.len() || !ordered || counts.contains(&0) || total.is_none() {
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
pub struct GapCounts {
    counts: Vec<u64>,
    total: u64,
}

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
        self.fits(reference)?;
        let (n, m) = (reference.total(), self.total);
        if n == 0 || m == 0 {
            return Err(Error::data(format!("cannot compare {n} reference values with {m} live values")));
        }
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
