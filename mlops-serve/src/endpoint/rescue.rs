//! What answers when the model of an arm does not.

use std::cell::RefCell;
use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::{Error, ErrorKind, ModelVersion, Result};

use super::deployment::{Deployment, Origin, Slot};
use super::health::Permit;
use super::remembered::Remembered;
use super::{Endpoint, Model, isolate};
use crate::Overloaded;
use crate::batch::Call;
use crate::post::Threshold;

/// What answers.
pub(super) enum Source<'a> {
    Model(&'a Model),
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
        start_ns: Option<u64>,
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
            match isolate(model.version(), || score(Source::Model(model))) {
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
        let latency_ns = self.latency_ns(start_ns);
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

    /// Why no model needs to answer any more.
    pub(super) fn is_late(&self, call: &Call<'_>) -> Option<Error> {
        if call.is_cancelled() {
            return Some(Overloaded::error("the request was called off before a model was asked"));
        }
        let now_ns = call.is_urgent().then(|| self.clock.monotonic_ns())?;
        let late_us = now_ns.checked_sub(call.end_ns(|| now_ns)?)? as f64 / 1e3;
        Some(Overloaded::error(format!(
            "the deadline passed {late_us:.0} us before a model was asked, by the clock of endpoint `{}`: ask earlier, \
             or allow more time",
            self.name
        )))
    }

    /// Answers without a model.
    #[cold]
    pub(super) fn turn_away<T>(
        &self,
        slot: &Slot,
        call: Option<&Call<'_>>,
        start_ns: Option<u64>,
        score: impl FnMut(Source<'_>) -> Result<T>,
        error: Error,
    ) -> Result<(T, Arc<Origin>, Option<u64>)> {
        if call.is_some_and(Call::is_cancelled) {
            return Err(error);
        }
        let latency_ns = self.latency_ns(start_ns);
        slot.counters.answered(latency_ns, true);
        slot.counters.failed_by(&error);
        let Some((value, version, threshold)) = self.stand_in(slot, score) else { return Err(error) };
        let origin = Origin { version, fallback: true, threshold, ..(*slot.origin).clone() };
        Ok((value, Arc::new(origin), latency_ns))
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
