//! Ranking metrics averaged over a stream of queries.

use serde::{Deserialize, Serialize};

use super::conventions::{Conventions, NoRelevant};
use super::query::Ranking;
use crate::evaluation::Mean;
use crate::evaluation::error::MetricError;
use crate::evaluation::metric::{Metric, MetricState, Metrics, Version, insert, insert_share};
use crate::{Error, Result};

/// How [`RankingMetrics`] measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankingSettings {
    /// The cutoffs k. Default 10.
    pub cutoffs: Vec<usize>,
    /// The choices where tools disagree.
    pub conventions: Conventions,
}

impl Default for RankingSettings {
    fn default() -> Self {
        Self { cutoffs: vec![10], conventions: Conventions::default() }
    }
}

/// Ranking metrics as a value that streams, merges and serialises; a row is a query.
///
/// Gives `ndcg@k`, `map@k`, `mrr@k`, `precision@k`, `recall@k` and `hit_rate@k` for each cutoff, and `map` and
/// `mrr` over whole lists: means over queries with their standard errors.
///
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::ranking::{Conventions, Ranking, RankingMetrics, RankingSettings};
///
/// let settings = RankingSettings { cutoffs: vec![2], ..RankingSettings::default() };
/// let mut metrics = RankingMetrics::new(settings)?;
/// metrics.push(&Ranking::from_items(&["a", "b", "c"], &["b"], Conventions::default()))?;
/// assert_eq!(metrics.metrics()["mrr@2"].value, 0.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct RankingMetrics {
    version: Version<1>,
    settings: RankingSettings,
    rows: u64,
    at: Vec<[Mean; 6]>,
    whole: [Mean; 2],
}

impl RankingMetrics {
    /// No queries yet.
    ///
    /// # Errors
    /// `Invalid` if a cutoff is 0.
    pub fn new(settings: RankingSettings) -> Result<Self> {
        if settings.cutoffs.contains(&0) {
            return Err(MetricError::Setting { what: "cutoff", value: 0.0, want: "1 or above" }.into());
        }
        let at = vec![[Mean::default(); 6]; settings.cutoffs.len()];
        Ok(Self { version: Version, settings, rows: 0, at, whole: [Mean::default(); 2] })
    }
}

/// Metrics as they were stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    version: Version<1>,
    settings: RankingSettings,
    rows: u64,
    at: Vec<[Mean; 6]>,
    whole: [Mean; 2],
}

impl TryFrom<Stored> for RankingMetrics {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, settings, rows, at, whole } = stored;
        let cutoffs = Self::new(settings.clone())?.at.len();
        if at.len() != cutoffs {
            let given = at.len();
            return Err(Error::data(format!("metrics at {given} cutoffs for settings of {cutoffs}")));
        }
        Ok(Self { version, settings, rows, at, whole })
    }
}

impl MetricState for RankingMetrics {
    type Row = Ranking;

    /// # Errors
    /// `Invalid` if the ranking follows other conventions.
    fn push(&mut self, query: &Ranking) -> Result<()> {
        if query.conventions() != self.settings.conventions {
            return Err(MetricError::Incompatible { what: "a ranking into metrics" }.into());
        }
        self.rows = self.rows.saturating_add(1);
        if query.relevant() == 0 && self.settings.conventions.no_relevant == NoRelevant::Skip {
            return Ok(());
        }
        for (means, &k) in self.at.iter_mut().zip(&self.settings.cutoffs) {
            let k = Some(k);
            let values = [
                query.ndcg(k),
                query.average_precision(k),
                query.reciprocal_rank(k),
                query.precision(k),
                query.recall(k),
                query.hit(k),
            ];
            means.iter_mut().zip(values).for_each(|(mean, value)| mean.add(value, 1.0));
        }
        self.whole[0].add(query.average_precision(None), 1.0);
        self.whole[1].add(query.reciprocal_rank(None), 1.0);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.settings != other.settings || self.at.len() != other.at.len() {
            return Err(MetricError::Incompatible { what: "ranking metrics" }.into());
        }
        self.rows = self.rows.saturating_add(other.rows);
        let means = self.at.iter_mut().flatten().chain(&mut self.whole);
        means.zip(other.at.iter().flatten().chain(&other.whole)).for_each(|(mean, other)| mean.merge(other));
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for (means, k) in self.at.iter().zip(&self.settings.cutoffs) {
            for (mean, name) in means.iter().zip(NAMES) {
                let name = format!("{name}@{k}");
                if name.starts_with("hit_rate") {
                    let lists = mean.weight();
                    insert_share(&mut metrics, &name, Metric::share(mean.total(), lists, lists));
                } else {
                    insert(&mut metrics, &name, mean.value(), mean.std_error());
                }
            }
        }
        for (mean, name) in self.whole.iter().zip(["map", "mrr"]) {
            insert(&mut metrics, name, mean.value(), mean.std_error());
        }
        metrics
    }
}

const NAMES: [&str; 6] = ["ndcg", "map", "mrr", "precision", "recall", "hit_rate"];
