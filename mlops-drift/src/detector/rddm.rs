//! The reactive drift detection method.

use serde::{Deserialize, Serialize};

use super::ring::Bits;
use super::{Detector, Reason, Signal, damaged, deviations, error_flag};
use crate::version::versioned;
use crate::{Error, Result};

/// Settings of [`Rddm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RddmSettings {
    /// Values before the first decision. Default `129`.
    pub warm_up: u32,
    /// Warn this many standard deviations above the best rate seen. Default `1.773`.
    pub warning: f64,
    /// Report a drift this many standard deviations above it. Default `2.258`.
    pub drift: f64,
    /// A stable concept of this many values is shortened. Default `40_000`.
    pub longest_concept: u32,
    /// To this many, 1 to 65 535. Default `7_000`.
    pub kept: u16,
    /// A warning that lasts this long is a drift. Default `1_400`.
    pub longest_warning: u32,
}

impl Default for RddmSettings {
    fn default() -> Self {
        Self {
            warm_up: 129,
            warning: 1.773,
            drift: 2.258,
            longest_concept: 40_000,
            kept: 7_000,
            longest_warning: 1_400,
        }
    }
}

impl RddmSettings {
    /// What MOA computes, update by update: it is the authors' own code; river has no RDDM.
    pub fn moa() -> Self {
        Self::default()
    }
}

/// RDDM: DDM that forgets old values of long concepts, so that it stays alert, and takes the values since the
/// warning as the start of the new concept (R. Barros, D. Cabral, P. Goncalves, S. Santos, RDDM: Reactive
/// Drift Detection Method, 2017).
///
/// * Domain: 0 for right, 1 for wrong; finds rising rates.
/// * Memory: one bit for each kept value. Time: constant, but O(kept) when a concept is shortened or starts
///   anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Rddm {
    settings: RddmSettings,
    stored: Bits,
    /// The number of the next value, from 1.
    next: f64,
    rate: f64,
    #[serde(with = "crate::float")]
    least_rate: f64,
    #[serde(with = "crate::float")]
    least_deviation: f64,
    #[serde(with = "crate::float")]
    least_sum: f64,
    level: f64,
    /// Values since the warning began, that one included.
    since_warning: Option<u32>,
    /// Stored values since the warning began, that one included, while the first of them is still there.
    kept_since_warning: Option<usize>,
    /// Start again from the stored values with the next update.
    rebuild: bool,
    signal: Signal,
}

impl Rddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: RddmSettings) -> Result<Self> {
        deviations(settings.warning, settings.drift)?;
        if settings.kept == 0 {
            return Err(Error::invalid("kept is 0: want at least 1 value"));
        }
        if settings.longest_concept < settings.kept.into() {
            return Err(Error::invalid(format!(
                "longest_concept {} is below kept {}: a concept would be shortened to more than it was",
                settings.longest_concept, settings.kept
            )));
        }
        let stored = Bits::new(settings.kept.into());
        Ok(Self {
            settings,
            stored,
            next: 1.0,
            rate: 1.0,
            least_rate: f64::INFINITY,
            least_deviation: f64::INFINITY,
            least_sum: f64::INFINITY,
            level: 0.0,
            since_warning: None,
            kept_since_warning: None,
            rebuild: false,
            signal: Signal::Stable,
        })
    }

    /// Takes in a value: the standard deviation of the rate.
    fn count(&mut self, is_error: bool) -> f64 {
        self.rate += (f64::from(u8::from(is_error)) - self.rate) / self.next;
        let deviation = (self.rate * (1.0 - self.rate) / self.next).sqrt();
        self.next += 1.0;
        deviation
    }

    fn remember_least(&mut self, deviation: f64) {
        if self.rate + deviation < self.least_sum {
            self.least_rate = self.rate;
            self.least_deviation = deviation;
            self.least_sum = self.rate + deviation;
        }
    }

    fn start_over(&mut self) {
        let drifted = self.signal == Signal::Drift;
        if drifted {
            self.least_rate = f64::INFINITY;
            self.least_deviation = f64::INFINITY;
            self.least_sum = f64::INFINITY;
        }
        self.next = 1.0;
        self.rate = 1.0;
        if let Some(kept) = self.kept_since_warning.take() {
            self.stored.keep_newest(kept);
        }
        self.since_warning = None;
        self.rebuild = false;
        for index in 0..self.stored.len() {
            let number = self.next;
            let deviation = self.count(self.stored.get(index));
            if drifted && number > f64::from(self.settings.warm_up) {
                self.remember_least(deviation);
            }
        }
    }

    /// The settings.
    pub fn settings(&self) -> &RddmSettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        let fresh = Self::new(self.settings.clone())?;
        if self.stored.room() == fresh.stored.room() { Ok(()) } else { Err(damaged("window")) }
    }
}

versioned!(Rddm, "detector", Rddm::validate);

impl Detector for Rddm {
    fn check(&self, value: f64) -> Result<()> {
        error_flag(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let is_error = error_flag(value)?;
        if self.rebuild {
            self.start_over();
        }
        self.stored.push(is_error);
        self.since_warning = self.since_warning.map(|count| count.saturating_add(1));
        // The first value of the warning leaves the ring when all stored ones are newer.
        self.kept_since_warning = self
            .kept_since_warning
            .map(|count| count.saturating_add(1))
            .filter(|count| *count <= self.stored.len());
        let deviation = self.count(is_error);
        self.level = self.rate + deviation;
        self.signal = Signal::Stable;
        if self.next <= f64::from(self.settings.warm_up) {
            return Ok(self.signal);
        }
        self.remember_least(deviation);
        let above = |deviations: f64| self.level > self.least_rate + deviations * self.least_deviation;
        if above(self.settings.drift) {
            self.signal = Signal::Drift;
            self.rebuild = true;
            if self.since_warning.is_none() {
                self.stored.keep_newest(1);
            }
        } else if above(self.settings.warning) {
            // The value that began the warning counts as 1, so the limit lies one further.
            if self.since_warning.is_some_and(|count| count > self.settings.longest_warning) {
                self.signal = Signal::Drift;
                self.rebuild = true;
                self.stored.keep_newest(1);
                self.since_warning = None;
                self.kept_since_warning = None;
            } else {
                self.signal = Signal::Warning;
                self.since_warning.get_or_insert(1);
                if self.since_warning == Some(1) {
                    self.kept_since_warning = Some(1);
                }
            }
        } else {
            self.since_warning = None;
            self.kept_since_warning = None;
            self.rebuild = self.next > f64::from(self.settings.longest_concept);
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
            // A warning that lasted too long never left its own zone.
            Signal::Drift => self.settings.drift.min((self.level - self.least_rate) / self.least_deviation),
        };
        let limit = self.least_rate + deviations * self.least_deviation;
        Some(Reason { statistic: "error rate plus its standard deviation", value: self.level, limit })
    }

    fn reset(&mut self) {
        self.stored.clear();
        self.next = 1.0;
        self.rate = 1.0;
        self.least_rate = f64::INFINITY;
        self.least_deviation = f64::INFINITY;
        self.least_sum = f64::INFINITY;
        self.level = 0.0;
        self.since_warning = None;
        self.kept_since_warning = None;
        self.rebuild = false;
        self.signal = Signal::Stable;
    }
}
