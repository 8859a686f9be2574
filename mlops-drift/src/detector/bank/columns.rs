//! Detectors in columns.

use pulp::{Arch, Simd, WithSimd};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::kernels::Banked;
use super::lanes::{DRIFT, Kernel, LANES, TOLD};
use super::{Bank, same_number};
use crate::detector::{Reason, Signal};
use crate::float::Number;
use crate::version::readable;
use crate::{Error, Result};

/// Detectors of one kind in columns, 16 streams a block: an update of all streams is one pass over memory that
/// the compiler turns into vector instructions.
///
/// Memory: 8 bytes for each number of the state (DDM 5, CUSUM and GMA 3, ECDD 4, Page-Hinkley 7, HDDM_A 9) and
/// 8 for the signal. No update allocates. Serialises with a version.
///
/// ```
/// use mlops_drift::detector::{Bank, Ddm, DdmSettings, DetectorBank, Signal};
///
/// let mut bank = DetectorBank::<Ddm>::new(DdmSettings::default(), 3)?;
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
///
/// A thousand streams by one calibrated detector: take its settings whole, for a calibrated threshold belongs to the
/// direction and the tolerance beside it.
///
/// ```
/// # use mlops_core::Seed;
/// use mlops_drift::detector::{AnyDetector, Bank, Calibration, DetectorBank, DetectorKind, PageHinkley, Stationary};
///
/// # let updates = 200.0;
/// let wanted = Calibration::new(DetectorKind::PageHinkley, Stationary::ErrorRate(0.1), updates, Seed::new(1));
/// # let wanted = Calibration { effort: 50, ..wanted };
/// if let AnyDetector::PageHinkley(detector) = wanted.run()?.detector {
///     let bank = DetectorBank::<PageHinkley>::new(detector.settings().clone(), 1000)?;
///     assert_eq!(bank.streams(), 1000);
/// }
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorBank<D: Banked> {
    settings: D::Settings,
    /// Knows the domain.
    single: D,
    kernel: D::Kernel,
    streams: usize,
    blocks: Vec<<D::Kernel as Kernel>::Block>,
}

impl<D: Banked> DetectorBank<D> {
    /// A bank of this many streams that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: D::Settings, streams: usize) -> Result<Self> {
        let (single, kernel) = D::prepare(&settings)?;
        let blocks = vec![kernel.fresh(); streams.div_ceil(LANES)];
        Ok(Self { settings, single, kernel, streams, blocks })
    }

    /// The settings of all streams.
    pub fn settings(&self) -> &D::Settings {
        &self.settings
    }

    /// Where a stream lies, if there is one.
    fn place(&self, stream: usize) -> Option<(usize, usize)> {
        (stream < self.streams).then_some((stream / LANES, stream % LANES))
    }
}

impl<D: Banked> Bank for DetectorBank<D> {
    fn streams(&self) -> usize {
        self.streams
    }

    fn update(&mut self, values: &[f64]) -> Result<()> {
        same_number(values, self.streams)?;
        let (low, high) = D::DOMAIN;
        // Branch-free, so that it does not slow the pass below.
        if values.iter().fold(false, |outside, value| outside | (*value < low) | (*value > high)) {
            values.iter().filter(|value| !value.is_nan()).try_for_each(|value| self.single.check(*value))?;
        }
        Arch::new().dispatch(Pass { kernel: &self.kernel, blocks: &mut self.blocks, values });
        Ok(())
    }

    fn signal(&self, stream: usize) -> Option<Signal> {
        let (block, lane) = self.place(stream)?;
        let level = D::Kernel::level(&self.blocks[block], lane);
        Some(if level == DRIFT {
            Signal::Drift
        } else if level == 1.0 {
            Signal::Warning
        } else {
            Signal::Stable
        })
    }

    fn reason(&self, stream: usize) -> Option<Reason> {
        if self.signal(stream)? == Signal::Stable {
            return None;
        }
        let (block, lane) = self.place(stream)?;
        let (value, limit) = self.kernel.reason(&self.blocks[block], lane);
        Some(Reason { statistic: D::STATISTIC, value, limit })
    }

    fn reset(&mut self, stream: usize) {
        if let Some((block, lane)) = self.place(stream) {
            let start = self.kernel.fresh();
            let row = D::Kernel::row(&start, lane);
            D::Kernel::set(&mut self.blocks[block], lane, &row);
        }
    }
}

/// One value for each lane of the blocks.
struct Pass<'a, K: Kernel> {
    kernel: &'a K,
    blocks: &'a mut [K::Block],
    values: &'a [f64],
}

impl<K: Kernel> WithSimd for Pass<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { kernel, blocks, values } = self;
        let (whole, rest) = values.as_chunks::<LANES>();
        for (block, values) in blocks.iter_mut().zip(whole) {
            kernel.pass(block, values);
        }
        if let (Some(block), false) = (blocks.last_mut(), rest.is_empty()) {
            let mut values = [f64::NAN; LANES];
            values[..rest.len()].copy_from_slice(rest);
            kernel.pass(block, &values);
        }
    }
}

/// The state of each stream, its level last.
#[derive(Serialize, Deserialize)]
struct Stored<S> {
    version: u32,
    settings: S,
    #[serde(default)]
    rows: Vec<Vec<Number>>,
    /// The columns of version 1, which held DDM alone: counts, rates, least rates with deviations, levels.
    #[serde(default, skip_serializing)]
    counts: Vec<f64>,
    #[serde(default, skip_serializing)]
    rates: Vec<f64>,
    #[serde(default, skip_serializing)]
    least: Vec<Option<(f64, f64)>>,
    #[serde(default, skip_serializing)]
    levels: Vec<u8>,
}

impl<D: Banked> Serialize for DetectorBank<D> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |stream: usize| {
            let row = D::Kernel::row(&self.blocks[stream / LANES], stream % LANES);
            row.into_iter().map(Number).collect()
        };
        Stored {
            version: VERSION,
            settings: &self.settings,
            rows: (0..self.streams).map(row).collect(),
            counts: Vec::new(),
            rates: Vec::new(),
            least: Vec::new(),
            levels: Vec::new(),
        }
        .serialize(serializer)
    }
}

impl<'de, D: Banked<Settings: DeserializeOwned>> Deserialize<'de> for DetectorBank<D> {
    fn deserialize<T: serde::Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        Self::restore(Stored::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl<D: Banked> DetectorBank<D> {
    fn restore(stored: Stored<D::Settings>) -> Result<Self> {
        readable("bank", stored.version, VERSION)?;
        let rows: Vec<Vec<f64>> = if stored.version == 1 && D::NAME == "ddm" {
            version_1(&stored)?
        } else {
            stored.rows.iter().map(|row| row.iter().map(|number| number.0).collect()).collect()
        };
        if stored.version == 1 && D::NAME != "ddm" {
            return Err(Error::unsupported(format!(
                "the stored bank has version 1, which only banks of ddm had, not {}",
                D::NAME
            )));
        }
        let mut bank = Self::new(stored.settings, rows.len())?;
        let damaged = |stream: usize| {
            Error::data(format!("the stored bank is damaged: stream {stream} is no state of {}", D::NAME))
        };
        for (stream, row) in rows.iter().enumerate() {
            let level = row.last().copied().unwrap_or(f64::NAN);
            let upgraded = (stored.version < VERSION).then(|| bank.kernel.upgrade(row));
            let row = upgraded.map_or(Some(row.clone()), |row| row).ok_or_else(|| damaged(stream))?;
            if row.iter().any(|number| number.is_nan()) {
                return Err(damaged(stream));
            }
            let block = &mut bank.blocks[stream / LANES];
            if ![0.0, 1.0, DRIFT, TOLD].contains(&level) || !D::Kernel::set(block, stream % LANES, &row) {
                return Err(damaged(stream));
            }
        }
        Ok(bank)
    }
}

fn version_1<S>(stored: &Stored<S>) -> Result<Vec<Vec<f64>>> {
    let Stored { counts, rates, least, levels, .. } = stored;
    if [rates.len(), least.len(), levels.len()] != [counts.len(); 3] {
        return Err(Error::data("the stored bank is damaged: want columns of one length"));
    }
    let row = |stream: usize| {
        let (rate, deviation) = least[stream].unwrap_or((f64::INFINITY, f64::INFINITY));
        vec![counts[stream], rates[stream], rate, deviation, f64::from(levels[stream])]
    };
    Ok((0..counts.len()).map(row).collect())
}

const VERSION: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::*;
    use crate::random::SplitMix64;
    use proptest::prelude::*;

    /// Runs a bank beside single detectors; how many drifts there were.
    fn compare<D: Banked<Settings: DeserializeOwned> + Clone + PartialEq>(
        settings: &D::Settings,
        single: &D,
        seed: u64,
        scale: f64,
    ) -> u32 {
        let streams = 21;
        let mut bank = DetectorBank::<D>::new(settings.clone(), streams).unwrap();
        let mut singles = vec![single.clone(); streams];
        let mut random = SplitMix64::new(seed);
        let mut drifts = 0;
        for step in 0..700 {
            let values: Vec<f64> = (0..streams)
                .map(|stream| {
                    let p = if step < 300 { 0.1 } else { 0.1 + 0.04 * stream as f64 };
                    match random.uniform() {
                        u if u < 0.01 => f64::NAN,
                        u if u < 0.1 => scale * p,
                        _ => scale * f64::from(u8::from(random.uniform() < p)),
                    }
                })
                .collect();
            bank.update(&values).unwrap();
            if step == 350 {
                bank.reset(3);
                singles[3].reset();
                let json = serde_json::to_string(&bank).unwrap();
                let again: DetectorBank<D> = serde_json::from_str(&json).unwrap();
                assert_eq!(again, bank);
                bank = again;
            }
            for (stream, (single, value)) in singles.iter_mut().zip(&values).enumerate() {
                let mut want = single.signal();
                if value.is_nan() {
                    // What was told is not told again.
                    want = if want.is_drift() { Signal::Stable } else { want };
                } else if step != 350 || stream != 3 {
                    want = single.update(*value).unwrap();
                    drifts += u32::from(want.is_drift());
                }
                assert_eq!(bank.signal(stream), Some(want), "{} {step} {stream}", D::NAME);
                let reason = if want == Signal::Stable { None } else { single.reason() };
                assert_eq!(bank.reason(stream), reason, "{} {step} {stream}", D::NAME);
            }
        }
        drifts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3))]

        #[test]
        fn each_stream_is_a_detector_of_its_own(seed in any::<u64>()) {
            for settings in [DdmSettings::river(), DdmSettings::moa()] {
                prop_assert!(compare(&settings, &Ddm::new(settings.clone())?, seed, 1.0) > 5);
            }
            for direction in [Direction::Both, Direction::Up, Direction::Down] {
                for standardised in [false, true] {
                    let settings = PageHinkleySettings {
                        threshold: 5.0, direction, standardised, ..PageHinkleySettings::default()
                    };
                    compare(&settings, &PageHinkley::new(settings.clone())?, seed, 3.0);
                }
            }
            for settings in [PageHinkleySettings::river(), PageHinkleySettings::moa()] {
                let settings = PageHinkleySettings { threshold: 5.0, ..settings };
                prop_assert!(compare(&settings, &PageHinkley::new(settings.clone())?, seed, 3.0) > 5);
            }
            let settings = CusumSettings { threshold: 5.0, ..CusumSettings::default() };
            prop_assert!(compare(&settings, &Cusum::new(settings.clone())?, seed, 3.0) > 5);
            let settings = GmaSettings { threshold: 0.2, ..GmaSettings::default() };
            prop_assert!(compare(&settings, &Gma::new(settings.clone())?, seed, 3.0) > 5);
            let settings = EcddSettings::default();
            prop_assert!(compare(&settings, &Ecdd::new(settings.clone())?, seed, 1.0) > 5);
            for decrease in [Decrease::Ignore, Decrease::Restart, Decrease::Report] {
                let settings = HddmASettings { decrease, ..HddmASettings::default() };
                prop_assert!(compare(&settings, &HddmA::new(settings.clone())?, seed, 1.0) > 5);
            }
        }
    }

    #[test]
    fn a_value_outside_the_domain_changes_nothing() {
        let fresh = DetectorBank::<Ddm>::new(DdmSettings::default(), 2).unwrap();
        let mut bank = fresh.clone();
        assert!(bank.update(&[0.0, 1.5]).is_err());
        assert!(bank.update(&[f64::NEG_INFINITY, 0.0]).is_err());
        assert!(bank.update(&[0.0]).is_err());
        assert_eq!(bank, fresh);
        let fresh = DetectorBank::<Cusum>::new(CusumSettings::default(), 20).unwrap();
        let mut bank = fresh.clone();
        let mut values = vec![1e300; 20];
        values[19] = f64::INFINITY;
        assert!(bank.update(&values).is_err());
        assert_eq!(bank, fresh);
        assert_eq!(bank.signal(20), None);
    }

    #[test]
    fn a_damaged_store_is_refused() {
        let stored = r#"{"version":3,"settings":{"warm_up":29,"delta":0.0,"threshold":1.0},"rows":"#;
        for rows in ["[[1,0,\"NaN\",0]]}", "[[1,0,0]]}", "[[1,0,0,4]]}", "[[1,0,0,0,0]]}", "[[]]}"] {
            assert!(
                serde_json::from_str::<DetectorBank<Cusum>>(&format!("{stored}{rows}")).is_err(),
                "{rows}"
            );
        }
        assert!(serde_json::from_str::<DetectorBank<Cusum>>(&format!("{stored}[[1,0,0,0]]}}")).is_ok());
    }
}
