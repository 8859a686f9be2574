//! What a run would do, and why.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::engine::{Done, Engine, Found, Halt, Mode, Settled};
use super::handle::Source;
use super::node::{Node, Work};
use super::unit::{Miss, Unit};
use crate::run::StepState;
use crate::{Error, Result};

/// What a run would do with each step, in order. Prints as a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The steps; of a map, the items first.
    pub steps: Vec<PlannedStep>,
}

/// What a run would do with one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlannedStep {
    /// Its name.
    pub name: Arc<str>,
    /// What would happen.
    pub decision: Planned,
}

/// What would happen to a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Planned {
    /// It was committed in this run.
    Resume,
    /// Its result is in the cache.
    Hit,
    /// It would be computed.
    Compute(Reason),
    /// It takes a value that is not known before this step ran; if that gives what it gave before, it may
    /// still be a hit.
    Unknown {
        /// The step that would have to run first.
        after: Arc<str>,
    },
    /// Its value is given.
    Given,
    /// A condition keeps it from running.
    Skip,
    /// It would ask a person.
    Ask,
    /// Nobody asked for it.
    NotNeeded,
}

/// Why a step would be computed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The runner has no store.
    NoStore,
    /// The step runs in every run.
    Always,
    /// The step has never run with this store.
    Never,
    /// These parts of its key changed since it ran last.
    Changed(Vec<String>),
    /// It ran with these inputs, but the result is gone.
    Gone,
    /// The cached result has this age, more than the step allows.
    Expired(Duration),
    /// The cached result is damaged.
    Damaged(String),
}

impl Plan {
    /// What would happen to the step of this name.
    ///
    /// # Errors
    /// `NotFound` if there is no such step.
    pub fn step(&self, name: &str) -> Result<&Planned> {
        let found = self.steps.iter().find(|step| &*step.name == name).map(|step| &step.decision);
        found.ok_or_else(|| Error::not_found(format!("the plan has no step `{name}`")))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        self.steps.iter().try_for_each(|step| writeln!(f, "{:width$}  {}", step.name, step.decision))
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resume => f.write_str("resume: committed in this run"),
            Self::Hit => f.write_str("hit"),
            Self::Compute(reason) => write!(f, "compute: {reason}"),
            Self::Unknown { after } => write!(f, "unknown: depends on what `{after}` gives"),
            Self::Given => f.write_str("given"),
            Self::Skip => f.write_str("skip: a condition says no"),
            Self::Ask => f.write_str("ask: waits for approval"),
            Self::NotNeeded => f.write_str("not needed"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore => f.write_str("there is no store"),
            Self::Always => f.write_str("it runs in every run"),
            Self::Never => f.write_str("it has never run"),
            Self::Changed(changes) => f.write_str(&changes.join("; ")),
            Self::Gone => f.write_str("its result is gone"),
            Self::Expired(age) => write!(f, "its result is {age:?} old"),
            Self::Damaged(error) => write!(f, "its result is damaged: {error}"),
        }
    }
}

pub(super) fn plan(engine: &Engine<'_>) -> Result<Plan> {
    let mut steps = Vec::with_capacity(engine.pipeline.nodes.len());
    for (index, node) in engine.pipeline.nodes.iter().enumerate() {
        if !engine.needed[index] {
            steps.push(PlannedStep { name: node.name.clone(), decision: Planned::NotNeeded });
            continue;
        }
        let mut missed = None;
        let mut foresee = |unit: &Unit<'_>| foresee(unit, &mut steps, &mut missed);
        let settled = match engine.settled_as(node, &mut Mode::Plan(&mut foresee)) {
            Ok(settled) => settled,
            Err(Halt::Broken(error) | Halt::Failed { error, .. }) => return Err(error),
            Err(Halt::Cancelled | Halt::TimedOut { .. }) => Settled::Waits,
        };
        let decision = match &settled {
            Settled::Done(done) => match done.state {
                StepState::Injected => Planned::Given,
                StepState::Resumed => Planned::Resume,
                _ => Planned::Hit,
            },
            Settled::Skipped => Planned::Skip,
            Settled::Asks(_) => Planned::Ask,
            Settled::Waits => match missed {
                Some(reason) => Planned::Compute(reason),
                None => Planned::Unknown { after: cause(engine, node) },
            },
        };
        steps.push(PlannedStep { name: node.name.clone(), decision });
        // A node is settled once: this is the only thread.
        let _ = engine.settled[index].set(settled);
    }
    Ok(Plan { steps })
}

fn foresee(
    unit: &Unit<'_>,
    steps: &mut Vec<PlannedStep>,
    missed: &mut Option<Reason>,
) -> Result<Option<Done>, Halt> {
    let reason = match unit.find(unit.key())? {
        Ok(done) => {
            if unit.place.is_some() {
                let decision = if done.state == StepState::Resumed { Planned::Resume } else { Planned::Hit };
                steps.push(PlannedStep { name: unit.name(), decision });
            }
            return Ok(Some(done));
        }
        Err(miss) => reason(unit, miss)?,
    };
    if unit.place.is_some() {
        steps.push(PlannedStep { name: unit.name(), decision: Planned::Compute(reason.clone()) });
    }
    *missed = Some(reason);
    Ok(None)
}

/// The miss in words that people can act upon.
pub(super) fn reason(unit: &Unit<'_>, miss: Miss) -> Result<Reason> {
    Ok(match miss {
        Miss::NoStore => Reason::NoStore,
        Miss::Always => Reason::Always,
        Miss::Expired(age) => Reason::Expired(age),
        Miss::Damaged(error) => Reason::Damaged(format!("{error:#}")),
        Miss::Absent => explain(unit)?,
    })
}

/// What differs from the last time.
fn explain(unit: &Unit<'_>) -> Result<Reason> {
    let Some(store) = &unit.engine.runner.store else { return Ok(Reason::NoStore) };
    let fields = unit.fields();
    Ok(match store.latest(&fields.pipeline, &fields.step)? {
        None => Reason::Never,
        Some(before) => match fields.changes_since(&before.fields) {
            none if none.is_empty() => Reason::Gone,
            changes => Reason::Changed(changes),
        },
    })
}

/// The step whose outcome is not known and decides about this one.
fn cause(engine: &Engine<'_>, node: &Node) -> Arc<str> {
    let guards = node.guards.iter().map(|guard| guard.slot);
    let sources = node.sources.iter().flat_map(Source::slots).copied();
    let unknown = guards.chain(sources).find(|slot| matches!(engine.slot(*slot), Found::Waits));
    match unknown {
        Some(slot) => {
            let before = &engine.pipeline.nodes[engine.pipeline.slots[slot].0];
            let through = matches!(before.work, Work::Join(_));
            if through { cause(engine, before) } else { before.name.clone() }
        }
        None => node.name.clone(),
    }
}
