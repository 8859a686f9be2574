//! Whether a guardrail objects.

use super::controller::Rollout;
use super::evidence::StepEvidence;
use super::odds::{Batch, log_e_above, log_e_either};
use super::plan::Guardrail;
use super::{Reason, Traffic};

impl Rollout {
    /// The evidence of a guardrail: alarms if it reaches `-ln(alpha / number of guardrails)`.
    pub(super) fn alarm(&self, guardrail: &Guardrail) -> Option<Reason> {
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
    pub(super) fn untimed(&self) -> Option<Reason> {
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
    pub(super) fn alpha_each(&self) -> f64 {
        self.state.plan.alpha / self.state.plan.guardrails.len().max(1) as f64
    }
}
