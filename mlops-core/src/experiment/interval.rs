//! Intervals and the side that a question asks about.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::mixture::Sides;
use crate::{Error, Result};

/// Which departures from the null count as evidence, and so which ends of the interval are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// The truth differs from the null: both ends are finite.
    #[default]
    TwoSided,
    /// The truth is above the null: the upper end is open.
    Greater,
    /// The truth is below the null: the lower end is open.
    Less,
}

impl Alternative {
    /// How far the estimate lies from the null, toward the side that counts.
    pub(super) fn toward(self, estimate: f64, null: f64) -> f64 {
        match self {
            Self::Less => null - estimate,
            Self::TwoSided | Self::Greater => estimate - null,
        }
    }

    /// How many sides count.
    pub(super) fn sides(self) -> Sides {
        match self {
            Self::TwoSided => Sides::Two,
            Self::Greater | Self::Less => Sides::One,
        }
    }
}

/// A closed interval; an open end is infinite, and is `null` when serialised.
///
/// ```
/// use mlops_core::experiment::Interval;
///
/// let interval = Interval::new(-0.5, f64::INFINITY)?;
/// assert!(interval.contains(0.0));
/// assert_eq!(serde_json::to_string(&interval).unwrap(), r#"{"lower":-0.5,"upper":null}"#);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Interval {
    lower: f64,
    upper: f64,
}

impl Interval {
    /// Every number: what an interval says before there is evidence.
    pub const ALL: Self = Self { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

    /// From `lower` to `upper`.
    ///
    /// # Errors
    /// `Invalid` if an end is NaN or `lower` is above `upper`.
    pub fn new(lower: f64, upper: f64) -> Result<Self> {
        if lower <= upper {
            return Ok(Self { lower, upper });
        }
        Err(Error::invalid(format!("no interval reaches from {lower} to {upper}: give the lower end first")))
    }

    /// From one end to the other; the ends are numbers, in any order.
    pub(super) fn spanning(a: f64, b: f64) -> Self {
        Self { lower: a.min(b), upper: a.max(b) }
    }

    /// What lies within `radius` of `center`, open on the side that the alternative does not ask about.
    pub(super) fn around(center: f64, radius: f64, alternative: Alternative) -> Self {
        let (mut lower, mut upper) = (center - radius, center + radius);
        match alternative {
            Alternative::TwoSided => {}
            Alternative::Greater => upper = f64::INFINITY,
            Alternative::Less => lower = f64::NEG_INFINITY,
        }
        Self { lower, upper }
    }

    /// The lower end.
    pub const fn lower(&self) -> f64 {
        self.lower
    }

    /// The upper end.
    pub const fn upper(&self) -> f64 {
        self.upper
    }

    /// Upper less lower end; infinite if an end is open.
    pub fn width(&self) -> f64 {
        self.upper - self.lower
    }

    /// Whether the value lies inside or on an end.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }

    /// What both have in common, `None` if they are apart.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (lower, upper) = (self.lower.max(other.lower), self.upper.min(other.upper));
        (lower <= upper).then_some(Self { lower, upper })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        fmt::Display::fmt(&self.lower, f)?;
        f.write_str(", ")?;
        fmt::Display::fmt(&self.upper, f)?;
        f.write_str("]")
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    lower: Option<f64>,
    upper: Option<f64>,
}

impl From<Interval> for Wire {
    fn from(interval: Interval) -> Self {
        let finite = |end: f64| end.is_finite().then_some(end);
        Self { lower: finite(interval.lower), upper: finite(interval.upper) }
    }
}

impl TryFrom<Wire> for Interval {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::new(wire.lower.unwrap_or(f64::NEG_INFINITY), wire.upper.unwrap_or(f64::INFINITY))
    }
}
