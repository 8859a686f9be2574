//! Time as a value that is passed in, so that a run replays.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A point in time: microseconds since the Unix epoch, the resolution of Arrow's `Timestamp(Microsecond)`.
///
/// Prints and serialises as RFC 3339 in UTC.
///
/// ```
/// use mlops_core::Timestamp;
///
/// let time: Timestamp = "2026-02-01T08:00:00Z".parse()?;
/// assert_eq!(time.as_micros(), 1_769_932_800_000_000);
/// assert_eq!(time.to_string(), "2026-02-01T08:00:00Z");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The point that lies this many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This time plus a duration; saturates at the ends of the range.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies in the future (a clock may jump back).
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => fmt::Display::fmt(&time, f),
            Err(_) => write!(f, "{}us since the epoch", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(micros) = text.strip_suffix("us since the epoch").and_then(|micros| micros.parse().ok()) {
            return Ok(Self(micros));
        }
        let time: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| {
            Error::invalid(format!("`{text}` is not a time like 2026-02-01T08:00:00Z")).with_source(error)
        })?;
        Ok(Self(time.as_microsecond()))
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Where time comes from.
///
/// Contract for implementers: [`now`](Clock::now) may jump, also backwards, as wall clocks do;
/// [`monotonic_ns`](Clock::monotonic_ns) never goes back. Both are called from many threads and on the
/// request path: no lock, no allocation, no I/O.
///
/// Contract for callers: `now` dates things for people. It never orders them and no safety rests on it.
/// Durations come from differences of `monotonic_ns`, whose zero means nothing.
///
/// The feature `conformance` has a suite that checks this contract.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock's time.
    fn now(&self) -> Timestamp;

    /// Nanoseconds since an arbitrary start.
    fn monotonic_ns(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn monotonic_ns(&self) -> u64 {
        (**self).monotonic_ns()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The machine's clock; its monotonic part starts at zero now.
    #[allow(clippy::disallowed_methods, reason = "the one place where ambient time enters")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where ambient time enters")]
    fn now(&self) -> Timestamp {
        let micros = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Timestamp(micros)
    }

    fn monotonic_ns(&self) -> u64 {
        let elapsed = self.start.elapsed();
        // Cheaper than by way of 128 bits; it saturates after 584 years.
        elapsed.as_secs().saturating_mul(1_000_000_000).saturating_add(elapsed.subsec_nanos().into())
    }
}

/// A clock that stands still until it is moved: for tests, simulations and replays.
///
/// ```
/// use mlops_core::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(Timestamp::EPOCH);
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now().as_micros(), 1_000_000);
/// assert_eq!(clock.monotonic_ns(), 1_000_000_000);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now_us: AtomicI64,
    monotonic_ns: std::sync::atomic::AtomicU64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { now_us: AtomicI64::new(start.0), monotonic_ns: 0.into() }
    }

    /// Moves both hands forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let _ = self
            .now_us
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(micros)));
        let _ = self
            .monotonic_ns
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(nanos)));
    }

    /// Sets the wall clock alone, forwards or backwards, as an operator or NTP would.
    pub fn set(&self, now: Timestamp) {
        self.now_us.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_us.load(Ordering::SeqCst))
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_over_the_whole_range() {
        for micros in [0, 1, -1, 1_769_932_800_123_456, i64::MAX, i64::MIN] {
            let time = Timestamp(micros);
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time, "{json}");
        }
        assert!("yesterday".parse::<Timestamp>().unwrap_err().to_string().contains("`yesterday`"));
    }

    #[test]
    fn a_clock_set_back_gives_no_negative_durations() {
        let clock = ManualClock::new(Timestamp(1_000));
        let before = clock.now();
        clock.set(Timestamp(0));
        assert_eq!(clock.now().saturating_since(before), Duration::ZERO);
    }
}
