//! What was seen of both arms, step by step.

use std::collections::BTreeMap;

use mlops_core::Result;
use mlops_core::experiment::{Moments, TwoArm};
use serde::{Deserialize, Serialize};

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
}
