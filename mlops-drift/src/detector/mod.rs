//! Has a stream changed? One value at a time, in constant or logarithmic memory.
//!
//! | detector | takes | finds | memory |
//! |---|---|---|---|
//! | [`Adwin`] | numbers | the mean moves, either way | O(log n) |
//! | [`PageHinkley`] | numbers | the mean moves, either way | constant |
//! | [`Cusum`], [`Gma`] | numbers | the mean rises | constant |
//! | [`Kswin`] | numbers | the distribution changes in any way | a window |
//! | [`Ddm`], [`Rddm`], [`Ecdd`] | errors | the error rate rises | constant; `Rddm` a window of bits |
//! | [`Eddm`] | errors | errors come closer together | constant |
//! | [`HddmA`], [`HddmW`] | errors or 0..=1 | the mean rises, or moves | constant |
//! | [`Stepd`], [`Fhddm`] | errors | recent errors against older ones, or against the best | a window of bits |
//!
//! Default settings are the papers' with the usual thresholds, and MOA's where a paper names none ([`Cusum`], [`Gma`],
//! [`Ecdd`], [`Rddm`]); [`Adwin`]'s bound is the one that river and MOA compute, the theorem's is
//! [`AdwinBound::Width`]. The presets `river` and `moa` give what those tools compute, update by update, faults
//! included. A drift flag stays for one update; the next one starts over first.
//!
//! Numbers may be as large as 1e100; far outliers are not drift, but they stay in means, variances and sums: after one
//! value of 1e6 among values near 1, [`Adwin`], [`PageHinkley`] and [`Cusum`] hear little else until they start over.
//! Clip what your data cannot mean.

mod adwin;
mod any;
mod bank;
pub mod calibrate;
mod cusum;
mod ddm;
mod ecdd;
mod eddm;
mod fhddm;
mod hddm_a;
mod hddm_w;
mod histogram;
mod kswin;
mod page_hinkley;
mod python;
mod rddm;
mod ring;
mod stepd;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use adwin::{Adwin, AdwinBound, AdwinSettings};
pub use any::AnyDetector;
pub use bank::{Bank, Banked, DdmBank, DetectorBank, DetectorList};
pub use calibrate::{Calibrated, Calibration, DetectorKind, Stationary};
pub use cusum::{Cusum, CusumSettings, Gma, GmaSettings};
pub use ddm::{Ddm, DdmSettings};
pub use ecdd::{Ecdd, EcddSettings};
pub use eddm::{Eddm, EddmSettings};
pub use fhddm::{Fhddm, FhddmSettings};
pub use hddm_a::{HddmA, HddmASettings};
pub use hddm_w::{HddmW, HddmWSettings};
pub use kswin::{Kswin, KswinSettings};
pub use page_hinkley::{PageHinkley, PageHinkleyOrigin, PageHinkleySettings};
pub use rddm::{Rddm, RddmSettings};
pub use stepd::{Stepd, StepdSettings};

/// What a detector says after an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Nothing to report, or too little seen so far.
    #[default]
    Stable,
    /// It may be changing: start to collect data for a new model.
    Warning,
    /// It changed.
    Drift,
}

impl Signal {
    /// Whether it changed.
    pub fn is_drift(self) -> bool {
        self == Self::Drift
    }

    /// Whether it may be changing.
    pub fn is_warning(self) -> bool {
        self == Self::Warning
    }
}

/// Which way a stream has to move for a detector to fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Either way.
    #[default]
    Both,
    /// Up alone, as when an error rate grows.
    Up,
    /// Down alone.
    Down,
}

impl Direction {
    fn includes(self, change: f64) -> bool {
        match self {
            Self::Both => true,
            Self::Up => change > 0.0,
            Self::Down => change < 0.0,
        }
    }
}

/// What a detector of rising means does when the mean falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decrease {
    /// Nothing: the lowest mean moves along.
    #[default]
    Ignore,
    /// Starts over without a word.
    Restart,
    /// Reports it as a warning or drift.
    Report,
}

/// A detector of changes in a stream of numbers.
///
/// Contract for callers: feed values in order. After [`Signal::Drift`] go on feeding: the next update starts
/// over with the new regime as the detector's own docs say; there is no need to [`reset`](Self::reset).
///
/// Contract for implementers: an update allocates nothing in steady state and costs amortised constant or
/// logarithmic time. A rejected value leaves the state as it was. The same values give the same signals on
/// every platform and after a round trip through serde.
///
/// ```
/// use mlops_drift::detector::{Adwin, AdwinSettings, Ddm, DdmSettings, Detector};
///
/// let mut detectors: Vec<Box<dyn Detector>> =
///     vec![Box::new(Adwin::new(AdwinSettings::default())?), Box::new(Ddm::new(DdmSettings::default())?)];
/// for detector in &mut detectors {
///     let mut drift = None;
///     for step in 0..2000 {
///         let error = if step < 1000 { step % 10 == 0 } else { step % 2 == 0 };
///         if detector.update(f64::from(u8::from(error)))?.is_drift() && drift.is_none() {
///             drift = Some((step, detector.reason()));
///         }
///     }
///     let (step, reason) = drift.expect("an error rate of 0.5 after 0.1 is found");
///     assert!((1000..1200).contains(&step) && reason.is_some());
/// }
/// # Ok::<(), mlops_drift::Error>(())
/// ```
pub trait Detector: fmt::Debug + Send + Sync {
    /// Whether [`update`](Self::update) takes this value; changes nothing.
    ///
    /// # Errors
    /// `Data` if the value is outside of the detector's domain.
    fn check(&self, value: f64) -> Result<()>;

    /// Takes in the next value.
    ///
    /// # Errors
    /// `Data` if the value is outside of the detector's domain.
    fn update(&mut self, value: f64) -> Result<Signal>;

    /// What the last update said.
    fn signal(&self) -> Signal;

    /// The number and the limit behind the last warning or drift; `None` while the signal is stable.
    fn reason(&self) -> Option<Reason>;

    /// Forgets everything but the settings.
    fn reset(&mut self);
}

/// Why a detector fired: the statistic that crossed its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// What was compared.
    pub statistic: &'static str,
    /// Its value.
    pub value: f64,
    /// The limit that it crossed.
    pub limit: f64,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.6} beyond {:.6}", self.statistic, self.value, self.limit)
    }
}

/// A number whose square leaves room for sums, or the error that says so.
fn finite(value: f64) -> Result<f64> {
    if value.abs() <= LARGEST {
        return Ok(value);
    }
    Err(Error::data(format!(
        "{value} is out of range: want a number within +-{LARGEST:e}; drop, clip or rescale it before it reaches a \
         detector"
    )))
}

/// Sums of squares of numbers up to this stay finite.
const LARGEST: f64 = 1e100;

/// A value in 0..=1, or the error that says so.
fn rate(value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::data(format!("{value} is no error: want 0 for right, 1 for wrong, or a rate between")))
}

/// A setting that has to be above 0 and finite.
fn positive(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} is {value}: want a number above 0")))
}

/// How many standard deviations lead to a warning and to a drift.
fn deviations(warning: f64, drift: f64) -> Result<()> {
    positive("warning", warning)?;
    positive("drift", drift)
}

/// A setting that has to be a probability between 0 and 1.
fn probability(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} is {value}: want a probability between 0 and 1")))
}

/// Two confidences, the drift's the stricter one.
fn confidences(drift: f64, warning: f64) -> Result<()> {
    probability("drift", drift)?;
    probability("warning", warning)?;
    if drift <= warning {
        return Ok(());
    }
    Err(Error::invalid(format!("drift {drift} is above warning {warning}: a drift needs stronger evidence")))
}

/// The error of a stored detector whose parts do not fit together.
fn damaged(part: &str) -> Error {
    Error::data(format!("the stored detector is damaged, its {part} does not fit: start with a new one"))
}

/// 1 for wrong, 0 for right.
fn error_flag(value: f64) -> Result<bool> {
    if value == 0.0 || value == 1.0 {
        return Ok(value == 1.0);
    }
    Err(Error::data(format!("{value} is no error flag: want 0 for right or 1 for wrong")))
}
