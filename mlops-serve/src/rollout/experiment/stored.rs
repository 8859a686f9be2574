//! An experiment as it is stored.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::Status;
use super::controller::{Experiment, State};
use super::evidence::Phase;
use super::plan::check_variants;

/// What is stored, with the version of its form.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    version: u32,
    #[serde(flatten)]
    state: State,
}

const STORED_VERSION: u32 = 1;

impl From<Experiment> for Stored {
    fn from(experiment: Experiment) -> Self {
        Self { version: STORED_VERSION, state: experiment.state }
    }
}

impl TryFrom<Stored> for Experiment {
    type Error = Error;

    fn try_from(Stored { version, state }: Stored) -> Result<Self> {
        if version != STORED_VERSION {
            return Err(Error::unsupported(format!(
                "an experiment has version {version}, this build reads {STORED_VERSION}"
            )));
        }
        state.plan.check()?;
        check_variants(&state.variants)?;
        let arms = state.variants.len();
        let is_whole = |phase: &Phase| {
            phase.active.len() == arms && phase.arms.len() == arms && phase.active.first() == Some(&true)
        };
        // Every phase has fewer arms than the one before.
        let shrinks = |pair: &[Phase]| {
            let mut both = pair[0].active.iter().zip(&pair[1].active);
            pair[0].active != pair[1].active && both.all(|(before, after)| *before || !after)
        };
        let fits = state.phases.first().is_some_and(|phase| phase.active.iter().all(|active| *active))
            && state.phases.iter().all(is_whole)
            && state.phases.windows(2).all(shrinks);
        if !fits {
            return Err(Error::data(format!(
                "an experiment of {arms} arms has evidence of others: restore it from where it was written"
            )));
        }
        if let Status::Promoted { arm } = &state.status
            && !state.variants.iter().any(|variant| variant.name == *arm)
        {
            return Err(Error::data(format!("an experiment promoted `{arm}`, which is none of its arms")));
        }
        Ok(Self { state })
    }
}
