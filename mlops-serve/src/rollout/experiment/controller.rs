//! The state of an experiment and what moves it.

use mlops_core::{Error, ModelVersion, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::evidence::Phase;
use super::plan::{Plan, Variant, check_variants};
use super::stored::Stored;
use super::{Action, Status};
use crate::rollout::plan::{Guardrail, Metric};
use crate::rollout::{Decision, Traffic, check_propensity, names_of};

/// Several variants against a control: plan, arms, and what was seen. See the [module](super).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Experiment {
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) plan: Plan,
    /// The control comes first.
    pub(super) variants: Vec<Variant>,
    pub(super) status: Status,
    pub(super) start: Timestamp,
    /// What was seen in each split: a new one begins when a variant is stopped.
    pub(super) phases: Vec<Phase>,
}

impl Experiment {
    /// An experiment at its start. The first arm is the control.
    ///
    /// # Errors
    /// As [`Plan::check`]; `Invalid` if there are fewer than two arms, names are not unique, the first is not
    /// [`CHAMPION`](crate::CHAMPION), or a weight is not above 0 and finite.
    pub fn new(plan: Plan, variants: impl IntoIterator<Item = Variant>, now: Timestamp) -> Result<Self> {
        plan.check()?;
        let variants: Vec<Variant> = variants.into_iter().collect();
        check_variants(&variants)?;
        let phases = vec![Phase::new(vec![true; variants.len()])];
        Ok(Self { state: State { plan, variants, status: Status::Running, start: now, phases } })
    }

    /// Takes in what an arm with this version answered while it had this propensity. Gives whether that was
    /// in this experiment: no split of it gives another arm, version or propensity.
    pub fn add_traffic(
        &mut self,
        version: &ModelVersion,
        arm: &str,
        propensity: f64,
        traffic: &Traffic,
    ) -> bool {
        match self.locate(arm, propensity) {
            Some((phase, arm)) if self.state.variants[arm].version == *version => {
                self.state.phases[phase].arms[arm].traffic.merge(traffic);
                true
            }
            _ => false,
        }
    }

    /// Takes in an outcome of a request that this version answered and that fell into this arm at this
    /// propensity, as its record says. Labels may come late: they count for the split they were asked in. Gives whether
    /// the request was in this experiment: `false` for an arm, version or propensity that it never had, as those of
    /// earlier trials are.
    ///
    /// Where a variant failed and the control answered in its place, the outcome still counts for the variant's
    /// arm: to leave it out would leave out the requests that the variant cannot do.
    ///
    /// # Errors
    /// `Invalid` if the value is not finite, the propensity is none, or the plan has no such goal and no guardrail on
    /// it.
    pub fn add_outcome(
        &mut self,
        metric: &str,
        version: &ModelVersion,
        arm: &str,
        propensity: f64,
        value: f64,
    ) -> Result<bool> {
        if !self.metrics().any(|known| known.name == metric) {
            let has = names_of(self.metrics());
            return Err(Error::invalid(format!("the plan has no metric `{metric}`, it has {has}")));
        }
        check_propensity(propensity)?;
        let Some((phase, arm)) = self.locate(arm, propensity) else { return Ok(false) };
        let State { variants, phases, .. } = &mut self.state;
        if *version != variants[arm].version && *version != variants[0].version {
            return Ok(false);
        }
        let outcomes = &mut phases[phase].arms[arm].outcomes;
        match outcomes.get_mut(metric) {
            Some(outcomes) => outcomes.push(value)?,
            None => outcomes.entry(metric.to_owned()).or_default().push(value)?,
        }
        Ok(true)
    }

    /// Takes in what another replica saw of the same experiment since both started from the same state without
    /// evidence. Where one has stopped a variant already and the other has not, it stays stopped.
    ///
    /// # Errors
    /// `Invalid` if it is another experiment, or the replicas stopped different variants: let one of them decide.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let (mine, theirs) = (&self.state, &other.state);
        if mine.plan != theirs.plan || mine.variants != theirs.variants {
            return Err(Error::invalid("these are two experiments: they differ in plan or arms"));
        }
        let mut phases = mine.phases.clone();
        for (place, theirs) in theirs.phases.iter().enumerate() {
            match phases.get_mut(place) {
                Some(mine) if mine.active == theirs.active => mine.merge(theirs)?,
                Some(_) => {
                    return Err(Error::invalid(
                        "replicas of an experiment stopped different variants: let one decide, and merge into it",
                    ));
                }
                None => phases.push(theirs.clone()),
            }
        }
        self.state.phases = phases;
        Ok(())
    }

    /// Decides and moves on: the state afterwards is the one after the decision's action.
    pub fn advance(&mut self, now: Timestamp) -> Decision<Action> {
        let decision = self.decide(now);
        self.apply(&decision.action);
        decision
    }

    /// Moves on as told, by [`decide`](Self::decide) or by a person. An experiment that is over stays as it is,
    /// and so does one that is told of an arm that it does not have; the control cannot be stopped.
    pub fn apply(&mut self, action: &Action) {
        if self.state.status != Status::Running {
            return;
        }
        match action {
            Action::Hold => {}
            Action::Stop { arms } => {
                let mut active = self.active().to_vec();
                for (place, variant) in self.state.variants.iter().enumerate().skip(1) {
                    active[place] &= !arms.contains(&variant.name);
                }
                match active.iter().filter(|active| **active).count() {
                    1 => self.state.status = Status::ControlKept,
                    _ if active == self.active() => {}
                    _ => self.state.phases.push(Phase::new(active)),
                }
            }
            Action::Promote { arm } => {
                if self.state.variants.iter().any(|variant| variant.name == *arm) {
                    self.state.status = Status::Promoted { arm: arm.clone() };
                }
            }
            Action::KeepControl => self.state.status = Status::ControlKept,
        }
    }

    /// The arms and their shares of the traffic now, which sum to 1; 0 for those that were stopped.
    pub fn shares(&self) -> impl Iterator<Item = (&Variant, f64)> {
        let State { variants, status, phases, .. } = &self.state;
        variants.iter().enumerate().map(move |(place, variant)| {
            let share = match status {
                Status::Running => phases.last().map_or(0.0, |phase| self.share(phase, place)),
                Status::Promoted { arm } => f64::from(u8::from(variant.name == *arm)),
                Status::ControlKept => f64::from(u8::from(place == 0)),
            };
            (variant, share)
        })
    }

    /// How the experiment stands.
    pub fn status(&self) -> &Status {
        &self.state.status
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.state.plan
    }

    /// The arms, the control first.
    pub fn variants(&self) -> &[Variant] {
        &self.state.variants
    }

    /// Which arms have traffic now.
    pub(super) fn active(&self) -> &[bool] {
        self.state.phases.last().map_or(&[], |phase| &phase.active)
    }

    /// The share of an arm while this phase lasts.
    pub(super) fn share(&self, phase: &Phase, arm: usize) -> f64 {
        let weights = self.state.variants.iter().zip(&phase.active);
        let total: f64 = weights.filter(|(_, active)| **active).map(|(variant, _)| variant.weight).sum();
        if phase.active[arm] { self.state.variants[arm].weight / total } else { 0.0 }
    }

    /// The goal and the metrics that guardrails look at.
    pub(super) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        let guarded = self.state.plan.guardrails.iter().filter_map(|guardrail| match guardrail {
            Guardrail::Metric(metric) => Some(metric),
            _ => None,
        });
        std::iter::once(&self.state.plan.goal).chain(guarded)
    }

    /// The phase and the arm in which a request was asked.
    fn locate(&self, arm: &str, propensity: f64) -> Option<(usize, usize)> {
        let State { variants, phases, .. } = &self.state;
        let arm = variants.iter().position(|variant| variant.name == arm)?;
        let is_it = |phase: &Phase| phase.active[arm] && (self.share(phase, arm) - propensity).abs() < 1e-9;
        Some((phases.iter().position(is_it)?, arm))
    }
}
