//! Which calls are answered together.

use std::collections::HashMap;
use std::iter;

use super::cost::CostCurve;
use super::runtime::Job;
use crate::tensor::TensorBuf;

/// Which of the waiting calls go with the leader's: the callers take turns until the batch is full or a
/// deadline would be missed. Gives places in ascending order. Looks at the first calls alone, since callers wait for it
/// when they join or leave: at [`LOOKED_AT`] for each row of a batch.
pub(super) fn pick(
    lead: &Job,
    jobs: &mut dyn Iterator<Item = &Job>,
    rows_max: usize,
    cost: CostCurve,
    now_ns: u64,
) -> Vec<usize> {
    let fitting: Vec<(usize, &Job)> = jobs
        .take(rows_max.saturating_mul(LOOKED_AT))
        .enumerate()
        .filter(|(_, job)| fits(lead, job))
        .collect();
    let total = lead.rows + fitting.iter().map(|(_, job)| job.rows).sum::<usize>();
    if total <= rows_max && iter::once(lead).chain(fitting.iter().map(|(_, job)| *job)).all(is_patient) {
        return fitting.into_iter().map(|(place, _)| place).collect();
    }
    let mut turns: HashMap<u64, usize> = HashMap::from([(lead.caller, 1)]);
    let mut order: Vec<(usize, usize, &Job)> = Vec::with_capacity(fitting.len());
    for (place, job) in fitting {
        let turn = turns.entry(job.caller).or_default();
        order.push((*turn, place, job));
        *turn += 1;
    }
    order.sort_unstable_by_key(|(turn, place, _)| (*turn, *place));
    let (mut rows, mut deadline_ns) = (lead.rows, lead.deadline_ns.unwrap_or(u64::MAX));
    let mut places = Vec::with_capacity(order.len());
    for (_, place, job) in order {
        let joint = deadline_ns.min(job.deadline_ns.unwrap_or(u64::MAX));
        let end_ns = now_ns.saturating_add(cost.predict_ns((rows + job.rows) as f64) as u64);
        if rows + job.rows <= rows_max && end_ns <= joint {
            rows += job.rows;
            deadline_ns = joint;
            places.push(place);
        }
    }
    places.sort_unstable();
    places
}

/// Enough for turns to matter.
const LOOKED_AT: usize = 4;

fn is_patient(job: &Job) -> bool {
    job.deadline_ns.is_none()
}

/// Whether two calls can share a batch: their rows have the same shapes.
fn fits(one: &Job, other: &Job) -> bool {
    let same = |(one, other): (&TensorBuf, &TensorBuf)| one.view().shape()[1..] == other.view().shape()[1..];
    one.buffers.inputs.iter().zip(&other.buffers.inputs).all(same)
}

#[cfg(test)]
mod tests {
    use super::super::runtime::Buffers;
    use super::*;

    fn job(caller: u64, rows: usize, deadline_ns: Option<u64>, width: usize) -> Job {
        let mut input = TensorBuf::default();
        input.reset::<f32>([rows, width]).unwrap();
        let buffers = Buffers { inputs: vec![input], outputs: Vec::new() };
        Job { buffers, rows, deadline_ns, caller, queued_ns: 0 }
    }

    fn picked(lead: &Job, jobs: &[Job], rows_max: usize) -> Vec<usize> {
        let mut cost = CostCurve::default();
        (0..20).for_each(|rows| cost.observe(1 + rows, 1000 + 100 * (1 + rows as u64)));
        pick(lead, &mut jobs.iter(), rows_max, cost, 0)
    }

    #[test]
    fn callers_take_turns_when_not_all_fit() {
        let mut jobs: Vec<Job> = (0..6).map(|_| job(7, 1, None, 1)).collect();
        jobs.push(job(8, 1, None, 1));
        jobs.push(job(9, 1, None, 1));
        assert_eq!(picked(&job(1, 1, None, 1), &jobs, 4), [0, 6, 7]);
        // The leader's own caller had its turn.
        assert_eq!(picked(&job(7, 1, None, 1), &jobs, 4), [0, 6, 7]);
        assert_eq!(picked(&job(7, 1, None, 1), &jobs, 3), [6, 7]);
        assert_eq!(picked(&job(1, 1, None, 1), &jobs, 100), Vec::from_iter(0..8));
    }

    #[test]
    fn a_long_queue_is_looked_at_as_far_as_a_batch_needs() {
        let jobs: Vec<Job> = (0..1000).map(|place| job(place % 7, 1, None, 1)).collect();
        let mut looked_at = 0;
        let mut counted = jobs.iter().inspect(|_| looked_at += 1);
        let places = pick(&job(9, 1, None, 1), &mut counted, 8, CostCurve::default(), 0);
        assert_eq!((places, looked_at), (Vec::from_iter(0..7), 32));
    }

    #[test]
    fn deadlines_and_shapes_limit_the_batch() {
        let jobs = [job(1, 1, None, 1), job(2, 1, None, 2), job(3, 5, None, 1), job(4, 1, Some(1500), 1)];
        assert_eq!(
            picked(&job(0, 1, None, 1), &jobs, 100),
            [0, 2],
            "the fourth would be late in a batch of 8"
        );
        assert_eq!(picked(&job(0, 1, Some(1250), 1), &jobs, 100), [0], "the leader would be late");
        assert_eq!(picked(&job(0, 1, None, 2), &jobs, 100), [1], "rows of other shapes");
    }
}
