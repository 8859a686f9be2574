//! Live numbers, counted.

use serde::{Deserialize, Serialize};

use super::{MOST, Reference};
use crate::binning::{are_edges, bucket_counts};
use crate::distance::{psi, smoothed};
use crate::two_sample::{
    Alternative, Gaps, Method, TestResult, Tie, cramer_from_ties, kolmogorov_smirnov_p_value,
    mann_whitney_from_ties,
};
use crate::version::readable;
use crate::{Error, Result};

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
    pub(super) counts: Vec<u64>,
    pub(super) total: u64,
    /// The fingerprint of the reference; `None` in what version 1 stored.
    pub(super) reference: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct StoredCounts {
    version: u32,
    #[serde(default)]
    reference: Option<u64>,
    counts: Vec<u64>,
}

impl TryFrom<StoredCounts> for GapCounts {
    type Error = Error;

    fn try_from(StoredCounts { version, reference, counts }: StoredCounts) -> Result<Self> {
        readable("counts", version, VERSION)?;
        let total = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        match total {
            Some(total) if counts.len() % 2 == 1 && total <= MOST => Ok(Self { counts, total, reference }),
            _ => Err(Error::data("the stored counts are damaged: want an odd number with a sum below 2^63")),
        }
    }
}

impl From<GapCounts> for StoredCounts {
    fn from(GapCounts { counts, reference, .. }: GapCounts) -> Self {
        Self { version: VERSION, reference, counts }
    }
}

pub(super) const VERSION: u32 = 2;

impl GapCounts {
    /// No live numbers yet.
    pub fn new(reference: &Reference) -> Self {
        Self {
            counts: vec![0; 2 * reference.values().len() + 1],
            total: 0,
            reference: Some(reference.fingerprint()),
        }
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
        if reference.values().len() <= FEW {
            self.place_all(reference, values);
        } else {
            values.iter().for_each(|value| self.place(reference, *value));
        }
        Ok(())
    }

    /// Against few values it is faster to count how many numbers lie below and up to each of them, for many numbers
    /// at once, than to place one number after the other.
    fn place_all(&mut self, reference: &Reference, values: &[f64]) {
        for block in values.chunks(BLOCK) {
            let mut before = 0;
            for (pair, value) in self.counts.chunks_exact_mut(2).zip(reference.values()) {
                let below: u64 = block.iter().map(|live| u64::from(live < value)).sum();
                let up_to: u64 = block.iter().map(|live| u64::from(live <= value)).sum();
                pair[0] += below - before;
                pair[1] += up_to - below;
                before = up_to;
            }
            if let Some(beyond) = self.counts.last_mut() {
                *beyond += block.len() as u64 - before;
            }
        }
        self.total += values.len() as u64;
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

    /// For each gap between two neighbours of the reference: how many live numbers lie up to its lower end, and below its
    /// upper end.
    pub(crate) fn between(&self) -> impl Iterator<Item = (u64, u64)> {
        let inner = self.counts.get(2..self.counts.len() - 1).unwrap_or(&[]);
        let mut up_to = self.counts[..2.min(self.counts.len())].iter().sum::<u64>();
        inner.chunks_exact(2).map(move |pair| {
            let gap = (up_to, up_to + pair[0]);
            up_to += pair[0] + pair[1];
            gap
        })
    }

    /// Reference and live numbers on each distinct value that the reference has, and live numbers in each gap that has
    /// some.
    pub(crate) fn distinct(&self, reference: &Reference) -> (Vec<u64>, Vec<u64>) {
        let mut before = 0;
        let mut of_reference = reference.cumulative().iter().map(|cumulative| {
            let count = cumulative - before;
            before = *cumulative;
            count
        });
        let slots = self.counts.iter().enumerate();
        let pairs = slots
            .map(|(slot, live)| (if slot % 2 == 1 { of_reference.next().unwrap_or(0) } else { 0 }, *live));
        pairs.filter(|pair| *pair != (0, 0)).unzip()
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
        for (cumulative, pair) in reference.cumulative().iter().zip(self.counts.chunks_exact(2)) {
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
    /// `Invalid` if an edge is no value of the reference ([`Reference::with_points`] makes any edge one), or these are
    /// counts of another reference.
    pub fn buckets(&self, reference: &Reference, edges: &[f64]) -> Result<(Vec<u64>, Vec<u64>)> {
        self.fits(reference)?;
        let place = |edge: &f64| reference.values().partition_point(|value| value < edge);
        if let Some(edge) = edges.iter().find(|edge| reference.values().get(place(edge)) != Some(edge)) {
            return Err(Error::invalid(format!(
                "edge {edge} is no value of the reference: add it by `Reference::with_points`"
            )));
        }
        are_edges(edges)?;
        let index = place(&edges[0]);
        let below = index.checked_sub(1).map_or(0, |before| reference.cumulative()[before]);
        let values = reference.values();
        Ok((
            bucket_counts(edges, values, reference.cumulative().iter().copied(), below, reference.total()),
            bucket_counts(edges, values, self.cumulative(), self.strictly_below(index), self.total),
        ))
    }

    /// The population stability index over the buckets of these edges, counts [`smoothed`]: see
    /// [`psi`](crate::distance::psi).
    ///
    /// # Errors
    /// As [`buckets`](Self::buckets).
    pub fn psi(&self, reference: &Reference, edges: &[f64]) -> Result<f64> {
        let (was, is) = self.buckets(reference, edges)?;
        psi(&smoothed(&was), &smoothed(&is))
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
                    at: (reference.cumulative()[index] - below, *at),
                    distinct: false,
                };
                live += at;
                below = reference.cumulative()[index];
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

    pub(super) fn fits(&self, reference: &Reference) -> Result<()> {
        let (want, got) = (2 * reference.values().len() + 1, self.counts.len());
        if want != got {
            return Err(Error::invalid(format!(
                "these counts belong to another reference: {got} counters, it has {want}"
            )));
        }
        same_reference(self.reference, Some(reference.fingerprint()))
    }

    fn same_size(&self, other: &Self) -> Result<()> {
        let (want, got) = (self.counts.len(), other.counts.len());
        if want != got {
            return Err(Error::invalid(format!(
                "cannot combine counts of two references: {want} and {got} counters"
            )));
        }
        same_reference(self.reference, other.reference)
    }
}

pub(super) fn same_reference(mine: Option<u64>, theirs: Option<u64>) -> Result<()> {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) if mine != theirs => Err(Error::invalid(format!(
            "these counts belong to another reference: its fingerprint is {mine:016x}, not {theirs:016x}"
        ))),
        _ => Ok(()),
    }
}

/// Up to so many distinct reference values, comparing with all of them beats a search.
const FEW: usize = 16;
/// Numbers that stay in the first cache while they are compared.
const BLOCK: usize = 1_024;
