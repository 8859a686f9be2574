//! The rules of a model as data: who approves, what an alias demands, which stages there are.

use std::collections::{BTreeMap, BTreeSet};

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::state::Version;
use crate::{Approval, Gate, name};

/// The rules of one model. They are checked inside the commit, on the state that it changes.
///
/// A commit is judged by the rules that were in force before it: one that sets other rules cannot review or promote by
/// them. So a change of rules is a commit of its own, which whoever [watches](crate::Watch) the log sees before it is
/// used.
///
/// They guard against mistakes and races, and the log tells who changed them. Whoever can write to the storage
/// can write anything; access rights are the storage's.
///
/// ```
/// use mlops_registry::{Draft, Gate, NewVersion, Policy, blocking::Registry};
///
/// let registry = Registry::open("memory:")?;
/// let policy =
///     Policy::default().gate("champion", Gate::metric_at_least("auc", 0.9)).gate("champion", Gate::Approved);
/// registry.commit(Draft::new("ann", "house rules").policy("shop", policy))?;
///
/// let weak = NewVersion::new("shop").file("model.bin", "weights").metric("auc", 0.8);
/// let receipt = registry.commit(Draft::new("trainer", "nightly").register(weak))?;
/// let version = receipt.version().unwrap();
/// let error = registry.commit(Draft::new("ann", "hurry").alias("champion", version, None)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "shop/1 does not pass the gates of shop@champion: auc is 0.8, wanted at least 0.9; approval is pending"
/// );
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Policy {
    /// How many approvals make a version approved, without a rejection. At least 1: 0 is `Invalid` when it is committed.
    pub approvals_min: u32,
    /// Whether the actor who registered a version cannot review it.
    pub four_eyes: bool,
    /// The actors whose reviews count; all, if it is empty.
    pub reviewers: BTreeSet<String>,
    /// What a version has to show before an alias may point at it, by alias.
    pub gates: BTreeMap<String, Vec<Gate>>,
    /// The stages that versions go through, for those who want them.
    pub stages: Option<Stages>,
}

impl Default for Policy {
    /// One approval of anybody approves; no gates, no stages.
    fn default() -> Self {
        Self {
            approvals_min: 1,
            four_eyes: false,
            reviewers: BTreeSet::new(),
            gates: BTreeMap::new(),
            stages: None,
        }
    }
}

/// The stages of a model's versions and the moves between them: a transition table.
///
/// ```
/// use mlops_registry::Stages;
///
/// let stages = Stages::new("dev").allow("dev", "staging").allow("staging", "production").allow("staging", "dev");
/// assert!(stages.allows("dev", "staging"));
/// assert!(!stages.allows("dev", "production"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stages {
    /// The stage of a version that was just registered, and of those that were there before the stages.
    pub first: String,
    /// Where a version may go, by where it is. A stage that cannot be reached, from the first one or from one that a
    /// version is in, is `Invalid` when it is committed.
    pub transitions: BTreeMap<String, BTreeSet<String>>,
}

impl Stages {
    /// One stage that leads nowhere yet.
    pub fn new(first: impl Into<String>) -> Self {
        Self { first: first.into(), transitions: BTreeMap::new() }
    }

    /// Allows one move.
    #[must_use]
    pub fn allow(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.transitions.entry(from.into()).or_default().insert(to.into());
        self
    }

    /// Whether a version may go from one stage to another.
    pub fn allows(&self, from: &str, to: &str) -> bool {
        self.transitions.get(from).is_some_and(|next| next.contains(to))
    }

    pub(crate) fn check_move(&self, from: &str, to: &str) -> Result<()> {
        if self.allows(from, to) {
            return Ok(());
        }
        let next: Vec<_> = self.transitions.get(from).into_iter().flatten().map(String::as_str).collect();
        Err(Error::conflict(format!(
            "stage `{}` cannot follow on `{from}`: it leads to [{}]",
            to.escape_debug(),
            next.join(", ")
        )))
    }

    /// A stage that no version can ever be in: none of these is in it, and no move from them leads there.
    pub(crate) fn unreachable<'a>(&'a self, mut left: Vec<&'a str>) -> Option<&'a str> {
        left.push(&self.first);
        let mut reached = BTreeSet::new();
        while let Some(stage) = left.pop() {
            if reached.insert(stage) {
                left.extend(self.transitions.get(stage).into_iter().flatten().map(String::as_str));
            }
        }
        // Those that moves lead from come first: to them a move is missing.
        let named = self.transitions.keys().chain(self.transitions.values().flatten());
        named.map(String::as_str).find(|stage| !reached.contains(stage))
    }
}

impl Policy {
    /// So many approvals make a version approved.
    #[must_use]
    pub fn approvals_min(mut self, count: u32) -> Self {
        self.approvals_min = count;
        self
    }

    /// The actor who registered a version cannot review it.
    #[must_use]
    pub fn four_eyes(mut self) -> Self {
        self.four_eyes = true;
        self
    }

    /// Only reviews of these actors, and of those named before, count.
    #[must_use]
    pub fn reviewers<A: Into<String>>(mut self, actors: impl IntoIterator<Item = A>) -> Self {
        self.reviewers.extend(actors.into_iter().map(Into::into));
        self
    }

    /// What a version has to show before an alias may point at it, beside the gates named before.
    #[must_use]
    pub fn gate(mut self, alias: impl Into<String>, gate: Gate) -> Self {
        self.gates.entry(alias.into()).or_default().push(gate);
        self
    }

    /// The stages that versions go through.
    #[must_use]
    pub fn stages(mut self, stages: Stages) -> Self {
        self.stages = Some(stages);
        self
    }

    /// What the verdicts on a version add up to: one rejection rejects, enough approvals approve.
    ///
    /// Only the verdicts of those count whom the policy lets review this version.
    pub fn approval(&self, version: &Version) -> Approval {
        let counted =
            version.reviews.iter().filter(|review| self.check_reviewer(version, &review.by.actor).is_ok());
        let mut approvals = 0;
        for review in counted {
            match review.verdict {
                Approval::Rejected => return Approval::Rejected,
                Approval::Approved => approvals += 1,
                Approval::Pending => {}
            }
        }
        if approvals >= self.approvals_min.max(1) { Approval::Approved } else { Approval::Pending }
    }

    pub(crate) fn check_reviewer(&self, version: &Version, actor: &str) -> Result<()> {
        let id = version.id();
        if !self.reviewers.is_empty() && !self.reviewers.contains(actor) {
            let reviewers: Vec<_> = self.reviewers.iter().map(String::as_str).collect();
            return Err(Error::conflict(format!(
                "`{}` is no reviewer of {id}: ask {}",
                actor.escape_debug(),
                reviewers.join(" or ")
            )));
        }
        if self.four_eyes && version.registered.actor == actor {
            return Err(Error::conflict(format!(
                "`{}` registered {id} and cannot review it too (four eyes): ask somebody else",
                actor.escape_debug()
            )));
        }
        Ok(())
    }

    /// Whether the policy itself makes sense.
    pub(crate) fn check(&self) -> Result<()> {
        let number = |value: f64| {
            if value.is_finite() {
                Ok(())
            } else {
                Err(Error::invalid(format!("a gate's limit is {value}: want a finite number")))
            }
        };
        if self.approvals_min == 0 {
            return Err(Error::invalid(
                "the policy wants 0 approvals, which asks for nothing: want at least 1, and a `Gate::Approved` where it \
                 matters",
            ));
        }
        if !self.reviewers.is_empty() && (self.reviewers.len() as u64) < u64::from(self.approvals_min) {
            return Err(Error::invalid(format!(
                "the policy wants {} approvals of {} reviewers: nothing could be approved",
                self.approvals_min,
                self.reviewers.len()
            )));
        }
        for (alias, gates) in &self.gates {
            name::check_alias(alias)?;
            let mut limits = BTreeMap::new();
            for gate in gates {
                match gate {
                    Gate::Metric { name, at_least: None, at_most: None } => {
                        return Err(Error::invalid(format!("the gate on `{name}` has no limit: set one")));
                    }
                    Gate::Metric { name, at_least, at_most } => {
                        [at_least, at_most].into_iter().flatten().try_for_each(|limit| number(*limit))?;
                        let (least, most) = limits.entry(name).or_insert((f64::NEG_INFINITY, f64::INFINITY));
                        *least = least.max(at_least.unwrap_or(*least));
                        *most = most.min(at_most.unwrap_or(*most));
                        if least > most {
                            return Err(Error::invalid(format!(
                                "the gates of `{alias}` want `{name}` to be at least {least} and at most {most}: nothing \
                                 could pass"
                            )));
                        }
                    }
                    Gate::Better { than, margin, .. } => {
                        number(*margin)?;
                        name::check_alias(than)?;
                    }
                    Gate::SameSignature { alias } | Gate::Evaluation { champion: Some(alias), .. } => {
                        name::check_alias(alias)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
