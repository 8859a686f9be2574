//! What happened, told so that a person and a policy can both act on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::rounded::told_apart;

/// How soon somebody has to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Look at it in working hours.
    Warning,
    /// Look at it now.
    Critical,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The inputs are distributed otherwise than in the reference.
    DataDrift,
    /// The relation of inputs and labels changed: the errors of the model shift.
    ConceptDrift,
    /// A quality metric of the model crossed its limit.
    ModelQuality,
    /// Values are missing, of the wrong type or out of range.
    DataQuality,
    /// A bias metric crossed its limit.
    Bias,
    /// A pipeline or one of its steps changed its state.
    Pipeline,
    /// The registry changed: a version, an alias or an approval.
    Registry,
    /// A rollout changed its state: advance, hold, promote or roll back.
    Rollout,
    /// The serving process itself: loads, swaps, failures.
    Serving,
}

/// One thing that happened: what, where, how much.
///
/// ```
/// use mlops_core::{Event, EventKind, Severity, Timestamp};
///
/// let event = Event::new(Timestamp::EPOCH, Severity::Warning, EventKind::DataDrift, "feature `exit_rate`")
///     .measured("psi", 0.31, 0.25)
///     .detail("window", "2026-05");
/// assert_eq!(event.to_string(), "warning data_drift feature `exit_rate`: psi 0.31 (limit 0.25), window=2026-05");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// How soon somebody has to look.
    pub severity: Severity,
    /// What it is about.
    pub kind: EventKind,
    /// Where: the feature, model, version, step or arm.
    pub subject: String,
    /// A sentence for people; may be empty when the measurement says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How much, against which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<Measurement>,
    /// Anything else, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// A named number and the limit that it was held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The statistic or metric, by its name in the literature.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// The limit.
    pub limit: f64,
}

impl Event {
    /// An event with neither message nor measurement yet.
    pub fn new(time: Timestamp, severity: Severity, kind: EventKind, subject: impl Into<String>) -> Self {
        Self {
            time,
            severity,
            kind,
            subject: subject.into(),
            message: String::new(),
            measurement: None,
            details: BTreeMap::new(),
        }
    }

    /// Adds a sentence for people.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds the number and the limit it was held against.
    #[must_use]
    pub fn measured(mut self, name: impl Into<String>, value: f64, limit: f64) -> Self {
        self.measurement = Some(Measurement { name: name.into(), value, limit });
        self
    }

    /// Adds a named detail.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.details.insert(name.into(), value.to_string());
        self
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity, self.kind, self.subject)?;
        let mut separator = ": ";
        if !self.message.is_empty() {
            write!(f, "{separator}{}", self.message)?;
            separator = ", ";
        }
        if let Some(Measurement { name, value, limit }) = &self.measurement {
            let [value, limit] = told_apart(*value, *limit);
            write!(f, "{separator}{name} {value} (limit {limit})")?;
            separator = ", ";
        }
        for (name, value) in &self.details {
            write!(f, "{separator}{name}={value}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Where events go: a log, a pager, a retraining policy.
///
/// Contract for implementers: `emit` may be called from many threads. It must not block the caller for
/// long and must not panic; a sink that cannot keep up counts what it drops.
///
/// The feature `conformance` has a suite that checks this contract.
pub trait EventSink: fmt::Debug + Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: &Event);
}

/// A sink that keeps every event in memory, in order of arrival.
///
/// ```
/// use mlops_core::{Event, EventKind, EventLog, EventSink, Severity, Timestamp};
///
/// let log = EventLog::default();
/// log.emit(&Event::new(Timestamp::EPOCH, Severity::Info, EventKind::Serving, "endpoint `shop`"));
/// assert_eq!(log.take().len(), 1);
/// assert!(log.take().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct EventLog(Mutex<Vec<Event>>);

impl EventLog {
    /// Takes out all events seen since the last call.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EventSink for EventLog {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
