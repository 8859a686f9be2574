//! What earlier builds stored is read by this one.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use mlops_core::Timestamp;
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_drift::Sample;
use mlops_drift::alert::{AlertPolicy, AlertState};
use mlops_drift::detector::*;
use mlops_drift::gap_count::{GapCounts, Reference, SlidingGapCounts};
use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions, DriftReport, Monitor, MonitorState};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn path(name: &str) -> String {
    format!("{}/../testdata/drift/v1/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

/// One of each thing that is stored, handed to `each` by name.
fn each(each: &mut impl Visit) {
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
    let report: DriftReport = monitor.report(&CheckOptions::default()).unwrap();
    let mut alerts = AlertState::default();
    AlertPolicy::default().step(&mut alerts, Timestamp::EPOCH, &report.events(Timestamp::EPOCH));
    each.visit("baseline", &baseline);
    each.visit::<MonitorState>("monitor", &monitor.state());
    each.visit("report", &report);
    each.visit("alerts", &alerts);

    let reference = Reference::new(&Sample::new((0..9).map(f64::from)).unwrap()).unwrap();
    let mut counts = GapCounts::new(&reference);
    let mut window = SlidingGapCounts::new(&reference, 3).unwrap();
    for value in [0.0, 4.5, 100.0, 8.0] {
        counts.update(&reference, value).unwrap();
        window.update(&reference, value).unwrap();
    }
    each.visit("reference", &reference);
    each.visit("gap_counts", &counts);
    each.visit("sliding_gap_counts", &window);

    let mut bank = DdmBank::new(DdmSettings::default(), 2).unwrap();
    let mut detectors: Vec<AnyDetector> = vec![
        Adwin::new(AdwinSettings::default()).unwrap().into(),
        Cusum::new(CusumSettings::default()).unwrap().into(),
        Ddm::new(DdmSettings::default()).unwrap().into(),
        Ecdd::new(EcddSettings::default()).unwrap().into(),
        Eddm::new(EddmSettings::default()).unwrap().into(),
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
}

trait Visit {
    fn visit<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(&mut self, name: &str, value: &T);
}

struct Check(usize);

impl Visit for Check {
    fn visit<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
    ) {
        let stored: T = serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap();
        assert_eq!(stored, *value, "{name}");
        self.0 += 1;
    }
}

struct Write;

impl Visit for Write {
    fn visit<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
    ) {
        std::fs::create_dir_all(path("x").rsplit_once('/').unwrap().0).unwrap();
        std::fs::write(path(name), serde_json::to_string(value).unwrap() + "\n").unwrap();
    }
}

#[test]
fn version_1_is_read() {
    let mut check = Check(0);
    each(&mut check);
    assert_eq!(check.0, 9);
}

#[test]
fn a_version_of_the_future_is_refused_by_name() {
    for name in ["baseline", "gap_counts", "sliding_gap_counts", "bank"] {
        let text = std::fs::read_to_string(path(name)).unwrap().replacen("\"version\":1", "\"version\":9", 1);
        let error = match name {
            "baseline" => serde_json::from_str::<Baseline>(&text).unwrap_err(),
            "gap_counts" => serde_json::from_str::<GapCounts>(&text).unwrap_err(),
            "sliding_gap_counts" => serde_json::from_str::<SlidingGapCounts>(&text).unwrap_err(),
            _ => serde_json::from_str::<DdmBank>(&text).unwrap_err(),
        };
        assert!(error.to_string().contains("version 9"), "{error}");
    }
}

/// Run once, with `--ignored`, when a new version of the formats begins.
#[test]
#[ignore = "writes the files that the other tests read"]
fn write_fixtures() {
    each(&mut Write);
}
