//! One run from its first to its last step.

mod close;
pub(crate) mod journal;
mod settle;
mod wanted;
mod wire;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use self::wanted::{injected, needed, parameter};
use super::artifact::Erased;
use super::context::Scope;
use super::observer::Notice;
use super::parallel::{Permits, settle_all};
use super::pipeline::Pipeline;
use super::request::Request;
use super::runner::{Execution, Runner};
use super::store::{Committed, Journal};
use super::unit::{Unit, panicked};
use crate::run::{Run, StepRecord, StepState, Waiting};
use crate::{Digest, Error, Result, Timestamp};

pub(super) struct Engine<'a> {
    pub(super) runner: &'a Runner,
    pub(super) pipeline: &'a Pipeline,
    pub(super) scope: Arc<Scope>,
    /// Which nodes the request asks for.
    pub(super) needed: Vec<bool>,
    /// Parameters and injected values by slot.
    pub(super) given: BTreeMap<usize, Value>,
    /// What the journal says is done.
    pub(super) committed: BTreeMap<String, Committed>,
    pub(super) settled: Vec<OnceLock<Settled>>,
    /// How many more threads may be started.
    pub(super) permits: Permits,
    journal: Mutex<Option<Journal>>,
    /// What came from the cache and is not in the journal yet.
    hits: Mutex<Vec<Committed>>,
    /// The span of the run; steps on other threads are in it too.
    #[cfg(feature = "telemetry")]
    pub(super) span: tracing::Span,
    started: Timestamp,
}

/// A value whose type only the handles know.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) erased: Erased,
    pub(super) digest: Digest,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({})", self.digest.short())
    }
}

/// How a node ended.
pub(super) enum Settled {
    Done(Done),
    Skipped,
    /// It asks a person.
    Asks(Waiting),
    /// It waits for a node that asks a person, or that a plan cannot foresee.
    Waits,
}

pub(super) struct Done {
    pub(super) values: Vec<Value>,
    pub(super) state: StepState,
    /// Why, in words.
    pub(super) reason: String,
    pub(super) key: Option<Digest>,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) attempts: u32,
    pub(super) duration_us: u64,
    /// The items of a map.
    pub(super) parts: Vec<StepRecord>,
}

impl Done {
    pub(super) fn with(state: StepState, values: Vec<Value>) -> Self {
        let metrics = BTreeMap::new();
        let reason = String::new();
        Self { values, state, reason, key: None, metrics, attempts: 0, duration_us: 0, parts: Vec::new() }
    }
}

/// What ends a run before its last step.
#[derive(Debug)]
pub(super) enum Halt {
    Cancelled,
    /// The time of the run was over before this step ended.
    TimedOut {
        step: Arc<str>,
        /// How its last attempt failed by itself, if one did.
        error: Option<Error>,
        attempts: u32,
    },
    Failed {
        step: Arc<str>,
        error: Error,
        attempts: u32,
    },
    /// The store, the journal or an invariant is broken.
    Broken(Error),
}

impl Halt {
    /// The step that was tried and did not come to its end, and how often it was.
    fn attempted(&self) -> Option<(&Arc<str>, u32)> {
        match self {
            Self::Failed { step, attempts, .. } => Some((step, *attempts)),
            Self::TimedOut { step, attempts, .. } if *attempts > 0 => Some((step, *attempts)),
            _ => None,
        }
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What is done with an execution that is due.
pub(super) enum Mode<'a> {
    /// It is found or computed.
    Run,
    /// It is found, or this says that it is not.
    Plan(&'a mut dyn FnMut(&Unit<'_>) -> Result<Option<Done>, Halt>),
}

impl Mode<'_> {
    fn obtain(&mut self, unit: &Unit<'_>) -> Result<Option<Done>, Halt> {
        match self {
            Self::Run => unit.obtain().map(Some),
            Self::Plan(foresee) => foresee(unit),
        }
    }
}

/// What a node finds where its input should be.
pub(super) enum Found<T> {
    Value(T),
    Skipped,
    Waits,
}

impl<'a> Engine<'a> {
    pub(super) fn prepare(runner: &'a Runner, pipeline: &'a Pipeline, request: &Request) -> Result<Self> {
        pipeline.check()?;
        request.check(pipeline.id)?;
        let mut given = injected(pipeline, &request.injected)?;
        for (name, json) in &request.params {
            let (slot, value) = parameter(pipeline, name, json)?;
            given.insert(slot, value);
        }
        let scope = Scope {
            pipeline: pipeline.name.clone(),
            run: request.id.clone(),
            seed: request.seed,
            clock: runner.clock.clone(),
            cancel: request.cancel.clone(),
            deadline_ns: request.timeout.map(|limit| {
                let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                runner.clock.monotonic_ns().saturating_add(limit)
            }),
            observers: runner.observers.clone(),
            secrets: runner.secrets.clone(),
        };
        Ok(Self {
            #[cfg(feature = "telemetry")]
            span: tracing::info_span!("pipeline_run", pipeline = &*scope.pipeline, run = &*scope.run),
            runner,
            pipeline,
            started: scope.clock.now(),
            scope: Arc::new(scope),
            needed: needed(pipeline, &request.only, &given),
            given,
            committed: BTreeMap::new(),
            settled: pipeline.nodes.iter().map(|_| OnceLock::new()).collect(),
            permits: Permits::new(runner.threads - 1),
            journal: Mutex::new(None),
            hits: Mutex::default(),
        })
    }
}

/// Runs all needed nodes and closes the run. A panic of the caller's types or observers outside of a step is an
/// error too.
pub(super) fn run(engine: &Engine<'_>) -> Result<Execution> {
    #[cfg(feature = "telemetry")]
    let _span = engine.span.clone().entered();
    catch_unwind(AssertUnwindSafe(|| run_to_its_end(engine)))
        .unwrap_or_else(|panic| Err(panicked("the run, outside of its steps,", &*panic)))
}

fn run_to_its_end(engine: &Engine<'_>) -> Result<Execution> {
    let (pipeline, scope) = (engine.pipeline, &engine.scope);
    let nodes = pipeline.nodes.iter().zip(&engine.needed);
    let steps = nodes.filter(|(node, needed)| **needed && node.is_step()).count();
    scope.notify(&Notice::RunStarted { pipeline: &pipeline.name, steps });
    let outcome = if engine.runner.threads == 1 {
        (0..pipeline.nodes.len()).filter(|index| engine.needed[*index]).try_for_each(|i| engine.settle(i))
    } else {
        settle_all(engine)
    };
    match outcome {
        Ok(()) => Ok(execution(engine, engine.finish(None)?)),
        Err(halt) => {
            let closed = engine.finish(Some(&halt));
            match halt {
                Halt::Failed { step, error, .. } => {
                    closed?;
                    Err(error.context(format!("step `{step}` of run `{}` failed", scope.run)))
                }
                Halt::Broken(error) => Err(error),
                Halt::Cancelled | Halt::TimedOut { .. } => closed.map(|run| execution(engine, run)),
            }
        }
    }
}

fn execution(engine: &Engine<'_>, run: Run) -> Execution {
    let value = |slot| match engine.slot(slot) {
        Found::Value(value) => Some(value.clone()),
        Found::Skipped | Found::Waits => None,
    };
    let values = (0..engine.pipeline.slots.len()).map(value).collect();
    Execution { run, pipeline: engine.pipeline.id, values }
}
