//! The evaluation of a model: what a registry version carries and a gate reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bias::Contingency;
use super::metric::{Metric, MetricState, Metrics, Version};
use super::slices::{Goal, Slice, Slices, check_feature};
use crate::{Error, Result};

/// The metrics of one model on one set of rows, as a whole and on slices of it.
///
/// A plain value: serialises, compares, travels with a model version. Metrics that are undefined on these rows
/// are absent. The name `rows` is taken: it stands for the number of rows.
///
/// ```
/// use mlops_core::evaluation::{Evaluation, Metric};
///
/// let evaluation = Evaluation::new(12_330)
///     .with("roc_auc", Metric::new(0.92).with_std_error(Some(0.004)))
///     .with_slice("visitor=new", 1_694, [("roc_auc", Metric::new(0.87))]);
/// assert_eq!(evaluation.metric("roc_auc", None)?.value, 0.92);
/// assert_eq!(evaluation.metric("roc_auc", Some("visitor=new"))?.value, 0.87);
/// assert_eq!(evaluation.metric("rows", Some("visitor=new"))?.value, 1694.0);
/// assert!(evaluation.metric("rmse", None).is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    version: Version<1>,
    /// The number of rows that were scored.
    pub rows: u64,
    /// The metrics over all rows, by name.
    pub metrics: Metrics,
    /// The metrics on parts of the rows, by `feature=value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, SliceEvaluation>,
}

/// The metrics on one part of the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceEvaluation {
    /// The number of rows in the slice.
    pub rows: u64,
    /// The metrics over these rows, by name.
    pub metrics: Metrics,
}

impl Evaluation {
    /// An evaluation of this many rows, without metrics yet.
    pub fn new(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// The metrics of a state.
    pub fn of<S: MetricState>(state: &S) -> Self {
        Self { rows: state.rows(), metrics: state.metrics(), ..Self::default() }
    }

    /// The metrics of a sliced state, as a whole and on each slice.
    pub fn of_slices<S: MetricState>(slices: &Slices<S>) -> Self {
        let mut evaluation = Self::of(slices.whole());
        for (slice, state) in slices.slices() {
            let part = SliceEvaluation { rows: state.rows(), metrics: state.metrics() };
            evaluation.slices.insert(slice.to_string(), part);
        }
        evaluation
    }

    /// Adds a metric over all rows, in place of one of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, metric: Metric) -> Self {
        self.metrics.insert(name.into(), metric);
        self
    }

    /// Adds all metrics of another state. Each keeps the number of rows it is over, so that a gate judges a
    /// ranking metric of some lists by these lists, beside metrics of many rows.
    ///
    /// ```
    /// use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
    /// use mlops_core::evaluation::ranking::{Conventions, Ranking, RankingMetrics, RankingSettings};
    /// use mlops_core::evaluation::{Evaluation, MetricState};
    ///
    /// let mut clicks = BinaryMetrics::new(BinarySettings::default())?;
    /// for (label, score) in [(true, 0.9), (false, 0.2), (true, 0.4), (false, 0.6)] {
    ///     clicks.push(&BinaryRow::new(label, score))?;
    /// }
    /// let mut lists = RankingMetrics::new(RankingSettings::default())?;
    /// lists.push(&Ranking::from_scores(&[0.0, 1.0, 0.0], &[0.9, 0.5, 0.1], Conventions::default())?)?;
    ///
    /// let evaluation = Evaluation::of(&clicks).with_all(&lists);
    /// assert_eq!(evaluation.metric("roc_auc", None)?.rows, None);
    /// assert_eq!(evaluation.metric("ndcg@10", None)?.rows, Some(1));
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_all<S: MetricState>(mut self, state: &S) -> Self {
        let rows = Some(state.rows()).filter(|rows| *rows != self.rows);
        self.metrics
            .extend(state.metrics().into_iter().map(|(name, metric)| (name, Metric { rows, ..metric })));
        self
    }

    /// Adds metrics on a slice.
    #[must_use]
    pub fn with_slice<N: Into<String>>(
        mut self,
        slice: impl Into<String>,
        rows: u64,
        metrics: impl IntoIterator<Item = (N, Metric)>,
    ) -> Self {
        let part = self.slices.entry(slice.into()).or_default();
        part.rows = rows;
        part.metrics.extend(metrics.into_iter().map(|(name, metric)| (name.into(), metric)));
        self
    }

    /// Adds the bias metrics of a feature: SageMaker Clarify's on the slice of each facet (that facet against
    /// all others, as `feature=facet`), fairlearn's gaps over all rows (as `feature.equalized_odds_difference`).
    ///
    /// ```
    /// use mlops_core::evaluation::{Evaluation, bias::Contingency};
    ///
    /// let visitors = ["new", "returning", "new", "returning"];
    /// let table = Contingency::from_rows(&visitors, &[true, true, false, false], &[true, false, true, false])?;
    /// let evaluation = Evaluation::new(4).with_bias("visitor", &table)?;
    /// assert_eq!(evaluation.metric("dppl", Some("visitor=returning"))?.value, 1.0);
    /// assert_eq!(evaluation.metric("visitor.demographic_parity_difference", None)?.value, 1.0);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// Clarify's `ks` of labels is called `label_ks` here: the `ks` of scores may be there beside it.
    ///
    /// A facet that holds no rows, or all of them, gets a slice with its number of rows and no bias metrics.
    ///
    /// # Errors
    /// `Invalid` if a metric of that name is there already: it would be lost; or if the name of the feature holds
    /// `=`.
    pub fn with_bias(mut self, feature: &str, table: &Contingency) -> Result<Self> {
        check_feature(feature)?;
        for (name, metric) in table.gaps().metrics() {
            add_new(&mut self.metrics, format!("{feature}.{name}"), metric)?;
        }
        for facet in table.facets() {
            let rows = table.confusion(facet).map_or(0, |matrix| matrix.total() as u64);
            let slice = Slice { feature: feature.to_owned(), value: facet.to_owned() };
            let part = self.slices.entry(slice.to_string()).or_default();
            part.rows = part.rows.max(rows);
            for (name, metric) in table.bias(facet).map(|bias| bias.metrics()).unwrap_or_default() {
                // The `ks` of scores is another metric, and better high.
                let name = if name == "ks" { "label_ks".to_owned() } else { name };
                add_new(&mut part.metrics, name, metric)?;
            }
        }
        Ok(self)
    }

    /// A metric by name, over all rows or on a slice; `rows` gives their number.
    ///
    /// # Errors
    /// `NotFound`: with what may be the reason if this crate knows the metric, else with the names that are like it, or
    /// all there are.
    pub fn metric(&self, name: &str, slice: Option<&str>) -> Result<Metric> {
        let (rows, metrics, place) = match slice {
            None => (self.rows, &self.metrics, String::new()),
            Some(slice) => {
                let part = self.slices.get(slice).ok_or_else(|| {
                    Error::not_found(format!("no slice `{slice}`: the slices are {}", names(&self.slices)))
                })?;
                (part.rows, &part.metrics, format!(" on `{slice}`"))
            }
        };
        if name == "rows" {
            return Ok(Metric::new(rows as f64));
        }
        metrics.get(name).copied().ok_or_else(|| absent(name, &place, rows, metrics))
    }
}

#[cold]
fn absent(name: &str, place: &str, rows: u64, metrics: &Metrics) -> Error {
    let all = |is_alike: &dyn Fn(&str) -> bool| -> Vec<String> {
        let known = metrics.keys().filter(|known| is_alike(known));
        known.map(|known| format!("`{known}`")).collect()
    };
    // Such as `ndcg@10` for `ndcg@20`.
    let cut = |name: &str| name.split_once('@').map(|(stem, _)| stem.to_owned());
    let other_cuts = all(&|known| cut(name).is_some() && cut(known) == cut(name));
    let alike = all(&|known| known.contains(name) || name.contains(known));
    Error::not_found(match () {
        () if rows == 0 => format!("no metric `{name}`{place}: there are no rows"),
        () if !other_cuts.is_empty() => {
            format!("no metric `{name}`{place}: is {} meant?", other_cuts.join(" or "))
        }
        () if Goal::of(name).is_some() => format!(
            "no metric `{name}`{place}: it is undefined on these {rows} rows (of one class only?), or was not measured"
        ),
        () if !alike.is_empty() => format!("no metric `{name}`{place}: is {} meant?", alike.join(" or ")),
        () => format!("no metric `{name}`{place}: there are {}", names(metrics)),
    })
}

fn add_new(metrics: &mut Metrics, name: String, metric: Metric) -> Result<()> {
    if metrics.contains_key(&name) {
        return Err(Error::invalid(format!("there is a metric `{name}` already: add the bias metrics once")));
    }
    metrics.insert(name, metric);
    Ok(())
}

fn names<V>(map: &BTreeMap<String, V>) -> String {
    if map.is_empty() {
        return "none".to_owned();
    }
    map.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}
