//! How much is captured, and of what.

use std::collections::BTreeMap;

use mlops_core::record::InferenceRecord;
use serde::{Deserialize, Serialize};

use super::privacy::Redaction;

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CaptureSettings {
    /// The share of requests that is captured, in [0, 1]. Default 1. Chosen by a hash of the request id, so
    /// that replicas and retries choose alike.
    pub sample: f64,
    /// The most that waiting records hold, in bytes. Default 64 MiB. What comes on top is dropped and counted.
    /// Threads take their room in pieces of a 64th, so that up to an eighth may stay unused. Buffers grow by
    /// doubling, one more is worked on while they drain, and up to this much is kept for the next records: allow for
    /// three times as much memory.
    pub bytes_max: usize,
    /// Requests that are captured whether they are in the sample or not. Default none. They make the sample
    /// a biased one: weigh, or leave out what a rule brought in, where averages are estimated.
    pub always: Vec<CaptureRule>,
    /// What is done to features, by name, before anybody reads them. Default nothing.
    pub privacy: BTreeMap<String, Redaction>,
    /// What is done to the names of candidates. Default nothing.
    pub candidates: Option<Redaction>,
}

/// What is captured whether it is in the sample or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CaptureRule {
    /// Requests of this arm.
    Arm(String),
    /// Requests that took longer than this, in microseconds.
    SlowerThanUs(f64),
    /// Requests with a first output from the first to the second number, both included: the undecided.
    OutputBetween(f64, f64),
}

impl CaptureRule {
    pub(super) fn matches(&self, record: &InferenceRecord<'_>) -> bool {
        match self {
            Self::Arm(arm) => record.arm == arm,
            Self::SlowerThanUs(limit_us) => record.latency_us > *limit_us,
            Self::OutputBetween(low, high) => {
                record.outputs.first().is_some_and(|output| (*low..=*high).contains(output))
            }
        }
    }
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            sample: 1.0,
            bytes_max: 64 << 20,
            always: Vec::new(),
            privacy: BTreeMap::new(),
            candidates: None,
        }
    }
}

impl CaptureSettings {
    /// Sets the share of requests that is captured.
    #[must_use]
    pub fn sample(mut self, share: f64) -> Self {
        self.sample = share;
        self
    }

    /// Sets the most that waiting records hold.
    #[must_use]
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Adds a rule for what is captured in any case.
    #[must_use]
    pub fn always(mut self, rule: CaptureRule) -> Self {
        self.always.push(rule);
        self
    }

    /// Sets what is done to a feature before anybody reads it.
    #[must_use]
    pub fn redact(mut self, feature: impl Into<String>, redaction: Redaction) -> Self {
        self.privacy.insert(feature.into(), redaction);
        self
    }

    /// Sets what is done to the names of candidates before anybody reads them.
    #[must_use]
    pub fn redact_candidates(mut self, redaction: Redaction) -> Self {
        self.candidates = Some(redaction);
        self
    }
}
