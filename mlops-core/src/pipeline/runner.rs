//! Running pipelines.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::artifact::{Artifact, typed};
use super::context::Secret;
use super::engine::{self, Engine, Value};
use super::handle::Handle;
use super::observer::Observer;
use super::pipeline::Pipeline;
use super::plan::Plan;
use super::request::Request;
use super::store::Store;
use crate::run::{Run, RunStatus};
use crate::{Clock, Digest, Error, Result};

/// Runs pipelines. Cheap to clone; without a store it computes everything in memory.
///
/// ```
/// use mlops_core::SystemClock;
/// use mlops_core::pipeline::{Pipeline, Runner};
///
/// let mut p = Pipeline::new("hello");
/// let name = p.param("name", "world".to_owned());
/// let text = p.step("greet", |name: &String| Ok(format!("hello {name}")), name);
///
/// let runner = Runner::new(SystemClock::new());
/// let done = runner.run(&p, "first")?;
/// assert_eq!(*done.get(text)?, "hello world");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Runner {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Option<Store>,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) secrets: Arc<BTreeMap<String, Secret>>,
    pub(super) threads: usize,
    pub(super) sleep: Option<Arc<dyn Fn(Duration) + Send + Sync>>,
}

impl Runner {
    /// A runner on one thread, without a store.
    pub fn new(clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            store: None,
            observers: Vec::new(),
            secrets: Arc::default(),
            threads: 1,
            sleep: None,
        }
    }

    /// Caches results, journals and records in this store: runs resume, and nothing is computed twice.
    #[must_use]
    pub fn with_store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Tells this observer what runs do.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Gives steps a secret, by [`Context::secret`](super::Context::secret).
    #[must_use]
    pub fn with_secret(mut self, name: impl Into<String>, secret: Secret) -> Self {
        Arc::make_mut(&mut self.secrets).insert(name.into(), secret);
        self
    }

    /// Runs up to this many steps at once. A thread is started only when a step is ready and none is free,
    /// so a chain stays on the caller's. 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Waits between retries by this function, as a simulation does that moves its own clock. By default
    /// the thread sleeps, and a cancellation wakes it.
    #[must_use]
    pub fn with_sleep(mut self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.sleep = Some(Arc::new(sleep));
        self
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The store, if there is one.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Starts a run, or resumes the one of this id, and returns when it ended or cannot go on. Look at
    /// [`Execution::status`]: a gate may have stopped it, an approval may hold it.
    ///
    /// # Errors
    /// The error of the step that failed, after its retries (a panic is `Internal`); `Invalid` if pipeline or
    /// request are wrong; `Conflict` if the run is being executed elsewhere, or was started with another
    /// wiring, seed or values; `Data` if its journal, or the result of a committed
    /// [`always`](super::Step::always) step, is damaged; `Unavailable` if the store is.
    pub fn run(&self, pipeline: &Pipeline, request: impl Into<Request>) -> Result<Execution> {
        let request = request.into();
        let mut engine = Engine::prepare(self, pipeline, &request)?;
        engine.open_journal()?;
        engine::run(&engine)
    }

    /// Says what a run would do, and why, without running a step or writing a byte.
    ///
    /// # Errors
    /// As [`run`](Self::run), without those of steps.
    pub fn plan(&self, pipeline: &Pipeline, request: impl Into<Request>) -> Result<Plan> {
        let request = request.into();
        let mut engine = Engine::prepare(self, pipeline, &request)?;
        engine.read_journal()?;
        super::plan::plan(&engine)
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("clock", &self.clock)
            .field("store", &self.store)
            .field("observers", &self.observers)
            .field("secrets", &self.secrets)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// What a run left: its record and its values.
pub struct Execution {
    /// The record.
    pub run: Run,
    pub(super) pipeline: u64,
    pub(super) values: Vec<Option<Value>>,
}

impl Execution {
    /// How the run ended.
    pub fn status(&self) -> &RunStatus {
        &self.run.status
    }

    /// The value of a step.
    ///
    /// # Errors
    /// `NotFound` if the step did not run, `Invalid` if the handle is of another pipeline.
    pub fn get<T: Artifact>(&self, handle: Handle<T>) -> Result<Arc<T>> {
        typed(&self.value(handle)?.erased)
    }

    /// The digest of the value of a step: where its [`lineage`](Run::lineage) starts.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn digest<T: Artifact>(&self, handle: Handle<T>) -> Result<Digest> {
        Ok(self.value(handle)?.digest)
    }

    fn value<T>(&self, handle: Handle<T>) -> Result<&Value> {
        if handle.pipeline != self.pipeline {
            return Err(Error::invalid("the handle is of another pipeline"));
        }
        self.values.get(handle.slot).and_then(Option::as_ref).ok_or_else(|| {
            let (run, status) = (&self.run.id, &self.run.status);
            Error::not_found(format!("run `{run}` did not reach this value: it is {status}"))
        })
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("run", &self.run).finish_non_exhaustive()
    }
}
