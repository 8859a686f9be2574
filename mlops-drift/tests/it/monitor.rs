//! Whole tables: masks, empty columns, wrong types, merges, false alarms.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_core::{ErrorKind, EventKind, Severity, Timestamp};
use mlops_drift::Sample;
use mlops_drift::binning::Binning;
use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions, Monitor};
use mlops_drift::two_sample::kolmogorov_smirnov;

use crate::oracle::{SplitMix64, normals};

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn floats(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn schema(kind: ColumnKind) -> TableSchema {
    TableSchema::new([Column::new("x", kind)]).unwrap()
}

fn baseline(values: Vec<f64>) -> Baseline {
    Baseline::fit(
        &schema(ColumnKind::Float),
        &[table(vec![("x", floats(values))])],
        BaselineOptions::default(),
    )
    .unwrap()
}

#[test]
fn ks_in_a_report_is_that_of_the_test() {
    let (reference, live) = (normals(1, 700, 0.0, 1.0), normals(2, 300, 0.2, 1.1));
    let report = baseline(reference.clone())
        .check(&[table(vec![("x", floats(live.clone()))])], &CheckOptions::default())
        .unwrap();
    let direct = kolmogorov_smirnov(&Sample::new(reference).unwrap(), &Sample::new(live).unwrap()).unwrap();
    let ks = report.columns[0].kolmogorov_smirnov.unwrap();
    assert_eq!((ks.value, ks.p_value), (direct.effect, direct.p_value));
}

#[test]
fn one_outlier_hides_no_shift_and_is_no_shift() {
    let baseline = baseline(normals(1, 5000, 0.0, 1.0));
    let mut shifted = normals(2, 1000, 3.0, 1.0);
    shifted.push(1e9);
    let report = baseline.check(&[table(vec![("x", floats(shifted))])], &CheckOptions::default()).unwrap();
    assert_eq!(report.columns[0].drift, Some(Severity::Critical));
    assert!(report.columns[0].psi.unwrap().value > 3.0);

    let mut calm = normals(3, 1000, 0.0, 1.0);
    calm.push(1e9);
    let report = baseline.check(&[table(vec![("x", floats(calm))])], &CheckOptions::default()).unwrap();
    assert_eq!(report.columns[0].drift, None);
    assert!(report.events(Timestamp::EPOCH).is_empty());
}

#[test]
fn flags_and_columns_full_of_zeros_drift_too() {
    let check = |reference: Vec<f64>, live: Vec<f64>| {
        let report = baseline(reference).check(&[table(vec![("x", floats(live))])], &CheckOptions::default());
        report.unwrap().columns[0].drift
    };
    let flags = |ones: usize| (0..1000).map(|i| f64::from(u8::from(i < ones))).collect::<Vec<_>>();
    assert_eq!(check(flags(500), flags(950)), Some(Severity::Critical));
    assert_eq!(check(flags(500), flags(505)), None);
    let thirds = |twos: usize| {
        (0..999).map(move |i| if i < twos { 2.0 } else { [0.0, 1.0][i % 2] }).collect::<Vec<_>>()
    };
    assert_eq!(check(thirds(333), vec![1.0; 999]), Some(Severity::Critical));
    for zeros in [800, 900, 950] {
        let inflated = |zeros: usize| {
            (0..1000)
                .map(|i| if i < zeros { 0.0 } else { f64::from(i as u32 % 100 + 1) / 10.0 })
                .collect::<Vec<_>>()
        };
        assert_eq!(check(inflated(zeros), inflated(100)), Some(Severity::Critical), "{zeros}");
        assert_eq!(check(inflated(zeros), inflated(zeros - 5)), None, "{zeros}");
    }
}

#[test]
fn fractions_in_a_column_of_integers_and_many_new_texts_have_an_answer() {
    let integers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
    let fit = |array: ArrayRef, kind| {
        Baseline::fit(&schema(kind), &[table(vec![("x", array)])], BaselineOptions::default())
    };
    let baseline = fit(integers, ColumnKind::Integer).unwrap();
    let check = |array: ArrayRef| {
        baseline.check(&[table(vec![("x", array)])], &CheckOptions::default()).unwrap().columns.remove(0)
    };
    assert_eq!(check(floats((0..100).map(f64::from).collect())).problem, None);
    let problem = check(floats(vec![0.5; 100])).problem.unwrap();
    assert_eq!(problem.kind, ErrorKind::Data);
    assert!(problem.message.contains("fractions such as 0.5"), "{}", problem.message);

    let many: ArrayRef = Arc::new(StringArray::from_iter_values((0..100_001).map(|i| i.to_string())));
    let error = fit(many.clone(), ColumnKind::Text).unwrap_err();
    assert!(format!("{error:#}").contains("identifier"), "{error:#}");
    let few = fit(many.slice(0, 10), ColumnKind::Text).unwrap();
    let mut monitor = Monitor::new(&few);
    monitor.observe(&table(vec![("x", many)]));
    assert!(serde_json::to_string(&monitor.state()).unwrap().len() < 1000, "unseen texts are not kept");
    assert_eq!(monitor.report(&CheckOptions::default()).unwrap().columns[0].unseen, 99_991);

    let none = Baseline::fit(&schema(ColumnKind::Float), &[], BaselineOptions::default()).unwrap_err();
    assert!(none.to_string().contains("no rows"), "{none}");
    let time = fit(floats(vec![1.0]), ColumnKind::Timestamp).unwrap_err();
    assert!(time.to_string().contains("Role::Time"), "{time}");
}

#[test]
fn one_unseen_category_in_many_rows_is_no_alarm() {
    let labels = |extra: bool| -> ArrayRef {
        let mut labels: Vec<&str> = (0..20_000).map(|i| ["a", "b", "c"][i % 3]).collect();
        if extra {
            labels[0] = "new";
        }
        Arc::new(StringArray::from(labels))
    };
    let baseline = Baseline::fit(
        &schema(ColumnKind::Text),
        &[table(vec![("x", labels(false))])],
        BaselineOptions::default(),
    )
    .unwrap();
    let report = baseline.check(&[table(vec![("x", labels(true))])], &CheckOptions::default()).unwrap();
    let column = report.column("x").unwrap();
    assert_eq!((column.unseen, column.drift), (1, None));
    assert!(column.chi_squared.unwrap().p_value > 0.3);

    let all_new: ArrayRef = Arc::new(StringArray::from(vec!["d"; 500]));
    let report = baseline.check(&[table(vec![("x", all_new)])], &CheckOptions::default()).unwrap();
    assert_eq!(report.columns[0].drift, Some(Severity::Critical));
    assert_eq!(report.columns[0].unseen, 500);
}

#[test]
fn each_column_has_its_own_result_or_its_own_problem() {
    let schema = TableSchema::new([
        Column::new("good", ColumnKind::Float),
        Column::new("absent", ColumnKind::Float),
        Column::new("retyped", ColumnKind::Float),
        Column::new("empty", ColumnKind::Integer),
        Column::new("flag", ColumnKind::Boolean),
    ])
    .unwrap();
    let numbers = || floats((0..400).map(f64::from).collect());
    let flags = |every: i32| -> ArrayRef {
        Arc::new(BooleanArray::from_iter((0..400).map(|i| Some(i % every == 0))))
    };
    let nothing = || -> ArrayRef { Arc::new(Int64Array::from(vec![None; 400])) };
    let reference = table(vec![
        ("good", numbers()),
        ("absent", numbers()),
        ("retyped", numbers()),
        ("empty", nothing()),
        ("flag", flags(2)),
    ]);
    let baseline = Baseline::fit(&schema, &[reference], BaselineOptions::default()).unwrap();
    let live = table(vec![
        ("feature.good", floats((0..400).map(|i| f64::from(i) + 300.0).collect())),
        ("feature.retyped", Arc::new(StringArray::from(vec!["7"; 400]))),
        ("feature.empty", nothing()),
        ("feature.flag", flags(10)),
    ]);
    let report = baseline.check(&[live], &CheckOptions::default()).unwrap();
    assert_eq!(report.column("good").unwrap().drift, Some(Severity::Critical));
    assert_eq!(report.column("flag").unwrap().drift, Some(Severity::Critical));
    assert_eq!(report.column("absent").unwrap().problem.as_ref().unwrap().kind, ErrorKind::NotFound);
    let retyped = report.column("retyped").unwrap().problem.as_ref().unwrap();
    assert_eq!((retyped.kind, retyped.message.as_str()), (ErrorKind::Data, "want numbers, got Utf8"));
    let empty = report.column("empty").unwrap();
    assert_eq!((empty.drift, empty.quality, &empty.problem), (None, None, &None));
    assert_eq!(empty.missing_rate.unwrap().value, 1.0);
    assert_eq!(report.events(Timestamp::EPOCH).len(), 4);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<mlops_drift::monitor::DriftReport>(&json).unwrap(), report);
}

#[test]
fn missing_and_non_finite_cells_are_a_matter_of_quality() {
    let cells = |missing: usize, nan: usize| -> ArrayRef {
        let cell = |i: usize| {
            if i < missing {
                None
            } else if i < missing + nan {
                Some(f64::NAN)
            } else {
                Some((i % 10) as f64)
            }
        };
        Arc::new(Float64Array::from((0..1000).map(cell).collect::<Vec<_>>()))
    };
    let baseline = Baseline::fit(
        &schema(ColumnKind::Float),
        &[table(vec![("x", cells(10, 0))])],
        BaselineOptions::default(),
    )
    .unwrap();
    let check = |array| {
        let report = baseline.check(&[table(vec![("x", array)])], &CheckOptions::default()).unwrap();
        report.events(Timestamp::EPOCH)
    };
    assert!(check(cells(13, 0)).is_empty());
    let events = check(cells(200, 0));
    assert_eq!(
        (events.len(), events[0].kind, events[0].severity),
        (1, EventKind::DataQuality, Severity::Critical)
    );
    assert_eq!(events[0].measurement.as_ref().unwrap().name, "missing_rate");
    let events = check(cells(10, 50));
    assert_eq!((events.len(), events[0].severity), (1, Severity::Warning));
    assert_eq!(events[0].measurement.as_ref().unwrap().name, "non_finite_rate");
    let events = check(cells(1000, 0));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].measurement.as_ref().unwrap().value, 1.0);
}

#[test]
fn empty_windows_and_constants_have_an_answer() {
    let baseline = baseline(vec![5.0; 100]);
    let check =
        |values| baseline.check(&[table(vec![("x", floats(values))])], &CheckOptions::default()).unwrap();
    assert_eq!(check(vec![5.0; 50]).columns[0].drift, None);
    assert_eq!(check(vec![6.0; 50]).columns[0].drift, Some(Severity::Critical));
    assert_eq!(check(vec![4.0]).columns[0].drift, None, "one value proves nothing");
    assert_eq!(check(vec![]).columns[0].problem.as_ref().unwrap().kind, ErrorKind::Data);
    let nothing = baseline.check(&[], &CheckOptions::default()).unwrap();
    assert!(nothing.columns[0].problem.is_some());
    let bad = CheckOptions { alpha: f64::NAN, ..CheckOptions::default() };
    assert_eq!(baseline.check(&[], &bad).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn shards_merge_to_the_whole() {
    let values = normals(5, 900, 0.0, 1.0);
    let batches: Vec<RecordBatch> =
        values.chunks(250).map(|chunk| table(vec![("x", floats(chunk.to_vec()))])).collect();
    let schema = schema(ColumnKind::Float);
    for binning in [Binning::Quantile(7), Binning::EqualWidth(5), Binning::Doane, Binning::FreedmanDiaconis] {
        let fit = |batches: &[RecordBatch]| {
            Baseline::fit(&schema, batches, BaselineOptions { binning: binning.clone() }).unwrap()
        };
        let whole = fit(&batches);
        let parts = fit(&batches[..1]).merge(&fit(&batches[1..])).unwrap();
        assert_eq!(whole, parts);
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&json).unwrap(), whole);

        let options = CheckOptions::default();
        let mut merged = Monitor::new(&whole);
        for batch in &batches {
            let mut monitor = Monitor::new(&whole);
            monitor.observe(batch);
            let json = serde_json::to_string(&monitor.state()).unwrap();
            let resumed = Monitor::resume(&whole, serde_json::from_str(&json).unwrap()).unwrap();
            merged.merge(&resumed).unwrap();
        }
        assert_eq!(merged.report(&options).unwrap(), whole.check(&batches, &options).unwrap());
    }
}

/// The share of unchanged windows in which the options raise an alarm on any of five columns.
fn false_alarms(options: &CheckOptions, reference_rows: usize, rows: usize, trials: u64) -> f64 {
    let names = ["a", "b", "c", "d", "e"];
    let schema = TableSchema::new(names.map(|name| Column::new(name, ColumnKind::Float))).unwrap();
    let mut random = SplitMix64::new(reference_rows as u64 * 31 + rows as u64);
    let mut draw = |rows: usize| {
        table(
            names.iter().map(|name| (*name, floats((0..rows).map(|_| random.uniform()).collect()))).collect(),
        )
    };
    let mut alarms = 0;
    for _ in 0..trials {
        let baseline = Baseline::fit(&schema, &[draw(reference_rows)], BaselineOptions::default()).unwrap();
        let report = baseline.check(&[draw(rows)], options).unwrap();
        alarms += u32::from(report.drifted().count() > 0);
    }
    f64::from(alarms) / trials as f64
}

#[test]
fn small_windows_do_not_cry_wolf() {
    // Any significant change, however small, counts here.
    let mut options = CheckOptions { alpha: 0.05, ..CheckOptions::default() };
    options.psi.warning = 0.0;
    for (n, m) in [(200, 200), (1000, 100)] {
        let rate = false_alarms(&options, n, m, 120);
        assert!(rate <= 0.11, "{n} {m}: {rate}");
    }
    let classic = false_alarms(&CheckOptions::classic(), 200, 200, 30);
    assert!(classic > 0.5, "the fixed bands alone cry at 200 rows: {classic}");
}

#[test]
fn a_test_or_distance_is_chosen_by_type_and_by_column() {
    use mlops_drift::monitor::{Bands, ColumnDistance, ColumnTest, Rule};
    let schema = TableSchema::new([
        Column::new("x", ColumnKind::Float),
        Column::new("y", ColumnKind::Float),
        Column::new("kind", ColumnKind::Text),
    ])
    .unwrap();
    let batch = |shift: f64, letters: &[&'static str]| {
        let kinds: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..800).map(|i| letters[i % letters.len()])));
        table(vec![
            ("x", floats(normals(1, 800, shift, 1.0))),
            ("y", floats(normals(2, 800, shift, 1.0))),
            ("kind", kinds),
        ])
    };
    let baseline = Baseline::fit(&schema, &[batch(0.0, &["a", "b"])], BaselineOptions::default()).unwrap();
    let live = [batch(1.0, &["a", "b", "b", "b"])];
    let tests = [
        ColumnTest::KolmogorovSmirnov,
        ColumnTest::CramerVonMises,
        ColumnTest::MannWhitney,
        ColumnTest::ChiSquared,
        ColumnTest::GTest,
    ];
    for test in tests {
        let options = CheckOptions {
            numbers: Rule::Test { test, alpha: 0.01 },
            categories: Rule::Ignore,
            ..CheckOptions::default()
        };
        let report = baseline.check(&live, &options).unwrap();
        let drifts: Vec<_> = report.columns.iter().map(|column| column.drift).collect();
        assert_eq!(drifts, [Some(Severity::Warning), Some(Severity::Warning), None], "{test:?}");
        let decision = report.columns[0].decision.as_ref().unwrap();
        // Two columns with two rates each and one p-value: Holm's factor is at most 8.
        let (p, adjusted) = (decision.p_value.unwrap(), decision.p_adjusted.unwrap());
        assert!(p <= adjusted && adjusted <= 8.0 * p && adjusted < 0.01, "{test:?}");
        assert!(report.events(Timestamp::EPOCH)[0].to_string().contains("p of "), "{test:?}");
        let calm = baseline.check(&[batch(0.0, &["a", "b"])], &options).unwrap();
        assert_eq!(calm.drifted().count(), 0, "{test:?}");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<mlops_drift::monitor::DriftReport>(&json).unwrap(), report);
    }
    let distances = [
        (ColumnDistance::Psi, 3),
        (ColumnDistance::JensenShannonDistanceBase2, 3),
        (ColumnDistance::JensenShannonDistanceNats, 3),
        (ColumnDistance::Hellinger, 3),
        (ColumnDistance::TotalVariation, 3),
        (ColumnDistance::LInfinity, 3),
        (ColumnDistance::WassersteinNormed, 2),
    ];
    for (distance, drifted) in distances {
        let rule = Rule::Distance { distance, bands: Bands { warning: 0.05, critical: 10.0 } };
        let options = CheckOptions { numbers: rule, categories: rule, ..CheckOptions::default() }
            .column("y", Rule::Ignore);
        let report = baseline.check(&live, &options).unwrap();
        assert_eq!(report.drifted().count(), drifted - 1, "{distance:?}");
        let problem = report.column("kind").unwrap().problem.as_ref();
        assert_eq!(problem.is_some(), distance == ColumnDistance::WassersteinNormed, "{distance:?}");
    }
    let wild = CheckOptions::default().column("x", Rule::Test { test: tests[0], alpha: -0.1 });
    assert_eq!(baseline.check(&live, &wild).unwrap_err().kind(), ErrorKind::Invalid);
    let unknown = CheckOptions::default().column("z", Rule::Ignore);
    assert!(baseline.check(&live, &unknown).unwrap_err().to_string().contains("`z`"));
    // An unknown option of a stored choice is refused, not ignored.
    assert!(serde_json::from_str::<Rule>(r#"{"test":{"test":"kolmogorov","alpha":0.1}}"#).is_err());
}

#[test]
fn the_preset_of_evidently_decides_as_evidently() {
    use mlops_drift::Sample;
    use mlops_drift::distance::wasserstein;
    let check = |reference: Vec<f64>, live: Vec<f64>| {
        let report = baseline(reference)
            .check(&[table(vec![("x", floats(live))])], &CheckOptions::evidently())
            .unwrap();
        (report.columns[0].decision.clone().unwrap(), report.columns[0].drift)
    };
    let (small, drift) = check(normals(1, 500, 0.0, 1.0), normals(2, 400, 1.0, 1.0));
    assert_eq!((small.by.as_str(), drift), ("kolmogorov_smirnov", Some(Severity::Warning)));
    let (reference, live) = (normals(1, 5000, 0.0, 1.0), normals(2, 3000, 0.3, 1.0));
    let (large, drift) = check(reference.clone(), live.clone());
    assert_eq!((large.by.as_str(), drift), ("wasserstein_normed", Some(Severity::Warning)));
    let mean = reference.iter().sum::<f64>() / 5000.0;
    let deviation = (reference.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5000.0).sqrt();
    let want =
        wasserstein(&Sample::new(reference).unwrap(), &Sample::new(live).unwrap()).unwrap() / deviation;
    assert!((large.value - want).abs() < 1e-3, "{} {want}", large.value);
    let flags = |ones: usize, n: usize| (0..n).map(|i| f64::from(u8::from(i < ones))).collect::<Vec<_>>();
    assert_eq!(check(flags(300, 900), flags(350, 900)).0.by, "two_proportion_z");
    assert_eq!(check(flags(300, 1500), flags(350, 900)).0.by, "jensen_shannon_distance_nats");
    let threes = |n: usize| (0..n).map(|i| (i % 3) as f64).collect::<Vec<_>>();
    assert_eq!(check(threes(300), threes(200)).0.by, "chi_squared");
}
