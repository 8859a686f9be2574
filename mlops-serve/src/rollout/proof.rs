//! Whether the challenger is shown to be as good as the plan asks.

use super::controller::{Rollout, THE_CHALLENGER, THE_CHAMPION};
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
        self.wait_for(missing, held_s)
    }

    /// Holds for what is missing, or gives up.
    pub(super) fn wait_for(&self, missing: Vec<Reason>, held_s: u64) -> Decision {
        match self.state.plan.patience_s {
            Some(patience_s) if held_s >= patience_s => {
                let message = format!("nothing was shown within {}", span(patience_s));
                let tired = Reason::new(message).measured("held_s", held_s as f64, patience_s as f64);
                Decision::new(Action::RollBack, std::iter::once(tired).chain(missing).collect())
            }
            _ => Decision::new(Action::Hold, missing),
        }
    }

    /// Metrics that have not seen enough to object.
    pub(super) fn unjudged(&self) -> Vec<Reason> {
        let blind = |metric: &Metric| {
            let found = worsening(metric, self.outcomes(metric), self.alpha_each());
            found.err().map(|blind| blind.reason(metric, THE_CHALLENGER, THE_CHAMPION))
        };
        self.metrics().filter_map(blind).collect()
    }

    fn unproved(&self, metric: &Metric) -> Option<Reason> {
        let limit = match self.state.plan.proof {
            // The guardrail must at least have looked.
            Proof::None => f64::INFINITY,
            Proof::NotWorse => metric.margin,
            Proof::Better => 0.0,
        };
        let name = &metric.name;
        match worsening(metric, self.outcomes(metric), self.alpha_each()) {
            Err(blind) => Some(blind.reason(metric, THE_CHALLENGER, THE_CHAMPION)),
            Ok(Difference { estimate, radius }) if estimate + radius >= limit => {
                let message =
                    format!("{name} of the challenger may still be worse by {:.4}", estimate + radius);
                Some(Reason::new(message).measured(name, estimate + radius, limit))
            }
            Ok(_) => None,
        }
    }
}
