//! What was seen of both arms, step by step.

use std::collections::BTreeMap;

use mlops_core::Result;
use mlops_core::experiment::{Moments, TwoArm};
use serde::{Deserialize, Serialize};

use super::odds::Batch;
use crate::Latencies;

/// What one arm answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The requests that fell into the arm.
    pub requests: u64,
    /// Those that its model failed, whoever answered them in the end.
    pub failures: u64,
    /// How long they took, for those that were measured; empty if nobody measured.
    #[serde(default)]
    pub latencies: Latencies,
}

impl Traffic {
    /// Takes in what another saw of the same arm.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.latencies.merge(&other.latencies);
    }
}

/// What was seen in one step, in which the split was constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StepEvidence {
    pub(super) champion: Traffic,
    pub(super) challenger: Traffic,
    pub(super) outcomes: BTreeMap<String, TwoArm<Moments>>,
}

impl StepEvidence {
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        let mut merged = self.clone();
        merged.champion.merge(&other.champion);
        merged.challenger.merge(&other.challenger);
        for (name, outcomes) in &other.outcomes {
            merged.outcomes.entry(name.clone()).or_default().merge(outcomes)?;
        }
        *self = merged;
        Ok(())
    }

    /// Requests of the challenger that show the event, out of those that could.
    pub(super) fn rate(
        &self,
        max: f64,
        event: impl Fn(&Traffic) -> u64,
        trials: impl Fn(&Traffic) -> u64,
    ) -> Batch {
        Batch { null: max, hits: event(&self.challenger), trials: trials(&self.challenger) }
    }

    /// Events of the challenger out of the events of both arms. If its rate is at most `max` times the
    /// champion's, an event is the challenger's with odds of at most `max * weight / (1 - weight)`.
    pub(super) fn ratio(&self, weight: f64, max: f64, event: impl Fn(&Traffic) -> u64) -> Batch {
        let null = max * weight / (max * weight + 1.0 - weight);
        let hits = event(&self.challenger);
        Batch { null, hits, trials: hits.saturating_add(event(&self.champion)) }
    }

    /// Requests of the challenger out of the requests of both arms.
    pub(super) fn share(&self, weight: f64) -> Batch {
        let hits = self.challenger.requests;
        Batch { null: weight, hits, trials: hits.saturating_add(self.champion.requests) }
    }
}
