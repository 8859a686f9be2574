//! What earlier builds stored is read by this one.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use mlops_core::Seed;
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_core::{Event, EventKind, Severity, Timestamp};
use mlops_drift::Sample;
use mlops_drift::alert::{AlertPolicy, AlertState};
use mlops_drift::detector::*;
use mlops_drift::distance::{self, BinnedDistance, DistanceResult};
use mlops_drift::gap_count::{GapCounts, Reference, SlidingGapCounts, SlidingState};
use mlops_drift::monitor::{
    Baseline, BaselineOptions, CheckOptions, DriftReport, Monitor, MonitorState, Rule,
};
use mlops_drift::two_sample::{TestResult, kolmogorov_smirnov, welch_t};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::oracle::close;

/// The reference and the live counts that are stored.
fn counts() -> (Reference, GapCounts, SlidingGapCounts) {
    let reference = Reference::new(&Sample::new((0..9).map(f64::from)).unwrap()).unwrap();
    let mut counts = GapCounts::new(&reference);
    let mut window = SlidingGapCounts::new(&reference, 3).unwrap();
    for value in [0.0, 4.5, 100.0, 8.0] {
        counts.update(&reference, value).unwrap();
        window.update(&reference, value).unwrap();
    }
    (reference, counts, window)
}

/// A baseline and a monitor of it.
fn monitor() -> (Baseline, Monitor) {
    let schema =
        TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("kind", ColumnKind::Text)])
            .unwrap();
    let batch = |from: i32| {
        let numbers: ArrayRef = Arc::new(Float64Array::from_iter(
            (0..60).map(|i| (i % 20 != 0).then_some(f64::from((i * 7 + from) % 31))),
        ));
        let kinds: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..60).map(|i| ["a", "b"][(i + from) as usize % 2])));
        RecordBatch::try_from_iter([("x", numbers), ("kind", kinds)]).unwrap()
    };
    let baseline = Baseline::fit(&schema, &[batch(0)], BaselineOptions::default()).unwrap();
    let mut monitor = Monitor::new(&baseline);
    monitor.observe(&batch(3));
    (baseline, monitor)
}

/// One of each thing that is stored, handed to `each` by name.
fn each(each: &mut impl Visit) {
    let (baseline, monitor) = monitor();
    let report: DriftReport = monitor.report(&CheckOptions::default()).unwrap();
    let mut alerts = AlertState::default();
    let event = Event::new(Timestamp::EPOCH, Severity::Critical, EventKind::DataDrift, "feature `x`");
    AlertPolicy::default().step(&mut alerts, Timestamp::EPOCH, &[event]);
    each.visit("baseline", &baseline);
    each.visit::<MonitorState>("monitor", &monitor.state());
    each.visit("report", &report);
    each.visit("alerts", &alerts);

    let (reference, counts, window) = counts();
    each.visit("reference", &reference);
    each.visit("gap_counts", &counts);
    each.visit::<SlidingState>("sliding_gap_counts", &window.state());

    let mut bank = DdmBank::new(DdmSettings::default(), 2).unwrap();
    let mut detectors: Vec<AnyDetector> = vec![
        Adwin::new(AdwinSettings::default()).unwrap().into(),
        Cusum::new(CusumSettings::default()).unwrap().into(),
        Ddm::new(DdmSettings::default()).unwrap().into(),
        Ecdd::new(EcddSettings::default()).unwrap().into(),
        Eddm::new(EddmSettings::river()).unwrap().into(),
        Fhddm::new(FhddmSettings::default()).unwrap().into(),
        Gma::new(GmaSettings::default()).unwrap().into(),
        HddmA::new(HddmASettings::default()).unwrap().into(),
        HddmW::new(HddmWSettings::default()).unwrap().into(),
        Kswin::new(KswinSettings::default()).unwrap().into(),
        PageHinkley::new(PageHinkleySettings::default()).unwrap().into(),
        Rddm::new(RddmSettings::default()).unwrap().into(),
        Stepd::new(StepdSettings::default()).unwrap().into(),
    ];
    for step in 0..40 {
        let error = f64::from(u8::from(step % 7 == 0));
        bank.update(&[error, 0.0]).unwrap();
        for detector in &mut detectors {
            detector.update(error).unwrap();
        }
    }
    each.visit("bank", &bank);
    each.visit("detectors", &detectors);
    // The same after a change: some of them warn or have just fired.
    for step in 0..400 {
        let error = f64::from(u8::from(step % 2 == 0));
        detectors.iter_mut().for_each(|detector| {
            if !detector.signal().is_drift() {
                detector.update(error).unwrap();
            }
        });
    }
    detectors.push(Kswin::new(KswinSettings::river(7)).unwrap().into());
    detectors.push(
        Fhddm::new(FhddmSettings { short_window: Some(25), ..FhddmSettings::default() }).unwrap().into(),
    );
    each.visit("detectors_that_fired", &detectors);
    let list = DetectorList::new(Adwin::new(AdwinSettings::default()).unwrap(), 2);
    each.visit("list", &list);

    let options = CheckOptions::default().column("kind", Rule::Ignore);
    each.visit("check_options", &options);
    let constant = |value: f64| Sample::new([value, value]).unwrap();
    let results: Vec<TestResult> = vec![
        kolmogorov_smirnov(&constant(1.0), &constant(2.0)).unwrap(),
        welch_t(&constant(1.0), &constant(2.0)).unwrap(),
    ];
    each.visit("test_results", &results);
    let distances: Vec<DistanceResult> =
        vec![distance::compare(BinnedDistance::Psi, &[50, 50], &[40, 60], 0.05, Seed::new(1)).unwrap()];
    each.visit("distances", &distances);
    let calibration = Calibration::new(DetectorKind::Ddm, Stationary::ErrorRate(0.1), 1000.0, Seed::new(1));
    each.visit("calibration", &calibration);
    let mut banks = (
        DetectorBank::<PageHinkley>::new(PageHinkleySettings::default(), 2).unwrap(),
        DetectorBank::<HddmA>::new(HddmASettings::default(), 2).unwrap(),
        DetectorBank::<Ecdd>::new(EcddSettings::default(), 2).unwrap(),
        DetectorBank::<Cusum>::new(CusumSettings::default(), 2).unwrap(),
        DetectorBank::<Gma>::new(GmaSettings::default(), 2).unwrap(),
    );
    for step in 0..200 {
        let row = [f64::from(u8::from(step % 7 == 0)), f64::from(u8::from(step % 9 == 0 || step > 150))];
        banks.0.update(&row).unwrap();
        banks.1.update(&row).unwrap();
        banks.2.update(&row).unwrap();
        banks.3.update(&row).unwrap();
        banks.4.update(&row).unwrap();
    }
    each.visit("banks", &banks);
}

trait Visit {
    fn visit<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(&mut self, name: &str, value: &T);
}

fn path(version: u32, name: &str) -> String {
    format!("{}/../testdata/drift/v{version}/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

fn read<T: DeserializeOwned>(version: u32, name: &str) -> T {
    serde_json::from_slice(&std::fs::read(path(version, name)).unwrap()).unwrap()
}

/// Compares what a version stored with what this build makes; `names` of it.
struct Check<'a> {
    version: u32,
    names: &'a [&'a str],
    seen: usize,
}

impl Visit for Check<'_> {
    fn visit<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
    ) {
        if self.names.contains(&name) {
            let stored = read::<T>(self.version, name);
            if self.version == LATEST {
                assert_eq!(stored, *value, "{name}");
            } else {
                // Last digits came from other formulas.
                let json = |value: &T| serde_json::to_value(value).unwrap();
                assert!(alike(&json(&stored), &json(value)), "{name}: {stored:?} {value:?}");
            }
            self.seen += 1;
        }
    }
}

/// Equal, but for the last digits of numbers.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => close(a.as_f64().unwrap(), b.as_f64().unwrap(), 1e-14),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

struct Write;

impl Visit for Write {
    fn visit<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
    ) {
        let path = path(LATEST, name);
        std::fs::create_dir_all(path.rsplit_once('/').unwrap().0).unwrap();
        std::fs::write(path, serde_json::to_string(value).unwrap() + "\n").unwrap();
    }
}

const LATEST: u32 = 3;

/// Everything that version 2 stored.
const NAMES: [&str; 11] = [
    "baseline",
    "monitor",
    "report",
    "alerts",
    "reference",
    "gap_counts",
    "sliding_gap_counts",
    "bank",
    "detectors",
    "detectors_that_fired",
    "list",
];

#[test]
fn this_version_is_read() {
    let names =
        [&NAMES[..], &["check_options", "test_results", "distances", "calibration", "banks"]].concat();
    let mut check = Check { version: LATEST, names: &names, seen: 0 };
    each(&mut check);
    assert_eq!(check.seen, names.len());
}

#[test]
fn version_2_is_read() {
    // What a report of then says is not what one of now would.
    let names: Vec<&str> = NAMES.into_iter().filter(|name| *name != "report").collect();
    let mut check = Check { version: 2, names: &names, seen: 0 };
    each(&mut check);
    assert_eq!(check.seen, names.len());
    let report: DriftReport = read(2, "report");
    assert_eq!((report.rows, report.columns.len(), report.drifted().count()), (60, 2, 0));
}

#[test]
fn version_1_is_read() {
    let names = ["baseline", "reference", "bank", "detectors"];
    let mut check = Check { version: 1, names: &names, seen: 0 };
    each(&mut check);
    assert_eq!(check.seen, names.len());
    read::<AlertState>(1, "alerts");
    // The last digits of a limit came from another formula.
    let report: DriftReport = read(1, "report");
    assert_eq!((report.rows, report.columns.len(), report.drifted().count()), (60, 2, 0));

    // Version 1 did not know which reference it counted against.
    let (reference, counts, window) = counts();
    let stored: GapCounts = read(1, "gap_counts");
    assert_eq!(
        stored.kolmogorov_smirnov(&reference).unwrap(),
        counts.kolmogorov_smirnov(&reference).unwrap()
    );
    assert_eq!(SlidingGapCounts::resume(&reference, read(1, "sliding_gap_counts")).unwrap(), window);
    // Nor did it count unseen categories together.
    let (baseline, monitor) = monitor();
    let resumed = Monitor::resume(&baseline, read(1, "monitor")).unwrap();
    let options = CheckOptions::default();
    assert_eq!(resumed.report(&options).unwrap(), monitor.report(&options).unwrap());
}

#[test]
fn a_monitor_of_another_baseline_is_refused() {
    let (_, monitor) = monitor();
    let schema =
        TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("kind", ColumnKind::Text)])
            .unwrap();
    let numbers: ArrayRef = Arc::new(Float64Array::from_iter_values((0..31).map(|i| f64::from(i) + 0.5)));
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values((0..31).map(|i| ["a", "b"][i % 2])));
    let batch = RecordBatch::try_from_iter([("x", numbers), ("kind", kinds)]).unwrap();
    let other = Baseline::fit(&schema, &[batch], BaselineOptions::default()).unwrap();
    let error = Monitor::resume(&other, monitor.state()).unwrap_err();
    assert!(error.to_string().contains("another"), "{error}");
    assert!(Monitor::new(&other).merge(&monitor).is_err());
}

#[test]
fn a_version_of_the_future_is_refused_by_name() {
    let (reference, ..) = counts();
    let (baseline, _) = monitor();
    // Of the file, the version that it holds, and what reads it.
    type Reader<'a> = &'a dyn Fn(&str) -> String;
    fn error<T: DeserializeOwned>(json: &str) -> String {
        serde_json::from_str::<T>(json).map(drop).unwrap_err().to_string()
    }
    let sliding =
        |json: &str| SlidingGapCounts::resume(&reference, serde_json::from_str(json).unwrap()).unwrap_err();
    let monitor = |json: &str| Monitor::resume(&baseline, serde_json::from_str(json).unwrap()).unwrap_err();
    let readers: [(&str, u32, Reader<'_>); 14] = [
        ("baseline", 1, &error::<Baseline>),
        ("report", 1, &error::<DriftReport>),
        ("reference", 1, &error::<Reference>),
        ("gap_counts", 2, &error::<GapCounts>),
        ("sliding_gap_counts", 2, &|json| sliding(json).to_string()),
        ("monitor", 2, &|json| monitor(json).to_string()),
        ("bank", 3, &error::<DdmBank>),
        ("detectors", 1, &error::<Vec<AnyDetector>>),
        ("list", 1, &error::<DetectorList<Adwin>>),
        ("alerts", 1, &error::<AlertState>),
        ("check_options", 1, &error::<CheckOptions>),
        ("test_results", 1, &error::<Vec<TestResult>>),
        ("distances", 1, &error::<Vec<DistanceResult>>),
        ("calibration", 1, &error::<Calibration>),
    ];
    for (name, version, reader) in readers {
        let text = std::fs::read_to_string(path(LATEST, name)).unwrap();
        let future = text.replacen(&format!("\"version\":{version}"), "\"version\":9", 1);
        assert_ne!(text, future, "{name}");
        let error = reader(&future);
        assert!(error.contains("version 9"), "{name}: {error}");
    }
}

#[test]
fn the_version_is_looked_at_first() {
    let future = r#"{"version":9,"of":"another time"}"#;
    let errors = [
        serde_json::from_str::<Baseline>(future).unwrap_err(),
        serde_json::from_str::<CheckOptions>(future).unwrap_err(),
        serde_json::from_str::<HddmA>(future).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.to_string().contains("version 9")), "{errors:?}");
}

#[test]
fn damaged_errors_and_limits_are_refused() {
    let ddm = serde_json::to_value(Ddm::new(DdmSettings::default()).unwrap()).unwrap();
    for key in ["errors", "limits"] {
        let mut cut = ddm.clone();
        cut.as_object_mut().unwrap().remove(key);
        assert!(serde_json::from_value::<Ddm>(cut).is_err(), "{key}");
    }
    let mut dead = ddm.clone();
    dead["limits"]["drift"] = "NaN".into();
    assert!(serde_json::from_value::<Ddm>(dead).is_err());
    assert!(serde_json::from_value::<Ddm>(ddm).is_ok());
    let bank = std::fs::read_to_string(path(LATEST, "bank")).unwrap();
    let bank = bank.replacen("\"version\":3", "\"version\":0", 1);
    let error = serde_json::from_str::<DdmBank>(&bank).unwrap_err();
    assert!(error.to_string().contains("version 0"), "{error}");
}

#[test]
fn bare_detectors_carry_a_version_and_are_read_without_one() {
    let detectors: Vec<Value> =
        serde_json::from_slice(&std::fs::read(path(LATEST, "detectors_that_fired")).unwrap()).unwrap();
    let mut seen = 0;
    for detector in &detectors {
        for (name, state) in detector.as_object().unwrap().iter().filter(|(key, _)| *key != "version") {
            let version = state["version"].as_u64().unwrap();
            for stored in [9, 0] {
                let mut other = detector.clone();
                other[name]["version"] = stored.into();
                let error = serde_json::from_value::<AnyDetector>(other).unwrap_err().to_string();
                assert!(error.contains(&format!("version {stored}")), "{name}: {error}");
            }
            let mut without = detector.clone();
            without[name].as_object_mut().unwrap().remove("version");
            if version == 1 {
                assert_eq!(
                    serde_json::from_value::<AnyDetector>(without).unwrap(),
                    serde_json::from_value::<AnyDetector>(detector.clone()).unwrap(),
                );
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 15);
}

/// Run once, with `--ignored`, when a new version of the formats begins.
#[test]
#[ignore = "writes the files that the other tests read"]
fn write_fixtures() {
    each(&mut Write);
}
