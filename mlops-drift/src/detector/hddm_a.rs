//! Drift detection by Hoeffding's bound on averages.

use serde::{Deserialize, Serialize};

use super::{Decrease, Detector, Reason, Signal, confidences, rate};
use crate::Result;
use crate::version::versioned;

/// Settings of [`HddmA`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HddmASettings {
    /// The chance of a false drift in one comparison, in 0..1. Default `0.001`.
    pub drift: f64,
    /// The chance of a false warning in one comparison, at least `drift`. Default `0.005`.
    pub warning: f64,
    /// What a falling mean does. Default `Decrease::Ignore`.
    pub decrease: Decrease,
}

impl Default for HddmASettings {
    fn default() -> Self {
        Self { drift: 0.001, warning: 0.005, decrease: Decrease::Ignore }
    }
}

impl HddmASettings {
    /// What river 0.26 computes by default, update by update; `Decrease::Report` is its two-sided test.
    pub fn river() -> Self {
        Self::default()
    }

    /// What MOA computes by default, update by update; `Decrease::Ignore` is its one-sided test.
    pub fn moa() -> Self {
        Self { decrease: Decrease::Restart, ..Self::default() }
    }
}

/// HDDM_A: is the mean of all values higher than it was at its lowest, by more than Hoeffding's bound allows?
/// (I. Frias-Blanco et al., Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds,
/// 2015.)
///
/// * Domain: 0..=1. Constant memory and time. After a drift the next update starts over.
/// * Fires if z - x >= sqrt(m/2 ln(2/c)) with m = (n - k)/(n k), where z is the mean of all n values and x that
///   of the first k, the cut at which x plus its bound was least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct HddmA {
    settings: Prepared,
    all: Mean,
    lowest: Mean,
    highest: Mean,
    change: f64,
    signal: Signal,
}

/// The settings, stored as they are, with the logarithms that they lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "HddmASettings", into = "HddmASettings")]
struct Prepared {
    settings: HddmASettings,
    bounds: HddmABounds,
}

impl From<HddmASettings> for Prepared {
    fn from(settings: HddmASettings) -> Self {
        Self { bounds: HddmABounds::new(&settings), settings }
    }
}

impl From<Prepared> for HddmASettings {
    fn from(Prepared { settings, .. }: Prepared) -> Self {
        settings
    }
}

/// Hoeffding's bounds, their logarithms taken once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HddmABounds {
    one_sided: f64,
    drift: f64,
    warning: f64,
}

impl HddmABounds {
    pub(super) fn new(settings: &HddmASettings) -> Self {
        Self {
            one_sided: (1.0 / settings.drift).ln(),
            drift: (2.0 / settings.drift).ln(),
            warning: (2.0 / settings.warning).ln(),
        }
    }

    /// Of a mean of so many values.
    #[inline(always)]
    pub(super) fn bound(&self, count: f64) -> f64 {
        (1.0 / (2.0 * count) * self.one_sided).sqrt()
    }

    /// Of drift and warning, on the difference between the means of `count` values and of the first `cut`.
    #[inline(always)]
    pub(super) fn limits(&self, count: f64, cut: f64) -> (f64, f64) {
        let half = (count - cut) / cut * (1.0 / count) / 2.0;
        ((half * self.drift).sqrt(), (half * self.warning).sqrt())
    }

    /// Whether a change is so small that no rounding can make it a warning: no division and no root.
    fn clearly_stable(&self, count: f64, cut: f64, change: f64) -> bool {
        2.0 * change * change * cut * count < (count - cut) * self.warning * (1.0 - 1e-9)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    count: f64,
    value: f64,
    /// Hoeffding's bound at `count` with the drift confidence.
    bound: f64,
}

impl HddmA {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` unless 0 < drift <= warning < 1.
    pub fn new(settings: HddmASettings) -> Result<Self> {
        confidences(settings.drift, settings.warning)?;
        let none = Mean::default();
        Ok(Self {
            settings: settings.into(),
            all: none,
            lowest: none,
            highest: none,
            change: 0.0,
            signal: Signal::Stable,
        })
    }

    fn judge(&self, cut: Mean, change: f64) -> Signal {
        let (count, bounds) = (self.all.count, &self.settings.bounds);
        if cut.count == count || change <= 0.0 || bounds.clearly_stable(count, cut.count, change) {
            return Signal::Stable;
        }
        let (drift, warning) = bounds.limits(count, cut.count);
        if change >= drift {
            Signal::Drift
        } else if change >= warning {
            Signal::Warning
        } else {
            Signal::Stable
        }
    }

    /// The settings.
    pub fn settings(&self) -> &HddmASettings {
        &self.settings.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.settings.clone()).map(drop)
    }
}

versioned!(HddmA, "detector", HddmA::validate);

impl Detector for HddmA {
    fn check(&self, value: f64) -> Result<()> {
        rate(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = rate(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.all.count += 1.0;
        self.all.value += (value - self.all.value) / self.all.count;
        self.all.bound = self.settings.bounds.bound(self.all.count);
        let all = self.all;
        if self.lowest.count == 0.0 || self.lowest.value + self.lowest.bound >= all.value + all.bound {
            self.lowest = all;
        }
        if self.highest.count == 0.0 || self.highest.value - self.highest.bound <= all.value - all.bound {
            self.highest = all;
        }
        self.change = all.value - self.lowest.value;
        self.signal = self.judge(self.lowest, self.change);
        let decrease_means = self.settings.settings.decrease;
        if decrease_means != Decrease::Ignore {
            let decrease = self.highest.value - all.value;
            let signal = self.judge(self.highest, decrease);
            match decrease_means {
                Decrease::Report if signal > self.signal => {
                    self.signal = signal;
                    self.change = -decrease;
                }
                Decrease::Restart if signal == Signal::Drift && self.signal != Signal::Drift => {
                    let signal = self.signal;
                    self.reset();
                    self.signal = signal;
                }
                _ => {}
            }
        }
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        if self.signal == Signal::Stable {
            return None;
        }
        let cut = if self.change > 0.0 { self.lowest } else { self.highest };
        // A restart on a falling mean keeps a warning for one update, without the numbers behind it.
        let (drift, warning) =
            if cut.count > 0.0 { self.settings.bounds.limits(self.all.count, cut.count) } else { (0.0, 0.0) };
        let limit = if self.signal == Signal::Drift { drift } else { warning }.copysign(self.change);
        Some(Reason { statistic: "change of the mean", value: self.change, limit })
    }

    fn reset(&mut self) {
        let none = Mean::default();
        (self.all, self.lowest, self.highest) = (none, none, none);
        self.change = 0.0;
        self.signal = Signal::Stable;
    }
}
