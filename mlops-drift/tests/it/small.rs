//! Windows and references of a few rows, and distances of nothing.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_core::{Severity, Timestamp};
use mlops_drift::monitor::{
    Bands, Baseline, BaselineOptions, CheckOptions, ColumnDistance, ColumnTest, DriftReport, Rule,
};

use crate::oracle::uniforms;

fn check(kind: ColumnKind, reference: ArrayRef, window: ArrayRef, options: &CheckOptions) -> DriftReport {
    let schema = TableSchema::new([Column::new("x", kind)]).unwrap();
    let batch = |array: ArrayRef| RecordBatch::try_from_iter([("x", array)]).unwrap();
    let baseline = Baseline::fit(&schema, &[batch(reference)], BaselineOptions::default()).unwrap();
    baseline.check(&[batch(window)], options).unwrap()
}

fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn texts(values: impl IntoIterator<Item = &'static str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn drift(reference: ArrayRef, window: ArrayRef) -> Option<Severity> {
    check(ColumnKind::Float, reference, window, &CheckOptions::default()).columns[0].drift
}

#[test]
fn a_few_numbers_outside_of_the_reference_alarm() {
    let reference = || numbers((0..5000).map(f64::from));
    let many = |n: u32, from: f64, step: f64| numbers((0..n).map(|i| from + step * f64::from(i)));
    for n in [3, 5, 9, 10, 12, 20, 40, 60] {
        let critical = Some(Severity::Critical);
        assert_eq!(drift(reference(), many(n, 1e6, 1.0)), critical, "{n} beyond");
        assert_eq!(drift(reference(), many(n, -1e6, 1.0)), critical, "{n} below");
        assert_eq!(drift(reference(), many(n, 4900.0, 1.0)), critical, "{n} in the top 2 %");
        assert_eq!(drift(numbers((0..n).map(f64::from)), many(1000, 1e6, 1.0)), critical, "{n} rows known");
        // The whole range evenly.
        assert_eq!(drift(reference(), many(n, 2500.0 / f64::from(n), 5000.0 / f64::from(n))), None, "{n}");
    }
    for n in [20, 40] {
        assert!(drift(reference(), many(n, 0.0, 2500.0 / f64::from(n))).is_some(), "{n} in the lower half");
    }
    assert!(drift(numbers([7.0; 100]), numbers([8.0; 5])).is_some());
    assert!(drift(numbers([7.0; 100]), numbers([6.0; 5])).is_some());
    assert_eq!(drift(numbers([7.0; 100]), numbers([7.0; 5])), None);
}

#[test]
fn a_few_new_categories_alarm() {
    let options = CheckOptions::default();
    let reference = || texts((0..5000).map(|i| ["a", "b"][i % 2]));
    let verdict = |window| check(ColumnKind::Text, reference(), window, &options).columns[0].drift;
    for n in [3, 10, 30] {
        assert_eq!(verdict(texts((0..n).map(|_| "new"))), Some(Severity::Critical), "{n}");
        assert_eq!(verdict(texts((0..n).map(|i| ["a", "b"][i % 2]))), None, "{n}");
    }
    assert!(verdict(texts((0..16).map(|_| "a"))).is_some());
}

#[test]
fn buckets_that_a_test_cannot_have_are_a_problem() {
    let chi_squared = Rule::Test { test: ColumnTest::ChiSquared, alpha: 0.01 };
    let options = CheckOptions { numbers: chi_squared, ..CheckOptions::default() };
    let window = numbers((0..4).map(f64::from));
    let report = check(ColumnKind::Float, numbers((0..5000).map(f64::from)), window, &options);
    let problem = report.columns[0].problem.as_ref().unwrap();
    assert!(problem.message.contains("4 in the window are too few"), "{}", problem.message);
}

#[test]
fn unchanged_small_windows_stay_quiet() {
    let reference = uniforms(1, 3000);
    let options = CheckOptions::default();
    let mut alarms = 0;
    for seed in 0..400 {
        let window = uniforms(1000 + seed, 4 + seed as usize % 16);
        let report = check(ColumnKind::Float, numbers(reference.clone()), numbers(window), &options);
        alarms += u32::from(report.columns[0].drift.is_some());
    }
    // Four are expected at most; ten have a chance of 0.8 %.
    assert!(alarms < 10, "{alarms} of 400");
}

/// The share of unchanged windows of long-tailed categories that alarm.
fn false_alarms(categories: u32, power: f64, rows: usize, window: usize) -> f64 {
    let weights: Vec<f64> = (1..=categories).map(|rank| f64::from(rank).powf(-power)).collect();
    let sum: f64 = weights.iter().sum();
    let cumulative: Vec<f64> = weights
        .iter()
        .scan(0.0, |before, weight| {
            *before += weight / sum;
            Some(*before)
        })
        .collect();
    let draw = |seed: u64, n: usize| -> ArrayRef {
        let place = |u: &f64| cumulative.partition_point(|at| at < u);
        Arc::new(StringArray::from_iter_values(uniforms(seed, n).iter().map(|u| format!("{}", place(u)))))
    };
    let alarms = (0..100).filter(|trial| {
        let (reference, live) = (draw(2 * trial, rows), draw(2 * trial + 1, window));
        check(ColumnKind::Text, reference, live, &CheckOptions::default()).columns[0].drift.is_some()
    });
    alarms.count() as f64 / 100.0
}

#[test]
fn unchanged_small_windows_of_long_tails_stay_quiet() {
    for (categories, power, rows, window) in [
        (500, 0.5, 1000, 4),
        (2000, 1.0, 10_000, 20),
        (1000, 0.3, 3000, 100),
        (500, 0.0, 1000, 60),
        (3, 1.0, 500, 8),
    ] {
        let rate = false_alarms(categories, power, rows, window);
        // 1 % is promised; six of a hundred have a chance of 0.05 %.
        assert!(rate < 0.06, "{categories} {power} {rows} {window}: {rate}");
    }
}

#[test]
fn shards_of_a_column_of_many_categories_are_learned() {
    let schema = TableSchema::new([Column::new("x", ColumnKind::Text)]).unwrap();
    let texts = uniforms(5, 2100).into_iter().map(|u| format!("{}", (5000.0 * u).floor()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let batch = RecordBatch::try_from_iter([("x", texts)]).unwrap();
    assert!(Baseline::fit(&schema, &[batch], BaselineOptions::default()).is_ok());
}

#[test]
fn no_distance_is_no_drift_whatever_the_limit() {
    let distance = ColumnDistance::JensenShannonDistanceBase2;
    let bands = Bands { warning: 0.0, critical: 0.0 };
    let options = CheckOptions { numbers: Rule::Distance { distance, bands }, ..CheckOptions::default() };
    let report = check(ColumnKind::Float, numbers([1.0; 50]), numbers([1.0; 20]), &options);
    assert_eq!(report.columns[0].decision.as_ref().unwrap().value, 0.0);
    assert!(report.events(Timestamp::EPOCH).is_empty());
    let report = check(ColumnKind::Float, numbers([1.0; 50]), numbers([2.0; 20]), &options);
    assert_eq!(report.columns[0].drift, Some(Severity::Critical));

    let schema = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let batch = |array: ArrayRef| RecordBatch::try_from_iter([("x", array)]).unwrap();
    let constant = batch(numbers([1.0; 400]));
    let baseline =
        Baseline::fit(&schema, std::slice::from_ref(&constant), BaselineOptions::default()).unwrap();
    let chunks: Vec<Vec<RecordBatch>> = (0..4).map(|chunk| vec![constant.slice(100 * chunk, 100)]).collect();
    let options = CheckOptions::from_chunks(&baseline, &chunks, distance, 3.0).unwrap();
    assert_eq!(baseline.check(&chunks[0], &options).unwrap().drifted().count(), 0);
    let moved = batch(numbers([2.0; 100]));
    assert_eq!(baseline.check(&[moved], &options).unwrap().drifted().count(), 1);
}

#[test]
fn an_identifier_is_no_feature() {
    let schema = TableSchema::new([Column::new("x", ColumnKind::Text)]).unwrap();
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..3000).map(|i| format!("id {i}"))));
    let batch = RecordBatch::try_from_iter([("x", ids)]).unwrap();
    let error = Baseline::fit(&schema, &[batch], BaselineOptions::default()).unwrap_err();
    assert!(format!("{error:#}").contains("3000 categories that occur once, in 3000 cells"), "{error:#}");
}

#[test]
fn a_lost_column_is_critical_and_an_empty_window_is_one_event() {
    let schema = TableSchema::new(["x", "y"].map(|name| Column::new(name, ColumnKind::Float))).unwrap();
    let both =
        RecordBatch::try_from_iter(["x", "y"].map(|name| (name, numbers((0..50).map(f64::from))))).unwrap();
    let baseline = Baseline::fit(&schema, std::slice::from_ref(&both), BaselineOptions::default()).unwrap();
    let one = RecordBatch::try_from_iter([("x", numbers((0..50).map(f64::from)))]).unwrap();
    let events = |batches: &[RecordBatch]| {
        baseline.check(batches, &CheckOptions::default()).unwrap().events(Timestamp::EPOCH)
    };
    let lost = events(std::slice::from_ref(&one));
    assert_eq!((lost.len(), lost[0].severity), (1, Severity::Critical));
    let sometimes = events(&[one, both.clone()]);
    assert_eq!((sometimes.len(), sometimes[0].severity), (1, Severity::Warning));
    assert!(sometimes[0].to_string().contains("skipped_rows=50"), "{}", sometimes[0]);
    let empty = events(&[both.slice(0, 0)]);
    assert_eq!((empty.len(), empty[0].severity), (1, Severity::Warning));
}
