//! NDCG of many queries of equal length, without sorting them.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::{ArrayView1, ArrayView2};

use super::conventions::{Conventions, Gain, Ties};
use super::query::{discount, gain, relevance_max};
use crate::Result;
use crate::evaluation::error::{MetricError, finite, in_range, same_length};

/// NDCG at k of each row of a matrix of relevances and scores: the same values as
/// [`Ranking::ndcg`](super::Ranking::ndcg), found by keeping the k best of each row.
///
/// Cost: one pass over each row, k numbers of memory. Names are columns.
///
/// # Errors
/// `Invalid` if the shapes differ or `k` is 0, `Data` if a relevance is negative or too large (1000 with exponential
/// gain, else 1e90) or a number is not finite.
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
    let mut best = Best::new(k, scores.ncols());
    let mut ndcg = Vec::with_capacity(scores.nrows());
    let relevance_max = relevance_max(conventions.gain);
    for (relevance, scores) in relevance.rows().into_iter().zip(scores.rows()) {
        let (relevance, scores) = (slice(&relevance), slice(&scores));
        in_range("relevance", &relevance, 0.0, relevance_max)?;
        finite("score", &scores)?;
        let ideal = best.ideal(&relevance, &discounts, conventions.gain);
        if ideal <= 0.0 {
            ndcg.push(0.0);
            continue;
        }
        let found = match conventions.ties {
            Ties::Averaged => {
                best.find(&scores, false);
                best.averaged(&relevance, &discounts, conventions.gain)
            }
            Ties::NameDescending => {
                let rounded: Vec<f64> = scores.iter().map(|&score| f64::from(score as f32)).collect();
                best.find(&rounded, true);
                best.in_order(&relevance, &discounts, conventions.gain)
            }
            ties => {
                best.find(&scores, ties == Ties::LastFirst);
                best.in_order(&relevance, &discounts, conventions.gain)
            }
        };
        ndcg.push(found / ideal);
    }
    Ok(ndcg)
}

fn slice<'a>(row: &ArrayView1<'a, f64>) -> Cow<'a, [f64]> {
    row.to_slice().map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

/// The k best values of a row, in order, and all that are tied with the last of them.
struct Best {
    k: usize,
    /// The places of the values that may be among the best.
    places: Vec<u32>,
    /// These values, filled up with the least there is.
    values: Vec<f64>,
    /// Values and places in order of value, then of place.
    ranked: Vec<(f64, u32)>,
}

impl Best {
    fn new(k: usize, columns: usize) -> Self {
        Self { k, places: vec![0; columns + 1], values: Vec::new(), ranked: Vec::new() }
    }

    fn find(&mut self, row: &[f64], last_first: bool) {
        let bound = at_most_kth(row, self.k);
        // Every place is written, and only those that may be among the best are kept: no branch to mispredict.
        let places = &mut self.places[..=row.len()];
        let mut end = 0;
        for (place, &value) in row.iter().enumerate() {
            places[end] = place as u32;
            end += usize::from(value >= bound);
        }
        let places = &places[..end];
        self.ranked.clear();
        if end > RANKED_MAX {
            self.ranked.extend(places.iter().map(|&place| (row[place as usize], place)));
            // Stable: equal values stay in order of place.
            self.ranked.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal));
        } else {
            self.ranked.resize(end, (0.0, UNKNOWN));
            self.values.clear();
            self.values.extend(places.iter().map(|&place| row[place as usize]));
            self.values.resize(end.next_multiple_of(LANES), f64::NEG_INFINITY);
            let (blocks, _) = self.values.as_chunks::<LANES>();
            for (block, places) in blocks.iter().zip(places.chunks(LANES)) {
                let above = count_above(block, &self.values[..end]);
                for ((&value, &place), &above) in block.iter().zip(places).zip(&above) {
                    // The rank is the number of larger values, and after the equal ones that came before.
                    let mut rank = above as usize;
                    while self.ranked[rank].1 != UNKNOWN {
                        rank += 1;
                    }
                    self.ranked[rank] = (value, place);
                }
            }
        }
        if last_first {
            self.ranked.chunk_by_mut(|a, b| a.0 == b.0).for_each(<[_]>::reverse);
        }
    }

    /// DCG of the best order. Relevance has few grades as a rule: the highest ones are counted grade by grade,
    /// and only what is left after some is put in order.
    fn ideal(&mut self, relevance: &[f64], discounts: &[f64], convention: Gain) -> f64 {
        let (mut sum, mut rank, mut above) = (0.0, 0, f64::INFINITY);
        for _ in 0..GRADES_MAX {
            let grade = largest_below(relevance, above);
            if grade <= 0.0 {
                return sum;
            }
            let end = discounts.len().min(rank + relevance.iter().filter(|&&value| value == grade).count());
            sum += gain(convention, grade) * discounts[rank..end].iter().sum::<f64>();
            if end == discounts.len() {
                return sum;
            }
            (rank, above) = (end, grade);
        }
        self.find(relevance, false);
        let gains = self.ranked.iter().map(|&(value, _)| gain(convention, value));
        gains.zip(discounts).map(|(gain, discount)| gain * discount).sum()
    }

    /// DCG of the order that was found.
    fn in_order(&self, relevance: &[f64], discounts: &[f64], convention: Gain) -> f64 {
        let gains = self.ranked.iter().map(|&(_, place)| gain(convention, relevance[place as usize]));
        gains.zip(discounts).map(|(gain, discount)| gain * discount).sum()
    }

    /// DCG with the mean gain of each run of tied values; the last run may go on beyond the k best.
    fn averaged(&self, relevance: &[f64], discounts: &[f64], convention: Gain) -> f64 {
        let gain_at = |place: u32| gain(convention, relevance[place as usize]);
        let (mut sum, mut rank) = (0.0, 0);
        while rank < discounts.len() {
            let (value, place) = self.ranked[rank];
            if self.ranked.get(rank + 1).is_none_or(|next| next.0 != value) {
                sum += gain_at(place) * discounts[rank];
                rank += 1;
                continue;
            }
            let tied = self.ranked[rank..].iter().take_while(|next| next.0 == value);
            let (gains, size) = tied.fold((0.0, 0), |(sum, size), next| (sum + gain_at(next.1), size + 1));
            let end = discounts.len().min(rank + size);
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
    // The smallest lane with fewer than k above it.
    let above = count_above(&lanes, &lanes);
    let least =
        |best: f64, (&lane, &above): (&f64, &u64)| if above < k as u64 { best.min(lane) } else { best };
    lanes.iter().zip(&above).fold(f64::INFINITY, least)
}

/// For each of a block of values how many others are larger: for a few values counting beats sorting, since it runs
/// on vectors and has no branch to mispredict.
fn count_above(block: &[f64; LANES], others: &[f64]) -> [u64; LANES] {
    let mut above = [0; LANES];
    for other in others {
        above.iter_mut().zip(block).for_each(|(above, value)| *above += u64::from(other > value));
    }
    above
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
const UNKNOWN: u32 = u32::MAX;
/// Above so many values sorting beats counting.
const RANKED_MAX: usize = 48;
