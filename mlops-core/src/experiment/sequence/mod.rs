//! Confidence sequences: intervals for one mean that hold at all looks together.
//!
//! | for | use | state |
//! |---|---|---|
//! | a rate, exactly | [`RateSequence`] | [`Proportion`](super::Proportion) |
//! | a mean of anything with a variance, asymptotically | [`AsymptoticMean`] | [`Moments`](super::Moments) |
//! | a mean of bounded values, exactly, in constant memory | [`PredictableMixture`] | itself |
//! | the same, narrowest, with a wealth per candidate | [`Betting`] | itself |
//!
//! The last two bet on each value with what the values before it taught, so the order of the rows matters a
//! little. They implement [`Sequence`]: [`difference`] compares two arms of them.

mod asymptotic;
mod bets;
mod betting;
mod bounded;
mod difference;
mod predictable;
mod rate;

pub use asymptotic::AsymptoticMean;
pub use betting::Betting;
pub use bounded::Bounded;
pub use difference::difference;
pub use predictable::PredictableMixture;
pub use rate::RateSequence;

use super::comparison::Comparison;
use super::interval::Interval;
use crate::Result;

/// A confidence sequence that takes bounded values one by one.
///
/// Contract for implementers: every interval is valid at all looks together at the level of the settings, for
/// any stream whose conditional mean is constant; a value that is refused changes nothing; merging two states
/// multiplies their evidence, which is valid because each shard bet on its own past alone. A merged state is
/// therefore as valid as the state of one long stream, but not the same number. Callers may merge states of
/// equal settings only.
pub trait Sequence {
    /// Takes one value.
    ///
    /// # Errors
    /// `Invalid` if it is outside the range of the settings; the state is then unchanged.
    fn push(&mut self, value: f64) -> Result<()>;

    /// Takes the evidence of another shard.
    ///
    /// # Errors
    /// `Invalid` if the settings differ; the state is then unchanged.
    fn merge(&mut self, other: &Self) -> Result<()>
    where
        Self: Sized;

    /// How many values were taken.
    fn rows(&self) -> u64;

    /// The level, the side and the range.
    fn settings(&self) -> &Bounded;

    /// The log evidence that the mean is above and below a value within the range. The first does not grow with the
    /// value, the second does not fall.
    ///
    /// # Errors
    /// `Invalid` if the value is outside the range of the settings.
    fn evidence(&self, value: f64) -> Result<[f64; 2]>;

    /// The values of the mean that are not contradicted.
    fn interval(&self) -> Interval;

    /// The evidence against one value of the mean.
    ///
    /// # Errors
    /// `Invalid` if it is outside the range of the settings.
    fn compare(&self, null: f64) -> Result<Comparison>;
}
