//! Two models on the same rows, against SciPy, statsmodels and DeLong's definition.

use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::paired::{
    PairedBinary, PairedMean, PairedRow, paired_evaluation, paired_roc_auc,
};
use mlops_core::experiment::Alternative;
use mlops_core::experiment::fixed::mann_whitney;
use proptest::prelude::*;

use super::oracle::{agree, cases};

#[test]
fn the_t_test_agrees_with_scipy() {
    for case in cases("paired_t") {
        let mut paired = PairedMean::default();
        for (a, b) in case.numbers("a").into_iter().zip(case.numbers("b")) {
            paired.add(a, b).unwrap();
        }
        let test = paired.t_test().unwrap();
        case.expect_field("difference", Some(test.difference));
        case.expect_field("p", Some(test.p_value));
        let interval = paired.interval(0.9).unwrap();
        for (end, index) in [(interval.lower(), 0), (interval.upper(), 1)] {
            let expected = case.expected["ci"][index].as_f64().unwrap();
            assert!((end - expected).abs() < 1e-9, "{end} {expected}");
        }
    }
}

#[test]
fn mcnemar_agrees_with_statsmodels() {
    for case in cases("mcnemar") {
        let count = |field: &str| case.input[field].as_u64().unwrap();
        let mut paired = PairedBinary::new(0.5).unwrap();
        let mut push = |candidate: f64, champion: f64, rows: u64| {
            (0..rows).for_each(|_| paired.push(&PairedRow { label: true, candidate, champion }).unwrap());
        };
        push(0.9, 0.1, count("won"));
        push(0.1, 0.9, count("lost"));
        push(0.9, 0.9, 9);
        push(0.1, 0.1, 4);
        case.expect(paired.mcnemar().map(|test| test.p_value));
    }
}

#[test]
fn delong_agrees_with_its_definition() {
    for case in cases("delong_paired") {
        let labels = case.labels("y_true");
        let test = paired_roc_auc(&labels, &case.numbers("a"), &case.numbers("b")).unwrap().unwrap();
        case.expect_field("difference", Some(test.difference));
        case.expect_field("var", Some(test.std_error.powi(2)));
        agree(&case.name, Some(test.p_value), &case.expected["p"]);
    }
}

#[test]
fn mann_whitney_agrees_with_scipy() {
    for case in cases("mannwhitney") {
        let (a, b) = (case.numbers("a"), case.numbers("b"));
        let answer = mann_whitney(&a, &b, Alternative::TwoSided).unwrap();
        case.expect_field("U", Some(answer.u));
        case.expect_field("p", Some(answer.p_value));
        let turned = mann_whitney(&b, &a, Alternative::TwoSided).unwrap();
        assert!((answer.superiority + turned.superiority - 1.0).abs() < 1e-12);
    }
    assert_eq!(mann_whitney(&[1.0; 9], &[1.0; 9], Alternative::Greater).unwrap().p_value, 1.0);
    assert!(mann_whitney(&[], &[1.0], Alternative::Less).is_err());
    assert!(mann_whitney(&[f64::NAN], &[1.0], Alternative::Less).is_err());
}

#[test]
fn equal_models_do_not_differ() {
    let labels = [true, false, true, false, true];
    let scores = [0.9, 0.4, 0.6, 0.6, 0.2];
    let test = paired_roc_auc(&labels, &scores, &scores).unwrap().unwrap();
    assert_eq!((test.difference, test.std_error, test.p_value), (0.0, 0.0, 1.0));
    let differences = paired_evaluation(&labels, &scores, &scores, 0.5).unwrap();
    assert_eq!(differences.metrics.len(), 4);
    assert!(differences.metrics.values().all(|metric| metric.value == 0.0));
    assert_eq!(differences.metrics["log_loss"].std_error, Some(0.0));
    // Five rows that agree do not show that all would.
    assert!(differences.metrics["accuracy"].std_error.unwrap() > 0.2);
}

#[test]
fn bad_rows_are_refused_or_undefined() {
    assert!(paired_roc_auc(&[true, false], &[0.1, 0.2], &[0.1]).is_err());
    assert!(paired_roc_auc(&[true], &[0.1, 0.2], &[0.1, 0.2]).is_err());
    assert!(paired_roc_auc(&[true, false], &[0.1, f64::NAN], &[0.1, 0.2]).is_err());
    assert_eq!(paired_roc_auc(&[true, true], &[0.1, 0.2], &[0.1, 0.2]).unwrap(), None);
    assert_eq!(paired_roc_auc(&[true, false], &[0.1, 0.2], &[0.1, 0.2]).unwrap(), None);
    let one_class = paired_evaluation(&[true, true], &[0.1, 0.2], &[0.1, 0.2], 0.5).unwrap();
    assert!(!one_class.metrics.contains_key("roc_auc"));
    assert!(paired_evaluation(&[true], &[1.5], &[0.5], 0.5).is_err());
    let mut paired = PairedBinary::new(0.5).unwrap();
    assert_eq!(paired.mcnemar(), None);
    assert!(paired.metrics().is_empty());
    assert!(paired.push(&PairedRow { label: true, candidate: 0.5, champion: f64::NAN }).is_err());
    assert!(paired.merge(&PairedBinary::new(0.4).unwrap()).is_err());
    assert!(PairedBinary::new(f64::NAN).is_err());
    let mut mean = PairedMean::default();
    assert!(mean.add(f64::INFINITY, f64::INFINITY).is_err());
    assert_eq!((mean.t_test(), mean.metric(), mean.interval(0.9)), (None, None, None));
    mean.add(1.0, 0.0).unwrap();
    assert_eq!(mean.t_test(), None);
    mean.add(1.0, 0.0).unwrap();
    assert_eq!(mean.t_test().map(|test| test.p_value), Some(0.0));
    assert_eq!(mean.interval(1.0), None);
}

proptest! {
    #[test]
    fn merging_any_sharding_equals_the_whole(
        rows in prop::collection::vec((any::<bool>(), 0_u8..=10, 0_u8..=10), 0..50),
        shards in 1..4_usize,
    ) {
        let state = |rows: &mut dyn Iterator<Item = &(bool, u8, u8)>| {
            let mut paired = PairedBinary::new(0.5).unwrap();
            for &(label, candidate, champion) in rows {
                let [candidate, champion] = [candidate, champion].map(|p| f64::from(p) / 10.0);
                paired.push(&PairedRow { label, candidate, champion }).unwrap();
            }
            paired
        };
        let whole = state(&mut rows.iter());
        let mut merged = state(&mut std::iter::empty());
        (0..shards).for_each(|shard| merged.merge(&state(&mut rows.iter().skip(shard).step_by(shards))).unwrap());
        prop_assert_eq!(merged.mcnemar(), whole.mcnemar());
        for (name, metric) in whole.metrics() {
            prop_assert!((merged.metrics()[&name].value - metric.value).abs() < 1e-12);
        }
    }

    #[test]
    fn swapping_the_models_turns_the_sign(rows in prop::collection::vec((any::<bool>(), 0_u8..=10, 0_u8..=10), 4..50)) {
        let labels: Vec<bool> = rows.iter().map(|row| row.0).collect();
        let a: Vec<f64> = rows.iter().map(|row| f64::from(row.1) / 10.0).collect();
        let b: Vec<f64> = rows.iter().map(|row| f64::from(row.2) / 10.0).collect();
        let (ab, ba) = (paired_roc_auc(&labels, &a, &b).unwrap(), paired_roc_auc(&labels, &b, &a).unwrap());
        prop_assert_eq!(ab.map(|test| test.difference), ba.map(|test| -test.difference));
        prop_assert_eq!(ab.map(|test| test.p_value), ba.map(|test| test.p_value));
    }
}
