//! Fixed-sample tests: for *one* look, after a number of rows that was fixed in advance.
//!
//! Sharper than the always-valid tests of this module at that one look, and wrong at any other. Fix the number of
//! rows first: [`MeanPower`] and [`RatePower`] say how many it takes to see an effect.

mod mann_whitney;
mod power;
mod two_rates;
mod welch;

pub use mann_whitney::{RankAnswer, mann_whitney};
pub use power::{MeanPower, PlannedRows, RatePower};
pub use two_rates::{DifferenceMethod, TwoRates};
pub use welch::Welch;

use serde::{Deserialize, Serialize};

use super::interval::{Alternative, Interval};

/// The answer of a fixed-sample test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// The difference, treatment less control.
    pub estimate: f64,
    /// The values that the outcomes do not contradict; it covers the truth with probability about `1 - alpha`.
    pub interval: Interval,
    /// The test statistic: how many standard errors the estimate lies from the null.
    pub statistic: f64,
    /// The degrees of freedom of Student's law, `None` for a normal statistic.
    pub degrees_of_freedom: Option<f64>,
    /// The chance of at least this statistic if the null is true.
    pub p_value: f64,
    /// The error probability of the interval.
    pub alpha: f64,
    /// The side that was asked about.
    pub alternative: Alternative,
}

impl Alternative {
    /// The p-value, from the chance of a statistic beyond `t` on the upper side.
    fn p_value(self, statistic: f64, upper_tail: impl Fn(f64) -> f64) -> f64 {
        match self {
            Self::TwoSided => (2.0 * upper_tail(statistic.abs())).min(1.0),
            Self::Greater => upper_tail(statistic),
            Self::Less => upper_tail(-statistic),
        }
    }

    /// The part of alpha that each side that counts may spend.
    fn tail(self, alpha: f64) -> f64 {
        if self == Self::TwoSided { 0.5 * alpha } else { alpha }
    }
}
