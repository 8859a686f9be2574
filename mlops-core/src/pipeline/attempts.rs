//! The attempts of one execution, and the waits between them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::artifact::Erased;
use super::context::{Context, is_end_of_run, operation_id};
use super::engine::{Done, Halt};
use super::observer::Notice;
use super::unit::{Unit, panicked};
use crate::run::StepState;
use crate::{Digest, Error, ErrorKind, Result};

impl Unit<'_> {
    pub(super) fn compute(&self, key: Digest) -> Result<Done, Halt> {
        self.engine.commit_hits(false)?;
        let scope = &self.engine.scope;
        let name = self.name();
        let inputs: Vec<Erased> = self.inputs.iter().map(|input| input.erased.clone()).collect();
        let begun_ns = scope.clock.monotonic_ns();
        let mut started_ns = begun_ns;
        let mut retried = vec![0; self.node.step.retries.len()];
        // How the last attempt failed by itself.
        let mut failure = None;
        for attempt in 1.. {
            if scope.cancel.is_cancelled() {
                return Err(Halt::Cancelled);
            }
            if scope.is_over_in(Duration::ZERO) {
                return Err(Halt::TimedOut { step: name, error: failure, attempts: attempt - 1 });
            }
            scope.notify(&Notice::StepStarted { step: &name, attempt });
            let deadline = self.node.step.timeout.map(|limit| started_ns.saturating_add(nanos(limit)));
            let context = Context {
                scope: scope.clone(),
                step: name.clone(),
                attempt,
                deadline_ns: deadline,
                metrics: Mutex::default(),
            };
            let outcome = self.attempt(&context, &inputs, deadline);
            let error = match outcome {
                Ok(outputs) => {
                    let duration_us = scope.clock.monotonic_ns().saturating_sub(started_ns) / 1_000;
                    let metrics = context.metrics.into_inner().unwrap_or_else(PoisonError::into_inner);
                    let done = Done {
                        key: Some(key),
                        metrics,
                        attempts: attempt,
                        duration_us,
                        ..Done::with(StepState::Computed, Vec::new())
                    };
                    return self.keep(done, outputs).map_err(|error| self.halt(name, error, attempt));
                }
                Err(error) => error,
            };
            let elapsed = Duration::from_nanos(scope.clock.monotonic_ns().saturating_sub(begun_ns));
            let wait = self.retry_in(&error, &mut retried, elapsed).filter(|_| !scope.cancel.is_cancelled());
            let retry_in = wait.filter(|wait| !scope.is_over_in(*wait));
            scope.notify(&Notice::AttemptFailed { step: &name, attempt, error: &error, retry_in });
            match retry_in {
                Some(wait) => {
                    match &self.engine.runner.sleep {
                        Some(sleep) => sleep(wait),
                        None => scope.cancel.wait(wait),
                    }
                    started_ns = scope.clock.monotonic_ns();
                    failure = Some(error);
                }
                None if scope.cancel.is_cancelled() => return Err(Halt::Cancelled),
                None if is_end_of_run(&error) && scope.is_over_in(Duration::ZERO) => {
                    return Err(Halt::TimedOut { step: name, error: failure, attempts: attempt });
                }
                None if wait.is_some() => {
                    return Err(Halt::TimedOut { step: name, error: Some(error), attempts: attempt });
                }
                None => return Err(Halt::Failed { step: name, error, attempts: attempt }),
            }
        }
        Err(Error::internal(format!("step `{name}` ran out of attempt numbers")).into())
    }

    fn attempt(&self, context: &Context, inputs: &[Erased], deadline: Option<u64>) -> Result<Vec<Erased>> {
        #[cfg(feature = "telemetry")]
        let _span = {
            let (step, attempt) = (&*context.step, context.attempt);
            tracing::info_span!(parent: &self.engine.span, "pipeline_step", step, attempt).entered()
        };
        let result = catch_unwind(AssertUnwindSafe(|| (self.call)(context, inputs)));
        let outputs = result.unwrap_or_else(|panic| Err(panicked("it", &*panic)))?;
        if deadline.is_some_and(|deadline| context.scope.clock.monotonic_ns() > deadline) {
            let limit = self.node.step.timeout.unwrap_or_default();
            return Err(Error::unavailable(format!(
                "step `{}` took longer than its timeout of {limit:?}: its result is refused",
                context.step
            )));
        }
        Ok(outputs)
    }

    /// The wait before the next attempt, if the budget of this kind of error has one left.
    fn retry_in(&self, error: &Error, retried: &mut [u32], elapsed: Duration) -> Option<Duration> {
        let retries = &self.node.step.retries;
        let place = retries.iter().position(|(kind, _)| *kind == error.kind())?;
        let ((_, retry), used) = (retries.get(place)?, retried.get_mut(place)?);
        *used += 1;
        let scope = &self.engine.scope;
        let chance = scope.seed.derive(&operation_id(&scope.pipeline, &scope.run, &self.name()).to_string());
        let wait = retry.jittered_wait(*used, chance);
        let in_time = retry.expires_after.is_none_or(|limit| elapsed.saturating_add(wait) <= limit);
        (*used <= retry.times && in_time).then_some(wait)
    }

    fn halt(&self, step: Arc<str>, error: Error, attempts: u32) -> Halt {
        match error.kind() {
            ErrorKind::Invalid => Halt::Failed { step, error, attempts },
            _ => Halt::Broken(error),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
