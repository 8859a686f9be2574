//! What answers when the model of an arm does not.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{Error, ErrorKind, ModelVersion, Result};

use super::deployment::{Deployment, Origin, Slot};
use super::health::Permit;
use super::remembered::Remembered;
use super::{Endpoint, Model, isolate};
use crate::Overloaded;
use crate::batch::Call;
use crate::post::Threshold;

/// What a request asks for, and when it came.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) call: Option<&'a Call<'a>>,
    /// When a model was asked first, if the call has a deadline.
    pub(super) begin_ns: Option<u64>,
    /// When the request came, if the endpoint measures.
    pub(super) start_ns: Option<u64>,
}

/// What answers.
pub(super) enum Source<'a> {
    /// This one, as the call asks.
    Model(&'a Model, Option<&'a Call<'a>>),
    /// No model can: what equal rows were answered before.
    Remembered(&'a Answers<'a>),
    /// No model can: this score is the answer.
    Default(f64),
}

/// Remembered answers, and where the last one that was asked for came from.
pub(super) struct Answers<'a> {
    remembered: &'a Remembered,
    origin: RefCell<Arc<Origin>>,
}

impl Answers<'_> {
    pub(super) fn score(&self, row: &[Value<'_>]) -> Result<f64> {
        let found = self.remembered.get(row);
        let (score, origin) =
            found.ok_or_else(|| Error::unavailable("no answer to this row is remembered"))?;
        self.origin.replace(origin);
        Ok(score)
    }
}

impl Endpoint {
    #[cold]
    pub(super) fn rescue<T>(
        &self,
        deployment: &Deployment,
        slot: &Slot,
        asked: Asked<'_>,
        mut score: impl FnMut(Source<'_>) -> Result<T>,
        permit: Permit,
        error: Error,
    ) -> Result<(T, Arc<Origin>, Option<u64>)> {
        let champion = &deployment.arms[0].model;
        let others = [Some(champion), deployment.previous.as_ref()].into_iter().flatten();
        let others = others.filter(|model| !Arc::ptr_eq(model, &slot.model));
        // Too many calls at once say nothing about the model.
        let is_ill = permit != Permit::No && !Overloaded::is_cause_of(&error);
        let mut rescued = None;
        let (mut cause, mut error) = (None, error);
        for model in others {
            let call = asked.call.map(|call| call.after(self.since(asked.begin_ns)));
            if call.as_ref().is_some_and(|call| self.in_time(call).is_err()) {
                break;
            }
            match isolate(model.version(), || score(Source::Model(model, call.as_ref()))) {
                Ok(value) => {
                    rescued = Some((value, model.version().clone(), model.threshold()));
                    break;
                }
                Err(other) => {
                    let first = std::mem::replace(&mut error, other);
                    cause.get_or_insert(first);
                }
            }
        }
        let latency_ns = self.latency_ns(asked.start_ns);
        // A request that no model takes is the caller's mistake and says nothing about the arm.
        if rescued.is_none() && error.kind() == ErrorKind::Invalid {
            return Err(error);
        }
        slot.counters.answered(latency_ns, true);
        if permit != Permit::No {
            slot.counters.failed_by(cause.as_ref().unwrap_or(&error));
        }
        if is_ill {
            self.failed(slot, permit, cause.as_ref().unwrap_or(&error));
        }
        let Some((value, version, threshold)) = rescued.or_else(|| self.stand_in(slot, score)) else {
            return Err(error);
        };
        let origin = Origin { version, fallback: true, threshold, ..(*slot.origin).clone() };
        Ok((value, Arc::new(origin), latency_ns))
    }

    /// Counts a failure of a model for which nobody waits any more, unless it was just given up.
    #[cold]
    pub(super) fn blame(&self, slot: &Slot, start_ns: Option<u64>, permit: Permit, error: &Error) {
        if permit == Permit::No || error.kind() == ErrorKind::Invalid || Overloaded::is_cause_of(error) {
            return;
        }
        slot.counters.answered(self.latency_ns(start_ns), true);
        slot.counters.failed_by(error);
        self.failed(slot, permit, error);
    }

    /// When a model is asked, if that matters to the call; else why none needs to answer any more.
    pub(super) fn in_time(&self, call: &Call<'_>) -> Result<Option<u64>> {
        if call.is_cancelled() {
            return Err(Overloaded::error("the request was called off before a model was asked"));
        }
        if !call.is_urgent() {
            return Ok(None);
        }
        let now_ns = self.clock.monotonic_ns();
        let Some(late_ns) = call.end_ns(|| now_ns).and_then(|end_ns| now_ns.checked_sub(end_ns)) else {
            return Ok(Some(now_ns));
        };
        let late_us = late_ns as f64 / 1e3;
        Err(Overloaded::error(format!(
            "the deadline passed {late_us:.0} us before a model was asked, by the clock of endpoint `{}`: ask earlier, \
             or allow more time",
            self.name
        )))
    }

    fn since(&self, begin_ns: Option<u64>) -> Duration {
        let spent_ns = begin_ns.map_or(0, |begin_ns| self.clock.monotonic_ns().saturating_sub(begin_ns));
        Duration::from_nanos(spent_ns)
    }

    /// Answers without a model. The arm was not asked: that it came too late is neither its failure nor its speed.
    #[cold]
    pub(super) fn turn_away<T>(
        &self,
        slot: &Slot,
        call: Option<&Call<'_>>,
        score: impl FnMut(Source<'_>) -> Result<T>,
        error: Error,
    ) -> Result<(T, Arc<Origin>, Option<u64>)> {
        if call.is_some_and(Call::is_cancelled) {
            return Err(error);
        }
        self.late.fetch_add(1, Ordering::Relaxed);
        let Some((value, version, threshold)) = self.stand_in(slot, score) else { return Err(error) };
        let origin = Origin { version, fallback: true, threshold, ..(*slot.origin).clone() };
        Ok((value, Arc::new(origin), None))
    }

    /// What answers when no model does, with the version that gave the answer at first and its threshold.
    fn stand_in<T>(
        &self,
        slot: &Slot,
        mut score: impl FnMut(Source<'_>) -> Result<T>,
    ) -> Option<(T, ModelVersion, Option<Threshold>)> {
        if let Some(remembered) = &self.remembered {
            let answers = Answers { remembered, origin: RefCell::new(Arc::clone(&slot.origin)) };
            if let Ok(value) = score(Source::Remembered(&answers)) {
                let origin = answers.origin.into_inner();
                return Some((value, origin.version.clone(), origin.threshold));
            }
        }
        let value = score(Source::Default(self.default_score?)).ok()?;
        let nobody = ModelVersion::new(slot.model.version().name.clone(), 0);
        Some((value, nobody, slot.origin.threshold))
    }
}
