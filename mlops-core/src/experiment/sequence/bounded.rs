//! Settings of sequences for bounded values.

use serde::{Deserialize, Serialize};

use crate::experiment::comparison::{Comparison, p_value};
use crate::experiment::interval::{Alternative, Interval};
use crate::experiment::settings::{check_alpha, check_finite};
use crate::{Error, Result};

/// The level, the side and the range of the values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounded {
    /// The probability of ever being wrong, within (0, 1). Default .05.
    pub alpha: f64,
    /// The side that counts; the other end of a one-sided interval is the end of the range. Default two-sided.
    pub alternative: Alternative,
    /// The least value there can be. Default 0.
    pub low: f64,
    /// The largest value there can be. Default 1. A tighter range gives a narrower interval.
    pub high: f64,
}

impl Default for Bounded {
    fn default() -> Self {
        Self { alpha: 0.05, alternative: Alternative::TwoSided, low: 0.0, high: 1.0 }
    }
}

impl Bounded {
    pub(super) fn check(&self) -> Result<()> {
        check_alpha(self.alpha)?;
        check_finite("low", self.low)?;
        check_finite("high", self.high)?;
        if self.low < self.high && (self.high - self.low).is_finite() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "no values range from {} to {}: give low below high",
            self.low, self.high
        )))
    }

    /// `ln(1 / level)` of each side: a two-sided sequence spends half of alpha on each.
    pub(super) fn log_threshold(&self) -> f64 {
        match self.alternative {
            Alternative::TwoSided => (2.0 / self.alpha).ln(),
            Alternative::Greater | Alternative::Less => -self.alpha.ln(),
        }
    }

    /// The value on the scale from 0 to 1.
    pub(super) fn unit(&self, value: f64) -> Result<f64> {
        if self.low <= value && value <= self.high {
            return Ok(((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0));
        }
        let Self { low, high, .. } = self;
        Err(Error::invalid(format!(
            "value {value} is outside [{low}, {high}]: widen the range or clip the value"
        )))
    }

    /// An interval on the scale from 0 to 1, on the scale of the values, open where nobody asked.
    pub(super) fn interval(&self, lower: f64, upper: f64) -> Interval {
        let value = |unit: f64| (self.low + unit * (self.high - self.low)).clamp(self.low, self.high);
        let (lower, upper) = (value(lower), value(upper));
        match self.alternative {
            Alternative::TwoSided => Interval::spanning(lower, upper),
            Alternative::Greater => Interval::spanning(lower, self.high),
            Alternative::Less => Interval::spanning(self.low, upper),
        }
    }

    /// The answer, from the evidence that the mean is above and below the null.
    pub(super) fn answer(
        &self,
        null: f64,
        unit_mean: Option<f64>,
        interval: Interval,
        above: f64,
        below: f64,
    ) -> Comparison {
        let log_e_value = match self.alternative {
            Alternative::TwoSided => above.max(below) - std::f64::consts::LN_2,
            Alternative::Greater => above,
            Alternative::Less => below,
        };
        Comparison {
            estimate: unit_mean.map(|mean| self.low + mean * (self.high - self.low)),
            interval,
            p_value: p_value(log_e_value),
            log_e_value,
            null,
            alpha: self.alpha,
            alternative: self.alternative,
        }
    }

    /// Two states may merge if they asked the same.
    pub(super) fn check_same(&self, other: &Self) -> Result<()> {
        if self == other {
            return Ok(());
        }
        Err(Error::invalid(format!("states of different settings do not merge: {self:?} and {other:?}")))
    }
}
