//! What starts a run, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EventKind, Severity, Timestamp};

/// What starts a run. The default starts runs by hand alone.
///
/// ```
/// # #[cfg(feature = "cron")] {
/// use std::time::Duration;
///
/// use mlops_core::trigger::{Schedule, TriggerPolicy};
///
/// let every_night = TriggerPolicy {
///     schedule: Some(Schedule::Cron("0 3 * * *".parse()?)),
///     cooldown: Duration::from_secs(3600),
///     ..TriggerPolicy::default()
/// };
/// # assert!(every_night.schedule.is_some());
/// # }
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TriggerPolicy {
    /// Starts a run by the clock.
    pub schedule: Option<Schedule>,
    /// Starts a run once there are this many rows more than when the last run started.
    pub new_rows: Option<u64>,
    /// Starts a run at an event of these kinds.
    pub events: Vec<EventKind>,
    /// How severe such an event has to be at least.
    pub severity: Severity,
    /// How long after the first cause a run starts, so that causes that come together start one run.
    pub debounce: Duration,
    /// How long after the end of a run the next one starts at the earliest.
    pub cooldown: Duration,
    /// How often in a row a failed run is started again for the same causes, each time after the cooldown.
    pub retries: u32,
}

impl Default for TriggerPolicy {
    fn default() -> Self {
        Self {
            schedule: None,
            new_rows: None,
            events: Vec::new(),
            severity: Severity::Warning,
            debounce: Duration::ZERO,
            cooldown: Duration::ZERO,
            retries: 0,
        }
    }
}

/// When the clock starts a run. Of times that passed while nobody ticked, one counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// So long after the last due time; 0 is never due.
    Every(Duration),
    /// By a cron pattern.
    #[cfg(feature = "cron")]
    Cron(super::Cron),
}

impl Schedule {
    /// The first due time after `time`; none if there is none.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(Duration::ZERO) => None,
            Self::Every(period) => Some(time.saturating_add(*period)),
            #[cfg(feature = "cron")]
            Self::Cron(cron) => cron.next_after(time),
        }
    }
    /// The last due time up to `now`, where `due` is one: what is counted from next.
    pub(super) fn last_due(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            Self::Every(period) => {
                let (late, period) = (now.saturating_since(due).as_nanos(), period.as_nanos().max(1));
                // Shorter than `late`, which is a duration.
                let passed = u64::try_from(late / period * period / 1_000).unwrap_or(u64::MAX);
                due.saturating_add(Duration::from_micros(passed))
            }
            // The pattern itself holds the due times.
            #[cfg(feature = "cron")]
            Self::Cron(_) => now,
        }
    }
}
