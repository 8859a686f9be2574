//! Who computes for whom: the protocol alone, without tensors, so that it can be model-checked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Lets callers compute for each other.
///
/// A caller that finds a free place leads: it computes its own job at once. A caller that finds none queues.
/// A leader that is done promotes the head of the queue, whose thread leads next and takes others along.
/// There is no timer and no thread of our own; nobody waits while a place is free.
#[derive(Debug)]
pub(super) struct Combiner<J, R> {
    state: Mutex<State<J, R>>,
    leaders_max: usize,
}

#[derive(Debug)]
struct State<J, R> {
    leaders: usize,
    queue: VecDeque<(J, Arc<Ticket<J, R>>)>,
}

/// What a queued caller waits for.
#[derive(Debug)]
pub(super) struct Ticket<J, R> {
    slot: Mutex<Slot<J, R>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Slot<J, R> {
    Waiting,
    Promoted(J),
    Done(R),
    /// The caller waits no more, or has taken what there was.
    Left,
}

/// The right to compute. Dropping it, also in a panic, promotes the next caller.
#[derive(Debug)]
pub(super) struct Leadership<'a, J, R>(&'a Combiner<J, R>);

/// What came of asking for a place.
#[derive(Debug)]
pub(super) enum Entry<'a, J, R> {
    /// A place was free.
    Lead(Leadership<'a, J, R>, J),
    /// The job waits.
    Queued(Arc<Ticket<J, R>>),
}

/// What came of waiting.
#[derive(Debug)]
pub(super) enum Outcome<'a, J, R> {
    /// Somebody computed the job.
    Done(R),
    /// The caller's own turn has come.
    Lead(Leadership<'a, J, R>, J),
    /// The caller left first.
    Left,
}

impl<J, R> Combiner<J, R> {
    pub(super) fn new(leaders_max: usize) -> Self {
        Self { state: Mutex::new(State { leaders: 0, queue: VecDeque::new() }), leaders_max }
    }

    /// A place, if one is free and nobody queues.
    #[inline]
    pub(super) fn try_lead(&self) -> Option<Leadership<'_, J, R>> {
        let mut state = self.state();
        (state.leaders < self.leaders_max && state.queue.is_empty()).then(|| {
            state.leaders += 1;
            Leadership(self)
        })
    }

    /// Queues, if `admit` agrees when it sees the number of jobs ahead; leads if a place has become free.
    pub(super) fn enqueue<E>(
        &self,
        job: J,
        admit: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Entry<'_, J, R>, (E, J)> {
        let mut state = self.state();
        if state.leaders < self.leaders_max && state.queue.is_empty() {
            state.leaders += 1;
            return Ok(Entry::Lead(Leadership(self), job));
        }
        if let Err(error) = admit(state.queue.len()) {
            return Err((error, job));
        }
        let ticket = Arc::new(Ticket { slot: Mutex::new(Slot::Waiting), changed: Condvar::new() });
        state.queue.push_back((job, Arc::clone(&ticket)));
        Ok(Entry::Queued(ticket))
    }

    /// Waits for the ticket, no longer than `patience` if there is one.
    #[allow(clippy::disallowed_methods, reason = "condition variables wait by the time of the system")]
    pub(super) fn wait(&self, ticket: &Arc<Ticket<J, R>>, patience: Option<Duration>) -> Outcome<'_, J, R> {
        let mut slot = ticket.slot();
        // A wake-up without a reason does not start the wait again.
        let end = patience.and_then(|patience| Instant::now().checked_add(patience));
        loop {
            match std::mem::replace(&mut *slot, Slot::Left) {
                Slot::Done(result) => return Outcome::Done(result),
                Slot::Promoted(job) => return Outcome::Lead(Leadership(self), job),
                Slot::Left => return Outcome::Left,
                Slot::Waiting => *slot = Slot::Waiting,
            }
            match end {
                None => slot = ticket.changed.wait(slot).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    let waited = ticket.changed.wait_timeout(slot, left);
                    let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    slot = guard;
                    if timeout.timed_out() && matches!(*slot, Slot::Waiting) {
                        *slot = Slot::Left;
                        drop(slot);
                        self.forget(ticket);
                        return Outcome::Left;
                    }
                }
            }
        }
    }

    /// Makes the caller of a ticket leave, if it still waits.
    pub(super) fn cancel(&self, ticket: &Arc<Ticket<J, R>>) {
        let mut slot = ticket.slot();
        if matches!(*slot, Slot::Waiting) {
            *slot = Slot::Left;
            drop(slot);
            ticket.changed.notify_one();
            self.forget(ticket);
        }
    }

    /// The number of jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    fn forget(&self, ticket: &Arc<Ticket<J, R>>) {
        self.state().queue.retain(|(_, queued)| !Arc::ptr_eq(queued, ticket));
    }

    fn state(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J, R> Leadership<'_, J, R> {
    /// Takes jobs out of the queue to compute them along: those at the places that `pick` names, in
    /// ascending order.
    pub(super) fn take(
        &self,
        pick: impl FnOnce(&mut dyn Iterator<Item = &J>) -> Vec<usize>,
    ) -> Vec<(J, Arc<Ticket<J, R>>)> {
        let mut state = self.0.state();
        if state.queue.is_empty() {
            return Vec::new();
        }
        let places = pick(&mut state.queue.iter().map(|(job, _)| job));
        // Usually all, or a run from the head.
        if places.iter().copied().eq(0..places.len()) {
            return state.queue.drain(..places.len()).collect();
        }
        let mut taken = Vec::with_capacity(places.len());
        let mut kept = VecDeque::with_capacity(state.queue.len() - places.len());
        let mut places = places.into_iter().peekable();
        for (place, entry) in state.queue.drain(..).enumerate() {
            if places.next_if_eq(&place).is_some() {
                taken.push(entry);
            } else {
                kept.push_back(entry);
            }
        }
        state.queue = kept;
        taken
    }
}

impl<J, R> Drop for Leadership<'_, J, R> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        while let Some((job, ticket)) = state.queue.pop_front() {
            let mut slot = ticket.slot();
            if matches!(*slot, Slot::Waiting) {
                *slot = Slot::Promoted(job);
                drop(slot);
                drop(state);
                ticket.changed.notify_one();
                return;
            }
        }
        state.leaders -= 1;
    }
}

impl<J, R> Ticket<J, R> {
    /// Hands over the result. A caller that has left does not get it.
    pub(super) fn finish(&self, result: R) {
        let mut slot = self.slot();
        if matches!(*slot, Slot::Waiting) {
            *slot = Slot::Done(result);
            drop(slot);
            self.changed.notify_one();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot<J, R>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Model checking: every interleaving of the callers is tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::*;

    type Squares = Combiner<usize, usize>;

    /// One call: leads or queues, computes for others, and gives the square of its job.
    fn call(combiner: &Squares, job: usize, leaders: &AtomicUsize, leaders_max: usize) -> Option<usize> {
        let entry = match combiner.try_lead() {
            Some(leadership) => Entry::Lead(leadership, job),
            None => combiner.enqueue::<()>(job, |_| Ok(())).expect("admitted"),
        };
        let (leadership, job) = match entry {
            Entry::Lead(leadership, job) => (leadership, job),
            Entry::Queued(ticket) => match combiner.wait(&ticket, None) {
                Outcome::Done(square) => return Some(square),
                Outcome::Lead(leadership, job) => (leadership, job),
                Outcome::Left => return None,
            },
        };
        assert!(leaders.fetch_add(1, Ordering::SeqCst) < leaders_max, "too many lead");
        let others = leadership.take(|jobs| (0..jobs.count()).collect());
        leaders.fetch_sub(1, Ordering::SeqCst);
        drop(leadership);
        for (job, ticket) in others {
            ticket.finish(job * job);
        }
        Some(job * job)
    }

    #[test]
    fn every_caller_gets_its_answer_and_no_place_is_lost() {
        // Three callers have too many interleavings for all to be tried: those with up to two preemptions.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let shared = Arc::new((Squares::new(1), AtomicUsize::new(0)));
            let threads: Vec<_> = (2..4)
                .map(|job| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || assert_eq!(call(&shared.0, job, &shared.1, 1), Some(job * job)))
                })
                .collect();
            assert_eq!(call(&shared.0, 5, &shared.1, 1), Some(25));
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            assert!(shared.0.try_lead().is_some(), "the place is free again");
            assert_eq!(shared.0.waiting(), 0);
        });
    }

    #[test]
    fn a_cancelled_caller_leaves_and_takes_no_place_with_it() {
        loom::model(|| {
            let combiner = Arc::new(Squares::new(1));
            let leadership = combiner.try_lead().expect("idle");
            let ticket = match combiner.enqueue::<()>(7, |_| Ok(())).expect("admitted") {
                Entry::Queued(ticket) => ticket,
                Entry::Lead(..) => unreachable!("somebody leads"),
            };
            let canceller = {
                let (combiner, ticket) = (Arc::clone(&combiner), Arc::clone(&ticket));
                thread::spawn(move || combiner.cancel(&ticket))
            };
            drop(leadership);
            // Promoted before it was cancelled, or cancelled before it was promoted; either way it returns.
            drop(combiner.wait(&ticket, None));
            canceller.join().expect("no panic");
            assert!(combiner.try_lead().is_some(), "the place is free again");
        });
    }
}
