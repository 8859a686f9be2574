//! One caller computes for those that wait.

use std::sync::atomic::Ordering;

use mlops_core::{Error, Result};

use super::{BatchRuntime, Buffers, Finished, Follower, Job};
use crate::Overloaded;
use crate::batch::combiner::Leadership;
use crate::batch::pick::pick;
use crate::endpoint::isolate;
use crate::runtime::Runtime;
use crate::tensor::{TensorBuf, TensorView};

impl BatchRuntime {
    /// Computes the job and what it can take along, then hands on.
    pub(super) fn lead(
        &self,
        leadership: Leadership<'_, Job, Finished>,
        job: Job,
        outputs: &mut [TensorBuf],
    ) -> Result<()> {
        let now_ns = self.clock.monotonic_ns();
        if job.deadline_ns.is_some_and(|deadline_ns| deadline_ns < now_ns) {
            drop(leadership);
            self.spares.give_back(job.buffers);
            return Err(self.too_late());
        }
        let cost = *self.cost();
        let taken = leadership.take(|jobs| pick(&job, jobs, self.settings.rows_max.get(), cost, now_ns));
        let mut followers = Followers(taken);
        let rows = job.rows + followers.0.iter().map(|(job, _)| job.rows).sum::<usize>();
        self.counters.batch(rows);
        for job in std::iter::once(&job).chain(followers.0.iter().map(|(job, _)| job)) {
            self.counters.waited_calls.fetch_add(1, Ordering::Relaxed);
            self.counters.waits.record(now_ns.saturating_sub(job.queued_ns));
        }
        if followers.0.is_empty() {
            let inputs: Vec<TensorView<'_>> = job.buffers.inputs.iter().map(TensorBuf::view).collect();
            let result = self.run_timed(&inputs, outputs);
            drop(leadership);
            drop(inputs);
            self.spares.give_back(job.buffers);
            return result;
        }
        let mut batch = self.spares.take();
        let ran = isolate(self.runtime.engine(), || self.run_together(&job, &followers, rows, &mut batch));
        let result = match ran {
            Ok(()) => {
                // The next leader wakes while this one deals out the answers.
                drop(leadership);
                self.deal_out(&batch, job.rows, &mut followers, outputs)
            }
            // No row is to blame for a model that does not answer in time: to ask for each would take as long again.
            Err(error) if error.is_retryable() => {
                drop(leadership);
                for (job, ticket) in followers.0.drain(..) {
                    ticket.finish((job.buffers, Err(again(&error))));
                }
                Err(error)
            }
            // One bad row must not cost the others their answer: each call by itself.
            Err(_) => {
                for (job, ticket) in followers.0.drain(..) {
                    let Job { mut buffers, .. } = job;
                    let result = isolate(self.runtime.engine(), || self.run_alone(&mut buffers));
                    ticket.finish((buffers, result));
                }
                let inputs: Vec<TensorView<'_>> = job.buffers.inputs.iter().map(TensorBuf::view).collect();
                self.runtime.run(&inputs, outputs)
            }
        };
        self.spares.give_back(batch);
        self.spares.give_back(job.buffers);
        result
    }

    fn run_together(&self, job: &Job, followers: &Followers, rows: usize, batch: &mut Buffers) -> Result<()> {
        let Buffers { inputs, outputs } = batch;
        inputs.resize_with(job.buffers.inputs.len(), TensorBuf::default);
        self.size_outputs(outputs);
        for (index, input) in inputs.iter_mut().enumerate() {
            input.assign(&job.buffers.inputs[index].view())?;
            for (follower, _) in &followers.0 {
                input.append_rows(&follower.buffers.inputs[index].view())?;
            }
        }
        let inputs: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
        self.run_timed(&inputs, outputs)?;
        match outputs.iter().find(|output| output.view().shape().is_empty() || output.view().rows() != rows) {
            None => Ok(()),
            Some(output) => {
                let engine = self.runtime.engine();
                Err(Error::data(format!("{engine} gave {:?} for {rows} rows", output.view())))
            }
        }
    }

    fn run_alone(&self, buffers: &mut Buffers) -> Result<()> {
        let Buffers { inputs, outputs } = buffers;
        self.size_outputs(outputs);
        let inputs: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
        self.runtime.run(&inputs, outputs)
    }

    /// Cuts the outputs of a batch apart.
    fn deal_out(
        &self,
        batch: &Buffers,
        own_rows: usize,
        followers: &mut Followers,
        outputs: &mut [TensorBuf],
    ) -> Result<()> {
        let cut = |range: std::ops::Range<usize>, outputs: &mut [TensorBuf]| {
            let mut whole = batch.outputs.iter().zip(outputs);
            whole.try_for_each(|(whole, part)| part.assign(&whole.view().slice_rows(range.clone())?))
        };
        let mut start = own_rows;
        for (job, ticket) in followers.0.drain(..) {
            let Job { mut buffers, rows, .. } = job;
            self.size_outputs(&mut buffers.outputs);
            let result = cut(start..start + rows, &mut buffers.outputs);
            start += rows;
            ticket.finish((buffers, result));
        }
        cut(0..own_rows, outputs)
    }
}

/// The error of a batch, for one more of its calls.
fn again(error: &Error) -> Error {
    let text = format!("{error:#}");
    if Overloaded::is_cause_of(error) { Overloaded::error(text) } else { Error::new(error.kind(), text) }
}

/// Callers who get an error rather than wait for ever, should their leader not come to answer them.
#[derive(Debug)]
struct Followers(Vec<Follower>);

impl Drop for Followers {
    fn drop(&mut self) {
        for (job, ticket) in self.0.drain(..) {
            let error = Error::internal("the caller that computed the batch panicked");
            ticket.finish((job.buffers, Err(error)));
        }
    }
}
