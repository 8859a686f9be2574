//! What a rollout is meant to do: steps, guardrails, proof.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How traffic moves from the champion to the challenger, and what stops it.
///
/// ```
/// use mlops_serve::rollout::{Guardrail, Metric, Plan};
///
/// let plan = Plan::canary([0.05, 0.25, 0.5], 3600, 500)
///     .guardrail(Guardrail::FailureRatio { max: 1.5 })
///     .guardrail(Metric::new("log_loss").lower_is_better().outcomes_min(200));
/// plan.check()?;
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// The steps, with rising weights.
    pub steps: Vec<Step>,
    /// What must not happen.
    pub guardrails: Vec<Guardrail>,
    /// The probability, in (0, 0.5), that an equally good challenger is ever rolled back by a guardrail,
    /// shared evenly by the guardrails (Bonferroni). Also the error of the proof asked for. Default 0.05.
    /// Roll-backs because [`patience_s`](Self::patience_s) ran out are no guardrail's and come on top.
    pub alpha: f64,
    /// What has to be shown before the challenger is promoted. Default: nothing beyond the guardrails.
    pub proof: Proof,
    /// How many seconds a step waits for metrics that cannot be judged yet, and the last step for the proof, before
    /// the rollout gives up and rolls back. Default: for ever.
    pub patience_s: Option<u64>,
}

/// One step of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The challenger's share of the traffic, in (0, 1].
    pub weight: f64,
    /// The least time to stay here, in seconds.
    pub hold_s: u64,
    /// The least number of requests that the challenger answers here.
    pub requests_min: u64,
}

/// Something that must not happen to the challenger. All are always valid: look as often as you like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guardrail {
    /// More than this share of its requests fail. Exact.
    FailureRate {
        /// The largest share allowed, in (0, 1).
        max: f64,
    },
    /// It fails more than this many times as often as the champion. Exact: given that a request failed,
    /// the arm it fell into is a coin whose odds are known.
    FailureRatio {
        /// The largest ratio allowed, above 0; 1 asks for no more failures than the champion has.
        max: f64,
    },
    /// More than this share of its requests are slower than a limit: `max: 0.01` guards the 99 % quantile.
    /// Exact, with limits rounded up to the next bin of [`Latencies`](crate::Latencies).
    SlowRate {
        /// What counts as slow, in microseconds.
        limit_us: f64,
        /// The largest share allowed, in (0, 1).
        max: f64,
    },
    /// It is slower than a limit more than this many times as often as the champion. Exact, as above.
    SlowRatio {
        /// What counts as slow, in microseconds.
        limit_us: f64,
        /// The largest ratio allowed, above 0.
        max: f64,
    },
    /// The mean of an outcome is worse than the champion's. Asymptotic: see [`Metric`].
    Metric(Metric),
    /// The arms do not get the shares of the traffic that they should (sample ratio mismatch): a sign that
    /// requests are lost, and that no comparison can be trusted. Exact if each key asks once; do not use
    /// it when one key sends many requests.
    ShareMismatch,
}

/// A mean to be compared between the arms, such as log loss or click rate.
///
/// The difference of the arms' means is taken within each step, where the split is constant, and combined
/// over the steps, so that a drift of the traffic between steps cannot pass for an effect of the model. It
/// is held against an asymptotic confidence sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Metric {
    /// The name under which its outcomes are reported.
    pub name: String,
    /// Whether more is better. Default: it is.
    #[serde(default = "yes")]
    pub higher_is_better: bool,
    /// By how much the challenger may be worse, in the metric's unit, at least 0. Default 0.
    #[serde(default)]
    pub margin: f64,
    /// The least number of outcomes in each arm before the metric is looked at, since the confidence
    /// sequence is asymptotic. Default 100. Skewed outcomes wait for more: five times the square of their
    /// skewness, which are 160 for a click in thirty and 500 for one in a hundred. No step is left before that, so
    /// that a metric which cannot see harm yet lets no more traffic into it. Amounts with a heavy tail wait long, and
    /// behind a single huge one for ever: report them clipped at a limit that is fixed before the rollout.
    #[serde(default = "hundred")]
    pub outcomes_min: u64,
}

/// What has to be shown of every metric before the challenger is promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proof {
    /// Nothing beyond the guardrails: promote unless it was found worse. Metrics must have been looked at: see
    /// [`Metric::outcomes_min`].
    #[default]
    None,
    /// That it is worse by less than the margin (non-inferiority).
    NotWorse,
    /// That it is better (superiority).
    Better,
}

impl Default for Plan {
    fn default() -> Self {
        Self { steps: Vec::new(), guardrails: Vec::new(), alpha: 0.05, proof: Proof::None, patience_s: None }
    }
}

impl Plan {
    /// Steps of these weights, each held for `hold_s` seconds and `requests_min` answers of the challenger.
    /// Without guardrails it is a weighted hand-over from the old version to the new, by time or by requests.
    pub fn canary(weights: impl IntoIterator<Item = f64>, hold_s: u64, requests_min: u64) -> Self {
        let steps = weights.into_iter().map(|weight| Step { weight, hold_s, requests_min }).collect();
        Self { steps, ..Self::default() }
    }

    /// Adds a guardrail.
    #[must_use]
    pub fn guardrail(mut self, guardrail: impl Into<Guardrail>) -> Self {
        self.guardrails.push(guardrail.into());
        self
    }

    /// Sets the probability of a false roll-back.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets what has to be shown before promotion, and for how many seconds to wait for it. Without a limit the
    /// last step of a challenger that is as good as the champion, and no better, waits for
    /// [`Better`](Proof::Better) for ever.
    #[must_use]
    pub fn proof(mut self, proof: Proof, patience_s: Option<u64>) -> Self {
        self.proof = proof;
        self.patience_s = patience_s;
        self
    }

    /// Whether the plan makes sense.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and its range.
    pub fn check(&self) -> Result<()> {
        if self.steps.is_empty() {
            return Err(Error::invalid("a rollout needs at least one step"));
        }
        if !(self.alpha > 0.0 && self.alpha < 0.5) {
            let alpha = self.alpha;
            return Err(Error::invalid(format!("alpha is {alpha}: want a number above 0 and below 0.5")));
        }
        let mut last = 0.0;
        for Step { weight, .. } in &self.steps {
            if !(*weight > 0.0 && *weight <= 1.0) {
                return Err(Error::invalid(format!("a step has weight {weight}: want above 0 and up to 1")));
            }
            if *weight <= last {
                return Err(Error::invalid(format!(
                    "the weights of steps rise: {weight} comes after {last}"
                )));
            }
            last = *weight;
        }
        self.guardrails.iter().try_for_each(Guardrail::check)?;
        let has_metric = self.guardrails.iter().any(|guardrail| matches!(guardrail, Guardrail::Metric(_)));
        if self.proof != Proof::None && !has_metric {
            return Err(Error::invalid("a proof needs a metric to be shown on: add `Guardrail::Metric`"));
        }
        Ok(())
    }
}

impl Metric {
    /// The mean of this outcome: more is better, no margin, looked at from 100 outcomes an arm.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), higher_is_better: true, margin: 0.0, outcomes_min: 100 }
    }

    /// Says that less is better.
    #[must_use]
    pub fn lower_is_better(mut self) -> Self {
        self.higher_is_better = false;
        self
    }

    /// Sets by how much the challenger may be worse.
    #[must_use]
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Sets the least number of outcomes in each arm.
    #[must_use]
    pub fn outcomes_min(mut self, outcomes_min: u64) -> Self {
        self.outcomes_min = outcomes_min;
        self
    }
}

impl From<Metric> for Guardrail {
    fn from(metric: Metric) -> Self {
        Self::Metric(metric)
    }
}

impl Guardrail {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::FailureRate { max } => in_unit("the largest failure rate", *max),
            Self::FailureRatio { max } => above_zero("the largest failure ratio", *max),
            Self::SlowRate { limit_us, max } => {
                above_zero("the latency limit", *limit_us)?;
                in_unit("the largest share of slow requests", *max)
            }
            Self::SlowRatio { limit_us, max } => {
                above_zero("the latency limit", *limit_us)?;
                above_zero("the largest ratio of slow requests", *max)
            }
            Self::Metric(Metric { margin, .. }) if !(margin.is_finite() && *margin >= 0.0) => {
                Err(Error::invalid(format!("the margin of a metric is {margin}: want a finite number >= 0")))
            }
            Self::Metric(Metric { name, .. }) if name.is_empty() => {
                Err(Error::invalid("a metric has no name: want the one that its outcomes come under"))
            }
            Self::Metric(_) | Self::ShareMismatch => Ok(()),
        }
    }
}

fn yes() -> bool {
    true
}

fn hundred() -> u64 {
    100
}

fn in_unit(what: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is {value}: want a number above 0 and below 1")))
}

fn above_zero(what: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is {value}: want a finite number above 0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let check = |plan: &Plan, words: &str| {
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        let plan = || Plan::canary([0.1, 1.0], 0, 0);
        assert!(plan().check().is_ok());
        check(&Plan::default(), "at least one step");
        check(&Plan::canary([0.5, 0.2], 0, 0), "steps rise: 0.2 comes after 0.5");
        check(&Plan::canary([f64::NAN], 0, 0), "weight NaN: want above 0");
        check(&Plan::canary([1.5], 0, 0), "a step has weight 1.5: want above 0 and up to 1");
        check(&Plan::canary([0.5, 0.5], 0, 0), "0.5 comes after 0.5");
        check(&plan().alpha(0.0), "alpha is 0");
        check(&plan().guardrail(Guardrail::FailureRate { max: 1.0 }), "failure rate is 1");
        check(&plan().guardrail(Guardrail::SlowRatio { limit_us: -1.0, max: 2.0 }), "latency limit is -1");
        check(&plan().guardrail(Metric::new("auc").margin(f64::NAN)), "margin of a metric is NaN");
        check(&plan().proof(Proof::Better, None), "needs a metric");
    }

    #[test]
    fn plans_read_from_text_take_defaults() {
        let json =
            r#"{"steps":[{"weight":0.1,"hold_s":60,"requests_min":10}],"guardrails":["share_mismatch"]}"#;
        let plan: Plan = serde_json::from_str(json).unwrap();
        assert_eq!(plan, Plan::canary([0.1], 60, 10).guardrail(Guardrail::ShareMismatch));
    }
}
