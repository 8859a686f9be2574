//! A challenger's trial, and how the registry tells of it.

use mlops_core::{ModelVersion, Result, Timestamp};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Expect};
use mlops_serve::rollout::{Guardrail, Metric, Plan, Proof, Rollout, Status};
use mlops_serve::{CHALLENGER, CHAMPION};

use super::month::Ended;
use super::training::MODEL;

/// How much larger the challenger's squared error is than the champion's would have been on the same session:
/// compared session by session, chance has little room.
pub(super) const EXCESS_ERROR: &str = "excess_squared_error";

/// Half of the sessions, for a day at least; promoted once it is shown to be no worse than the champion by a margin,
/// given up after two months. A smaller first step would wait for the guardrail's outcomes, and a margin narrower
/// than what a month of a few hundred sessions can show for its proof: an old champion would stay for lack of
/// traffic.
fn plan() -> Plan {
    const DAY_S: u64 = 24 * 3600;
    Plan::canary([0.5], DAY_S, 20)
        .guardrail(Guardrail::FailureRatio { max: 2.0 })
        .guardrail(Guardrail::ShareMismatch)
        .guardrail(Metric::new(EXCESS_ERROR).lower_is_better().margin(0.03).outcomes_min(30))
        .proof(Proof::NotWorse, Some(60 * DAY_S))
}

/// Approves a version, makes it the challenger, and begins its trial.
pub(super) fn begin(
    registry: &Registry,
    champion: &ModelVersion,
    challenger: &ModelVersion,
    reason: &str,
    epoch: u64,
    now: Timestamp,
) -> Result<Rollout> {
    let draft = Draft::new("model owner", format!("the gate passed it; on trial: {reason}"))
        .key(format!("trial of {challenger} since {epoch}"))
        .approve(challenger)
        .alias(CHALLENGER, challenger, Expect::Absent);
    registry.commit(draft)?;
    Rollout::new(plan(), champion.clone(), challenger.clone(), now)
}

/// Moves the aliases as the trial ended: both in one commit, and only if nobody else moved them.
pub(super) fn conclude(registry: &Registry, epoch: u64, ended: &Ended) -> Result<()> {
    let (champion, challenger) = (ended.rollout.champion(), ended.rollout.challenger());
    let draft = Draft::new("rollout controller", &ended.reason)
        .key(format!("end of the trial of {challenger} since {epoch}"))
        .remove_alias(MODEL, CHALLENGER, Expect::from(Some(challenger.version)));
    let draft = if ended.rollout.status() == Status::Promoted {
        draft.alias(CHAMPION, challenger, Expect::from(Some(champion.version)))
    } else {
        draft.reject(challenger)
    };
    registry.commit(draft).map(drop)
}
