//! Everything that depends on the order of the scores alone.

use serde::{Deserialize, Serialize};

use super::Confusion;
use crate::evaluation::error::{in_range_at, stored_size};
use crate::{Error, Result};

/// The rows that share one score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The score.
    pub score: f64,
    /// The weight of the positive rows.
    #[serde(deserialize_with = "stored_size")]
    pub positives: f64,
    /// The weight of the negative rows.
    #[serde(deserialize_with = "stored_size")]
    pub negatives: f64,
}

/// One operating point: rows with at least this score are predicted positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// The threshold.
    pub threshold: f64,
    /// The decisions at it.
    pub confusion: Confusion,
}

/// Positives and negatives by descending score: the ROC and precision-recall curves before division.
///
/// Comes from [`Scored::curve`](super::Scored::curve), [`ExactScores`](super::ExactScores) or
/// [`ScoreHistogram`](super::ScoreHistogram). Every answer costs one pass over the distinct scores.
///
/// ```
/// use mlops_core::evaluation::binary::Scored;
///
/// let curve = Scored::new(&[false, true, false, true], &[0.1, 0.4, 0.4, 0.8])?.curve();
/// assert_eq!(curve.roc_auc(), Some(0.875));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct Curve {
    runs: Vec<Run>,
    positives: f64,
    negatives: f64,
}

impl Curve {
    /// The curve of these runs, which come in strictly descending order of score and weigh more than nothing.
    pub(super) fn new(runs: Vec<Run>) -> Self {
        let positives = runs.iter().map(|run| run.positives).sum();
        let negatives = runs.iter().map(|run| run.negatives).sum();
        Self { runs, positives, negatives }
    }

    /// The distinct scores with their rows, from high to low.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The weight of the positive rows.
    pub fn positives(&self) -> f64 {
        self.positives
    }

    /// The weight of the negative rows.
    pub fn negatives(&self) -> f64 {
        self.negatives
    }

    /// The operating points, from the highest threshold to the lowest. Dividing gives ROC and
    /// precision-recall curves.
    pub fn points(&self) -> impl Iterator<Item = CurvePoint> {
        let mut confusion = Confusion {
            true_negatives: self.negatives,
            false_negatives: self.positives,
            ..Confusion::default()
        };
        self.runs.iter().map(move |run| {
            confusion.true_positives += run.positives;
            confusion.false_positives += run.negatives;
            confusion.false_negatives = (self.positives - confusion.true_positives).max(0.0);
            confusion.true_negatives = (self.negatives - confusion.false_positives).max(0.0);
            CurvePoint { threshold: run.score, confusion }
        })
    }

    /// The area under the ROC curve: the chance that a positive scores above a negative, ties counting half.
    ///
    /// 0.5 is chance, 1 is perfect. `None` if only one class occurs. Source: J. A. Hanley, B. J. McNeil, "The
    /// meaning and use of the area under a receiver operating characteristic (ROC) curve", 1982.
    pub fn roc_auc(&self) -> Option<f64> {
        self.both_classes()?;
        let mut above = 0.0;
        let mut area = 0.0;
        for run in &self.runs {
            area += run.negatives * (above + run.positives / 2.0);
            above += run.positives;
        }
        Some(area / (self.positives * self.negatives))
    }

    /// The standard error of [`roc_auc`](Self::roc_auc) by DeLong, exact in the ties, asymptotic in the rows.
    ///
    /// sqrt(var(V10) / m + var(V01) / n), with the share of negatives below each positive (V10) and of
    /// positives above each negative (V01). For counts; weights are taken as counts. `None` with fewer than two
    /// rows of a class. Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under
    /// two or more correlated receiver operating characteristic curves", 1988.
    pub fn roc_auc_std_error(&self) -> Option<f64> {
        self.roc_auc_std_error_of(self.positives, self.negatives)
    }

    /// The same for weighted rows that know as much as so many rows of equal weight of each class.
    pub(super) fn roc_auc_std_error_of(&self, positives: f64, negatives: f64) -> Option<f64> {
        let auc = self.roc_auc()?;
        let (mut above, mut below) = (0.0, self.negatives);
        let (mut spread_positive, mut spread_negative) = (0.0, 0.0);
        for run in &self.runs {
            below -= run.negatives;
            let placement = (below + run.negatives / 2.0) / self.negatives;
            spread_positive += run.positives * (placement - auc).powi(2);
            let placement = (above + run.positives / 2.0) / self.positives;
            spread_negative += run.negatives * (placement - auc).powi(2);
            above += run.positives;
        }
        if positives <= 1.0 || negatives <= 1.0 {
            return None;
        }
        let variance = spread_positive / (positives - 1.0) / self.positives
            + spread_negative / (negatives - 1.0) / self.negatives;
        Some(variance.sqrt())
    }

    /// The average precision: the sum of (R_n - R_n-1) P_n over descending thresholds, ties taken together.
    ///
    /// From the share of positives, chance, to 1. Without positives it is 0, as in scikit-learn; `None` without
    /// rows. This is a step sum: no optimistic interpolation as in
    /// [`pr_auc_trapezoid`](Self::pr_auc_trapezoid).
    pub fn average_precision(&self) -> Option<f64> {
        let (mut found, mut seen, mut area) = (0.0, 0.0, 0.0);
        for run in &self.runs {
            found += run.positives;
            seen += run.positives + run.negatives;
            area += run.positives * (found / seen);
        }
        match self.positives > 0.0 {
            true => Some(area / self.positives),
            false => (!self.runs.is_empty()).then_some(0.0),
        }
    }

    /// The area under the precision-recall curve by the trapezoidal rule, from recall 0 and precision 1.
    ///
    /// Linear interpolation is too kind to the model: prefer [`average_precision`](Self::average_precision)
    /// unless you compare with others' numbers. Without positives recall counts as 1 everywhere and the area is
    /// one half, as in scikit-learn; `None` without rows. Source: J. Davis, M. Goadrich, "The relationship
    /// between precision-recall and ROC curves", 2006.
    pub fn pr_auc_trapezoid(&self) -> Option<f64> {
        let (mut found, mut seen, mut area) = (0.0, 0.0, 0.0);
        let (mut recall, mut precision) = (0.0, 1.0);
        for run in &self.runs {
            found += run.positives;
            seen += run.positives + run.negatives;
            let next_recall = if self.positives > 0.0 { found / self.positives } else { 1.0 };
            let next_precision = found / seen;
            area += (next_recall - recall) * (precision + next_precision) / 2.0;
            (recall, precision) = (next_recall, next_precision);
        }
        (!self.runs.is_empty()).then_some(area)
    }

    /// The Kolmogorov-Smirnov statistic: the largest gap of true and false positive rate, and the threshold
    /// where it is reached (the highest one, if several). `None` if only one class occurs.
    pub fn ks(&self) -> Option<(f64, f64)> {
        self.both_classes()?;
        let mut best = (0.0, f64::INFINITY);
        for point in self.points() {
            let gap = point.confusion.true_positives / self.positives
                - point.confusion.false_positives / self.negatives;
            if gap.abs() > best.0 {
                best = (gap.abs(), point.threshold);
            }
        }
        Some(best)
    }

    /// The share of the positives among the best-scored `fraction` of the rows.
    ///
    /// Rows that are tied at the border count by their mean, so the answer does not depend on their order.
    /// `None` without positives, or if `fraction` is not above 0 and up to 1.
    pub fn gain(&self, fraction: f64) -> Option<f64> {
        if !(fraction > 0.0 && fraction <= 1.0 && self.positives > 0.0) {
            return None;
        }
        let mut room = fraction * (self.positives + self.negatives);
        let mut found = 0.0;
        for run in &self.runs {
            let size = run.positives + run.negatives;
            if size >= room {
                found += run.positives * (room / size);
                break;
            }
            found += run.positives;
            room -= size;
        }
        Some(found / self.positives)
    }

    /// How many times more positives the best-scored `fraction` of the rows holds than a random choice would:
    /// [`gain`](Self::gain) / fraction. 1 is chance.
    pub fn lift(&self, fraction: f64) -> Option<f64> {
        self.gain(fraction).map(|gain| gain / fraction)
    }

    /// The operating point that costs least, for costs of one false positive and one false negative.
    ///
    /// The point "predict nothing positive" has an infinite threshold: without positives, and wherever a yes costs more
    /// than it saves. A threshold that is stored has to be finite, so decide then whether to serve at all. Without
    /// negatives it is the lowest score, at which all are positive, unless false negatives cost nothing. The highest
    /// threshold wins a tie, so both costs 0 predict nothing positive. `None` without rows, or if a cost is negative or
    /// not finite. Source: C. Elkan, "The foundations of cost-sensitive learning", 2001.
    ///
    /// ```
    /// use mlops_core::evaluation::binary::Scored;
    ///
    /// let curve = Scored::new(&[false, true, false, true], &[0.1, 0.4, 0.5, 0.8])?.curve();
    /// assert_eq!(curve.cheapest(1.0, 5.0).unwrap().threshold, 0.4);
    /// assert_eq!(curve.cheapest(5.0, 1.0).unwrap().threshold, 0.8);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn cheapest(&self, false_positive_cost: f64, false_negative_cost: f64) -> Option<CurvePoint> {
        let allowed = |cost: f64| cost.is_finite() && cost >= 0.0;
        if self.runs.is_empty() || !allowed(false_positive_cost) || !allowed(false_negative_cost) {
            return None;
        }
        // Of two huge costs both products would overflow; by a power of two, so that ties stay ties.
        let is_huge = false_positive_cost.min(false_negative_cost) > 1.0;
        let unit = if is_huge { 2.0_f64.powi(-600) } else { 1.0 };
        // Not by sums, in which a huge cost would drown a small one.
        let is_cheaper = |Confusion { false_positives, false_negatives, .. }: Confusion, best: Confusion| {
            (false_positives - best.false_positives) * (false_positive_cost * unit)
                < (best.false_negatives - false_negatives) * (false_negative_cost * unit)
        };
        let nothing = CurvePoint {
            threshold: f64::INFINITY,
            confusion: Confusion {
                true_negatives: self.negatives,
                false_negatives: self.positives,
                ..Confusion::default()
            },
        };
        Some(self.points().fold(nothing, |best, point| {
            if is_cheaper(point.confusion, best.confusion) { point } else { best }
        }))
    }

    fn both_classes(&self) -> Option<()> {
        (self.positives > 0.0 && self.negatives > 0.0).then_some(())
    }
}

impl From<Curve> for Vec<Run> {
    fn from(curve: Curve) -> Self {
        curve.runs
    }
}

impl TryFrom<Vec<Run>> for Curve {
    type Error = Error;

    fn try_from(runs: Vec<Run>) -> Result<Self> {
        for (row, run) in runs.iter().enumerate() {
            in_range_at("score", row, run.score, f64::MIN, f64::MAX)?;
            if run.positives + run.negatives <= 0.0 {
                return Err(Error::data(format!("run {row} of a curve holds no rows: leave it out")));
            }
        }
        if let Some(row) = runs.windows(2).position(|pair| pair[0].score <= pair[1].score) {
            return Err(Error::data(format!("runs {row} and {} of a curve do not descend", row + 1)));
        }
        Ok(Self::new(runs))
    }
}
