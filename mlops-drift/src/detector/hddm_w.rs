//! Drift detection by McDiarmid's bound on weighted averages.

use serde::{Deserialize, Serialize};

use super::{Decrease, Detector, Reason, Signal, confidences, probability, rate};
use crate::Result;
use crate::version::versioned;

/// Settings of [`HddmW`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HddmWSettings {
    /// The chance of a false drift in one comparison, in 0..1. Default `0.001`.
    pub drift: f64,
    /// The chance of a false warning in one comparison, at least `drift`. Default `0.005`.
    pub warning: f64,
    /// The weight of the newest value, in 0..1. Default `0.05`.
    pub lambda: f64,
    /// What a falling mean does. Default `Decrease::Ignore`.
    pub decrease: Decrease,
    /// Whether the weight of the first value decays at once, as in river, which narrows the bound of the
    /// first value too much. Default `false`.
    pub decay_first: bool,
    /// Whether falling means are looked for only once the average has left 0 by its bound, as in MOA. Default `false`.
    pub decrease_from_zero: bool,
}

impl Default for HddmWSettings {
    fn default() -> Self {
        Self {
            drift: 0.001,
            warning: 0.005,
            lambda: 0.05,
            decrease: Decrease::Ignore,
            decay_first: false,
            decrease_from_zero: false,
        }
    }
}

impl HddmWSettings {
    /// What river 0.26 computes by default, update by update; `Decrease::Report` is its two-sided test.
    pub fn river() -> Self {
        Self { decay_first: true, ..Self::default() }
    }

    /// What one detector of MOA computes by default; `Decrease::Restart` is its two-sided test.
    pub fn moa() -> Self {
        Self { decrease_from_zero: true, ..Self::default() }
    }
}

/// HDDM_W: HDDM with exponentially weighted averages, which finds gradual changes sooner (I. Frias-Blanco et
/// al., Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds, 2015).
///
/// * Domain: 0..=1. Constant memory and time. After a drift the next update starts over.
/// * Fires if the average since the cut exceeds that up to the cut by sqrt((b1 + b2) ln(1/c) / 2), where b is
///   the sum of squared weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct HddmW {
    settings: Prepared,
    all: Average,
    rise: Cut,
    fall: Cut,
    change: f64,
    limit: f64,
    signal: Signal,
}

/// The settings, stored as they are, with the logarithms that they lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "HddmWSettings", into = "HddmWSettings")]
struct Prepared {
    settings: HddmWSettings,
    ln_drift: f64,
    ln_warning: f64,
}

impl From<HddmWSettings> for Prepared {
    fn from(settings: HddmWSettings) -> Self {
        let (ln_drift, ln_warning) = ((1.0 / settings.drift).ln(), (1.0 / settings.warning).ln());
        Self { settings, ln_drift, ln_warning }
    }
}

impl From<Prepared> for HddmWSettings {
    fn from(Prepared { settings, .. }: Prepared) -> Self {
        settings
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Average {
    value: f64,
    /// The sum of squared weights; 0 while there are no values.
    squares: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cut {
    #[serde(with = "crate::float")]
    level: f64,
    before: Average,
    after: Average,
}

impl HddmW {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` unless 0 < drift <= warning < 1 and 0 < lambda < 1.
    pub fn new(settings: HddmWSettings) -> Result<Self> {
        confidences(settings.drift, settings.warning)?;
        probability("lambda", settings.lambda)?;
        let start = |level| Cut { level, before: Average::default(), after: Average::default() };
        let fall = start(if settings.decrease_from_zero { 0.0 } else { f64::NEG_INFINITY });
        Ok(Self {
            settings: settings.into(),
            all: Average::default(),
            rise: start(f64::INFINITY),
            fall,
            change: 0.0,
            limit: 0.0,
            signal: Signal::Stable,
        })
    }

    /// The average with one more value.
    fn add(&self, average: Average, value: f64) -> Average {
        let HddmWSettings { lambda, decay_first, .. } = self.settings.settings;
        let keep = 1.0 - lambda;
        if average.squares == 0.0 {
            let squares = if decay_first { lambda * lambda + keep * keep } else { 1.0 };
            return Average { value, squares };
        }
        Average {
            value: lambda * value + keep * average.value,
            squares: lambda * lambda + keep * keep * average.squares,
        }
    }

    /// What a difference between two averages means, and the limit that it was held against.
    fn judge(&self, low: Average, high: Average) -> (Signal, f64) {
        if low.squares == 0.0 || high.squares == 0.0 {
            return (Signal::Stable, 0.0);
        }
        let limit = |logarithm: f64| ((low.squares + high.squares) * logarithm / 2.0).sqrt();
        let change = high.value - low.value;
        let warning = limit(self.settings.ln_warning);
        if change <= warning {
            return (Signal::Stable, warning);
        }
        // The drift's limit is not below the warning's.
        let drift = limit(self.settings.ln_drift);
        if change > drift { (Signal::Drift, drift) } else { (Signal::Warning, warning) }
    }

    /// The settings.
    pub fn settings(&self) -> &HddmWSettings {
        &self.settings.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.settings.clone()).map(drop)
    }
}

versioned!(HddmW, "detector", HddmW::validate);

impl Detector for HddmW {
    fn check(&self, value: f64) -> Result<()> {
        rate(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = rate(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        self.all = self.add(self.all, value);
        let all = self.all;
        let bound = (all.squares * self.settings.ln_drift / 2.0).sqrt();
        if all.value + bound < self.rise.level {
            self.rise = Cut { level: all.value + bound, before: all, after: Average::default() };
        } else {
            self.rise.after = self.add(self.rise.after, value);
        }
        (self.signal, self.limit) = self.judge(self.rise.before, self.rise.after);
        self.change = self.rise.after.value - self.rise.before.value;
        if self.settings.settings.decrease == Decrease::Ignore {
            return Ok(self.signal);
        }
        if all.value - bound > self.fall.level {
            self.fall = Cut { level: all.value - bound, before: all, after: Average::default() };
        } else {
            self.fall.after = self.add(self.fall.after, value);
        }
        let (signal, limit) = self.judge(self.fall.after, self.fall.before);
        match self.settings.settings.decrease {
            Decrease::Report if signal > self.signal => {
                (self.signal, self.limit) = (signal, -limit);
                self.change = self.fall.after.value - self.fall.before.value;
            }
            Decrease::Restart if signal == Signal::Drift && self.signal != Signal::Drift => {
                let (signal, change, limit) = (self.signal, self.change, self.limit);
                self.reset();
                (self.signal, self.change, self.limit) = (signal, change, limit);
            }
            _ => {}
        }
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        (self.signal != Signal::Stable).then_some(Reason {
            statistic: "change of the weighted mean",
            value: self.change,
            limit: self.limit,
        })
    }

    fn reset(&mut self) {
        let none = Average::default();
        self.all = none;
        self.rise = Cut { level: f64::INFINITY, before: none, after: none };
        let level = if self.settings.settings.decrease_from_zero { 0.0 } else { f64::NEG_INFINITY };
        self.fall = Cut { level, before: none, after: none };
        self.change = 0.0;
        self.limit = 0.0;
        self.signal = Signal::Stable;
    }
}
