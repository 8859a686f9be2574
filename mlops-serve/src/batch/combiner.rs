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
    /// With those whose callers have left: to look for one of them takes as long as there are others.
    queue: VecDeque<(J, Arc<Ticket<J, R>>)>,
    /// How many of the queue have left, always less than half.
    left: usize,
}

/// What a queued caller waits for.
#[derive(Debug)]
pub(super) struct Ticket<J, R> {
    slot: Mutex<Slot<J, R>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Slot<J, R> {
    /// Its job is in the queue.
    Queued,
    /// Its job is computed.
    Taken,
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
        Self { state: Mutex::new(State { leaders: 0, queue: VecDeque::new(), left: 0 }), leaders_max }
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
        if let Err(error) = admit(state.waiting()) {
            return Err((error, job));
        }
        let ticket = Arc::new(Ticket { slot: Mutex::new(Slot::Queued), changed: Condvar::new() });
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
                waiting @ (Slot::Queued | Slot::Taken) => *slot = waiting,
            }
            match end {
                None => slot = ticket.changed.wait(slot).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    let waited = ticket.changed.wait_timeout(slot, left);
                    let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    slot = guard;
                    if timeout.timed_out() && slot.is_waiting() {
                        // The queue is locked before a slot. What comes between the two is seen above.
                        drop(slot);
                        self.leave(ticket);
                        slot = ticket.slot();
                    }
                }
            }
        }
    }

    /// Makes the caller of a ticket leave, if it still waits.
    pub(super) fn cancel(&self, ticket: &Arc<Ticket<J, R>>) {
        if self.leave(ticket) {
            ticket.changed.notify_one();
        }
    }

    /// The number of jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting()
    }

    /// Whether the caller of a ticket waited, and does so no more.
    fn leave(&self, ticket: &Ticket<J, R>) -> bool {
        let mut state = self.state();
        let mut slot = ticket.slot();
        if !slot.is_waiting() {
            return false;
        }
        let before = std::mem::replace(&mut *slot, Slot::Left);
        drop(slot);
        if matches!(before, Slot::Queued) {
            state.left += 1;
            if 2 * state.left >= state.queue.len() {
                // As many steps as have left since the last time, or fewer.
                state.queue.retain(|(_, ticket)| ticket.is_queued());
                state.left = 0;
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J, R> Leadership<'_, J, R> {
    /// Takes jobs out of the queue to compute them along: of those that wait, those that `pick` names, in ascending
    /// order.
    pub(super) fn take(
        &self,
        pick: impl FnOnce(&mut dyn Iterator<Item = &J>) -> Vec<usize>,
    ) -> Vec<(J, Arc<Ticket<J, R>>)> {
        let mut state = self.0.state();
        let mut waiting = state.queue.iter().filter(|(_, ticket)| ticket.is_queued()).map(|(job, _)| job);
        let picked = pick(&mut waiting);
        let mut taken = Vec::with_capacity(picked.len());
        let mut passed = Vec::new();
        let mut picked = picked.into_iter().peekable();
        let mut place = 0;
        // No further than to the last one that was picked.
        while picked.peek().is_some() {
            let Some((job, ticket)) = state.queue.pop_front() else { break };
            let mut slot = ticket.slot();
            if !matches!(*slot, Slot::Queued) {
                state.left -= 1;
                continue;
            }
            let is_picked = picked.next_if_eq(&place).is_some();
            place += 1;
            if is_picked {
                *slot = Slot::Taken;
            }
            drop(slot);
            if is_picked { &mut taken } else { &mut passed }.push((job, ticket));
        }
        passed.into_iter().rev().for_each(|entry| state.queue.push_front(entry));
        taken
    }
}

impl<J, R> State<J, R> {
    fn waiting(&self) -> usize {
        self.queue.len() - self.left
    }
}

impl<J, R> Slot<J, R> {
    fn is_waiting(&self) -> bool {
        matches!(self, Self::Queued | Self::Taken)
    }
}

impl<J, R> Drop for Leadership<'_, J, R> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        while let Some((job, ticket)) = state.queue.pop_front() {
            let mut slot = ticket.slot();
            if matches!(*slot, Slot::Queued) {
                *slot = Slot::Promoted(job);
                drop(slot);
                drop(state);
                ticket.changed.notify_one();
                return;
            }
            state.left -= 1;
        }
        state.leaders -= 1;
    }
}

impl<J, R> Ticket<J, R> {
    /// Hands over the result. A caller that has left does not get it.
    pub(super) fn finish(&self, result: R) {
        let mut slot = self.slot();
        if slot.is_waiting() {
            *slot = Slot::Done(result);
            drop(slot);
            self.changed.notify_one();
        }
    }

    fn is_queued(&self) -> bool {
        matches!(*self.slot(), Slot::Queued)
    }

    fn slot(&self) -> MutexGuard<'_, Slot<J, R>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn queued(combiner: &Combiner<usize, usize>, job: usize) -> Arc<Ticket<usize, usize>> {
        match combiner.enqueue::<()>(job, |_| Ok(())) {
            Ok(Entry::Queued(ticket)) => ticket,
            other => panic!("somebody leads: {other:?}"),
        }
    }

    #[test]
    fn those_who_left_take_no_room_no_turn_and_no_search() {
        let combiner = Combiner::new(1);
        let leadership = combiner.try_lead().unwrap();
        let tickets: Vec<_> = (0..1000).map(|job| queued(&combiner, job)).collect();
        for (place, ticket) in tickets.iter().enumerate().filter(|(place, _)| place % 3 > 0) {
            combiner.cancel(ticket);
            combiner.cancel(ticket);
            let state = combiner.state();
            assert!(2 * state.left <= state.queue.len(), "{place}");
        }
        assert_eq!(combiner.waiting(), 334);
        let seen = combiner.enqueue(1000, Err).unwrap_err();
        assert_eq!(seen, (334, 1000), "who left is not ahead of anybody");
        // The first, the third and the fourth that wait; what lies behind is not touched.
        let taken = leadership.take(|jobs| {
            assert_eq!(jobs.take(4).copied().collect::<Vec<_>>(), [0, 3, 6, 9]);
            vec![0, 2, 3]
        });
        assert_eq!(taken.iter().map(|(job, _)| *job).collect::<Vec<_>>(), [0, 6, 9]);
        assert_eq!(combiner.waiting(), 331);
        taken.iter().for_each(|(job, ticket)| ticket.finish(job * job));
        assert!(matches!(combiner.wait(&tickets[9], None), Outcome::Done(81)));
        assert!(matches!(combiner.wait(&tickets[1], None), Outcome::Left));
        // Cancelled while it was computed: nothing is left in the queue.
        let taken = leadership.take(|_| vec![0]);
        combiner.cancel(&tickets[3]);
        taken.into_iter().for_each(|(job, ticket)| ticket.finish(job));
        assert!(matches!(combiner.wait(&tickets[3], None), Outcome::Left));
        assert_eq!(combiner.waiting(), 330);
        drop(leadership);
        let Outcome::Lead(leadership, 12) = combiner.wait(&tickets[12], None) else { panic!("its turn") };
        tickets.iter().for_each(|ticket| combiner.cancel(ticket));
        drop(leadership);
        let state = combiner.state();
        assert_eq!((state.queue.len(), state.left, state.leaders), (0, 0, 0));
        drop(state);
        assert!(combiner.try_lead().is_some());
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
