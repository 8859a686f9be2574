//! What happened so far, and what is to be done now.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::TriggerPolicy;
use crate::{Event, Timestamp};

/// Why a run starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The schedule was due at this time.
    Schedule(Timestamp),
    /// So many rows came since the last run started.
    NewRows(u64),
    /// An event, in its own words.
    Event(String),
    /// A person asked for it.
    Manual(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule(due) => write!(f, "due at {due}"),
            Self::NewRows(rows) => write!(f, "{rows} new rows"),
            Self::Event(event) => f.write_str(event),
            Self::Manual(by) => write!(f, "asked for by {by}"),
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Start run number `run`, for these causes; then call [`TriggerState::started`].
    Start {
        /// The number of the run, from 1.
        run: u64,
        /// Why.
        causes: Vec<Cause>,
    },
    /// Nothing.
    Wait(Hold),
}

/// Why nothing starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// There is no cause; the schedule is due next at this time.
    NoCause {
        /// When to look again, if the clock alone decides.
        next: Option<Timestamp>,
    },
    /// A run is going on.
    Running,
    /// A run waits for people to answer its approvals.
    Approval,
    /// There is a cause; more may come until this time.
    Debounce(Timestamp),
    /// There is a cause, but the last run ended too short ago.
    Cooldown(Timestamp),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCause { next: None } => f.write_str("nothing asks for a run"),
            Self::NoCause { next: Some(time) } => write!(f, "nothing asks for a run before {time}"),
            Self::Running => f.write_str("a run is going on"),
            Self::Approval => f.write_str("a run waits for approval"),
            Self::Debounce(time) => write!(f, "more causes may come until {time}"),
            Self::Cooldown(time) => {
                write!(f, "the last run ended too short ago: the next may start at {time}")
            }
        }
    }
}

/// A run that was started and did not end yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Its number.
    pub run: u64,
    /// Why it was started.
    pub causes: Vec<Cause>,
}

/// What happened so far: a plain value that survives a restart.
///
/// A clock that is set back makes nothing wait longer: times that lie in the future count as now. A clock
/// that leaps ahead makes one due time of all that it skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TriggerState {
    /// The version of this format.
    pub format: u32,
    /// Up to when due times were counted.
    pub counted: Timestamp,
    /// The number of rows there are.
    pub rows: u64,
    /// The number of rows there were when the last run started.
    pub rows_at_start: u64,
    /// Causes that no run was started for yet.
    pub causes: Vec<Cause>,
    /// When the first of them came.
    pub since: Timestamp,
    /// The run that is going on.
    pub active: Option<Active>,
    /// When the last run ended.
    pub ended: Option<Timestamp>,
    /// How many runs failed in a row.
    pub failures: u32,
    /// How many runs were started.
    pub runs: u64,
}

impl TriggerState {
    /// The format version that this build writes.
    pub const FORMAT: u32 = 1;
    /// At most so many causes are kept for one run; further ones add nothing.
    pub const CAUSES_MAX: usize = 32;

    /// Nothing happened before `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            format: Self::FORMAT,
            counted: now,
            rows: 0,
            rows_at_start: 0,
            causes: Vec::new(),
            since: now,
            active: None,
            ended: None,
            failures: 0,
            runs: 0,
        }
    }

    /// Takes in an event; it is a cause if the policy names its kind and it is severe enough.
    pub fn event(&mut self, policy: &TriggerPolicy, now: Timestamp, event: &Event) {
        if policy.events.contains(&event.kind) && event.severity >= policy.severity {
            self.add(now, Cause::Event(event.to_string()));
        }
    }

    /// Takes in how many rows there are now. Fewer than before means that old ones were dropped; what is
    /// counted starts there.
    pub fn rows(&mut self, policy: &TriggerPolicy, now: Timestamp, rows: u64) {
        self.rows = rows;
        self.rows_at_start = self.rows_at_start.min(rows);
        let new = rows - self.rows_at_start;
        let is_known = self.causes.iter_mut().find_map(|cause| match cause {
            Cause::NewRows(known) => Some(known),
            _ => None,
        });
        match is_known {
            Some(known) if policy.new_rows.is_some_and(|limit| new >= limit.max(1)) => *known = new,
            Some(_) => self.causes.retain(|cause| !matches!(cause, Cause::NewRows(_))),
            None if policy.new_rows.is_some_and(|limit| new >= limit.max(1)) => {
                self.add(now, Cause::NewRows(new));
            }
            None => {}
        }
    }

    /// Takes in that a person asks for a run. It starts without debounce and cooldown, though not while one
    /// is going on.
    pub fn manual(&mut self, now: Timestamp, by: impl Into<String>) {
        let cause = Cause::Manual(by.into());
        self.causes.truncate(Self::CAUSES_MAX - 1);
        self.add(now, cause);
    }

    /// Counts due times up to now, and says what is to be done.
    pub fn tick(&mut self, policy: &TriggerPolicy, now: Timestamp) -> Action {
        self.counted = self.counted.min(now);
        self.since = self.since.min(now);
        self.ended = self.ended.map(|ended| ended.min(now));
        let next = policy.schedule.as_ref().and_then(|schedule| schedule.next_after(self.counted));
        if let (Some(schedule), Some(due)) = (&policy.schedule, next.filter(|due| *due <= now)) {
            self.counted = schedule.last_due(due, now);
            self.add(now, Cause::Schedule(due));
        }
        match self.hold(policy, now, next) {
            Some(hold) => Action::Wait(hold),
            None => Action::Start { run: self.runs + 1, causes: self.causes.clone() },
        }
    }

    /// Notes that the run was started for all causes there are.
    pub fn started(&mut self) {
        self.runs += 1;
        self.rows_at_start = self.rows;
        self.active = Some(Active { run: self.runs, causes: std::mem::take(&mut self.causes) });
    }

    /// Notes that the run ended. After a failure its causes come back, as often as the policy retries.
    pub fn ended(&mut self, policy: &TriggerPolicy, now: Timestamp, success: bool) {
        let Some(active) = self.active.take() else { return };
        self.ended = Some(now);
        if success {
            self.failures = 0;
            return;
        }
        self.failures += 1;
        if self.failures > policy.retries {
            self.failures = 0;
            return;
        }
        for cause in active.causes.into_iter().filter(|cause| !matches!(cause, Cause::Manual(_))) {
            self.add(now, cause);
        }
    }

    /// Notes that the run cannot go on, since the pipeline is another one now: its causes come back.
    pub fn superseded(&mut self, now: Timestamp) {
        let Some(active) = self.active.take() else { return };
        for cause in active.causes {
            self.add(now, cause);
        }
    }

    /// Notes that the run was given up, and its causes with it.
    pub fn abandoned(&mut self, now: Timestamp) {
        if self.active.take().is_some() {
            self.ended = Some(now);
            self.failures = 0;
        }
    }

    fn hold(&self, policy: &TriggerPolicy, now: Timestamp, next: Option<Timestamp>) -> Option<Hold> {
        if self.active.is_some() {
            return Some(Hold::Running);
        }
        if self.causes.is_empty() {
            return Some(Hold::NoCause { next });
        }
        if self.causes.iter().any(|cause| matches!(cause, Cause::Manual(_))) {
            return None;
        }
        let over =
            |since: Timestamp, wait: Duration| Some(since.saturating_add(wait)).filter(|end| *end > now);
        let cooldown = self.ended.and_then(|ended| over(ended, policy.cooldown));
        cooldown.map(Hold::Cooldown).or_else(|| over(self.since, policy.debounce).map(Hold::Debounce))
    }

    fn add(&mut self, now: Timestamp, cause: Cause) {
        if self.causes.is_empty() {
            self.since = now;
        }
        if self.causes.len() < Self::CAUSES_MAX && !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::Schedule;
    use crate::{EventKind, Severity};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn policy() -> TriggerPolicy {
        TriggerPolicy {
            schedule: Some(Schedule::Every(Duration::from_secs(100))),
            new_rows: Some(10),
            events: vec![EventKind::DataDrift],
            debounce: Duration::from_secs(5),
            cooldown: Duration::from_secs(50),
            ..TriggerPolicy::default()
        }
    }

    fn event(kind: EventKind, severity: Severity) -> Event {
        Event::new(at(0), severity, kind, "x")
    }

    #[test]
    fn events_count_by_kind_and_severity() {
        for (kind, severity, counts) in [
            (EventKind::DataDrift, Severity::Warning, true),
            (EventKind::DataDrift, Severity::Critical, true),
            (EventKind::DataDrift, Severity::Info, false),
            (EventKind::Bias, Severity::Critical, false),
        ] {
            let mut state = TriggerState::new(at(0));
            state.event(&policy(), at(1), &event(kind, severity));
            let started = matches!(state.tick(&policy(), at(6)), Action::Start { .. });
            assert_eq!(started, counts, "{kind} {severity}");
        }
    }

    #[test]
    fn causes_that_come_together_start_one_run() {
        let mut state = TriggerState::new(at(0));
        state.rows(&policy(), at(1), 9);
        assert_eq!(state.tick(&policy(), at(1)), Action::Wait(Hold::NoCause { next: Some(at(100)) }));
        state.rows(&policy(), at(2), 10);
        state.event(&policy(), at(3), &event(EventKind::DataDrift, Severity::Warning));
        state.rows(&policy(), at(4), 25);
        assert_eq!(state.tick(&policy(), at(6)), Action::Wait(Hold::Debounce(at(7))));
        let Action::Start { run, causes } = state.tick(&policy(), at(7)) else { panic!() };
        assert_eq!((run, causes.len(), &causes[0]), (1, 2, &Cause::NewRows(25)));
        state.started();
        assert_eq!(state.tick(&policy(), at(8)), Action::Wait(Hold::Running));
        state.rows(&policy(), at(9), 30);
        assert_eq!(state.causes, [], "5 rows since the run started");
    }

    #[test]
    fn a_late_tick_does_not_move_the_schedule() {
        let policy = TriggerPolicy { debounce: Duration::ZERO, cooldown: Duration::ZERO, ..policy() };
        let mut state = TriggerState::new(at(0));
        let mut due = Vec::new();
        for second in (0..1000).step_by(7) {
            if let Action::Start { causes, .. } = state.tick(&policy, at(second)) {
                due.extend(causes);
                state.started();
                state.ended(&policy, at(second), true);
            }
        }
        let hundreds = (1..10).map(|n| Cause::Schedule(at(n * 100))).collect::<Vec<_>>();
        assert_eq!(due, hundreds);
        state.tick(&policy, at(5555));
        assert_eq!(state.counted, at(5500), "of times that nobody ticked, one counts");
    }

    #[test]
    fn rows_that_were_dropped_again_are_no_cause() {
        let mut state = TriggerState::new(at(0));
        state.rows(&policy(), at(1), 20);
        assert_eq!(state.causes, [Cause::NewRows(20)]);
        state.rows(&policy(), at(2), 5);
        assert_eq!(state.causes, []);
    }

    #[test]
    fn cooldown_holds_all_but_people() {
        let mut state = TriggerState::new(at(0));
        state.manual(at(1), "ana");
        assert!(matches!(state.tick(&policy(), at(1)), Action::Start { .. }));
        state.started();
        state.manual(at(2), "bo");
        assert_eq!(state.tick(&policy(), at(2)), Action::Wait(Hold::Running));
        state.ended(&policy(), at(3), true);
        let Action::Start { causes, .. } = state.tick(&policy(), at(3)) else { panic!() };
        assert_eq!(causes, [Cause::Manual("bo".into())]);
        state.started();
        state.ended(&policy(), at(4), true);
        state.rows(&policy(), at(5), 100);
        assert_eq!(state.tick(&policy(), at(53)), Action::Wait(Hold::Cooldown(at(54))));
        assert!(matches!(state.tick(&policy(), at(54)), Action::Start { .. }));
    }

    #[test]
    fn a_failed_run_is_retried_as_often_as_asked() {
        let policy = TriggerPolicy { retries: 2, ..policy() };
        let mut state = TriggerState::new(at(0));
        state.rows(&policy, at(0), 10);
        let mut now = 5;
        for _ in 0..3 {
            assert!(matches!(state.tick(&policy, at(now)), Action::Start { .. }), "{now}");
            state.started();
            state.ended(&policy, at(now), false);
            now += 50;
        }
        assert!(state.causes.is_empty() && state.failures == 0);
    }

    #[test]
    fn a_clock_that_jumps_neither_storms_nor_stalls() {
        let policy = TriggerPolicy { debounce: Duration::ZERO, cooldown: Duration::ZERO, ..policy() };
        let mut state = TriggerState::new(at(1_000_000));
        assert_eq!(state.tick(&policy, at(0)), Action::Wait(Hold::NoCause { next: Some(at(100)) }));
        assert!(matches!(state.tick(&policy, at(100)), Action::Start { .. }), "not after a million seconds");
        state.started();
        state.ended(&policy, at(100), true);
        let Action::Start { causes, .. } = state.tick(&policy, at(900_000)) else { panic!() };
        assert_eq!(causes, [Cause::Schedule(at(200))], "one for all that was skipped");
        state.started();
        state.ended(&policy, at(900_000), true);
        assert!(matches!(state.tick(&policy, at(900_001)), Action::Wait(_)));
        let never = TriggerPolicy { schedule: Some(Schedule::Every(Duration::ZERO)), ..policy };
        assert_eq!(
            state.tick(&never, Timestamp::from_micros(i64::MAX)),
            Action::Wait(Hold::NoCause { next: None })
        );
    }

    #[derive(Clone, Debug)]
    enum Signal {
        Rows(u64),
        Drift,
        Manual,
        Tick,
        End(bool),
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn one_run_at_a_time_and_never_two_within_the_cooldown(
            signals in proptest::collection::vec((prop_oneof![
                (0..100_u64).prop_map(Signal::Rows), Just(Signal::Drift), Just(Signal::Manual),
                Just(Signal::Tick), any::<bool>().prop_map(Signal::End),
            ], 0..40_i64), 0..80)
        ) {
            let policy = TriggerPolicy { retries: 1, ..policy() };
            let mut state = TriggerState::new(at(0));
            let (mut now, mut last_end) = (0, None);
            for (signal, wait) in signals {
                now += wait;
                match signal {
                    Signal::Rows(rows) => state.rows(&policy, at(now), rows),
                    Signal::Drift => state.event(&policy, at(now), &event(EventKind::DataDrift, Severity::Warning)),
                    Signal::Manual => state.manual(at(now), "ana"),
                    Signal::Tick => {
                        let was_active = state.active.is_some();
                        if let Action::Start { run, causes } = state.tick(&policy, at(now)) {
                            prop_assert!(!was_active && !causes.is_empty() && run == state.runs + 1);
                            let by_hand = causes.iter().any(|cause| matches!(cause, Cause::Manual(_)));
                            prop_assert!(by_hand || last_end.is_none_or(|end| now - end >= 50));
                            state.started();
                        }
                    }
                    Signal::End(success) => {
                        if state.active.is_some() {
                            last_end = Some(now);
                        }
                        state.ended(&policy, at(now), success);
                    }
                }
                prop_assert!(state.causes.len() <= TriggerState::CAUSES_MAX);
                let json = serde_json::to_string(&state).unwrap();
                prop_assert_eq!(serde_json::from_str::<TriggerState>(&json).unwrap(), state.clone());
            }
        }
    }
}
