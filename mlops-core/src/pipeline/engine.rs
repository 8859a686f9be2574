//! One run from its first to its last step.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::artifact::Erased;
use super::context::{Scope, operation_id};
use super::handle::Source;
use super::node::{Each, Guard, Node, Param, Work};
use super::observer::Notice;
use super::pipeline::Pipeline;
use super::request::{Injected, Request};
use super::runner::{Execution, Runner};
use super::store::{Committed, Entry, JOURNAL_FORMAT, Journal, Started};
use super::unit::Unit;
use crate::run::{ArtifactRecord, Run, RunStatus, StepRecord, StepState, Waiting};
use crate::{Digest, Digester, Error, Result, Timestamp};

pub(super) struct Engine<'a> {
    pub(super) runner: &'a Runner,
    pub(super) pipeline: &'a Pipeline,
    pub(super) scope: Arc<Scope>,
    /// Which nodes the request asks for.
    pub(super) needed: Vec<bool>,
    /// Parameters and injected values by slot.
    pub(super) given: BTreeMap<usize, Injected>,
    /// What the journal says is done.
    pub(super) committed: BTreeMap<String, Committed>,
    pub(super) settled: Vec<OnceLock<Settled>>,
    /// How many more threads may be started.
    pub(super) permits: AtomicUsize,
    journal: Mutex<Option<OpenJournal>>,
    started: Timestamp,
}

struct OpenJournal {
    journal: Journal,
    has_start: bool,
}

/// A value whose type only the handles know.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) erased: Erased,
    pub(super) digest: Digest,
}

/// How a node ended.
pub(super) enum Settled {
    Done(Done),
    Skipped,
    /// It asks a person, by this token.
    Asks(String),
    /// It waits for a node that asks a person, or that a plan cannot foresee.
    Waits,
}

pub(super) struct Done {
    pub(super) values: Vec<Value>,
    pub(super) state: StepState,
    pub(super) key: Option<Digest>,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) attempts: u32,
    pub(super) duration_us: u64,
    /// The items of a map.
    pub(super) parts: Vec<StepRecord>,
}

impl Done {
    pub(super) fn with(state: StepState, values: Vec<Value>) -> Self {
        let metrics = BTreeMap::new();
        Self { values, state, key: None, metrics, attempts: 0, duration_us: 0, parts: Vec::new() }
    }
}

/// What ends a run before its last step.
#[derive(Debug)]
pub(super) enum Halt {
    Cancelled,
    Failed {
        step: Arc<str>,
        error: Error,
    },
    /// The store, the journal or an invariant is broken.
    Broken(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What is done with an execution that is due.
pub(super) enum Mode<'a> {
    /// It is found or computed.
    Run,
    /// It is found, or this says that it is not.
    Plan(&'a mut dyn FnMut(&Unit<'_>) -> Result<Option<Done>, Halt>),
}

impl Mode<'_> {
    fn obtain(&mut self, unit: &Unit<'_>) -> Result<Option<Done>, Halt> {
        match self {
            Self::Run => unit.obtain(),
            Self::Plan(foresee) => foresee(unit),
        }
    }
}

/// What a node finds where its input should be.
pub(super) enum Found<T> {
    Value(T),
    Skipped,
    Waits,
}

impl<'a> Engine<'a> {
    pub(super) fn prepare(runner: &'a Runner, pipeline: &'a Pipeline, request: &Request) -> Result<Self> {
        pipeline.check()?;
        request.check(pipeline.id)?;
        let mut given = request.injected.clone();
        for (name, json) in &request.params {
            let (slot, value) = parameter(pipeline, name, json)?;
            given.insert(slot, value);
        }
        let scope = Scope {
            pipeline: pipeline.name.clone(),
            run: request.id.clone(),
            seed: request.seed,
            clock: runner.clock.clone(),
            cancel: request.cancel.clone(),
            observers: runner.observers.clone(),
            secrets: runner.secrets.clone(),
        };
        Ok(Self {
            runner,
            pipeline,
            started: scope.clock.now(),
            scope: Arc::new(scope),
            needed: needed(pipeline, &request.only, &given),
            given,
            committed: BTreeMap::new(),
            settled: pipeline.nodes.iter().map(|_| OnceLock::new()).collect(),
            permits: AtomicUsize::new(runner.threads - 1),
            journal: Mutex::new(None),
        })
    }

    /// Takes the journal of this run, if there is one, for this run alone.
    pub(super) fn lock_journal(&mut self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let Some(opened) = Journal::open(&store.journal_path(&self.scope.run)?, false, store.is_durable())?
        else {
            return Ok(());
        };
        let has_start = self.replay(opened.entries)?;
        self.journal = Mutex::new(Some(OpenJournal { journal: opened.journal, has_start }));
        Ok(())
    }

    /// Reads the journal of this run, if there is one, and leaves it as it is.
    pub(super) fn read_journal(&mut self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let entries = store.read_journal(&self.scope.run)?;
        self.replay(entries).map(drop)
    }

    fn replay(&mut self, entries: Vec<Entry>) -> Result<bool> {
        let mut has_start = false;
        for entry in entries {
            match entry {
                Entry::Started(before) => {
                    self.check_start(&before)?;
                    has_start = true;
                }
                Entry::Committed(done) => {
                    self.committed.insert(done.step.clone(), done);
                }
            }
        }
        Ok(has_start)
    }

    fn check_start(&self, before: &Started) -> Result<()> {
        let now = self.start();
        let mut changes = Vec::new();
        if before.format > JOURNAL_FORMAT {
            let format = before.format;
            return Err(Error::unsupported(format!(
                "journal format {format}: this build reads {JOURNAL_FORMAT}"
            )));
        }
        if (&before.pipeline, before.wiring) != (&now.pipeline, now.wiring) {
            changes.push("another wiring".to_owned());
        }
        if before.seed != now.seed {
            changes.push(format!("seed {}", before.seed.value()));
        }
        for (name, digest) in &before.given {
            if now.given.get(name) != Some(digest) {
                changes.push(format!("another value of `{name}`"));
            }
        }
        changes.extend(
            now.given
                .keys()
                .filter(|name| !before.given.contains_key(*name))
                .map(|n| format!("no value of `{n}`")),
        );
        if changes.is_empty() {
            return Ok(());
        }
        let (run, changes) = (&self.scope.run, changes.join(", "));
        Err(Error::conflict(format!(
            "run `{run}` was started with {changes}: start a run of another id, the cache has what is still valid"
        )))
    }

    fn start(&self) -> Started {
        let mut wiring = Digester::new();
        for node in &self.pipeline.nodes {
            wiring.update(node.fixed.as_bytes());
            wiring.update([u8::from(node.step.always)]);
            for source in &node.sources {
                for slot in source.slots() {
                    wiring.update((*slot as u64).to_le_bytes());
                }
                wiring.update(u64::MAX.to_le_bytes());
            }
            for guard in &*node.guards {
                wiring.update((guard.slot as u64).to_le_bytes());
                wiring.update([u8::from(guard.wanted)]);
            }
        }
        let mut given: BTreeMap<String, Digest> = BTreeMap::new();
        for node in &self.pipeline.nodes {
            if let Work::Param(param) = &node.work {
                given.insert(node.name.to_string(), param.digest);
            }
        }
        for (slot, value) in &self.given {
            given.insert(self.output_name(*slot).to_string(), value.digest);
        }
        Started {
            format: JOURNAL_FORMAT,
            pipeline: self.pipeline.name.to_string(),
            wiring: wiring.finish(),
            given,
            seed: self.scope.seed,
            time: self.started,
        }
    }

    /// Makes sure that this run alone has its journal, before anything is computed.
    pub(super) fn begin(&self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let mut guard = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.as_ref().is_some_and(|open| open.has_start) {
            return Ok(());
        }
        let mut journal = match guard.take() {
            Some(open) => open.journal,
            None => {
                let path = store.make_journal_folder(&self.scope.run)?;
                match Journal::open(&path, true, store.is_durable())? {
                    Some(opened) if opened.entries.is_empty() => opened.journal,
                    _ => {
                        let run = &self.scope.run;
                        return Err(Error::conflict(format!("run `{run}` was just started elsewhere")));
                    }
                }
            }
        };
        journal.append(&Entry::Started(self.start()))?;
        *guard = Some(OpenJournal { journal, has_start: true });
        Ok(())
    }

    pub(super) fn commit(&self, done: Committed) -> Result<()> {
        let mut guard = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.as_mut() {
            Some(open) => open.journal.append(&Entry::Committed(done)),
            None => Ok(()),
        }
    }

    /// Does what is to be done at this node; all earlier ones are settled.
    pub(super) fn settle(&self, index: usize) -> Result<(), Halt> {
        let node = &self.pipeline.nodes[index];
        let settled = self.settled_as(node, &mut Mode::Run)?;
        if !self.scope.observers.is_empty() && !matches!(node.work, Work::Param(_) | Work::Input) {
            self.scope.notify(&Notice::StepDone(&self.record(node, Some(&settled))));
        }
        // A node is settled once, by the thread that took it.
        let _ = self.settled[index].set(settled);
        Ok(())
    }

    /// How the node ends.
    pub(super) fn settled_as(&self, node: &Node, mode: &mut Mode<'_>) -> Result<Settled, Halt> {
        let places = node.first..node.first + node.outputs.len();
        if !places.is_empty() && places.clone().all(|slot| self.given.contains_key(&slot)) {
            let values = places.filter_map(|slot| self.given.get(&slot));
            let values = values.map(|g| Value { erased: g.value.clone(), digest: g.digest }).collect();
            return Ok(Settled::Done(Done::with(StepState::Injected, values)));
        }
        match self.guarded(&node.guards)? {
            Found::Value(()) => {}
            Found::Skipped => return Ok(Settled::Skipped),
            Found::Waits => return Ok(Settled::Waits),
        }
        if let Work::Join(passes) = node.work {
            return self.join(node, passes);
        }
        let mut inputs = Vec::with_capacity(node.sources.len());
        let mut waits = false;
        for source in &node.sources {
            match self.input(source)? {
                Found::Value(value) => inputs.push(value),
                Found::Skipped => return Ok(Settled::Skipped),
                Found::Waits => waits = true,
            }
        }
        if waits {
            return Ok(Settled::Waits);
        }
        let done = match &node.work {
            Work::Param(Param { default, digest, .. }) => {
                let value = Value { erased: default.clone(), digest: *digest };
                Done::with(StepState::Injected, vec![value])
            }
            Work::Input => {
                let name = &node.name;
                return Err(Error::invalid(format!("input `{name}` has no value: inject one")).into());
            }
            Work::Require(_) => Done::with(StepState::Computed, Vec::new()),
            Work::Approval => return self.ask(node),
            Work::Call(call) => {
                let unit = Unit { engine: self, node, place: None, call, inputs: &inputs };
                match mode.obtain(&unit)? {
                    Some(done) => done,
                    None => return Ok(Settled::Waits),
                }
            }
            Work::Each(each) => match self.each(node, each, &inputs, mode)? {
                Some(done) => done,
                None => return Ok(Settled::Waits),
            },
            Work::Join(_) => return Err(Error::internal("a join was settled twice").into()),
        };
        Ok(Settled::Done(self.with_injected(node, done)))
    }

    /// The outputs that were given from outside win over those of a step that ran for the others.
    fn with_injected(&self, node: &Node, mut done: Done) -> Done {
        if !self.given.is_empty() {
            for (value, slot) in done.values.iter_mut().zip(node.first..) {
                if let Some(given) = self.given.get(&slot) {
                    *value = Value { erased: given.value.clone(), digest: given.digest };
                }
            }
        }
        done
    }

    fn guarded(&self, guards: &[Guard]) -> Result<Found<()>, Halt> {
        let mut waits = false;
        for guard in guards {
            match self.slot(guard.slot) {
                Found::Value(value) if (guard.passes)(&value.erased)? == guard.wanted => {}
                Found::Value(_) | Found::Skipped => return Ok(Found::Skipped),
                Found::Waits => waits = true,
            }
        }
        Ok(if waits { Found::Waits } else { Found::Value(()) })
    }

    fn join(&self, node: &Node, passes: fn(&Erased) -> Result<bool>) -> Result<Settled, Halt> {
        let [condition, yes, no] = node.sources.as_slice() else {
            return Err(
                Error::internal(format!("`{}` is wired to other than three values", node.name)).into()
            );
        };
        let way = match self.input(condition)? {
            Found::Value(value) if passes(&value.erased)? => yes,
            Found::Value(_) => no,
            Found::Skipped => return Ok(Settled::Skipped),
            Found::Waits => return Ok(Settled::Waits),
        };
        Ok(match self.input(way)? {
            Found::Value(value) => Settled::Done(Done::with(StepState::Computed, vec![value])),
            Found::Skipped => Settled::Skipped,
            Found::Waits => Settled::Waits,
        })
    }

    fn ask(&self, node: &Node) -> Result<Settled, Halt> {
        let token = operation_id(&self.scope.pipeline, &self.scope.run, &node.name).to_string();
        let answer = match &self.runner.store {
            Some(store) => store.answer(&self.scope.run, &token)?,
            None => None,
        };
        let Some(answer) = answer else { return Ok(Settled::Asks(token)) };
        let digest = super::artifact::digest(&answer)?;
        let value = Value { erased: Arc::new(answer), digest };
        Ok(Settled::Done(Done::with(StepState::Computed, vec![value])))
    }

    fn each(
        &self,
        node: &Node,
        each: &Each,
        inputs: &[Value],
        mode: &mut Mode<'_>,
    ) -> Result<Option<Done>, Halt> {
        let Some((list, shared)) = inputs.split_first() else {
            return Err(Error::internal(format!("map `{}` is wired to nothing", node.name)).into());
        };
        let mut rows = Vec::new();
        for item in (each.items)(&list.erased)? {
            let mut digester = Digester::new();
            (each.item.encode)(&item, &mut digester)?;
            let mut row = vec![Value { erased: item, digest: digester.finish() }];
            row.extend_from_slice(shared);
            rows.push(row);
        }
        let unit = |place: usize| {
            let call = &each.call;
            Unit { engine: self, node, place: Some(place), call, inputs: &rows[place] }
        };
        let items = match mode {
            Mode::Run => super::parallel::each(self, rows.len(), &|place| unit(place).obtain())?,
            Mode::Plan(_) => {
                (0..rows.len()).map(|place| mode.obtain(&unit(place))).collect::<Result<_, Halt>>()?
            }
        };
        let Some(items) = items.into_iter().collect::<Option<Vec<Done>>>() else { return Ok(None) };
        let computed = items.iter().any(|item| item.state == StepState::Computed);
        let state = if computed { StepState::Computed } else { StepState::Cached };
        let parts = items.iter().enumerate().map(|(place, done)| unit(place).record(done)).collect();
        let values: Vec<Value> = items.into_iter().flat_map(|done| done.values).collect();
        let erased: Vec<Erased> = values.iter().map(|value| value.erased.clone()).collect();
        let digest = list_digest(values.iter().map(|value| value.digest));
        let list = Value { erased: (each.gather)(&erased)?, digest };
        Ok(Some(Done { parts, ..Done::with(state, vec![list]) }))
    }

    pub(super) fn slot(&self, slot: usize) -> Found<&Value> {
        let (node, place) = self.pipeline.slots[slot];
        match self.settled[node].get() {
            Some(Settled::Done(done)) => done.values.get(place).map_or(Found::Waits, Found::Value),
            Some(Settled::Skipped) => Found::Skipped,
            Some(Settled::Asks(_) | Settled::Waits) | None => Found::Waits,
        }
    }

    pub(super) fn input(&self, source: &Source) -> Result<Found<Value>> {
        match source {
            Source::One(slot) => Ok(match self.slot(*slot) {
                Found::Value(value) => Found::Value(value.clone()),
                Found::Skipped => Found::Skipped,
                Found::Waits => Found::Waits,
            }),
            Source::Many(slots, gather) => {
                let mut items = Vec::with_capacity(slots.len());
                let mut digests = Vec::with_capacity(slots.len());
                for slot in slots {
                    match self.slot(*slot) {
                        Found::Value(value) => {
                            items.push(value.erased.clone());
                            digests.push(value.digest);
                        }
                        Found::Skipped => return Ok(Found::Skipped),
                        Found::Waits => return Ok(Found::Waits),
                    }
                }
                Ok(Found::Value(Value { erased: gather(&items)?, digest: list_digest(digests.into_iter()) }))
            }
        }
    }

    pub(super) fn output_name(&self, slot: usize) -> &Arc<str> {
        let (node, place) = self.pipeline.slots[slot];
        &self.pipeline.nodes[node].outputs[place].name
    }

    /// The artifacts that come in through this wire, as far as they are known.
    pub(super) fn artifacts(&self, source: &Source) -> impl Iterator<Item = ArtifactRecord> {
        source.slots().iter().filter_map(|slot| match self.slot(*slot) {
            Found::Value(value) => {
                Some(ArtifactRecord { name: self.output_name(*slot).clone(), digest: value.digest })
            }
            Found::Skipped | Found::Waits => None,
        })
    }

    pub(super) fn record(&self, node: &Node, settled: Option<&Settled>) -> StepRecord {
        let mut record = StepRecord::new(node.name.clone(), StepState::NotReached);
        match settled {
            Some(Settled::Done(done)) => {
                record.state = done.state;
                record.key = done.key;
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
            Some(Settled::Waits) | None => {}
        }
        record
    }

    fn status(&self) -> Result<RunStatus> {
        let mut waiting = Vec::new();
        let mut stopped = None;
        for (node, settled) in self.pipeline.nodes.iter().zip(&self.settled) {
            let step = || node.name.to_string();
            match (&node.work, settled.get()) {
                (_, Some(Settled::Asks(token))) => {
                    waiting.push(Waiting { step: step(), token: token.clone() });
                }
                (Work::Approval, Some(Settled::Done(done))) => {
                    for value in &done.values {
                        let answer = super::artifact::typed::<super::Approval>(&value.erased)?;
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

    fn finish(&self, halt: Option<&Halt>) -> Result<Run> {
        let status = match halt {
            None => self.status()?,
            Some(Halt::Cancelled) => RunStatus::Cancelled,
            Some(Halt::Failed { step, error }) => {
                RunStatus::Failed { step: step.to_string(), error: format!("{error:#}") }
            }
            Some(Halt::Broken(error)) => {
                RunStatus::Failed { step: String::new(), error: format!("{error:#}") }
            }
        };
        let mut params = BTreeMap::new();
        let mut steps = Vec::with_capacity(self.pipeline.nodes.len());
        for (node, settled) in self.pipeline.nodes.iter().zip(&self.settled) {
            if let Work::Param(param) = &node.work {
                let given = self.given.get(&node.first).map_or(&param.default, |given| &given.value);
                params.insert(node.name.to_string(), (param.to_json)(given)?);
            }
            let settled = settled.get();
            if let Some(Settled::Done(done)) = settled {
                steps.extend_from_slice(&done.parts);
            }
            let mut record = self.record(node, settled);
            if matches!(halt, Some(Halt::Failed { step, .. }) if *step == node.name) {
                record.state = StepState::Failed;
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

/// Runs all needed nodes and closes the run.
pub(super) fn run(engine: &Engine<'_>) -> Result<Execution> {
    let (pipeline, scope) = (engine.pipeline, &engine.scope);
    scope.notify(&Notice::RunStarted { pipeline: &pipeline.name, steps: pipeline.nodes.len() });
    let outcome = if engine.runner.threads == 1 {
        (0..pipeline.nodes.len()).filter(|index| engine.needed[*index]).try_for_each(|i| engine.settle(i))
    } else {
        super::parallel::settle_all(engine)
    };
    match outcome {
        Ok(()) => Ok(execution(engine, engine.finish(None)?)),
        Err(Halt::Cancelled) => Ok(execution(engine, engine.finish(Some(&Halt::Cancelled))?)),
        Err(halt) => {
            let closed = engine.finish(Some(&halt));
            match halt {
                Halt::Failed { step, error } => {
                    closed?;
                    Err(error.context(format!("step `{step}` of run `{}` failed", scope.run)))
                }
                Halt::Broken(error) => Err(error),
                Halt::Cancelled => closed.map(|run| execution(engine, run)),
            }
        }
    }
}

fn execution(engine: &Engine<'_>, run: Run) -> Execution {
    let value = |slot| match engine.slot(slot) {
        Found::Value(value) => Some(value.clone()),
        Found::Skipped | Found::Waits => None,
    };
    let values = (0..engine.pipeline.slots.len()).map(value).collect();
    Execution { run, pipeline: engine.pipeline.id, values }
}

fn parameter(pipeline: &Pipeline, name: &str, json: &serde_json::Value) -> Result<(usize, Injected)> {
    let params = || {
        pipeline.nodes.iter().filter_map(|node| match &node.work {
            Work::Param(param) => Some((node, param)),
            _ => None,
        })
    };
    let Some((node, param)) = params().find(|(node, _)| &*node.name == name) else {
        let known: Vec<_> = params().map(|(node, _)| &*node.name).collect();
        let known = known.join(", ");
        return Err(Error::invalid(format!("there is no parameter `{name}`: there are {known}")));
    };
    let value = (param.of_json)(json).map_err(|error| error.context(format!("parameter `{name}`")))?;
    let mut digester = Digester::new();
    (node.outputs[0].codec.encode)(&value, &mut digester)?;
    Ok((node.first, Injected { value, digest: digester.finish() }))
}

/// The nodes that the wanted slots need; without any, those that all last nodes need.
fn needed(pipeline: &Pipeline, only: &[usize], given: &BTreeMap<usize, Injected>) -> Vec<bool> {
    let nodes = &pipeline.nodes;
    let mut needed = vec![only.is_empty(); nodes.len()];
    if only.is_empty() && given.is_empty() {
        return needed;
    }
    let upstream = |node: &Node| {
        let sources = node.sources.iter().flat_map(|source| source.slots().to_vec());
        let guards = node.guards.iter().flat_map(|guard| [Some(guard.slot), None]);
        let gates = node.guards.iter().filter_map(|guard| guard.gate);
        let slots: Vec<usize> = sources.chain(guards.flatten()).collect();
        slots.into_iter().map(|slot| pipeline.slots[slot].0).chain(gates).collect::<Vec<_>>()
    };
    if only.is_empty() {
        for node in nodes {
            for index in upstream(node) {
                needed[index] = false;
            }
        }
    }
    for slot in only {
        needed[pipeline.slots[*slot].0] = true;
    }
    for (index, node) in nodes.iter().enumerate().rev() {
        let mut places = node.first..node.first + node.outputs.len();
        let is_given = !places.is_empty() && places.all(|slot| given.contains_key(&slot));
        if needed[index] && !is_given {
            for from in upstream(node) {
                needed[from] = true;
            }
        }
    }
    needed
}

/// The digest of a list that its items decide.
fn list_digest(items: impl Iterator<Item = Digest>) -> Digest {
    let mut digester = Digester::new();
    digester.field("list");
    for item in items {
        digester.update(item.as_bytes());
    }
    digester.finish()
}
