//! What to do next with an experiment, and how it stands.

use std::fmt;

use mlops_core::{Event, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::rollout::Decision;

/// What to do next with an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Leave the split as it is.
    Hold,
    /// Give these variants no more traffic; the others go on.
    Stop {
        /// The names of the variants.
        arms: Vec<String>,
    },
    /// End, with all traffic to this variant.
    Promote {
        /// Its name.
        arm: String,
    },
    /// End, with all traffic to the control: nothing is better, or no comparison can be trusted.
    KeepControl,
}

/// How an experiment stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Traffic is split.
    Running,
    /// A variant has won.
    Promoted {
        /// Its name.
        arm: String,
    },
    /// The control has all traffic again.
    ControlKept,
}

impl Decision<Action> {
    /// The decision as an event about `subject`, which names the endpoint or the experiment.
    pub fn event(&self, time: Timestamp, subject: impl Into<String>) -> Event {
        let severity =
            if matches!(self.action, Action::Stop { .. }) { Severity::Critical } else { Severity::Info };
        self.event_of(severity, time, subject.into())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold => f.write_str("hold"),
            Self::Stop { arms } => write!(f, "stop {}", arms.join(", ")),
            Self::Promote { arm } => write!(f, "promote {arm}"),
            Self::KeepControl => f.write_str("keep_control"),
        }
    }
}
