//! How a node ends: skipped, given, joined, asked for, found or computed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::wire::list_digest;
use super::{Done, Engine, Found, Halt, Mode, Settled, Value};
use crate::pipeline::Approval;
use crate::pipeline::artifact::{Erased, digest};
use crate::pipeline::context::operation_id;
use crate::pipeline::node::{Each, Guard, Node, Param, Work};
use crate::pipeline::observer::Notice;
use crate::pipeline::parallel;
use crate::pipeline::unit::{Unit, panicked};
use crate::run::{StepState, Waiting};
use crate::{Digester, Error, Result};

impl Engine<'_> {
    /// Does what is to be done at this node; all earlier ones are settled. A panic, of the caller's types or
    /// observers, fails the step.
    pub(in crate::pipeline) fn settle(&self, index: usize) -> Result<(), Halt> {
        let node = &self.pipeline.nodes[index];
        let settle = || {
            let settled = self.settled_as(node, &mut Mode::Run)?;
            if matches!(settled, Settled::Asks(_)) && self.runner.store.is_none() {
                let name = &node.name;
                return Err(Error::invalid(format!(
                    "approval `{name}` needs a store, where the answer is kept: give the runner one"
                ))
                .into());
            }
            if !self.scope.observers.is_empty() && node.is_step() {
                self.scope.notify(&Notice::StepDone(&self.record(node, Some(&settled))));
            }
            Ok(settled)
        };
        let settled = catch_unwind(AssertUnwindSafe(settle)).unwrap_or_else(|panic| {
            let step = node.name.clone();
            Err(Halt::Failed { error: panicked("it", &*panic), step, attempts: 0 })
        })?;
        // A node is settled once, by the thread that took it.
        let _ = self.settled[index].set(settled);
        Ok(())
    }

    /// How the node ends.
    pub(in crate::pipeline) fn settled_as(&self, node: &Node, mode: &mut Mode<'_>) -> Result<Settled, Halt> {
        let places = node.first..node.first + node.outputs.len();
        if !places.is_empty() && places.clone().all(|slot| self.given.contains_key(&slot)) {
            let values = places.filter_map(|slot| self.given.get(&slot)).cloned().collect();
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
            Work::Approval => return self.ask(node, &inputs, mode),
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
                    value.clone_from(given);
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

    /// Asks under a token that names what is shown: an answer counts for that alone. Its deadline is set when the run
    /// suspends and says what it waits for; a question that nobody answered up to then answers itself.
    fn ask(&self, node: &Node, shown: &[Value], mode: &Mode<'_>) -> Result<Settled, Halt> {
        let (run, now) = (&self.scope.run, self.scope.clock.now());
        let mut token = Digester::new();
        token.update(operation_id(&self.scope.pipeline, run, &node.name).as_bytes());
        shown.iter().for_each(|value| token.update(value.digest.as_bytes()));
        let mut question =
            Waiting { step: node.name.to_string(), token: token.finish().to_string(), deadline: None };
        let Some(store) = &self.runner.store else { return Ok(Settled::Asks(question)) };
        let answer = match store.answer(run, &question.token)? {
            Some(answer) => answer,
            None => {
                let is_run = matches!(mode, Mode::Run);
                match store.question(run, &question.token)? {
                    Some(asked) => question = asked,
                    None if is_run => store.ask(run, &question)?,
                    None => {}
                }
                match question.deadline.filter(|deadline| now > *deadline).map(Approval::expired) {
                    None => return Ok(Settled::Asks(question)),
                    Some(expired) if is_run => store.first_answer(run, &question.token, expired)?,
                    Some(expired) => expired,
                }
            }
        };
        let digest = digest(&answer)?;
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
        let items: Vec<Option<Done>> = match mode {
            Mode::Run => {
                let items = parallel::each(self, rows.len(), &|place| unit(place).obtain())?;
                items.into_iter().map(Some).collect()
            }
            Mode::Plan(_) => {
                (0..rows.len()).map(|place| mode.obtain(&unit(place))).collect::<Result<_, Halt>>()?
            }
        };
        let Some(items) = items.into_iter().collect::<Option<Vec<Done>>>() else { return Ok(None) };
        let all = |state| items.iter().all(|item| item.state == state);
        let state = match () {
            () if items.iter().any(|item| item.state == StepState::Computed) || items.is_empty() => {
                StepState::Computed
            }
            () if all(StepState::Resumed) => StepState::Resumed,
            () => StepState::Cached,
        };
        let parts = items.iter().enumerate().map(|(place, done)| unit(place).record(done)).collect();
        let values: Vec<Value> = items.into_iter().flat_map(|done| done.values).collect();
        let erased: Vec<Erased> = values.iter().map(|value| value.erased.clone()).collect();
        let digest = list_digest(values.iter().map(|value| value.digest));
        let list = Value { erased: (each.gather)(&erased)?, digest };
        Ok(Some(Done { parts, ..Done::with(state, vec![list]) }))
    }
}
