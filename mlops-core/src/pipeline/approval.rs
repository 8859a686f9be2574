//! What a person said.

use serde::{Deserialize, Serialize};

use super::branch::Decision;
use crate::Timestamp;

/// The answer of a person to an [`approval`](super::Pipeline::approval) step.
///
/// ```
/// use mlops_core::Timestamp;
/// use mlops_core::pipeline::{Approval, Decision};
///
/// let answer = Approval::granted("ana", "auc is up, bias is not", Timestamp::EPOCH);
/// assert!(answer.passed());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Approval {
    /// Whether the run may go on.
    pub granted: bool,
    /// Who answered.
    pub by: String,
    /// Why.
    pub comment: String,
    /// When.
    pub time: Timestamp,
    /// Whether nobody answered in time: then it is not granted, and the time is the deadline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

impl Approval {
    /// The run may go on.
    pub fn granted(by: impl Into<String>, comment: impl Into<String>, time: Timestamp) -> Self {
        Self { granted: true, by: by.into(), comment: comment.into(), time, expired: false }
    }

    /// The run ends here.
    pub fn rejected(by: impl Into<String>, comment: impl Into<String>, time: Timestamp) -> Self {
        Self { granted: false, by: by.into(), comment: comment.into(), time, expired: false }
    }

    /// Nobody answered up to the deadline.
    pub(super) fn expired(deadline: Timestamp) -> Self {
        let (by, comment) = (String::new(), String::new());
        Self { granted: false, by, comment, time: deadline, expired: true }
    }
}

impl Decision for Approval {
    fn passed(&self) -> bool {
        self.granted
    }

    fn reason(&self) -> String {
        if self.expired {
            return format!("nobody answered up to {}", self.time);
        }
        let verb = if self.granted { "approved" } else { "rejected" };
        format!("{verb} by {}: {}", self.by, self.comment)
    }
}
