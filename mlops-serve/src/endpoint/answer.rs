//! The request path.

use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::{Error, ModelVersion, Result};

use super::deployment::{Deployment, Origin, Slot};
use super::health::Permit;
use super::request::{Answer, Request};
use super::rescue::{Asked, Source};
use super::{Endpoint, Model, isolate};
use crate::batch::Call;
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
                Source::Model(model, call) => model.score_call(row, call),
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
    /// candidates as rows, each record names its own; otherwise it names all. Whether a score is a yes tells
    /// [`Origin::decides`] of what this gives.
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
                Source::Model(model, call) => model.score_rows_call(rows, scores, call),
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
                Source::Model(model, call) => model.run_call(inputs, outputs, call),
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
        let begin_ns = match call.map(|call| self.in_time(call)) {
            None => None,
            Some(Ok(begin_ns)) => begin_ns,
            Some(Err(error)) => return self.turn_away(slot, call, score, error),
        };
        let champion = std::ptr::eq(slot, &deployment.arms[0]);
        match self.attempt(slot, champion, |model| score(Source::Model(model, call))) {
            (permit, Ok(value)) => {
                let latency_ns = self.latency_ns(start_ns);
                slot.counters.answered(latency_ns, false);
                self.succeeded(slot, permit);
                Ok((value, Arc::clone(&slot.origin), latency_ns))
            }
            (permit, Err(error)) if call.is_some_and(Call::is_cancelled) => {
                self.blame(slot, start_ns, permit, &error);
                Err(error)
            }
            (permit, Err(error)) => {
                let asked = Asked { call, begin_ns, start_ns };
                self.rescue(deployment, slot, asked, score, permit, error)
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

#[cold]
fn out_of_service(version: &ModelVersion) -> Error {
    Error::unavailable(format!(
        "{version} is out of service after failures in a row: `Endpoint::stats` has the last"
    ))
}

pub(super) fn to_us(ns: Option<u64>) -> f64 {
    ns.map_or(0.0, |ns| ns as f64 / 1e3)
}
