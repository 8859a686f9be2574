//! The fast Hoeffding drift detection method.

use serde::{Deserialize, Serialize};

use super::ring::Bits;
use super::{Detector, Reason, Signal, damaged, error_flag, probability};
use crate::version::versioned;
use crate::{Error, Result};

/// Settings of [`Fhddm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FhddmSettings {
    /// How many values the window holds, 1 to 65 535. Default `100`.
    pub window: u16,
    /// A short window within it, for sudden changes (the stacking variant); at most `window`. Default `None`.
    pub short_window: Option<u16>,
    /// The chance of a false drift in one comparison, in 0..1. Default `1e-6`.
    pub delta: f64,
    /// river's reading of the input: it takes 1 for right where its other detectors take 1 for wrong, so that
    /// it fires when a model improves. Default `false`.
    pub river_reading: bool,
}

impl Default for FhddmSettings {
    fn default() -> Self {
        Self { window: 100, short_window: None, delta: 1e-6, river_reading: false }
    }
}

impl FhddmSettings {
    /// What river 0.26 computes, update by update.
    pub fn river() -> Self {
        Self { river_reading: true, ..Self::default() }
    }
}

/// FHDDM: the accuracy of the last values falls below its best by more than Hoeffding's bound (A.
/// Pesaranghader, H. Viktor, Fast Hoeffding Drift Detection Method for Evolving Data Streams, 2016).
///
/// * Domain: 0 for right, 1 for wrong; finds rising error rates.
/// * Fires if best - now > sqrt(ln(1/delta) / (2 window)).
/// * Memory: one bit for each value of the window; constant time. After a drift the next update starts over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Fhddm {
    settings: FhddmSettings,
    window: Bits,
    short: Option<Bits>,
    best: f64,
    best_short: f64,
    drop: f64,
    limit: f64,
    signal: Signal,
}

impl Fhddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: FhddmSettings) -> Result<Self> {
        probability("delta", settings.delta)?;
        let FhddmSettings { window, short_window, .. } = settings;
        if window == 0 || short_window.is_some_and(|short| short == 0 || short > window) {
            return Err(Error::invalid(format!(
                "the windows {window} and {short_window:?} are out of range: want 1 <= short <= window"
            )));
        }
        Ok(Self {
            window: Bits::new(window.into()),
            short: short_window.map(|short| Bits::new(short.into())),
            settings,
            best: 0.0,
            best_short: 0.0,
            drop: 0.0,
            limit: 0.0,
            signal: Signal::Stable,
        })
    }

    fn bound(&self, window: &Bits) -> f64 {
        ((1.0 / self.settings.delta).ln() / (2.0 * window.len() as f64)).sqrt()
    }

    /// The settings.
    pub fn settings(&self) -> &FhddmSettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        let fresh = Self::new(self.settings.clone())?;
        let rooms = |detector: &Self| (detector.window.room(), detector.short.as_ref().map(Bits::room));
        if rooms(self) == rooms(&fresh) { Ok(()) } else { Err(damaged("window")) }
    }
}

versioned!(Fhddm, "detector", Fhddm::validate);

fn share(window: &Bits) -> f64 {
    window.ones() as f64 / window.len() as f64
}

impl Detector for Fhddm {
    fn check(&self, value: f64) -> Result<()> {
        error_flag(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let is_right = error_flag(value)? == self.settings.river_reading;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.window.push(is_right);
        if let Some(short) = &mut self.short {
            short.push(is_right);
        }
        if !self.window.is_full() {
            return Ok(self.signal);
        }
        let now = share(&self.window);
        self.best = self.best.max(now);
        (self.drop, self.limit) = (self.best - now, self.bound(&self.window));
        let mut fires = self.drop > self.limit;
        if let Some(short) = &self.short {
            let now = share(short);
            self.best_short = self.best_short.max(now);
            let (drop, limit) = (self.best_short - now, self.bound(short));
            if drop > limit && !fires {
                (self.drop, self.limit) = (drop, limit);
                fires = true;
            }
        }
        self.signal = if fires { Signal::Drift } else { Signal::Stable };
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        (self.signal == Signal::Drift).then_some(Reason {
            statistic: "drop below the best accuracy",
            value: self.drop,
            limit: self.limit,
        })
    }

    fn reset(&mut self) {
        self.window.clear();
        if let Some(short) = &mut self.short {
            short.clear();
        }
        self.best = 0.0;
        self.best_short = 0.0;
        self.drop = 0.0;
        self.limit = 0.0;
        self.signal = Signal::Stable;
    }
}
