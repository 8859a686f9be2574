//! A rollout as it is stored.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::controller::{Rollout, State};

/// What is stored, with the version of its form.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    version: u32,
    #[serde(flatten)]
    state: State,
}

const STORED_VERSION: u32 = 1;

impl From<Rollout> for Stored {
    fn from(rollout: Rollout) -> Self {
        Self { version: STORED_VERSION, state: rollout.state }
    }
}

impl TryFrom<Stored> for Rollout {
    type Error = Error;

    fn try_from(Stored { version, state }: Stored) -> Result<Self> {
        if version != STORED_VERSION {
            return Err(Error::unsupported(format!(
                "a rollout has version {version}, this build reads {STORED_VERSION}"
            )));
        }
        state.plan.check()?;
        let steps = state.plan.steps.len();
        if state.step >= steps || state.evidence.len() != steps {
            let (step, evidence) = (state.step, state.evidence.len());
            return Err(Error::data(format!(
                "a rollout of {steps} steps is at step {step} with {evidence} states"
            )));
        }
        Ok(Self { state })
    }
}
