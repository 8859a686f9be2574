//! Conditions: values that say yes or no, and the two ways that rejoin.

use super::artifact::Artifact;
use super::handle::{Handle, Input, Rejoin};
use super::node::{Guard, Work};
use super::pipeline::Pipeline;
use super::step::Step;
use crate::evaluation::Outcome;

/// A value that says yes or no: `bool`, or a verdict that also says why.
///
/// ```
/// use mlops_core::pipeline::Decision;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Floor {
///     auc: f64,
/// }
///
/// impl Decision for Floor {
///     fn passed(&self) -> bool {
///         self.auc >= 0.8
///     }
///     fn reason(&self) -> String {
///         format!("auc {} against the floor 0.8", self.auc)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say yes or no",
    label = "want a handle of `bool` or of a type with `Decision`",
    note = "add a step that gives a `bool`, or implement `Decision` for the type"
)]
pub trait Decision: Artifact {
    /// Whether it says yes.
    fn passed(&self) -> bool;

    /// Why, for people.
    fn reason(&self) -> String;
}

impl Decision for bool {
    fn passed(&self) -> bool {
        *self
    }

    fn reason(&self) -> String {
        format!("the condition is {self}")
    }
}

/// A gate's verdict: it says which rules failed, and why.
impl Decision for crate::evaluation::Verdict {
    fn passed(&self) -> bool {
        Self::passed(self)
    }

    fn reason(&self) -> String {
        let reason = |failure: &Outcome| format!("{}: {}", failure.rule, failure.reason);
        let reasons: Vec<String> = self.failures().map(reason).collect();
        if reasons.is_empty() { "every rule holds".into() } else { reasons.join("; ") }
    }
}

/// One way of a condition is wired; the other one, or none, comes next.
#[derive(Debug)]
pub struct Branch<'p, D, R> {
    pub(super) pipeline: &'p mut Pipeline,
    pub(super) condition: Handle<D>,
    pub(super) value: R,
    pub(super) name: Option<String>,
}

impl<D: Decision, R: Rejoin> Branch<'_, D, R> {
    /// Names the value in which the two ways meet; those of a tuple are `name.0`, `name.1`, and so on. Without a name it
    /// is called after the condition: `join of good`.
    #[must_use = "a branch without `otherwise` has no join"]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Wires the way for "no" and rejoins: each handle is the value of the way that was taken.
    ///
    /// ```
    /// use mlops_core::SystemClock;
    /// use mlops_core::pipeline::{Pipeline, Runner};
    ///
    /// let mut p = Pipeline::new("branch");
    /// let rows = p.param("rows", 10_u64);
    /// let large = p.step("is large", |rows: &u64| Ok(*rows > 1_000), rows);
    /// let trees = || Ok(("trees".to_owned(), 0.91));
    /// let line = || Ok(("line".to_owned(), 0.84));
    /// let (model, auc) = p
    ///     .when(large, |p| p.split("train trees", trees, ()))
    ///     .named("trained")
    ///     .otherwise(|p| p.split("train line", line, ()));
    /// let note = p.step("note", |model: &String, auc: &f64| Ok(format!("{model}: {auc}")), (model, auc));
    ///
    /// let done = Runner::new(SystemClock::new()).run(&p, "1")?;
    /// assert_eq!(*done.get(note)?, "line: 0.84");
    /// assert_eq!(&*done.run.step("note")?.inputs[1].name, "trained.1");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn otherwise(self, wire: impl FnOnce(&mut Pipeline) -> R) -> R {
        let Self { pipeline, condition, value: yes, name } = self;
        let no = pipeline.guarded(Guard::on(condition, false), wire);
        let passes = Guard::on(condition, true).passes;
        let name = name.unwrap_or_else(|| pipeline.join_name(condition.slot));
        yes.rejoin(no, "", &mut |place, [yes, no], codec| {
            let ports = vec![condition.port(), yes, no];
            let step = Step::new(format!("{name}{place}"));
            (pipeline.id, pipeline.add(step, "", false, ports, vec![codec], Work::Join(passes)))
        })
    }
}
