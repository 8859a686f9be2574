//! The driver: it does what the policy says when the host ticks it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::policy::TriggerPolicy;
use super::state::{Action, Active, Cause, Hold, TriggerState};
use crate::pipeline::{Execution, Pipeline, Request, Runner};
use crate::run::RunStatus;
use crate::{ErrorKind, Event, EventSink, Result, Timestamp};

/// Trains again and again: a pipeline, a runner, a policy.
///
/// The host calls [`tick`](Self::tick) from a timer of its own, on a thread that may be busy for as long as
/// a run takes, and feeds it what happens: it is an [`EventSink`], so a drift monitor reports to it directly.
/// With a store, its state is kept there: after a restart it knows the rows and causes, and resumes the run
/// that was going on.
///
/// ```
/// use mlops_core::pipeline::{Pipeline, Runner};
/// use mlops_core::trigger::{ContinuousTraining, Tick, TriggerPolicy};
/// use mlops_core::SystemClock;
///
/// let mut p = Pipeline::new("shop");
/// let model = p.step("train", || Ok(42_u32), ());
/// let policy = TriggerPolicy { new_rows: Some(1_000), ..TriggerPolicy::default() };
/// let training = ContinuousTraining::new("shop", Runner::new(SystemClock::new()), p, policy)?;
///
/// assert!(matches!(training.tick()?, Tick::Idle(_)));
/// training.rows(1_000)?;
/// let Tick::Ran(done) = training.tick()? else { panic!() };
/// assert_eq!(done.run.id, "shop-000001");
/// assert_eq!(*done.get(model)?, 42);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub struct ContinuousTraining {
    name: String,
    runner: Runner,
    pipeline: Pipeline,
    policy: TriggerPolicy,
    request: Box<Customise>,
    state: Mutex<TriggerState>,
    running: Mutex<()>,
}

type Customise = dyn Fn(Request, &[Cause]) -> Request + Send + Sync;

/// What a tick did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Tick {
    /// Nothing.
    Idle(Hold),
    /// It ran the pipeline, or went on with a run; a suspended one goes on at a tick after the answer.
    Ran(Box<Execution>),
}

impl ContinuousTraining {
    /// A driver. Its name starts the id of each run: `name-000001`, `name-000002`, and so on.
    ///
    /// # Errors
    /// `Invalid` if the pipeline is wired wrong; `Data` or `Unavailable` if the state in the store cannot be
    /// read.
    pub fn new(
        name: impl Into<String>,
        runner: Runner,
        pipeline: Pipeline,
        policy: TriggerPolicy,
    ) -> Result<Self> {
        let name = name.into();
        pipeline.check()?;
        let stored = runner.store().map(|store| store.load_trigger(&name)).transpose()?.flatten();
        let state = stored.unwrap_or_else(|| TriggerState::new(runner.clock().now()));
        let request: Box<Customise> = Box::new(|request, _| request);
        Ok(Self { name, runner, pipeline, policy, request, state: state.into(), running: Mutex::new(()) })
    }

    /// Changes the request of each run: its seed, its parameters. It must give the same request for the same
    /// run, or an interrupted one cannot be resumed.
    #[must_use]
    pub fn with_request(
        mut self,
        change: impl Fn(Request, &[Cause]) -> Request + Send + Sync + 'static,
    ) -> Self {
        self.request = Box::new(change);
        self
    }

    /// Says how many rows there are now.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be written.
    pub fn rows(&self, rows: u64) -> Result<()> {
        self.change(|state, policy, now| state.rows(policy, now, rows))
    }

    /// Asks for a run at the next tick.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be written.
    pub fn start_now(&self, by: impl Into<String>) -> Result<()> {
        self.change(|state, _, now| state.manual(now, by))
    }

    /// Takes in an event.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be written.
    pub fn event(&self, event: &Event) -> Result<()> {
        self.change(|state, policy, now| state.event(policy, now, event))
    }

    /// What happened so far.
    pub fn state(&self) -> TriggerState {
        self.lock().clone()
    }

    /// Does what is to be done now, and returns when that is over. While one thread is in here, others are
    /// told that a run is going on.
    ///
    /// # Errors
    /// Those of [`Runner::run`]: the run is over then, and its causes come back if the policy retries. After
    /// `Conflict` (somebody else executes the run) it is not over. `Unavailable` if the store cannot be
    /// written.
    pub fn tick(&self) -> Result<Tick> {
        let Ok(_running) = self.running.try_lock() else { return Ok(Tick::Idle(Hold::Running)) };
        let active = match self.next()? {
            Ok(active) => active,
            Err(hold) => return Ok(Tick::Idle(hold)),
        };
        let request = Request::new(format!("{}-{:06}", self.name, active.run));
        let outcome = self.runner.run(&self.pipeline, (self.request)(request, &active.causes));
        let is_over = match &outcome {
            Ok(done) => match done.status() {
                RunStatus::Suspended { .. } | RunStatus::Cancelled => None,
                _ => Some(true),
            },
            Err(error) if error.kind() == ErrorKind::Conflict => None,
            Err(_) => Some(false),
        };
        if let Some(success) = is_over {
            self.change(|state, policy, now| state.ended(policy, now, success))?;
        }
        Ok(Tick::Ran(Box::new(outcome?)))
    }

    /// The run to start or to go on with.
    fn next(&self) -> Result<Result<Active, Hold>> {
        let mut state = self.lock();
        if let Some(active) = &state.active {
            return Ok(Ok(active.clone()));
        }
        let before = state.clone();
        match state.tick(&self.policy, self.runner.clock().now()) {
            Action::Wait(hold) => {
                if before.causes != state.causes {
                    self.save(&state)?;
                }
                Ok(Err(hold))
            }
            Action::Start { run, causes } => {
                state.started();
                if let Err(error) = self.save(&state) {
                    *state = before;
                    return Err(error);
                }
                Ok(Ok(Active { run, causes }))
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut TriggerState, &TriggerPolicy, Timestamp)) -> Result<()> {
        let mut state = self.lock();
        change(&mut state, &self.policy, self.runner.clock().now());
        self.save(&state)
    }

    fn save(&self, state: &TriggerState) -> Result<()> {
        self.runner.store().map_or(Ok(()), |store| store.save_trigger(&self.name, state))
    }

    fn lock(&self) -> MutexGuard<'_, TriggerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event that the store could not keep is in memory all the same.
impl EventSink for ContinuousTraining {
    fn emit(&self, event: &Event) {
        // The state in memory has the event; the next write to the store takes it along.
        let _ = self.event(event);
    }
}

impl fmt::Debug for ContinuousTraining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContinuousTraining")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .field("state", &*self.lock())
            .finish_non_exhaustive()
    }
}
