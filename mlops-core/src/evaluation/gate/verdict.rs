//! The gate itself and what it says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Check, Evidence, Reference, Rule, bounds};
use crate::evaluation::metric::Metric;
use crate::evaluation::{Evaluation, Goal};
use crate::{Error, Result};

/// Rules that a model has to pass: all of them. Plain data, checked when it is made or read: there is at least
/// one rule, and every limit, margin and confidence can be judged by.
///
/// A rule that cannot be judged on an evaluation (no such metric, no standard error where evidence is asked for)
/// fails and says why.
///
/// ```
/// use mlops_core::evaluation::{Evaluation, Gate, Metric, Rule};
///
/// let gate = Gate::new([Rule::at_least("roc_auc", 0.9)])?;
/// let verdict = gate.check(&Evaluation::new(100).with("roc_auc", Metric::new(0.88)));
/// assert!(!verdict.passed());
/// assert_eq!(verdict.to_string(), "rejected\nfailed: roc_auc at least 0.9: 0.88 is below 0.9");
/// assert!(Gate::new([]).is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Gate {
    rules: Vec<Rule>,
}

/// A gate as it was written, not yet checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    rules: Vec<Rule>,
}

impl TryFrom<Stored> for Gate {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Self::new(stored.rules)
    }
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
    ///
    /// # Errors
    /// `Invalid` if there is no rule, which would let any model through, or if a rule has a limit that is NaN, a
    /// negative margin, or a confidence that is not above 0.5 and below 1.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self> {
        let rules: Vec<Rule> = rules.into_iter().collect();
        if rules.is_empty() {
            return Err(Error::invalid(
                "a gate without rules lets any model through: give at least one rule",
            ));
        }
        rules.iter().try_for_each(Rule::valid)?;
        Ok(Self { rules })
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
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
        let rows = rows(candidate, rule, &metric)?;
        let (reference, margin, strict) = match rule.check {
            Check::AtLeast(limit) => return bounded(rule, metric, rows, Some(limit), None),
            Check::AtMost(limit) => return bounded(rule, metric, rows, None, Some(limit)),
            Check::Between(low, high) => return bounded(rule, metric, rows, Some(low), Some(high)),
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
        let ([value, theirs], mut difference) = ([metric.value, other.value], metric.value - other.value);
        let mut bounds = None;
        if let Some(differences) = standard.differences {
            let unpaired = |error: Error| error.context("there is no paired difference");
            let paired = differences.metric(&rule.metric, rule.slice.as_deref()).map_err(unpaired)?;
            difference = paired.value;
            if let Some(confidence) = rule.evidence.confidence() {
                let rows = self::rows(differences, rule, &paired)?;
                bounds = Some(bounds::of_metric(&paired, rows, confidence)?);
            }
        } else if let Some(confidence) = rule.evidence.confidence() {
            let their_rows = self::rows(standard.evaluation, rule, &other)?;
            let ours = (value, bounds::of_metric(&metric, rows, confidence)?);
            let theirs = (theirs, bounds::of_metric(&other, their_rows, confidence)?);
            bounds = Some(bounds::of_difference(ours, theirs));
        }
        // From the loss side, bounds turn round with the sign.
        let (gain, bounds) = match goal {
            Goal::Higher => (difference, bounds),
            Goal::Lower => (-difference, bounds.map(|[low, high]| [-high, -low])),
        };
        let bound = match (rule.evidence, bounds) {
            (Evidence::Proven(_), Some([low, _])) => low,
            (Evidence::Unrefuted(_), Some([_, high])) => high,
            _ => gain,
        };
        // Two values that are exactly the margin apart differ by a little more or less once subtracted.
        let scale = value.abs().max(theirs.abs()).max(margin);
        let rounding = if scale.is_finite() { 4.0 * f64::EPSILON * scale } else { 0.0 };
        let passed = if strict { bound > margin + rounding } else { bound >= -margin - rounding };
        // Fewer digits must not tell another story than the status does.
        let holds = |bound: f64| if strict { bound > margin } else { bound >= -margin };
        let shown = |number: f64| {
            let short = rounded(number);
            if holds(short) != passed && holds(number) == passed { number } else { short }
        };
        let relation = if gain >= 0.0 { "better" } else { "worse" };
        let mut reason = format!("{value} against {theirs}: {relation} by {}", shown(gain).abs());
        if rule.evidence != Evidence::Point {
            reason += &format!(" (bound {})", shown(bound));
        }
        Ok(Finding { status: status(passed), metric: Some(metric), reason })
    }
}

/// How many rows the rule's metric is over.
fn rows(evaluation: &Evaluation, rule: &Rule, metric: &Metric) -> Result<u64> {
    match metric.rows {
        Some(rows) => Ok(rows),
        None => Ok(evaluation.metric("rows", rule.slice.as_deref())?.value as u64),
    }
}

struct Finding {
    status: Status,
    metric: Option<Metric>,
    reason: String,
}

fn bounded(rule: &Rule, metric: Metric, rows: u64, low: Option<f64>, high: Option<f64>) -> Result<Finding> {
    let value = metric.value;
    let confidence = rule.evidence.confidence();
    let bounds = confidence.map(|confidence| bounds::of_metric(&metric, rows, confidence)).transpose()?;
    // What has to clear a lower and an upper limit.
    let [for_low, for_high] = match (rule.evidence, bounds) {
        (Evidence::Proven(_), Some([lower, upper])) => [lower, upper],
        (Evidence::Unrefuted(_), Some([lower, upper])) => [upper, lower],
        _ => [value, value],
    };
    // Fewer digits must not bring it to the other side of the limit, or onto it.
    let bound = |end: f64, limit: f64| {
        let short = rounded(end);
        let shown = if short.partial_cmp(&limit) == end.partial_cmp(&limit) { short } else { end };
        bounds.map_or_else(String::new, |_| format!(" (bound {shown})"))
    };
    let mut reasons = Vec::new();
    let mut passed = true;
    if let Some(low) = low {
        let holds = for_low >= low;
        passed &= holds;
        let relation = if holds { "is not below" } else { "is below" };
        reasons.push(format!("{value}{} {relation} {low}", bound(for_low, low)));
    }
    if let Some(high) = high {
        let holds = for_high <= high;
        passed &= holds;
        let relation = if holds { "is not above" } else { "is above" };
        reasons.push(format!("{value}{} {relation} {high}", bound(for_high, high)));
    }
    Ok(Finding { status: status(passed), metric: Some(metric), reason: reasons.join(", ") })
}

/// Without the digits that subtraction made up.
fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Every rule with its outcome, in order.
    pub outcomes: Vec<Outcome>,
}

impl Verdict {
    /// Whether there were rules and none failed. Rules that were skipped do not fail.
    pub fn passed(&self) -> bool {
        !self.outcomes.is_empty() && self.failures().next().is_none()
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
