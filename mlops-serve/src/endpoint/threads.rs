//! Threads that answer requests for futures.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mlops_core::{Error, Result};

use super::tower::Asked;
use super::{Answer, Endpoint, isolate};
use crate::Overloaded;
use crate::batch::Cancel;
use crate::sync::spawn;

/// Threads that answer, until this is dropped and nobody waits.
#[derive(Debug)]
pub(super) struct Threads {
    queue: Arc<Queue>,
    threads: usize,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Asked, Arc<Pending>)>,
    /// Threads that answer.
    busy: usize,
    closed: bool,
}

/// What a future waits for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) cancel: Cancel,
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    answer: Option<Result<Answer>>,
    waker: Option<Waker>,
}

impl Threads {
    pub(super) fn new(endpoint: &Arc<Endpoint>, threads: NonZeroUsize, waiting_max: usize) -> Result<Self> {
        // Dropped on an error, it ends the threads that there are.
        let this = Self { queue: Arc::default(), threads: threads.get(), waiting_max };
        for _ in 0..threads.get() {
            let (queue, endpoint) = (Arc::clone(&this.queue), Arc::clone(endpoint));
            // A name with a zero byte is no name for a thread.
            let name = format!("mlops-{}", endpoint.name()).replace('\0', "");
            spawn(name, move || queue.work(&endpoint)).map_err(|error| {
                Error::unavailable("the system gives no thread to answer on").with_source(error)
            })?;
        }
        Ok(this)
    }

    pub(super) fn enqueue(&self, asked: Asked) -> Result<Arc<Pending>> {
        let mut state = self.queue.state();
        let full =
            |state: &State| state.waiting.len() + state.busy >= self.waiting_max.saturating_add(self.threads);
        if full(&state) {
            state.waiting.retain(|(_, pending)| !pending.cancel.is_cancelled());
        }
        if full(&state) {
            return Err(Overloaded::error(format!(
                "all {} threads answer and {} requests wait, as many as may: try again later",
                self.threads, self.waiting_max
            )));
        }
        let pending = Arc::<Pending>::default();
        state.waiting.push_back((asked, Arc::clone(&pending)));
        drop(state);
        self.queue.work.notify_one();
        Ok(pending)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.state().closed = true;
        self.queue.work.notify_all();
    }
}

impl Queue {
    fn work(&self, endpoint: &Endpoint) {
        let mut state = self.state();
        loop {
            let Some((asked, pending)) = state.waiting.pop_front() else {
                if state.closed {
                    return;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            answer(endpoint, &asked, &pending);
            drop((asked, pending));
            state = self.state();
            state.busy -= 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(endpoint: &Endpoint, asked: &Asked, pending: &Pending) {
    let answer = isolate(endpoint.name(), || asked.answer(endpoint, &pending.cancel));
    // The waker is the host's: one that panics costs its own caller, not this thread.
    let _ = isolate(endpoint.name(), || {
        pending.finish(answer);
        Ok(())
    });
}

impl Pending {
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Result<Answer>> {
        let mut state = self.state();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn finish(&self, answer: Result<Answer>) {
        let mut state = self.state();
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
