//! NDCG of many queries of equal length, without sorting them.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::{ArrayView1, ArrayView2};

use super::conventions::{Conventions, Ties};
use super::query::{discount, gain, relevance_max};
use crate::Result;
use crate::evaluation::error::{MetricError, finite, in_range, same_length};

/// NDCG at k of each row of a matrix of relevances and scores: the same values as
/// [`Ranking::ndcg`](super::Ranking::ndcg), found by keeping the k best of each row.
///
/// Cost: one pass over each row, k numbers of memory. Names are columns.
///
/// # Errors
/// `Invalid` if the shapes differ or `k` is 0, `Data` if a relevance is negative or a number is not finite.
///
/// ```
/// use mlops_core::evaluation::ranking::{Conventions, ndcg_rows};
/// use ndarray::array;
///
/// let relevance = array![[3.0, 2.0, 3.0, 0.0, 1.0, 2.0]];
/// let scores = array![[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]];
/// let ndcg = ndcg_rows(&relevance.view(), &scores.view(), 3, Conventions::sklearn())?;
/// assert!((ndcg[0] - 0.977_781_362).abs() < 1e-9);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn ndcg_rows(
    relevance: &ArrayView2<'_, f64>,
    scores: &ArrayView2<'_, f64>,
    k: usize,
    conventions: Conventions,
) -> Result<Vec<f64>> {
    same_length("rows of scores", scores.nrows(), relevance.nrows())?;
    same_length("columns of scores", scores.ncols(), relevance.ncols())?;
    if k == 0 {
        return Err(MetricError::Setting { what: "cutoff", value: 0.0, want: "1 or above" }.into());
    }
    let k = k.min(scores.ncols());
    let discounts: Vec<f64> = (0..k).map(discount).collect();
    let mut best = Best::new(k);
    let mut ndcg = Vec::with_capacity(scores.nrows());
    for (relevance, scores) in relevance.rows().into_iter().zip(scores.rows()) {
        let (relevance, scores) = (slice(&relevance), slice(&scores));
        in_range("relevance", &relevance, 0.0, relevance_max(conventions.gain))?;
        finite("score", &scores)?;
        let ideal = best.ideal(&relevance, &discounts, conventions);
        if ideal <= 0.0 {
            ndcg.push(0.0);
            continue;
        }
        best.find(&scores, conventions.ties);
        let gain_at = |place: usize| gain(conventions.gain, relevance[place]);
        let found: f64 = if conventions.ties == Ties::Averaged {
            best.averaged(&scores, &discounts, gain_at)
        } else {
            best.found.iter().zip(&discounts).map(|(&(_, place), discount)| gain_at(place) * discount).sum()
        };
        ndcg.push(found / ideal);
    }
    Ok(ndcg)
}

fn slice<'a>(row: &ArrayView1<'a, f64>) -> Cow<'a, [f64]> {
    row.to_slice().map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

/// The k best values of a row, in order, with their places.
struct Best {
    k: usize,
    found: Vec<(f64, usize)>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, found: Vec::new() }
    }

    fn find(&mut self, row: &[f64], ties: Ties) {
        let rounded = |value: f64| if ties == Ties::NameDescending { f64::from(value as f32) } else { value };
        let bound = rounded(at_most_kth(row, self.k));
        // Every value is written, and only those that may be among the best are kept: no branch to mispredict.
        self.found.clear();
        self.found.resize(row.len(), (0.0, 0));
        let mut end = 0;
        for (place, &value) in row.iter().enumerate() {
            let value = rounded(value);
            self.found[end] = (value, place);
            end += usize::from(value >= bound);
        }
        self.found.truncate(end);
        let last_first = matches!(ties, Ties::LastFirst | Ties::NameDescending);
        self.found.sort_unstable_by(|a, b| {
            let tied = if last_first { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) };
            b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(tied)
        });
        self.found.truncate(self.k);
    }

    /// DCG of the best order. Relevance has few grades as a rule: the highest ones are counted grade by grade,
    /// and only what is left after some is put in order.
    fn ideal(&mut self, relevance: &[f64], discounts: &[f64], conventions: Conventions) -> f64 {
        let (mut sum, mut rank, mut above) = (0.0, 0, f64::INFINITY);
        for _ in 0..GRADES_MAX {
            let grade = largest_below(relevance, above);
            if grade <= 0.0 {
                return sum;
            }
            let end = discounts.len().min(rank + relevance.iter().filter(|&&value| value == grade).count());
            sum += gain(conventions.gain, grade) * discounts[rank..end].iter().sum::<f64>();
            if end == discounts.len() {
                return sum;
            }
            (rank, above) = (end, grade);
        }
        self.find(relevance, Ties::AsGiven);
        let gains = self.found.iter().map(|&(value, _)| gain(conventions.gain, value));
        gains.zip(discounts).map(|(gain, discount)| gain * discount).sum()
    }

    /// DCG with the mean gain of each run of tied values; the last run may go on beyond the k best.
    fn averaged(&self, row: &[f64], discounts: &[f64], gain_at: impl Fn(usize) -> f64) -> f64 {
        let (mut sum, mut rank) = (0.0, 0);
        for run in self.found.chunk_by(|a, b| a.0 == b.0) {
            let (end, tied) = (rank + run.len(), run[0].0);
            let last = end == self.found.len();
            let size = if last { row.iter().filter(|&&value| value == tied).count() } else { run.len() };
            let gains: f64 = if size == run.len() {
                run.iter().map(|&(_, place)| gain_at(place)).sum()
            } else {
                let all = row.iter().enumerate().filter(|&(_, &value)| value == tied);
                all.map(|(place, _)| gain_at(place)).sum()
            };
            sum += gains / size as f64 * discounts[rank..end].iter().sum::<f64>();
            rank = end;
        }
        sum
    }
}

/// A number that at least k values of the row reach: the k-th largest of the maxima of interleaved lanes.
fn at_most_kth(row: &[f64], k: usize) -> f64 {
    if k == 0 || k > LANES {
        return f64::NEG_INFINITY;
    }
    let mut lanes = [f64::NEG_INFINITY; LANES];
    for chunk in row.chunks_exact(LANES) {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, &value)| *lane = if value > *lane { value } else { *lane });
    }
    lanes.sort_unstable_by(f64::total_cmp);
    lanes[LANES - k]
}

/// The largest value below a limit, 0 if there is none: independent lanes, so that it runs on vectors.
fn largest_below(values: &[f64], limit: f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let keep =
        |lane: &mut f64, value: f64| *lane = if value < limit && value > *lane { value } else { *lane };
    let chunks = values.chunks_exact(LANES);
    chunks.remainder().iter().for_each(|&value| keep(&mut lanes[0], value));
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| keep(lane, value));
    }
    lanes.into_iter().fold(0.0, f64::max)
}

const LANES: usize = 16;
const GRADES_MAX: usize = 4;
