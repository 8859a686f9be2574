//! Adaptive windowing.

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, StoredHistogram};
use super::{Detector, Direction, Reason, Signal, damaged, finite, probability};
use crate::version::readable;
use crate::{Error, Result};

/// Settings of [`Adwin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdwinSettings {
    /// Confidence of one comparison, in 0..1: smaller means fewer false alarms and later detection. Default `0.002`.
    pub delta: f64,
    /// Look for a cut every this many updates, from 1. Default `32`.
    pub clock: u32,
    /// Buckets of one size before the two oldest are joined, 2 to 254: more means finer cuts. Default `5`.
    pub max_buckets: u8,
    /// Values that each part of the window needs. Default `5`.
    pub min_window_length: u32,
    /// Look for a cut only while the window holds more than this many values. Default `10`.
    pub grace_period: u32,
    /// How large a difference of means is tolerated. Default `AdwinBound::LogWidth`.
    pub bound: AdwinBound,
    /// Whether a drift empties the whole window, as river 0.26 does, or keeps the recent part, as the paper
    /// does. Default `false`.
    pub empty_on_drift: bool,
    /// Which changes of the mean are reported; the window shrinks at all of them. Default `Direction::Both`.
    pub direction: Direction,
    /// Whether a part needs one value more than `min_window_length`, as in MOA. Default `false`.
    pub strict_minimum: bool,
}

/// The limit on the difference of the means of two sub-windows of n0 and n1 values, W together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdwinBound {
    /// sqrt(2 m v d) + 2/3 m d with d = ln(2 ln W / delta), m = 1/(n0-L+1) + 1/(n1-L+1), v the window's
    /// variance and L `min_window_length`: what river and MOA compute.
    #[default]
    LogWidth,
    /// The same with d = ln(2 W / delta) and m = 1/n0 + 1/n1: the bound of the paper's theorem, more
    /// cautious in long windows.
    Width,
}

impl Default for AdwinSettings {
    fn default() -> Self {
        Self {
            delta: 0.002,
            clock: 32,
            max_buckets: 5,
            min_window_length: 5,
            grace_period: 10,
            bound: AdwinBound::LogWidth,
            empty_on_drift: false,
            direction: Direction::Both,
            strict_minimum: false,
        }
    }
}

impl AdwinSettings {
    /// What river 0.26 computes, update by update.
    pub fn river() -> Self {
        Self { empty_on_drift: true, ..Self::default() }
    }

    /// What MOA computes, update by update.
    pub fn moa() -> Self {
        Self { strict_minimum: true, ..Self::default() }
    }
}

/// ADWIN: a window that grows while the mean stands still and drops its old part when it moves (A. Bifet,
/// R. Gavalda, Learning from Time-Changing Data with Adaptive Windowing, 2007).
///
/// * Domain: finite numbers of any scale. The false-alarm guarantee of the paper is for values in 0..=1; the
///   bound's second term is 2/3 m d in the data's own unit, so rescale data whose spread is far from 1.
/// * The window is an exponential histogram: O(M log(W/M)) buckets of total and variance, amortised O(1) an
///   update plus one scan of the buckets every `clock` updates.
/// * After a drift the part after the cut stays. Cuts lie between buckets, so that it may still hold values from before
///   the change: its mean approaches that of the new regime over the next updates, and one change may be reported more
///   than once. Put an alert policy with a cooldown behind it, or call `reset`.
/// * Fires in both directions unless told otherwise; has no warning zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Adwin {
    settings: AdwinSettings,
    histogram: Histogram,
    until_check: u32,
    drift: Option<(f64, f64)>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default = "crate::version::first")]
    version: u32,
    settings: AdwinSettings,
    histogram: StoredHistogram,
    until_check: u32,
    drift: Option<(f64, f64)>,
}

impl Adwin {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: AdwinSettings) -> Result<Self> {
        probability("delta", settings.delta)?;
        if settings.clock == 0 || settings.min_window_length == 0 || !(2..255).contains(&settings.max_buckets)
        {
            return Err(Error::invalid(format!(
                "clock {}, min_window_length {} and max_buckets {} are out of range: want at least 1, 1 and 2 to 254",
                settings.clock, settings.min_window_length, settings.max_buckets
            )));
        }
        let histogram = Histogram::new(&settings);
        Ok(Self { until_check: settings.clock, settings, histogram, drift: None })
    }

    /// The settings.
    pub fn settings(&self) -> &AdwinSettings {
        &self.settings
    }

    /// How many values the window holds.
    pub fn width(&self) -> u64 {
        self.histogram.width() as u64
    }

    /// The sum of the values in the window.
    pub fn total(&self) -> f64 {
        self.histogram.total()
    }

    /// The mean of the window; `None` while it is empty.
    pub fn mean(&self) -> Option<f64> {
        (self.width() > 0).then(|| self.histogram.mean())
    }

    /// The sum of squared deviations from the mean in the window, as the histogram tracks it.
    pub fn sum_of_squares(&self) -> f64 {
        self.histogram.variance()
    }

    /// Drops what the last value showed to be old.
    fn shrink(&mut self, mean_before: f64) {
        if self.histogram.width() <= f64::from(self.settings.grace_period) {
            return;
        }
        while let Some(cut) = self.histogram.find_cut(&self.settings) {
            self.drift = Some(cut);
            self.histogram.drop_oldest();
        }
        if self.drift.is_none() {
            return;
        }
        if !self.settings.direction.includes(self.histogram.mean() - mean_before) {
            self.drift = None;
        }
        if self.settings.empty_on_drift {
            self.histogram.clear();
        }
    }
}

impl Detector for Adwin {
    fn check(&self, value: f64) -> Result<()> {
        finite(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = finite(value)?;
        self.drift = None;
        self.until_check -= 1;
        if self.until_check == 0 {
            self.until_check = self.settings.clock;
            let mean_before = self.histogram.mean();
            self.histogram.insert(value);
            self.shrink(mean_before);
        } else {
            self.histogram.insert(value);
        }
        Ok(self.signal())
    }

    fn signal(&self) -> Signal {
        if self.drift.is_some() { Signal::Drift } else { Signal::Stable }
    }

    fn reason(&self) -> Option<Reason> {
        self.drift.map(|(value, limit)| Reason { statistic: "difference of window means", value, limit })
    }

    fn reset(&mut self) {
        self.histogram.clear();
        self.until_check = self.settings.clock;
        self.drift = None;
    }
}

impl TryFrom<Stored> for Adwin {
    type Error = Error;

    fn try_from(Stored { version, settings, histogram, until_check, drift }: Stored) -> Result<Self> {
        readable("detector", version, VERSION)?;
        let fresh = Self::new(settings)?;
        let histogram = Histogram::restore(&histogram, &fresh.settings).ok_or_else(|| damaged("window"))?;
        if !(1..=fresh.settings.clock).contains(&until_check) {
            return Err(damaged("clock"));
        }
        Ok(Self { histogram, until_check, drift, ..fresh })
    }
}

impl From<Adwin> for Stored {
    fn from(Adwin { settings, histogram, until_check, drift }: Adwin) -> Self {
        Self { version: VERSION, settings, histogram: histogram.into(), until_check, drift }
    }
}

const VERSION: u32 = 1;
