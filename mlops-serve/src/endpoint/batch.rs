//! One row for each of many requests.

use std::ptr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{Error, Result};

use super::answer::to_us;
use super::deployment::{Deployment, Slot};
use super::request::{Answer, Request};
use super::{Endpoint, Model};
use crate::Overloaded;
use crate::batch::{Call, Cancel};

impl Endpoint {
    /// Scores one row for each of many requests, arm by arm. A row that does not fit, or whose model fails
    /// on it, costs its own request alone.
    ///
    /// The [`call`](Request::call) of each request counts. Those that were called off or are too late are given to no
    /// model. Of the others of an arm, those with the nearest deadlines go first, and a batch takes no more rows than its
    /// first deadline allows, by what batches of this model took before; the rest follow in the next. A request that
    /// no batch can answer in time is tried by itself at the end, if it has time left by then. Calling off works up to
    /// when a batch begins; while it waits in a [`BatchRuntime`](crate::batch::BatchRuntime), if all its requests share
    /// one [`Cancel`](crate::batch::Cancel).
    ///
    /// The time of a batch depends on its size, which differs from arm to arm: it is in the answers, but not
    /// in the latencies that [`take_traffic`](Self::take_traffic) gives and that guardrails look at.
    ///
    /// # Errors
    /// `Invalid` if there are not as many rows as requests. What concerns one request is in its own answer,
    /// as in [`score`](Self::score).
    pub fn score_batch(
        &self,
        requests: &[Request<'_>],
        rows: &[&[Value<'_>]],
    ) -> Result<Vec<Result<Answer>>> {
        if requests.len() != rows.len() {
            let (requests, rows) = (requests.len(), rows.len());
            return Err(Error::invalid(format!(
                "{requests} requests with {rows} rows: want one row a request"
            )));
        }
        let current = self.current.load();
        let Some(deployment) = current.as_ref() else { return Err(self.not_ready()) };
        let is_urgent = requests.iter().any(|request| request.call.is_some_and(Call::is_urgent));
        let begin_ns = if is_urgent { self.clock.monotonic_ns() } else { 0 };
        let end_ns = |request: &Request<'_>| request.call.and_then(|call| call.end_ns(|| begin_ns));
        let ends_ns = requests.iter().map(|request| end_ns(request).unwrap_or(AT_LEISURE)).collect();
        let answers = vec![None; rows.len()];
        let mut batch = Batch { endpoint: self, deployment, requests, rows, is_urgent, ends_ns, answers };
        let arms: Vec<usize> = requests.iter().map(|request| deployment.arm(request)).collect();
        for (arm, slot) in deployment.arms.iter().enumerate() {
            // Of requests whose rows would change each other's answers, each is scored for itself below.
            if slot.model.runtime().capabilities().rows_independent {
                let rows = (0..rows.len()).filter(|index| arms[*index] == arm).collect();
                batch.score_arm(slot, arm == 0, rows);
            }
        }
        let one_by_one = |(index, answer): (usize, Option<Answer>)| match answer {
            Some(answer) => Ok(answer),
            None => {
                let start_ns = if is_urgent { self.clock.monotonic_ns() } else { begin_ns };
                let spent = Duration::from_nanos(start_ns.saturating_sub(begin_ns));
                let call = requests[index].call.map(|call| call.after(spent));
                let answer = self.score(Request { call: call.as_ref(), ..requests[index] }, rows[index]);
                // Or one slow batch would be the measure of all for ever.
                if is_urgent && answer.as_ref().is_ok_and(|answer| !answer.origin.fallback) {
                    let ns = self.clock.monotonic_ns().saturating_sub(start_ns);
                    deployment.arms[arms[index]].model.observe(1, ns);
                }
                answer
            }
        };
        Ok(batch.answers.into_iter().enumerate().map(one_by_one).collect())
    }
}

/// The end of a request without a deadline.
const AT_LEISURE: u64 = u64::MAX;

/// Requests on their way to their answers. Rows go by their places among all.
struct Batch<'a> {
    endpoint: &'a Endpoint,
    deployment: &'a Deployment,
    requests: &'a [Request<'a>],
    rows: &'a [&'a [Value<'a>]],
    /// Whether any request has a deadline.
    is_urgent: bool,
    /// When each has to be answered, by the clock of the endpoint.
    ends_ns: Vec<u64>,
    /// Those that no batch answers stay open.
    answers: Vec<Option<Answer>>,
}

impl Batch<'_> {
    fn score_arm(&mut self, slot: &Slot, champion: bool, mut waiting: Vec<usize>) {
        waiting.sort_by_key(|index| self.ends_ns[*index]);
        loop {
            let now_ns = if self.is_urgent { self.endpoint.clock.monotonic_ns() } else { 0 };
            let batch = self.next(&slot.model, &mut waiting, now_ns);
            if batch.is_empty() {
                return;
            }
            if let Err(error) = self.score(slot, champion, &batch, now_ns)
                && Overloaded::is_cause_of(&error)
                && self.ends_ns[batch[0]] != AT_LEISURE
            {
                // Turned away for the sake of its deadlines, which are not those of all.
                waiting.extend(batch.into_iter().filter(|index| self.ends_ns[*index] == AT_LEISURE));
            }
        }
    }

    /// Takes out the rows that go next. Those that cannot be answered in time, and those called off, stay open.
    fn next(&self, model: &Model, waiting: &mut Vec<usize>, now_ns: u64) -> Vec<usize> {
        let cost = *model.cost.lock().unwrap_or_else(PoisonError::into_inner);
        let end_ns = |rows: usize| now_ns.saturating_add(cost.predict_ns(rows as f64) as u64);
        let is_called_off = |index: usize| self.requests[index].call.is_some_and(Call::is_cancelled);
        waiting.retain(|index| self.ends_ns[*index] > end_ns(1) && !is_called_off(*index));
        let Some(first) = waiting.first() else { return Vec::new() };
        let first_ns = self.ends_ns[*first];
        let fitting =
            (1..=waiting.len()).rev().find(|rows| first_ns == AT_LEISURE || end_ns(*rows) <= first_ns);
        waiting.drain(..fitting.unwrap_or(1)).collect()
    }

    /// Scores these rows together. On an error they stay open.
    fn score(&mut self, slot: &Slot, champion: bool, batch: &[usize], now_ns: u64) -> Result<()> {
        let (endpoint, timed) = (self.endpoint, self.is_urgent || self.endpoint.timed);
        let picked: Vec<_> = batch.iter().map(|index| self.rows[*index]).collect();
        let call = self.joint_call(batch, now_ns);
        let mut scores = Vec::with_capacity(batch.len());
        let start_ns = timed.then(|| endpoint.clock.monotonic_ns());
        let score = |model: &Model| model.score_rows_call(&picked, &mut scores, call.as_ref());
        let (permit, result) = endpoint.attempt(slot, champion, score);
        result?;
        endpoint.succeeded(slot, permit);
        let latency_ns = endpoint.latency_ns(start_ns);
        if let Some(ns) = latency_ns {
            slot.model.observe(batch.len(), ns);
        }
        let latency_us = to_us(latency_ns.filter(|_| endpoint.timed));
        for (index, score) in batch.iter().copied().zip(scores) {
            slot.counters.answered(None, false);
            if let Some(remembered) = &endpoint.remembered {
                remembered.put(self.rows[index], score, &slot.origin);
            }
            let origin = Arc::clone(&slot.origin);
            let answer = Answer { score, decision: origin.decides(score), origin, latency_us };
            endpoint.record(self.deployment, &self.requests[index], self.rows[index], &answer);
            self.answers[index] = Some(answer);
        }
        Ok(())
    }

    /// What a batch asks for: the deadline of its first row, in that row's name.
    fn joint_call(&self, batch: &[usize], now_ns: u64) -> Option<Call<'_>> {
        let calls = || batch.iter().map(|index| self.requests[*index].call);
        let first = calls().next()??;
        let mut joint = Call::default().caller(first.caller);
        let end_ns = self.ends_ns[batch[0]];
        if end_ns != AT_LEISURE {
            joint = joint.within(Duration::from_nanos(end_ns.saturating_sub(now_ns)));
        }
        let is_shared = |cancel: &&Cancel| {
            calls().all(|call| call.and_then(|call| call.cancel).is_some_and(|other| ptr::eq(other, *cancel)))
        };
        match first.cancel.filter(is_shared) {
            Some(cancel) => Some(joint.cancel(cancel)),
            None => Some(joint),
        }
    }
}
