//! Detectors one after the other.

use serde::{Deserialize, Serialize};

use super::{Bank, same_number};
use crate::detector::{Detector, Reason, Signal};
use crate::{Error, Result};

/// Detectors of any kind, one for each stream: for those whose state is a window ([`Adwin`](super::super::Adwin),
/// [`Kswin`](super::super::Kswin), ...), whatever implements [`Detector`]. Serialises with a version.
///
/// ```
/// use mlops_drift::detector::{Bank, DetectorList, Kswin, KswinSettings};
///
/// let mut bank = DetectorList::new(Kswin::new(KswinSettings::default())?, 2);
/// for step in 0..300 {
///     let value = f64::from(step * 37 % 101);
///     bank.update(&[value, if step < 200 { value } else { value + 500.0 }])?;
///     if let Some(stream) = bank.drifted().next() {
///         assert!(stream == 1 && bank.reason(stream).is_some());
///     }
/// }
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored<D>", into = "Stored<D>", bound(serialize = "D: Clone + Serialize"))]
pub struct DetectorList<D> {
    detectors: Vec<D>,
    /// Whether the last update skipped the stream.
    skipped: Vec<bool>,
}

#[derive(Serialize, Deserialize)]
struct Stored<D> {
    version: u32,
    detectors: Vec<D>,
    skipped: Vec<bool>,
}

impl<D: Detector + Clone> DetectorList<D> {
    /// This detector, as it is, for each of so many streams.
    pub fn new(detector: D, streams: usize) -> Self {
        Self { detectors: vec![detector; streams], skipped: vec![false; streams] }
    }
}

impl<D: Detector> DetectorList<D> {
    /// The detectors, in the order of the streams.
    pub fn detectors(&self) -> &[D] {
        &self.detectors
    }
}

impl<D: Detector> Bank for DetectorList<D> {
    fn streams(&self) -> usize {
        self.detectors.len()
    }

    fn update(&mut self, values: &[f64]) -> Result<()> {
        same_number(values, self.detectors.len())?;
        let pairs = || values.iter().enumerate().filter(|(_, value)| !value.is_nan());
        for (stream, value) in pairs() {
            self.detectors[stream].check(*value)?;
        }
        for (stream, value) in pairs() {
            self.detectors[stream].update(*value)?;
        }
        self.skipped.iter_mut().zip(values).for_each(|(skipped, value)| *skipped = value.is_nan());
        Ok(())
    }

    fn signal(&self, stream: usize) -> Option<Signal> {
        let signal = self.detectors.get(stream)?.signal();
        Some(if signal.is_drift() && self.skipped[stream] { Signal::Stable } else { signal })
    }

    fn reason(&self, stream: usize) -> Option<Reason> {
        let stable = self.signal(stream)? == Signal::Stable;
        self.detectors[stream].reason().filter(|_| !stable)
    }

    fn reset(&mut self, stream: usize) {
        if let Some(detector) = self.detectors.get_mut(stream) {
            detector.reset();
        }
    }
}

impl<D> TryFrom<Stored<D>> for DetectorList<D> {
    type Error = Error;

    fn try_from(Stored { version, detectors, skipped }: Stored<D>) -> Result<Self> {
        if version == VERSION && detectors.len() == skipped.len() {
            return Ok(Self { detectors, skipped });
        }
        if version == VERSION {
            return Err(Error::data(format!(
                "the stored list is damaged: {} detectors, {} marks",
                detectors.len(),
                skipped.len()
            )));
        }
        Err(Error::unsupported(format!("the stored list has version {version}, this build reads {VERSION}")))
    }
}

impl<D> From<DetectorList<D>> for Stored<D> {
    fn from(DetectorList { detectors, skipped }: DetectorList<D>) -> Self {
        Self { version: VERSION, detectors, skipped }
    }
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{AnyDetector, Eddm, EddmSettings, Stepd, StepdSettings};

    #[test]
    fn one_bad_value_changes_no_stream_and_a_store_goes_on() {
        let detectors: Vec<AnyDetector> = vec![
            Eddm::new(EddmSettings::default()).unwrap().into(),
            Stepd::new(StepdSettings::default()).unwrap().into(),
        ];
        let mut bank = DetectorList { detectors, skipped: vec![false; 2] };
        bank.update(&[1.0, f64::NAN]).unwrap();
        let before = bank.clone();
        assert!(bank.update(&[0.0, 0.5]).is_err());
        assert!(bank.update(&[0.0]).is_err());
        assert_eq!(bank, before);
        let json = serde_json::to_string(&bank).unwrap();
        assert_eq!(serde_json::from_str::<DetectorList<AnyDetector>>(&json).unwrap(), bank);
        let future = json.replacen("\"version\":1", "\"version\":7", 1);
        let error = serde_json::from_str::<DetectorList<AnyDetector>>(&future).unwrap_err();
        assert!(error.to_string().contains("version 7"), "{error}");
        bank.reset(0);
        assert_ne!(bank, before);
    }
}
