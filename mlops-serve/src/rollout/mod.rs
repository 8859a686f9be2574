//! Moves traffic from a champion to a challenger, step by step, and back when something is wrong.
//!
//! A [`Rollout`] is a value: evidence in, [`Decision`] out. It has no thread and no clock, it serialises, and
//! a restart in the middle goes on where it was. The host drives it:
//!
//! 1. feed it: [`add_traffic`](Rollout::add_traffic) with what the endpoint counted,
//!    [`add_outcome`](Rollout::add_outcome) when a label arrives;
//! 2. ask: [`advance`](Rollout::advance) at any time, after every request if you like;
//! 3. store the state, and in the same write how many labels it has read, so that none counts twice or not at all
//!    after a crash; then set the endpoint's weights to [`challenger_weight`](Rollout::challenger_weight).
//!    After a crash between the two, do the last step again: it is idempotent.
//!
//! ```
//! use mlops_core::{ModelVersion, Timestamp};
//! use mlops_serve::rollout::{Action, Metric, Plan, Rollout, Status, Traffic};
//!
//! let plan = Plan::canary([0.5], 60, 100).guardrail(Metric::new("log_loss").lower_is_better());
//! let start = Timestamp::EPOCH;
//! let [champion, challenger] = [1, 2].map(|version| ModelVersion::new("shop", version));
//! let mut rollout = Rollout::new(plan, champion.clone(), challenger.clone(), start)?;
//! assert_eq!(rollout.challenger_weight(), 0.5);
//!
//! // The challenger's loss turns out to be twice the champion's.
//! for i in 0..200 {
//!     let noise = f64::from(i % 10) / 100.0;
//!     rollout.add_outcome("log_loss", &champion, "champion", 0.5, 0.2 + noise)?;
//!     rollout.add_outcome("log_loss", &challenger, "challenger", 0.5, 0.4 + noise)?;
//! }
//! let decision = rollout.advance(start);
//! assert_eq!(decision.action, Action::RollBack);
//! assert!(decision.to_string().starts_with("roll_back: log_loss of the challenger is worse by 0.2"));
//! assert_eq!((rollout.status(), rollout.challenger_weight()), (Status::RolledBack, 0.0));
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! Several variants at once are an [`experiment`], which has the same shape.
//!
//! # With a registry, and through a restart
//!
//! Promotion is the alias: on [`Action::Promote`] commit its move, then let the
//! [`Follower`](crate::endpoint::Follower) swap. One whose alias was not moved would put the old champion back.
//! A process that starts, for the first time or after a crash:
//!
//! 1. loads the champion ([`Endpoint::deploy`](crate::endpoint::Endpoint::deploy) or a follower's poll);
//! 2. reads the stored rollout. If that is over, commits how it ended, polls, makes the champion the only arm
//!    ([`roll_back`](crate::endpoint::Endpoint::roll_back)) and drops it. The commit expects the aliases as they were
//!    in the trial: a conflict says that it was made before, or that somebody moved them since, whose word holds;
//! 3. loads the challenger, if there is one, at no traffic
//!    ([`challenge`](crate::endpoint::Endpoint::challenge) or a poll of
//!    [`as_challenger`](crate::endpoint::Follower::as_challenger));
//! 4. drops a stored rollout of other versions than these two, for which it begins a new one: after a hotfix, what
//!    it compared with no longer answers;
//! 5. calls [`Endpoint::apply`](crate::endpoint::Endpoint::apply), which sets the split.
//!
//! `cargo run --example canary` is that program (`examples/src/canary.rs` in the repository): two followers, late
//! labels that join by the origin of their answers, and kills between any two steps. What an endpoint counted since
//! the last [`take_traffic`](crate::endpoint::Endpoint::take_traffic) is lost with its process, which delays a
//! step and biases nothing.
//!
//! # How sure
//!
//! Every check is always valid: the probability that an equally good challenger is *ever* rolled back by a
//! guardrail is at most [`Plan::alpha`], however often one looks. The failure, latency and share checks are
//! exact; metrics are asymptotic, which is why they wait for [`Metric::outcomes_min`], and longer the more
//! skewed the outcomes are. A step is not left while a metric waits.
//!
//! All of them take requests as independent of each other. Where one key sends many requests, feed one
//! outcome a key.

pub mod experiment;

mod controller;
mod decision;
mod evidence;
mod guard;
mod metric;
mod odds;
mod plan;
mod proof;
mod stored;
#[cfg(test)]
mod tests;

use mlops_core::{Error, Result};

pub use controller::{Rollout, Status};
pub use decision::{Action, Decision, Reason};
pub use evidence::Traffic;
pub use plan::{Guardrail, Metric, Plan, Proof, Step};

/// Whether this can be the probability with which a request fell into its arm.
fn check_propensity(propensity: f64) -> Result<()> {
    if propensity > 0.0 && propensity <= 1.0 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the propensity of an outcome is {propensity}: want that of its record, above 0 and at most 1"
    )))
}

/// The names of these metrics, for messages.
fn names_of<'a>(metrics: impl Iterator<Item = &'a Metric>) -> String {
    let names: Vec<String> = metrics.map(|metric| format!("`{}`", metric.name)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
