//! What to do next, and why.

use std::fmt;

use mlops_core::{Event, EventKind, Measurement, Severity, Timestamp};
use serde::{Deserialize, Serialize};

/// What to do next with a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Leave the split as it is.
    Hold,
    /// Go to the next step.
    Advance,
    /// Make the challenger the champion.
    Promote,
    /// Give all traffic back to the champion.
    RollBack,
}

/// An action with its reasons: of a rollout, or of an [`experiment`](super::experiment).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision<A = Action> {
    /// What to do.
    pub action: A,
    /// Why: at least one reason.
    pub reasons: Vec<Reason>,
}

/// One reason for an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reason {
    /// A sentence for people.
    pub message: String,
    /// The number that decided, and its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<Measurement>,
}

impl<A: fmt::Display> Decision<A> {
    pub(super) fn new(action: A, reasons: Vec<Reason>) -> Self {
        Self { action, reasons }
    }

    pub(super) fn event_of(&self, severity: Severity, time: Timestamp, subject: String) -> Event {
        let mut event = Event::new(time, severity, EventKind::Rollout, subject).message(self.to_string());
        event.measurement = self.reasons.iter().find_map(|reason| reason.measurement.clone());
        event
    }
}

impl Decision {
    /// The decision as an event about `subject`, which names the endpoint or the challenger.
    pub fn event(&self, time: Timestamp, subject: impl Into<String>) -> Event {
        let severity = if self.action == Action::RollBack { Severity::Critical } else { Severity::Info };
        self.event_of(severity, time, subject.into())
    }
}

impl Reason {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), measurement: None }
    }

    pub(super) fn measured(mut self, name: &str, value: f64, limit: f64) -> Self {
        self.measurement = Some(Measurement { name: name.into(), value, limit });
        self
    }
}

/// A time in the unit that people would use.
pub(super) fn span(s: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let (unit_s, unit) = match s {
        0..=119 => return format!("{s} s"),
        120..7200 => (MINUTE, "min"),
        7200..172_800 => (HOUR, "h"),
        _ => (DAY, "days"),
    };
    let tenths = s / (unit_s / 10);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

impl<A: fmt::Display> fmt::Display for Decision<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.action)?;
        for (index, reason) in self.reasons.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "; " }, reason.message)?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn times_are_in_the_unit_that_people_would_use() {
        for (s, want) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (5430, "90.5 min"),
            (86_400, "24 h"),
            (60 * 86_400, "60 days"),
            (2 * 86_400 + 43_200, "2.5 days"),
        ] {
            assert_eq!(span(s), want);
        }
    }
}
