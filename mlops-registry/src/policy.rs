//! The rules of a model as data: who approves, what an alias demands, which stages there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mlops_core::{Error, ModelVersion, Result};
use serde::{Deserialize, Serialize};

use crate::state::{Snapshot, Version};
use crate::{Approval, name};

/// The rules of one model. They are checked inside the commit, on the state that it changes.
///
/// They guard against mistakes and races, and the log tells who changed them. Whoever can write to the storage
/// can write anything; access rights are the storage's.
///
/// ```
/// use mlops_registry::{Change, Draft, Gate, NewVersion, Policy, blocking::Registry};
///
/// let registry = Registry::open("memory:")?;
/// let mut policy = Policy::default();
/// policy.gates.insert("champion".into(), vec![Gate::metric_at_least("auc", 0.9), Gate::Approved]);
/// registry.commit(Draft::new("ann", "house rules").change(Change::SetPolicy { model: "shop".into(), policy }))?;
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
    /// How many approvals make a version approved, without a rejection. At least 1.
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

/// One thing that a version has to show before an alias may point at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gate {
    /// It is approved.
    Approved,
    /// Its inputs and outputs are recorded, as [`ModelSignature`](mlops_core::ModelSignature) has them.
    Signature,
    /// Its inputs and outputs have the same names, types and shapes as those of the version at another alias.
    /// Passes if that alias points at nothing.
    SameSignature {
        /// The other alias.
        alias: String,
    },
    /// A number of it lies within limits: quality, bias, drift, latency. A number that is missing fails.
    Metric {
        /// Its name.
        name: String,
        /// The least that passes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<f64>,
        /// The most that passes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<f64>,
    },
    /// A number of it is better than that of the version at another alias by a margin. Passes if that alias
    /// points at nothing; a number that is missing on either side fails.
    Better {
        /// Its name.
        name: String,
        /// The other alias: the champion.
        than: String,
        /// Whether more is better.
        higher_is_better: bool,
        /// By how much it has to be better, in the unit of the metric; below zero for how much worse it may be.
        margin: f64,
    },
    /// A tag of it has this value.
    Tag {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Its lineage is recorded: the run, the data and the code that made it.
    Lineage,
    /// It names the profile that its inputs are compared with.
    Baseline,
}

impl Gate {
    /// A number that has to reach a limit.
    pub fn metric_at_least(name: impl Into<String>, limit: f64) -> Self {
        Self::Metric { name: name.into(), at_least: Some(limit), at_most: None }
    }

    /// A number that must not exceed a limit.
    pub fn metric_at_most(name: impl Into<String>, limit: f64) -> Self {
        Self::Metric { name: name.into(), at_least: None, at_most: Some(limit) }
    }
}

/// How a version fares at one gate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GateResult {
    /// The gate.
    pub gate: Gate,
    /// Whether the version passes.
    pub passed: bool,
    /// What was found and what was wanted.
    pub detail: String,
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
    /// The stage of a version that was just registered.
    pub first: String,
    /// Where a version may go, by where it is.
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
}

impl Policy {
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

    pub(crate) fn check_stage(&self, from: &str, to: &str) -> Result<()> {
        match &self.stages {
            None => Err(Error::conflict("the model has no stages: set them in its policy".to_owned())),
            Some(stages) if stages.allows(from, to) => Ok(()),
            Some(stages) => {
                let next: Vec<_> =
                    stages.transitions.get(from).into_iter().flatten().map(String::as_str).collect();
                Err(Error::conflict(format!(
                    "stage `{}` cannot follow on `{from}`: it leads to [{}]",
                    to.escape_debug(),
                    next.join(", ")
                )))
            }
        }
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
        if !self.reviewers.is_empty() && (self.reviewers.len() as u64) < u64::from(self.approvals_min) {
            return Err(Error::invalid(format!(
                "the policy wants {} approvals of {} reviewers: nothing could be approved",
                self.approvals_min,
                self.reviewers.len()
            )));
        }
        for (alias, gates) in &self.gates {
            name::check_alias(alias)?;
            for gate in gates {
                match gate {
                    Gate::Metric { name, at_least: None, at_most: None } => {
                        return Err(Error::invalid(format!("the gate on `{name}` has no limit: set one")));
                    }
                    Gate::Metric { at_least, at_most, .. } => {
                        [at_least, at_most].into_iter().flatten().try_for_each(|limit| number(*limit))?;
                    }
                    Gate::Better { than, margin, .. } => {
                        number(*margin)?;
                        name::check_alias(than)?;
                    }
                    Gate::SameSignature { alias } => name::check_alias(alias)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// How a version fares at the gates of an alias, without committing anything.
    ///
    /// A version that the alias pointed at before faces them again, except when it is rolled back.
    ///
    /// # Errors
    /// `NotFound` if there is no such model or version.
    pub fn gates(&self, model: &str, alias: &str, version: u64) -> Result<Vec<GateResult>> {
        let of = self.model(model)?;
        let candidate = self.version(&ModelVersion::new(model, version))?;
        let gates = of.policy.gates.get(alias).into_iter().flatten();
        Ok(gates.map(|gate| self.gate(gate, candidate)).collect())
    }

    fn approval_detail(&self, version: &Version) -> String {
        let found = format!("approval is {}", version.approval);
        let Ok(model) = self.model(&version.id().name) else { return found };
        let policy = &model.policy;
        let may =
            policy.reviewers.iter().filter(|actor| policy.check_reviewer(version, actor).is_ok()).count();
        if policy.reviewers.is_empty() || may as u64 >= u64::from(policy.approvals_min) {
            return found;
        }
        format!(
            "{found} and cannot be reached: {may} of the {} reviewers may approve what `{}` registered, wanted {}",
            policy.reviewers.len(),
            version.registered.actor.escape_debug(),
            policy.approvals_min
        )
    }

    fn gate(&self, gate: &Gate, candidate: &Version) -> GateResult {
        let model = &candidate.id().name;
        let record = &candidate.record;
        let value = |version: &Version, name: &str| version.metrics.get(name).copied();
        let (passed, detail) = match gate {
            Gate::Approved => (candidate.approval == Approval::Approved, self.approval_detail(candidate)),
            Gate::Signature => (
                !record.signature.inputs.is_empty() && !record.signature.outputs.is_empty(),
                format!("signature is {}", record.signature),
            ),
            Gate::SameSignature { alias } => match self.alias(model, alias) {
                None => (true, format!("{model}@{alias} points at nothing")),
                Some(other) => (
                    other.record.signature == record.signature,
                    format!(
                        "signature is {}, that of {} is {}",
                        record.signature,
                        other.id(),
                        other.record.signature
                    ),
                ),
            },
            Gate::Metric { name, at_least, at_most } => {
                let wanted = Limits { at_least: *at_least, at_most: *at_most };
                match value(candidate, name) {
                    None => (false, format!("{name} is missing, wanted {wanted}")),
                    Some(found) => {
                        let passed = at_least.is_none_or(|limit| found >= limit)
                            && at_most.is_none_or(|limit| found <= limit);
                        (passed, format!("{name} is {found}, wanted {wanted}"))
                    }
                }
            }
            Gate::Better { name, than, higher_is_better, margin } => match self.alias(model, than) {
                None => (true, format!("{model}@{than} points at nothing")),
                Some(other) => match (value(candidate, name), value(other, name)) {
                    (Some(found), Some(theirs)) => {
                        let gain = if *higher_is_better { found - theirs } else { theirs - found };
                        (
                            gain >= *margin,
                            format!(
                                "{name} is {found}, that of {} is {theirs}, wanted a gain of {margin}",
                                other.id()
                            ),
                        )
                    }
                    (None, _) => (false, format!("{name} is missing")),
                    (_, None) => (false, format!("{name} of {} is missing", other.id())),
                },
            },
            Gate::Tag { name, value } => (
                candidate.tags.get(name) == Some(value),
                format!(
                    "tag {name} is {:?}, wanted {value:?}",
                    candidate.tags.get(name).map_or("", String::as_str)
                ),
            ),
            Gate::Lineage => {
                let missing: Vec<_> = [
                    ("run", record.run.is_none()),
                    ("data", record.data.is_empty()),
                    ("code", record.code.is_none()),
                ]
                .into_iter()
                .filter_map(|(what, missing)| missing.then_some(what))
                .collect();
                (missing.is_empty(), format!("lineage lacks [{}]", missing.join(", ")))
            }
            Gate::Baseline => (
                record.baseline.is_some(),
                format!("baseline is {}", record.baseline.as_deref().unwrap_or("missing")),
            ),
        };
        GateResult { gate: gate.clone(), passed, detail }
    }
}

struct Limits {
    at_least: Option<f64>,
    at_most: Option<f64>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) => write!(f, "{least} to {most}"),
            (Some(least), None) => write!(f, "at least {least}"),
            (None, Some(most)) => write!(f, "at most {most}"),
            (None, None) => f.write_str("anything"),
        }
    }
}
