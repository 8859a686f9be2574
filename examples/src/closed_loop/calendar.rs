//! Simulated time: a month of traffic has 21 days, and labels are known a week later.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::{Clock, ManualClock, Result, SystemClock, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long after a session it is known whether it bought.
pub(super) const LABEL_DELAY: Duration = Duration::from_secs(7 * 24 * 3600);

/// The shop's clock: dates are simulated, so that a run replays; latencies are real.
#[derive(Clone, Debug)]
pub(super) struct ShopClock {
    date: Arc<ManualClock>,
    machine: SystemClock,
}

impl ShopClock {
    pub(super) fn new() -> Self {
        Self { date: Arc::new(ManualClock::new(Timestamp::EPOCH)), machine: SystemClock::new() }
    }

    pub(super) fn set(&self, date: Timestamp) {
        self.date.set(date);
    }
}

impl Clock for ShopClock {
    fn now(&self) -> Timestamp {
        self.date.now()
    }

    fn monotonic_ns(&self) -> u64 {
        self.machine.monotonic_ns()
    }
}

/// When a month begins; year 1 is 2026.
pub(super) fn month_start(year: usize, month: usize) -> Result<Timestamp> {
    format!("{:04}-{month:02}-01T00:00:00Z", 2025 + year).parse()
}

/// When session `index` of `count` of a month arrives.
pub(super) fn arrival(start: Timestamp, index: usize, count: usize) -> Timestamp {
    start.saturating_add(DAY.mul_f64(21.0 * index as f64 / count.max(1) as f64))
}

/// When a month is closed: all its labels are known.
pub(super) fn closing(start: Timestamp) -> Timestamp {
    start.saturating_add(DAY * 28)
}
