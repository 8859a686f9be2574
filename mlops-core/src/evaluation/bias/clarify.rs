//! SageMaker Clarify's metrics of one facet against all others.

use serde::Serialize;

use super::contingency::confusion_of;
use crate::evaluation::Sum;
use crate::evaluation::binary::Confusion;
use crate::evaluation::metric::{Metrics, insert};
use crate::{Error, Result};

/// Pre-training metrics (of labels) and post-training metrics (of predictions) of facet d against the rest, a.
///
/// Signs are Clarify's: for most metrics a positive value means that d is worse off. Ratios over zero follow
/// Clarify too: 0/0 is 0, x/0 is infinite, and the difference of two equal infinities is 0. Source: M. Hardt
/// and others, "Amazon SageMaker Clarify: machine learning bias detection and explainability in the cloud",
/// 2021; formulas as in the library `smclarify` 0.5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Bias {
    /// Class imbalance: (n_a - n_d) / (n_a + n_d), -1 to 1. Near 1: few rows of d.
    pub ci: f64,
    /// Difference in proportions of labels: q_a - q_d, with q the share of positive labels.
    pub dpl: f64,
    /// How far the label distributions are apart; `None` if no label occurs in both.
    pub labels: Option<LabelDivergence>,
    /// Conditional demographic disparity in labels: sum over groups of n_g / n (share of d among the rejected
    /// minus share of d among the accepted). `None` without groups, or if only one label occurs.
    pub cddl: Option<f64>,
    /// Difference in positive proportions in predicted labels: q^_a - q^_d.
    pub dppl: f64,
    /// Disparate impact: q^_d / q^_a. 1 is parity; the four-fifths rule wants 0.8 to 1.25.
    pub di: f64,
    /// Difference in conditional acceptance: n1_a / n^1_a - n1_d / n^1_d.
    pub dca: f64,
    /// Difference in conditional rejection: n0_d / n^0_d - n0_a / n^0_a.
    pub dcr: f64,
    /// Recall difference, a - d.
    pub rd: f64,
    /// Specificity difference, d - a.
    pub sd: f64,
    /// Difference in acceptance rates (precision), a - d.
    pub dar: f64,
    /// Difference in rejection rates (tn / predicted negatives), d - a.
    pub drr: f64,
    /// Accuracy difference, a - d.
    pub ad: f64,
    /// Conditional demographic disparity in predicted labels: CDDL of the predictions.
    pub cddpl: Option<f64>,
    /// Treatment equality: fn / fp, d - a.
    pub te: f64,
    /// Generalized entropy of the benefits (prediction - label + 1) over all rows, with alpha 2: half the
    /// squared coefficient of variation. `None` if every row is a false negative.
    pub ge: Option<f64>,
    /// The standard errors of `dpl`, `dppl`, `rd`, `sd`, `dar`, `drr` and `ad`.
    #[serde(skip)]
    std_errors: [Option<f64>; 7],
}

impl Bias {
    pub(super) fn of(facet: &str, a: &[[u64; 4]], d: &[[u64; 4]], grouped: bool) -> Result<Self> {
        let sum = |side: &[[u64; 4]]| {
            let cells = side.iter().map(|&cell| confusion_of(cell));
            cells.fold(Confusion::default(), |mut sum, cell| {
                sum.merge(&cell);
                sum
            })
        };
        let (whole_a, whole_d) = (sum(a), sum(d));
        let (n_a, n_d) = (whole_a.total(), whole_d.total());
        if n_d == 0.0 {
            return Err(Error::data(format!("facet `{facet}` holds no rows: bias needs rows on both sides")));
        }
        if n_a == 0.0 {
            return Err(Error::data(format!(
                "facet `{facet}` holds all rows: bias needs rows on both sides"
            )));
        }
        let a_less_d = |of: fn(&Confusion) -> f64| difference(of(&whole_a), of(&whole_d));
        let d_less_a = |of: fn(&Confusion) -> f64| difference(of(&whole_d), of(&whole_a));
        let disparity = |by_label| if grouped { conditional_disparity(a, d, by_label) } else { None };
        Ok(Self {
            ci: (n_a - n_d) / (n_a + n_d),
            dpl: whole_a.positives() / n_a - whole_d.positives() / n_d,
            labels: label_divergence(
                &[whole_a.negatives(), whole_a.positives()],
                &[whole_d.negatives(), whole_d.positives()],
            ),
            cddl: disparity(true),
            dppl: whole_a.predicted_positives() / n_a - whole_d.predicted_positives() / n_d,
            di: divide(whole_d.predicted_positives() / n_d, whole_a.predicted_positives() / n_a),
            dca: a_less_d(|side| divide(side.positives(), side.predicted_positives())),
            dcr: d_less_a(|side| divide(side.negatives(), side.predicted_negatives())),
            rd: a_less_d(|side| divide(side.true_positives, side.positives())),
            sd: d_less_a(|side| divide(side.true_negatives, side.negatives())),
            dar: a_less_d(|side| divide(side.true_positives, side.predicted_positives())),
            drr: d_less_a(|side| divide(side.true_negatives, side.predicted_negatives())),
            ad: a_less_d(|side| divide(side.true_positives + side.true_negatives, side.total())),
            cddpl: disparity(false),
            te: d_less_a(|side| divide(side.false_negatives, side.false_positives)),
            ge: generalized_entropy(&whole_a, &whole_d),
            std_errors: [
                std_error(&whole_a, &whole_d, |side| [side.positives(), side.total()]),
                std_error(&whole_a, &whole_d, |side| [side.predicted_positives(), side.total()]),
                std_error(&whole_a, &whole_d, |side| [side.true_positives, side.positives()]),
                std_error(&whole_a, &whole_d, |side| [side.true_negatives, side.negatives()]),
                std_error(&whole_a, &whole_d, |side| [side.true_positives, side.predicted_positives()]),
                std_error(&whole_a, &whole_d, |side| [side.true_negatives, side.predicted_negatives()]),
                std_error(&whole_a, &whole_d, |side| {
                    [side.true_positives + side.true_negatives, side.total()]
                }),
            ],
        })
    }

    /// The metrics by Clarify's names in lower case: `ci`, `dpl`, `kl`, `js`, `lp`, `tvd`, `ks`, `cddl`, `dppl`,
    /// `di`, `dca`, `dcr`, `rd`, `sd`, `dar`, `drr`, `ad`, `cddpl`, `te`, `ge`. Undefined ones are absent.
    ///
    /// The differences of two shares (`dpl`, `dppl`, `rd`, `sd`, `dar`, `drr`, `ad`) have the standard error of A.
    /// Agresti and B. Caffo, 2000: one row of each outcome is added to each side, so that it is not 0 for a handful
    /// of rows that agree.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        let labels = self.labels.as_ref();
        let values = [
            ("ci", Some(self.ci)),
            ("dpl", Some(self.dpl)),
            ("kl", labels.map(|labels| labels.kl)),
            ("js", labels.map(|labels| labels.js)),
            ("lp", labels.map(|labels| labels.lp)),
            ("tvd", labels.map(|labels| labels.tvd)),
            ("ks", labels.map(|labels| labels.ks)),
            ("cddl", self.cddl),
            ("dppl", Some(self.dppl)),
            ("di", Some(self.di)),
            ("dca", Some(self.dca)),
            ("dcr", Some(self.dcr)),
            ("rd", Some(self.rd)),
            ("sd", Some(self.sd)),
            ("dar", Some(self.dar)),
            ("drr", Some(self.drr)),
            ("ad", Some(self.ad)),
            ("cddpl", self.cddpl),
            ("te", Some(self.te)),
            ("ge", self.ge),
        ];
        values.into_iter().for_each(|(name, value)| insert(&mut metrics, name, value, None));
        for (name, std_error) in
            ["dpl", "dppl", "rd", "sd", "dar", "drr", "ad"].into_iter().zip(self.std_errors)
        {
            metrics.entry(name.to_owned()).and_modify(|metric| metric.std_error = std_error);
        }
        metrics
    }
}

/// The standard error of the difference of a share, hits out of rows, between the sides; `None` if one has no rows.
fn std_error(a: &Confusion, d: &Confusion, share: fn(&Confusion) -> [f64; 2]) -> Option<f64> {
    let variance = |side: &Confusion| {
        let [hits, rows] = share(side);
        let p = (hits + 1.0) / (rows + 2.0);
        (rows > 0.0).then(|| p * (1.0 - p) / (rows + 2.0))
    };
    Some((variance(a)? + variance(d)?).sqrt())
}

/// Distances of two label distributions P_a and P_d over the labels that occur in both facets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LabelDivergence {
    /// Kullback and Leibler's divergence: sum P_a ln(P_a / P_d), in nats. Negative values come from labels that
    /// only one facet has.
    pub kl: f64,
    /// Jensen and Shannon's divergence: the mean divergence from the mean distribution, in nats.
    pub js: f64,
    /// The Euclidean distance.
    pub lp: f64,
    /// Total variation: half the sum of |P_a - P_d|.
    pub tvd: f64,
    /// The largest |P_a - P_d| of one label: over the probabilities, not over their running sums.
    pub ks: f64,
}

/// The distances of label distributions from the rows of each label in each facet, for any number of labels.
///
/// `None` if no label occurs in both, or if the lists differ in length.
///
/// ```
/// use mlops_core::evaluation::bias::label_divergence;
///
/// let gap = label_divergence(&[2.0, 2.0], &[1.0, 3.0]).unwrap();
/// assert_eq!((gap.tvd, gap.ks), (0.25, 0.25));
/// assert!(label_divergence(&[2.0, 0.0], &[0.0, 3.0]).is_none());
/// ```
pub fn label_divergence(rows_a: &[f64], rows_d: &[f64]) -> Option<LabelDivergence> {
    let (total_a, total_d): (f64, f64) = (rows_a.iter().sum(), rows_d.iter().sum());
    let both = rows_a.iter().zip(rows_d).filter(|&(&a, &d)| a > 0.0 && d > 0.0);
    let pairs: Vec<(f64, f64)> = both.map(|(a, d)| (a / total_a, d / total_d)).collect();
    if pairs.is_empty() || rows_a.len() != rows_d.len() {
        return None;
    }
    let sum = |term: fn(f64, f64) -> f64| pairs.iter().map(|&(a, d)| term(a, d)).collect::<Sum>().value();
    Some(LabelDivergence {
        kl: sum(|a, d| a * (a / d).ln()),
        js: sum(|a, d| {
            let mean = (a + d) / 2.0;
            a * (a / mean).ln() + d * (d / mean).ln()
        }) / 2.0,
        lp: sum(|a, d| (a - d).powi(2)).sqrt(),
        tvd: sum(|a, d| (a - d).abs()) / 2.0,
        ks: pairs.iter().map(|&(a, d)| (a - d).abs()).fold(0.0, f64::max),
    })
}

fn conditional_disparity(a: &[[u64; 4]], d: &[[u64; 4]], by_label: bool) -> Option<f64> {
    let accepted = |cell: &[u64; 4]| (if by_label { cell[2] } else { cell[1] }) as f64 + cell[3] as f64;
    let all = |cell: &[u64; 4]| cell.iter().map(|&count| count as f64).sum::<f64>();
    let (mut sum, mut rows, mut accepted_rows) = (Sum::default(), 0.0, 0.0);
    for (a, d) in a.iter().zip(d) {
        let size = all(a) + all(d);
        let (accepted_d, accepted_all) = (accepted(d), accepted(a) + accepted(d));
        let rejected = divide(all(d) - accepted_d, size - accepted_all);
        sum.add(size * (rejected - divide(accepted_d, accepted_all)));
        rows += size;
        accepted_rows += accepted_all;
    }
    (accepted_rows > 0.0 && accepted_rows < rows).then(|| sum.value() / rows)
}

fn generalized_entropy(a: &Confusion, d: &Confusion) -> Option<f64> {
    // The benefit is 2 for a false positive, 1 for a right prediction, 0 for a false negative.
    let doubled = a.false_positives + d.false_positives;
    let rows = a.total() + d.total();
    let right = rows - doubled - a.false_negatives - d.false_negatives;
    let mean = (2.0 * doubled + right) / rows;
    let squares = (4.0 * doubled + right) / rows;
    (mean > 0.0).then(|| (squares / (mean * mean) - 1.0) / 2.0)
}

/// Clarify's division: 0/0 is 0, x/0 is infinite with the sign of x.
fn divide(numerator: f64, denominator: f64) -> f64 {
    if numerator == 0.0 && denominator == 0.0 { 0.0 } else { numerator / denominator }
}

/// a - b, with equal infinities cancelling.
fn difference(a: f64, b: f64) -> f64 {
    if a == b { 0.0 } else { a - b }
}
