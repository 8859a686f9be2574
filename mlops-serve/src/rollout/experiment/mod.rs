//! Tries several variants against a control at once (A/B/n), and ends when one is shown to be better or none is.
//!
//! An [`Experiment`] has the shape of a [`Rollout`](super::Rollout): a value that takes evidence in and gives a
//! [`Decision`](super::Decision) out, without thread or clock, which serialises and goes on after a restart. The
//! host drives it alike: [`add_traffic`](Experiment::add_traffic), [`add_outcome`](Experiment::add_outcome),
//! [`advance`](Experiment::advance), store, [`Endpoint::apply_experiment`](crate::endpoint::Endpoint::apply_experiment).
//! A rollout asks "is this one safe to take over?" and ramps it up; an experiment asks "which of these is best?" and
//! leaves the shares as they are, but for variants that do harm: those get nothing any more.
//!
//! ```
//! use mlops_core::{ModelVersion, Timestamp};
//! use mlops_serve::rollout::experiment::{Action, Experiment, Plan, Status, Variant};
//! use mlops_serve::rollout::Metric;
//!
//! let version = |version| ModelVersion::new("shop", version);
//! let arms = [("champion", 1), ("wide", 2), ("deep", 3)];
//! let arms = arms.map(|(name, number)| Variant::new(name, version(number), 1.0));
//! let day_s = 24 * 3600;
//! let plan = Plan::new(Metric::new("clicked")).hold_s(day_s).patience_s(28 * day_s);
//! let mut experiment = Experiment::new(plan, arms, Timestamp::EPOCH)?;
//!
//! // One visitor in ten clicks on what the champion shows, one in ten for `wide`, one in five for `deep`.
//! for visit in 0..9000_u32 {
//!     let (arm, number, one_in) = [("champion", 1, 10), ("wide", 2, 10), ("deep", 3, 5)][(visit % 3) as usize];
//!     let clicked = f64::from(u8::from(visit / 3 % one_in == 0));
//!     experiment.add_outcome("clicked", &version(number), arm, 1.0 / 3.0, clicked)?;
//! }
//! assert_eq!(experiment.decide(Timestamp::EPOCH).action, Action::Hold, "the first day is not over");
//! let decision = experiment.advance(Timestamp::from_micros(86_400_000_000));
//! assert_eq!(decision.action, Action::Promote { arm: "deep".into() });
//! assert!(decision.to_string().starts_with("promote deep: clicked of `deep` is better by 0.1000"));
//! assert_eq!(experiment.status(), &Status::Promoted { arm: "deep".into() });
//! # Ok::<(), mlops_serve::Error>(())
//! ```
//!
//! # At an endpoint, with a registry, and through a restart
//!
//! As with a [rollout](super#with-a-registry-and-through-a-restart), promotion is the alias: a champion
//! [`Follower`](crate::endpoint::Follower) undoes at its next poll what
//! [`apply_experiment`](crate::endpoint::Endpoint::apply_experiment) promoted alone. On [`Action::Promote`] commit the
//! alias's move to the winner, poll, then apply; an experiment that is over ends so at a restart, and is dropped.
//!
//! Begin, and begin again after a restart, with [`set_arms`](crate::endpoint::Endpoint::set_arms) that gives the
//! control weight 1 and each variant weight 0: until `apply_experiment` has set the shares, an arm that was stopped
//! for its harm gets nothing.
//!
//! An endpoint puts a key into the same arm as long as its salt, the names of its arms and their weights stay. The next
//! experiment would find in each arm the users that the last one left there, and what it did to them (carry-over). Give
//! it an endpoint with a salt of its own ([`with_salt`](crate::endpoint::Endpoint::with_salt)), or leave a while between.
//!
//! # What is promised
//!
//! Look after every request if you like. Each of these errors ever happens with probability [`Plan::alpha`] at most,
//! all variants together:
//!
//! | error | kept by |
//! |---|---|
//! | a variant that is not better than the control is promoted | Holm's correction of the variants' always-valid p-values |
//! | a variant that does no harm is stopped, or the split is called wrong | each guardrail gets an equal share of alpha, and of that each variant (Bonferroni) |
//! | the promoted variant is worse than the best by the [`tolerance`](Plan::tolerance) or more, if there is one and time was not up | the leader is held against each other variant at `alpha / (variants - 1)` |
//! | a variant that is better by [`effect_min`](Plan::effect_min) or more is given up for bringing too little, before time is up | all variants must be shown to be less: an intersection, which needs no correction |
//!
//! **Why Holm may be looked at all the time.** The p-value of a variant that is not better falls to `a` or below
//! at any look with probability `a` at most (Ville). So the smallest that it ever has is a p-value, too, and Holm's
//! step-down on these smallest p-values is wrong with probability alpha at most, however they depend on each other
//! and on the common control. Smaller p-values only make Holm reject more: whatever it rejects at some look, it rejects
//! on the smallest p-values too. So it is wrong at any look with probability alpha at most. Variants that were stopped
//! stay in the family, with p-value 1. The e-Benjamini-Hochberg procedure is valid as well, but bounds the share of
//! false discoveries, where a promotion asks that there be none.
//!
//! **Why stopping a variant biases nothing.** What it leaves is shared out in proportion to the weights, so the odds
//! between any two others stay as they were, whatever the day: a pair is compared over the time in which both had
//! traffic, by outcomes of the same days in the same proportion. Late labels count for the split in which they were
//! asked.
//!
//! P-values are those of [`MeanDifference`](mlops_core::experiment::MeanDifference): asymptotic, with more rows for
//! skewed outcomes. Guardrails on failures, latency and shares are exact. All take requests as independent: where one
//! key sends many, feed one outcome a key.
//!
//! Sources: Holm, *A simple sequentially rejective multiple test procedure*, 1979; Johari, Koomen, Pekelis and
//! Walsh, *Always valid inference*, 2022; Wang and Ramdas, *False discovery rate control with e-values*, 2022;
//! Berger, *Multiparameter hypothesis testing and acceptance sampling*, 1982 (intersection-union tests).

mod action;
mod controller;
mod evidence;
mod plan;
mod stored;
#[cfg(test)]
mod tests;
mod verdict;

pub use action::{Action, Status};
pub use controller::Experiment;
pub use plan::{Plan, Variant};
