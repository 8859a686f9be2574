//! The state of a rollout and the policy on it.

use mlops_core::experiment::{Arm, Moments, TwoArm};
use mlops_core::{Error, ModelVersion, Result, Rounded, Timestamp};
use serde::{Deserialize, Serialize};

use super::decision::span;
use super::evidence::StepEvidence;
use super::guard::{Pair, PairStep, untimed, worse};
use super::plan::{Guardrail, Metric, Plan, Step};
use super::stored::Stored;
use super::{Action, Decision, Reason, Traffic, check_propensity, names_of};
use crate::{CHALLENGER, CHAMPION};

/// What messages call them.
pub(super) const THE_CHALLENGER: &str = "the challenger";
pub(super) const THE_CHAMPION: &str = "the champion";

/// A rollout of one challenger: plan, place in it, and what was seen. See the [module](super).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Rollout {
    pub(super) state: State,
}

/// How a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Traffic is split.
    Running,
    /// The challenger has taken over.
    Promoted,
    /// The champion has all traffic again.
    RolledBack,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) plan: Plan,
    pub(super) champion: ModelVersion,
    pub(super) challenger: ModelVersion,
    pub(super) status: Status,
    pub(super) step: usize,
    pub(super) step_start: Timestamp,
    pub(super) evidence: Vec<StepEvidence>,
}

impl Rollout {
    /// A rollout at its first step.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn new(plan: Plan, champion: ModelVersion, challenger: ModelVersion, now: Timestamp) -> Result<Self> {
        plan.check()?;
        let evidence = vec![StepEvidence::default(); plan.steps.len()];
        let status = Status::Running;
        Ok(Self { state: State { plan, champion, challenger, status, step: 0, step_start: now, evidence } })
    }

    /// Takes in what an arm with this version answered while it had this propensity. Gives whether that was
    /// in this rollout: no step of it gives another arm, version or propensity.
    pub fn add_traffic(
        &mut self,
        version: &ModelVersion,
        arm: &str,
        propensity: f64,
        traffic: &Traffic,
    ) -> bool {
        let Some((step, arm)) = self.locate(arm, propensity) else { return false };
        let deployed = match arm {
            Arm::Control => &self.state.champion,
            Arm::Treatment => &self.state.challenger,
        };
        if version != deployed {
            return false;
        }
        match arm {
            Arm::Control => self.state.evidence[step].champion.merge(traffic),
            Arm::Treatment => self.state.evidence[step].challenger.merge(traffic),
        }
        true
    }

    /// Takes in an outcome of a request that this version answered and that fell into this arm at this
    /// propensity, as its record says. Labels may come late: they count for the step they were asked in. Gives whether
    /// the request was in this rollout: `false` for another arm, version or propensity than a step of it has, as
    /// those of earlier trials are.
    ///
    /// Where the challenger failed and the champion answered in its place, the outcome still counts for the
    /// challenger's arm: to leave it out would leave out the requests that the challenger cannot do.
    ///
    /// # Errors
    /// `Invalid` if the value is not finite, the propensity is none, or the plan has no guardrail on this metric.
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
        let Some((step, arm)) = self.locate(arm, propensity) else { return Ok(false) };
        let State { champion, challenger, .. } = &self.state;
        if version != champion && (arm == Arm::Control || version != challenger) {
            return Ok(false);
        }
        let outcomes = &mut self.state.evidence[step].outcomes;
        match outcomes.get_mut(metric) {
            Some(outcomes) => outcomes.record(arm, value)?,
            None => outcomes.entry(metric.to_owned()).or_default().record(arm, value)?,
        }
        Ok(true)
    }

    /// Takes in what another replica saw of the same rollout since both started from the same state without
    /// evidence.
    ///
    /// # Errors
    /// `Invalid` if it is another rollout.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let (mine, theirs) = (&mut self.state, &other.state);
        if mine.plan != theirs.plan
            || mine.challenger != theirs.challenger
            || mine.champion != theirs.champion
        {
            let (mine, theirs) = (&mine.challenger, &theirs.challenger);
            return Err(Error::invalid(format!(
                "rollouts of {mine} and {theirs} differ in plan or versions"
            )));
        }
        let mut evidence = mine.evidence.clone();
        for (mine, theirs) in evidence.iter_mut().zip(&theirs.evidence) {
            mine.merge(theirs)?;
        }
        mine.evidence = evidence;
        Ok(())
    }

    /// What to do now. Looking costs nothing: the answer is valid at any time and however often it is asked.
    pub fn decide(&self, now: Timestamp) -> Decision {
        let State { plan, status, step, step_start, evidence, .. } = &self.state;
        if *status != Status::Running {
            let over = if *status == Status::Promoted { "promoted" } else { "rolled back" };
            return Decision::new(Action::Hold, vec![Reason::new(format!("the challenger was {over}"))]);
        }
        let alarms: Vec<Reason> =
            plan.guardrails.iter().filter_map(|guardrail| self.alarm(guardrail)).collect();
        if !alarms.is_empty() {
            return Decision::new(Action::RollBack, alarms);
        }
        let Step { hold_s, requests_min, .. } = plan.steps[*step];
        let held_s = now.saturating_since(*step_start).as_secs();
        let answered = evidence[*step].challenger.requests;
        let mut waits = Vec::new();
        if held_s < hold_s {
            let (held, hold) = (span(held_s), span(hold_s));
            let reason = Reason::new(format!("step {} is held for {held} of {hold}", step + 1));
            waits.push(reason.measured("held_s", held_s as f64, hold_s as f64));
        }
        if answered < requests_min {
            let message =
                format!("the challenger got {answered} requests of {requests_min} in step {}", step + 1);
            waits.push(Reason::new(message).measured("requests", answered as f64, requests_min as f64));
        }
        let answered = evidence.iter().map(|step| &step.challenger);
        waits.extend(untimed(&plan.guardrails, answered, THE_CHALLENGER));
        if !waits.is_empty() {
            return Decision::new(Action::Hold, waits);
        }
        if let Some(next) = plan.steps.get(step + 1) {
            let unjudged = self.unjudged();
            if !unjudged.is_empty() {
                return self.wait_for(unjudged, held_s);
            }
            let weight = Rounded(next.weight);
            let message = format!("no guardrail objects: step {} gives {weight} of the traffic", step + 2);
            return Decision::new(Action::Advance, vec![Reason::new(message)]);
        }
        self.conclude(held_s)
    }

    /// Decides and moves on: the state afterwards is the one after the decision's action.
    pub fn advance(&mut self, now: Timestamp) -> Decision {
        let decision = self.decide(now);
        self.apply(decision.action, now);
        decision
    }

    /// Moves on as told, by [`decide`](Self::decide) or by a person. A rollout that is over stays as it is.
    pub fn apply(&mut self, action: Action, now: Timestamp) {
        let state = &mut self.state;
        match action {
            _ if state.status != Status::Running => {}
            Action::Hold => {}
            Action::Advance if state.step + 1 < state.plan.steps.len() => {
                state.step += 1;
                state.step_start = now;
            }
            // Past the last step there is only promotion.
            Action::Advance | Action::Promote => state.status = Status::Promoted,
            Action::RollBack => state.status = Status::RolledBack,
        }
    }

    /// The share of the traffic that the challenger gets now: 0 after a roll-back, 1 after promotion.
    pub fn challenger_weight(&self) -> f64 {
        match self.state.status {
            Status::Running => self.state.plan.steps[self.state.step].weight,
            Status::Promoted => 1.0,
            Status::RolledBack => 0.0,
        }
    }

    /// How the rollout stands.
    pub fn status(&self) -> Status {
        self.state.status
    }

    /// The place of the current step in the plan.
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.state.plan
    }

    /// The version that has the traffic at the start.
    pub fn champion(&self) -> &ModelVersion {
        &self.state.champion
    }

    /// The version that is to take over.
    pub fn challenger(&self) -> &ModelVersion {
        &self.state.challenger
    }

    /// What the guardrail objects to.
    fn alarm(&self, guardrail: &Guardrail) -> Option<Reason> {
        let alpha = self.alpha_each();
        if let Guardrail::Metric(metric) = guardrail {
            return worse(metric, self.outcomes(metric), alpha, THE_CHALLENGER);
        }
        let steps = self.state.plan.steps.iter().zip(&self.state.evidence);
        let steps = steps.map(|(step, seen)| PairStep {
            weight: step.weight,
            arm: &seen.challenger,
            against: &seen.champion,
        });
        Pair { arm: THE_CHALLENGER, against: THE_CHAMPION, alpha, steps: steps.collect() }.alarm(guardrail)
    }

    /// The outcomes of a metric, step by step.
    pub(super) fn outcomes(&self, metric: &Metric) -> impl Iterator<Item = TwoArm<Moments>> + Clone {
        self.state.evidence.iter().filter_map(|step| step.outcomes.get(&metric.name).copied())
    }

    /// What each guardrail may spend of alpha.
    pub(super) fn alpha_each(&self) -> f64 {
        self.state.plan.alpha / self.state.plan.guardrails.len().max(1) as f64
    }

    /// The metrics that guardrails of the plan look at.
    pub(super) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.state.plan.guardrails.iter().filter_map(|guardrail| match guardrail {
            Guardrail::Metric(metric) => Some(metric),
            _ => None,
        })
    }

    /// The step and the arm in which a request was asked.
    fn locate(&self, arm: &str, propensity: f64) -> Option<(usize, Arm)> {
        let (arm, weight) = match arm {
            CHAMPION => (Arm::Control, 1.0 - propensity),
            CHALLENGER => (Arm::Treatment, propensity),
            _ => return None,
        };
        let steps = &self.state.plan.steps;
        let step = steps.iter().position(|step| (step.weight - weight).abs() < 1e-9)?;
        Some((step, arm))
    }
}
