//! What was asked, what was answered, and what turned out to be true.
//!
//! Serving writes [`InferenceRecord`]s, monitors read them as Arrow batches, labels join them by
//! [`RequestId`] days later. The columns are the same in memory and in Parquet:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `request_id` | fixed binary, 16 | joins the label |
//! | `time` | timestamp, us, UTC | when it was answered |
//! | `model`, `version` | text, u64 | which version answered |
//! | `arm` | text | the arm of the rollout: `champion`, `challenger`, `control`, ... |
//! | `propensity` | f64 | the probability with which that arm was chosen |
//! | `fallback` | boolean | whether something else answered because the arm's own model could not |
//! | `decision` | boolean | whether the score reaches the threshold of the version that answered; missing if it has none |
//! | `latency_us` | f64 | from the call to the answer |
//! | `candidates` | list of text | what could have been answered; empty if there was no choice |
//! | `feature.<name>` | as in the schema | the inputs before encoding |
//! | `output.<name>` | f64 | the outputs |

mod label;
mod log;
mod table;

pub use label::{Label, LabelStore};
pub use log::{InferenceLog, RecordSchema};
pub use table::labelled_rows;
#[cfg(feature = "parquet")]
pub use table::read_parquet;

use crate::data::Value;
use crate::{RequestId, Timestamp};

/// The arm of models that are asked in the shadow of another: nobody heard their answers.
pub const SHADOW_ARM: &str = "shadow";

/// One answered request, borrowed from where it was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InferenceRecord<'a> {
    /// Names the request; its label joins by it.
    pub id: RequestId,
    /// When it was answered.
    pub time: Timestamp,
    /// The registered model that answered.
    pub model: &'a str,
    /// Its version.
    pub version: u64,
    /// The arm of the rollout that the request fell into.
    pub arm: &'a str,
    /// The probability with which that arm was chosen, above 0 up to 1.
    pub propensity: f64,
    /// Whether something else answered because the arm's own model could not: then model and version are whose answer
    /// it is, and version 0 is that of a default score. Such an answer says nothing about the arm's
    /// model; in a trial it counts for the arm, which could not answer.
    pub fallback: bool,
    /// Whether the score reaches the threshold of the version that answered, if it has one.
    pub decision: Option<bool>,
    /// From the call to the answer, in microseconds.
    pub latency_us: f64,
    /// What could have been answered; empty if there was no choice.
    pub candidates: &'a [&'a str],
    /// The inputs before encoding, in the order of the schema's features.
    pub features: &'a [Value<'a>],
    /// The outputs.
    pub outputs: &'a [f64],
}
