//! The state of a rollout and the policy on it.

use mlops_core::experiment::Arm;
use mlops_core::{Error, ModelVersion, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::decision::span;
use super::evidence::StepEvidence;
use super::metric::{Difference, difference};
use super::odds::{Batch, log_e_above, log_e_either};
use super::plan::{Guardrail, Metric, Plan, Proof, Step};
use super::{Action, Decision, Reason, Traffic};
use crate::{CHALLENGER, CHAMPION};

/// A rollout of one challenger: plan, place in it, and what was seen. See the [module](super).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Rollout {
    state: State,
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
struct State {
    plan: Plan,
    champion: ModelVersion,
    challenger: ModelVersion,
    status: Status,
    step: usize,
    step_start: Timestamp,
    evidence: Vec<StepEvidence>,
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
    /// propensity, as its record says. Gives whether that was in this rollout. Labels may come late: they
    /// count for the step they were asked in.
    ///
    /// Where the challenger failed and the champion answered in its place, the outcome still counts for the
    /// challenger's arm: to leave it out would leave out the requests that the challenger cannot do.
    ///
    /// # Errors
    /// `Invalid` if the value is not finite, or the plan has no guardrail on this metric.
    pub fn add_outcome(
        &mut self,
        metric: &str,
        version: &ModelVersion,
        arm: &str,
        propensity: f64,
        value: f64,
    ) -> Result<bool> {
        if !self.metrics().any(|known| known.name == metric) {
            let names: Vec<String> = self.metrics().map(|known| format!("`{}`", known.name)).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Error::invalid(format!("the plan has no metric `{metric}`, it has {has}")));
        }
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
        waits.extend(self.untimed());
        if !waits.is_empty() {
            return Decision::new(Action::Hold, waits);
        }
        if let Some(next) = plan.steps.get(step + 1) {
            let message =
                format!("no guardrail objects: step {} gives {} of the traffic", step + 2, next.weight);
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

    /// The metrics that guardrails of the plan look at.
    fn metrics(&self) -> impl Iterator<Item = &Metric> {
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

    /// The evidence of a guardrail: alarms if it reaches `-ln(alpha / number of guardrails)`.
    fn alarm(&self, guardrail: &Guardrail) -> Option<Reason> {
        let failures = |traffic: &Traffic| traffic.failures;
        let limit_ns = |limit_us: f64| (limit_us * 1e3) as u64;
        let all = |arm: fn(&StepEvidence) -> &Traffic, event: &dyn Fn(&Traffic) -> u64| -> u64 {
            self.state.evidence.iter().map(|step| event(arm(step))).fold(0, u64::saturating_add)
        };
        let challenger: fn(&StepEvidence) -> &Traffic = |step| &step.challenger;
        let champion: fn(&StepEvidence) -> &Traffic = |step| &step.champion;
        let requested = |traffic: &Traffic| traffic.requests;
        let timed = |traffic: &Traffic| traffic.latencies.count();
        type Count<'a> = &'a dyn Fn(&Traffic) -> u64;
        let rate = |max: f64, event: Count<'_>, trials: Count<'_>, what: &str| {
            let found = log_e_above(&self.batches(|_, step| step.rate(max, event, trials)));
            self.exceeds(found).then(|| {
                let (events, requests) = (all(challenger, event), all(challenger, trials));
                let share = events as f64 / requests.max(1) as f64;
                let message = format!(
                    "{events} of {requests} requests of the challenger {what}: more than {max} allows"
                );
                Reason::new(message).measured("share", share, max)
            })
        };
        let ratio = |max: f64, event: Count<'_>, trials: Count<'_>, what: &str| {
            let found = log_e_above(&self.batches(|weight, step| step.ratio(weight, max, event)));
            self.exceeds(found).then(|| {
                let requests = |arm| all(arm, trials).max(1) as f64;
                let ratio = (all(challenger, event) as f64 / requests(challenger))
                    / (all(champion, event) as f64 / requests(champion));
                let message = format!(
                    "{} requests of the challenger {what} and {} of the champion: the ratio is above {max}",
                    all(challenger, event),
                    all(champion, event)
                );
                Reason::new(message).measured("ratio", ratio, max)
            })
        };
        match guardrail {
            Guardrail::FailureRate { max } => rate(*max, &failures, &requested, "failed"),
            Guardrail::FailureRatio { max } => ratio(*max, &failures, &requested, "failed"),
            Guardrail::SlowRate { limit_us, max } => {
                let slow = |traffic: &Traffic| traffic.latencies.slower_than(limit_ns(*limit_us));
                rate(*max, &slow, &timed, &format!("took longer than {limit_us} us"))
            }
            Guardrail::SlowRatio { limit_us, max } => {
                let slow = |traffic: &Traffic| traffic.latencies.slower_than(limit_ns(*limit_us));
                ratio(*max, &slow, &timed, &format!("took longer than {limit_us} us"))
            }
            Guardrail::Metric(metric) => self.worse(metric),
            Guardrail::ShareMismatch => {
                let found = log_e_either(&self.batches(|weight, step| step.share(weight)));
                self.exceeds(found).then(|| {
                    let got = all(challenger, &|traffic| traffic.requests);
                    let total = got.saturating_add(all(champion, &|traffic| traffic.requests));
                    let message =
                        format!("the challenger got {got} of {total} requests, which is not its share");
                    Reason::new(message).measured("log_e", found, self.threshold())
                })
            }
        }
    }

    /// Latency guardrails that have seen nothing guard nothing.
    fn untimed(&self) -> Option<Reason> {
        let times = |guardrail: &Guardrail| {
            matches!(guardrail, Guardrail::SlowRate { .. } | Guardrail::SlowRatio { .. })
        };
        let seen = self.state.evidence.iter().any(|step| step.challenger.latencies.count() > 0);
        (self.state.plan.guardrails.iter().any(times) && !seen).then(|| {
            Reason::new(
                "no request of the challenger was timed, which the guardrail on latency needs: \
                 use an endpoint with timing, and more than batches",
            )
        })
    }

    fn batches<'a>(
        &'a self,
        batch: impl Fn(f64, &StepEvidence) -> Batch + Clone + 'a,
    ) -> impl Iterator<Item = Batch> + Clone + 'a {
        let steps = self.state.plan.steps.iter().zip(&self.state.evidence);
        steps.map(move |(step, evidence)| batch(step.weight, evidence))
    }

    fn threshold(&self) -> f64 {
        -self.alpha_each().ln()
    }

    fn exceeds(&self, log_e: f64) -> bool {
        log_e >= self.threshold()
    }

    /// What each guardrail may spend of alpha.
    fn alpha_each(&self) -> f64 {
        self.state.plan.alpha / self.state.plan.guardrails.len().max(1) as f64
    }

    /// How much worse the challenger's mean is: positive is worse, in the metric's unit.
    fn worsening(&self, metric: &Metric) -> Option<Difference> {
        let steps = self.state.evidence.iter().filter_map(|step| step.outcomes.get(&metric.name));
        let found = difference(steps, self.alpha_each(), metric.outcomes_min)?;
        let estimate = if metric.higher_is_better { -found.estimate } else { found.estimate };
        Some(Difference { estimate, ..found })
    }

    fn worse(&self, metric: &Metric) -> Option<Reason> {
        let Difference { estimate, radius } = self.worsening(metric)?;
        (estimate - radius > metric.margin).then(|| {
            let Metric { name, margin, .. } = metric;
            let message = format!(
                "{name} of the challenger is worse by {estimate:.4} with at least {:.4} sure, above the margin {margin}",
                estimate - radius
            );
            Reason::new(message).measured(name, estimate - radius, *margin)
        })
    }

    /// At the end of the last step: promote if what was asked for is shown.
    fn conclude(&self, held_s: u64) -> Decision {
        let plan = &self.state.plan;
        let missing: Vec<Reason> = self.metrics().filter_map(|metric| self.unproved(metric)).collect();
        if missing.is_empty() {
            let message = match plan.proof {
                Proof::None => "all steps are done and no guardrail objects",
                Proof::NotWorse => "all steps are done and every metric is shown to be within its margin",
                Proof::Better => "all steps are done and every metric is shown to be better",
            };
            return Decision::new(Action::Promote, vec![Reason::new(message)]);
        }
        match plan.patience_s {
            Some(patience_s) if held_s >= patience_s => {
                let message = format!("nothing was shown within {}", span(patience_s));
                let tired = Reason::new(message).measured("held_s", held_s as f64, patience_s as f64);
                Decision::new(Action::RollBack, std::iter::once(tired).chain(missing).collect())
            }
            _ => Decision::new(Action::Hold, missing),
        }
    }

    fn unproved(&self, metric: &Metric) -> Option<Reason> {
        let limit = match self.state.plan.proof {
            // The guardrail must at least have looked.
            Proof::None => f64::INFINITY,
            Proof::NotWorse => metric.margin,
            Proof::Better => 0.0,
        };
        let Metric { name, outcomes_min, .. } = metric;
        match self.worsening(metric) {
            None => Some(Reason::new(format!("{name} has fewer than {outcomes_min} outcomes in an arm"))),
            Some(Difference { estimate, radius }) if estimate + radius >= limit => {
                let message =
                    format!("{name} of the challenger may still be worse by {:.4}", estimate + radius);
                Some(Reason::new(message).measured(name, estimate + radius, limit))
            }
            Some(_) => None,
        }
    }
}

/// What is stored, with the version of its form.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    state: State,
}

const STORED_VERSION: u32 = 1;

impl From<Rollout> for Stored {
    fn from(rollout: Rollout) -> Self {
        Self { version: STORED_VERSION, state: rollout.state }
    }
}

impl TryFrom<Stored> for Rollout {
    type Error = Error;

    fn try_from(Stored { version, state }: Stored) -> Result<Self> {
        if version != STORED_VERSION {
            return Err(Error::unsupported(format!(
                "a rollout has version {version}, this build reads {STORED_VERSION}"
            )));
        }
        state.plan.check()?;
        let steps = state.plan.steps.len();
        if state.step >= steps || state.evidence.len() != steps {
            let (step, evidence) = (state.step, state.evidence.len());
            return Err(Error::data(format!(
                "a rollout of {steps} steps is at step {step} with {evidence} states"
            )));
        }
        Ok(Self { state })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(version: u64) -> ModelVersion {
        ModelVersion::new("shop", version)
    }

    /// The version that is in an arm.
    fn of(arm: &str) -> ModelVersion {
        version(if arm == "champion" { 1 } else { 2 })
    }

    fn rollout(plan: Plan) -> Rollout {
        Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).unwrap()
    }

    fn after_s(s: u64) -> Timestamp {
        Timestamp::EPOCH.saturating_add(Duration::from_secs(s))
    }

    fn traffic(requests: u64, failures: u64) -> Traffic {
        Traffic { requests, failures, ..Traffic::default() }
    }

    #[test]
    fn steps_wait_for_time_and_traffic() {
        let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 10));
        let decision = rollout.advance(after_s(59));
        assert_eq!(
            decision.to_string(),
            "hold: step 1 is held for 59 s of 60 s; the challenger got 0 requests of 10 in step 1"
        );
        assert!(rollout.add_traffic(&of("challenger"), "challenger", 0.1, &traffic(10, 0)));
        assert_eq!(rollout.advance(after_s(60)).action, Action::Advance);
        assert_eq!((rollout.step(), rollout.challenger_weight()), (1, 0.5));
        assert_eq!(rollout.advance(after_s(61)).action, Action::Hold);
        assert!(rollout.add_traffic(&of("challenger"), "challenger", 0.5, &traffic(10, 0)));
        assert_eq!(rollout.advance(after_s(120)).action, Action::Promote);
        assert_eq!((rollout.status(), rollout.challenger_weight()), (Status::Promoted, 1.0));
        assert_eq!(rollout.advance(after_s(999)).to_string(), "hold: the challenger was promoted");
    }

    #[test]
    fn a_clock_that_jumps_back_only_holds_longer() {
        let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 0));
        assert_eq!(rollout.advance(Timestamp::from_micros(i64::MIN)).action, Action::Hold);
        assert_eq!(rollout.advance(after_s(60)).action, Action::Advance);
    }

    #[test]
    fn traffic_and_outcomes_of_other_splits_are_not_taken() {
        let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 0).guardrail(Metric::new("auc")));
        let error = rollout.add_outcome("acu", &of("champion"), "champion", 0.9, 1.0).unwrap_err();
        assert_eq!(error.to_string(), "the plan has no metric `acu`, it has `auc`");
        assert!(!rollout.add_traffic(&of("champion"), "champion", 1.0, &traffic(1, 0)));
        assert!(!rollout.add_traffic(&of("shadow"), "shadow", 0.1, &traffic(1, 0)));
        assert!(!rollout.add_outcome("auc", &of("challenger"), "challenger", 0.2, 1.0).unwrap());
        assert!(rollout.add_outcome("auc", &of("champion"), "champion", 0.9, 1.0).unwrap());
        assert!(rollout.add_outcome("auc", &of("champion"), "champion", 0.9, f64::NAN).is_err());
    }

    #[test]
    fn what_other_versions_did_in_the_same_arms_is_not_taken() {
        let plan = Plan::canary([0.1], 0, 0).guardrail(Guardrail::FailureRate { max: 0.01 });
        let mut bare = rollout(plan.clone());
        let error = bare.add_outcome("auc", &version(1), "champion", 0.9, 1.0).unwrap_err();
        assert_eq!(error.to_string(), "the plan has no metric `auc`, it has none");
        assert_eq!(bare.decide(after_s(0)).action, Action::Promote);
        let mut rollout = rollout(plan.guardrail(Metric::new("auc")));
        assert!(!rollout.add_traffic(&version(7), "challenger", 0.1, &traffic(100, 100)));
        assert!(!rollout.add_traffic(&version(7), "champion", 0.9, &traffic(100, 100)));
        assert!(!rollout.add_traffic(&version(1), "challenger", 0.1, &traffic(100, 100)));
        assert!(!rollout.add_outcome("auc", &version(7), "challenger", 0.1, 1.0).unwrap());
        assert!(!rollout.add_outcome("auc", &version(2), "champion", 0.9, 1.0).unwrap());
        // The champion answered for a challenger that failed.
        assert!(rollout.add_outcome("auc", &version(1), "challenger", 0.1, 1.0).unwrap());
        assert_eq!(rollout.decide(after_s(0)).action, Action::Hold);
    }

    #[test]
    fn guardrails_that_saw_nothing_hold() {
        let plan = || Plan::canary([0.1, 0.5], 0, 0);
        for guardrail in [
            Guardrail::SlowRate { limit_us: 1.0, max: 0.1 },
            Guardrail::SlowRatio { limit_us: 1.0, max: 2.0 },
        ] {
            let mut rollout = rollout(plan().guardrail(guardrail));
            assert!(rollout.add_traffic(&version(2), "challenger", 0.1, &traffic(50, 0)));
            let decision = rollout.advance(after_s(0));
            assert_eq!(decision.action, Action::Hold);
            assert!(decision.to_string().contains("was timed"), "{decision}");
            let mut timed = traffic(1, 0);
            timed.latencies.record(10);
            assert!(rollout.add_traffic(&version(2), "challenger", 0.1, &timed));
            assert_eq!(rollout.advance(after_s(0)).action, Action::Advance);
        }
        let mut unlabelled = rollout(plan().guardrail(Metric::new("loss").outcomes_min(7)));
        assert_eq!(unlabelled.advance(after_s(0)).action, Action::Advance);
        assert_eq!(
            unlabelled.advance(after_s(0)).to_string(),
            "hold: loss has fewer than 7 outcomes in an arm"
        );
    }

    #[test]
    fn replicas_that_do_not_time_do_not_dilute_the_slow_rate() {
        let mut slow = traffic(40, 0);
        (0..20).for_each(|_| slow.latencies.record(1_000_000));
        slow.requests = 40_000;
        assert_eq!(
            failing(Guardrail::SlowRate { limit_us: 500.0, max: 0.01 }, &traffic(9, 0), &slow),
            "roll_back: 20 of 20 requests of the challenger took longer than 500 us: more than 0.01 allows"
        );
    }

    fn failing(guardrail: Guardrail, champion: &Traffic, challenger: &Traffic) -> String {
        let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 0).guardrail(guardrail));
        assert!(rollout.add_traffic(&of("champion"), "champion", 0.9, champion));
        assert!(rollout.add_traffic(&of("challenger"), "challenger", 0.1, challenger));
        rollout.decide(after_s(0)).to_string()
    }

    #[test]
    fn guardrails_say_what_they_saw() {
        assert_eq!(
            failing(Guardrail::FailureRate { max: 0.01 }, &traffic(0, 0), &traffic(50, 5)),
            "roll_back: 5 of 50 requests of the challenger failed: more than 0.01 allows"
        );
        assert_eq!(
            failing(Guardrail::FailureRatio { max: 1.0 }, &traffic(900, 2), &traffic(100, 6)),
            "roll_back: 6 requests of the challenger failed and 2 of the champion: the ratio is above 1"
        );
        assert_eq!(
            failing(Guardrail::ShareMismatch, &traffic(2000, 0), &traffic(100, 0)),
            "roll_back: the challenger got 100 of 2100 requests, which is not its share"
        );
        let slow = |requests, ns| {
            let mut traffic = traffic(requests, 0);
            (0..requests).for_each(|_| traffic.latencies.record(ns));
            traffic
        };
        assert_eq!(
            failing(Guardrail::SlowRate { limit_us: 500.0, max: 0.01 }, &slow(9, 1000), &slow(10, 1_000_000)),
            "roll_back: 10 of 10 requests of the challenger took longer than 500 us: more than 0.01 allows"
        );
        assert!(
            failing(
                Guardrail::SlowRatio { limit_us: 500.0, max: 2.0 },
                &slow(90, 1000),
                &slow(10, 1_000_000)
            )
            .starts_with("roll_back: 10 requests of the challenger took longer than 500 us and 0 of")
        );
    }

    #[test]
    fn equal_arms_raise_no_alarm() {
        for guardrail in [
            Guardrail::FailureRate { max: 0.05 },
            Guardrail::FailureRatio { max: 1.0 },
            Guardrail::ShareMismatch,
        ] {
            let decision = failing(guardrail, &traffic(9000, 180), &traffic(1000, 20));
            assert!(decision.starts_with("hold: "), "{decision}");
        }
    }

    #[test]
    fn the_drift_of_traffic_between_steps_is_no_effect() {
        let metric = Metric::new("loss").lower_is_better();
        let mut rollout = rollout(Plan::canary([0.1, 0.9], 60, 0).guardrail(metric));
        // Between the steps the loss of everybody rises, and the challenger has most of the second step.
        for (weight, level, rows) in [(0.1, 0.0, [900, 100]), (0.9, 1.0, [100, 900])] {
            for (arm, rows, propensity) in
                [("champion", rows[0], 1.0 - weight), ("challenger", rows[1], weight)]
            {
                for row in 0..rows {
                    let loss = level + f64::from(row % 10) / 10.0;
                    assert!(rollout.add_outcome("loss", &of(arm), arm, propensity, loss).unwrap());
                }
            }
        }
        assert_eq!(rollout.decide(after_s(0)).action, Action::Hold);
    }

    fn compared(plan: Plan, difference: f64) -> Rollout {
        let mut rollout = rollout(plan);
        for row in 0..2000 {
            let noise = f64::from(row % 10) / 10.0;
            rollout.add_outcome("rate", &of("champion"), "champion", 0.5, noise).unwrap();
            rollout.add_outcome("rate", &of("challenger"), "challenger", 0.5, noise + difference).unwrap();
        }
        rollout
    }

    #[test]
    fn promotion_asks_for_the_proof_that_the_plan_names() {
        let plan = |proof, margin| {
            Plan::canary([0.5], 0, 0).guardrail(Metric::new("rate").margin(margin)).proof(proof, Some(100))
        };
        let action = |plan: Plan, difference| compared(plan, difference).decide(after_s(0)).action;
        assert_eq!(action(plan(Proof::None, 0.0), 0.0), Action::Promote);
        assert_eq!(action(plan(Proof::NotWorse, 0.1), 0.0), Action::Promote);
        assert_eq!(action(plan(Proof::NotWorse, 0.01), 0.0), Action::Hold);
        assert_eq!(action(plan(Proof::Better, 0.1), 0.0), Action::Hold);
        assert_eq!(action(plan(Proof::Better, 0.1), 0.2), Action::Promote);
        assert_eq!(action(plan(Proof::None, 0.1), -0.5), Action::RollBack);
        let tired = compared(plan(Proof::Better, 0.1), 0.0).decide(after_s(100));
        assert!(
            tired.to_string().starts_with("roll_back: nothing was shown within 100 s; rate of"),
            "{tired}"
        );
        let unlabelled = rollout(plan(Proof::Better, 0.1)).decide(after_s(0));
        assert_eq!(unlabelled.to_string(), "hold: rate has fewer than 100 outcomes in an arm");
    }

    #[test]
    fn a_restart_changes_nothing_and_replicas_merge() {
        let plan = Plan::canary([0.5], 60, 10).guardrail(Metric::new("rate"));
        let whole = compared(plan.clone(), -0.1);
        let stored = serde_json::to_string(&whole).unwrap();
        let back: Rollout = serde_json::from_str(&stored).unwrap();
        assert_eq!(back, whole);
        assert_eq!(back.decide(after_s(9)), whole.decide(after_s(9)));

        let mut sum = rollout(plan);
        sum.merge(&whole).unwrap();
        assert_eq!(sum.decide(after_s(9)), whole.decide(after_s(9)));
        assert!(sum.merge(&rollout(Plan::canary([0.2], 0, 0))).is_err());

        let newer = stored.replacen("\"version\":1", "\"version\":2", 1);
        assert!(serde_json::from_str::<Rollout>(&newer).unwrap_err().to_string().contains("version 2"));
        let lost = stored.replacen("\"step\":0", "\"step\":7", 1);
        assert!(serde_json::from_str::<Rollout>(&lost).unwrap_err().to_string().contains("step 7"));
    }
}
