//! When to tell somebody, so that alarms are neither missed nor a flood.

use std::collections::BTreeMap;
use std::time::Duration;

use mlops_core::{Event, EventKind, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::version::versioned;

/// Lets events through that deserve attention: pure, so it replays and can be tested without waiting.
///
/// Hysteresis: something is raised after `raise_after` checks in a row in which it happened, and is over
/// after `clear_after` checks in a row without it. Cooldown: while it lasts it is told again at most every
/// `cooldown`, sooner only if it grows worse.
///
/// ```
/// use mlops_core::{Event, EventKind, Severity, Timestamp};
/// use mlops_drift::alert::{AlertPolicy, AlertState};
/// use std::time::Duration;
///
/// let policy = AlertPolicy { raise_after: 2, clear_after: 2, cooldown: Duration::from_secs(3600) };
/// let mut state = AlertState::default();
/// let at = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
/// let drift = |time| Event::new(time, Severity::Warning, EventKind::DataDrift, "feature `exit_rate`");
///
/// assert!(policy.step(&mut state, at(0), &[drift(at(0))]).is_empty(), "one window may be chance");
/// assert_eq!(policy.step(&mut state, at(1), &[drift(at(1))]).len(), 1);
/// assert!(policy.step(&mut state, at(2), &[drift(at(2))]).is_empty(), "told a minute ago");
/// assert_eq!(policy.step(&mut state, at(62), &[drift(at(62))]).len(), 1, "it lasts");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertPolicy {
    /// Checks in a row with the event before it is told, from 1.
    pub raise_after: u32,
    /// Checks in a row without the event before it counts as over, from 1.
    pub clear_after: u32,
    /// How long to wait before telling again what has been told.
    pub cooldown: Duration,
}

impl Default for AlertPolicy {
    /// Tells at once, once a day, and forgets after two quiet checks.
    fn default() -> Self {
        Self { raise_after: 1, clear_after: 2, cooldown: Duration::from_secs(24 * 3600) }
    }
}

/// What the policy remembers: a plain value, to be kept between checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct AlertState {
    seen: BTreeMap<String, Seen>,
}

versioned!(AlertState, "alert state");

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    hits: u32,
    misses: u32,
    told: Option<(Timestamp, Severity)>,
}

impl AlertPolicy {
    /// The events of one check that should be told now, in their order.
    ///
    /// Events are the same if kind and subject are. Call it once a check, also when there are no events: that
    /// is how things come to an end. If the clock jumps back, the cooldown starts over from the new time.
    pub fn step(&self, state: &mut AlertState, now: Timestamp, events: &[Event]) -> Vec<Event> {
        let mut worst: BTreeMap<String, Severity> = BTreeMap::new();
        for event in events {
            let severity = worst.entry(key(event.kind, &event.subject)).or_insert(event.severity);
            *severity = event.severity.max(*severity);
        }
        state.seen.retain(|key, seen| {
            if worst.contains_key(key) {
                return true;
            }
            seen.hits = 0;
            seen.misses = seen.misses.saturating_add(1);
            seen.misses < self.clear_after
        });
        let mut tell: BTreeMap<String, bool> = BTreeMap::new();
        for (key, severity) in worst {
            let seen = state.seen.entry(key.clone()).or_insert(Seen { hits: 0, misses: 0, told: None });
            seen.hits = seen.hits.saturating_add(1);
            seen.misses = 0;
            let due = match &mut seen.told {
                None => seen.hits >= self.raise_after,
                Some((time, told)) => {
                    *time = (*time).min(now);
                    severity > *told || now.saturating_since(*time) >= self.cooldown
                }
            };
            if due {
                seen.told = Some((now, severity));
            }
            tell.insert(key, due);
        }
        let is_told = |event: &&Event| tell.get(&key(event.kind, &event.subject)).copied().unwrap_or(false);
        events.iter().filter(is_told).cloned().collect()
    }
}

impl AlertState {
    /// What has been told and is not over: kind and subject in one text.
    pub fn active(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().filter(|(_, seen)| seen.told.is_some()).map(|(key, _)| key.as_str())
    }
}

fn key(kind: EventKind, subject: &str) -> String {
    format!("{kind} {subject}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000)
    }

    fn event(minute: i64, severity: Severity) -> Event {
        Event::new(at(minute), severity, EventKind::DataDrift, "x")
    }

    #[test]
    fn flapping_neither_clears_nor_floods() {
        let policy = AlertPolicy { raise_after: 1, clear_after: 2, cooldown: Duration::from_secs(86_400) };
        let mut state = AlertState::default();
        let told = (0..20)
            .map(|minute| {
                let events = if minute % 2 == 0 { vec![event(minute, Severity::Warning)] } else { vec![] };
                policy.step(&mut state, at(minute), &events).len()
            })
            .sum::<usize>();
        assert_eq!(told, 1);
        assert_eq!(state.active().collect::<Vec<_>>(), ["data_drift x"]);
        policy.step(&mut state, at(20), &[]);
        policy.step(&mut state, at(21), &[]);
        assert_eq!(state.active().count(), 0);
        assert_eq!(policy.step(&mut state, at(22), &[event(22, Severity::Warning)]).len(), 1);
    }

    #[test]
    fn worse_is_told_at_once_and_a_clock_set_back_does_not_silence() {
        let policy = AlertPolicy { cooldown: Duration::from_secs(600), ..AlertPolicy::default() };
        let mut state = AlertState::default();
        assert_eq!(policy.step(&mut state, at(100), &[event(100, Severity::Warning)]).len(), 1);
        assert_eq!(policy.step(&mut state, at(101), &[event(101, Severity::Critical)]).len(), 1);
        assert_eq!(policy.step(&mut state, at(0), &[event(0, Severity::Critical)]).len(), 0);
        assert_eq!(policy.step(&mut state, at(10), &[event(10, Severity::Critical)]).len(), 1);
    }

    #[test]
    fn the_state_survives_storage() {
        let mut state = AlertState::default();
        AlertPolicy::default().step(&mut state, at(1), &[event(1, Severity::Warning)]);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<AlertState>(&json).unwrap(), state);
    }
}
