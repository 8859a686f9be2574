//! When to train again: schedules, new rows, drift and decay, a person's word.
//!
//! A [`TriggerPolicy`] is data. [`TriggerState`] is what happened so far, a serde value. Both together, and
//! the time, decide; nothing here starts anything or looks at a clock. [`ContinuousTraining`] is the driver
//! that does: the host ticks it from whatever timer it has.
//!
//! ```
//! use mlops_core::trigger::{Action, Cause, TriggerPolicy, TriggerState};
//! use mlops_core::{Event, EventKind, Severity, Timestamp};
//! use std::time::Duration;
//!
//! let policy = TriggerPolicy {
//!     new_rows: Some(10_000),
//!     events: vec![EventKind::DataDrift, EventKind::ModelQuality],
//!     debounce: Duration::from_secs(60),
//!     cooldown: Duration::from_secs(3600),
//!     ..TriggerPolicy::default()
//! };
//! let second = |s: i64| Timestamp::from_micros(s * 1_000_000);
//! let mut state = TriggerState::new(second(0));
//!
//! let drift = Event::new(second(10), Severity::Warning, EventKind::DataDrift, "feature `exit_rate`");
//! state.event(&policy, second(10), &drift);
//! assert!(matches!(state.tick(&policy, second(11)), Action::Wait(_))); // debounce
//! assert!(matches!(state.tick(&policy, second(70)), Action::Start { .. }));
//! ```

#[cfg(feature = "cron")]
mod cron;
mod driver;
mod policy;
mod state;

#[cfg(feature = "cron")]
pub use cron::Cron;
pub use driver::{ContinuousTraining, Tick};
pub use policy::{Schedule, TriggerPolicy};
pub use state::{Action, Active, Cause, Hold, TriggerState};
