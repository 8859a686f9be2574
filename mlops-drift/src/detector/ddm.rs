//! The drift detection method.

use serde::{Deserialize, Serialize};

use super::{Detector, Reason, Signal, damaged, deviations, rate};
use crate::float::Number;
use crate::version::readable;
use crate::{Error, Result};

/// Settings of [`Ddm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DdmSettings {
    /// Updates before the first decision. Default `30`.
    pub warm_up: u32,
    /// Warn this many standard deviations above the best rate seen. Default `2.0`.
    pub warning: f64,
    /// Report a drift this many standard deviations above it. Default `3.0`.
    pub drift: f64,
    /// Whether the minimum is kept and warnings are given one update before the warm-up ends, as in MOA. Default `false`.
    pub early_minimum: bool,
}

impl Default for DdmSettings {
    fn default() -> Self {
        Self { warm_up: 30, warning: 2.0, drift: 3.0, early_minimum: false }
    }
}

impl DdmSettings {
    /// What river 0.26 computes, update by update.
    pub fn river() -> Self {
        Self::default()
    }

    /// What MOA computes, update by update.
    pub fn moa() -> Self {
        Self { warm_up: 29, early_minimum: true, ..Self::default() }
    }
}

/// DDM: an error rate p with standard deviation s = sqrt(p (1-p) / n) has drifted when p + s lies three of
/// the least standard deviations above the least rate (J. Gama, P. Medas, G. Castillo, P. Rodrigues, Learning
/// with Drift Detection, 2004).
///
/// * Domain: 0 for right, 1 for wrong, or a rate between. Finds rising rates only.
/// * Constant memory and time: no division and no root but when p + s is lower than ever. After a drift the next
///   update starts over.
/// * After nothing but zeros the least standard deviation is 0, so the first error is a drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Ddm {
    settings: DdmSettings,
    errors: Errors,
    limits: Limits,
    signal: Signal,
}

/// How many values there were, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Errors {
    pub(super) count: f64,
    pub(super) sum: f64,
}

impl Errors {
    #[inline(always)]
    pub(super) fn and(self, value: f64) -> Self {
        Self { count: self.count + 1.0, sum: self.sum + value }
    }

    pub(super) fn rate(self) -> f64 {
        self.sum / self.count
    }

    pub(super) fn deviation(self) -> f64 {
        let rate = self.rate();
        (rate * (1.0 - rate) / self.count).sqrt()
    }

    /// The variance of the sum, times the count.
    #[inline(always)]
    fn spread(self) -> f64 {
        self.sum * (self.count - self.sum)
    }

    /// What `spread` is compared with: p + s > c if s > c - p, both sides times n and squared with their sign.
    #[inline(always)]
    fn distance(self, limit: f64) -> f64 {
        let gap = limit * self.count - self.sum;
        gap * gap.abs() * self.count
    }

    /// Whether p + s lies above a limit.
    #[inline(always)]
    pub(super) fn above(self, limit: f64) -> bool {
        self.spread() > self.distance(limit)
    }

    /// Whether p + s lies below a limit.
    #[inline(always)]
    pub(super) fn below(self, limit: f64) -> bool {
        self.spread() < self.distance(limit)
    }
}

/// The least p + s, and the limits that follow from the rate and the deviation there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Limits {
    #[serde(with = "crate::float")]
    pub(super) least: f64,
    #[serde(with = "crate::float")]
    pub(super) warning: f64,
    #[serde(with = "crate::float")]
    pub(super) drift: f64,
}

impl Limits {
    pub(super) const NONE: Self = Self { least: f64::INFINITY, warning: f64::INFINITY, drift: f64::INFINITY };

    pub(super) fn of(errors: Errors, warning: f64, drift: f64) -> Self {
        Self::new(errors.rate(), errors.deviation(), warning, drift)
    }

    pub(super) fn new(rate: f64, deviation: f64, warning: f64, drift: f64) -> Self {
        Self { least: rate + deviation, warning: rate + warning * deviation, drift: rate + drift * deviation }
    }
}

impl Ddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a threshold is not above 0.
    pub fn new(settings: DdmSettings) -> Result<Self> {
        deviations(settings.warning, settings.drift)?;
        Ok(Self { settings, errors: Errors::default(), limits: Limits::NONE, signal: Signal::Stable })
    }

    /// The settings.
    pub fn settings(&self) -> &DdmSettings {
        &self.settings
    }

    /// The error rate since the last drift; 0 before the first value.
    pub fn rate(&self) -> f64 {
        if self.errors.count > 0.0 { self.errors.rate() } else { 0.0 }
    }
}

impl Detector for Ddm {
    fn check(&self, value: f64) -> Result<()> {
        rate(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = rate(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.errors = self.errors.and(value);
        let DdmSettings { warm_up, warning, drift, early_minimum } = self.settings;
        let warm_up = f64::from(warm_up);
        self.signal = Signal::Stable;
        if self.errors.count > warm_up - f64::from(u8::from(early_minimum)) {
            if self.errors.below(self.limits.least) {
                self.limits = Limits::of(self.errors, warning, drift);
            }
            if self.errors.count > warm_up && self.errors.above(self.limits.drift) {
                self.signal = Signal::Drift;
            } else if self.errors.above(self.limits.warning) {
                self.signal = Signal::Warning;
            }
        }
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        let limit = match self.signal {
            Signal::Stable => return None,
            Signal::Warning => self.limits.warning,
            Signal::Drift => self.limits.drift,
        };
        let value = self.errors.rate() + self.errors.deviation();
        Some(Reason { statistic: "error rate plus its standard deviation", value, limit })
    }

    fn reset(&mut self) {
        self.errors = Errors::default();
        self.limits = Limits::NONE;
        self.signal = Signal::Stable;
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default = "crate::version::first")]
    version: u32,
    settings: DdmSettings,
    count: f64,
    signal: Signal,
    #[serde(default)]
    errors: Option<f64>,
    #[serde(default)]
    limits: Option<Limits>,
    /// Version 1 had the rate, and rate and deviation where their sum was least.
    #[serde(default, skip_serializing)]
    rate: f64,
    #[serde(default, skip_serializing)]
    least_rate: Number,
    #[serde(default, skip_serializing)]
    least_deviation: Number,
}

impl TryFrom<Stored> for Ddm {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        readable("detector", stored.version, VERSION)?;
        let Stored { version, settings, count, signal, errors, limits, rate, least_rate, least_deviation } =
            stored;
        let fresh = Self::new(settings)?;
        let DdmSettings { warning, drift, .. } = fresh.settings;
        let (sum, limits) = match (version, errors, limits) {
            (1, ..) => {
                (sum_of_rate(count, rate), Limits::new(least_rate.0, least_deviation.0, warning, drift))
            }
            (_, Some(sum), Some(limits)) => (sum, limits),
            _ => return Err(damaged("number of errors or limits")),
        };
        let errors = Errors { count, sum };
        if !(count.is_finite() && sum >= 0.0 && sum <= count) {
            return Err(damaged("number of errors"));
        }
        if [limits.least, limits.warning, limits.drift].iter().any(|limit| limit.is_nan()) {
            return Err(damaged("limits"));
        }
        Ok(Self { errors, limits, signal, ..fresh })
    }
}

impl From<Ddm> for Stored {
    fn from(Ddm { settings, errors, limits, signal }: Ddm) -> Self {
        Self {
            version: VERSION,
            settings,
            count: errors.count,
            signal,
            errors: Some(errors.sum),
            limits: Some(limits),
            rate: 0.0,
            least_rate: Number::default(),
            least_deviation: Number::default(),
        }
    }
}

/// The sum behind a rate, which rounding has moved: whole again if it can only have been so.
pub(super) fn sum_of_rate(count: f64, rate: f64) -> f64 {
    let sum = count * rate;
    if (sum - sum.round()).abs() <= 1e-12 * count { sum.round() } else { sum }
}

const VERSION: u32 = 2;
