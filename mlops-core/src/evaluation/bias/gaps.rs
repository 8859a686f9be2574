//! fairlearn's gaps between groups.

use serde::{Deserialize, Serialize};

use crate::evaluation::binary::Confusion;
use crate::evaluation::metric::{Metrics, insert};

/// What a gap is measured between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// The facets with the highest and the lowest rate.
    #[default]
    BetweenFacets,
    /// The facet that is farthest from all rows together.
    ToOverall,
}

/// Rates by facet and the gaps between them, as fairlearn 0.15 defines them.
///
/// Differences are 0 at parity, up to 1. Ratios are 1 at parity, down to 0; `None` where a rate is zero
/// everywhere. A facet without positives has a true positive rate of 0, one without negatives a false positive
/// rate of 0. Without rows everything is `None`. Source: A. Agarwal and others, "A reductions approach to fair
/// classification", 2018; S. Bird and others, "Fairlearn", 2020.
///
/// ```
/// use mlops_core::evaluation::bias::{Contingency, Gap};
///
/// let table = Contingency::from_rows(&["a", "a", "b", "b"], &[true, false, true, false], &[true, true, true, false])?;
/// let gaps = table.gaps();
/// assert_eq!(gaps.demographic_parity_difference(Gap::BetweenFacets), Some(0.5));
/// assert_eq!(gaps.demographic_parity_difference(Gap::ToOverall), Some(0.25));
/// assert_eq!(gaps.equalized_odds_difference(Gap::BetweenFacets), Some(1.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gaps {
    facets: Vec<Confusion>,
    overall: Confusion,
}

impl Gaps {
    pub(super) fn of(facets: Vec<Confusion>) -> Self {
        let mut overall = Confusion::default();
        facets.iter().for_each(|matrix| overall.merge(matrix));
        Self { facets, overall }
    }

    /// The largest difference of selection rates.
    pub fn demographic_parity_difference(&self, gap: Gap) -> Option<f64> {
        self.difference(selection_rate, gap)
    }

    /// The smallest ratio of selection rates. The four-fifths rule wants 0.8.
    pub fn demographic_parity_ratio(&self, gap: Gap) -> Option<f64> {
        self.ratio(selection_rate, gap)
    }

    /// The larger of the differences of true and of false positive rates.
    pub fn equalized_odds_difference(&self, gap: Gap) -> Option<f64> {
        let hits = self.difference(true_positive_rate, gap)?;
        Some(hits.max(self.difference(false_positive_rate, gap)?))
    }

    /// The smaller of the ratios of true and of false positive rates. As in fairlearn, a false positive rate
    /// that is zero everywhere is passed over, a true positive rate that is leaves no ratio at all.
    pub fn equalized_odds_ratio(&self, gap: Gap) -> Option<f64> {
        let hits = self.ratio(true_positive_rate, gap)?;
        Some(self.ratio(false_positive_rate, gap).map_or(hits, |alarms| hits.min(alarms)))
    }

    /// The largest difference of true positive rates.
    pub fn equal_opportunity_difference(&self, gap: Gap) -> Option<f64> {
        self.difference(true_positive_rate, gap)
    }

    /// The smallest ratio of true positive rates.
    pub fn equal_opportunity_ratio(&self, gap: Gap) -> Option<f64> {
        self.ratio(true_positive_rate, gap)
    }

    /// The largest difference of accuracies.
    pub fn accuracy_difference(&self, gap: Gap) -> Option<f64> {
        self.difference(|matrix| matrix.accuracy().unwrap_or(0.0), gap)
    }

    /// All gaps between facets by name: `demographic_parity_difference`, `demographic_parity_ratio`,
    /// `equalized_odds_difference`, `equalized_odds_ratio`, `equal_opportunity_difference`,
    /// `equal_opportunity_ratio`, `accuracy_difference`. Undefined ones are absent.
    pub fn metrics(&self) -> Metrics {
        let gap = Gap::BetweenFacets;
        let values = [
            ("demographic_parity_difference", self.demographic_parity_difference(gap)),
            ("demographic_parity_ratio", self.demographic_parity_ratio(gap)),
            ("equalized_odds_difference", self.equalized_odds_difference(gap)),
            ("equalized_odds_ratio", self.equalized_odds_ratio(gap)),
            ("equal_opportunity_difference", self.equal_opportunity_difference(gap)),
            ("equal_opportunity_ratio", self.equal_opportunity_ratio(gap)),
            ("accuracy_difference", self.accuracy_difference(gap)),
        ];
        let mut metrics = Metrics::new();
        values.into_iter().for_each(|(name, value)| insert(&mut metrics, name, value, None));
        metrics
    }

    fn difference(&self, rate: fn(&Confusion) -> f64, gap: Gap) -> Option<f64> {
        match gap {
            Gap::BetweenFacets => self.extremes(rate).map(|(low, high)| high - low),
            Gap::ToOverall => {
                let overall = rate(&self.overall);
                self.facets.iter().map(|matrix| (rate(matrix) - overall).abs()).reduce(f64::max)
            }
        }
    }

    fn ratio(&self, rate: fn(&Confusion) -> f64, gap: Gap) -> Option<f64> {
        match gap {
            Gap::BetweenFacets => {
                let (low, high) = self.extremes(rate)?;
                (high > 0.0).then(|| low / high)
            }
            Gap::ToOverall => {
                let overall = rate(&self.overall);
                let ratios = self.facets.iter().map(|matrix| rate(matrix) / overall);
                let below_one = ratios.filter(|ratio| !ratio.is_nan());
                below_one.map(|ratio| if ratio > 1.0 { 1.0 / ratio } else { ratio }).reduce(f64::min)
            }
        }
    }

    fn extremes(&self, rate: fn(&Confusion) -> f64) -> Option<(f64, f64)> {
        let rates = self.facets.iter().map(|matrix| (rate(matrix), rate(matrix)));
        rates.reduce(|(low, high), (rate, _)| (low.min(rate), high.max(rate)))
    }
}

fn selection_rate(matrix: &Confusion) -> f64 {
    matrix.selection_rate().unwrap_or(0.0)
}

fn true_positive_rate(matrix: &Confusion) -> f64 {
    matrix.recall().unwrap_or(0.0)
}

fn false_positive_rate(matrix: &Confusion) -> f64 {
    matrix.false_positive_rate().unwrap_or(0.0)
}
