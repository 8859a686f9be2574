//! The early drift detection method.

use serde::{Deserialize, Serialize};

use super::{Detector, Reason, Signal, confidences, error_flag};
use crate::Result;
use crate::version::versioned;

/// Settings of [`Eddm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EddmSettings {
    /// Updates and errors before the first decision. Default `30`.
    pub warm_up: u32,
    /// Warn below this share of the largest distance seen, in 0..1. Default `0.95`.
    pub warning: f64,
    /// Report a drift below this share, at most `warning`. Default `0.9`.
    pub drift: f64,
    /// MOA's conventions: the variance divides by n, not n - 1; the first decision comes one update earlier;
    /// each error that is no drift or warning ends a warning. Default `false`.
    pub moa_conventions: bool,
    /// river's flag: a new maximum, which says that errors are rarer than ever, leaves a warning up. Default `false`.
    #[serde(default = "yes")]
    pub river_warning: bool,
}

/// What settings meant before they had this flag.
fn yes() -> bool {
    true
}

impl Default for EddmSettings {
    fn default() -> Self {
        Self { warm_up: 30, warning: 0.95, drift: 0.9, moa_conventions: false, river_warning: false }
    }
}

impl EddmSettings {
    /// What river 0.26 computes, update by update.
    pub fn river() -> Self {
        Self { river_warning: true, ..Self::default() }
    }

    /// What MOA computes, update by update.
    pub fn moa() -> Self {
        Self { moa_conventions: true, ..Self::default() }
    }
}

/// EDDM: errors come closer together. Watches the mean distance between errors plus two standard deviations
/// against its maximum (M. Baena-Garcia et al., Early Drift Detection Method, 2006).
///
/// * Domain: 0 for right, 1 for wrong. Finds rising error rates, slow ones best.
/// * Constant memory and time. After a drift the next update starts over.
/// * With the settings of the paper it cries wolf often: 47 times in 100 000 updates at a steady error rate of
///   0.1. Ask for a calibrated one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Eddm {
    settings: EddmSettings,
    count: f64,
    errors: f64,
    last_error: f64,
    mean: f64,
    squares: f64,
    most: f64,
    share: f64,
    signal: Signal,
}

impl Eddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` unless 0 < drift <= warning < 1.
    pub fn new(settings: EddmSettings) -> Result<Self> {
        confidences(settings.drift, settings.warning)?;
        Ok(Self {
            settings,
            count: 0.0,
            errors: 0.0,
            last_error: 0.0,
            mean: 0.0,
            squares: 0.0,
            most: -1.0,
            share: 1.0,
            signal: Signal::Stable,
        })
    }

    /// The settings.
    pub fn settings(&self) -> &EddmSettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.clone()).map(drop)
    }
}

versioned!(Eddm, "detector", Eddm::validate);

impl Detector for Eddm {
    fn check(&self, value: f64) -> Result<()> {
        error_flag(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let is_error = error_flag(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.count += 1.0;
        if !is_error {
            return Ok(self.signal);
        }
        let moa = self.settings.moa_conventions;
        let warm_up = f64::from(self.settings.warm_up);
        self.errors += 1.0;
        let distance = self.count - self.last_error;
        self.last_error = self.count;
        let before = self.mean;
        self.mean += (distance - self.mean) / self.errors;
        self.squares += (distance - before) * (distance - self.mean);
        if moa {
            self.signal = Signal::Stable;
        }
        if self.count + f64::from(u8::from(moa)) <= warm_up {
            return Ok(self.signal);
        }
        let freedom = if moa { self.errors } else { self.errors - 1.0 };
        let variance = if freedom > 0.0 { self.squares / freedom } else { 0.0 };
        let level = self.mean + 2.0 * variance.sqrt();
        if level > self.most {
            self.most = level;
            if !self.settings.river_warning {
                self.share = 1.0;
                self.signal = Signal::Stable;
            }
        } else if self.errors > warm_up {
            self.share = level / self.most;
            self.signal = if self.share < self.settings.drift {
                Signal::Drift
            } else if self.share < self.settings.warning {
                Signal::Warning
            } else {
                Signal::Stable
            };
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
        Some(Reason { statistic: "share of the largest distance between errors", value: self.share, limit })
    }

    fn reset(&mut self) {
        self.count = 0.0;
        self.errors = 0.0;
        self.last_error = 0.0;
        self.mean = 0.0;
        self.squares = 0.0;
        self.most = -1.0;
        self.share = 1.0;
        self.signal = Signal::Stable;
    }
}
