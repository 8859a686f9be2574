//! What a step may know of the run that it is part of.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::observer::{Notice, Observer};
use crate::{Clock, Digest, Digester, Error, Event, Result, Seed};

/// The run as a step sees it.
///
/// Parameters are not here: they are handles, so that the cache sees which step depends on which.
pub struct Context {
    pub(super) scope: Arc<Scope>,
    pub(super) step: Arc<str>,
    pub(super) attempt: u32,
    pub(super) deadline_ns: Option<u64>,
    pub(super) metrics: Mutex<BTreeMap<String, f64>>,
}

/// What all steps of one run share.
pub(super) struct Scope {
    pub(super) pipeline: Arc<str>,
    pub(super) run: String,
    pub(super) seed: Seed,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cancel: CancelToken,
    /// When the time of the run is over, by the monotonic clock.
    pub(super) deadline_ns: Option<u64>,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) secrets: Arc<BTreeMap<String, Secret>>,
}

impl Scope {
    /// Whether the time of the run is over after this wait.
    pub(super) fn is_over_in(&self, wait: Duration) -> bool {
        let after = || {
            let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            self.clock.monotonic_ns().saturating_add(wait)
        };
        self.deadline_ns.is_some_and(|deadline| after() > deadline)
    }

    pub(super) fn notify(&self, notice: &Notice<'_>) {
        for observer in &self.observers {
            observer.observe(&self.run, notice);
        }
    }
}

impl Context {
    /// The name of the step.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// The id of the run. A result that depends on it is wrong in the cache of the next run.
    pub fn run(&self) -> &str {
        &self.scope.run
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The step's own seed, derived from the seed of the run. The cache key of a step that takes the context
    /// contains the seed of the run.
    pub fn seed(&self) -> Seed {
        self.scope.seed.derive(&self.step)
    }

    /// The clock. Use it to measure; a result that depends on it is wrong in the cache, unless the step is
    /// [`always`](super::Step::always) run.
    pub fn clock(&self) -> &dyn Clock {
        &*self.scope.clock
    }

    /// Names this step of this run, the same over all attempts and resumes: hand it to the other side of an
    /// effect, so that it does the same work once.
    pub fn operation_id(&self) -> Digest {
        operation_id(&self.scope.pipeline, &self.scope.run, &self.step)
    }

    /// Fails if the run was cancelled, or the time of the step or of the run is over: call it where stopping is safe.
    /// Hand the error on, with [`context`](Error::context) if you like: by it the run knows why the step ended.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn checkpoint(&self) -> Result<()> {
        if self.scope.cancel.is_cancelled() {
            return Err(Error::unavailable("the run was cancelled: run it again to go on"));
        }
        if self.scope.is_over_in(Duration::ZERO) {
            return Err(Error::unavailable("the time of the run is over: run it again to go on")
                .with_source(RunIsOver));
        }
        if self.deadline_ns.is_some_and(|deadline| self.scope.clock.monotonic_ns() > deadline) {
            return Err(Error::unavailable("the time of the step is over: raise its timeout"));
        }
        Ok(())
    }

    /// Tells the observers how far the step is.
    pub fn progress(&self, done: u64, total: u64) {
        self.scope.notify(&Notice::Progress { step: &self.step, done, total });
    }

    /// Tells the observers what happened.
    pub fn emit(&self, event: &Event) {
        self.scope.notify(&Notice::Event { step: &self.step, event });
    }

    /// Reports a metric; it becomes part of the record of the run and of the cached result.
    pub fn metric(&self, name: impl Into<String>, value: f64) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value);
    }

    /// A secret that the runner holds. It is no part of any key, record or log: a step whose result depends
    /// on it says so by its [`version`](super::Step::version).
    ///
    /// # Errors
    /// `NotFound` if the runner has no secret of this name.
    pub fn secret(&self, name: &str) -> Result<&Secret> {
        let way_out = || Error::not_found(format!("no secret `{name}`: give it by `Runner::with_secret`"));
        self.scope.secrets.get(name).ok_or_else(way_out)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, step, attempt, .. } = self;
        f.debug_struct("Context")
            .field("run", &scope.run)
            .field("step", step)
            .field("attempt", attempt)
            .finish_non_exhaustive()
    }
}

/// The source of the error of a [`checkpoint`](Context::checkpoint) after the end of the run.
#[derive(Debug)]
struct RunIsOver;

impl fmt::Display for RunIsOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its request gave it no more")
    }
}

impl std::error::Error for RunIsOver {}

/// Whether a step ended since the time of its run is over.
pub(super) fn is_end_of_run(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<RunIsOver>() {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(super) fn operation_id(pipeline: &str, run: &str, step: &str) -> Digest {
    let mut digester = Digester::new();
    for field in ["operation", pipeline, run, step] {
        digester.field(field);
    }
    digester.finish()
}

/// A secret text. `Debug` hides it, and it has no `Display` and no serde.
///
/// ```
/// use mlops_core::pipeline::Secret;
///
/// let secret = Secret::new("hunter2");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Cancels a run from another thread. Clones cancel the same run.
///
/// A run that was cancelled starts no further step; a running step ends at its next
/// [`checkpoint`](Context::checkpoint).
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
    /// The flags of those that this one is a child of.
    above: Vec<Arc<AtomicBool>>,
    /// Wakes a whole family.
    gate: Arc<(Mutex<()>, Condvar)>,
}

impl CancelToken {
    /// Asks the run to end.
    pub fn cancel(&self) {
        let (gate, changed) = &*self.gate;
        let _gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.cancelled.store(true, Ordering::SeqCst);
        changed.notify_all();
    }

    /// Whether it was asked to end.
    pub fn is_cancelled(&self) -> bool {
        let set = |flag: &Arc<AtomicBool>| flag.load(Ordering::SeqCst);
        set(&self.cancelled) || self.above.iter().any(set)
    }

    /// A token that is cancelled with this one, and can be without it.
    pub(super) fn child(&self) -> Self {
        let above = self.above.iter().chain([&self.cancelled]).cloned().collect();
        Self { cancelled: Arc::default(), above, gate: Arc::clone(&self.gate) }
    }

    /// Waits until the time is over or the run is cancelled.
    pub(super) fn wait(&self, timeout: Duration) {
        let (gate, changed) = &*self.gate;
        let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout_while(gate, timeout, |()| !self.is_cancelled()));
    }
}
