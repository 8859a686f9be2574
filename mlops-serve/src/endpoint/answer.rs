//! The request path.

use std::cell::RefCell;
use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::{Error, ErrorKind, ModelVersion, Result};

use super::deployment::{Deployment, Origin, Slot};
use super::health::Permit;
use super::remembered::Remembered;
use super::request::{Answer, Request};
use super::{Endpoint, Model, isolate};
use crate::Overloaded;
use crate::batch::Call;
use crate::post::Threshold;
use crate::tensor::{TensorBuf, TensorView};

impl Endpoint {
    /// Scores one row.
    ///
    /// # Errors
    /// `Unavailable` if there is no model, `Invalid` if the row does not fit, `Unsupported` if the model does
    /// not take rows; `Data` or `Internal` if the champion itself fails. Another arm's failure is no error:
    /// the champion answers.
    #[inline]
    pub fn score<'a>(&self, request: impl Into<Request<'a>>, row: &[Value<'_>]) -> Result<Answer> {
        let request = request.into();
        let start_ns = self.start_ns();
        let current = self.current.load();
        let Some(deployment) = current.as_ref() else { return Err(self.not_ready()) };
        let slot = deployment.slot(&request);
        let (score, origin, latency_ns) =
            self.answer(deployment, slot, request.call, start_ns, |source| match source {
                Source::Model(model) => model.score_call(row, request.call),
                Source::Remembered(answers) => answers.score(row),
                Source::Default(score) => Ok(score),
            })?;
        if let Some(remembered) = self.remembered.as_ref().filter(|_| !origin.fallback) {
            remembered.put(row, score, &origin);
        }
        let decision = origin.decides(score);
        let answer = Answer { score, decision, origin, latency_us: to_us(latency_ns) };
        self.record(deployment, &request, row, &answer);
        Ok(answer)
    }

    /// Scores many rows for one request, which all fall into its arm: one candidate a row, for instance.
    /// The scores are appended to `scores`; on an error nothing is.
    ///
    /// The sample takes all rows of a request or none, under the ids that [`Request::row_id`] gives; a rule
    /// ([`CaptureRule`](crate::capture::CaptureRule)) looks at each row for itself. If there are as many
    /// candidates as rows, each record names its own; otherwise it names all.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn score_rows<'a>(
        &self,
        request: impl Into<Request<'a>>,
        rows: &[&[Value<'_>]],
        scores: &mut Vec<f64>,
    ) -> Result<Arc<Origin>> {
        let start_ns = self.start_ns();
        let current = self.current.load();
        let Some(deployment) = current.as_ref() else { return Err(self.not_ready()) };
        let request = request.into();
        let slot = deployment.slot(&request);
        let before = scores.len();
        let ((), origin, latency_ns) =
            self.answer(deployment, slot, request.call, start_ns, |source| match source {
                Source::Model(model) => model.score_rows_call(rows, scores, request.call),
                Source::Remembered(answers) => {
                    let found = rows.iter().map(|row| answers.score(row)).collect::<Result<Vec<_>>>()?;
                    scores.extend(found);
                    Ok(())
                }
                Source::Default(score) => {
                    scores.extend(rows.iter().map(|_| score));
                    Ok(())
                }
            })?;
        let scores = &scores[before..];
        if let Some(remembered) = self.remembered.as_ref().filter(|_| !origin.fallback) {
            rows.iter().zip(scores).for_each(|(row, score)| remembered.put(row, *score, &origin));
        }
        self.record_rows(deployment, &request, rows, scores, &origin, latency_ns);
        Ok(origin)
    }

    /// Runs tensors through the model of the request's arm, as [`Model::run`] does: for models that take or
    /// give more than rows and scores. `outputs` may hold anything before.
    ///
    /// Arms, fall-back to other models, counting and health are those of [`score`](Self::score). Remembered
    /// answers and the default score are not tensors: without a model that answers there is an error.
    /// Captured is each row: the cells of its inputs, one input after the other, and the numbers of its
    /// outputs, texts left out; its id is that of [`Request::row_id`]. A NaN in an input is a missing cell. A row
    /// with a whole number beyond 2^53 among its outputs, which no float holds, is rejected and counted.
    ///
    /// # Errors
    /// `Unavailable` if there is no model, `Invalid` if the inputs do not fit; `Data` or `Internal` if the
    /// champion itself fails.
    pub fn run<'a>(
        &self,
        request: impl Into<Request<'a>>,
        inputs: &[TensorView<'_>],
        outputs: &mut Vec<TensorBuf>,
    ) -> Result<Arc<Origin>> {
        let start_ns = self.start_ns();
        let current = self.current.load();
        let Some(deployment) = current.as_ref() else { return Err(self.not_ready()) };
        let request = request.into();
        let slot = deployment.slot(&request);
        let ((), origin, latency_ns) =
            self.answer(deployment, slot, request.call, start_ns, |source| match source {
                Source::Model(model) => model.run_call(inputs, outputs, request.call),
                Source::Remembered(_) | Source::Default(_) => {
                    Err(Error::unavailable("no tensors stand in for those of a model"))
                }
            })?;
        self.record_tensors(deployment, &request, inputs, outputs, &origin, latency_ns);
        Ok(origin)
    }

    /// Lets the arm's model answer, or what can in its place if it fails, and counts.
    #[inline]
    fn answer<T>(
        &self,
        deployment: &Deployment,
        slot: &Slot,
        call: Option<&Call<'_>>,
        start_ns: Option<u64>,
        mut score: impl FnMut(Source<'_>) -> Result<T>,
    ) -> Result<(T, Arc<Origin>, Option<u64>)> {
        if let Some(error) = call.and_then(|call| self.is_late(call)) {
            return self.turn_away(slot, call, start_ns, score, error);
        }
        let champion = std::ptr::eq(slot, &deployment.arms[0]);
        match self.attempt(slot, champion, |model| score(Source::Model(model))) {
            (permit, Ok(value)) => {
                let latency_ns = self.latency_ns(start_ns);
                slot.counters.answered(latency_ns, false);
                self.succeeded(slot, permit);
                Ok((value, Arc::clone(&slot.origin), latency_ns))
            }
            (permit, Err(error)) => {
                // Nobody waits for an answer, and nobody is to blame.
                if call.is_some_and(Call::is_cancelled) {
                    return Err(error);
                }
                self.rescue(deployment, slot, start_ns, score, permit, error)
            }
        }
    }

    /// Asks the arm's own model, if it may be asked.
    #[inline]
    pub(super) fn attempt<T>(
        &self,
        slot: &Slot,
        champion: bool,
        score: impl FnOnce(&Model) -> Result<T>,
    ) -> (Permit, Result<T>) {
        let model = &*slot.model;
        let permit = model.health.allows(&self.health, champion, || self.clock.monotonic_ns());
        let result = match permit {
            Permit::No => Err(out_of_service(model.version())),
            Permit::Yes | Permit::Try => isolate(model.version(), || score(model)),
        };
        (permit, result)
    }

    #[cold]
    fn rescue<T>(
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
    fn is_late(&self, call: &Call<'_>) -> Option<Error> {
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
    fn turn_away<T>(
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

    #[inline]
    fn start_ns(&self) -> Option<u64> {
        self.timed.then(|| self.clock.monotonic_ns())
    }

    #[inline]
    pub(super) fn latency_ns(&self, start_ns: Option<u64>) -> Option<u64> {
        start_ns.map(|start_ns| self.clock.monotonic_ns().saturating_sub(start_ns))
    }

    #[cold]
    pub(super) fn not_ready(&self) -> Error {
        Error::unavailable(format!("endpoint `{}` has no model yet: deploy one", self.name()))
    }
}

impl Deployment {
    #[inline]
    pub(super) fn arm(&self, request: &Request<'_>) -> usize {
        match request.key {
            Some(key) => self.split.assign(key),
            None => self.split.assign(&request.id.as_u128().to_le_bytes()),
        }
    }

    #[inline]
    fn slot(&self, request: &Request<'_>) -> &Slot {
        &self.arms[self.arm(request)]
    }
}

/// What answers.
enum Source<'a> {
    Model(&'a Model),
    /// No model can: what equal rows were answered before.
    Remembered(&'a Answers<'a>),
    /// No model can: this score is the answer.
    Default(f64),
}

/// Remembered answers, and where the last one that was asked for came from.
struct Answers<'a> {
    remembered: &'a Remembered,
    origin: RefCell<Arc<Origin>>,
}

impl Answers<'_> {
    fn score(&self, row: &[Value<'_>]) -> Result<f64> {
        let found = self.remembered.get(row);
        let (score, origin) =
            found.ok_or_else(|| Error::unavailable("no answer to this row is remembered"))?;
        self.origin.replace(origin);
        Ok(score)
    }
}

#[cold]
fn out_of_service(version: &ModelVersion) -> Error {
    Error::unavailable(format!(
        "{version} is out of service after failures in a row: `Endpoint::stats` has the last"
    ))
}

pub(super) fn to_us(ns: Option<u64>) -> f64 {
    ns.map_or(0.0, |ns| ns as f64 / 1e3)
}
