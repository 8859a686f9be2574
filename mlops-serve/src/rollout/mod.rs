//! Moves traffic from a champion to a challenger, step by step, and back when something is wrong.
//!
//! A [`Rollout`] is a value: evidence in, [`Decision`] out. It has no thread and no clock, it serialises, and
//! a restart in the middle goes on where it was. The host drives it:
//!
//! 1. feed it: [`add_traffic`](Rollout::add_traffic) with what the endpoint counted,
//!    [`add_outcome`](Rollout::add_outcome) when a label arrives;
//! 2. ask: [`advance`](Rollout::advance) at any time, after every request if you like;
//! 3. store the state, then set the endpoint's weights to [`challenger_weight`](Rollout::challenger_weight).
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
//! Every check is always valid: the probability that an equally good challenger is *ever* rolled back by a
//! guardrail is at most [`Plan::alpha`], however often one looks. The failure, latency and share checks are
//! exact; metrics are asymptotic, which is why they wait for [`Metric::outcomes_min`].
//!
//! All of them take requests as independent of each other. Where one key sends many requests, feed one
//! outcome a key.

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

pub use controller::{Rollout, Status};
pub use decision::{Action, Decision, Reason};
pub use evidence::Traffic;
pub use plan::{Guardrail, Metric, Plan, Proof, Step};
