//! One rule: a metric, a condition, and how much evidence it takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evaluation::Goal;

/// A condition on one metric, over all rows or on a slice.
///
/// ```
/// use mlops_core::evaluation::{Reference, Rule};
///
/// let rules = [
///     Rule::at_most("log_loss", 0.4),
///     Rule::between("di", 0.8, 1.25).on("visitor=returning"),
///     Rule::at_least("recall", 0.7).proven(0.95),
///     Rule::no_worse_than("roc_auc", Reference::Champion, 0.01).proven(0.95).skip_without_reference(),
///     Rule::better_than("brier", Reference::Baseline, 0.0),
/// ];
/// assert_eq!(rules[1].to_string(), "di on visitor=returning between 0.8 and 1.25");
/// assert_eq!(
///     rules[3].to_string(),
///     "roc_auc no worse than the champion's by more than 0.01, proven at confidence 0.95"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// The name of the metric; `rows` is the number of rows.
    pub metric: String,
    /// The slice, as `feature=value`; all rows if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// What has to hold.
    pub check: Check,
    /// How sure it has to be.
    #[serde(default, skip_serializing_if = "Evidence::is_point")]
    pub evidence: Evidence,
    /// Whether the metric is better high or low, for a metric that [`Goal::of`] does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// Skip the rule, rather than fail it, when there is no such reference: the first model has no champion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_without_reference: bool,
}

/// What has to hold of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Check {
    /// The value is this or higher.
    AtLeast(f64),
    /// The value is this or lower.
    AtMost(f64),
    /// The value lies between the two, both included.
    Between(f64, f64),
    /// The value is worse than the reference's by at most the margin.
    NoWorseThan {
        /// The other model.
        reference: Reference,
        /// How much worse is still good, in units of the metric, 0 or above.
        margin: f64,
    },
    /// The value is better than the reference's by more than the margin.
    BetterThan {
        /// The other model.
        reference: Reference,
        /// How much better it has to be, in units of the metric, 0 or above.
        margin: f64,
    },
}

/// The model that a rule compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The model that serves now.
    Champion,
    /// A simple model that any other has to beat.
    Baseline,
}

/// How the uncertainty of the metric enters a rule.
///
/// Bounds are one-sided and normal: value plus or minus z(confidence) standard errors. The standard error of a
/// difference is the paired one if the gate was given differences on the same rows, else
/// sqrt(se^2 + se_reference^2), which is careful when both models saw the same rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The value alone decides.
    #[default]
    Point,
    /// The rule passes only if the data prove it at this confidence: the burden is on the candidate.
    Proven(f64),
    /// The rule fails only if the data refute it at this confidence: the burden is on the doubter.
    Unrefuted(f64),
}

impl Evidence {
    fn is_point(&self) -> bool {
        *self == Self::Point
    }
}

impl Rule {
    /// The rule that this check holds of this metric, over all rows, by its value alone.
    pub fn new(metric: impl Into<String>, check: Check) -> Self {
        Self {
            metric: metric.into(),
            slice: None,
            check,
            evidence: Evidence::Point,
            goal: None,
            skip_without_reference: false,
        }
    }

    /// The metric is `limit` or higher.
    pub fn at_least(metric: impl Into<String>, limit: f64) -> Self {
        Self::new(metric, Check::AtLeast(limit))
    }

    /// The metric is `limit` or lower.
    pub fn at_most(metric: impl Into<String>, limit: f64) -> Self {
        Self::new(metric, Check::AtMost(limit))
    }

    /// The metric lies in `low..=high`.
    pub fn between(metric: impl Into<String>, low: f64, high: f64) -> Self {
        Self::new(metric, Check::Between(low, high))
    }

    /// The metric is worse than the reference's by at most `margin`.
    pub fn no_worse_than(metric: impl Into<String>, reference: Reference, margin: f64) -> Self {
        Self::new(metric, Check::NoWorseThan { reference, margin })
    }

    /// The metric is better than the reference's by more than `margin`.
    pub fn better_than(metric: impl Into<String>, reference: Reference, margin: f64) -> Self {
        Self::new(metric, Check::BetterThan { reference, margin })
    }

    /// Looks at a slice, as `feature=value`, instead of all rows.
    #[must_use]
    pub fn on(mut self, slice: impl Into<String>) -> Self {
        self.slice = Some(slice.into());
        self
    }

    /// Passes only if proven at this confidence, as 0.95.
    #[must_use]
    pub fn proven(mut self, confidence: f64) -> Self {
        self.evidence = Evidence::Proven(confidence);
        self
    }

    /// Fails only if refuted at this confidence, as 0.95.
    #[must_use]
    pub fn unrefuted(mut self, confidence: f64) -> Self {
        self.evidence = Evidence::Unrefuted(confidence);
        self
    }

    /// Says whether the metric is better high or low.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Skips the rule when there is no such reference.
    #[must_use]
    pub fn skip_without_reference(mut self) -> Self {
        self.skip_without_reference = true;
        self
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if let Some(slice) = &self.slice {
            write!(f, " on {slice}")?;
        }
        match self.check {
            Check::AtLeast(limit) => write!(f, " at least {limit}"),
            Check::AtMost(limit) => write!(f, " at most {limit}"),
            Check::Between(low, high) => write!(f, " between {low} and {high}"),
            Check::NoWorseThan { reference, margin } => {
                write!(f, " no worse than the {reference}'s by more than {margin}")
            }
            Check::BetterThan { reference, margin } => {
                write!(f, " better than the {reference}'s by more than {margin}")
            }
        }?;
        match self.evidence {
            Evidence::Point => Ok(()),
            Evidence::Proven(confidence) => write!(f, ", proven at confidence {confidence}"),
            Evidence::Unrefuted(confidence) => write!(f, ", unless refuted at confidence {confidence}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
