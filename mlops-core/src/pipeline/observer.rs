//! Who is told what a run does: progress bars, logs, pagers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::run::{Run, RunStatus, StepRecord, StepState};
use crate::{Clock, Error, Event, EventKind, EventSink, Severity};

/// What just happened in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// The run starts or goes on.
    RunStarted {
        /// The pipeline.
        pipeline: &'a str,
        /// How many steps it has.
        steps: usize,
    },
    /// A step starts to compute.
    StepStarted {
        /// The step.
        step: &'a str,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// A step says how far it is.
    Progress {
        /// The step.
        step: &'a str,
        /// Parts done.
        done: u64,
        /// All parts.
        total: u64,
    },
    /// A step tells an event.
    Event {
        /// The step.
        step: &'a str,
        /// What it tells.
        event: &'a Event,
    },
    /// An attempt failed.
    AttemptFailed {
        /// The step.
        step: &'a str,
        /// Which attempt it was, from 1.
        attempt: u32,
        /// Why.
        error: &'a Error,
        /// The wait before the next attempt; none if there is no further one.
        retry_in: Option<Duration>,
    },
    /// A cached result could not be used, so the step computes again.
    CacheDamaged {
        /// The step.
        step: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// A step is settled: computed, taken from the cache, skipped or waiting.
    StepDone(&'a StepRecord),
    /// The run ended or was interrupted.
    RunDone(&'a Run),
}

/// Is told what a run does.
///
/// Contract for implementers: `observe` is called from the threads that run the steps, in order for each
/// step. It must not block for long and must not panic.
///
/// The feature `conformance` has a suite that checks this contract.
///
/// ```
/// use mlops_core::SystemClock;
/// use mlops_core::pipeline::{Notice, Observer, Pipeline, Runner};
/// use std::sync::Mutex;
///
/// #[derive(Debug, Default)]
/// struct Names(Mutex<Vec<String>>);
///
/// impl Observer for Names {
///     fn observe(&self, _run: &str, notice: &Notice<'_>) {
///         if let Notice::StepDone(step) = notice {
///             self.0.lock().unwrap().push(step.name.to_string());
///         }
///     }
/// }
///
/// let names = std::sync::Arc::new(Names::default());
/// let mut p = Pipeline::new("observed");
/// p.step("read", || Ok(1_u32), ());
/// Runner::new(SystemClock::new()).with_observer(names.clone()).run(&p, "1")?;
/// assert_eq!(*names.0.lock().unwrap(), ["read"]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Takes one notice of the run of this id.
    fn observe(&self, run: &str, notice: &Notice<'_>);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, run: &str, notice: &Notice<'_>) {
        (**self).observe(run, notice);
    }
}

/// Turns what a person or a policy should hear of into [`Event`]s: failures, damaged caches, open approvals,
/// the end of a run, and whatever steps emit.
#[derive(Debug)]
pub struct EventObserver {
    sink: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
}

impl EventObserver {
    /// Sends events to `sink`, dated by `clock`.
    pub fn new(sink: Arc<dyn EventSink>, clock: Arc<dyn Clock>) -> Self {
        Self { sink, clock }
    }

    fn emit(&self, run: &str, severity: Severity, subject: String, message: String) {
        let event = Event::new(self.clock.now(), severity, EventKind::Pipeline, subject);
        self.sink.emit(&event.message(message).detail("run", run));
    }
}

impl Observer for EventObserver {
    fn observe(&self, run: &str, notice: &Notice<'_>) {
        match notice {
            Notice::Event { event, .. } => self.sink.emit(event),
            Notice::AttemptFailed { step, attempt, error, retry_in } => {
                let severity = if retry_in.is_some() { Severity::Warning } else { Severity::Critical };
                let next = retry_in.map_or("it was the last".to_owned(), |wait| format!("next in {wait:?}"));
                let message = format!("attempt {attempt} failed, {next}: {error:#}");
                self.emit(run, severity, format!("step `{step}`"), message);
            }
            Notice::CacheDamaged { step, error } => {
                let message = format!("its cached result is damaged and is computed again: {error:#}");
                self.emit(run, Severity::Warning, format!("step `{step}`"), message);
            }
            Notice::StepDone(step) if step.state == StepState::Suspended => {
                let message = "waits for approval".to_owned();
                self.emit(run, Severity::Warning, format!("step `{}`", step.name), message);
            }
            Notice::RunDone(record) => {
                let (severity, message) = match &record.status {
                    RunStatus::Completed => (Severity::Info, "completed".to_owned()),
                    RunStatus::Stopped { step, reason } => {
                        (Severity::Info, format!("stopped at `{step}`: {reason}"))
                    }
                    RunStatus::Suspended { .. } => (Severity::Info, "suspended".to_owned()),
                    RunStatus::Rejected { step, by, comment } => {
                        (Severity::Info, format!("`{step}` was rejected by {by}: {comment}"))
                    }
                    RunStatus::Expired { step, deadline } => {
                        (Severity::Warning, format!("nobody answered `{step}` up to {deadline}"))
                    }
                    RunStatus::Cancelled => (Severity::Warning, "cancelled".to_owned()),
                    RunStatus::TimedOut { .. } => (Severity::Warning, record.status.to_string()),
                    RunStatus::Failed { step, error } => {
                        (Severity::Critical, format!("`{step}` failed: {error}"))
                    }
                };
                self.emit(run, severity, format!("pipeline `{}`", record.pipeline), message);
            }
            _ => {}
        }
    }
}
