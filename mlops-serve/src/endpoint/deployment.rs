//! Which models answer at one moment: what a swap swaps.

use std::sync::{Arc, Mutex, PoisonError};

use mlops_core::{Error, ModelVersion, Result, Rounded};
use serde::Serialize;

use super::{Model, Shadow};
use crate::Split;
use crate::latency::AtomicLatencies;
use crate::post::Threshold;
use crate::rollout::Traffic;
use crate::sync::atomic::{AtomicU64, Ordering};

/// An immutable set of arms. Requests hold on to it while they are answered.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) split: Split,
    /// The first arm is the one that helps out when another fails.
    pub(super) arms: Vec<Slot>,
    /// What helps out when the first arm fails.
    pub(super) previous: Option<Arc<Model>>,
    pub(super) shadows: Vec<Arc<Shadow>>,
}

/// One arm.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) model: Arc<Model>,
    pub(super) origin: Arc<Origin>,
    pub(super) counters: Arc<Counters>,
}

/// Where an answer comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Origin {
    /// The arm that the request fell into.
    pub arm: String,
    /// The probability with which it fell into that arm.
    pub propensity: f64,
    /// The version that answered; version 0 of the arm's model if it was the default score.
    pub version: ModelVersion,
    /// Whether the arm's own model failed and something else answered in its place.
    pub fallback: bool,
    /// The threshold of the version that answered, for a default score that of the arm's model; none if it decides
    /// nothing.
    pub threshold: Option<Threshold>,
}

impl Origin {
    /// Whether this score, one of the answers that came from here, is a yes; `None` without a threshold.
    pub fn decides(&self, score: f64) -> Option<bool> {
        self.threshold.map(|threshold| threshold.decides(score))
    }
}

/// What one arm did at one propensity.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Those without a latency.
    untimed: AtomicU64,
    failures: AtomicU64,
    latencies: AtomicLatencies,
    last_failure: Mutex<Option<String>>,
}

/// An arm to be deployed.
#[derive(Clone, Debug)]
pub struct ArmSpec {
    /// Its name, unique in the endpoint.
    pub name: String,
    /// What answers in it.
    pub model: Arc<Model>,
    /// Its share of the traffic, relative to the other arms.
    pub weight: f64,
}

impl ArmSpec {
    /// An arm.
    pub fn new(name: impl Into<String>, model: Arc<Model>, weight: f64) -> Self {
        Self { name: name.into(), model, weight }
    }
}

impl Deployment {
    pub(super) fn new(
        salt: &str,
        arms: Vec<ArmSpec>,
        previous: Option<Arc<Model>>,
        shadows: Vec<Arc<Shadow>>,
    ) -> Result<Self> {
        let split = Split::new(salt, arms.iter().map(|arm| (arm.name.as_str(), arm.weight)))?;
        let slot = |(index, ArmSpec { name, model, .. }): (usize, ArmSpec)| {
            let origin = Origin {
                arm: name,
                propensity: split.propensity(index),
                version: model.version().clone(),
                fallback: false,
                threshold: model.threshold(),
            };
            Slot { model, origin: origin.into(), counters: Arc::default() }
        };
        let arms = arms.into_iter().enumerate().map(slot).collect();
        Ok(Self { split, arms, previous, shadows })
    }

    /// Whether requests would see no difference: the same models in the same arms with the same shares.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Slot, &Slot)| {
            let (Origin { arm, propensity, .. }, theirs) = (&*one.origin, &*other.origin);
            Arc::ptr_eq(&one.model, &other.model) && *arm == theirs.arm && *propensity == theirs.propensity
        };
        self.arms.len() == other.arms.len() && self.arms.iter().zip(&other.arms).all(is_same)
    }

    /// The models of its arms, and the one before them.
    pub(super) fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.arms.iter().map(|slot| &slot.model).chain(&self.previous)
    }

    /// Who answers, for people.
    pub(super) fn describe(&self) -> String {
        let arm = |slot: &Slot| {
            let Origin { arm, propensity, version, .. } = &*slot.origin;
            format!("{arm} {version} ({})", Rounded(*propensity))
        };
        let arms: Vec<String> = self.arms.iter().map(arm).collect();
        format!("answers with {}", arms.join(", "))
    }

    /// What it was made of.
    pub(super) fn specs(&self) -> Vec<ArmSpec> {
        let spec = |slot: &Slot| {
            ArmSpec::new(slot.origin.arm.clone(), Arc::clone(&slot.model), slot.origin.propensity)
        };
        self.arms.iter().map(spec).collect()
    }
}

impl Counters {
    #[inline]
    pub(super) fn answered(&self, latency_ns: Option<u64>, failed: bool) {
        match latency_ns {
            Some(ns) => self.latencies.record(ns),
            None => {
                self.untimed.fetch_add(1, Ordering::Relaxed);
            }
        }
        if failed {
            self.failures.fetch_add(1, Ordering::Release);
        }
    }

    /// Keeps why the model failed, unless another thread does so now.
    pub(super) fn failed_by(&self, error: &Error) {
        if let Ok(mut last) = self.last_failure.try_lock() {
            *last = Some(format!("{error:#}"));
        }
    }

    /// Takes out why the model failed last, since the last call.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes out what was counted since the last call.
    pub(super) fn take(&self) -> Traffic {
        // Failures first: the request of each is counted by then.
        let failures = self.failures.swap(0, Ordering::Acquire);
        let latencies = self.latencies.take();
        Traffic { requests: self.untimed.swap(0, Ordering::Relaxed) + latencies.count(), failures, latencies }
    }
}

/// Model checking: every interleaving of requests and of who counts is tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::is_alone;

    #[test]
    fn failures_are_never_more_than_requests_and_nothing_is_counted_twice() {
        loom::model(|| {
            let counters = Arc::new(Counters::default());
            let shared = Arc::clone(&counters);
            let request = thread::spawn(move || {
                shared.answered(Some(1), true);
                shared.answered(None, true);
            });
            let mut sum = Traffic::default();
            for _ in 0..2 {
                sum.merge(&counters.take());
                assert!(sum.failures <= sum.requests, "{sum:?}");
            }
            request.join().expect("no panic");
            sum.merge(&counters.take());
            assert_eq!((sum.requests, sum.failures), (2, 2));
        });
    }

    #[test]
    fn who_is_alone_with_a_deployment_sees_all_that_its_requests_counted() {
        loom::model(|| {
            let counters = Arc::new(Counters::default());
            let shared = Arc::clone(&counters);
            let request = thread::spawn(move || shared.answered(None, true));
            if is_alone(Arc::strong_count(&counters)) {
                let taken = counters.take();
                assert_eq!((taken.requests, taken.failures), (1, 1));
            }
            request.join().expect("no panic");
        });
    }
}
