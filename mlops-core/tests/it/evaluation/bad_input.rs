//! Input that cannot be measured: a typed error or a documented value.

use mlops_core::ErrorKind;
use mlops_core::evaluation::bias::{Contingency, flip_test};
use mlops_core::evaluation::binary::{
    BinEdge, BinaryMetrics, BinaryRow, BinarySettings, CalibrationTable, ScoreHistogram, ScoreMemory, Scored,
    labels_from, log_loss_f32,
};
use mlops_core::evaluation::{MetricState, Slices};

fn kind<T>(result: mlops_core::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn scores_that_are_no_numbers_are_refused_with_their_row() {
    let labels = [true, false, true];
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = Scored::new(&labels, &[0.1, bad, 0.3]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("at row 1"), "{error}");
    }
    assert_eq!(kind(Scored::new(&labels, &[0.1])), Some(ErrorKind::Invalid));
    let rows = Scored::new(&labels, &[0.1, 1.5, -0.2]).unwrap();
    assert_eq!(rows.roc_auc(), Some(0.0));
    assert_eq!(kind(rows.losses()), Some(ErrorKind::Data));
    assert_eq!(kind(rows.calibration(10, BinEdge::LowerClosed)), Some(ErrorKind::Data));
    assert_eq!(kind(rows.weighted(&[1.0, -1.0, 1.0])), Some(ErrorKind::Data));
    assert_eq!(kind(rows.weighted(&[1.0, f64::NAN, 1.0])), Some(ErrorKind::Data));
    assert_eq!(kind(rows.weighted(&[1.0])), Some(ErrorKind::Invalid));
    assert_eq!(kind(labels_from(&[0.0, 2.0])), Some(ErrorKind::Data));
    assert_eq!(kind(labels_from(&[f64::NAN])), Some(ErrorKind::Data));
    assert_eq!(kind(log_loss_f32(&[], &[])), Some(ErrorKind::Invalid));
    assert_eq!(kind(log_loss_f32(&[true], &[f32::NAN])), Some(ErrorKind::Data));
}

#[test]
fn no_rows_and_one_class_leave_metrics_undefined() {
    let empty = Scored::new(&[], &[]).unwrap();
    assert_eq!(empty.roc_auc(), None);
    assert_eq!(empty.curve().average_precision(), None);
    assert_eq!(empty.curve().pr_auc_trapezoid(), None);
    assert_eq!(empty.curve().cheapest(1.0, 1.0), None);
    assert_eq!(empty.losses().unwrap().log_loss(), None);
    assert_eq!(empty.confusion(0.5).accuracy(), None);
    assert_eq!(empty.confusion(0.5).mcc(), None);
    assert_eq!(empty.calibration(10, BinEdge::UpperClosed).unwrap().ece(), None);
    assert_eq!(empty.calibration_by_quantile(10).unwrap().ece(), None);
    let state = BinaryMetrics::new(BinarySettings::default()).unwrap();
    assert!(state.metrics().is_empty());

    let positives = Scored::new(&[true, true], &[0.2, 0.8]).unwrap();
    assert_eq!(positives.roc_auc(), None);
    assert_eq!(positives.curve().ks(), None);
    assert_eq!(positives.curve().roc_auc_std_error(), None);
    assert_eq!(positives.losses().unwrap().normalized_entropy(), None);
    let negatives = Scored::new(&[false, false], &[0.2, 0.8]).unwrap();
    assert_eq!(negatives.curve().gain(0.5), None);
    assert_eq!(negatives.losses().unwrap().calibration_ratio(), None);

    let mut state = BinaryMetrics::new(BinarySettings::default()).unwrap();
    state.push(&BinaryRow::new(true, 0.7)).unwrap();
    assert!(!state.metrics().contains_key("roc_auc"));
    assert!(state.metrics().values().all(|metric| metric.value.is_finite()));
}

#[test]
fn a_refused_row_changes_nothing() {
    let mut state = BinaryMetrics::new(BinarySettings::default()).unwrap();
    state.push(&BinaryRow::new(true, 0.7)).unwrap();
    let before = state.clone();
    for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        assert_eq!(kind(state.push(&BinaryRow::new(true, bad))), Some(ErrorKind::Data));
        let weighted =
            BinaryRow { label: true, probability: 0.5, weight: if bad > 1.0 { f64::NAN } else { -1.0 } };
        assert_eq!(kind(state.push(&weighted)), Some(ErrorKind::Data));
    }
    assert_eq!(state, before);

    let mut slices = Slices::new(before).limit(1);
    slices.push(&BinaryRow::new(true, 0.7), &[("user", "1")]).unwrap();
    let before = slices.clone();
    assert_eq!(kind(slices.push(&BinaryRow::new(true, 0.7), &[("user", "2")])), Some(ErrorKind::Invalid));
    assert_eq!(kind(slices.push(&BinaryRow::new(true, f64::NAN), &[("user", "1")])), Some(ErrorKind::Data));
    assert_eq!(slices, before);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let with = |change: fn(&mut BinarySettings)| {
        let mut settings = BinarySettings::default();
        change(&mut settings);
        kind(BinaryMetrics::new(settings))
    };
    assert_eq!(with(|settings| settings.threshold = f64::NAN), Some(ErrorKind::Invalid));
    assert_eq!(with(|settings| settings.beta = -1.0), Some(ErrorKind::Invalid));
    assert_eq!(with(|settings| settings.calibration_bins = 0), Some(ErrorKind::Invalid));
    assert_eq!(with(|settings| settings.calibration_bins = usize::MAX), Some(ErrorKind::Invalid));
    assert_eq!(
        with(|settings| settings.scores = ScoreMemory::Histogram { bins: 0 }),
        Some(ErrorKind::Invalid)
    );
    assert_eq!(kind(ScoreHistogram::new(1.0, 0.0, 8)), Some(ErrorKind::Invalid));
    assert_eq!(kind(ScoreHistogram::new(f64::MIN, f64::MAX, 8)), Some(ErrorKind::Invalid));
    assert_eq!(
        kind(CalibrationTable::with_edges(&[0.5, 0.4], BinEdge::UpperClosed)),
        Some(ErrorKind::Invalid)
    );
    assert_eq!(
        kind(CalibrationTable::with_edges(&[f64::NAN], BinEdge::UpperClosed)),
        Some(ErrorKind::Invalid)
    );

    let mut exact = BinaryMetrics::new(BinarySettings::default()).unwrap();
    let other = BinarySettings { threshold: 0.4, ..BinarySettings::default() };
    assert_eq!(kind(exact.merge(&BinaryMetrics::new(other).unwrap())), Some(ErrorKind::Invalid));
    let mut histogram = ScoreHistogram::probabilities(8).unwrap();
    assert_eq!(kind(histogram.merge(&ScoreHistogram::probabilities(9).unwrap())), Some(ErrorKind::Invalid));
    assert_eq!(kind(histogram.extend(&[true, true], &[0.5, f64::NAN])), Some(ErrorKind::Data));
    assert_eq!(histogram, ScoreHistogram::probabilities(8).unwrap());
}

#[test]
fn stored_states_are_checked() {
    let table = CalibrationTable::new(4, BinEdge::UpperClosed).unwrap();
    let text = serde_json::to_string(&table).unwrap();
    assert!(serde_json::from_str::<CalibrationTable>(&text).is_ok());
    assert!(serde_json::from_str::<CalibrationTable>(&text.replacen("0.25,", "", 1)).is_err());
    let histogram = r#"{"low":0.0,"high":1.0,"bins":4,"filled":[[4,1.0,0.0]]}"#;
    assert!(serde_json::from_str::<ScoreHistogram>(histogram).is_err());
    let state = BinaryMetrics::new(BinarySettings::default()).unwrap();
    let text = serde_json::to_string(&state).unwrap().replacen(r#""version":1"#, r#""version":9"#, 1);
    let error = serde_json::from_str::<BinaryMetrics>(&text).unwrap_err();
    assert!(error.to_string().contains("format version 9"), "{error}");
    assert!(serde_json::from_str::<Contingency>(r#"{"facets":["a"],"groups":[],"cells":[]}"#).is_err());
}

#[test]
fn bias_needs_rows_on_both_sides() {
    let table = Contingency::from_rows(&["a", "a"], &[true, false], &[true, false]).unwrap();
    assert_eq!(kind(table.bias("a")), Some(ErrorKind::Data));
    assert_eq!(kind(table.bias("b")), Some(ErrorKind::NotFound));
    let mut table = Contingency::new(["a", "b"]).unwrap();
    table.push("a", None, true, true).unwrap();
    assert_eq!(kind(table.bias("b")), Some(ErrorKind::Data));
    assert_eq!(kind(table.push("c", None, true, true)), Some(ErrorKind::NotFound));
    assert_eq!(kind(table.push("a", Some("g"), true, true)), Some(ErrorKind::NotFound));
    assert_eq!(kind(table.extend(&[2], None, &[true], &[true])), Some(ErrorKind::Invalid));
    assert_eq!(kind(table.extend(&[0], Some(&[0]), &[true], &[true])), Some(ErrorKind::Invalid));
    assert_eq!(kind(table.extend(&[0, 1], None, &[true], &[true])), Some(ErrorKind::Invalid));
    assert_eq!(kind(Contingency::new(["a", "a"])), Some(ErrorKind::Invalid));
    assert_eq!(kind(Contingency::from_rows(&[], &[], &[])), Some(ErrorKind::Invalid));
    assert!(Contingency::new(["a"]).unwrap().gaps().metrics().is_empty());
    // One label only: no disparity to condition, no label in both facets is possible.
    let one =
        Contingency::from_grouped_rows(&["a", "b"], &["g", "g"], &[true, true], &[false, false]).unwrap();
    let bias = one.bias("a").unwrap();
    assert_eq!((bias.cddl, bias.cddpl, bias.ge), (None, None, None));

    let features = ndarray::array![[0.0], [f64::NAN]];
    assert_eq!(kind(flip_test(&features.view(), &[true, false], &[true, true])), Some(ErrorKind::Data));
    let features = ndarray::array![[0.0], [1.0]];
    assert_eq!(kind(flip_test(&features.view(), &[true, true], &[true, true])), Some(ErrorKind::Data));
    assert_eq!(kind(flip_test(&features.view(), &[true], &[true, true])), Some(ErrorKind::Invalid));
}
