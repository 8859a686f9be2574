//! The outcomes of two arms.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::moments::Moments;
use super::proportion::Proportion;
use super::sequence::Sequence;
use crate::Result;
use crate::version::Version;

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What runs today: the champion, the control group.
    Control,
    /// What may replace it: the challenger, the treatment group.
    Treatment,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Treatment => "treatment",
        })
    }
}

/// The outcomes of both arms so far, as [`Moments`] (latency, revenue, rating) or [`Proportion`] (clicks,
/// errors): what every two-arm test of this module reads.
///
/// The state is two small values whatever the number of rows. It serialises, and shards merge.
///
/// ```
/// use mlops_core::experiment::{Arm, Moments, TwoArm};
///
/// let mut here = TwoArm::<Moments>::default();
/// here.record(Arm::Control, 12.0)?;
/// here.record(Arm::Treatment, 11.0)?;
/// let mut there = TwoArm::<Moments>::default();
/// there.record(Arm::Treatment, 9.0)?;
/// here.merge(&there)?;
/// assert_eq!(here.treatment.mean(), Some(10.0));
///
/// let stored = serde_json::to_string(&here).unwrap();
/// assert_eq!(serde_json::from_str::<TwoArm<Moments>>(&stored).unwrap(), here);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TwoArm<S> {
    version: Version<1>,
    /// The outcomes of the control.
    pub control: S,
    /// The outcomes of the treatment.
    pub treatment: S,
}

/// Outcomes that have a mean: [`Moments`] and [`Proportion`]. Closed to other types.
pub trait Outcomes: sealed::Outcomes {}

impl Outcomes for Moments {}
impl Outcomes for Proportion {}

pub(super) mod sealed {
    use super::{Moments, Proportion};

    pub trait Outcomes: Copy {
        fn moments(self) -> Moments;

        /// How skewed the outcomes of one arm are, as far as it and both arms together tell.
        fn skewness(self, both: [Self; 2]) -> f64;

        /// How many rows an arm needs before its sum is near normal, `a_square` for each square of its skewness.
        fn rows_needed(self, both: [Self; 2], a_square: f64) -> f64;
    }

    impl Outcomes for Moments {
        fn moments(self) -> Moments {
            self
        }

        fn skewness(self, [control, treatment]: [Self; 2]) -> f64 {
            let own = Moments::skewness(&self).unwrap_or(0.0).abs();
            own.max(control.pooled_skewness(&treatment).unwrap_or(0.0).abs())
        }

        fn rows_needed(self, both: [Self; 2], a_square: f64) -> f64 {
            a_square * <Self as Outcomes>::skewness(self, both).powi(2)
        }
    }

    impl Outcomes for Proportion {
        fn moments(self) -> Moments {
            self.into()
        }

        /// The rows that are needed keep counts near enough to normal.
        fn skewness(self, _both: [Self; 2]) -> f64 {
            0.0
        }

        /// Ten successes and ten failures, expected at the rate of both arms together.
        fn rows_needed(self, [control, treatment]: [Self; 2], _a_square: f64) -> f64 {
            let successes = control.successes() as f64 + treatment.successes() as f64;
            let failures = control.failures() as f64 + treatment.failures() as f64;
            10.0 * (successes + failures) / successes.min(failures)
        }
    }
}

impl<S> TwoArm<S> {
    /// These outcomes.
    pub fn new(control: S, treatment: S) -> Self {
        Self { version: Version, control, treatment }
    }

    /// The outcomes of one arm.
    pub fn arm_mut(&mut self, arm: Arm) -> &mut S {
        match arm {
            Arm::Control => &mut self.control,
            Arm::Treatment => &mut self.treatment,
        }
    }
}

impl<S: Sequence> TwoArm<S> {
    /// Takes the value of one unit.
    ///
    /// # Errors
    /// As [`Sequence::push`].
    #[inline]
    pub fn record(&mut self, arm: Arm, value: f64) -> Result<()> {
        self.arm_mut(arm).push(value)
    }
}

impl<S: Sequence + Clone> TwoArm<S> {
    /// Takes the evidence of another shard.
    ///
    /// # Errors
    /// As [`Sequence::merge`]; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut control = self.control.clone();
        control.merge(&other.control)?;
        self.treatment.merge(&other.treatment)?;
        self.control = control;
        Ok(())
    }
}

impl TwoArm<Moments> {
    /// Takes the outcome of one unit.
    ///
    /// # Errors
    /// As [`Moments::push`].
    #[inline]
    pub fn record(&mut self, arm: Arm, outcome: f64) -> Result<()> {
        self.arm_mut(arm).push(outcome)
    }

    /// Takes the outcomes of another shard.
    ///
    /// # Errors
    /// As [`Moments::merge`]; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut merged = *self;
        merged.control.merge(&other.control)?;
        merged.treatment.merge(&other.treatment)?;
        *self = merged;
        Ok(())
    }
}

impl TwoArm<Proportion> {
    /// Takes the outcome of one unit.
    #[inline]
    pub fn record(&mut self, arm: Arm, success: bool) {
        self.arm_mut(arm).push(success);
    }

    /// Takes the outcomes of another shard.
    ///
    /// # Errors
    /// As [`Proportion::merge`]; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut merged = *self;
        merged.control.merge(&other.control)?;
        merged.treatment.merge(&other.treatment)?;
        *self = merged;
        Ok(())
    }
}
