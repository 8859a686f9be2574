//! A runtime that computes for its concurrent callers together.

mod lead;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mlops_core::{Clock, Dimension, Error, ModelSignature, Result};

use super::combiner::{Combiner, Entry, Leadership, Outcome, Ticket};
use super::cost::CostCurve;
use super::settings::{BatchSettings, BatchStats, Call, Cancelling};
use crate::Overloaded;
use crate::latency::AtomicLatencies;
use crate::runtime::{Capabilities, Runtime, SignatureCheck};
use crate::spares::{Held, Spares};
use crate::sync::Arc;
use crate::tensor::{TensorBuf, TensorView};

/// A runtime whose concurrent callers are answered together. See the [module](super).
#[derive(Debug)]
pub struct BatchRuntime {
    runtime: Box<dyn Runtime>,
    check: SignatureCheck,
    settings: BatchSettings,
    clock: Box<dyn Clock>,
    leaders_max: usize,
    combiner: Arc<Combiner<Job, Finished>>,
    cost: Mutex<CostCurve>,
    /// Buffers between calls.
    spares: Spares<Buffers>,
    counters: Counters,
}

/// The rows of a call that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) buffers: Buffers,
    pub(super) rows: usize,
    pub(super) deadline_ns: Option<u64>,
    pub(super) caller: u64,
    pub(super) queued_ns: u64,
}

type Finished = (Buffers, Result<()>);
type Follower = (Job, Arc<Ticket<Job, Finished>>);

#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) inputs: Vec<TensorBuf>,
    pub(super) outputs: Vec<TensorBuf>,
}

impl Held for Buffers {
    fn held_bytes(&self) -> usize {
        self.inputs.held_bytes() + self.outputs.held_bytes()
    }
}

#[derive(Debug, Default)]
struct Counters {
    direct_calls: AtomicU64,
    waited_calls: AtomicU64,
    batches: AtomicU64,
    batches_by_rows_log2: [AtomicU64; 32],
    waits: AtomicLatencies,
    turned_away: AtomicU64,
    too_late: AtomicU64,
    cancelled: AtomicU64,
}

/// A call that waits, to be called off.
#[derive(Debug)]
pub(super) struct Waiting {
    combiner: Arc<Combiner<Job, Finished>>,
    ticket: Arc<Ticket<Job, Finished>>,
}

impl Waiting {
    pub(super) fn cancel(&self) {
        self.combiner.cancel(&self.ticket);
    }
}

/// Of the calls that find the runtime idle, one in so many is timed.
const TIMED_ONE_IN: u64 = 8;
/// More buffers than this are given back to the allocator.
const SPARES_MAX: usize = 64;

impl BatchRuntime {
    /// Batches the calls of this runtime.
    ///
    /// # Errors
    /// `Unsupported` if the runtime's rows depend on each other, or an input or output does not have the
    /// rows as its first axis.
    pub fn new(runtime: impl Runtime, settings: BatchSettings, clock: impl Clock) -> Result<Self> {
        let signature = runtime.signature();
        if !runtime.capabilities().rows_independent {
            return Err(Error::unsupported(format!(
                "{} computes whole batches: rows of several calls cannot share one",
                runtime.engine()
            )));
        }
        let specs = || signature.inputs.iter().chain(&signature.outputs);
        let rows = signature.inputs.first().and_then(|spec| spec.shape.first());
        let by_rows = |spec: &mlops_core::TensorSpec| {
            matches!(rows, Some(Dimension::Symbol(_)))
                && spec.shape.first() == rows
                && !spec.shape[1..].iter().any(|axis| Some(axis) == rows)
        };
        if let Some(spec) = specs().find(|spec| !by_rows(spec)) {
            return Err(Error::unsupported(format!(
                "`{spec}` does not have the rows of a batch as its first axis"
            )));
        }
        let processors = || std::thread::available_parallelism().ok();
        let leaders = settings.parallel.or(runtime.capabilities().parallel_calls).or_else(processors);
        let leaders_max = leaders.map_or(1, NonZeroUsize::get);
        Ok(Self {
            check: SignatureCheck::new(signature.clone())?,
            runtime: Box::new(runtime),
            settings,
            clock: Box::new(clock),
            leaders_max,
            combiner: Arc::new(Combiner::new(leaders_max)),
            cost: Mutex::default(),
            spares: Spares::new(SPARES_MAX),
            counters: Counters::default(),
        })
    }

    /// What it did so far.
    pub fn stats(&self) -> BatchStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let (batch_ns, row_ns) = self.cost().coefficients();
        BatchStats {
            direct_calls: read(&counters.direct_calls),
            waited_calls: read(&counters.waited_calls),
            batches: read(&counters.batches),
            batches_by_rows_log2: counters.batches_by_rows_log2.iter().map(read).collect(),
            waits: counters.waits.read(),
            turned_away: read(&counters.turned_away),
            too_late: read(&counters.too_late),
            cancelled: read(&counters.cancelled),
            batch_ns,
            row_ns,
        }
    }

    /// The number of calls that wait.
    pub fn waiting(&self) -> usize {
        self.combiner.waiting()
    }

    #[inline]
    fn run_direct(
        &self,
        _leads: &Leadership<'_, Job, Finished>,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
    ) -> Result<()> {
        let calls = self.counters.direct_calls.fetch_add(1, Ordering::Relaxed);
        if !calls.is_multiple_of(TIMED_ONE_IN) {
            return self.runtime.run(inputs, outputs);
        }
        self.run_timed(inputs, outputs)
    }

    fn run_timed(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        let start_ns = self.clock.monotonic_ns();
        self.runtime.run(inputs, outputs)?;
        let ns = self.clock.monotonic_ns().saturating_sub(start_ns);
        let rows = inputs.first().map_or(1, TensorView::rows);
        self.cost().observe(rows, ns);
        Ok(())
    }

    fn run_queued(
        &self,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
        rows: usize,
        call: Call<'_>,
    ) -> Result<()> {
        let now_ns = self.clock.monotonic_ns();
        let mut buffers = self.spares.take();
        buffers.inputs.resize_with(inputs.len(), TensorBuf::default);
        for (buffer, input) in buffers.inputs.iter_mut().zip(inputs) {
            buffer.assign(input)?;
        }
        let Call { deadline_ns, caller, cancel, within: _ } = call;
        let job = Job { buffers, rows, deadline_ns, caller, queued_ns: now_ns };
        let entry = self.combiner.enqueue(job, |ahead| self.admit(ahead, rows, deadline_ns, now_ns));
        let ticket = match entry {
            Ok(Entry::Lead(leadership, job)) => return self.lead(leadership, job, outputs),
            Ok(Entry::Queued(ticket)) => ticket,
            Err((error, job)) => {
                self.spares.give_back(job.buffers);
                self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
        };
        if let Some(cancel) = cancel {
            let waiting = Waiting { combiner: Arc::clone(&self.combiner), ticket: Arc::clone(&ticket) };
            if let Cancelling::Cancelled = cancel.set(Cancelling::Waiting(waiting)) {
                self.combiner.cancel(&ticket);
            }
        }
        let patience =
            deadline_ns.map(|deadline_ns| Duration::from_nanos(deadline_ns.saturating_sub(now_ns)));
        let outcome = self.combiner.wait(&ticket, patience);
        let called_off =
            cancel.is_some_and(|cancel| matches!(cancel.set(Cancelling::Idle), Cancelling::Cancelled));
        match outcome {
            Outcome::Lead(leadership, job) => self.lead(leadership, job, outputs),
            Outcome::Done((mut buffers, result)) => {
                if result.is_ok() {
                    // Sized by the signature, as the caller's are.
                    outputs.swap_with_slice(&mut buffers.outputs);
                }
                self.spares.give_back(buffers);
                result
            }
            Outcome::Left if called_off => {
                self.counters.cancelled.fetch_add(1, Ordering::Relaxed);
                Err(Overloaded::error("the call was called off while it waited"))
            }
            Outcome::Left => Err(self.too_late()),
        }
    }

    /// Whether a call that runs at once can make its deadline.
    fn in_time(&self, rows: usize, deadline_ns: Option<u64>) -> Result<()> {
        let Some(deadline_ns) = deadline_ns else { return Ok(()) };
        let have_ns = deadline_ns.saturating_sub(self.clock.monotonic_ns()) as f64;
        let need_ns = self.cost().predict_ns(rows as f64);
        // An answer takes some time, also where nothing is known of how much.
        if have_ns > 0.0 && need_ns <= have_ns {
            return Ok(());
        }
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        let (need_us, have_us) = (need_ns / 1e3, have_ns / 1e3);
        Err(Overloaded::error(format!(
            "an answer would take about {need_us:.0} us, the deadline leaves {have_us:.0} us"
        )))
    }

    /// Whether a call may wait behind so many others.
    fn admit(&self, ahead: usize, rows: usize, deadline_ns: Option<u64>, now_ns: u64) -> Result<()> {
        if ahead >= self.settings.waiting_max {
            return Err(Overloaded::error(format!(
                "{ahead} calls wait already, at most {ahead} may: try again later"
            )));
        }
        let Some(deadline_ns) = deadline_ns else { return Ok(()) };
        let (batch_ns, row_ns) = self.cost().coefficients();
        // What waits is taken to be of the size of this call. One batch runs, then those ahead, then ours.
        let rows_ahead = ahead.saturating_mul(rows) as f64;
        let batches = (rows_ahead / self.settings.rows_max.get() as f64).ceil() + 1.0;
        let wait_ns = (batches * batch_ns + rows_ahead * row_ns) / self.leaders_max as f64;
        let need_ns = wait_ns + batch_ns + row_ns * rows as f64;
        let have_ns = deadline_ns.saturating_sub(now_ns) as f64;
        if need_ns <= have_ns {
            return Ok(());
        }
        let (need_us, have_us) = (need_ns / 1e3, have_ns / 1e3);
        Err(Overloaded::error(format!(
            "an answer would take about {need_us:.0} us behind {ahead} calls, the deadline leaves {have_us:.0} us"
        )))
    }

    fn size_outputs(&self, outputs: &mut Vec<TensorBuf>) {
        outputs.resize_with(self.check.signature().outputs.len(), TensorBuf::default);
    }

    #[cold]
    fn too_late(&self) -> Error {
        self.counters.too_late.fetch_add(1, Ordering::Relaxed);
        Overloaded::error("the deadline passed while the call waited")
    }

    fn cost(&self) -> MutexGuard<'_, CostCurve> {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for BatchRuntime {
    fn engine(&self) -> &str {
        self.runtime.engine()
    }

    fn signature(&self) -> &ModelSignature {
        self.runtime.signature()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::row_function()
    }

    fn memory_usage(&self) -> usize {
        self.runtime.memory_usage() + self.spares.memory_usage()
    }

    #[inline]
    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.run_call(inputs, outputs, Call::default())
    }

    /// As the call asks; `Unavailable` too if too many wait, the deadline cannot be met, or the call was called off.
    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], call: Call<'_>) -> Result<()> {
        let call = Call { deadline_ns: call.end_ns(|| self.clock.monotonic_ns()), ..call };
        if let Some(leadership) = self.combiner.try_lead() {
            if call.deadline_ns.is_some() {
                self.in_time(self.check.inputs(inputs)?, call.deadline_ns)?;
            }
            return self.run_direct(&leadership, inputs, outputs);
        }
        let rows = self.check.inputs(inputs)?;
        self.check.buffers(outputs)?;
        if rows >= self.settings.rows_max.get() {
            self.in_time(rows, call.deadline_ns)?;
            return self.runtime.run(inputs, outputs);
        }
        self.run_queued(inputs, outputs, rows, call)
    }
}

impl Counters {
    fn batch(&self, rows: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let log2 = rows.max(1).ilog2() as usize;
        self.batches_by_rows_log2[log2.min(31)].fetch_add(1, Ordering::Relaxed);
    }
}
