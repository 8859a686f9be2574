//! The Page-Hinkley test.

use serde::{Deserialize, Serialize};

use super::{Detector, Direction, Reason, Signal, finite, positive};
use crate::version::versioned;
use crate::{Error, Result};

/// Settings of [`PageHinkley`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageHinkleySettings {
    /// Values before the first decision. Default `30`.
    pub warm_up: u32,
    /// Changes of the mean up to this size are tolerated; in the data's own unit, or in standard deviations
    /// if `standardised`. Default `0.005`.
    pub delta: f64,
    /// Fire beyond this; in the same unit. Default `50.0`.
    pub threshold: f64,
    /// How much of the sum is kept at each update, above 0 up to 1. Default `0.9999`.
    pub alpha: f64,
    /// Which changes are looked for. Default `Direction::Both`.
    pub direction: Direction,
    /// Whether deviations are divided by the running standard deviation, so that the settings fit data of any
    /// scale. Default `false`.
    pub standardised: bool,
    /// From where the distance of the sums is measured. Default `PageHinkleyOrigin::Extreme`.
    pub origin: PageHinkleyOrigin,
}

/// From where [`PageHinkley`] measures how far a sum has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageHinkleyOrigin {
    /// The least rising sum and the greatest falling sum, as in the paper.
    #[default]
    Extreme,
    /// The same, but the greatest falling sum starts at -1, as in river, which delays data of small scale.
    RiverExtreme,
    /// 0, as in MOA: a stream that first falls has to climb back before it can fire.
    Zero,
}

impl PageHinkleyOrigin {
    /// The least and the greatest sum before the first value.
    pub(super) fn extremes(self) -> (f64, f64) {
        match self {
            Self::Extreme => (f64::INFINITY, f64::NEG_INFINITY),
            Self::RiverExtreme => (f64::INFINITY, -1.0),
            Self::Zero => (0.0, 0.0),
        }
    }
}

impl Default for PageHinkleySettings {
    fn default() -> Self {
        Self {
            warm_up: 30,
            delta: 0.005,
            threshold: 50.0,
            alpha: 0.9999,
            direction: Direction::Both,
            standardised: false,
            origin: PageHinkleyOrigin::Extreme,
        }
    }
}

impl PageHinkleySettings {
    /// What river 0.26 computes, update by update.
    pub fn river() -> Self {
        Self { origin: PageHinkleyOrigin::RiverExtreme, ..Self::default() }
    }

    /// What MOA computes, update by update.
    pub fn moa() -> Self {
        Self { warm_up: 29, direction: Direction::Up, origin: PageHinkleyOrigin::Zero, ..Self::default() }
    }
}

/// The Page-Hinkley test: the sum of deviations from the running mean leaves its extreme (E. Page, Continuous
/// Inspection Schemes, 1954; D. Hinkley, Inference about the Change-Point from Cumulative Sum Tests, 1971).
///
/// * Domain: finite numbers. The thresholds are in the unit of the data: for a stream of standard deviation s
///   scale them by s, or set `standardised`.
/// * Constant memory and time. After a drift the next update starts over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct PageHinkley {
    settings: PageHinkleySettings,
    count: f64,
    mean: f64,
    squares: f64,
    rising: f64,
    #[serde(with = "crate::float")]
    lowest: f64,
    falling: f64,
    #[serde(with = "crate::float")]
    highest: f64,
    level: f64,
    signal: Signal,
}

impl PageHinkley {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: PageHinkleySettings) -> Result<Self> {
        positive("threshold", settings.threshold)?;
        let PageHinkleySettings { alpha, delta, .. } = settings;
        if !(alpha > 0.0 && alpha <= 1.0 && delta >= 0.0 && delta.is_finite()) {
            return Err(Error::invalid(format!(
                "alpha {alpha} and delta {delta} are out of range: want above 0 up to 1, and at least 0"
            )));
        }
        let mut detector = Self {
            settings,
            count: 0.0,
            mean: 0.0,
            squares: 0.0,
            rising: 0.0,
            lowest: 0.0,
            falling: 0.0,
            highest: 0.0,
            level: 0.0,
            signal: Signal::Stable,
        };
        detector.reset();
        Ok(detector)
    }

    /// The mean since the last drift.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The settings.
    pub fn settings(&self) -> &PageHinkleySettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.clone()).map(drop)
    }
}

versioned!(PageHinkley, "detector", PageHinkley::validate);

impl Detector for PageHinkley {
    fn check(&self, value: f64) -> Result<()> {
        finite(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = finite(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        let mut deviation = value - self.mean;
        if self.settings.standardised {
            self.squares += before * deviation;
            let sigma = (self.squares / self.count).sqrt();
            deviation = if sigma > 0.0 { deviation / sigma } else { 0.0 };
        }
        let PageHinkleySettings { alpha, delta, threshold, direction, origin, .. } = self.settings;
        self.rising = alpha * self.rising + (deviation - delta);
        self.falling = alpha * self.falling + (deviation + delta);
        if origin != PageHinkleyOrigin::Zero {
            self.lowest = self.lowest.min(self.rising);
            self.highest = self.highest.max(self.falling);
        }
        let (up, down) = (self.rising - self.lowest, self.highest - self.falling);
        self.level = match direction {
            Direction::Up => up,
            Direction::Down => down,
            Direction::Both => up.max(down),
        };
        self.signal = if self.count >= f64::from(self.settings.warm_up) && self.level > threshold {
            Signal::Drift
        } else {
            Signal::Stable
        };
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        (self.signal == Signal::Drift).then_some(Reason {
            statistic: "distance of the sum of deviations from its extreme",
            value: self.level,
            limit: self.settings.threshold,
        })
    }

    fn reset(&mut self) {
        self.count = 0.0;
        self.mean = 0.0;
        self.squares = 0.0;
        self.rising = 0.0;
        self.falling = 0.0;
        (self.lowest, self.highest) = self.settings.origin.extremes();
        self.level = 0.0;
        self.signal = Signal::Stable;
    }
}
