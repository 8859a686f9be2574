//! What is kept of a stream of scores: all distinct ones, or a histogram in constant memory.

use serde::{Deserialize, Serialize};

use super::scored::run_of;
use super::{Curve, Run};
use crate::Result;
use crate::evaluation::error::{
    MetricError, WEIGHT_MAX, in_range, in_range_at, row_after, same_length, weight_at,
};

/// Every distinct score with its rows: exact, 24 bytes a distinct score.
///
/// Merging over any sharding gives the same [`Curve`], bit for bit for counts.
///
/// ```
/// use mlops_core::evaluation::binary::ExactScores;
///
/// let mut scores = ExactScores::default();
/// scores.add(true, 0.9, 1.0)?;
/// scores.add(false, 0.3, 1.0)?;
/// assert_eq!(scores.curve().roc_auc(), Some(1.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct ExactScores {
    /// Descending, distinct.
    runs: Vec<Run>,
    /// Not yet sorted in.
    tail: Vec<Run>,
}

impl ExactScores {
    /// Adds one row; a row of weight zero is left out.
    ///
    /// # Errors
    /// `Data` if the score is not finite or the weight negative, not finite or above 1e20.
    pub fn add(&mut self, label: bool, score: f64, weight: f64) -> Result<()> {
        if !(score.is_finite() && (0.0..=WEIGHT_MAX).contains(&weight)) {
            let row = self.rows();
            in_range_at("score", row, score, f64::MIN, f64::MAX)?;
            weight_at(row, weight)?;
        }
        if weight > 0.0 {
            self.tail.push(run_of(label, score, weight));
            if self.tail.len() >= TAIL_MIN.max(self.runs.len()) {
                self.compact();
            }
        }
        Ok(())
    }

    /// Adds all rows of another state.
    pub fn merge(&mut self, other: &Self) {
        self.tail.extend_from_slice(&other.runs);
        self.tail.extend_from_slice(&other.tail);
        self.compact();
    }

    /// The scores in order.
    pub fn curve(&self) -> Curve {
        curve_of_rows(self.runs.iter().chain(&self.tail).copied().collect())
    }

    /// The number of rows, by their weight.
    fn rows(&self) -> usize {
        row_after(
            self.runs.iter().chain(&self.tail).map(|run| run.positives + run.negatives).sum::<f64>() as u64
        )
    }

    fn compact(&mut self) {
        self.runs.append(&mut self.tail);
        merge_equal(&mut self.runs);
    }
}

impl PartialEq for ExactScores {
    fn eq(&self, other: &Self) -> bool {
        self.curve() == other.curve()
    }
}

impl TryFrom<Vec<Run>> for ExactScores {
    type Error = crate::Error;

    fn try_from(runs: Vec<Run>) -> Result<Self> {
        for (row, run) in runs.iter().enumerate() {
            in_range_at("score", row, run.score, f64::MIN, f64::MAX)?;
            in_range_at("weight", row, run.positives, 0.0, f64::MAX)?;
            in_range_at("weight", row, run.negatives, 0.0, f64::MAX)?;
        }
        let mut scores = Self { runs, tail: Vec::new() };
        scores.compact();
        Ok(scores)
    }
}

impl From<ExactScores> for Vec<Run> {
    fn from(mut scores: ExactScores) -> Self {
        scores.compact();
        scores.runs
    }
}

/// Scores counted in bins of equal width: constant memory, an answer with its error bound.
///
/// 16 bytes a bin. Scores in one bin count as tied, so every metric of the [`Curve`] is that of the rounded
/// scores; [`roc_auc_error`](Self::roc_auc_error) bounds what the rounding can have done to the area. Merging
/// is exact for counts.
///
/// ```
/// use mlops_core::evaluation::binary::ScoreHistogram;
///
/// let mut scores = ScoreHistogram::probabilities(65_536)?;
/// scores.add(true, 0.9, 1.0)?;
/// scores.add(false, 0.3, 1.0)?;
/// assert_eq!(scores.curve().roc_auc(), Some(1.0));
/// assert_eq!(scores.roc_auc_error(), Some(0.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SparseHistogram", into = "SparseHistogram")]
pub struct ScoreHistogram {
    low: f64,
    high: f64,
    /// Weight of negatives and of positives in each bin.
    bins: Vec<[f64; 2]>,
}

impl ScoreHistogram {
    /// An empty histogram of probabilities in 0..=1.
    ///
    /// # Errors
    /// `Invalid` if `bins` is 0 or above 2^24.
    pub fn probabilities(bins: usize) -> Result<Self> {
        Self::new(0.0, 1.0, bins)
    }

    /// An empty histogram of scores in `low..=high`.
    ///
    /// # Errors
    /// `Invalid` if the range is empty or not finite, or `bins` is 0 or above 2^24.
    pub fn new(low: f64, high: f64, bins: usize) -> Result<Self> {
        if !(high - low).is_finite() || high <= low {
            let want = "a finite range with high above low";
            return Err(MetricError::Setting { what: "upper end of the scores", value: high, want }.into());
        }
        if bins == 0 || bins > MAX_BINS {
            let want = "1 to 16777216 bins";
            return Err(MetricError::Setting { what: "number of bins", value: bins as f64, want }.into());
        }
        Ok(Self { low, high, bins: vec![[0.0; 2]; bins] })
    }

    /// Adds one row.
    ///
    /// # Errors
    /// `Data` if the score is not in the range or the weight is negative or not finite.
    #[inline]
    pub fn add(&mut self, label: bool, score: f64, weight: f64) -> Result<()> {
        if !(score >= self.low && score <= self.high && (0.0..=WEIGHT_MAX).contains(&weight)) {
            let row = row_after(self.bins.iter().map(|bin| bin[0] + bin[1]).sum::<f64>() as u64);
            in_range_at("score", row, score, self.low, self.high)?;
            weight_at(row, weight)?;
        }
        let last = self.bins.len() - 1;
        let bin = (((score - self.low) * self.scale()) as usize).min(last);
        self.bins[bin][usize::from(label)] += weight;
        Ok(())
    }

    /// Adds many rows of weight 1.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a score is not in the range; then no row was added.
    pub fn extend(&mut self, labels: &[bool], scores: &[f64]) -> Result<()> {
        same_length("scores", scores.len(), labels.len())?;
        in_range("score", scores, self.low, self.high)?;
        let (low, scale, last) = (self.low, self.scale(), self.bins.len() - 1);
        for (&label, &score) in labels.iter().zip(scores) {
            let bin = (((score - low) * scale) as usize).min(last);
            self.bins[bin][usize::from(label)] += 1.0;
        }
        Ok(())
    }

    /// Adds all rows of another histogram.
    ///
    /// # Errors
    /// `Invalid` if the bins differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if (self.low, self.high, self.bins.len()) != (other.low, other.high, other.bins.len()) {
            return Err(MetricError::Incompatible { what: "score histograms" }.into());
        }
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            bin[0] += other[0];
            bin[1] += other[1];
        }
        Ok(())
    }

    /// The bins that hold rows, as tied scores at their lower edges.
    pub fn curve(&self) -> Curve {
        let width = (self.high - self.low) / self.bins.len() as f64;
        let filled = self.bins.iter().enumerate().rev().filter(|(_, bin)| bin[0] + bin[1] > 0.0);
        let run = |(index, bin): (usize, &[f64; 2])| Run {
            score: self.low + index as f64 * width,
            positives: bin[1],
            negatives: bin[0],
        };
        Curve::new(filled.map(run).collect())
    }

    /// The area under the ROC curve of the bins; see [`Curve::roc_auc`]. Faster than going through the curve.
    pub fn roc_auc(&self) -> Option<f64> {
        let (mut positives, mut negatives, mut area) = (0.0, 0.0, 0.0);
        for [negative, positive] in &self.bins {
            area += positive * (negatives + negative / 2.0);
            positives += positive;
            negatives += negative;
        }
        (positives > 0.0 && negatives > 0.0).then(|| area / (positives * negatives))
    }

    /// The most by which the area under the ROC curve of the bins can differ from that of the scores: half the
    /// share of (positive, negative) pairs that fell into one bin. `None` if only one class occurs.
    pub fn roc_auc_error(&self) -> Option<f64> {
        let (mut positives, mut negatives, mut together) = (0.0, 0.0, 0.0);
        for [negative, positive] in &self.bins {
            positives += positive;
            negatives += negative;
            together += positive * negative;
        }
        (positives > 0.0 && negatives > 0.0).then(|| together / 2.0 / (positives * negatives))
    }

    fn scale(&self) -> f64 {
        self.bins.len() as f64 / (self.high - self.low)
    }
}

/// How a histogram is stored: most bins of a small one are empty.
#[derive(Serialize, Deserialize)]
struct SparseHistogram {
    low: f64,
    high: f64,
    bins: usize,
    filled: Vec<(usize, f64, f64)>,
}

impl From<ScoreHistogram> for SparseHistogram {
    fn from(histogram: ScoreHistogram) -> Self {
        let filled = histogram.bins.iter().enumerate().filter(|(_, bin)| **bin != [0.0; 2]);
        let filled = filled.map(|(index, bin)| (index, bin[0], bin[1])).collect();
        Self { low: histogram.low, high: histogram.high, bins: histogram.bins.len(), filled }
    }
}

impl TryFrom<SparseHistogram> for ScoreHistogram {
    type Error = crate::Error;

    fn try_from(sparse: SparseHistogram) -> Result<Self> {
        let mut histogram = Self::new(sparse.low, sparse.high, sparse.bins)?;
        for (index, negative, positive) in sparse.filled {
            let Some(bin) = histogram.bins.get_mut(index) else {
                let want = "an index below the number of bins";
                return Err(MetricError::Setting { what: "bin", value: index as f64, want }.into());
            };
            in_range_at("weight", index, negative, 0.0, f64::MAX)?;
            in_range_at("weight", index, positive, 0.0, f64::MAX)?;
            *bin = [negative, positive];
        }
        Ok(histogram)
    }
}

/// An integer that sorts as the finite score does, with the two zeros equal.
#[inline]
pub(super) fn key(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
}

/// The score of a [`key`].
#[inline]
pub(super) fn score_of(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key ^ 1 << 63 } else { !key })
}

/// The curve of rows in any order.
pub(super) fn curve_of_rows(mut rows: Vec<Run>) -> Curve {
    merge_equal(&mut rows);
    Curve::new(rows)
}

/// Sorts by descending score and adds up rows that share one.
fn merge_equal(runs: &mut Vec<Run>) {
    // Stable, so that weights are added up in the order in which they came.
    runs.sort_by_key(|run| std::cmp::Reverse(key(run.score)));
    runs.dedup_by(|next, kept| {
        let same = next.score == kept.score;
        if same {
            kept.positives += next.positives;
            kept.negatives += next.negatives;
        }
        same
    });
}

const TAIL_MIN: usize = 4096;
const MAX_BINS: usize = 1 << 24;
