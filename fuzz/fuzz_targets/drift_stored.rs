//! Whatever bytes were stored: a typed error, or a state that can go on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::Timestamp;
use mlops_drift::alert::{AlertPolicy, AlertState};
use mlops_drift::detector::{AnyDetector, Bank, DdmBank, Detector};
use mlops_drift::gap_count::{GapCounts, Reference, SlidingGapCounts, SlidingState};
use mlops_drift::monitor::{Baseline, CheckOptions, DriftReport, Monitor, MonitorState};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut detector) = serde_json::from_slice::<AnyDetector>(bytes) {
        for step in 0..64 {
            let _ = detector.update(f64::from(step % 3 == 0));
            let _ = (detector.signal(), detector.reason());
        }
    }
    if let Ok(mut bank) = serde_json::from_slice::<DdmBank>(bytes) {
        let _ = bank.update(&vec![1.0; bank.streams()]);
    }
    if let Ok(counts) = serde_json::from_slice::<GapCounts>(bytes) {
        let mut twice = counts.clone();
        let _ = twice.merge(&counts);
    }
    if let Ok(reference) = serde_json::from_slice::<Reference>(bytes) {
        let mut counts = GapCounts::new(&reference);
        let _ = counts.update(&reference, 1.0);
        let _ = (counts.kolmogorov_smirnov(&reference), counts.cramer_von_mises(&reference));
    }
    if let Ok((reference, state)) = serde_json::from_slice::<(Reference, SlidingState)>(bytes) {
        let _ = SlidingGapCounts::resume(&reference, state);
    }
    if let Ok(report) = serde_json::from_slice::<DriftReport>(bytes) {
        let _ = report.events(Timestamp::EPOCH);
    }
    if let Ok(mut state) = serde_json::from_slice::<AlertState>(bytes) {
        let _ = AlertPolicy::default().step(&mut state, Timestamp::EPOCH, &[]);
    }
    if let Ok((baseline, state)) = serde_json::from_slice::<(Baseline, MonitorState)>(bytes)
        && let Ok(monitor) = Monitor::resume(&baseline, state)
    {
        let _ = monitor.report(&CheckOptions::default());
    }
});
