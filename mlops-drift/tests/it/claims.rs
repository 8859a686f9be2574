//! Published numbers, drawn again.

use mlops_core::Seed;
use mlops_drift::detector::calibrate::mean_delay;
use mlops_drift::detector::*;

use crate::oracle::SplitMix64;

/// Alarms in the first 10 000 errors at a rate of 0.1: the mean over fresh starts, and its standard error.
fn first_alarms(detector: &AnyDetector, starts: u32, seed: u64) -> (f64, f64) {
    let mut random = SplitMix64::new(seed);
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..starts {
        let mut detector = detector.clone();
        let mut alarms = 0.0;
        for _ in 0..10_000 {
            let error = f64::from(u8::from(random.uniform() < 0.1));
            alarms += f64::from(u8::from(detector.update(error).unwrap().is_drift()));
        }
        sum += alarms;
        squares += alarms * alarms;
    }
    let starts = f64::from(starts);
    let mean = sum / starts;
    (mean, ((squares / starts - mean * mean) / starts).sqrt())
}

/// The table in the docs of `calibrate`, on other draws. Four standard errors of both: one miss in 10 000.
#[test]
fn published_run_lengths_hold_on_other_draws() {
    let ddm = DdmSettings { warm_up: 66, drift: 2.6643, warning: 1.7762, ..DdmSettings::default() };
    let eddm = EddmSettings { drift: 0.720_15, warning: 0.860_075, ..EddmSettings::default() };
    let hddm_a = HddmASettings { drift: 1.5317e-2, warning: 7.6585e-2, ..HddmASettings::default() };
    let cusum = CusumSettings { threshold: 21.249, delta: 0.003, ..CusumSettings::default() };
    let gma = GmaSettings { threshold: 7.0020e-2, ..GmaSettings::default() };
    let published: [(AnyDetector, f64, f64); 5] = [
        (Ddm::new(ddm).unwrap().into(), 8163.0, 548.0),
        (Eddm::new(eddm).unwrap().into(), 9368.0, 644.0),
        (HddmA::new(hddm_a).unwrap().into(), 9238.0, 515.0),
        (Cusum::new(cusum).unwrap().into(), 9569.0, 434.0),
        (Gma::new(gma).unwrap().into(), 9524.0, 451.0),
    ];
    for (seed, (detector, length, error)) in published.into_iter().enumerate() {
        let (mean, standard_error) = first_alarms(&detector, 80, 1_000 + seed as u64);
        let want = 10_000.0 / length;
        let spread = (standard_error.powi(2) + (want * error / length).powi(2)).sqrt();
        assert!(
            (mean - want).abs() < 4.0 * spread,
            "{detector:?}: {mean} alarms, published {want} +- {spread}"
        );
    }
}

#[test]
fn every_detector_of_errors_can_be_calibrated_and_finds_a_change() {
    use DetectorKind::*;
    let (calm, risen) = (Stationary::ErrorRate(0.2), Stationary::ErrorRate(0.6));
    for kind in [Cusum, Ddm, Eddm, Gma, HddmA, PageHinkley, Rddm] {
        let wanted = Calibration { effort: 50, ..Calibration::new(kind, calm, 500.0, Seed::new(3)) };
        let found = wanted.run().unwrap();
        assert!((found.run_length - 500.0).abs() <= 100.0 + 3.0 * found.standard_error, "{found:?}");
        let delay = mean_delay(&found.detector, (calm, risen), 400, 20, Seed::new(4)).unwrap();
        assert!(delay.mean < 600.0 && delay.missed <= 0.1, "{kind:?}: {delay:?}");
    }
    let ddm = Calibration::new(Ddm, calm, 500.0, Seed::new(3));
    assert!(Calibration { stream: Stationary::ErrorRate(1.5), ..ddm.clone() }.run().is_err());
    assert!(Calibration { updates_per_false_alarm: f64::NAN, ..ddm.clone() }.run().is_err());
    assert!(Calibration { stream: Stationary::Normal(1.0), ..ddm }.run().is_err());
    let detector = mlops_drift::detector::Ddm::new(DdmSettings::default()).unwrap().into();
    assert!(mean_delay(&detector, (calm, risen), 0, 5, Seed::new(1)).is_err());
    assert!(mean_delay(&detector, (calm, risen), 5, 0, Seed::new(1)).is_err());
}
