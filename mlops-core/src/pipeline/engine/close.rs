//! How a run ends, and the record that it leaves.

use std::collections::BTreeMap;

use super::{Engine, Found, Halt, Settled};
use crate::Result;
use crate::pipeline::Approval;
use crate::pipeline::artifact::typed;
use crate::pipeline::node::{Node, Work};
use crate::pipeline::observer::Notice;
use crate::run::{ArtifactRecord, Run, RunStatus, StepRecord, StepState};

impl Engine<'_> {
    pub(in crate::pipeline) fn record(&self, node: &Node, settled: Option<&Settled>) -> StepRecord {
        let mut record = StepRecord::new(node.name.clone(), StepState::NotReached);
        match settled {
            Some(Settled::Done(done)) => {
                record.state = done.state;
                record.key = done.key;
                record.reason.clone_from(&done.reason);
                if done.state != StepState::Injected {
                    record.inputs = node.sources.iter().flat_map(|source| self.artifacts(source)).collect();
                    for part in &done.parts {
                        record.inputs.extend_from_slice(&part.outputs);
                    }
                }
                let outputs = node.outputs.iter().zip(&done.values);
                record.outputs = outputs
                    .map(|(output, value)| ArtifactRecord { name: output.name.clone(), digest: value.digest })
                    .collect();
                record.metrics.clone_from(&done.metrics);
                record.attempts = done.attempts;
                record.duration_us = done.duration_us;
            }
            Some(Settled::Skipped) => record.state = StepState::Skipped,
            Some(Settled::Asks(_)) => record.state = StepState::Suspended,
            Some(Settled::Waits) | None => {
                // Nobody needs the node, since somebody gave what is wanted of it.
                let given = node.outputs.iter().zip(node.first..).filter_map(|(output, slot)| {
                    let digest = self.given.get(&slot)?.digest;
                    Some(ArtifactRecord { name: output.name.clone(), digest })
                });
                record.outputs = given.collect();
                if !record.outputs.is_empty() {
                    record.state = StepState::Injected;
                }
            }
        }
        record
    }

    fn status(&self) -> Result<RunStatus> {
        let mut waiting = Vec::new();
        let mut stopped = None;
        for (node, settled) in self.pipeline.nodes.iter().zip(&self.settled) {
            let step = || node.name.to_string();
            match (&node.work, settled.get()) {
                (_, Some(Settled::Asks(question))) => {
                    let mut question = question.clone();
                    if let (None, Some(limit)) = (question.deadline, node.step.timeout) {
                        question.deadline = Some(self.scope.clock.now().saturating_add(limit));
                        if let Some(store) = &self.runner.store {
                            store.limit(&self.scope.run, &question)?;
                        }
                    }
                    waiting.push(question);
                }
                (Work::Approval, Some(Settled::Done(done))) => {
                    for value in &done.values {
                        let answer = typed::<Approval>(&value.erased)?;
                        if answer.expired {
                            return Ok(RunStatus::Expired { step: step(), deadline: answer.time });
                        }
                        if !answer.granted {
                            let (by, comment) = (answer.by.clone(), answer.comment.clone());
                            return Ok(RunStatus::Rejected { step: step(), by, comment });
                        }
                    }
                }
                (Work::Require(refusal), Some(Settled::Done(_))) if stopped.is_none() => {
                    if let Some(Found::Value(decision)) =
                        node.sources.first().map(|s| self.input(s)).transpose()?
                    {
                        stopped = refusal(&decision.erased)?.map(|reason| (step(), reason));
                    }
                }
                _ => {}
            }
        }
        Ok(match stopped {
            _ if !waiting.is_empty() => RunStatus::Suspended { waiting },
            Some((step, reason)) => RunStatus::Stopped { step, reason },
            None => RunStatus::Completed,
        })
    }

    pub(super) fn finish(&self, halt: Option<&Halt>) -> Result<Run> {
        let status = match halt {
            None => self.status()?,
            Some(Halt::Cancelled) => RunStatus::Cancelled,
            Some(Halt::TimedOut { step, error, .. }) => RunStatus::TimedOut {
                step: step.to_string(),
                error: error.as_ref().map(|error| format!("{error:#}")),
            },
            Some(Halt::Failed { step, error, .. }) => {
                RunStatus::Failed { step: step.to_string(), error: format!("{error:#}") }
            }
            Some(Halt::Broken(error)) => {
                RunStatus::Failed { step: String::new(), error: format!("{error:#}") }
            }
        };
        if matches!(status, RunStatus::Suspended { .. }) {
            // What is approved is what was seen, even if the cache forgets it meanwhile.
            self.commit_hits(true)?;
        }
        let mut params = BTreeMap::new();
        let mut steps = Vec::with_capacity(self.pipeline.nodes.len());
        for (node, settled) in self.pipeline.nodes.iter().zip(&self.settled) {
            if let Work::Param(param) = &node.work {
                let given = self.given.get(&node.first).map_or(&param.default, |given| &given.erased);
                params.insert(node.name.to_string(), (param.to_json)(given)?);
            }
            let settled = settled.get();
            if let Some(Settled::Done(done)) = settled {
                steps.extend_from_slice(&done.parts);
            }
            let mut record = self.record(node, settled);
            if let Some((step, attempts)) = halt.and_then(Halt::attempted)
                && is_of(step, node)
            {
                record.state = StepState::Failed;
                record.attempts = attempts;
                if *step != node.name {
                    let item = StepRecord::new(step.clone(), StepState::Failed);
                    steps.push(StepRecord { attempts, ..item });
                }
            }
            steps.push(record);
        }
        let run = Run {
            format: Run::FORMAT,
            id: self.scope.run.clone(),
            pipeline: self.scope.pipeline.to_string(),
            status,
            seed: self.scope.seed,
            started: self.started,
            finished: self.scope.clock.now(),
            params,
            steps,
        };
        if let Some(store) = &self.runner.store {
            store.save_run(&run)?;
        }
        self.scope.notify(&Notice::RunDone(&run));
        Ok(run)
    }
}

/// Whether a step of this name is the node, or an item of it.
fn is_of(step: &str, node: &Node) -> bool {
    match (step.strip_prefix(&*node.name), &node.work) {
        (Some(""), _) => true,
        (Some(item), Work::Each(_)) => item.starts_with('['),
        _ => false,
    }
}
