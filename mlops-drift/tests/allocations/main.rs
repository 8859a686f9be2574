//! An update allocates nothing once a state has its size, drifts included.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use allocation_counter::measure;
use mlops_core::Seed;
use mlops_drift::Sample;
use mlops_drift::detector::*;
use mlops_drift::gap_count::{GapCounts, Reference, SlidingGapCounts};
use rand::RngExt;

/// Errors whose rate changes every 1500 values.
fn errors(n: usize) -> Vec<f64> {
    let mut random = Seed::new(1).rng();
    let rate = |index: usize| if (index / 1500).is_multiple_of(2) { 0.1 } else { 0.5 };
    (0..n).map(|index| f64::from(u8::from(random.random::<f64>() < rate(index)))).collect()
}

/// Runs the first half, then counts the allocations and the drifts of the second.
fn second_half(values: &[f64], mut update: impl FnMut(f64) -> bool) -> (u64, u32) {
    let (first, second) = values.split_at(values.len() / 2);
    first.iter().for_each(|value| {
        update(*value);
    });
    let mut drifts = 0;
    let info = measure(|| second.iter().for_each(|value| drifts += u32::from(update(*value))));
    (info.count_total, drifts)
}

#[test]
fn detectors_allocate_nothing() {
    let gma = GmaSettings { threshold: 0.1, ..GmaSettings::default() };
    let detectors: [AnyDetector; 16] = [
        Adwin::new(AdwinSettings::default()).unwrap().into(),
        Adwin::new(AdwinSettings { clock: 1, ..AdwinSettings::river() }).unwrap().into(),
        Cusum::new(CusumSettings::default()).unwrap().into(),
        Ddm::new(DdmSettings::default()).unwrap().into(),
        Ecdd::new(EcddSettings::default()).unwrap().into(),
        Eddm::new(EddmSettings::default()).unwrap().into(),
        Fhddm::new(FhddmSettings::default()).unwrap().into(),
        Fhddm::new(FhddmSettings { short_window: Some(25), ..FhddmSettings::river() }).unwrap().into(),
        Gma::new(gma).unwrap().into(),
        HddmA::new(HddmASettings::moa()).unwrap().into(),
        HddmW::new(HddmWSettings::moa()).unwrap().into(),
        Kswin::new(KswinSettings::default()).unwrap().into(),
        Kswin::new(KswinSettings::river(7)).unwrap().into(),
        PageHinkley::new(PageHinkleySettings::default()).unwrap().into(),
        Rddm::new(RddmSettings { longest_concept: 2000, kept: 500, ..RddmSettings::default() })
            .unwrap()
            .into(),
        Stepd::new(StepdSettings::default()).unwrap().into(),
    ];
    let values = errors(12_000);
    for mut detector in detectors {
        let name = format!("{detector:?}");
        let (allocations, drifts) = second_half(&values, |value| detector.update(value).unwrap().is_drift());
        assert_eq!(allocations, 0, "{name}");
        assert!(drifts > 0, "{name} never fired");
    }
}

#[test]
fn banks_allocate_nothing() {
    let streams = 37;
    let row = |value: f64| -> Vec<f64> {
        // The last is skipped now and then.
        (0..streams).map(|stream| if stream == 36 && value == 1.0 { f64::NAN } else { value }).collect()
    };
    let mut bank = DdmBank::new(DdmSettings::default(), streams).unwrap();
    let mut list = DetectorList::new(Adwin::new(AdwinSettings::default()).unwrap(), streams);
    let rows: Vec<Vec<f64>> = errors(8000).into_iter().map(row).collect();
    let (first, second) = rows.split_at(4000);
    for row in first {
        bank.update(row).unwrap();
        list.update(row).unwrap();
    }
    let mut drifts = 0;
    let info = measure(|| {
        for row in second {
            bank.update(row).unwrap();
            list.update(row).unwrap();
            drifts += bank.drifted().count() + list.drifted().count();
        }
    });
    assert_eq!(info.count_total, 0);
    assert!(drifts > 0);
}

#[test]
fn gap_counts_allocate_nothing() {
    let mut random = Seed::new(2).rng();
    let values: Vec<f64> = (0..4000).map(|_| random.random()).collect();
    for size in [10, 3000] {
        let sample = Sample::new((0..size).map(|_| random.random::<f64>())).unwrap();
        let reference = Reference::new(&sample).unwrap();
        let mut counts = GapCounts::new(&reference);
        let mut other = GapCounts::new(&reference);
        other.update_all(&reference, &values).unwrap();
        let mut window = SlidingGapCounts::new(&reference, 1000).unwrap();
        let (allocations, _) = second_half(&values, |value| {
            counts.update(&reference, value).unwrap();
            counts.update_all(&reference, &[value, value]).unwrap();
            counts.merge(&other).unwrap();
            counts.subtract(&other).unwrap();
            window.update(&reference, value).unwrap();
            false
        });
        assert_eq!(allocations, 0, "{size}");
    }
}
