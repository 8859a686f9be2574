//! The same metrics on parts of the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::MetricError;
use super::metric::{Metric, MetricState, Version};
use crate::{Error, Result};

/// A part of the rows: those where a feature has a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slice {
    /// The feature.
    pub feature: String,
    /// Its value.
    pub value: String,
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.feature, self.value)
    }
}

/// One state over all rows and one for each slice of them. Merges and serialises as the states do.
///
/// ```
/// use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
/// use mlops_core::evaluation::{Evaluation, Slices};
///
/// let mut slices = Slices::new(BinaryMetrics::new(BinarySettings::default())?);
/// slices.push(&BinaryRow::new(true, 0.9), &[("visitor", "new"), ("weekend", "no")])?;
/// slices.push(&BinaryRow::new(false, 0.6), &[("visitor", "returning"), ("weekend", "no")])?;
/// let evaluation = Evaluation::of_slices(&slices);
/// assert_eq!(evaluation.metric("accuracy", Some("visitor=returning"))?.value, 0.0);
/// assert_eq!(slices.worst("accuracy", 1)?[0].0.to_string(), "visitor=returning");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slices<S> {
    version: Version<1>,
    empty: S,
    whole: S,
    #[serde(with = "as_list")]
    slices: BTreeMap<Slice, S>,
    limit: usize,
}

impl<S: MetricState> Slices<S> {
    /// No rows yet. Every slice starts as a copy of `empty`. At most 1000 slices.
    pub fn new(empty: S) -> Self {
        Self { version: Version, whole: empty.clone(), empty, slices: BTreeMap::new(), limit: 1000 }
    }

    /// The same with another limit on the number of slices: memory grows with each.
    #[must_use]
    pub fn limit(mut self, slices: usize) -> Self {
        self.limit = slices;
        self
    }

    /// Takes in one row that belongs to these slices, each a feature and its value. A slice that is named twice
    /// counts once.
    ///
    /// # Errors
    /// `Data` if the row is refused, `Invalid` if it needs more slices than the limit or the name of a feature
    /// holds `=`; then nothing changed.
    pub fn push(&mut self, row: &S::Row, slices: &[(&str, &str)]) -> Result<()> {
        let key = |&(feature, value): &(&str, &str)| Slice { feature: feature.into(), value: value.into() };
        slices.iter().try_for_each(|(feature, _)| check_feature(feature))?;
        let keys: BTreeSet<Slice> = slices.iter().map(key).collect();
        let new = keys.iter().filter(|key| !self.slices.contains_key(key)).count();
        self.room_for(new)?;
        self.whole.push(row)?;
        for key in keys {
            self.slices.entry(key).or_insert_with(|| self.empty.clone()).push(row)?;
        }
        Ok(())
    }

    /// Takes in all rows of another value.
    ///
    /// # Errors
    /// `Invalid` if the states differ in their settings or there would be too many slices; then nothing changed.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let new = other.slices.keys().filter(|key| !self.slices.contains_key(key)).count();
        self.room_for(new)?;
        let mut merged = self.clone();
        merged.whole.merge(&other.whole)?;
        for (key, state) in &other.slices {
            merged.slices.entry(key.clone()).or_insert_with(|| self.empty.clone()).merge(state)?;
        }
        *self = merged;
        Ok(())
    }

    /// The state over all rows.
    pub fn whole(&self) -> &S {
        &self.whole
    }

    /// The slices with their states, in order of name.
    pub fn slices(&self) -> impl Iterator<Item = (&Slice, &S)> {
        self.slices.iter()
    }

    /// The slices of at least `min_rows` rows by how badly they do in a metric, the worst first, with its value.
    ///
    /// Slices where the metric is undefined are left out. Small slices do badly by chance too: read the standard
    /// error beside the value, or use [`SliceSearch`](super::SliceSearch), which tests.
    ///
    /// # Errors
    /// `Invalid` if [`Goal::of`] does not know the metric: then say it with [`worst_by`](Self::worst_by).
    pub fn worst(&self, metric: &str, min_rows: u64) -> Result<Vec<(&Slice, Metric)>> {
        let goal = Goal::of(metric).ok_or_else(|| {
            Error::invalid(format!("whether `{metric}` is better high or low is not known: use `worst_by`"))
        })?;
        Ok(self.worst_by(metric, goal, min_rows))
    }

    /// As [`worst`](Self::worst), for any metric.
    pub fn worst_by(&self, metric: &str, goal: Goal, min_rows: u64) -> Vec<(&Slice, Metric)> {
        let value = |(slice, state): (_, &S)| Some((slice, *state.metrics().get(metric)?));
        let large = self.slices.iter().filter(|(_, state)| state.rows() >= min_rows);
        let mut found: Vec<_> = large.filter_map(value).collect();
        found.sort_by(|(_, a), (_, b)| match goal {
            Goal::Higher => a.value.total_cmp(&b.value),
            Goal::Lower => b.value.total_cmp(&a.value),
        });
        found
    }

    fn room_for(&self, new: usize) -> Result<()> {
        let wanted = self.slices.len() + new;
        if wanted <= self.limit {
            return Ok(());
        }
        let setting = MetricError::Setting {
            what: "number of slices",
            value: wanted as f64,
            want: "a raised limit, or features with fewer values",
        };
        Err(Error::from(setting).context(format!("cannot keep more than {} slices", self.limit)))
    }
}

/// Slices are named `feature=value`: with a second `=` two of them could share a name.
pub(super) fn check_feature(feature: &str) -> Result<()> {
    if feature.contains('=') {
        return Err(Error::invalid(format!("the name of feature `{feature}` holds `=`: name it without")));
    }
    Ok(())
}

/// Whether a metric is better when it is higher or when it is lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// As for accuracy.
    Higher,
    /// As for a loss.
    Lower,
}

impl Goal {
    /// The goal of a metric that this crate names; `@k` and a prefix up to the last dot do not count.
    ///
    /// ```
    /// use mlops_core::evaluation::Goal;
    ///
    /// assert_eq!(Goal::of("ndcg@10"), Some(Goal::Higher));
    /// assert_eq!(Goal::of("visitor.equalized_odds_difference"), Some(Goal::Lower));
    /// assert_eq!(Goal::of("profit"), None);
    /// ```
    pub fn of(metric: &str) -> Option<Self> {
        let name = metric.split('@').next().unwrap_or(metric);
        let name = name.rsplit('.').next().unwrap_or(name);
        if HIGHER.contains(&name) {
            Some(Self::Higher)
        } else if LOWER.contains(&name) {
            Some(Self::Lower)
        } else {
            None
        }
    }
}

mod as_list {
    use super::{BTreeMap, Slice};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &BTreeMap<Slice, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Slice, V>, D::Error> {
        Ok(Vec::<(Slice, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

const HIGHER: &[&str] = &[
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "click_through_rate",
    "conversion_rate",
    "coverage",
    "demographic_parity_ratio",
    "diversity",
    "entropy",
    "epc",
    "equal_opportunity_ratio",
    "equalized_odds_ratio",
    "explained_variance",
    "f_beta",
    "gauc",
    "hit_rate",
    "kappa",
    "ks",
    "lift",
    "map",
    "mcc",
    "mrr",
    "ndcg",
    "novelty",
    "personalization",
    "precision",
    "r2",
    "recall",
    "revenue_per_impression",
    "revenue_per_user",
    "roc_auc",
    "rows",
    "serendipity",
    "specificity",
];

const LOWER: &[&str] = &[
    "accuracy_difference",
    "brier",
    "demographic_parity_difference",
    "ece",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "gini",
    "log_loss",
    "mae",
    "mape",
    "max_error",
    "mce",
    "median_absolute_error",
    "mse",
    "msle",
    "normalized_entropy",
    "pinball_loss",
    "residual_std",
    "rmse",
    "smape",
    "wape",
];
