//! What was seen of all arms, split by split.

use std::collections::BTreeMap;

use mlops_core::Result;
use mlops_core::experiment::Moments;
use serde::{Deserialize, Serialize};

use crate::rollout::Traffic;

/// What was seen while the same arms had traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Phase {
    /// Which arms had traffic.
    pub(super) active: Vec<bool>,
    pub(super) arms: Vec<Seen>,
}

/// What was seen of one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) traffic: Traffic,
    pub(super) outcomes: BTreeMap<String, Moments>,
}

impl Phase {
    pub(super) fn new(active: Vec<bool>) -> Self {
        let arms = vec![Seen::default(); active.len()];
        Self { active, arms }
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        for (mine, theirs) in self.arms.iter_mut().zip(&other.arms) {
            mine.traffic.merge(&theirs.traffic);
            for (name, outcomes) in &theirs.outcomes {
                mine.outcomes.entry(name.clone()).or_default().merge(outcomes)?;
            }
        }
        Ok(())
    }
}
