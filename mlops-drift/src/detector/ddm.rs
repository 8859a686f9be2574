//! The drift detection method.

use serde::{Deserialize, Serialize};

use super::{Detector, Reason, Signal, deviations, rate, validated};
use crate::Result;

/// Settings of [`Ddm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DdmSettings {
    /// Updates before the first decision.
    pub warm_up: u32,
    /// Warn this many standard deviations above the best rate seen.
    pub warning: f64,
    /// Report a drift this many standard deviations above it.
    pub drift: f64,
    /// Whether the minimum is kept and warnings are given one update before the warm-up ends, as in MOA.
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
/// * Constant memory and time. After a drift the next update starts over.
/// * After nothing but zeros the least standard deviation is 0, so the first error is a drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Ddm {
    settings: DdmSettings,
    count: f64,
    rate: f64,
    #[serde(with = "crate::float")]
    least_sum: f64,
    #[serde(with = "crate::float")]
    least_rate: f64,
    #[serde(with = "crate::float")]
    least_deviation: f64,
    level: f64,
    signal: Signal,
}

impl Ddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a threshold is not above 0.
    pub fn new(settings: DdmSettings) -> Result<Self> {
        deviations(settings.warning, settings.drift)?;
        Ok(Self {
            settings,
            count: 0.0,
            rate: 0.0,
            least_sum: f64::INFINITY,
            least_rate: f64::INFINITY,
            least_deviation: f64::INFINITY,
            level: 0.0,
            signal: Signal::Stable,
        })
    }

    /// The error rate since the last drift.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.clone()).map(drop)
    }
}

validated!(Ddm);

impl Detector for Ddm {
    fn check(&self, value: f64) -> Result<()> {
        rate(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = rate(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.count += 1.0;
        self.rate += (value - self.rate) / self.count;
        let deviation = (self.rate * (1.0 - self.rate) / self.count).sqrt();
        self.level = self.rate + deviation;
        let warm_up = f64::from(self.settings.warm_up);
        self.signal = Signal::Stable;
        if self.count > warm_up - f64::from(u8::from(self.settings.early_minimum)) {
            if self.level <= self.least_sum {
                self.least_sum = self.level;
                self.least_rate = self.rate;
                self.least_deviation = deviation;
            }
            if self.count > warm_up
                && self.level > self.least_rate + self.settings.drift * self.least_deviation
            {
                self.signal = Signal::Drift;
            } else if self.level > self.least_rate + self.settings.warning * self.least_deviation {
                self.signal = Signal::Warning;
            }
        }
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        let deviations = match self.signal {
            Signal::Stable => return None,
            Signal::Warning => self.settings.warning,
            Signal::Drift => self.settings.drift,
        };
        let limit = self.least_rate + deviations * self.least_deviation;
        Some(Reason { statistic: "error rate plus its standard deviation", value: self.level, limit })
    }

    fn reset(&mut self) {
        self.count = 0.0;
        self.rate = 0.0;
        self.least_sum = f64::INFINITY;
        self.least_rate = f64::INFINITY;
        self.least_deviation = f64::INFINITY;
        self.level = 0.0;
        self.signal = Signal::Stable;
    }
}
