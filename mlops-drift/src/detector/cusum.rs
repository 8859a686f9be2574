//! Cumulative sums and geometric moving averages of deviations.

use serde::{Deserialize, Serialize};

use super::{Detector, Reason, Signal, finite, positive, probability};
use crate::version::versioned;
use crate::{Error, Result};

/// Settings of [`Cusum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CusumSettings {
    /// Values before the first decision. Default `29`.
    pub warm_up: u32,
    /// Rises of the mean up to this size are tolerated; in the data's own unit. Default `0.005`.
    pub delta: f64,
    /// Fire beyond this; in the same unit. Default `50.0`.
    pub threshold: f64,
}

impl Default for CusumSettings {
    fn default() -> Self {
        Self { warm_up: 29, delta: 0.005, threshold: 50.0 }
    }
}

impl CusumSettings {
    /// What MOA computes, update by update: it is the paper's statistic; river has no CUSUM.
    pub fn moa() -> Self {
        Self::default()
    }
}

/// CUSUM: the sum of deviations above the running mean, never below 0 (E. Page, Continuous Inspection
/// Schemes, 1954).
///
/// * Domain: finite numbers; finds rises. The thresholds are in the unit of the data.
/// * Constant memory and time. After a drift the next update starts over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Cusum {
    settings: CusumSettings,
    running: Running,
}

/// Settings of [`Gma`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GmaSettings {
    /// Values before the first decision. Default `29`.
    pub warm_up: u32,
    /// How much of the average is kept at each update, in 0..1. Default `0.99`.
    pub alpha: f64,
    /// Fire beyond this; in the data's own unit. Default `1.0`.
    pub threshold: f64,
}

impl Default for GmaSettings {
    /// The threshold of 1 cannot be reached by values in 0..=1: set your own or ask for a calibrated one.
    fn default() -> Self {
        Self { warm_up: 29, alpha: 0.99, threshold: 1.0 }
    }
}

impl GmaSettings {
    /// What MOA computes, update by update; river has no geometric moving average.
    pub fn moa() -> Self {
        Self::default()
    }
}

/// The geometric moving average of deviations from the running mean (S. Roberts, Control Chart Tests Based on
/// Geometric Moving Averages, 1959).
///
/// * Domain: finite numbers; finds rises. The threshold is in the unit of the data.
/// * Constant memory and time. After a drift the next update starts over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Gma {
    settings: GmaSettings,
    running: Running,
}

/// What both keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Running {
    count: f64,
    mean: f64,
    sum: f64,
    signal: Signal,
}

impl Running {
    /// Takes in a value: how far it lies from the mean that includes it.
    fn deviation(&mut self, value: f64) -> f64 {
        if self.signal == Signal::Drift {
            *self = Self::default();
        }
        self.count += 1.0;
        self.mean += (value - self.mean) / self.count;
        value - self.mean
    }

    fn judge(&mut self, warm_up: u32, threshold: f64) -> Signal {
        let fires = self.count >= f64::from(warm_up) && self.sum > threshold;
        self.signal = if fires { Signal::Drift } else { Signal::Stable };
        self.signal
    }

    fn reason(&self, statistic: &'static str, limit: f64) -> Option<Reason> {
        (self.signal == Signal::Drift).then_some(Reason { statistic, value: self.sum, limit })
    }
}

impl Cusum {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: CusumSettings) -> Result<Self> {
        positive("threshold", settings.threshold)?;
        if !(settings.delta >= 0.0 && settings.delta.is_finite()) {
            return Err(Error::invalid(format!("delta is {}: want a number from 0", settings.delta)));
        }
        Ok(Self { settings, running: Running::default() })
    }

    /// The settings.
    pub fn settings(&self) -> &CusumSettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.clone()).map(drop)
    }
}

versioned!(Cusum, "detector", Cusum::validate);

impl Detector for Cusum {
    fn check(&self, value: f64) -> Result<()> {
        finite(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let deviation = self.running.deviation(finite(value)?);
        self.running.sum = (self.running.sum + deviation - self.settings.delta).max(0.0);
        Ok(self.running.judge(self.settings.warm_up, self.settings.threshold))
    }

    fn signal(&self) -> Signal {
        self.running.signal
    }

    fn reason(&self) -> Option<Reason> {
        self.running.reason("cumulative sum of deviations", self.settings.threshold)
    }

    fn reset(&mut self) {
        self.running = Running::default();
    }
}

impl Gma {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: GmaSettings) -> Result<Self> {
        positive("threshold", settings.threshold)?;
        probability("alpha", settings.alpha)?;
        Ok(Self { settings, running: Running::default() })
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.clone()).map(drop)
    }
}

versioned!(Gma, "detector", Gma::validate);

impl Detector for Gma {
    fn check(&self, value: f64) -> Result<()> {
        finite(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let deviation = self.running.deviation(finite(value)?);
        let alpha = self.settings.alpha;
        self.running.sum = alpha * self.running.sum + (1.0 - alpha) * deviation;
        Ok(self.running.judge(self.settings.warm_up, self.settings.threshold))
    }

    fn signal(&self) -> Signal {
        self.running.signal
    }

    fn reason(&self) -> Option<Reason> {
        self.running.reason("geometric moving average of deviations", self.settings.threshold)
    }

    fn reset(&mut self) {
        self.running = Running::default();
    }
}
