//! How batches are formed, and what one call asks for.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::runtime::Waiting;
use crate::Latencies;

/// How batches are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchSettings {
    /// The most rows in a batch. Calls with at least as many run beside the queue. Default 256.
    pub rows_max: NonZeroUsize,
    /// The most calls that wait; further ones are turned away at once. Default 4096.
    pub waiting_max: usize,
    /// How many batches run at once. Default: as many as the runtime says, or one for each processor.
    pub parallel: Option<NonZeroUsize>,
}

const ROWS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

impl Default for BatchSettings {
    fn default() -> Self {
        Self { rows_max: ROWS_MAX, waiting_max: 4096, parallel: None }
    }
}

impl BatchSettings {
    /// Sets the most rows in a batch.
    #[must_use]
    pub fn rows_max(mut self, rows: NonZeroUsize) -> Self {
        self.rows_max = rows;
        self
    }

    /// Sets the most calls that wait.
    #[must_use]
    pub fn waiting_max(mut self, calls: usize) -> Self {
        self.waiting_max = calls;
        self
    }

    /// Sets how many batches run at once.
    #[must_use]
    pub fn parallel(mut self, batches: NonZeroUsize) -> Self {
        self.parallel = Some(batches);
        self
    }
}

/// What one call asks of a [`BatchRuntime`](super::BatchRuntime): by [`run_call`](crate::runtime::Runtime::run_call), or
/// through an endpoint by [`Request::call`](crate::endpoint::Request::call).
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    pub(super) deadline_ns: Option<u64>,
    pub(super) within: Option<Duration>,
    pub(crate) caller: u64,
    pub(crate) cancel: Option<&'a Cancel>,
}

impl<'a> Call<'a> {
    /// Must be answered before the clock's [`monotonic_ns`](mlops_core::Clock::monotonic_ns) shows this: the clock of
    /// the batcher, and of the endpoint if there is one. Give them the same, not two of a kind, whose zeros differ.
    ///
    /// A call that cannot make it is turned away at once, as far as the learned cost tells; one that did not
    /// make it in the queue gives up in time; and a batch takes no more rows than its deadlines allow. Who waits
    /// for a batch that takes longer than it used to gives up in time; who computes it answers late: only an
    /// [`IsolatedRuntime`](crate::isolation::IsolatedRuntime) is given up.
    #[must_use]
    pub fn deadline_ns(mut self, deadline_ns: u64) -> Self {
        self.deadline_ns = Some(deadline_ns);
        self
    }

    /// As [`deadline_ns`](Self::deadline_ns), this long from when the runtime is asked: without a clock that caller and
    /// runtime share. Of both, the earlier one holds. Only a [`BatchRuntime`](super::BatchRuntime) looks at it: another
    /// begins at once. In a [`Chain`](crate::compose::Chain) or [`Ensemble`](crate::compose::Ensemble) each part has
    /// this long from when it is asked itself; [`deadline_ns`](Self::deadline_ns) is one end for all of them.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Who calls. When not all that wait fit into a batch, callers take turns, so that one who sends a
    /// thousand rows does not push the others back.
    #[must_use]
    pub fn caller(mut self, caller: u64) -> Self {
        self.caller = caller;
        self
    }

    /// Lets another thread call it off.
    #[must_use]
    pub fn cancel(mut self, cancel: &'a Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Whether it was called off.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }

    /// As it is when so much of its time is spent.
    pub(crate) fn after(self, spent: Duration) -> Self {
        Self { within: self.within.map(|within| within.saturating_sub(spent)), ..self }
    }

    /// Whether it has a deadline.
    pub(crate) fn is_urgent(&self) -> bool {
        self.deadline_ns.is_some() || self.within.is_some()
    }

    /// When it has to be answered, by a clock that shows this.
    pub(crate) fn end_ns(&self, now_ns: impl FnOnce() -> u64) -> Option<u64> {
        let Some(within) = self.within else { return self.deadline_ns };
        let end_ns = now_ns().saturating_add(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
        Some(self.deadline_ns.map_or(end_ns, |deadline_ns| deadline_ns.min(end_ns)))
    }
}

/// Calls off one call that waits, for its turn or for another caller that computes its batch. A caller that computes
/// itself is answered.
#[derive(Debug, Default)]
pub struct Cancel(Mutex<Cancelling>);

#[derive(Debug, Default)]
pub(super) enum Cancelling {
    #[default]
    Idle,
    Waiting(Waiting),
    Cancelled,
}

impl Cancel {
    /// Calls off the call that waits with this, or the next one that would.
    pub fn cancel(&self) {
        if let Cancelling::Waiting(waiting) = self.set(Cancelling::Cancelled) {
            waiting.cancel();
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Cancelling::Cancelled)
    }

    pub(super) fn set(&self, to: Cancelling) -> Cancelling {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            Cancelling::Cancelled => Cancelling::Cancelled,
            _ => std::mem::replace(&mut *state, to),
        }
    }
}

/// What a [`BatchRuntime`](super::BatchRuntime) did so far.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BatchStats {
    /// Calls that ran at once, alone, without a copy.
    pub direct_calls: u64,
    /// Calls that waited and were answered.
    pub waited_calls: u64,
    /// Batches that answered them, and the calls of one caller that found nobody to take along.
    pub batches: u64,
    /// Batches by size: at index `i` those with at least `2^i` and fewer than `2^(i+1)` rows.
    pub batches_by_rows_log2: Vec<u64>,
    /// How long the calls waited before their batch began.
    pub waits: Latencies,
    /// Calls turned away because too many waited, or because their deadline could not be met.
    pub turned_away: u64,
    /// Calls whose deadline passed while they waited.
    pub too_late: u64,
    /// Calls that were called off.
    pub cancelled: u64,
    /// What a batch costs by itself, in nanoseconds, as learned.
    pub batch_ns: f64,
    /// What each of its rows adds, in nanoseconds, as learned.
    pub row_ns: f64,
}
