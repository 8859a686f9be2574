//! What one run of a pipeline did: parameters, metrics, artifacts and where each came from.
//!
//! A [`Run`] is a plain serde value. It is what a registry keeps beside a model version to answer "which
//! data, which code, which parameters".

mod lineage;
pub(crate) mod metrics;
mod step;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use step::{ArtifactRecord, StepRecord, StepState};

use crate::version::later_format;
use crate::{Error, Result, Seed, Timestamp};

/// The record of one run. Serialises with its format version, [`Run::FORMAT`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// The version of this format.
    pub format: u32,
    /// The name that the host gave the run.
    pub id: String,
    /// The pipeline that ran.
    pub pipeline: String,
    /// How it ended.
    pub status: RunStatus,
    /// The seed of everything random in it.
    pub seed: Seed,
    /// When it started, or was last resumed.
    pub started: Timestamp,
    /// When it ended or was interrupted.
    pub finished: Timestamp,
    /// The parameters by name, as JSON.
    pub params: BTreeMap<String, serde_json::Value>,
    /// The steps in order.
    pub steps: Vec<StepRecord>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum RunStatus {
    /// Every step that was wanted is done.
    Completed,
    /// A condition said no; the steps behind it did not run.
    Stopped {
        /// The condition.
        step: String,
        /// Why, in its words.
        reason: String,
    },
    /// Nothing can go on before people decided.
    Suspended {
        /// The approvals that are open.
        waiting: Vec<Waiting>,
    },
    /// A person said no.
    Rejected {
        /// The approval.
        step: String,
        /// Who.
        by: String,
        /// Why.
        comment: String,
    },
    /// Nobody answered in time.
    Expired {
        /// The approval.
        step: String,
        /// Up to when it could be answered.
        deadline: Timestamp,
    },
    /// It was cancelled; run it again to go on.
    Cancelled,
    /// The time that its request gave it was over; run it again to go on.
    TimedOut {
        /// The step that did not start, was not tried again, or stopped at a checkpoint.
        step: String,
        /// How its last attempt failed by itself, with its causes; none if none did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A step failed; run it again to go on from there.
    Failed {
        /// The step.
        step: String,
        /// The error with its causes.
        error: String,
    },
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Stopped { step, reason } => write!(f, "stopped at `{step}`: {reason}"),
            Self::Suspended { waiting } => {
                let steps: Vec<String> =
                    waiting.iter().map(|question| format!("`{}`", question.step)).collect();
                write!(f, "waiting for approval {}", steps.join(", "))
            }
            Self::Rejected { step, by, comment } => write!(f, "rejected at `{step}` by {by}: {comment}"),
            Self::Expired { step, deadline } => {
                write!(f, "expired: nobody answered `{step}` up to {deadline}")
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::TimedOut { step, error: None } => write!(f, "out of time at `{step}`"),
            Self::TimedOut { step, error: Some(error) } => {
                write!(f, "no time left to try `{step}` again: {error}")
            }
            Self::Failed { step, error } => write!(f, "failed at `{step}`: {error}"),
        }
    }
}

/// An approval that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The step that asks.
    pub step: String,
    /// Names the question when answering it. It is no secret and proves nothing about who answers.
    pub token: String,
    /// Up to when it can be answered, if that has an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

impl Run {
    /// The format version that this build writes.
    pub const FORMAT: u32 = 1;

    /// All metrics that the steps reported, by name. Of two steps that report the same name the later wins.
    ///
    /// A step that was taken from the cache reports what it reported when it was computed.
    pub fn metrics(&self) -> BTreeMap<&str, f64> {
        let all = self.steps.iter().flat_map(|step| &step.metrics);
        all.map(|(name, value)| (name.as_str(), *value)).collect()
    }

    /// The record of one step.
    ///
    /// # Errors
    /// `NotFound` if the pipeline has no such step.
    pub fn step(&self, name: &str) -> Result<&StepRecord> {
        self.steps.iter().find(|step| &*step.name == name).ok_or_else(|| {
            Error::not_found(format!("run `{}` of `{}` has no step `{name}`", self.id, self.pipeline))
        })
    }

    /// Reads a record from JSON.
    ///
    /// # Errors
    /// `Unsupported` if a newer build wrote it, `Data` if it is no such record.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if let Some(format) = later_format(json, Self::FORMAT) {
            return Err(Error::unsupported(format!(
                "the record of the run has format {format}, this build reads up to {}",
                Self::FORMAT
            )));
        }
        serde_json::from_slice(json)
            .map_err(|error| Error::data("the bytes are not the record of a run").with_source(error))
    }
}
