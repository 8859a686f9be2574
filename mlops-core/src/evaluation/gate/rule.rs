//! One rule: a metric, a condition, and how much evidence it takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evaluation::Goal;
use crate::{Error, Result};

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
/// Bounds are one-sided. In this order they come from:
/// 1. the metric's interval, if its two-sided confidence is the one that fits: 0.9 for a rule at 0.95;
/// 2. Clopper and Pearson's exact bounds, if the metric is a share of rows ([`Metric::trials`]), or an area under
///    the ROC curve that is perfect or has fewer than ten rows of a class (then as a share of the rarer class);
/// 3. the standard error, by Student's law with one degree of freedom less than there are rows.
///
/// A standard error of 0 proves nothing and refutes nothing: the rule fails and says so. A difference takes the
/// paired standard error if the gate was given differences on the same rows; else the bounds of both metrics are
/// combined, the square root of the sum of the squared reaches, which is careful when both models saw the same
/// rows. Source: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures", 2008.
///
/// [`Metric::trials`]: crate::evaluation::Metric::trials
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
    pub(super) fn confidence(self) -> Option<f64> {
        match self {
            Self::Point => None,
            Self::Proven(confidence) | Self::Unrefuted(confidence) => Some(confidence),
        }
    }

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

impl Rule {
    /// Whether the rule can be judged at all.
    pub(super) fn valid(&self) -> Result<()> {
        let refused = |what: String| Err(Error::invalid(format!("rule `{self}`: {what}")));
        match self.check {
            Check::AtLeast(limit) | Check::AtMost(limit) if limit.is_nan() => {
                return refused("the limit is NaN: give a number".to_owned());
            }
            Check::Between(low, high) if low > high || low.is_nan() || high.is_nan() => {
                return refused(format!("nothing lies between {low} and {high}: give the lower limit first"));
            }
            // A negative margin would turn the rule round.
            Check::NoWorseThan { margin, .. } | Check::BetterThan { margin, .. }
                if margin < 0.0 || margin.is_nan() =>
            {
                return refused(format!("the margin is {margin}: want 0 or above"));
            }
            _ => {}
        }
        match self.evidence {
            Evidence::Proven(confidence) | Evidence::Unrefuted(confidence)
                if !(confidence > 0.5 && confidence < 1.0) =>
            {
                refused(format!("the confidence is {confidence}: want above 0.5 and below 1"))
            }
            _ => Ok(()),
        }
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
