//! Thousands of streams side by side.

use serde::{Deserialize, Serialize};

use super::{Ddm, DdmSettings, Signal, rate};
use crate::{Error, Result};

/// One [`Ddm`] for each of many streams (features, segments, models), all with the same settings, in columns:
/// one update of all streams is one pass over memory that the compiler turns into vector instructions.
///
/// Each stream gives what a [`Ddm`] of its own would give, update by update. 40 bytes a stream.
///
/// ```
/// use mlops_drift::detector::{DdmBank, DdmSettings, Signal};
///
/// let mut bank = DdmBank::new(DdmSettings::default(), 3)?;
/// for step in 0..400 {
///     // The second stream breaks at step 200.
///     let broken = if step < 200 { 0.0 } else { 1.0 };
///     bank.update(&[f64::from(step % 5 == 0), broken, 0.0])?;
///     if step == 200 {
///         assert_eq!(bank.signal(1), Some(Signal::Drift));
///         assert_eq!(bank.drifted().collect::<Vec<_>>(), [1]);
///     }
/// }
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct DdmBank {
    settings: DdmSettings,
    counts: Vec<f64>,
    rates: Vec<f64>,
    least_rates: Vec<f64>,
    least_deviations: Vec<f64>,
    /// 0 stable, 1 warning, 2 drift.
    levels: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    settings: DdmSettings,
    counts: Vec<f64>,
    rates: Vec<f64>,
    /// `None` before the first decision.
    least: Vec<Option<(f64, f64)>>,
    levels: Vec<u8>,
}

impl DdmBank {
    /// A bank of this many streams that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a threshold is not above 0.
    pub fn new(settings: DdmSettings, streams: usize) -> Result<Self> {
        Ddm::new(settings.clone())?;
        Ok(Self {
            settings,
            counts: vec![0.0; streams],
            rates: vec![0.0; streams],
            least_rates: vec![f64::INFINITY; streams],
            least_deviations: vec![f64::INFINITY; streams],
            levels: vec![0; streams],
        })
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.counts.len()
    }

    /// Takes in the next value of each stream; NaN skips a stream, which then keeps its signal.
    ///
    /// # Errors
    /// `Invalid` if there are more or fewer values than streams; `Data` if a value lies outside 0..=1. Then
    /// nothing changes.
    pub fn update(&mut self, values: &[f64]) -> Result<()> {
        if values.len() != self.streams() {
            return Err(Error::invalid(format!("{} values for {} streams", values.len(), self.streams())));
        }
        // Branch-free, so that it does not slow the pass below.
        if values.iter().fold(false, |outside, value| outside | (*value < 0.0) | (*value > 1.0)) {
            values.iter().filter(|value| !value.is_nan()).try_for_each(|value| rate(*value).map(|_| ()))?;
        }
        let Self { settings, counts, rates, least_rates, least_deviations, levels } = self;
        let warm_up = f64::from(settings.warm_up);
        let first_minimum = warm_up - f64::from(u8::from(settings.early_minimum));
        let state =
            counts.iter_mut().zip(rates).zip(least_rates.iter_mut().zip(least_deviations)).zip(levels);
        for (value, (((count, mean), (least_rate, least_deviation)), level)) in values.iter().zip(state) {
            let skipped = value.is_nan();
            let over = *level == 2 && !skipped;
            let old_count = if over { 0.0 } else { *count };
            let old_mean = if over { 0.0 } else { *mean };
            let old_rate = if over { f64::INFINITY } else { *least_rate };
            let old_deviation = if over { f64::INFINITY } else { *least_deviation };
            let new_count = old_count + 1.0;
            let new_mean = old_mean + (value - old_mean) / new_count;
            let deviation = (new_mean * (1.0 - new_mean) / new_count).sqrt();
            let sum = new_mean + deviation;
            let active = new_count > first_minimum;
            let lower = active && sum <= old_rate + old_deviation;
            let new_rate = if lower { new_mean } else { old_rate };
            let new_deviation = if lower { deviation } else { old_deviation };
            let warns = active && sum > new_rate + settings.warning * new_deviation;
            let drifts = new_count > warm_up && sum > new_rate + settings.drift * new_deviation;
            let new_level = if drifts { 2 } else { u8::from(warns) };
            *count = if skipped { old_count } else { new_count };
            *mean = if skipped { old_mean } else { new_mean };
            *least_rate = if skipped { old_rate } else { new_rate };
            *least_deviation = if skipped { old_deviation } else { new_deviation };
            *level = if skipped { *level } else { new_level };
        }
        Ok(())
    }

    /// What the last update of a stream said; `None` if there is no such stream.
    pub fn signal(&self, stream: usize) -> Option<Signal> {
        self.levels.get(stream).map(|level| match level {
            0 => Signal::Stable,
            1 => Signal::Warning,
            _ => Signal::Drift,
        })
    }

    /// The streams that the last update found drifted.
    pub fn drifted(&self) -> impl Iterator<Item = usize> + '_ {
        self.levels.iter().enumerate().filter(|(_, level)| **level == 2).map(|(stream, _)| stream)
    }

    /// The error rate of a stream since its last drift.
    pub fn rate(&self, stream: usize) -> Option<f64> {
        self.rates.get(stream).copied()
    }
}

impl TryFrom<Stored> for DdmBank {
    type Error = Error;

    fn try_from(Stored { version, settings, counts, rates, least, levels }: Stored) -> Result<Self> {
        if version != VERSION {
            return Err(Error::unsupported(format!(
                "the stored bank has version {version}, this build reads {VERSION}"
            )));
        }
        let streams = counts.len();
        if [rates.len(), least.len(), levels.len()] != [streams; 3] || levels.iter().any(|level| *level > 2) {
            return Err(Error::data(
                "the stored bank is damaged: want columns of one length and levels up to 2",
            ));
        }
        let bank = Self::new(settings, 0)?;
        let least = least.into_iter().map(|least| least.unwrap_or((f64::INFINITY, f64::INFINITY)));
        let (least_rates, least_deviations) = least.unzip();
        Ok(Self { counts, rates, least_rates, least_deviations, levels, ..bank })
    }
}

impl From<DdmBank> for Stored {
    fn from(bank: DdmBank) -> Self {
        let least = bank.least_rates.into_iter().zip(bank.least_deviations);
        Self {
            version: VERSION,
            settings: bank.settings,
            counts: bank.counts,
            rates: bank.rates,
            least: least.map(|least| least.0.is_finite().then_some(least)).collect(),
            levels: bank.levels,
        }
    }
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::Detector;
    use crate::random::SplitMix64;

    #[test]
    fn each_stream_is_a_detector_of_its_own() {
        for settings in [DdmSettings::river(), DdmSettings::moa()] {
            let streams = 37;
            let mut bank = DdmBank::new(settings.clone(), streams).unwrap();
            let mut singles = vec![Ddm::new(settings).unwrap(); streams];
            let mut random = SplitMix64::new(3);
            let mut drifts = 0;
            for step in 0..1500 {
                let values: Vec<f64> = (0..streams)
                    .map(|stream| {
                        let p = if step < 700 { 0.1 } else { 0.1 + 0.02 * stream as f64 };
                        if random.uniform() < 0.01 {
                            f64::NAN
                        } else {
                            f64::from(u8::from(random.uniform() < p))
                        }
                    })
                    .collect();
                bank.update(&values).unwrap();
                for (stream, (single, value)) in singles.iter_mut().zip(&values).enumerate() {
                    if !value.is_nan() {
                        single.update(*value).unwrap();
                    }
                    assert_eq!(bank.signal(stream), Some(single.signal()), "{step} {stream}");
                    drifts += u32::from(single.signal().is_drift());
                }
            }
            assert!(drifts > 30);
            let json = serde_json::to_string(&bank).unwrap();
            assert_eq!(serde_json::from_str::<DdmBank>(&json).unwrap(), bank);
        }
    }

    #[test]
    fn a_value_outside_the_domain_changes_nothing() {
        let mut bank = DdmBank::new(DdmSettings::default(), 2).unwrap();
        assert!(bank.update(&[0.0, 1.5]).is_err());
        assert!(bank.update(&[f64::NEG_INFINITY, 0.0]).is_err());
        assert!(bank.update(&[0.0]).is_err());
        assert_eq!(bank, DdmBank::new(DdmSettings::default(), 2).unwrap());
    }
}
