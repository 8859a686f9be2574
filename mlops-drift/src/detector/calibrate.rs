//! Ask for one false alarm in so many updates, get the threshold.
//!
//! No two detectors mean the same by their thresholds. What a user can judge is the average run length: how
//! many updates of an unchanged stream pass between two false alarms. [`Calibration::run`] finds the strictness
//! that gives it, by simulating the detector on the stream that it is to watch, and then verifies it on draws
//! that it has not seen.
//!
//! Calibrated to one false alarm in 10 000 updates at an error rate of 0.1, this many updates pass until a rise to
//! 0.2 is found, 2 000 updates after the start (printed by `examples/run_lengths.rs`, seed 7). `Ddm`, `Eddm` and
//! `HddmA` have no setting within a fifth of that run length at this rate, and say so.
//!
//! | detector | setting | run length | delay |
//! |---|---|---|---|
//! | `Adwin` | 4.9918e-1 | 10127 +- 510 | 132 |
//! | `Cusum` | 2.2172e1 | 9950 +- 496 | 201 |
//! | `Ecdd` | 1.5196e0 | 10152 +- 511 | 3833 |
//! | `Fhddm` | 3.0882e-3 | 10753 +- 558 | 142 |
//! | `Gma` | 7.0494e-2 | 9238 +- 444 | 137 |
//! | `HddmW` | 2.5668e-2 | 9975 +- 498 | 180 |
//! | `PageHinkley` | 2.5718e1 | 9456 +- 460 | 215 |
//! | `Rddm` | 2.1450e0 | 10638 +- 549 | 160 |
//! | `Stepd` | 4.7625e-4 | 10050 +- 504 | 330 |

use mlops_core::Seed;
use serde::{Deserialize, Serialize};

use super::{
    Adwin, AdwinSettings, AnyDetector, Cusum, CusumSettings, Ddm, DdmSettings, Detector, Direction, Ecdd,
    EcddSettings, Eddm, EddmSettings, Fhddm, FhddmSettings, Gma, GmaSettings, HddmA, HddmASettings, HddmW,
    HddmWSettings, Kswin, KswinSettings, PageHinkley, PageHinkleySettings, Rddm, RddmSettings, Stepd,
    StepdSettings,
};
use crate::random::SplitMix64;
use crate::{Error, Result};

/// Which detector to calibrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DetectorKind {
    /// [`Adwin`], rises alone, by its `delta`.
    Adwin,
    /// [`Cusum`], by its `threshold`.
    Cusum,
    /// [`Ddm`], by its `drift`; it warns at two thirds of it.
    Ddm,
    /// [`Ecdd`], by its `limit_scale`.
    Ecdd,
    /// [`Eddm`], by its `drift`; it warns half-way to 1.
    Eddm,
    /// [`Fhddm`], by its `delta`.
    Fhddm,
    /// [`Gma`], by its `threshold`.
    Gma,
    /// [`HddmA`], by its `drift`; it warns at five times the chance.
    HddmA,
    /// [`HddmW`], by its `drift`; it warns at five times the chance.
    HddmW,
    /// [`Kswin`], by its `alpha`: for numbers, not for errors.
    Kswin,
    /// [`PageHinkley`], rises alone, by its `threshold`.
    PageHinkley,
    /// [`Rddm`], by its `drift`; it warns at four fifths of it.
    Rddm,
    /// [`Stepd`], by its `drift`; it warns at ten times the p-value.
    Stepd,
}

/// The stream without a change that a detector is calibrated on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stationary {
    /// Errors, 1 with this probability.
    ErrorRate(f64),
    /// Normal numbers of mean 0 with this standard deviation.
    Normal(f64),
}

/// What to calibrate to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Which detector.
    pub kind: DetectorKind,
    /// The stream that it will watch while nothing changes.
    pub stream: Stationary,
    /// Updates for each false alarm on average: 100 to 1 000 000.
    pub updates_per_false_alarm: f64,
    /// Of the simulation: the same seed gives the same threshold.
    pub seed: Seed,
    /// Updates to simulate, as a multiple of `updates_per_false_alarm`: the run length is then known to about
    /// 1 / sqrt of it. 400 gives 5 %; at least 50.
    pub effort: u32,
}

/// A detector with the run length that it was verified to have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Calibrated {
    /// Ready to watch.
    pub detector: AnyDetector,
    /// The value of the setting that was sought.
    pub setting: f64,
    /// Updates for each false alarm, on draws that the search did not see.
    pub run_length: f64,
    /// The standard error of `run_length`.
    pub standard_error: f64,
}

impl Calibration {
    /// Calibrates to `updates_per_false_alarm` on this stream, with an effort of 400.
    pub fn new(kind: DetectorKind, stream: Stationary, updates_per_false_alarm: f64, seed: Seed) -> Self {
        Self { kind, stream, updates_per_false_alarm, seed, effort: 400 }
    }

    /// Searches the setting and verifies it.
    ///
    /// Cost: about 15 times `effort` times `updates_per_false_alarm` updates.
    ///
    /// ```
    /// use mlops_core::Seed;
    /// use mlops_drift::detector::{Calibration, DetectorKind, Stationary};
    ///
    /// let wanted = Calibration::new(DetectorKind::Ddm, Stationary::ErrorRate(0.2), 200.0, Seed::new(1));
    /// let ddm = wanted.run()?;
    /// assert!((ddm.run_length - 200.0).abs() < 60.0, "{}", ddm.run_length);
    /// # Ok::<(), mlops_drift::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if a parameter is out of range; `Unsupported` if no setting of the detector gives this run
    /// length within a fifth, as when its values are too coarse.
    pub fn run(&self) -> Result<Calibrated> {
        self.check()?;
        let target = self.updates_per_false_alarm;
        let updates = target * f64::from(self.effort);
        let search = self.seed.derive("search");
        let length = |strictness: f64, seed: Seed| {
            let (mut detector, _) = self.build(strictness)?;
            run_length(&mut detector, self.stream, seed, updates)
        };
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..14 {
            let middle = 0.5 * (low + high);
            if length(middle, search)?.0 < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        let (run_length, standard_error) = length(high, self.seed.derive("verify"))?;
        if (run_length - target).abs() > 0.2 * target + 3.0 * standard_error {
            return Err(Error::unsupported(format!(
                "no setting of {:?} gives one false alarm in {target} updates here: the nearest gives one in {run_length:.0}",
                self.kind
            )));
        }
        let (detector, setting) = self.build(high)?;
        Ok(Calibrated { detector, setting, run_length, standard_error })
    }

    fn check(&self) -> Result<()> {
        let sound = match self.stream {
            Stationary::ErrorRate(rate) => rate > 0.0 && rate < 1.0,
            Stationary::Normal(deviation) => deviation > 0.0 && deviation.is_finite(),
        };
        let target = self.updates_per_false_alarm;
        if !sound || !(100.0..=1e6).contains(&target) || self.effort < 50 {
            return Err(Error::invalid(format!(
                "{:?} with one false alarm in {target} updates at effort {} is out of range: want a rate in 0..1 or a \
                 deviation above 0, 100 to 1000000 updates, and an effort of at least 50",
                self.stream, self.effort
            )));
        }
        let takes_errors = !matches!(
            self.kind,
            DetectorKind::Adwin
                | DetectorKind::Cusum
                | DetectorKind::Gma
                | DetectorKind::Kswin
                | DetectorKind::PageHinkley
        );
        if takes_errors && matches!(self.stream, Stationary::Normal(_)) {
            return Err(Error::invalid(format!(
                "{:?} takes errors, not numbers: want Stationary::ErrorRate",
                self.kind
            )));
        }
        Ok(())
    }

    /// A detector for a strictness in 0..=1, and the value of its setting. Chances fall from 0.5 to 1e-12.
    fn build(&self, strictness: f64) -> Result<(AnyDetector, f64)> {
        let chance = 0.5 * 2e-12f64.powf(strictness);
        let between = |low: f64, high: f64| low * (high / low).powf(strictness);
        let spread = match self.stream {
            Stationary::ErrorRate(rate) => (rate * (1.0 - rate)).sqrt(),
            Stationary::Normal(deviation) => deviation,
        };
        let sums = spread * between(0.5, 2_000.0);
        Ok(match self.kind {
            DetectorKind::Adwin => {
                let settings =
                    AdwinSettings { delta: chance, direction: Direction::Up, ..AdwinSettings::default() };
                (Adwin::new(settings)?.into(), chance)
            }
            DetectorKind::Cusum => {
                let settings =
                    CusumSettings { threshold: sums, delta: 0.01 * spread, ..CusumSettings::default() };
                (Cusum::new(settings)?.into(), sums)
            }
            DetectorKind::PageHinkley => {
                let settings = PageHinkleySettings {
                    threshold: sums,
                    delta: 0.01 * spread,
                    direction: Direction::Up,
                    ..PageHinkleySettings::default()
                };
                (PageHinkley::new(settings)?.into(), sums)
            }
            DetectorKind::Gma => {
                let threshold = spread * between(0.001, 1.0);
                (Gma::new(GmaSettings { threshold, ..GmaSettings::default() })?.into(), threshold)
            }
            DetectorKind::Ddm => {
                let drift = between(0.5, 20.0);
                let settings = DdmSettings { drift, warning: drift * 2.0 / 3.0, ..DdmSettings::default() };
                (Ddm::new(settings)?.into(), drift)
            }
            DetectorKind::Rddm => {
                let drift = between(0.5, 20.0);
                let settings = RddmSettings { drift, warning: drift * 0.8, ..RddmSettings::default() };
                (Rddm::new(settings)?.into(), drift)
            }
            DetectorKind::Ecdd => {
                let limit_scale = between(0.2, 5.0);
                (Ecdd::new(EcddSettings { limit_scale, ..EcddSettings::default() })?.into(), limit_scale)
            }
            DetectorKind::Eddm => {
                let drift = 1.0 - 0.98 * strictness;
                let settings =
                    EddmSettings { drift, warning: 0.5 * (1.0 + drift), ..EddmSettings::default() };
                (Eddm::new(settings)?.into(), drift)
            }
            DetectorKind::Fhddm => {
                (Fhddm::new(FhddmSettings { delta: chance, ..FhddmSettings::default() })?.into(), chance)
            }
            DetectorKind::HddmA => {
                let settings = HddmASettings {
                    drift: chance,
                    warning: (5.0 * chance).min(0.9),
                    ..HddmASettings::default()
                };
                (HddmA::new(settings)?.into(), chance)
            }
            DetectorKind::HddmW => {
                let settings = HddmWSettings {
                    drift: chance,
                    warning: (5.0 * chance).min(0.9),
                    ..HddmWSettings::default()
                };
                (HddmW::new(settings)?.into(), chance)
            }
            DetectorKind::Stepd => {
                let settings = StepdSettings {
                    drift: chance,
                    warning: (10.0 * chance).min(0.9),
                    ..StepdSettings::default()
                };
                (Stepd::new(settings)?.into(), chance)
            }
            DetectorKind::Kswin => {
                let seed = self.seed.derive("kswin");
                (
                    Kswin::new(KswinSettings { alpha: chance, seed, ..KswinSettings::default() })?.into(),
                    chance,
                )
            }
        })
    }
}

/// Updates for each alarm on an unchanged stream, and the standard error of that.
fn run_length(
    detector: &mut AnyDetector,
    stream: Stationary,
    seed: Seed,
    updates: f64,
) -> Result<(f64, f64)> {
    let mut random = SplitMix64::new(seed.value());
    let (mut alarms, mut seen) = (0.0f64, 0.0);
    while seen < updates {
        seen += 1.0;
        if detector.update(stream.draw(&mut random))?.is_drift() {
            alarms += 1.0;
        }
    }
    let length = seen / alarms.max(0.5);
    Ok((length, length / alarms.max(1.0).sqrt()))
}

/// The mean number of updates from a change of the stream to the first alarm after it, over `repeats` fresh
/// starts with `lead` unchanged updates each; a change that is not found in 20 `lead` counts as that long.
///
/// # Errors
/// `Data` if the streams are outside of the detector's domain.
pub fn mean_delay(
    detector: &AnyDetector,
    (before, after): (Stationary, Stationary),
    lead: u32,
    repeats: u32,
    seed: Seed,
) -> Result<f64> {
    let mut random = SplitMix64::new(seed.value());
    let mut total = 0u64;
    for _ in 0..repeats {
        let mut detector = detector.clone();
        detector.reset();
        for _ in 0..lead {
            detector.update(before.draw(&mut random))?;
        }
        for _ in 0..20 * u64::from(lead) {
            total += 1;
            if detector.update(after.draw(&mut random))?.is_drift() {
                break;
            }
        }
    }
    Ok(total as f64 / f64::from(repeats.max(1)))
}

impl Stationary {
    fn draw(self, random: &mut SplitMix64) -> f64 {
        match self {
            Self::ErrorRate(rate) => f64::from(u8::from(random.uniform() < rate)),
            Self::Normal(deviation) => {
                // The polar method's first number.
                loop {
                    let (x, y) = (2.0 * random.uniform() - 1.0, 2.0 * random.uniform() - 1.0);
                    let square = x * x + y * y;
                    if square > 0.0 && square < 1.0 {
                        return deviation * x * (-2.0 * square.ln() / square).sqrt();
                    }
                }
            }
        }
    }
}
