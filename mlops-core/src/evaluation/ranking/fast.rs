//! NDCG of many queries of equal length, without sorting them.

use std::borrow::Cow;

use ndarray::{ArrayView1, ArrayView2};

use super::conventions::{Conventions, Ties};
use super::query::{discount, gain};
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
        in_range("relevance", &relevance, 0.0, f64::MAX)?;
        finite("score", &scores)?;
        best.find(&relevance, Ties::AsGiven);
        let ideal = best.places.iter().map(|&place| gain(conventions.gain, relevance[place]));
        let ideal: f64 = ideal.zip(&discounts).map(|(gain, discount)| gain * discount).sum();
        if ideal <= 0.0 {
            ndcg.push(0.0);
            continue;
        }
        best.find(&scores, conventions.ties);
        let gain_at = |place: usize| gain(conventions.gain, relevance[place]);
        let found: f64 = if conventions.ties == Ties::Averaged {
            best.averaged(&scores, &discounts, gain_at)
        } else {
            best.places.iter().zip(&discounts).map(|(&place, discount)| gain_at(place) * discount).sum()
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
    values: Vec<f64>,
    places: Vec<usize>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, values: Vec::with_capacity(k + 1), places: Vec::with_capacity(k + 1) }
    }

    fn find(&mut self, row: &[f64], ties: Ties) {
        match ties {
            Ties::AsGiven | Ties::Averaged | Ties::NameAscending => self.keep(row, |new, old| new > old),
            Ties::LastFirst => self.keep(row, |new, old| new >= old),
            Ties::NameDescending => self.keep(row, |new, old| new as f32 >= old as f32),
        }
    }

    /// Keeps the k values that come first, where a later value goes before an earlier one if it `beats` it.
    fn keep(&mut self, row: &[f64], beats: impl Fn(f64, f64) -> bool) {
        self.values.clear();
        self.places.clear();
        let (head, tail) = row.split_at(self.k.min(row.len()));
        for (place, &value) in head.iter().enumerate() {
            self.insert(place, value, &beats);
        }
        let Some(&worst) = self.values.last() else { return };
        let mut worst = worst;
        let mut start = head.len();
        for chunk in tail.chunks(CHUNK) {
            // Most chunks hold nothing worth keeping: one branch for all of their values.
            if chunk.iter().fold(false, |any, &value| any | beats(value, worst)) {
                for (offset, &value) in chunk.iter().enumerate() {
                    if beats(value, worst) {
                        self.values.pop();
                        self.places.pop();
                        self.insert(start + offset, value, &beats);
                        worst = self.values[self.k - 1];
                    }
                }
            }
            start += chunk.len();
        }
    }

    fn insert(&mut self, place: usize, value: f64, beats: &impl Fn(f64, f64) -> bool) {
        let worse = self.values.iter().rev().take_while(|&&old| beats(value, old)).count();
        let rank = self.values.len() - worse;
        self.values.insert(rank, value);
        self.places.insert(rank, place);
    }

    /// DCG with the mean gain of each run of tied values; the last run may go on beyond the k best.
    fn averaged(&self, row: &[f64], discounts: &[f64], gain_at: impl Fn(usize) -> f64) -> f64 {
        let (mut sum, mut rank) = (0.0, 0);
        for run in self.values.chunk_by(|a, b| a == b) {
            let end = rank + run.len();
            let (mut gains, mut size) = (0.0, run.len());
            if end < self.values.len() {
                gains = self.places[rank..end].iter().map(|&place| gain_at(place)).sum();
            } else {
                size = 0;
                for (place, _) in row.iter().enumerate().filter(|&(_, &value)| value == run[0]) {
                    gains += gain_at(place);
                    size += 1;
                }
            }
            sum += gains / size as f64 * discounts[rank..end].iter().sum::<f64>();
            rank = end;
        }
        sum
    }
}

const CHUNK: usize = 8;
