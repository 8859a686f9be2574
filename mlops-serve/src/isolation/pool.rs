//! Threads that compute, and are left behind when they hang.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::{Error, Result};

use crate::Overloaded;
use crate::endpoint::isolate;
use crate::runtime::Runtime;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, spawn, wait_while};
use crate::tensor::{TensorBuf, TensorView};

/// The tensors of one call, on their way to a thread and back.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    pub(super) inputs: Vec<TensorBuf>,
    pub(super) outputs: Vec<TensorBuf>,
}

#[derive(Debug)]
pub(super) struct Pool {
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
    work: Condvar,
    threads: usize,
    hung_max: usize,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Tensors, Arc<Task>)>,
    /// Threads that compute or look for work; not those left behind.
    live: usize,
    idle: usize,
    hung: usize,
    closed: bool,
}

#[derive(Debug, Default)]
struct Task {
    state: Mutex<TaskState>,
    done: Condvar,
}

#[derive(Debug, Default)]
enum TaskState {
    #[default]
    Queued,
    Running,
    Done(Tensors, Result<()>),
    /// The caller waits no more.
    Left,
}

impl Pool {
    pub(super) fn new(
        runtime: Arc<dyn Runtime>,
        threads: usize,
        hung_max: usize,
        waiting_max: usize,
    ) -> Arc<Self> {
        let (state, work) = (Mutex::default(), Condvar::new());
        Arc::new(Self { runtime, state, work, threads, hung_max, waiting_max })
    }

    /// Computes on a thread of the pool.
    pub(super) fn call(self: &Arc<Self>, tensors: Tensors, limit: Duration) -> Result<Tensors> {
        let task = self.enqueue(tensors)?;
        self.wait(&task, limit)
    }

    fn enqueue(self: &Arc<Self>, tensors: Tensors) -> Result<Arc<Task>> {
        let task = Arc::new(Task::default());
        let mut state = self.state();
        if state.live == 0 && state.hung >= self.hung_max {
            return Err(self.all_hang(state.hung));
        }
        let more = if self.may_spawn(&state) { self.threads - state.live } else { 0 };
        if state.queue.len() >= self.waiting_max.saturating_add(state.idle + more) {
            let (engine, busy) = (self.runtime.engine(), state.live);
            return Err(Overloaded::error(format!(
                "all {busy} threads of {engine} are busy: try again later"
            )));
        }
        state.queue.push_back((tensors, Arc::clone(&task)));
        if state.queue.len() > state.idle
            && self.may_spawn(&state)
            && let Err(error) = self.spawn(&mut state)
            && state.live == 0
        {
            // Nobody would take the call. With other threads, it waits for one of them.
            state.queue.pop_back();
            return Err(error);
        }
        drop(state);
        self.work.notify_one();
        Ok(task)
    }

    /// The number of threads that were left behind and still hang.
    pub(super) fn hung(&self) -> usize {
        self.state().hung
    }

    /// The number of calls that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// Ends the threads that do not hang; those that do end when they come back.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
    }

    fn wait(self: &Arc<Self>, task: &Task, limit: Duration) -> Result<Tensors> {
        let running = |state: &mut TaskState| matches!(state, TaskState::Queued | TaskState::Running);
        let guard = wait_while(&task.done, task.state(), limit, running);
        if let Some((tensors, result)) = self.leave(guard) {
            return result.map(|()| tensors);
        }
        let (engine, limit) = (self.runtime.engine(), limit.as_micros() as f64 / 1e3);
        Err(Error::unavailable(format!("{engine} gave no answer within {limit} ms")))
    }

    /// Ends a wait: gives what there is, or leaves the task behind.
    fn leave(self: &Arc<Self>, mut task: MutexGuard<'_, TaskState>) -> Option<(Tensors, Result<()>)> {
        match std::mem::replace(&mut *task, TaskState::Left) {
            TaskState::Done(tensors, result) => return Some((tensors, result)),
            // Before the thread can see that it was left, or it would count itself back first.
            TaskState::Running => self.leave_behind(),
            TaskState::Queued | TaskState::Left => {}
        }
        None
    }

    /// A thread hangs: another takes its place, if so many may.
    fn leave_behind(self: &Arc<Self>) {
        let mut state = self.state();
        state.live -= 1;
        state.hung += 1;
        if !state.queue.is_empty() && self.may_spawn(&state) {
            // Without a thread the queued calls run into their limits, which is what they ask for.
            let _ = self.spawn(&mut state);
        }
    }

    fn may_spawn(&self, state: &State) -> bool {
        state.live < self.threads && state.hung < self.hung_max
    }

    fn spawn(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let pool = Arc::clone(self);
        let name = format!("mlops-{}", self.runtime.engine());
        // A name with a zero byte is no name for a thread.
        let name = name.replace('\0', "");
        match spawn(name, move || pool.work()) {
            Ok(()) => {
                state.live += 1;
                Ok(())
            }
            Err(error) => {
                Err(Error::unavailable("the system gives no thread to compute on").with_source(error))
            }
        }
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            let Some((mut tensors, task)) = state.queue.pop_front() else {
                if state.closed {
                    state.live -= 1;
                    return;
                }
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            let begun = task.advance(TaskState::Running, |state| matches!(state, TaskState::Queued));
            let kept = !begun || {
                let result = isolate(self.runtime.engine(), || self.run(&mut tensors));
                let done = TaskState::Done(tensors, result);
                let kept = task.advance(done, |state| matches!(state, TaskState::Running));
                task.done.notify_one();
                kept
            };
            state = self.state();
            if !kept {
                // Its caller has left it behind, and another thread may have taken its place.
                state.hung -= 1;
                if state.live >= self.threads || state.closed {
                    return;
                }
                state.live += 1;
            }
        }
    }

    fn run(&self, tensors: &mut Tensors) -> Result<()> {
        let Tensors { inputs, outputs } = tensors;
        let inputs: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
        self.runtime.run(&inputs, outputs)
    }

    #[cold]
    fn all_hang(&self, hung: usize) -> Error {
        let engine = self.runtime.engine();
        Error::unavailable(format!(
            "{engine} hangs in {hung} threads, as many as may: take it out of service"
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// Goes to the next state, if it is in the one before.
    fn advance(&self, next: TaskState, from: impl FnOnce(&TaskState) -> bool) -> bool {
        let mut state = self.state();
        let fits = from(&state);
        if fits {
            *state = next;
        }
        fits
    }

    fn state(&self) -> MutexGuard<'_, TaskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Model checking: interleavings of callers and threads are tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use std::num::NonZeroUsize;

    use loom::thread;
    use mlops_core::{ElementType, ModelSignature, TensorSpec};

    use super::*;
    use crate::runtime::FnRuntime;

    /// A pool of one thread that doubles, of which one may hang.
    fn pool() -> Arc<Pool> {
        let spec = |name: &str| vec![TensorSpec::batch(name, ElementType::F32, 1)];
        let signature = ModelSignature { inputs: spec("x"), outputs: spec("y") };
        let doubles = FnRuntime::new("doubles", signature, |inputs, outputs| {
            let y = outputs[0].reset::<f32>([1, 1])?;
            y[0] = 2.0 * inputs[0].values::<f32>()?[0];
            Ok(())
        });
        let hung_max = NonZeroUsize::MIN.get() + 1;
        Pool::new(Arc::new(doubles.expect("a signature")), 1, hung_max, 8)
    }

    fn tensors(x: f32) -> Tensors {
        let mut input = TensorBuf::new(ElementType::F32);
        input.assign(&TensorView::new(&[x], [1, 1]).expect("one number")).expect("of its kind");
        Tensors { inputs: vec![input], outputs: vec![TensorBuf::new(ElementType::F32)] }
    }

    fn asked(pool: &Arc<Pool>, x: f32) {
        let given = pool.call(tensors(x), Duration::ZERO).expect("an answer");
        assert_eq!(given.outputs[0].view().values::<f32>().expect("numbers"), [2.0 * x]);
    }

    /// All threads end, and are counted where they are.
    fn ends(pool: &Pool) {
        pool.close();
        loop {
            let State { live, hung, idle, .. } = *pool.state();
            if live + hung == 0 {
                return assert_eq!(idle, 0);
            }
            thread::yield_now();
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        // More have too many interleavings for all to be tried.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    #[test]
    fn every_caller_gets_its_own_answer() {
        check(|| {
            let pool = pool();
            let shared = Arc::clone(&pool);
            let other = thread::spawn(move || asked(&shared, 1.0));
            asked(&pool, 3.0);
            other.join().expect("no panic");
            ends(&pool);
        });
    }

    #[test]
    fn a_caller_that_leaves_at_any_time_leaves_a_pool_that_works() {
        check(|| {
            let pool = pool();
            let task = pool.enqueue(tensors(1.0)).expect("room");
            thread::yield_now();
            if let Some((_, result)) = pool.leave(task.state()) {
                result.expect("an answer");
            }
            asked(&pool, 3.0);
            ends(&pool);
        });
    }
}
