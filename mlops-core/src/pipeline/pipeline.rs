//! Wiring steps into a pipeline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::approval::Approval;
use super::artifact::{Artifact, Codec, Erased, Many, typed};
use super::branch::{Branch, Decision};
use super::handle::{Handle, Inputs, Items, Outputs, Port, Prepend, Source, Values};
use super::key;
use super::node::{Each, Guard, Node, Output, Param, Work};
use super::step::{Step, StepFn};
use crate::{Error, Result};

/// Steps wired by typed handles; a [`Runner`](super::Runner) runs them.
///
/// Wiring mistakes that the compiler cannot see (two steps of one name, a handle of another pipeline) are
/// kept and reported by [`check`](Self::check), which every run calls first: so a wiring has no `?` in it.
pub struct Pipeline {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) nodes: Vec<Node>,
    /// Which node and which of its outputs each slot is.
    pub(super) slots: Vec<(usize, usize)>,
    names: BTreeSet<Arc<str>>,
    scope: String,
    guards: Vec<Guard>,
    problems: Vec<String>,
}

/// The owner of a list of handles that have several.
pub(super) const MIXED: u64 = u64::MAX;

impl Pipeline {
    /// A pipeline without steps. Its name is part of every cache key.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            nodes: Vec::new(),
            slots: Vec::new(),
            names: BTreeSet::new(),
            scope: String::new(),
            guards: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Adds a parameter with its default; its name is unique among those of steps too. A [`Request`](super::Request) may set another value.
    pub fn param<T>(&mut self, name: &str, default: T) -> Handle<T>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let digest = super::artifact::digest(&default).unwrap_or_else(|error| {
            self.problems.push(format!("parameter `{name}`: {error:#}"));
            crate::Digest::of([])
        });
        let work = Work::Param(Param {
            default: Arc::new(default),
            digest,
            to_json: |value| {
                let value = typed::<T>(value)?;
                serde_json::to_value(&*value)
                    .map_err(|error| Error::invalid("the value does not go into JSON").with_source(error))
            },
            of_json: |json| {
                let value = T::deserialize(json).map_err(|error| {
                    let what = std::any::type_name::<T>();
                    Error::invalid(format!("{json} is not a value of type `{what}`")).with_source(error)
                })?;
                Ok(Arc::new(value))
            },
        });
        Handle::new(self.id, self.add(Step::new(name), "", false, vec![], vec![Codec::of::<T>()], work))
    }

    /// Declares a value that every request has to [`inject`](super::Request::inject).
    pub fn input<T: Artifact>(&mut self, name: &str) -> Handle<T> {
        Handle::new(
            self.id,
            self.add(Step::new(name), "", false, vec![], vec![Codec::of::<T>()], Work::Input),
        )
    }

    /// Adds a step with one output.
    ///
    /// With a store it is computed once for the same inputs: a step that reads a file that may change is
    /// [`always`](Step::always) run.
    ///
    /// ```
    /// use mlops_core::pipeline::Pipeline;
    ///
    /// let mut p = Pipeline::new("sum");
    /// let n = p.param("n", 10_u64);
    /// let numbers = p.step("numbers", |n: &u64| Ok((1..=*n).collect::<Vec<_>>()), n);
    /// let sum = p.step("sum", |numbers: &Vec<u64>| Ok(numbers.iter().sum::<u64>()), numbers);
    /// ```
    pub fn step<I, Out, M, F>(&mut self, step: impl Into<Step>, work: F, inputs: I) -> Handle<Out>
    where
        I: Inputs,
        Out: Artifact,
        F: StepFn<I::Values, Out, M>,
    {
        let code = std::any::type_name::<F>();
        let call = Work::Call(Box::new(move |context, values| {
            let output = work.call(context, I::Values::load(values)?)?;
            Ok(vec![Arc::new(output) as Erased])
        }));
        let codecs = vec![Codec::of::<Out>()];
        Handle::new(self.id, self.add(step.into(), code, F::USES_CONTEXT, inputs.ports(), codecs, call))
    }

    /// Adds a step that gives a tuple, each part an artifact of its own: a change of one part does not touch
    /// the steps that take another.
    ///
    /// ```
    /// use mlops_core::pipeline::Pipeline;
    ///
    /// let mut p = Pipeline::new("holdout");
    /// let rows = p.step("rows", || Ok((0..100).collect::<Vec<u32>>()), ());
    /// let holdout = |rows: &Vec<u32>| {
    ///     let (train, test) = rows.split_at(80);
    ///     Ok((train.to_vec(), test.to_vec()))
    /// };
    /// let (train, test) = p.split("split", holdout, rows);
    /// ```
    pub fn split<I, Out, M, F>(&mut self, step: impl Into<Step>, work: F, inputs: I) -> Out::Handles
    where
        I: Inputs,
        Out: Outputs,
        F: StepFn<I::Values, Out, M>,
    {
        let code = std::any::type_name::<F>();
        let call = Work::Call(Box::new(move |context, values| {
            Ok(work.call(context, I::Values::load(values)?)?.erase())
        }));
        let first = self.add(step.into(), code, F::USES_CONTEXT, inputs.ports(), Out::codecs(), call);
        Out::handles(self.id, first)
    }

    /// Adds a step that runs once for each item of a list that an earlier step gives: of a [`Many`], or of a `Vec` of
    /// what can be cloned. Each item has its own cache entry, retries and place in the journal, and items run in
    /// parallel if the runner may.
    ///
    /// The function takes an item first, then the shared inputs. Its [`seed`](super::Context::seed) is another one for
    /// each item.
    ///
    /// # Examples
    /// Cross-validation, with a pair of tables for each fold:
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Dataset, Split, TableSchema};
    /// use mlops_core::pipeline::{Context, Many, Pipeline, Runner};
    /// use mlops_core::{Result, SystemClock};
    ///
    /// fn read() -> Result<Dataset> {
    ///     let schema = TableSchema::new([Column::new("price", ColumnKind::Float)])?;
    ///     Dataset::from_csv("price\n1\n2\n3\n4\n5\n6\n7\n8\n9\n".as_bytes(), schema)
    /// }
    ///
    /// fn folds(cx: &Context, rows: &Dataset, k: &usize) -> Result<Vec<(Dataset, Dataset)>> {
    ///     rows.folds(Split::Random, *k, cx.seed())?.collect()
    /// }
    ///
    /// /// The error of a model that knows the mean alone.
    /// fn score((train, test): &(Dataset, Dataset)) -> Result<f64> {
    ///     let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    ///     let predicted = mean(&train.numbers("price")?);
    ///     Ok(mean(&test.numbers("price")?.iter().map(|price| (price - predicted).abs()).collect::<Vec<_>>()))
    /// }
    ///
    /// let mut p = Pipeline::new("cross-validation");
    /// let rows = p.step("read", read, ());
    /// let k = p.param("k", 3_usize);
    /// let folds = p.step("folds", folds, (rows, k));
    /// let errors = p.map("score", score, folds, ());
    /// let worst = p.step("worst", |errors: &Many<f64>| Ok(errors.iter().copied().fold(0.0, f64::max)), errors);
    ///
    /// let done = Runner::new(SystemClock::new()).with_threads(2).run(&p, "1")?;
    /// assert_eq!(done.get(errors)?.len(), 3);
    /// assert!(*done.get(worst)? > 1.0);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// With a shared input:
    ///
    /// ```
    /// use mlops_core::SystemClock;
    /// use mlops_core::pipeline::{Many, Pipeline, Runner};
    ///
    /// let mut p = Pipeline::new("folds");
    /// let folds = p.step("folds", || Ok(Many::from(vec![1_u32, 2, 3])), ());
    /// let offset = p.param("offset", 10_u32);
    /// let scores = p.map("score", |fold: &u32, offset: &u32| Ok(fold + offset), folds, offset);
    /// let best = p.step("best", |all: &Many<u32>| Ok(all.iter().copied().max().unwrap_or(0)), scores);
    ///
    /// let done = Runner::new(SystemClock::new()).run(&p, "1")?;
    /// assert_eq!(*done.get(best)?, 13);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn map<L, I, Out, M, F>(
        &mut self,
        step: impl Into<Step>,
        work: F,
        items: Handle<L>,
        shared: I,
    ) -> Handle<Many<Out>>
    where
        L: Items,
        I: Inputs,
        I::Values: Prepend<L::Item>,
        Out: Artifact,
        F: StepFn<<I::Values as Prepend<L::Item>>::Output, Out, M>,
    {
        let each = Work::Each(Each {
            item: Codec::of::<L::Item>(),
            output: Codec::of::<Out>(),
            items: erased_items::<L>,
            results: erased_items::<Many<Out>>,
            gather: super::handle::gather::<Out>,
            call: Box::new(move |context, values| {
                let values = <I::Values as Prepend<L::Item>>::Output::load(values)?;
                Ok(vec![Arc::new(work.call(context, values)?) as Erased])
            }),
        });
        let mut ports = vec![super::handle::Input::port(&items)];
        ports.extend(shared.ports());
        let code = std::any::type_name::<F>();
        let codecs = vec![Codec::of::<Many<Out>>()];
        Handle::new(self.id, self.add(step.into(), code, F::USES_CONTEXT, ports, codecs, each))
    }

    /// Runs the steps that `wire` adds only if the condition holds. Bring a value out of the branch by
    /// [`otherwise`](Branch::otherwise), which rejoins it with the other way.
    ///
    /// ```
    /// use mlops_core::SystemClock;
    /// use mlops_core::pipeline::{Pipeline, Runner};
    ///
    /// let mut p = Pipeline::new("branch");
    /// let rows = p.param("rows", 10_u64);
    /// let large = p.step("is large", |rows: &u64| Ok(*rows > 1_000), rows);
    /// let model = p
    ///     .when(large, |p| p.step("train trees", || Ok("trees".to_owned()), ()))
    ///     .otherwise(|p| p.step("train line", || Ok("line".to_owned()), ()));
    /// let note = p.step("note", |model: &String| Ok(format!("trained {model}")), model);
    ///
    /// let done = Runner::new(SystemClock::new()).run(&p, "1")?;
    /// assert_eq!(*done.get(note)?, "trained line");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn when<D: Decision, R>(
        &mut self,
        condition: Handle<D>,
        wire: impl FnOnce(&mut Self) -> R,
    ) -> Branch<'_, D, R> {
        let value = self.guarded(Guard::on(condition, true), wire);
        Branch { pipeline: self, condition, value, name: None }
    }

    /// Adds a gate: the steps added after it, in this branch, run only if it passes. If it does not, the run
    /// ends as [`Stopped`](crate::run::RunStatus::Stopped) with the reason, once the other steps are done.
    pub fn require<D: Decision>(&mut self, name: &str, decision: Handle<D>) {
        let refusal = |value: &Erased| {
            let decision = typed::<D>(value)?;
            Ok((!decision.passed()).then(|| decision.reason()))
        };
        let port = super::handle::Input::port(&decision);
        self.add(Step::new(name), "", false, vec![port], vec![], Work::Require(refusal));
        let gate = Some(self.nodes.len() - 1);
        self.guards.push(Guard { gate, ..Guard::on(decision, true) });
    }

    /// Asks a person: the steps added after it, in this branch, wait for the answer. The run ends as
    /// [`Suspended`](crate::run::RunStatus::Suspended) with a token once nothing else can go on; no thread
    /// waits. After [`Store::decide`](super::Store::decide), in this process or another, run it again.
    ///
    /// With [`Step::timeout`], the question may be answered for so long after the run first suspended with it, by the
    /// clock of the runner; then the run ends as [`Expired`](crate::run::RunStatus::Expired), for good:
    /// `p.approval(Step::new("release?").timeout(Duration::from_secs(3 * 86_400)), auc)`.
    ///
    /// ```
    /// use mlops_core::pipeline::{Approval, Pipeline, Runner, Store};
    /// use mlops_core::run::RunStatus;
    /// use mlops_core::{Clock, SystemClock};
    ///
    /// let mut p = Pipeline::new("release");
    /// let auc = p.step("evaluate", || Ok(0.91), ());
    /// let answer = p.approval("release?", auc);
    /// p.require("approved", answer);
    /// let released = p.step("release", |auc: &f64| Ok(format!("released a model of AUC {auc}")), auc);
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path();
    /// let store = Store::open(folder)?;
    /// let runner = Runner::new(SystemClock::new()).with_store(store.clone());
    /// let RunStatus::Suspended { waiting } = runner.run(&p, "2026-05-01")?.status().clone() else {
    ///     panic!("nobody has answered yet")
    /// };
    /// let answer = Approval::granted("ana", "better on every slice", SystemClock::new().now());
    /// store.decide("2026-05-01", &waiting[0].token, &answer)?;
    ///
    /// let done = runner.run(&p, "2026-05-01")?;
    /// assert_eq!(*done.get(released)?, "released a model of AUC 0.91");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn approval<I: Inputs>(&mut self, step: impl Into<Step>, shown: I) -> Handle<Approval> {
        let codecs = vec![Codec::of::<Approval>()];
        let slot = self.add(step.into(), "", false, shown.ports(), codecs, Work::Approval);
        let handle = Handle::new(self.id, slot);
        self.guards.push(Guard::on(handle, true));
        handle
    }

    /// Puts `scope/` before the names of all steps that `wire` adds, so that a part can be wired twice. A
    /// part of a pipeline is a plain function from handles to handles.
    ///
    /// ```
    /// use mlops_core::pipeline::{Handle, Pipeline};
    ///
    /// fn tokens(p: &mut Pipeline, text: Handle<String>) -> Handle<Vec<String>> {
    ///     let lower = p.step("lower", |text: &String| Ok(text.to_lowercase()), text);
    ///     p.step("words", |text: &String| Ok(text.split(' ').map(str::to_owned).collect::<Vec<_>>()), lower)
    /// }
    ///
    /// let mut p = Pipeline::new("texts");
    /// let (title, body) = (p.param("title", "On Drift".to_owned()), p.param("body", "It moves".to_owned()));
    /// let title = p.scope("of title", |p| tokens(p, title)); // `of title/lower`, `of title/words`
    /// let body = p.scope("of body", |p| tokens(p, body));
    /// p.check()?;
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn scope<R>(&mut self, scope: &str, wire: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.scope.len();
        self.scope.push_str(scope);
        self.scope.push('/');
        let result = wire(self);
        self.scope.truncate(length);
        result
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many nodes there are: steps, parameters, inputs, gates and approvals.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether the wiring is right.
    ///
    /// # Errors
    /// `Invalid` if there is no step, two have the same name, a name is empty, a handle is of another
    /// pipeline, or a value is taken out of a branch without a rejoin.
    pub fn check(&self) -> Result<()> {
        let name = &self.name;
        if self.nodes.is_empty() {
            return Err(Error::invalid(format!("pipeline `{name}` is empty: add a step")));
        }
        match self.problems.as_slice() {
            [] => Ok(()),
            problems => {
                Err(Error::invalid(format!("pipeline `{name}` is wired wrong: {}", problems.join("; "))))
            }
        }
    }

    pub(super) fn guarded<R>(&mut self, guard: Guard, wire: impl FnOnce(&mut Self) -> R) -> R {
        let depth = self.guards.len();
        self.guards.push(guard);
        let result = wire(self);
        self.guards.truncate(depth);
        result
    }

    /// A free name for the join of a condition.
    pub(super) fn join_name(&self, condition: usize) -> String {
        let decides =
            self.slots.get(condition).map_or("", |(node, place)| &self.nodes[*node].outputs[*place].name);
        let name = format!("join of {}", decides.strip_prefix(&*self.scope).unwrap_or(decides));
        let is_free = |name: &String| {
            ["", ".0"].iter().all(|place| !self.names.contains(&*format!("{}{name}{place}", self.scope)))
        };
        let numbered = (2..).map(|number| format!("{name}, {number}"));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
    }

    /// Adds a node and gives its first slot.
    pub(super) fn add(
        &mut self,
        step: Step,
        code: &'static str,
        uses_context: bool,
        ports: Vec<Port>,
        codecs: Vec<Codec>,
        work: Work,
    ) -> usize {
        let name: Arc<str> = format!("{}{}", self.scope, step.name).into();
        if step.name.is_empty() {
            self.problems.push(format!("node {} has no name", self.nodes.len()));
        }
        if !self.names.insert(name.clone()) {
            self.problems.push(format!("two steps are called `{name}`: rename one, or use a scope"));
        }
        if is_item(&name) {
            self.problems.push(format!("`{name}` reads like an item of a map: rename the step"));
        }
        let own = |guard: &&Guard| guard.pipeline == self.id;
        let guards: Arc<[Guard]> = match self.nodes.last() {
            Some(last) if last.guards[..] == self.guards[..] => last.guards.clone(),
            _ => self.guards.iter().filter(own).copied().collect(),
        };
        if guards.len() < self.guards.len() {
            self.problems.push(format!("the condition of step `{name}` is of another pipeline"));
        }
        for guard in &*guards {
            let decides = &self.nodes[self.slots[guard.slot].0];
            if !decides.guards.iter().all(|outer| guards.contains(outer)) {
                self.problems.push(format!(
                    "the condition `{}` of step `{name}` is in a branch that the step is not in",
                    decides.name
                ));
            }
        }
        let mut sources: Vec<Source> = Vec::with_capacity(ports.len());
        for port in ports {
            let empty = port.source.slots().is_empty();
            if port.pipeline != self.id && !empty {
                self.problems.push(format!("step `{name}` takes a handle of another pipeline"));
                continue;
            }
            // A join takes its condition, then a value of each way.
            let way = match (&work, sources.first()) {
                (Work::Join(_), Some(Source::One(condition))) => Some((*condition, sources.len() == 1)),
                _ => None,
            };
            for slot in port.source.slots() {
                let from = &self.nodes[self.slots[*slot].0];
                // A gate in one of the ways may stop it: then there is no value, and nothing to join.
                let may_be = |guard: &Guard| match way {
                    _ if guards.contains(guard) => true,
                    Some(way) => way == (guard.slot, guard.wanted) || guard.gate.is_some(),
                    None => false,
                };
                if !from.guards.iter().all(may_be) {
                    self.problems.push(format!(
                        "step `{name}` takes `{}` out of a branch: bring it out by `otherwise`",
                        from.name
                    ));
                }
            }
            sources.push(port.source);
        }
        let single = codecs.len() == 1;
        for place in (0..codecs.len()).filter(|_| !single) {
            let part: Arc<str> = format!("{name}.{place}").into();
            if !self.names.insert(part.clone()) {
                self.problems.push(format!("a step and a part of another are called `{part}`: rename one"));
            }
        }
        let outputs: Vec<Output> = codecs
            .into_iter()
            .enumerate()
            .map(|(place, codec)| Output {
                name: if single { name.clone() } else { format!("{name}.{place}").into() },
                format: (codec.format)().into_owned(),
                codec,
            })
            .collect();
        let formats: Vec<String> = outputs.iter().map(|output| output.format.clone()).collect();
        let fixed = key::fixed_part(&self.name, &name, code, step.version, &formats);
        let first = self.slots.len();
        let node = self.nodes.len();
        self.slots.extend((0..outputs.len()).map(|place| (node, place)));
        self.nodes.push(Node {
            name,
            step,
            code,
            uses_context,
            sources,
            outputs,
            first,
            guards,
            fixed,
            work,
        });
        first
    }
}

fn erased_items<L: Items>(list: &Erased) -> Result<Vec<Erased>> {
    Ok(typed::<L>(list)?.items().into_iter().map(|item| item as Erased).collect())
}

/// Whether the name ends in a number in brackets.
fn is_item(name: &str) -> bool {
    let number = name.strip_suffix(']').and_then(|name| name.rsplit_once('['));
    number.is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.nodes.iter().map(|node| &node.name).collect();
        f.debug_struct("Pipeline").field("name", &self.name).field("nodes", &names).finish_non_exhaustive()
    }
}
