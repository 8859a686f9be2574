//! One query: the list that was answered and what would have been relevant.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::conventions::{ApDenominator, Conventions, Gain, Ties};
use crate::evaluation::error::{finite, in_range, same_length};
use crate::experiment::VALUE_MAX;
use crate::{Error, Result};

/// A ranked list with the relevance of its items, and the relevance of all items that were judged.
///
/// Items that were not judged are not relevant. Relevance is 0 or above; an item is relevant if it is above 0.
/// A cutoff `k` looks at the first k items, `None` at all; a k beyond the list looks at all too, but precision
/// still divides by k. Without any relevant item every metric is 0.
///
/// ```
/// use mlops_core::evaluation::ranking::{Conventions, Ranking};
///
/// let list = Ranking::from_scores(&[3.0, 2.0, 3.0, 0.0, 1.0, 2.0], &[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], Conventions::sklearn())?;
/// assert!((list.ndcg(None) - 0.960_808_194).abs() < 1e-9);
/// assert_eq!(list.precision(Some(4)), 0.75);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// By rank.
    relevance: Vec<f64>,
    /// Where the run of equal scores ends that the rank belongs to; empty unless ties are averaged.
    tie_ends: Vec<usize>,
    /// The relevances above 0 of all judged items, descending.
    ideal: Vec<f64>,
    conventions: Conventions,
}

impl Ranking {
    /// All judged items with their scores; every item was retrieved.
    ///
    /// Without names [`Ties::NameAscending`] and [`Ties::NameDescending`] take the place as the name.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a relevance is negative or too large (1000 with exponential gain,
    /// else 1e90) or a number is not finite.
    pub fn from_scores(relevance: &[f64], scores: &[f64], conventions: Conventions) -> Result<Self> {
        same_length("scores", scores.len(), relevance.len())?;
        in_range("relevance", relevance, 0.0, relevance_max(conventions.gain))?;
        let names: Vec<usize> = (0..scores.len()).collect();
        let order = order(scores, &names, conventions.ties)?;
        let ranked = order.iter().map(|&place| relevance[place]).collect();
        Ok(Self::new(ranked, tie_ends(scores, &order, conventions.ties), relevance, conventions))
    }

    /// Judged items and retrieved items with their scores, each by name.
    ///
    /// An item that is retrieved twice is credited at its better rank alone.
    ///
    /// # Errors
    /// `Data` if a relevance is negative or too large, a number is not finite, or an item is judged twice.
    pub fn from_names(
        judged: &[(&str, f64)],
        retrieved: &[(&str, f64)],
        conventions: Conventions,
    ) -> Result<Self> {
        let relevance: Vec<f64> = judged.iter().map(|item| item.1).collect();
        in_range("relevance", &relevance, 0.0, relevance_max(conventions.gain))?;
        let (names, scores): (Vec<&str>, Vec<f64>) = retrieved.iter().copied().unzip();
        let order = order(&scores, &names, conventions.ties)?;
        let mut of_name: HashMap<&str, f64> = HashMap::with_capacity(judged.len());
        for &(name, relevance) in judged {
            if of_name.insert(name, relevance).is_some() {
                return Err(Error::data(format!("item `{name}` is judged twice: keep one judgement")));
            }
        }
        let ranked = order.iter().map(|&place| of_name.remove(names[place]).unwrap_or(0.0)).collect();
        Ok(Self::new(ranked, tie_ends(&scores, &order, conventions.ties), &relevance, conventions))
    }

    /// A list of recommended items, the best first, against a set of relevant ones.
    ///
    /// An item that is recommended twice takes both places and is credited once.
    pub fn from_items<T: Eq + Hash>(recommended: &[T], relevant: &[T], conventions: Conventions) -> Self {
        let mut wanted: HashSet<&T> = relevant.iter().collect();
        let ideal = vec![1.0; wanted.len()];
        let ranked: Vec<f64> =
            recommended.iter().map(|item| f64::from(u8::from(wanted.remove(item)))).collect();
        let ends = if conventions.ties == Ties::Averaged { (1..=ranked.len()).collect() } else { Vec::new() };
        Self::new(ranked, ends, &ideal, conventions)
    }

    fn new(relevance: Vec<f64>, tie_ends: Vec<usize>, judged: &[f64], conventions: Conventions) -> Self {
        let mut ideal: Vec<f64> = judged.iter().copied().filter(|&value| value > 0.0).collect();
        ideal.sort_unstable_by(|a, b| b.total_cmp(a));
        Self { relevance, tie_ends, ideal, conventions }
    }

    /// The conventions it follows.
    pub fn conventions(&self) -> Conventions {
        self.conventions
    }

    /// The number of relevant items.
    pub fn relevant(&self) -> usize {
        self.ideal.len()
    }

    /// Discounted cumulative gain: the sum of gain / log2(rank + 1) over the first k.
    pub fn dcg(&self, k: Option<usize>) -> f64 {
        let cut = self.cut(k);
        if self.tie_ends.is_empty() {
            return self.discounted(&self.relevance[..cut]);
        }
        let (mut sum, mut start) = (0.0, 0);
        while start < cut {
            let end = self.tie_ends[start];
            let gains: f64 = self.relevance[start..end].iter().map(|&value| self.gain(value)).sum();
            let discounts: f64 = (start..end.min(cut)).map(discount).sum();
            sum += gains / (end - start) as f64 * discounts;
            start = end;
        }
        sum
    }

    /// DCG over that of the best possible order: 1 is perfect.
    pub fn ndcg(&self, k: Option<usize>) -> f64 {
        let best = self.discounted(&self.ideal[..k.unwrap_or(usize::MAX).min(self.ideal.len())]);
        if best > 0.0 { self.dcg(k) / best } else { 0.0 }
    }

    /// The mean of the precisions at the ranks of the relevant items; the denominator is the convention's.
    pub fn average_precision(&self, k: Option<usize>) -> f64 {
        let (mut hits, mut sum) = (0.0, 0.0);
        for (rank, &value) in self.relevance[..self.cut(k)].iter().enumerate() {
            if value > 0.0 {
                hits += 1.0;
                sum += hits / (rank + 1) as f64;
            }
        }
        let relevant = self.ideal.len() as f64;
        let denominator = match self.conventions.ap_denominator {
            ApDenominator::Relevant => relevant,
            ApDenominator::RelevantUpToK => relevant.min(k.map_or(f64::INFINITY, |k| k as f64)),
            ApDenominator::Hits => hits,
        };
        share(sum, denominator)
    }

    /// One over the rank of the first relevant item among the first k; 0 if there is none.
    pub fn reciprocal_rank(&self, k: Option<usize>) -> f64 {
        let first = self.relevance[..self.cut(k)].iter().position(|&value| value > 0.0);
        first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64)
    }

    /// The relevant items among the first k, over k; over the length of the list if k is `None`.
    pub fn precision(&self, k: Option<usize>) -> f64 {
        share(self.hits(k), k.unwrap_or(self.relevance.len()) as f64)
    }

    /// The relevant items among the first k, over all relevant ones.
    pub fn recall(&self, k: Option<usize>) -> f64 {
        share(self.hits(k), self.ideal.len() as f64)
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(&self, k: Option<usize>) -> f64 {
        let (precision, recall) = (self.precision(k), self.recall(k));
        share(2.0 * precision * recall, precision + recall)
    }

    /// 1 if there is a relevant item among the first k, else 0. Also called success.
    pub fn hit(&self, k: Option<usize>) -> f64 {
        f64::from(u8::from(self.hits(k) > 0.0))
    }

    /// Precision at the number of relevant items.
    pub fn r_precision(&self) -> f64 {
        self.precision(Some(self.ideal.len()))
    }

    /// Rank-biased precision: (1 - p) times the sum of relevance p^(rank - 1), for a reader who goes on to the
    /// next item with probability `persistence`. Relevance counts as it is, so grades above 1 can exceed 1.
    ///
    /// NaN if `persistence` is NaN. Source: A. Moffat, J. Zobel, "Rank-biased precision for measurement of
    /// retrieval effectiveness", 2008.
    pub fn rank_biased_precision(&self, persistence: f64) -> f64 {
        let mut weight = 1.0;
        let terms = self.relevance.iter().map(|value| {
            let term = value * weight;
            weight *= persistence;
            term
        });
        terms.sum::<f64>() * (1.0 - persistence)
    }

    fn hits(&self, k: Option<usize>) -> f64 {
        self.relevance[..self.cut(k)].iter().filter(|&&value| value > 0.0).count() as f64
    }

    fn cut(&self, k: Option<usize>) -> usize {
        k.unwrap_or(usize::MAX).min(self.relevance.len())
    }

    fn gain(&self, relevance: f64) -> f64 {
        gain(self.conventions.gain, relevance)
    }

    fn discounted(&self, relevance: &[f64]) -> f64 {
        relevance.iter().enumerate().map(|(rank, &value)| self.gain(value) * discount(rank)).sum()
    }
}

/// The label ranking average precision of one row: the mean over relevant labels of the share of relevant ones
/// among the labels scored at least as high. Ties take the worst rank.
///
/// A row without relevant labels, or with relevant ones only, counts 1, as in scikit-learn.
///
/// # Errors
/// `Invalid` if the lengths differ, `Data` if a score is not finite.
///
/// ```
/// use mlops_core::evaluation::ranking::label_ranking_average_precision;
///
/// let relevant = [true, false, true, false];
/// assert_eq!(label_ranking_average_precision(&relevant, &[0.5, 0.5, 0.5, 0.4])?, 2.0 / 3.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn label_ranking_average_precision(relevant: &[bool], scores: &[f64]) -> Result<f64> {
    same_length("scores", scores.len(), relevant.len())?;
    finite("score", scores)?;
    let wanted = relevant.iter().filter(|&&relevant| relevant).count();
    if wanted == 0 || wanted == relevant.len() {
        return Ok(1.0);
    }
    let rows = relevant.iter().zip(scores);
    let precision = |score: f64| {
        let above = rows.clone().filter(|row| *row.1 >= score);
        let (hits, all) =
            above.fold((0.0, 0.0), |(hits, all), row| (hits + f64::from(u8::from(*row.0)), all + 1.0));
        hits / all
    };
    Ok(rows.clone().filter(|row| *row.0).map(|row| precision(*row.1)).sum::<f64>() / wanted as f64)
}

pub(super) fn gain(gain: Gain, relevance: f64) -> f64 {
    match gain {
        Gain::Linear => relevance,
        Gain::Exponential => relevance.exp2() - 1.0,
    }
}

/// The largest relevance whose gains add up without overflow.
pub(super) fn relevance_max(gain: Gain) -> f64 {
    match gain {
        Gain::Linear => VALUE_MAX,
        Gain::Exponential => 1000.0,
    }
}

pub(super) fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 2) as f64).log2()
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The places of the items, the best first.
fn order<N: Ord>(scores: &[f64], names: &[N], ties: Ties) -> Result<Vec<usize>> {
    finite("score", scores)?;
    let mut places: Vec<usize> = (0..scores.len()).collect();
    let score = |place: usize| match ties {
        Ties::NameDescending => f64::from(scores[place] as f32),
        _ => scores[place],
    };
    places.sort_by(|&a, &b| {
        // The sort is stable: equal means as given.
        let tied = match ties {
            Ties::AsGiven => Ordering::Equal,
            Ties::LastFirst | Ties::Averaged => b.cmp(&a),
            Ties::NameAscending => names[a].cmp(&names[b]),
            Ties::NameDescending => names[b].cmp(&names[a]),
        };
        score(b).partial_cmp(&score(a)).unwrap_or(Ordering::Equal).then(tied)
    });
    Ok(places)
}

/// For each rank, where its run of equal scores ends; empty unless ties are averaged.
fn tie_ends(scores: &[f64], order: &[usize], ties: Ties) -> Vec<usize> {
    if ties != Ties::Averaged {
        return Vec::new();
    }
    let mut ends = vec![order.len(); order.len()];
    for rank in (1..order.len()).rev() {
        let tied = scores[order[rank - 1]] == scores[order[rank]];
        ends[rank - 1] = if tied { ends[rank] } else { rank };
    }
    ends
}
