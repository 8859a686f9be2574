//! Experiments: comparisons that stay honest however often you look.
//!
//! A fixed-sample test at .05 that is peeked at after every request cries wolf in most A/A experiments
//! eventually. The tests here that call themselves *always valid* do not: the chance that they are *ever* wrong
//! is at most alpha, so a dashboard may redraw them and a rollout may act on them at any time.
//!
//! States and questions are apart. A state holds what happened, is small, serialises, and merges across shards:
//! [`Moments`], [`Proportion`], [`Covaried`], and [`TwoArm`] of any. A question is a plain struct of settings that reads a
//! state: ask one state as many as you like (and see [`correction`] for what many questions cost).
//!
//! ```
//! use mlops_core::experiment::{Arm, MeanDifference, Moments, TwoArm};
//!
//! let mut latency_ms = TwoArm::<Moments>::default();
//! for i in 0..500 {
//!     latency_ms.record(Arm::Control, 20.0 + f64::from(i % 10))?;
//!     latency_ms.record(Arm::Treatment, 18.0 + f64::from(i % 10))?;
//! }
//! let answer = MeanDifference::default().compare(&latency_ms)?;
//! assert_eq!(answer.estimate, Some(-2.0));
//! assert!(answer.rejects() && answer.interval.upper() < 0.0);
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! | to ask | use | look |
//! |---|---|---|
//! | is the mean of one arm different, better, not worse? | [`MeanDifference`] | at any time |
//! | is the rate of a rare event (an error) different, exactly? | [`RateDifference`] | at any time |
//! | what is the mean or the rate of one arm? | [`sequence`] | at any time |
//! | did the units split as planned? | [`SampleRatio`] | at any time, or once |
//! | the same questions after a number of rows that was fixed in advance? | [`fixed`] | once |
//! | the same with less noise, by what was known of each unit before (CUPED)? | [`Covaried`], then any of these | as they do |
//! | are the means of two [`sequence`]s different, exactly? | [`sequence::difference`] | at any time |
//! | how many rows does that take? | [`fixed::MeanPower`], [`fixed::RatePower`] | before |
//! | which of many small p-values stand? | [`correction`] | |

pub mod correction;
pub mod fixed;
pub mod mixture;
pub mod sequence;

mod comparison;
mod covaried;
mod interval;
mod mean_difference;
mod moments;
mod proportion;
mod rate_difference;
mod roots;
mod sample_ratio;
mod settings;
pub(crate) mod special;
mod two_arm;

pub use comparison::{Comparison, Running};
pub use covaried::Covaried;
pub use interval::{Alternative, Interval};
pub use mean_difference::{Allocation, MeanDifference, Scale};
pub use moments::{Moments, ROWS_MAX, VALUE_MAX};
pub use proportion::Proportion;
pub use rate_difference::RateDifference;
pub use sample_ratio::{ChiSquare, SampleRatio};
pub use two_arm::{Arm, Outcomes, TwoArm};
