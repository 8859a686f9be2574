//! Whether the challenger is shown to be as good as the plan asks.

use super::controller::Rollout;
use super::decision::span;
use super::guard::worsening;
use super::metric::Difference;
use super::plan::{Metric, Proof};
use super::{Action, Decision, Reason};

impl Rollout {
    /// At the end of the last step: promote if what was asked for is shown.
    pub(super) fn conclude(&self, held_s: u64) -> Decision {
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
        match worsening(metric, self.outcomes(metric), self.alpha_each()) {
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
