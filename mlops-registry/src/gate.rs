//! What a version has to show before an alias may point at it.

use std::fmt;

use mlops_core::evaluation::{self, Check, Reference, Rule};
use mlops_core::{ModelSignature, ModelVersion, Result};
use serde::{Deserialize, Serialize};

use crate::Approval;
use crate::state::{Snapshot, Version};

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
    /// points at nothing or at the version itself; a number that is missing on either side fails.
    Better {
        /// Its name.
        name: String,
        /// The other alias: the champion.
        than: String,
        /// Whether more is better.
        higher_is_better: bool,
        /// By how much it has to be better at least, in the unit of the metric, up to rounding: 4 epsilon of the largest
        /// of the three numbers. At zero it has to be better, however little: equal does not pass. Below zero it is how
        /// much worse it may be.
        margin: f64,
    },
    /// Its [evaluation](crate::NewVersion::evaluation) passes rules that know slices and standard errors: whether a gain
    /// may be noise. Fails if it has none.
    Evaluation {
        /// The rules.
        rules: evaluation::Gate,
        /// The alias whose version is the champion that rules compare with. While it points at nothing, or at a
        /// version without an evaluation, there is no champion: a rule that compares fails, unless it says
        /// [`skip_without_reference`](evaluation::Rule::skip_without_reference). While it points at the
        /// version itself, rules that compare with the champion do not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        champion: Option<String>,
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

    /// A number that has to be higher by a margin than that of the version at an alias, which may be the one that the
    /// gate guards: then it is compared with the version that it replaces. At margin 0 an equal number does not pass; a
    /// margin holds up to rounding, see [`Better`](Self::Better).
    pub fn better(name: impl Into<String>, than: impl Into<String>, margin: f64) -> Self {
        Self::Better { name: name.into(), than: than.into(), higher_is_better: true, margin }
    }

    /// A number that must not exceed a limit.
    pub fn metric_at_most(name: impl Into<String>, limit: f64) -> Self {
        Self::Metric { name: name.into(), at_least: None, at_most: Some(limit) }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approved => f.write_str("approved"),
            Self::Signature => f.write_str("signature recorded"),
            Self::SameSignature { alias } => write!(f, "signature as at {alias}"),
            Self::Metric { name, at_least, at_most } => {
                write!(f, "{name} {}", Limits { at_least: *at_least, at_most: *at_most })
            }
            Self::Better { name, than, higher_is_better, margin } => {
                let side = if *higher_is_better { "above" } else { "below" };
                write!(f, "{name} {side} that at {than} by {margin}")
            }
            Self::Evaluation { rules, .. } => {
                let rules: Vec<_> = rules.rules().iter().map(ToString::to_string).collect();
                write!(f, "evaluation: {}", rules.join(", "))
            }
            Self::Tag { name, value } => write!(f, "tag {name}={value}"),
            Self::Lineage => f.write_str("lineage recorded"),
            Self::Baseline => f.write_str("baseline recorded"),
        }
    }
}

impl fmt::Display for GateResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", if self.passed { "passed" } else { "failed" }, self.gate, self.detail)
    }
}

/// How a version fares at one gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GateResult {
    /// The gate.
    pub gate: Gate,
    /// Whether the version passes.
    pub passed: bool,
    /// What was found and what was wanted.
    pub detail: String,
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
                format!("signature is {}", signature_text(&record.signature)),
            ),
            Gate::SameSignature { alias } => match self.alias(model, alias) {
                None => (true, format!("{model}@{alias} points at nothing")),
                Some(other) => (
                    other.record.signature == record.signature,
                    format!(
                        "signature is {}, that of {} is {}",
                        signature_text(&record.signature),
                        other.id(),
                        signature_text(&other.record.signature)
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
                Some(other) if other.id() == candidate.id() => {
                    (true, format!("{model}@{than} points at it: it is compared with no other"))
                }
                Some(other) => match (value(candidate, name), value(other, name)) {
                    (Some(found), Some(theirs)) => {
                        let wanted = match *margin {
                            0.0 => "a gain".to_owned(),
                            margin => format!("a gain of {margin}"),
                        };
                        let gain = if *higher_is_better { found - theirs } else { theirs - found };
                        // 0.3 and 0.1 are a little less than 0.2 apart once subtracted.
                        let scale = found.abs().max(theirs.abs()).max(margin.abs());
                        let rounding = if scale.is_finite() { 4.0 * f64::EPSILON * scale } else { 0.0 };
                        (
                            gain >= *margin - rounding && (gain > 0.0 || *margin < 0.0),
                            format!("{name} is {found}, that of {} is {theirs}, wanted {wanted}", other.id()),
                        )
                    }
                    (None, _) => (false, format!("{name} is missing")),
                    (_, None) => (false, format!("{name} of {} is missing", other.id())),
                },
            },
            Gate::Evaluation { rules, champion } => {
                let other = champion.as_ref().and_then(|alias| self.alias(model, alias));
                let is_champion = other.is_some_and(|other| other.id() == candidate.id());
                let other = other.and_then(|version| version.record.evaluation.as_deref());
                let against = rules.against();
                let against = other.map_or(against, |other| against.champion(other));
                match &record.evaluation {
                    None => (false, "the evaluation is missing".to_owned()),
                    Some(evaluation) => {
                        let verdict = against.check(evaluation);
                        // Nothing is better than itself.
                        let counts = |rule: &Rule| !(is_champion && is_against_champion(rule));
                        let failed = verdict.failures().filter(|outcome| counts(&outcome.rule));
                        let failed: Vec<_> = failed.map(ToString::to_string).collect();
                        let passed = failed.is_empty();
                        (passed, if passed { "evaluation passes".to_owned() } else { failed.join(", ") })
                    }
                }
            }
            Gate::Tag { name, value } => {
                let found = candidate.tags.get(name);
                let text = found.map_or("", String::as_str);
                (found == Some(value), format!("tag {name} is {text:?}, wanted {value:?}"))
            }
            Gate::Lineage => {
                let (run, data, code) = (&record.run, &record.data, &record.code);
                let parts = [("run", run.is_none()), ("data", data.is_empty()), ("code", code.is_none())];
                let missing = parts.into_iter().filter_map(|(what, missing)| missing.then_some(what));
                let missing: Vec<_> = missing.collect();
                let lacks = format!("lineage lacks [{}]", missing.join(", "));
                let detail = if missing.is_empty() { "lineage is recorded".to_owned() } else { lacks };
                (missing.is_empty(), detail)
            }
            Gate::Baseline => (
                record.baseline.is_some(),
                format!("baseline is {}", record.baseline.as_deref().unwrap_or("missing")),
            ),
        };
        GateResult { gate: gate.clone(), passed, detail }
    }
}

/// A signature as people read it: one that names neither inputs nor outputs was not recorded.
pub(crate) fn signature_text(signature: &ModelSignature) -> String {
    if *signature == ModelSignature::default() { "not recorded".to_owned() } else { signature.to_string() }
}

fn is_against_champion(rule: &Rule) -> bool {
    matches!(
        rule.check,
        Check::NoWorseThan { reference: Reference::Champion, .. }
            | Check::BetterThan { reference: Reference::Champion, .. }
    )
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
