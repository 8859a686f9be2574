//! What the evidence says.

use mlops_core::Timestamp;
use mlops_core::experiment::{Allocation, Alternative, MeanDifference, Moments, TwoArm, correction};

use super::controller::{Experiment, State};
use super::evidence::Phase;
use super::{Action, Status};
use crate::rollout::decision::span;
use crate::rollout::guard::{Pair, PairStep, mismatch, untimed, worse, worsening};
use crate::rollout::odds::Batch;
use crate::rollout::plan::{Guardrail, Metric};
use crate::rollout::{Decision, Reason};

/// A variant's goal beside the control's.
struct Standing {
    arm: usize,
    /// By how much it is better, if that can be said.
    gain: Option<f64>,
    /// That it is better, corrected for all variants (Holm).
    p_value: f64,
}

impl Experiment {
    /// What to do now. Looking costs nothing: the answer is valid at any time and however often it is asked.
    pub fn decide(&self, now: Timestamp) -> Decision<Action> {
        let State { plan, variants, status, start, .. } = &self.state;
        let over = match status {
            Status::Running => None,
            Status::Promoted { arm } => Some(format!("`{arm}` was promoted")),
            Status::ControlKept => Some("the control was kept".to_owned()),
        };
        if let Some(over) = over {
            return Decision::new(Action::Hold, vec![Reason::new(over)]);
        }
        let lost = self.mismatches();
        if !lost.is_empty() {
            return Decision::new(Action::KeepControl, lost);
        }
        let mut reasons = Vec::new();
        let mut harmful = Vec::new();
        for arm in self.running() {
            let alarms = self.alarms(arm);
            if !alarms.is_empty() {
                harmful.push(variants[arm].name.clone());
                reasons.extend(alarms);
            }
        }
        if !harmful.is_empty() {
            let all = harmful.len() == self.running().count();
            let action = if all { Action::KeepControl } else { Action::Stop { arms: harmful } };
            return Decision::new(action, reasons);
        }
        let held_s = now.saturating_since(*start).as_secs();
        if held_s < plan.hold_s {
            let message = format!("the experiment runs for {} of {}", span(held_s), span(plan.hold_s));
            let early = Reason::new(message).measured("held_s", held_s as f64, plan.hold_s as f64);
            return Decision::new(Action::Hold, vec![early]);
        }
        self.conclude(held_s)
    }

    /// Ends, if what the plan asks for is shown or time is up.
    fn conclude(&self, held_s: u64) -> Decision<Action> {
        let State { plan, variants, .. } = &self.state;
        let standings = self.standings();
        let patience = plan.patience_s.filter(|patience_s| held_s >= *patience_s);
        let out_of_time = patience.map(|patience_s| {
            Reason::new(format!("the {} of the experiment are over", span(patience_s))).measured(
                "held_s",
                held_s as f64,
                patience_s as f64,
            )
        });
        let mut open: Vec<Reason> = standings.iter().map(|standing| self.tell(standing)).collect();
        // First of all: what is better by less is not worth a change.
        if let Some(effect) = plan.effect_min
            && self.running().all(|arm| self.brings_less(arm, effect))
        {
            let message = format!("every variant is shown to bring less than {effect} of {}", plan.goal.name);
            open.insert(0, Reason::new(message));
            return Decision::new(Action::KeepControl, open);
        }
        let is_better = |standing: &&Standing| standing.p_value <= plan.alpha;
        let leader = standings.iter().filter(is_better).max_by(|a, b| {
            let gain = |standing: &Standing| standing.gain.unwrap_or(f64::NEG_INFINITY);
            gain(a).total_cmp(&gain(b))
        });
        if let Some(leader) = leader {
            let unguarded = self.unguarded(leader.arm);
            let rivals = self.rivals(leader.arm);
            if unguarded.is_empty() && (rivals.is_empty() || out_of_time.is_some()) {
                let arm = variants[leader.arm].name.clone();
                let reasons = std::iter::once(self.tell(leader)).chain(out_of_time).chain(rivals);
                return Decision::new(Action::Promote { arm }, reasons.collect());
            }
            open.extend(unguarded);
            open.extend(rivals);
        }
        match out_of_time {
            Some(tired) => {
                open.insert(0, tired);
                Decision::new(Action::KeepControl, open)
            }
            None => Decision::new(Action::Hold, open),
        }
    }

    /// The variants that have traffic.
    fn running(&self) -> impl Iterator<Item = usize> {
        self.active().iter().enumerate().skip(1).filter(|(_, active)| **active).map(|(arm, _)| arm)
    }

    /// How each running variant stands against the control.
    fn standings(&self) -> Vec<Standing> {
        let found: Vec<_> =
            (1..self.state.variants.len()).map(|arm| self.better(0, arm, 0.0, self.alpha_of_one())).collect();
        let running = self.active();
        // Stopped variants stay in the family, as what they are: not shown to be better.
        let p_values: Vec<f64> = found
            .iter()
            .enumerate()
            .map(|(place, found)| if running[place + 1] { found.1 } else { 1.0 })
            .collect();
        // P-values lie within [0, 1]; if one did not, nothing would be shown.
        let corrected = correction::holm(&p_values).unwrap_or_else(|_| vec![1.0; p_values.len()]);
        let standing = |(place, p_value): (usize, f64)| {
            running[place + 1].then_some(Standing { arm: place + 1, gain: found[place].0, p_value })
        };
        corrected.into_iter().enumerate().filter_map(standing).collect()
    }

    /// By how much the goal of `arm` is better than that of `than`, and the p-value of "by no more than `null`".
    fn better(&self, than: usize, arm: usize, null: f64, alpha: f64) -> (Option<f64>, f64) {
        self.compare(than, arm, null, alpha, true)
    }

    fn compare(&self, than: usize, arm: usize, null: f64, alpha: f64, above: bool) -> (Option<f64>, f64) {
        let Metric { higher_is_better, outcomes_min, name, .. } = &self.state.plan.goal;
        let sign = if *higher_is_better { 1.0 } else { -1.0 };
        let test = MeanDifference {
            alpha,
            alternative: if above == *higher_is_better { Alternative::Greater } else { Alternative::Less },
            null: sign * null,
            // The odds between two arms never change, whichever others are stopped.
            allocation: Allocation::Fixed,
            warm_up_rows: *outcomes_min,
            ..MeanDifference::default()
        };
        let mut outcomes = TwoArm::<Moments>::default();
        for step in self.outcomes(name, than, arm) {
            // More rows than can be counted are left out.
            let _: mlops_core::Result<()> = outcomes.merge(&step);
        }
        match test.compare(&outcomes) {
            Ok(found) => (found.estimate.map(|difference| sign * difference), found.p_value),
            // Settings were checked with the plan; without an answer nothing is shown.
            Err(_) => (None, 1.0),
        }
    }

    fn brings_less(&self, arm: usize, effect: f64) -> bool {
        let alpha = self.state.plan.alpha;
        self.compare(0, arm, effect, alpha, false).1 <= alpha
    }

    /// Why another running variant may be better than this one by the tolerance or more.
    fn rivals(&self, leader: usize) -> Vec<Reason> {
        let State { plan, variants, .. } = &self.state;
        let Some(tolerance) = plan.tolerance else { return Vec::new() };
        let alpha = plan.alpha / (variants.len() - 2).max(1) as f64;
        let is_open = |rival: &usize| self.better(*rival, leader, -tolerance, alpha).1 > alpha;
        let rivals = self.running().filter(|rival| *rival != leader).filter(is_open);
        let tell = |rival: usize| {
            let [rival, leader] = [rival, leader].map(|arm| &variants[arm].name);
            let name = &plan.goal.name;
            Reason::new(format!(
                "{name} of `{rival}` may be better than of `{leader}` by {tolerance} or more"
            ))
        };
        rivals.map(tell).collect()
    }

    fn tell(&self, standing: &Standing) -> Reason {
        let State { plan, variants, .. } = &self.state;
        let (name, arm) = (&plan.goal.name, &variants[standing.arm].name);
        let Some(gain) = standing.gain else {
            return Reason::new(format!("{name} of `{arm}` or of the control has no outcomes"));
        };
        let how = if gain < 0.0 { "worse" } else { "better" };
        let (size, p_value) = (gain.abs(), standing.p_value);
        let message = format!("{name} of `{arm}` is {how} by {size:.4} than the control's, p = {p_value:.3}");
        Reason::new(message).measured("p_value", p_value, plan.alpha)
    }

    /// What each variant may spend of the share of alpha that a guardrail has; the goal is one, too.
    fn alpha_of_guard(&self) -> f64 {
        self.alpha_of_one() / (self.state.plan.guardrails.len() + 1) as f64
    }

    fn alpha_of_one(&self) -> f64 {
        self.state.plan.alpha / (self.state.variants.len() - 1) as f64
    }

    /// Guardrails that object to a variant.
    fn alarms(&self, arm: usize) -> Vec<Reason> {
        let (plan, alpha) = (&self.state.plan, self.alpha_of_guard());
        let name = format!("`{}`", self.state.variants[arm].name);
        let steps = self.phases_of(0, arm).map(|phase| PairStep {
            weight: self.odds(phase, arm),
            arm: &phase.arms[arm].traffic,
            against: &phase.arms[0].traffic,
        });
        let pair = Pair { arm: &name, against: "the control", alpha, steps: steps.collect() };
        let traffic = plan.guardrails.iter().filter(|guardrail| **guardrail != Guardrail::ShareMismatch);
        let traffic = traffic.filter_map(|guardrail| pair.alarm(guardrail));
        let metrics = self
            .metrics()
            .filter_map(|metric| worse(metric, self.outcomes(&metric.name, 0, arm), alpha, &name));
        metrics.chain(traffic).collect()
    }

    /// Guardrails that have not seen enough of a variant to object.
    fn unguarded(&self, arm: usize) -> Vec<Reason> {
        let (plan, alpha) = (&self.state.plan, self.alpha_of_guard());
        let name = format!("`{}`", self.state.variants[arm].name);
        let blind = self.metrics().filter_map(|metric| {
            let found = worsening(metric, self.outcomes(&metric.name, 0, arm), alpha);
            found.err().map(|blind| blind.reason(metric, &name, "the control"))
        });
        let timed = self.state.phases.iter().map(|phase| &phase.arms[arm].traffic);
        blind.chain(untimed(&plan.guardrails, timed, &name)).collect()
    }

    /// Arms that did not get their share.
    fn mismatches(&self) -> Vec<Reason> {
        let State { plan, variants, phases, .. } = &self.state;
        if !plan.guardrails.contains(&Guardrail::ShareMismatch) {
            return Vec::new();
        }
        let alpha = plan.alpha / ((plan.guardrails.len() + 1) * variants.len()) as f64;
        let of = |(arm, variant): (usize, &super::Variant)| {
            let batch = |phase: &Phase| {
                let total = phase.arms.iter().map(|seen| seen.traffic.requests).fold(0, u64::saturating_add);
                Batch { null: self.share(phase, arm), hits: phase.arms[arm].traffic.requests, trials: total }
            };
            let batches: Vec<Batch> = phases.iter().map(batch).collect();
            mismatch(&batches, alpha, &format!("`{}`", variant.name))
        };
        variants.iter().enumerate().filter_map(of).collect()
    }

    /// The phases in which both had traffic.
    fn phases_of(&self, one: usize, other: usize) -> impl Iterator<Item = &Phase> + Clone {
        self.state.phases.iter().filter(move |phase| phase.active[one] && phase.active[other])
    }

    /// The outcomes of two arms, phase by phase.
    fn outcomes(
        &self,
        metric: &str,
        control: usize,
        treatment: usize,
    ) -> impl Iterator<Item = TwoArm<Moments>> + Clone {
        self.phases_of(control, treatment).map(move |phase| {
            let of = |arm: usize| phase.arms[arm].outcomes.get(metric).copied().unwrap_or_default();
            TwoArm::new(of(control), of(treatment))
        })
    }

    /// The share of a variant in what it and the control get.
    fn odds(&self, phase: &Phase, arm: usize) -> f64 {
        let (own, control) = (self.share(phase, arm), self.share(phase, 0));
        own / (own + control)
    }
}
