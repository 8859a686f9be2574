//! How often and after which waits a failed step is tried again.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::Seed;

/// A retry budget: attempts, growing waits, and an end in time.
///
/// The wait before retry `n` (from 1) is `wait * rate^(n-1)`, at most `wait_max`; with [`jitter`](Self::jitter) a random
/// share of it is left out, so that many clients do not come back at the same moment.
///
/// ```
/// use mlops_core::pipeline::Retry;
/// use std::time::Duration;
///
/// let retry = Retry { wait: Duration::from_secs(1), rate: 2.0, ..Retry::times(4) };
/// assert_eq!(retry.wait_before(1), Duration::from_secs(1));
/// assert_eq!(retry.wait_before(3), Duration::from_secs(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// How many retries after the first attempt.
    pub times: u32,
    /// The wait before the first retry.
    pub wait: Duration,
    /// By how much each wait exceeds the one before; below 1 or NaN counts as 1.
    pub rate: f64,
    /// The longest wait.
    pub wait_max: Duration,
    /// The share of each wait that chance decides, from 0 (none of it; so does NaN) to 1 (any wait up to the whole).
    #[serde(default)]
    pub jitter: f64,
    /// No retry starts later than this after the first attempt started.
    pub expires_after: Option<Duration>,
}

impl Retry {
    /// This many retries after 1 s, 2 s, 4 s, .. up to 5 min, without jitter and without an end in time.
    pub const fn times(times: u32) -> Self {
        Self {
            times,
            wait: Duration::from_secs(1),
            rate: 2.0,
            wait_max: Duration::from_secs(300),
            jitter: 0.0,
            expires_after: None,
        }
    }

    /// The wait before retry `retry`, counted from 1.
    pub fn wait_before(&self, retry: u32) -> Duration {
        if self.wait.is_zero() {
            return Duration::ZERO;
        }
        let growth = self.rate.max(1.0).powf(f64::from(retry.saturating_sub(1)));
        Duration::try_from_secs_f64(self.wait.as_secs_f64() * growth)
            .unwrap_or(self.wait_max)
            .min(self.wait_max)
    }

    /// The wait before retry `retry` with the jitter of this seed: evenly between `1 - jitter` of
    /// [`wait_before`](Self::wait_before) and the whole. A run takes the seed of run, step and item, so that it waits the
    /// same when it is repeated, and no two runs wait alike.
    ///
    /// ```
    /// use mlops_core::Seed;
    /// use mlops_core::pipeline::Retry;
    /// use std::time::Duration;
    ///
    /// let retry = Retry { jitter: 0.5, ..Retry::times(4) };
    /// let wait = retry.jittered_wait(3, Seed::new(7));
    /// assert!(Duration::from_secs(2) <= wait && wait <= Duration::from_secs(4));
    /// ```
    pub fn jittered_wait(&self, retry: u32, seed: Seed) -> Duration {
        let wait = self.wait_before(retry);
        let jitter = self.jitter.clamp(0.0, 1.0);
        if jitter.is_nan() || jitter <= 0.0 {
            return wait;
        }
        let chance: f64 = seed.derive(&retry.to_string()).rng().random();
        Duration::try_from_secs_f64(wait.as_secs_f64() * (1.0 - jitter * chance)).unwrap_or(wait).min(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_whatever_the_numbers() {
        for rate in [f64::NAN, f64::INFINITY, -3.0, 0.0, 1e300] {
            let retry = Retry { rate, ..Retry::times(9) };
            for n in [0, 1, 2, 1000, u32::MAX] {
                let wait = retry.wait_before(n);
                assert!(
                    wait >= retry.wait.min(retry.wait_max) && wait <= retry.wait_max,
                    "{rate} {n} {wait:?}"
                );
            }
        }
        for jitter in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 0.3, 1.0, 9.0, f64::INFINITY] {
            let retry = Retry { jitter, wait_max: Duration::MAX, ..Retry::times(9) };
            for n in [1, 5, 100, u32::MAX] {
                let (wait, nominal) = (retry.jittered_wait(n, Seed::new(1)), retry.wait_before(n));
                let least = nominal.as_secs_f64() * (1.0 - jitter.clamp(0.0, 1.0).max(0.0)) * 0.999;
                assert!(wait <= nominal && wait.as_secs_f64() >= least, "{jitter} {n} {wait:?}");
            }
        }
        let waits = |seed| {
            [1, 2, 3].map(|n| Retry { jitter: 1.0, ..Retry::times(9) }.jittered_wait(n, Seed::new(seed)))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        let none = Retry { wait: Duration::ZERO, rate: f64::INFINITY, ..Retry::times(1) };
        assert_eq!([none.wait_before(7), none.wait_before(2000)], [Duration::ZERO; 2]);
    }
}
