//! The gate itself and what it says.

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::{Check, Evidence, Reference, Rule};
use crate::evaluation::metric::Metric;
use crate::evaluation::{Evaluation, Goal};
use crate::{Error, Result};

/// Rules that a model has to pass: all of them. Plain data; without rules everything passes.
///
/// A rule that cannot be judged (no such metric, no standard error where evidence is asked for, a limit that is
/// not a number) fails and says why.
///
/// ```
/// use mlops_core::evaluation::{Evaluation, Gate, Metric, Rule};
///
/// let gate = Gate::new([Rule::at_least("roc_auc", 0.9)]);
/// let verdict = gate.check(&Evaluation::new(100).with("roc_auc", Metric::new(0.88)));
/// assert!(!verdict.passed());
/// assert_eq!(verdict.to_string(), "rejected\nfailed: roc_auc at least 0.9: 0.88 is below 0.9");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Gate {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A gate with the models to compare with.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    gate: &'a Gate,
    champion: Option<Standard<'a>>,
    baseline: Option<Standard<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Standard<'a> {
    evaluation: &'a Evaluation,
    differences: Option<&'a Evaluation>,
}

impl Gate {
    /// The gate with these rules.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// Judges a model that is compared with no other.
    pub fn check(&self, candidate: &Evaluation) -> Verdict {
        self.against().check(candidate)
    }

    /// Names the models to compare with.
    pub fn against(&self) -> Against<'_> {
        Against { gate: self, champion: None, baseline: None }
    }
}

impl<'a> Against<'a> {
    /// Compares with the model that serves now.
    #[must_use]
    pub fn champion(mut self, evaluation: &'a Evaluation) -> Self {
        self.champion = Some(Standard { evaluation, differences: None });
        self
    }

    /// Compares with the model that serves now, on the same rows: `differences` holds candidate minus champion
    /// by metric, with the standard error of the difference.
    #[must_use]
    pub fn champion_paired(mut self, evaluation: &'a Evaluation, differences: &'a Evaluation) -> Self {
        self.champion = Some(Standard { evaluation, differences: Some(differences) });
        self
    }

    /// Compares with a simple model that any other has to beat.
    #[must_use]
    pub fn baseline(mut self, evaluation: &'a Evaluation) -> Self {
        self.baseline = Some(Standard { evaluation, differences: None });
        self
    }

    /// Compares with a simple model on the same rows; see [`champion_paired`](Self::champion_paired).
    #[must_use]
    pub fn baseline_paired(mut self, evaluation: &'a Evaluation, differences: &'a Evaluation) -> Self {
        self.baseline = Some(Standard { evaluation, differences: Some(differences) });
        self
    }

    /// Judges a model.
    pub fn check(&self, candidate: &Evaluation) -> Verdict {
        let outcomes = self.gate.rules.iter().map(|rule| {
            let finding = self.judge(rule, candidate).unwrap_or_else(|error| Finding {
                status: Status::Failed,
                metric: None,
                reason: format!("{error:#}"),
            });
            let Finding { status, metric, reason } = finding;
            Outcome { rule: rule.clone(), status, metric, reason }
        });
        Verdict { outcomes: outcomes.collect() }
    }

    fn judge(&self, rule: &Rule, candidate: &Evaluation) -> Result<Finding> {
        let metric = candidate.metric(&rule.metric, rule.slice.as_deref())?;
        let value = metric.value;
        let (reference, margin, strict) = match rule.check {
            Check::AtLeast(limit) => return bounded(rule, metric, Some(limit), None),
            Check::AtMost(limit) => return bounded(rule, metric, None, Some(limit)),
            Check::Between(low, high) => return bounded(rule, metric, Some(low), Some(high)),
            Check::NoWorseThan { reference, margin } => (reference, margin, false),
            Check::BetterThan { reference, margin } => (reference, margin, true),
        };
        let standard = match reference {
            Reference::Champion => self.champion,
            Reference::Baseline => self.baseline,
        };
        let Some(standard) = standard else {
            let status = if rule.skip_without_reference { Status::Skipped } else { Status::Failed };
            return Ok(Finding { status, metric: Some(metric), reason: format!("there is no {reference}") });
        };
        let goal = rule.goal.or_else(|| Goal::of(&rule.metric)).ok_or_else(|| {
            Error::invalid("whether this metric is better high or low is not known: set the rule's `goal`")
        })?;
        let other = standard.evaluation.metric(&rule.metric, rule.slice.as_deref());
        let other = other.map_err(|error| error.context(format!("the {reference} cannot be compared")))?;
        let paired = standard.differences.map(|paired| paired.metric(&rule.metric, rule.slice.as_deref()));
        let (difference, std_error) = match paired {
            Some(paired) => {
                let paired = paired.map_err(|error| error.context("there is no paired difference"))?;
                (paired.value, paired.std_error)
            }
            None => (value - other.value, hypotenuse(metric.std_error, other.std_error)),
        };
        let gain = match goal {
            Goal::Higher => difference,
            Goal::Lower => -difference,
        };
        // A negative or NaN margin would turn the rule round or let nothing be said.
        if margin.is_nan() || margin < 0.0 {
            return Err(Error::invalid(format!("the margin is {margin}: want 0 or above")));
        }
        let bound = gain + slack(rule.evidence, std_error)?;
        let passed = if strict { bound > margin } else { bound >= -margin };
        let relation = if gain >= 0.0 { "better" } else { "worse" };
        let mut reason = format!("{value} against {}: {relation} by {}", other.value, gain.abs());
        if rule.evidence != Evidence::Point {
            reason += &format!(" (bound {bound})");
        }
        Ok(Finding { status: status(passed), metric: Some(metric), reason })
    }
}

struct Finding {
    status: Status,
    metric: Option<Metric>,
    reason: String,
}

fn bounded(rule: &Rule, metric: Metric, low: Option<f64>, high: Option<f64>) -> Result<Finding> {
    let value = metric.value;
    let slack = slack(rule.evidence, metric.std_error)?;
    let mut reasons = Vec::new();
    let mut passed = true;
    let bound = |shifted: f64| if slack == 0.0 { String::new() } else { format!(" (bound {shifted})") };
    if let Some(low) = low {
        let shifted = value + slack;
        let holds = shifted >= low;
        passed &= holds;
        let relation = if holds { "is not below" } else { "is below" };
        reasons.push(format!("{value}{} {relation} {low}", bound(shifted)));
    }
    if let Some(high) = high {
        let shifted = value - slack;
        let holds = shifted <= high;
        passed &= holds;
        let relation = if holds { "is not above" } else { "is above" };
        reasons.push(format!("{value}{} {relation} {high}", bound(shifted)));
    }
    Ok(Finding { status: status(passed), metric: Some(metric), reason: reasons.join(", ") })
}

/// What to add to a gain before it is held against its limit: less if it has to be proven.
fn slack(evidence: Evidence, std_error: Option<f64>) -> Result<f64> {
    let (confidence, sign) = match evidence {
        Evidence::Point => return Ok(0.0),
        Evidence::Proven(confidence) => (confidence, -1.0),
        Evidence::Unrefuted(confidence) => (confidence, 1.0),
    };
    if !(confidence > 0.5 && confidence < 1.0) {
        return Err(Error::invalid(format!("the confidence is {confidence}: want above 0.5 and below 1")));
    }
    let std_error = std_error.filter(|error| error.is_finite()).ok_or_else(|| {
        Error::data("the metric has no standard error: ask for the point, or add one by a bootstrap")
    })?;
    Ok(sign * Normal::standard().inverse_cdf(confidence) * std_error)
}

fn hypotenuse(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a?.hypot(b?))
}

fn status(passed: bool) -> Status {
    if passed { Status::Passed } else { Status::Failed }
}

/// How a rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Passed,
    /// It does not hold, or cannot be judged.
    Failed,
    /// There is nothing to compare with, and the rule said to skip it then.
    Skipped,
}

/// One rule, how it came out and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The rule.
    pub rule: Rule,
    /// How it came out.
    pub status: Status,
    /// The candidate's metric; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// A sentence for people.
    pub reason: String,
}

/// What the gate says, rule by rule. Prints as a line for the whole and one for each rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Every rule with its outcome, in order.
    pub outcomes: Vec<Outcome>,
}

impl Verdict {
    /// Whether no rule failed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The rules that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.status == Status::Failed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Passed => "passed",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        };
        write!(f, "{status}: {}: {}", self.rule, self.reason)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.passed() { "accepted" } else { "rejected" })?;
        self.outcomes.iter().try_for_each(|outcome| write!(f, "\n{outcome}"))
    }
}
