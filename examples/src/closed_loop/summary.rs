//! What came of it, in numbers.

use std::collections::BTreeMap;

use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
use mlops_core::{Event, EventKind, ModelVersion, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// The whole story as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Where the sessions came from.
    pub source: String,
    /// The seed of the run.
    pub seed: u64,
    /// Requests that were answered.
    pub requests_answered: u64,
    /// Requests that got an error instead of an answer.
    pub requests_failed: u64,
    /// What the first of those errors said.
    pub first_failure: Option<String>,
    /// Requests that the champion answered in place of a challenger that could not.
    pub requests_fallback: u64,
    /// The months that were served, in order.
    pub months: Vec<MonthSummary>,
    /// Versions that were registered.
    pub versions: Vec<Registered>,
    /// Challengers that became champion.
    pub promotions: Vec<Move>,
    /// Challengers that did not.
    pub roll_backs: Vec<Move>,
    /// Retrainings whose model the gate refused, with its reasons.
    pub refusals: Vec<String>,
}

/// One month of serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonthSummary {
    /// The year, from 1.
    pub year: usize,
    /// The month.
    pub month: String,
    /// Its sessions.
    pub sessions: usize,
    /// The share of them that bought.
    pub conversion: f64,
    /// Which version was champion at its end.
    pub champion: u64,
    /// The loop's answers.
    #[serde(rename = "loop")]
    pub of_loop: Quality,
    /// The answers of the champion of the year's start.
    pub frozen: Quality,
    /// The mean time from a call to its answer, in microseconds.
    pub latency_us: f64,
    /// How far each feature was from the champion's baseline.
    pub features: BTreeMap<String, FeatureDrift>,
    /// What was told at its end.
    pub alerts: Vec<Event>,
    /// Why a new model was trained at its end, if one was.
    pub retrained: Option<String>,
}

/// How far a feature was from the baseline; absent where a number does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureDrift {
    /// The population stability index.
    pub psi: Option<f64>,
    /// The Jensen-Shannon distance, base 2.
    pub jensen_shannon_distance_base2: Option<f64>,
    /// Kolmogorov-Smirnov's D, negative if the values tend to be smaller than before.
    pub kolmogorov_smirnov: Option<f64>,
    /// The share of missing cells.
    pub missing_rate: Option<f64>,
}

/// How good answers were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The area under the ROC curve; absent if all sessions had the same outcome.
    pub roc_auc: Option<f64>,
    /// The mean log loss.
    pub log_loss: Option<f64>,
    /// The share of buyers among the fifth of sessions with the highest scores: what an offer to them meets.
    pub conversion_of_top_fifth: f64,
}

/// A version that was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    /// The version.
    pub version: ModelVersion,
    /// Why it was trained.
    pub reason: String,
}

/// A challenger whose trial ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// When.
    pub time: Timestamp,
    /// The challenger.
    pub challenger: ModelVersion,
    /// Why.
    pub reason: String,
}

/// The loop beside the frozen champion over some months: means weighted by sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Months compared.
    pub months: usize,
    /// The loop's log loss.
    pub log_loss: f64,
    /// The frozen champion's.
    pub frozen_log_loss: f64,
    /// The loop's area under the ROC curve.
    pub roc_auc: f64,
    /// The frozen champion's.
    pub frozen_roc_auc: f64,
    /// Whether the loop has both the lower log loss and the larger area.
    pub loop_is_better: bool,
}

/// What `--json` writes: the summary, and the loop beside the frozen champion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The summary.
    #[serde(flatten)]
    pub summary: Summary,
    /// What the loop was worth.
    pub over_drifted_months: Comparison,
}

impl Quality {
    /// The quality of these answers.
    ///
    /// # Errors
    /// `Data` if a score is no probability.
    pub fn of(labels: &[bool], scores: &[f64]) -> Result<Self> {
        let mut metrics = BinaryMetrics::new(BinarySettings::default())?;
        for (label, score) in labels.iter().zip(scores) {
            metrics.push(&BinaryRow::new(*label, *score))?;
        }
        let curve = metrics.curve();
        let conversion = labels.iter().filter(|label| **label).count() as f64 / labels.len().max(1) as f64;
        Ok(Self {
            roc_auc: curve.roc_auc(),
            log_loss: metrics.losses().log_loss(),
            conversion_of_top_fifth: curve.lift(0.2).map_or(0.0, |lift| lift * conversion),
        })
    }
}

impl Summary {
    /// The summary with its comparison.
    pub fn report(&self) -> Report {
        Report { summary: self.clone(), over_drifted_months: self.over_drifted_months() }
    }

    /// The months of the last year that follow its first alert of a drift: those in which the loop could know.
    pub fn drifted_months(&self) -> &[MonthSummary] {
        let year = self.months.last().map_or(0, |month| month.year);
        let tells_drift =
            |alert: &Event| matches!(alert.kind, EventKind::DataDrift | EventKind::ConceptDrift);
        let is_drifted = |month: &MonthSummary| month.year == year && month.alerts.iter().any(tells_drift);
        let first = self.months.iter().position(is_drifted).map_or(self.months.len(), |first| first + 1);
        &self.months[first..]
    }

    /// The loop beside the frozen champion over [`drifted_months`](Self::drifted_months).
    pub fn over_drifted_months(&self) -> Comparison {
        let months = self.drifted_months();
        let means = |value: fn(&Quality) -> Option<f64>| -> (f64, f64) {
            let (mut of_loop, mut frozen, mut sessions) = (0.0, 0.0, 0.0);
            for month in months {
                // A month in which one of the two is undefined compares nothing.
                if let (Some(a), Some(b)) = (value(&month.of_loop), value(&month.frozen)) {
                    of_loop += a * month.sessions as f64;
                    frozen += b * month.sessions as f64;
                    sessions += month.sessions as f64;
                }
            }
            (of_loop / f64::max(sessions, 1.0), frozen / f64::max(sessions, 1.0))
        };
        let (log_loss, frozen_log_loss) = means(|quality| quality.log_loss);
        let (roc_auc, frozen_roc_auc) = means(|quality| quality.roc_auc);
        let loop_is_better = log_loss < frozen_log_loss && roc_auc > frozen_roc_auc;
        Comparison {
            months: months.len(),
            log_loss,
            frozen_log_loss,
            roc_auc,
            frozen_roc_auc,
            loop_is_better,
        }
    }
}
