//! Buckets that are fixed on the reference.

use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::gap_count::Reference;
use crate::{Error, Result};

/// How the numbers of a reference are cut into buckets. Live data never move an edge.
///
/// Edges e1 <= e2 < ... < ek make the buckets (-inf, e1), [e1, e2], (e2, e3], ... and (ek, inf): the first
/// and the last hold what lies outside the reference. If e1 = e2 the second holds this one value: so a value of which
/// the reference is full, as 0 often is, has a bucket of its own.
///
/// ```
/// use mlops_drift::{Sample, binning::Binning, gap_count::Reference};
///
/// let reference = Reference::new(&Sample::new([1.0, 2.0, 3.0, 4.0, 1e9])?)?;
/// assert_eq!(Binning::EqualWidth(2).edges(&reference)?, [1.0, 500000000.5, 1e9]);
/// assert_eq!(Binning::Quantile(2).edges(&reference)?, [1.0, 3.0, 1e9]);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Binning {
    /// This many buckets of about equal counts; the edges are values of the reference. Heavy ties make
    /// fewer buckets; a minimum that fills one has it alone. One outlier cannot stretch them.
    Quantile(usize),
    /// This many buckets of equal width between the reference's minimum and maximum. One outlier in the
    /// reference squeezes all else into one bucket.
    EqualWidth(usize),
    /// Equal width, log2 n + 1 buckets (H. Sturges, 1926).
    Sturges,
    /// Equal width, Sturges corrected for skewness (D. Doane, 1976).
    Doane,
    /// Equal width 2 IQR / n^(1/3) (D. Freedman, P. Diaconis, 1981); one bucket if the IQR is 0, so take quantiles for
    /// a column that is mostly one value.
    FreedmanDiaconis,
    /// Equal width, as many buckets as the larger of Sturges' and Freedman and Diaconis' rules: NumPy's `auto`.
    Auto,
    /// These edges, ascending.
    Edges(Vec<f64>),
}

impl Default for Binning {
    /// Deciles.
    fn default() -> Self {
        Self::Quantile(10)
    }
}

impl Binning {
    /// The edges for this reference, ascending.
    ///
    /// # Errors
    /// `Invalid` if the number of buckets is not in 1..=1000 or the edges are not finite and ascending;
    /// `Data` if the reference is empty.
    pub fn edges(&self, reference: &Reference) -> Result<Vec<f64>> {
        if let Self::Edges(edges) = self {
            are_edges(edges)?;
            return Ok(edges.clone());
        }
        let values = reference.values();
        let (Some(min), Some(max)) = (values.first().copied(), values.last().copied()) else {
            return Err(Error::data("cannot place edges on a reference without finite numbers"));
        };
        let n = reference.total() as f64;
        // Half of each, so that a range wider than the largest number does not overflow.
        let half_range = max / 2.0 - min / 2.0;
        let by_width =
            |bins: f64| if half_range > 0.0 { bins.ceil().clamp(1.0, BINS_MAX as f64) as usize } else { 1 };
        let freedman_diaconis = || {
            let range = reference.quantile(0.75) / 2.0 - reference.quantile(0.25) / 2.0;
            if range > 0.0 { by_width(half_range / (2.0 * range) * n.cbrt()) } else { 1 }
        };
        let bins = match self {
            Self::Quantile(bins) => return Ok(quantiles(reference, checked(*bins)?, min)),
            Self::EqualWidth(bins) => checked(*bins)?,
            Self::Sturges => by_width(n.log2() + 1.0),
            // NumPy's rule: skewness needs three values.
            Self::Doane if n < 3.0 => 1,
            Self::Doane => by_width(1.0 + n.log2() + (1.0 + skewness_score(reference)).log2()),
            Self::FreedmanDiaconis => freedman_diaconis(),
            Self::Auto => by_width(n.log2() + 1.0).max(freedman_diaconis()),
            Self::Edges(_) => 1,
        };
        let mut edges: Vec<f64> =
            (0..=bins).map(|bin| min + 2.0 * (half_range * (bin as f64 / bins as f64))).collect();
        edges[bins] = max;
        edges.dedup();
        Ok(edges)
    }
}

/// Refuses edges that are not finite or do not ascend, but for the first two, which may be equal.
pub(crate) fn are_edges(edges: &[f64]) -> Result<()> {
    if edges.is_empty() {
        return Err(Error::invalid("no edges: want at least one"));
    }
    if let Some(edge) = edges.iter().find(|edge| !edge.is_finite()) {
        return Err(Error::invalid(format!("edge {edge} is not finite")));
    }
    let wrong =
        edges.windows(2).enumerate().find(|(at, pair)| pair[0] > pair[1] || (*at > 0 && pair[0] == pair[1]));
    match wrong {
        Some((at, pair)) => Err(Error::invalid(format!(
            "edge {} is {}, not above the {} before it: want ascending numbers",
            at + 2,
            pair[1],
            pair[0]
        ))),
        None => Ok(()),
    }
}

/// How many numbers fall into each bucket of these edges, the buckets of [`Binning`]: one pass that compares many
/// numbers at once, the fastest way for up to some twenty edges.
///
/// ```
/// use mlops_drift::binning::count;
/// use mlops_drift::distance::{psi, smoothed};
///
/// let edges = [0.0, 1.0, 2.0];
/// let (was, is) = (count(&edges, &[0.0, 0.5, 1.5, 1.7])?, count(&edges, &[-1.0, 1.5, 9.0])?);
/// assert_eq!((&was[..], &is[..]), (&[0, 2, 2, 0][..], &[1, 0, 1, 1][..]));
/// let index = psi(&smoothed(&was), &smoothed(&is))?;
/// # assert!(index > 0.5);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the edges are not finite and ascending; `Data` if a number is NaN.
pub fn count(edges: &[f64], values: &[f64]) -> Result<Vec<u64>> {
    are_edges(edges)?;
    let (mut cumulative, missing) = Arch::new().dispatch(Below { edges, values });
    if missing > 0 {
        return Err(Error::data(format!("{missing} values are NaN: count missing values apart")));
    }
    cumulative.push(values.len() as u64);
    let mut before = 0;
    Ok(cumulative.into_iter().map(|sum| sum - std::mem::replace(&mut before, sum)).collect())
}

/// How many numbers lie below the first edge, and at or below each other one; and how many are NaN.
struct Below<'a> {
    edges: &'a [f64],
    values: &'a [f64],
}

impl WithSimd for Below<'_> {
    type Output = (Vec<u64>, u64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self { edges, values } = self;
        let mut cumulative = vec![0u64; edges.len().max(2)];
        let mut missing = 0;
        let inner = if edges.len() == 1 { edges } else { &edges[1..] };
        for block in values.chunks(BLOCK) {
            missing += block.iter().map(|value| u64::from(value.is_nan())).sum::<u64>();
            cumulative[0] += block.iter().map(|value| u64::from(*value < edges[0])).sum::<u64>();
            for (sum, edge) in cumulative[1..].iter_mut().zip(inner) {
                *sum += block.iter().map(|value| u64::from(value <= edge)).sum::<u64>();
            }
        }
        (cumulative, missing)
    }
}

/// How many numbers fall into each bucket, from how many lie at or below each point of a grid that holds
/// all edges. `strictly_below_first` lie below the first edge.
pub(crate) fn bucket_counts(
    edges: &[f64],
    grid: &[f64],
    cumulative: impl Iterator<Item = u64>,
    strictly_below_first: u64,
    total: u64,
) -> Vec<u64> {
    let mut counts = Vec::with_capacity(edges.len() + 1);
    counts.push(strictly_below_first);
    let mut before = strictly_below_first;
    let mut wanted = if edges.len() == 1 { edges } else { &edges[1..] };
    for (point, cumulative) in grid.iter().zip(cumulative) {
        if wanted.first() == Some(point) {
            counts.push(cumulative - before);
            before = cumulative;
            wanted = &wanted[1..];
        }
    }
    counts.push(total - before);
    counts
}

fn checked(bins: usize) -> Result<usize> {
    if (1..=BINS_MAX).contains(&bins) {
        return Ok(bins);
    }
    Err(Error::invalid(format!("{bins} buckets are out of range: want 1 to {BINS_MAX}")))
}

fn quantiles(reference: &Reference, bins: usize, min: f64) -> Vec<f64> {
    let n = u128::from(reference.total());
    let mut edges = vec![min];
    for bin in 1..=bins {
        // The smallest value with at least this many at or below it.
        let rank = (n * bin as u128).div_ceil(bins as u128) as u64;
        let index = reference.cumulative().partition_point(|cumulative| *cumulative < rank);
        edges.push(reference.values()[index]);
    }
    // The first may be there twice: the minimum as a bucket of its own.
    let mut kept = 1;
    for at in 1..edges.len() {
        if at == 1 || edges[at] != edges[kept - 1] {
            edges[kept] = edges[at];
            kept += 1;
        }
    }
    edges.truncate(kept);
    edges
}

/// |g1| / sigma(g1), of the sample skewness; 0 if it is undefined.
fn skewness_score(reference: &Reference) -> f64 {
    let n = reference.total() as f64;
    let moment = |power: i32, around: f64| {
        reference.pairs().map(|(value, count)| count as f64 * (value - around).powi(power)).sum::<f64>() / n
    };
    let mean = moment(1, 0.0);
    let sigma = moment(2, mean).sqrt();
    if !(sigma > 0.0 && sigma.is_finite()) {
        return 0.0;
    }
    let skewness =
        reference.pairs().map(|(value, count)| count as f64 * ((value - mean) / sigma).powi(3)).sum::<f64>()
            / n;
    skewness.abs() / (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt()
}

const BINS_MAX: usize = 1_000;
/// Numbers that stay in the first cache while they are compared.
const BLOCK: usize = 1_024;
