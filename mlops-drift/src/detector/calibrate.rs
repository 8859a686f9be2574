//! Ask for one false alarm in so many updates, get the threshold.
//!
//! No two detectors mean the same by their thresholds. What a user can judge is how often an unchanged stream alarms.
//! [`Calibration::run`] finds the strictness at which the first N updates after a start hold one false alarm on
//! average, by simulating the detector on the stream that it is to watch, and then verifies it on draws that it has
//! not seen.
//!
//! Why the first N updates: some detectors compare with the best that they ever saw ([`Ddm`], [`Eddm`], [`HddmA`],
//! [`Rddm`] until it forgets). Their false alarms crowd after each start and grow rare with age, so that the mean time
//! between two of them grows with the time that one looks; the expected number within N updates is well defined for
//! every detector. How often they alarm in the N updates after that is given beside it.
//!
//! `Ddm` fires at the first error after nothing but right answers, however strict it is. Its calibrated warm-up is long
//! enough that one start in a thousand sees no error in it: 66 updates at an error rate of 0.1, 688 at 0.01.
//!
//! # One false alarm in 10 000 updates
//!
//! Printed by `examples/run_lengths.rs` with seed 7, with standard errors. The delay is the mean number of updates
//! until a change 2 000 updates after the start is found, over 400 starts; where some were not found within 40 000
//! updates, their share stands behind it and they count as 40 000.
//!
//! Errors at a rate of 0.1 that rises to 0.2:
//!
//! | detector | setting | updates an alarm | in the next 10 000 | delay |
//! |---|---|---|---|---|
//! | `Adwin` | 4.9918e-1 | 10499 +- 563 | 9434 | 132 |
//! | `Cusum` | 2.1249e1 | 9569 +- 434 | 8403 | 189 |
//! | `Ddm` | 2.6643e0 | 8163 +- 548 | 137931 | 332 |
//! | `Ecdd` | 1.5190e0 | 10076 +- 488 | 10840 | 3771, 3.5 % missed |
//! | `Eddm` | 7.2015e-1 | 9368 +- 644 | 444444 | 909 |
//! | `Fhddm` | none | 14652 at the nearest | | |
//! | `Gma` | 7.0020e-2 | 9524 +- 451 | 9238 | 137 |
//! | `HddmA` | 1.5317e-2 | 9238 +- 515 | 16878 | 422 |
//! | `HddmW` | 2.5626e-2 | 10256 +- 556 | 10025 | 180 |
//! | `PageHinkley` | 2.2217e1 | 9412 +- 383 | 6981 | 185 |
//! | `Rddm` | 2.4343e0 | 10309 +- 523 | 34783 | 195 |
//! | `Stepd` | 4.2030e-4 | 9195 +- 439 | 10256 | 364 |
//!
//! Errors at a rate of 0.01 that rises to 0.03:
//!
//! | detector | setting | updates an alarm | in the next 10 000 | delay |
//! |---|---|---|---|---|
//! | `Adwin` | none | 44944 at the nearest | | |
//! | `Cusum` | 6.9344e0 | 9615 +- 408 | 8439 | 329 |
//! | `Ddm` | 2.5265e0 | 10127 +- 608 | 34188 | 1030, 1.5 % missed |
//! | `Ecdd` | 2.5377e0 | 9501 +- 427 | 9685 | 25886, 61.3 % missed |
//! | `Eddm` | 7.6010e-1 | 10309 +- 551 | 20942 | 495 |
//! | `Fhddm` | none | 42105 at the nearest | | |
//! | `Gma` | 2.8028e-2 | 9346 +- 440 | 8457 | 298 |
//! | `HddmA` | 1.6186e-1 | 10204 +- 543 | 12658 | 31493, 72.8 % missed |
//! | `HddmW` | 1.3959e-1 | 10309 +- 725 | 43956 | 32968, 73.0 % missed |
//! | `PageHinkley` | 7.2283e0 | 9852 +- 374 | 7130 | 347 |
//! | `Rddm` | 2.9306e0 | 10000 +- 486 | 63492 | 1035, 1.0 % missed |
//! | `Stepd` | 6.5675e-5 | 9756 +- 448 | 9434 | 2174, 0.5 % missed |
//!
//! Normal numbers whose mean moves by one standard deviation:
//!
//! | detector | setting | updates an alarm | in the next 10 000 | delay |
//! |---|---|---|---|---|
//! | `Adwin` | 2.5649e-1 | 8830 +- 456 | 9174 | 30 |
//! | `Cusum` | 6.9905e1 | 9662 +- 417 | 8811 | 59 |
//! | `Gma` | 2.1032e-1 | 9412 +- 449 | 10101 | 24 |
//! | `Kswin` | 2.9322e-4 | 12903 +- 713 | 14870 | 5150, 3.5 % missed |
//! | `PageHinkley` | 7.3498e1 | 9217 +- 352 | 7353 | 57 |
//!
//! `Fhddm` compares whole numbers of errors in its window of 100, so its run lengths come in steps, wide ones for small
//! rates: choose a longer window. `Adwin`'s bound holds for any numbers in 0..=1 and is loose for rare errors: it is
//! quieter than asked for at its most eager. `Ecdd` forgets within a few updates and compares with a rate that takes
//! in the change: it finds jumps, not such rises.

use mlops_core::Seed;
use serde::{Deserialize, Serialize};

use super::{
    Adwin, AdwinSettings, AnyDetector, Cusum, CusumSettings, Ddm, DdmSettings, Detector, Direction, Ecdd,
    EcddSettings, Eddm, EddmSettings, Fhddm, FhddmSettings, Gma, GmaSettings, HddmA, HddmASettings, HddmW,
    HddmWSettings, Kswin, KswinSettings, PageHinkley, PageHinkleySettings, Rddm, RddmSettings, Stepd,
    StepdSettings,
};
use crate::random::SplitMix64;
use crate::version::versioned;
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
    /// Normal numbers with this mean and this standard deviation.
    NormalAt(f64, f64),
}

/// What to calibrate to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Calibration {
    /// Which detector.
    pub kind: DetectorKind,
    /// The stream that it will watch while nothing changes.
    pub stream: Stationary,
    /// N: the first N updates after a start hold one false alarm on average. 100 to 1 000 000.
    pub updates_per_false_alarm: f64,
    /// Of the simulation: the same seed gives the same threshold.
    pub seed: Seed,
    /// How many starts to simulate, N updates each: the run length is then known to about 1 / sqrt of it, or a few
    /// times that where alarms come in crowds. 400 gives 5 %; at least 50.
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
    /// Updates for each false alarm in the first N after a start, on draws that the search did not see.
    pub run_length: f64,
    /// The standard error of `run_length`, from the differences between starts.
    pub standard_error: f64,
    /// Updates for each false alarm in the N after those; infinite if there was none.
    pub later_run_length: f64,
}

/// How long a detector takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Delay {
    /// The mean number of updates from the change to the first alarm after it; a change that was not found counts as
    /// long as was looked for it.
    pub mean: f64,
    /// The share of changes that were not found.
    pub missed: f64,
}

versioned!(Calibration, "calibration");

impl Calibration {
    /// Calibrates to `updates_per_false_alarm` on this stream, with an effort of 400.
    pub fn new(kind: DetectorKind, stream: Stationary, updates_per_false_alarm: f64, seed: Seed) -> Self {
        Self { kind, stream, updates_per_false_alarm, seed, effort: 400 }
    }

    /// Searches the setting and verifies it.
    ///
    /// Cost: about 16 times `effort` times `updates_per_false_alarm` updates.
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
        let search = self.seed.derive("search");
        let length = |strictness: f64, seed: Seed, goes_on: bool| {
            let (detector, _) = self.build(strictness)?;
            first_alarms(&detector, self.stream, seed, target as u64, (self.effort, goes_on))
        };
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..14 {
            let middle = 0.5 * (low + high);
            if length(middle, search, false)?.mean > 1.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let found = length(high, self.seed.derive("verify"), true)?;
        let run_length = target / found.mean;
        let standard_error = run_length * found.standard_error / found.mean;
        // Near infinite if nothing ever fired.
        if !(run_length.is_finite() && (run_length - target).abs() <= 0.2 * target + 3.0 * standard_error) {
            return Err(Error::unsupported(format!(
                "no setting of {:?} gives one false alarm in {target} updates here: the nearest gives one in {run_length:.0}",
                self.kind
            )));
        }
        let (detector, setting) = self.build(high)?;
        let later_run_length = target / found.later;
        Ok(Calibrated { detector, setting, run_length, standard_error, later_run_length })
    }

    fn check(&self) -> Result<()> {
        let sound = match self.stream {
            Stationary::ErrorRate(rate) => rate > 0.0 && rate < 1.0,
            Stationary::Normal(deviation) => deviation > 0.0 && deviation.is_finite(),
            Stationary::NormalAt(mean, deviation) => {
                mean.is_finite() && deviation > 0.0 && deviation.is_finite()
            }
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
        if takes_errors && !matches!(self.stream, Stationary::ErrorRate(_)) {
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
            Stationary::Normal(deviation) | Stationary::NormalAt(_, deviation) => deviation,
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
                let warm_up = match self.stream {
                    // One start in a thousand sees no error.
                    Stationary::ErrorRate(rate) => (1e-3f64.ln() / (-rate).ln_1p()).ceil().max(30.0) as u32,
                    _ => 30,
                };
                let settings =
                    DdmSettings { warm_up, drift, warning: drift * 2.0 / 3.0, ..DdmSettings::default() };
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
                let drift = 0.999 - 0.98 * strictness;
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

/// Alarms of an unchanged stream, for each start.
struct Alarms {
    /// In the first updates.
    mean: f64,
    standard_error: f64,
    /// In as many after those.
    later: f64,
}

fn first_alarms(
    detector: &AnyDetector,
    stream: Stationary,
    seed: Seed,
    updates: u64,
    (starts, goes_on): (u32, bool),
) -> Result<Alarms> {
    let mut random = SplitMix64::new(seed.value());
    let (mut sum, mut squares, mut later) = (0.0, 0.0, 0.0);
    for _ in 0..starts {
        let mut detector = detector.clone();
        let mut alarms = || {
            let mut alarms = 0.0;
            for _ in 0..updates {
                alarms += f64::from(u8::from(detector.update(stream.draw(&mut random))?.is_drift()));
            }
            Ok::<f64, Error>(alarms)
        };
        let first = alarms()?;
        sum += first;
        squares += first * first;
        later += if goes_on { alarms()? } else { 0.0 };
    }
    let starts = f64::from(starts);
    let mean = sum / starts;
    let variance = (squares / starts - mean * mean).max(0.0);
    Ok(Alarms { mean, standard_error: (variance / starts).sqrt(), later: later / starts })
}

/// How long this detector takes to find a change from one stream to another, over `repeats` fresh starts with `lead`
/// unchanged updates each; it is looked for during 20 `lead`.
///
/// # Errors
/// `Invalid` if `lead` or `repeats` is 0; `Data` if the streams are outside of the detector's domain.
pub fn mean_delay(
    detector: &AnyDetector,
    (before, after): (Stationary, Stationary),
    lead: u32,
    repeats: u32,
    seed: Seed,
) -> Result<Delay> {
    if lead == 0 || repeats == 0 {
        return Err(Error::invalid(format!(
            "{repeats} repeats with a lead of {lead}: want at least 1 of each"
        )));
    }
    let mut random = SplitMix64::new(seed.value());
    let (mut total, mut missed) = (0u64, 0u32);
    for _ in 0..repeats {
        let mut detector = detector.clone();
        detector.reset();
        for _ in 0..lead {
            detector.update(before.draw(&mut random))?;
        }
        let longest = 20 * u64::from(lead);
        let mut taken = 0;
        let mut found = false;
        while taken < longest && !found {
            taken += 1;
            found = detector.update(after.draw(&mut random))?.is_drift();
        }
        total += taken;
        missed += u32::from(!found);
    }
    let repeats = f64::from(repeats);
    Ok(Delay { mean: total as f64 / repeats, missed: f64::from(missed) / repeats })
}

impl Stationary {
    fn draw(self, random: &mut SplitMix64) -> f64 {
        match self {
            Self::ErrorRate(rate) => f64::from(u8::from(random.uniform() < rate)),
            Self::Normal(deviation) => Self::NormalAt(0.0, deviation).draw(random),
            Self::NormalAt(mean, deviation) => mean + deviation * random.normal(),
        }
    }
}
