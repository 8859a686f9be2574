//! When a model that fails again and again is left alone.

use serde::{Deserialize, Serialize};

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// When a model that fails is taken out of service (circuit breaker), and when for good (quarantine).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthSettings {
    /// After so many failures in a row the model is not asked any more. Default 5.
    pub failures_in_row_max: u32,
    /// After so many microseconds one request tries it again. Default 1 000 000.
    pub cool_down_us: u64,
    /// After so many tries that failed, a model that is not the champion is in quarantine: not tried again,
    /// and its version not deployed again, until it is released. Default 3.
    pub tries_max: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { failures_in_row_max: 5, cool_down_us: 1_000_000, tries_max: 3 }
    }
}

impl HealthSettings {
    /// Sets the failures in a row.
    #[must_use]
    pub fn failures_in_row_max(mut self, failures: u32) -> Self {
        self.failures_in_row_max = failures;
        self
    }

    /// Sets the time between tries.
    #[must_use]
    pub fn cool_down_us(mut self, us: u64) -> Self {
        self.cool_down_us = us;
        self
    }

    /// Sets the number of tries.
    #[must_use]
    pub fn tries_max(mut self, tries: u32) -> Self {
        self.tries_max = tries;
        self
    }
}

/// Whether a model may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// It is in service.
    Yes,
    /// It is out of service, and this one request finds out whether it has recovered.
    Try,
    No,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing new.
    None,
    /// It was the last one allowed: the model is out of service.
    Opened,
    /// It was the last try allowed: a model that is not the champion is in quarantine.
    Quarantined,
}

/// The failures of one model. Lock-free; a healthy model costs one load a request.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures_in_row: AtomicU32,
    tries_failed: AtomicU32,
    closed_until_ns: AtomicU64,
}

impl Health {
    /// Whether the model may be asked now.
    #[inline]
    pub(super) fn allows(
        &self,
        settings: &HealthSettings,
        champion: bool,
        now_ns: impl FnOnce() -> u64,
    ) -> Permit {
        if self.is_in_service(settings) {
            return Permit::Yes;
        }
        if self.allows_a_try(settings, champion, now_ns()) { Permit::Try } else { Permit::No }
    }

    pub(super) fn is_in_service(&self, settings: &HealthSettings) -> bool {
        self.failures_in_row.load(Ordering::Relaxed) < settings.failures_in_row_max
    }

    #[cold]
    fn allows_a_try(&self, settings: &HealthSettings, champion: bool, now_ns: u64) -> bool {
        if self.is_quarantined(settings) && !champion {
            return false;
        }
        let until_ns = self.closed_until_ns.load(Ordering::Relaxed);
        let next_ns = now_ns.saturating_add(settings.cool_down_us.saturating_mul(1000));
        // Of many requests that come when the time is up, one tries.
        now_ns >= until_ns
            && self
                .closed_until_ns
                .compare_exchange(until_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Takes in a good answer. Gives whether it brought the model back into service.
    #[inline]
    pub(super) fn succeeded(&self, settings: &HealthSettings, permit: Permit) -> bool {
        // A slow answer that was asked for before the model was taken out of service does not bring it back.
        if self.failures_in_row.load(Ordering::Relaxed) > 0
            && (permit == Permit::Try || self.is_in_service(settings))
        {
            self.reset();
            return permit == Permit::Try;
        }
        false
    }

    #[cold]
    pub(super) fn failed(&self, settings: &HealthSettings, permit: Permit, now_ns: u64) -> Turn {
        let turn = if permit == Permit::Try {
            let tries = self.tries_failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if tries == settings.tries_max { Turn::Quarantined } else { Turn::None }
        } else if !self.is_in_service(settings) {
            // It was asked before it was taken out of service: nothing new.
            return Turn::None;
        } else {
            let failures = self.failures_in_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if failures < settings.failures_in_row_max {
                return Turn::None;
            }
            // Of failures that come at once, one is the last that was allowed.
            if failures == settings.failures_in_row_max { Turn::Opened } else { Turn::None }
        };
        let next_ns = now_ns.saturating_add(settings.cool_down_us.saturating_mul(1000));
        self.closed_until_ns.fetch_max(next_ns, Ordering::Relaxed);
        turn
    }

    pub(super) fn is_quarantined(&self, settings: &HealthSettings) -> bool {
        self.tries_failed.load(Ordering::Relaxed) >= settings.tries_max
            && self.failures_in_row.load(Ordering::Relaxed) >= settings.failures_in_row_max
    }

    pub(super) fn reset(&self) {
        self.failures_in_row.store(0, Ordering::Relaxed);
        self.tries_failed.store(0, Ordering::Relaxed);
        self.closed_until_ns.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_model_is_left_alone_tried_and_quarantined() {
        let settings = HealthSettings::default().failures_in_row_max(2).cool_down_us(1).tries_max(2);
        let health = Health::default();
        let allows = |now_ns| health.allows(&settings, false, || now_ns);
        let failed = |permit, now_ns| health.failed(&settings, permit, now_ns);
        assert_eq!(allows(0), Permit::Yes);
        assert_eq!(failed(Permit::Yes, 0), Turn::None);
        assert_eq!(allows(0), Permit::Yes);
        assert_eq!(failed(Permit::Yes, 0), Turn::Opened);
        assert_eq!(allows(999), Permit::No);
        assert_eq!(allows(1000), Permit::Try);
        assert_eq!(allows(1001), Permit::No, "one alone");
        assert_eq!(failed(Permit::Try, 1001), Turn::None);
        assert!(!health.is_quarantined(&settings));
        assert_eq!(allows(2001), Permit::Try);
        assert_eq!(failed(Permit::Try, 2002), Turn::Quarantined);
        assert!(health.is_quarantined(&settings));
        assert_eq!(allows(u64::MAX), Permit::No);
        assert_eq!(
            health.allows(&settings, true, || 1 << 40),
            Permit::Try,
            "a champion is always tried again"
        );
        health.reset();
        assert_eq!(allows(0), Permit::Yes);
    }

    #[test]
    fn answers_to_requests_from_before_change_nothing_while_it_is_out_of_service() {
        let settings = HealthSettings::default();
        let health = Health::default();
        let opened = (0..100).filter(|_| health.failed(&settings, Permit::Yes, 0) == Turn::Opened);
        assert_eq!(opened.count(), 1);
        assert!(!health.is_quarantined(&settings), "a burst is no row of tries");
        assert!(!health.succeeded(&settings, Permit::Yes));
        assert_eq!(health.allows(&settings, false, || 0), Permit::No);
        assert_eq!(health.allows(&settings, false, || 1 << 40), Permit::Try);
        assert!(health.succeeded(&settings, Permit::Try));
        assert_eq!(health.allows(&settings, false, || 0), Permit::Yes);
    }

    #[test]
    fn a_success_forgives() {
        let settings = HealthSettings::default().failures_in_row_max(2).cool_down_us(1);
        let health = Health::default();
        for round in 0..10 {
            assert_eq!(health.failed(&settings, Permit::Yes, round), Turn::None);
            assert!(!health.succeeded(&settings, Permit::Yes));
        }
        assert_eq!(health.allows(&settings, false, || 0), Permit::Yes);
    }
}

/// Model checking: every interleaving of the callers is tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::thread;

    use super::*;
    use crate::sync::Arc;

    fn settings() -> HealthSettings {
        HealthSettings::default().failures_in_row_max(2).cool_down_us(1).tries_max(2)
    }

    fn out_of_service() -> Health {
        let health = Health::default();
        let turns = [0; 2].map(|now_ns| health.failed(&settings(), Permit::Yes, now_ns));
        assert_eq!(turns, [Turn::None, Turn::Opened]);
        health
    }

    /// Runs two callers at once and gives what they gave.
    fn at_once<T: Send + 'static>(
        health: &Arc<Health>,
        call: fn(&Health) -> T,
        own: fn(&Health) -> T,
    ) -> [T; 2] {
        let shared = Arc::clone(health);
        let other = thread::spawn(move || call(&shared));
        [own(health), other.join().expect("no panic")]
    }

    #[test]
    fn of_failures_at_once_one_takes_the_model_out_of_service() {
        loom::model(|| {
            let health = Arc::new(Health::default());
            let fail = |health: &Health| health.failed(&settings(), Permit::Yes, 0);
            let turns = at_once(&health, fail, fail);
            assert_eq!(turns.iter().filter(|turn| **turn == Turn::Opened).count(), 1, "{turns:?}");
            assert_eq!(health.allows(&settings(), false, || 0), Permit::No);
        });
    }

    #[test]
    fn of_callers_at_once_one_tries() {
        loom::model(|| {
            let health = Arc::new(out_of_service());
            let ask = |health: &Health| health.allows(&settings(), false, || 1000);
            let permits = at_once(&health, ask, ask);
            assert_eq!(permits.iter().filter(|permit| **permit == Permit::Try).count(), 1, "{permits:?}");
        });
    }

    #[test]
    fn a_try_that_succeeds_and_late_failures_leave_no_model_shut_out() {
        loom::model(|| {
            let health = Arc::new(out_of_service());
            assert_eq!(health.allows(&settings(), false, || 1000), Permit::Try);
            let late = |health: &Health| {
                health.failed(&settings(), Permit::Yes, 1000);
            };
            let answered = |health: &Health| assert!(health.succeeded(&settings(), Permit::Try));
            at_once(&health, late, answered);
            // It may have begun to fail again; it is asked all the same, at once or after the time.
            assert_eq!(health.allows(&settings(), false, || 0), Permit::Yes);
            assert!(!health.is_quarantined(&settings()));
        });
    }

    #[test]
    fn failed_tries_add_up_to_one_quarantine() {
        loom::model(|| {
            let health = Arc::new(out_of_service());
            let fail = |health: &Health| health.failed(&settings(), Permit::Try, 1000);
            let turns = at_once(&health, fail, fail);
            assert_eq!(turns.iter().filter(|turn| **turn == Turn::Quarantined).count(), 1, "{turns:?}");
            assert!(health.is_quarantined(&settings()));
        });
    }
}
