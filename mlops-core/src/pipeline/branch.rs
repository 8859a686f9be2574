//! Conditions: values that say yes or no, and the two ways that rejoin.

use super::artifact::{Artifact, Codec};
use super::handle::{Handle, Input};
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
}

impl<D: Decision, T: Artifact> Branch<'_, D, Handle<T>> {
    /// Wires the way for "no" and rejoins: the handle is the value of the way that was taken.
    pub fn otherwise(self, wire: impl FnOnce(&mut Pipeline) -> Handle<T>) -> Handle<T> {
        let Self { pipeline, condition, value: yes } = self;
        let no = pipeline.guarded(Guard::on(condition, false), wire);
        let name = format!("join {}", pipeline.len());
        let guard = Guard::on(condition, true);
        let ports = vec![condition.port(), yes.port(), no.port()];
        let join = Work::Join(guard.passes);
        Handle::new(
            pipeline.id,
            pipeline.add(Step::new(name), "", false, ports, vec![Codec::of::<T>()], join),
        )
    }
}
