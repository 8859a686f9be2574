//! What an experiment is about.

use std::collections::BTreeSet;

use mlops_core::{Error, ModelVersion, Result};
use serde::{Deserialize, Serialize};

use crate::rollout::plan::{Guardrail, Metric};
use crate::{CHAMPION, SHADOW};

/// What has to be shown, what must not happen, and how long it may take.
///
/// ```
/// use mlops_serve::rollout::experiment::Plan;
/// use mlops_serve::rollout::{Guardrail, Metric};
///
/// let plan = Plan::new(Metric::new("revenue").margin(0.1))
///     .guardrail(Guardrail::FailureRatio { max: 1.5 })
///     .guardrail(Guardrail::ShareMismatch)
///     .tolerance(0.05);
/// plan.check()?;
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// The outcome in which a variant has to be better than the control. A variant that is worse than the
    /// control by more than its margin is stopped.
    pub goal: Metric,
    /// What must not happen to a variant besides. [`Guardrail::ShareMismatch`] looks at all arms and ends the
    /// experiment; all others compare a variant with the control, and stop the variant.
    #[serde(default)]
    pub guardrails: Vec<Guardrail>,
    /// The probability, in (0, 0.5), of each of the errors that the [module](super) names. Default 0.05.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// For so many seconds nothing is promoted or given up; a whole week sees all its days. Default 0.
    #[serde(default)]
    pub hold_s: u64,
    /// After so many seconds the experiment ends: with the best so far of the variants that are shown to be better
    /// than the control, whatever [`tolerance`](Self::tolerance) asks, or with the control, though a variant may be
    /// better by [`effect_min`](Self::effect_min). Default: never.
    #[serde(default)]
    pub patience_s: Option<u64>,
    /// The least improvement that is worth a change, in the goal's unit, above 0: the experiment ends with the
    /// control as soon as every variant is shown to bring less, also where one is shown to be better by less than
    /// this. Default: that is not looked at.
    #[serde(default)]
    pub effect_min: Option<f64>,
    /// By how much another variant may be better than the promoted one, in the goal's unit, at least 0. Default:
    /// that is not looked at, and the best so far of those that are shown to be better than the control wins.
    #[serde(default)]
    pub tolerance: Option<f64>,
}

/// One arm of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Variant {
    /// The name of its arm, unique in the experiment.
    pub name: String,
    /// What answers in it.
    pub version: ModelVersion,
    /// Its share of the traffic, relative to the other arms, above 0.
    pub weight: f64,
}

impl Variant {
    /// An arm. The control is called [`CHAMPION`] and comes first.
    pub fn new(name: impl Into<String>, version: ModelVersion, weight: f64) -> Self {
        Self { name: name.into(), version, weight }
    }
}

impl Plan {
    /// A plan with this goal alone.
    pub fn new(goal: Metric) -> Self {
        Self {
            goal,
            guardrails: Vec::new(),
            alpha: alpha(),
            hold_s: 0,
            patience_s: None,
            effect_min: None,
            tolerance: None,
        }
    }

    /// Adds a guardrail.
    #[must_use]
    pub fn guardrail(mut self, guardrail: impl Into<Guardrail>) -> Self {
        self.guardrails.push(guardrail.into());
        self
    }

    /// Sets the probability of an error.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets for how many seconds nothing is promoted or given up.
    #[must_use]
    pub fn hold_s(mut self, s: u64) -> Self {
        self.hold_s = s;
        self
    }

    /// Sets after how many seconds the experiment ends.
    #[must_use]
    pub fn patience_s(mut self, s: u64) -> Self {
        self.patience_s = Some(s);
        self
    }

    /// Sets the least improvement that is worth a change.
    #[must_use]
    pub fn effect_min(mut self, effect: f64) -> Self {
        self.effect_min = Some(effect);
        self
    }

    /// Sets by how much another variant may be better than the promoted one.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Whether the plan makes sense.
    ///
    /// # Errors
    /// `Invalid`, naming the field, its value and its range.
    pub fn check(&self) -> Result<()> {
        let Self { alpha, hold_s, .. } = self;
        if !(*alpha > 0.0 && *alpha < 0.5) {
            return Err(Error::invalid(format!("alpha is {alpha}: want a number above 0 and below 0.5")));
        }
        Guardrail::from(self.goal.clone()).check()?;
        self.guardrails.iter().try_for_each(Guardrail::check)?;
        let mut names = BTreeSet::from([&self.goal.name]);
        for guardrail in &self.guardrails {
            if let Guardrail::Metric(Metric { name, .. }) = guardrail
                && !names.insert(name)
            {
                return Err(Error::invalid(format!(
                    "metric `{name}` is named twice: the goal guards itself"
                )));
            }
        }
        if let Some(patience_s) = self.patience_s.filter(|patience_s| patience_s < hold_s) {
            return Err(Error::invalid(format!(
                "patience_s is {patience_s}: want at least hold_s, {hold_s}"
            )));
        }
        if let Some(effect) = self.effect_min.filter(|effect| !(*effect > 0.0 && effect.is_finite())) {
            return Err(Error::invalid(format!("effect_min is {effect}: want a finite number above 0")));
        }
        match self.tolerance.filter(|tolerance| !(*tolerance >= 0.0 && tolerance.is_finite())) {
            Some(tolerance) => {
                Err(Error::invalid(format!("tolerance is {tolerance}: want a finite number of at least 0")))
            }
            None => Ok(()),
        }
    }
}

/// Whether these can be the arms of an experiment.
pub(super) fn check_variants(variants: &[Variant]) -> Result<()> {
    match variants {
        [control, _, ..] if control.name != CHAMPION => Err(Error::invalid(format!(
            "the first arm is `{}`: it is the control, call it `{CHAMPION}`",
            control.name
        ))),
        [_, _, ..] => {
            // Names and weights obey the rules of a split; and an arm without traffic shows nothing.
            crate::Split::new("", variants.iter().map(|variant| (variant.name.as_str(), variant.weight)))?;
            if variants.iter().any(|variant| variant.name == SHADOW) {
                return Err(Error::invalid(format!(
                    "an arm is called `{SHADOW}`, whose records count for no experiment: choose another name"
                )));
            }
            match variants.iter().find(|variant| variant.weight == 0.0) {
                Some(Variant { name, .. }) => {
                    Err(Error::invalid(format!("arm `{name}` has weight 0: want a number above 0")))
                }
                None => Ok(()),
            }
        }
        _ => Err(Error::invalid(format!(
            "an experiment of {} arms compares nothing: want a control and a variant at least",
            variants.len()
        ))),
    }
}

fn alpha() -> f64 {
    0.05
}
