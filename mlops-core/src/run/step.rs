//! What one step of a run did.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The record of one step in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepRecord {
    /// Its name, unique in the pipeline.
    pub name: Arc<str>,
    /// What happened to it.
    pub state: StepState,
    /// Why it was computed, or where its result came from, in words; empty without a store.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The cache key: the digest of code, version, inputs and output formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// The artifacts that it took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ArtifactRecord>,
    /// The artifacts that it gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<ArtifactRecord>,
    /// The metrics that it reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "super::metrics")]
    pub metrics: BTreeMap<String, f64>,
    /// How often it was tried when it was computed; 0 if it was never computed.
    pub attempts: u32,
    /// How long the computation took, in microseconds; 0 if it was never computed.
    pub duration_us: u64,
}

impl StepRecord {
    pub(crate) fn new(name: Arc<str>, state: StepState) -> Self {
        let (inputs, outputs, metrics) = (Vec::new(), Vec::new(), BTreeMap::new());
        let reason = String::new();
        Self { name, state, reason, key: None, inputs, outputs, metrics, attempts: 0, duration_us: 0 }
    }
}

/// What happened to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepState {
    /// It was computed in this run.
    Computed,
    /// Its result was taken from the cache.
    Cached,
    /// Its result was committed before the run was interrupted.
    Resumed,
    /// Its value was given from outside.
    Injected,
    /// A condition kept it from running.
    Skipped,
    /// It waits for a person.
    Suspended,
    /// Nobody asked for its outputs, or the run ended before its turn.
    NotReached,
    /// It failed, or was tried and not done when the time of the run was over.
    Failed,
}

/// One artifact of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// The name of the step that gave it, with the place (`split.1`) if it gave several.
    pub name: Arc<str>,
    /// The SHA-256 of its bytes; of the list that a map or several handles give, that of the digests of its items.
    pub digest: Digest,
}
