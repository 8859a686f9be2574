//! Whether a guardrail objects.

use mlops_core::experiment::{Moments, TwoArm};

use super::metric::{Blind, Difference, difference};
use super::odds::{Batch, log_e_above, log_e_either};
use super::plan::{Guardrail, Metric};
use super::{Reason, Traffic};

/// One arm beside the one that it is held against.
pub(super) struct Pair<'a> {
    /// What messages call them.
    pub(super) arm: &'a str,
    pub(super) against: &'a str,
    /// The probability of a false alarm of one guardrail: its e-value alarms at `1 / alpha`.
    pub(super) alpha: f64,
    pub(super) steps: Vec<PairStep<'a>>,
}

/// What both got while the split was constant.
pub(super) struct PairStep<'a> {
    /// The share of the arm in what both get.
    pub(super) weight: f64,
    pub(super) arm: &'a Traffic,
    pub(super) against: &'a Traffic,
}

type Count<'a> = &'a dyn Fn(&Traffic) -> u64;

impl Pair<'_> {
    /// What a guardrail on traffic objects to; metrics are asked by [`worse`].
    pub(super) fn alarm(&self, guardrail: &Guardrail) -> Option<Reason> {
        let failures = |traffic: &Traffic| traffic.failures;
        let requested = |traffic: &Traffic| traffic.requests;
        let timed = |traffic: &Traffic| traffic.latencies.count();
        let slower =
            |limit_us: f64| move |traffic: &Traffic| traffic.latencies.slower_than((limit_us * 1e3) as u64);
        let slow = |limit_us: f64| format!("took longer than {limit_us} us");
        match guardrail {
            Guardrail::FailureRate { max } => self.rate(*max, &failures, &requested, "failed"),
            Guardrail::FailureRatio { max } => self.ratio(*max, &failures, &requested, "failed"),
            Guardrail::SlowRate { limit_us, max } => {
                self.rate(*max, &slower(*limit_us), &timed, &slow(*limit_us))
            }
            Guardrail::SlowRatio { limit_us, max } => {
                self.ratio(*max, &slower(*limit_us), &timed, &slow(*limit_us))
            }
            Guardrail::ShareMismatch => {
                let batch = |step: &PairStep<'_>| {
                    let hits = step.arm.requests;
                    Batch { null: step.weight, hits, trials: hits.saturating_add(step.against.requests) }
                };
                let batches: Vec<Batch> = self.steps.iter().map(batch).collect();
                mismatch(&batches, self.alpha, self.arm)
            }
            Guardrail::Metric(_) => None,
        }
    }

    /// Requests of the arm that show the event, out of those that could.
    fn rate(&self, max: f64, event: Count<'_>, trials: Count<'_>, what: &str) -> Option<Reason> {
        let batch =
            |step: &PairStep<'_>| Batch { null: max, hits: event(step.arm), trials: trials(step.arm) };
        let found = log_e_above(&self.steps.iter().map(batch));
        (found >= -self.alpha.ln()).then(|| {
            let arm = self.arm;
            let [(events, requests), _] = self.sums(event, trials);
            let message = format!("{events} of {requests} requests of {arm} {what}: more than {max} allows");
            Reason::new(message).measured("share", events as f64 / requests.max(1) as f64, max)
        })
    }

    /// Events of the arm out of the events of both. If its rate is at most `max` times the other's, an event
    /// is the arm's with odds of at most `max * weight / (1 - weight)`.
    fn ratio(&self, max: f64, event: Count<'_>, trials: Count<'_>, what: &str) -> Option<Reason> {
        let batch = |step: &PairStep<'_>| {
            let odds = max * step.weight;
            let hits = event(step.arm);
            let trials = hits.saturating_add(event(step.against));
            Batch { null: odds / (odds + 1.0 - step.weight), hits, trials }
        };
        let found = log_e_above(&self.steps.iter().map(batch));
        (found >= -self.alpha.ln()).then(|| {
            let (arm, against) = (self.arm, self.against);
            let [own, others] = self.sums(event, trials);
            let share = |(events, requests): (u64, u64)| events as f64 / requests.max(1) as f64;
            let message = format!(
                "{} requests of {arm} {what} and {} of {against}: the ratio is above {max}",
                own.0, others.0
            );
            Reason::new(message).measured("ratio", share(own) / share(others), max)
        })
    }

    /// Events and trials of the arm and of the other.
    fn sums(&self, event: Count<'_>, trials: Count<'_>) -> [(u64, u64); 2] {
        let add = |sum: (u64, u64), traffic: &Traffic| {
            (sum.0.saturating_add(event(traffic)), sum.1.saturating_add(trials(traffic)))
        };
        self.steps
            .iter()
            .fold([(0, 0); 2], |[own, others], step| [add(own, step.arm), add(others, step.against)])
    }
}

/// Whether an arm did not get the share of the requests that it should have got.
pub(super) fn mismatch(batches: &[Batch], alpha: f64, arm: &str) -> Option<Reason> {
    let found = log_e_either(&batches.iter().copied());
    let threshold = -alpha.ln();
    (found >= threshold).then(|| {
        let sum = |count: fn(&Batch) -> u64| batches.iter().map(count).fold(0, u64::saturating_add);
        let (got, total) = (sum(|batch| batch.hits), sum(|batch| batch.trials));
        let message = format!("{arm} got {got} of {total} requests, which is not its share");
        Reason::new(message).measured("log_e", found, threshold)
    })
}

/// Whether the treatment's mean is worse than the metric's margin allows.
pub(super) fn worse(
    metric: &Metric,
    steps: impl Iterator<Item = TwoArm<Moments>> + Clone,
    alpha: f64,
    arm: &str,
) -> Option<Reason> {
    let Difference { estimate, radius } = worsening(metric, steps, alpha).ok()?;
    (estimate - radius > metric.margin).then(|| {
        let Metric { name, margin, .. } = metric;
        let message = format!(
            "{name} of {arm} is worse by {estimate:.4} with at least {:.4} sure, above the margin {margin}",
            estimate - radius
        );
        Reason::new(message).measured(name, estimate - radius, *margin)
    })
}

/// How much worse the treatment's mean is: positive is worse, in the metric's unit.
pub(super) fn worsening(
    metric: &Metric,
    steps: impl Iterator<Item = TwoArm<Moments>> + Clone,
    alpha: f64,
) -> Result<Difference, Blind> {
    let found = difference(steps, alpha, metric.outcomes_min)?;
    let estimate = if metric.higher_is_better { -found.estimate } else { found.estimate };
    Ok(Difference { estimate, ..found })
}

impl Blind {
    /// Why the metric guards nothing yet, and what to do.
    pub(super) fn reason(&self, metric: &Metric, arm: &str, against: &str) -> Reason {
        let Self { rows: [control, treatment], rows_min, skewness } = *self;
        let (rows, of) = if control < treatment { (control, against) } else { (treatment, arm) };
        let Metric { name, outcomes_min, .. } = metric;
        let mut message =
            format!("{name} has {rows} of the {rows_min} outcomes of {of} that a verdict needs");
        if rows_min > *outcomes_min as f64 {
            message.push_str(&format!(
                " at a skewness of {skewness:.1}: wait for more, or report outcomes clipped at a fixed limit"
            ));
        }
        Reason::new(message).measured("outcomes", rows as f64, rows_min)
    }
}

/// Latency guardrails that have seen nothing guard nothing.
pub(super) fn untimed<'a>(
    guardrails: &[Guardrail],
    mut traffic: impl Iterator<Item = &'a Traffic>,
    arm: &str,
) -> Option<Reason> {
    let times =
        |guardrail: &Guardrail| matches!(guardrail, Guardrail::SlowRate { .. } | Guardrail::SlowRatio { .. });
    (guardrails.iter().any(times) && !traffic.any(|traffic| traffic.latencies.count() > 0)).then(|| {
        Reason::new(format!(
            "no request of {arm} was timed, which the guardrail on latency needs: use an endpoint with timing, \
             and more than batches"
        ))
    })
}
