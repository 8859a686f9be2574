//! A statistical test of equal proportions.

use serde::{Deserialize, Serialize};

use super::ring::Bits;
use super::{Detector, Reason, Signal, confidences, damaged, error_flag};
use crate::special::normal_sf;
use crate::version::versioned;
use crate::{Error, Result};

/// Settings of [`Stepd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepdSettings {
    /// How many values are recent, 1 to 65 535. Default `30`.
    pub window: u16,
    /// Report a drift below this p-value, in 0..1. Default `0.003`.
    pub drift: f64,
    /// Warn below this p-value, at least `drift`. Default `0.05`.
    pub warning: f64,
    /// MOA's arithmetic: it divides by 0 when all values are equal, and alarms every 60 of them; and it takes
    /// differences smaller than the continuity correction for large ones. Default `false`.
    pub moa_arithmetic: bool,
}

impl Default for StepdSettings {
    fn default() -> Self {
        Self { window: 30, drift: 0.003, warning: 0.05, moa_arithmetic: false }
    }
}

impl StepdSettings {
    /// What MOA computes, update by update.
    pub fn moa() -> Self {
        Self { moa_arithmetic: true, ..Self::default() }
    }
}

/// STEPD: is the recent error rate that of before? A two-proportion z test with continuity correction (K.
/// Nishida, K. Yamauchi, Detecting Concept Drift Using Statistical Testing, 2007).
///
/// * Domain: 0 for right, 1 for wrong; finds changes either way.
/// * Memory: one bit for each recent value; constant time. After a drift the next update starts over.
/// * It tests at every update, so `drift` is not its rate of false alarms: ask for a calibrated one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Stepd {
    settings: StepdSettings,
    recent: Bits,
    older: f64,
    older_errors: f64,
    p_value: f64,
    signal: Signal,
}

impl Stepd {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` unless 0 < drift <= warning < 1 and the window holds a value.
    pub fn new(settings: StepdSettings) -> Result<Self> {
        confidences(settings.drift, settings.warning)?;
        if settings.window == 0 {
            return Err(Error::invalid("window is 0: want at least 1 recent value"));
        }
        let recent = Bits::new(settings.window.into());
        Ok(Self { settings, recent, older: 0.0, older_errors: 0.0, p_value: 1.0, signal: Signal::Stable })
    }

    fn p_value(&self) -> f64 {
        let (n, m) = (self.older, self.recent.len() as f64);
        let errors = self.recent.ones() as f64;
        let inverse = 1.0 / n + 1.0 / m;
        let p = (n - self.older_errors + m - errors) / (n + m);
        let difference = ((n - self.older_errors) / n - (m - errors) / m).abs() - inverse / 2.0;
        let deviation = (p * (1.0 - p) * inverse).sqrt();
        if self.settings.moa_arithmetic {
            return 2.0 * normal_sf((difference / deviation).abs());
        }
        if difference <= 0.0 || deviation <= 0.0 { 1.0 } else { 2.0 * normal_sf(difference / deviation) }
    }

    /// The settings.
    pub fn settings(&self) -> &StepdSettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        let fresh = Self::new(self.settings.clone())?;
        if self.recent.room() == fresh.recent.room() { Ok(()) } else { Err(damaged("window")) }
    }
}

versioned!(Stepd, "detector", Stepd::validate);

impl Detector for Stepd {
    fn check(&self, value: f64) -> Result<()> {
        error_flag(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let is_error = error_flag(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        if let Some(oldest) = self.recent.push(is_error) {
            self.older += 1.0;
            self.older_errors += f64::from(u8::from(oldest));
        }
        self.signal = Signal::Stable;
        if self.older >= f64::from(self.settings.window) {
            self.p_value = self.p_value();
            if self.p_value < self.settings.drift {
                self.signal = Signal::Drift;
            } else if self.p_value < self.settings.warning {
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
            Signal::Warning => self.settings.warning,
            Signal::Drift => self.settings.drift,
        };
        Some(Reason { statistic: "p-value of equal error rates", value: self.p_value, limit })
    }

    fn reset(&mut self) {
        self.recent.clear();
        self.older = 0.0;
        self.older_errors = 0.0;
        self.p_value = 1.0;
        self.signal = Signal::Stable;
    }
}
