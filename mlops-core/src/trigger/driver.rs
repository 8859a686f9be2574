//! The driver: it does what the policy says when the host ticks it.

use std::error::Error as _;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::policy::TriggerPolicy;
use super::state::{Action, Active, Cause, Hold, TriggerState};
use crate::pipeline::store::check_run_id;
use crate::pipeline::{Execution, Pipeline, Request, Runner, StartedOtherwise};
use crate::run::{RunStatus, StepRecord, StepState, Waiting};
use crate::{Error, ErrorKind, Event, EventSink, Result, Timestamp};

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
    running: Mutex<Going>,
    /// Whether the store has not what is in memory.
    unsaved: AtomicBool,
}

/// What is known of the run that is going on.
#[derive(Default)]
struct Going {
    /// Its questions, empty if it asks none or was not run yet.
    waits: Vec<Waiting>,
    /// How many of its steps were done when its time was over last.
    done: Option<usize>,
}

type Customise = dyn Fn(Request, &[Cause]) -> Request + Send + Sync;

/// What a tick did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Tick {
    /// Nothing.
    Idle(Hold),
    /// It ran the pipeline, or went on with a run; a suspended one goes on at the tick after an answer.
    Ran(Box<Execution>),
}

impl ContinuousTraining {
    /// A driver; one alone may use a name in a store. Its name starts the id of each run: `name-000001`, `name-000002`, and so on.
    ///
    /// # Errors
    /// `Invalid` if the pipeline is wired wrong, or the name cannot start the id of a run; `Data` or `Unavailable` if the state in the store cannot be
    /// read.
    pub fn new(
        name: impl Into<String>,
        runner: Runner,
        pipeline: Pipeline,
        policy: TriggerPolicy,
    ) -> Result<Self> {
        let name = name.into();
        check_run_id(&format!("{name}-000000")).map_err(|error| {
            error.context(format!("`{name}` cannot be the name of a continuous training"))
        })?;
        pipeline.check()?;
        let mut state = TriggerState::new(runner.clock().now());
        if let Some(store) = runner.store() {
            match store.load_trigger(&name)? {
                Some(stored) => state = stored,
                // The runs of a state that was deleted are not to be resumed under the numbers of new ones.
                None => state.runs = store.last_number(&name)?,
            }
        }
        let request: Box<Customise> = Box::new(|request, _| request);
        Ok(Self {
            name,
            runner,
            pipeline,
            policy,
            request,
            state: state.into(),
            running: Mutex::default(),
            unsaved: AtomicBool::new(false),
        })
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

    /// Asks for a run at the next tick, also within the cooldown.
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

    /// Gives up the run that is going on, such as one whose approval nobody answers; its causes are dropped. Says
    /// whether there was one.
    ///
    /// # Errors
    /// `Conflict` if a thread executes it now, `Unavailable` if the store cannot be written.
    pub fn abandon(&self) -> Result<bool> {
        let Some(mut going) = self.try_running() else {
            return Err(Error::conflict("the run is being executed: cancel it first"));
        };
        *going = Going::default();
        let was_active = self.lock().active.is_some();
        self.change(|state, _, now| state.abandoned(now))?;
        Ok(was_active)
    }

    /// Does what is to be done now, and returns when that is over. While one thread is in here, others are
    /// told that a run is going on.
    ///
    /// A run that is out of time goes on at the next tick, with its whole time anew, as long as more of its steps are
    /// done each time than the time before: so none is done for nothing, and none hangs for ever. One that gets no
    /// further has failed.
    ///
    /// # Errors
    /// Those of [`Runner::run`]: the run is over then, and its causes come back if the policy retries. After
    /// `Conflict` either somebody else executes the run, and it is not over, or it was started with another
    /// pipeline, as before an update: then it is given up, and its causes start a new one at the next tick.
    /// `Unavailable` if the store cannot be written.
    pub fn tick(&self) -> Result<Tick> {
        let Some(mut going) = self.try_running() else { return Ok(Tick::Idle(Hold::Running)) };
        let active = match self.next()? {
            Ok(active) => active,
            Err(hold) => return Ok(Tick::Idle(hold)),
        };
        let id = format!("{}-{:06}", self.name, active.run);
        if !going.waits.is_empty() && !self.is_decided(&id, &going.waits)? {
            return Ok(Tick::Idle(Hold::Approval));
        }
        going.waits.clear();
        let request = (self.request)(Request::new(id), &active.causes);
        let outcome = self.runner.run(&self.pipeline, request);
        let is_over = match &outcome {
            Ok(done) => match done.status() {
                RunStatus::Suspended { waiting } => {
                    going.waits.clone_from(waiting);
                    None
                }
                RunStatus::Cancelled => None,
                RunStatus::TimedOut { .. } => {
                    let done = done.run.steps.iter().filter(|step| is_done(step)).count();
                    let before = going.done.replace(done);
                    before.is_some_and(|before| done <= before).then_some(false)
                }
                _ => Some(true),
            },
            Err(error) if started_otherwise(error) => {
                *going = Going::default();
                self.change(|state, _, now| state.superseded(now))?;
                None
            }
            Err(error) if error.kind() == ErrorKind::Conflict => None,
            Err(_) => Some(false),
        };
        if let Some(success) = is_over {
            *going = Going::default();
            self.change(|state, policy, now| state.ended(policy, now, success))?;
        }
        Ok(Tick::Ran(Box::new(outcome?)))
    }

    /// Whether people answered one of these questions, or it is too late to.
    fn is_decided(&self, run: &str, questions: &[Waiting]) -> Result<bool> {
        let Some(store) = self.runner.store() else { return Ok(true) };
        let now = self.runner.clock().now();
        for question in questions {
            let is_over = question.deadline.is_some_and(|deadline| now > deadline);
            if is_over || store.answer(run, &question.token)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The right to run, unless another thread has it. A panic of the host's code is over when it is seen here.
    fn try_running(&self) -> Option<MutexGuard<'_, Going>> {
        match self.running.try_lock() {
            Ok(going) => Some(going),
            Err(TryLockError::Poisoned(going)) => Some(going.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
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
        let before = state.clone();
        change(&mut state, &self.policy, self.runner.clock().now());
        if *state == before && !self.unsaved.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.save(&state)
    }

    fn save(&self, state: &TriggerState) -> Result<()> {
        let saved = self.runner.store().map_or(Ok(()), |store| store.save_trigger(&self.name, state));
        self.unsaved.store(saved.is_err(), Ordering::SeqCst);
        saved
    }

    fn lock(&self) -> MutexGuard<'_, TriggerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the step need not run when its run goes on.
fn is_done(step: &StepRecord) -> bool {
    matches!(
        step.state,
        StepState::Computed
            | StepState::Cached
            | StepState::Resumed
            | StepState::Injected
            | StepState::Skipped
    )
}

/// Whether the run cannot go on, since the pipeline or its request is another one now.
fn started_otherwise(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<StartedOtherwise>());
    cause.is_some()
}

/// An event that the store could not keep is in memory all the same. One that is no cause for a run is not written.
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
