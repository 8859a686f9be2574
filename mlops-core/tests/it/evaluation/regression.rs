//! Regression against scikit-learn, and merging against the whole.

use mlops_core::ErrorKind;
use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::regression::{Predicted, RegressionMetrics, RegressionRow};
use proptest::prelude::*;

use super::oracle::{cases, numbers};

fn check(family: &str, metric: impl Fn(Predicted<'_>) -> Option<f64>) {
    for case in cases(family) {
        let (truth, predicted) = (case.numbers("y_true"), case.numbers("y_pred"));
        let rows = Predicted::new(&truth, &predicted).unwrap();
        match case.input.get("sample_weight").filter(|weights| !weights.is_null()) {
            Some(weights) => case.expect(metric(rows.weighted(&numbers(weights)).unwrap())),
            None => case.expect(metric(rows)),
        }
    }
}

#[test]
fn metrics_agree_with_scikit_learn() {
    type Metric = fn(&RegressionMetrics) -> Option<f64>;
    let streaming: [(&str, f64, Metric); 11] = [
        ("mse", 0.5, RegressionMetrics::mse),
        ("rmse", 0.5, RegressionMetrics::rmse),
        ("mae", 0.5, RegressionMetrics::mae),
        ("mape", 0.5, RegressionMetrics::mape),
        ("smape", 0.5, RegressionMetrics::smape),
        ("wape", 0.5, RegressionMetrics::wape),
        ("msle", 0.5, RegressionMetrics::msle),
        ("r2", 0.5, RegressionMetrics::r2),
        ("explained_variance", 0.5, RegressionMetrics::explained_variance),
        ("pinball_0.9", 0.9, RegressionMetrics::pinball_loss),
        ("mae", 0.5, |metrics| metrics.pinball_loss().map(|loss| 2.0 * loss)),
    ];
    for (family, quantile, metric) in streaming {
        check(family, |rows| metric(&rows.metrics(quantile).unwrap()));
    }
    check("median_ae", |rows| rows.median_absolute_error());
    check("d2_abs", |rows| rows.d2_pinball(0.5).unwrap());
}

#[test]
fn weighted_rows_agree_with_scikit_learn() {
    for case in cases("regression_weighted") {
        let (truth, predicted) = (case.numbers("y_true"), case.numbers("y_pred"));
        let weights = case.numbers("sample_weight");
        let rows = Predicted::new(&truth, &predicted).unwrap().weighted(&weights).unwrap();
        let metrics = rows.metrics(0.1).unwrap();
        case.expect_field("r2", metrics.r2());
        case.expect_field("explained_variance", metrics.explained_variance());
        case.expect_field("mape", metrics.mape());
        case.expect_field("pinball_0.1", metrics.pinball_loss());
        case.expect_field("median_ae", rows.median_absolute_error());
        case.expect_field("d2_abs", rows.d2_pinball(0.5).unwrap());
        case.expect_field("d2_pinball_0.9", rows.d2_pinball(0.9).unwrap());
    }
}

#[test]
fn residuals_are_summarised() {
    let residuals =
        Predicted::new(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 1.0, 1.0, 1.0, 1.0]).unwrap().residuals();
    let residuals = residuals.unwrap();
    assert_eq!((residuals.mean, residuals.min, residuals.max), (2.0, 0.0, 4.0));
    assert_eq!(residuals.quartiles, [1.0, 2.0, 3.0]);
    assert!((residuals.std - 2.0_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn bad_rows_are_refused_and_no_rows_are_undefined() {
    let kind =
        |truth: &[f64], predicted: &[f64]| Predicted::new(truth, predicted).err().map(|error| error.kind());
    assert_eq!(kind(&[f64::NAN], &[1.0]), Some(ErrorKind::Data));
    assert_eq!(kind(&[1.0], &[f64::INFINITY]), Some(ErrorKind::Data));
    assert_eq!(kind(&[1.0], &[]), Some(ErrorKind::Invalid));
    assert!(RegressionMetrics::new(1.5).is_err() && RegressionMetrics::new(f64::NAN).is_err());
    let mut metrics = RegressionMetrics::new(0.5).unwrap();
    assert!(metrics.metrics().is_empty());
    assert!(metrics.push(&RegressionRow::new(f64::NAN, 0.0)).is_err());
    assert_eq!(metrics, RegressionMetrics::new(0.5).unwrap());
    let empty = Predicted::new(&[], &[]).unwrap();
    assert_eq!((empty.median_absolute_error(), empty.residuals()), (None, None));
    assert_eq!(empty.d2_pinball(0.5).unwrap(), None);
    let weightless = Predicted::new(&[1.0, 2.0], &[1.0, 3.0]).unwrap().weighted(&[0.0, 0.0]).unwrap();
    assert!(weightless.metrics(0.5).unwrap().metrics().is_empty());
    assert!(metrics.merge(&RegressionMetrics::new(0.9).unwrap()).is_err());
}

proptest! {
    #[test]
    fn merging_any_sharding_equals_the_whole(
        rows in prop::collection::vec((-50.0..50.0_f64, -50.0..50.0_f64, 0.0..3.0_f64), 2..60),
        shards in 1..5_usize,
    ) {
        let state = |rows: &[(f64, f64, f64)]| {
            let mut state = RegressionMetrics::new(0.7).unwrap();
            for &(truth, predicted, weight) in rows {
                state.push(&RegressionRow { truth, predicted, weight }).unwrap();
            }
            state
        };
        let whole = state(&rows);
        let mut merged = state(&[]);
        for shard in 0..shards {
            merged.merge(&state(&rows.iter().skip(shard).step_by(shards).copied().collect::<Vec<_>>())).unwrap();
        }
        prop_assert_eq!(merged.rows(), whole.rows());
        let (merged, whole) = (merged.metrics(), whole.metrics());
        prop_assert_eq!(merged.len(), whole.len());
        for (name, metric) in &whole {
            let gap = (merged[name].value - metric.value).abs() / metric.value.abs().max(1.0);
            prop_assert!(gap < 1e-9, "{}: {} {}", name, merged[name].value, metric.value);
        }
    }
}
