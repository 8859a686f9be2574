//! How often and after which waits a failed step is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A retry budget: attempts, growing waits, and an end in time.
///
/// The wait before retry `n` (from 1) is `wait * rate^(n-1)`, at most `wait_max`.
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
    /// No retry starts later than this after the first attempt started.
    pub expires_after: Option<Duration>,
}

impl Retry {
    /// This many retries after 1 s, 2 s, 4 s, .. up to 5 min, without an end in time.
    pub const fn times(times: u32) -> Self {
        Self {
            times,
            wait: Duration::from_secs(1),
            rate: 2.0,
            wait_max: Duration::from_secs(300),
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
        let none = Retry { wait: Duration::ZERO, rate: f64::INFINITY, ..Retry::times(1) };
        assert_eq!([none.wait_before(7), none.wait_before(2000)], [Duration::ZERO; 2]);
    }
}
