//! Several classes against scikit-learn.

use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::multiclass::{
    Average, ConfusionMatrix, MulticlassMetrics, MulticlassRow, PrecisionRecall, ScoredClasses,
};
use ndarray::Array2;
use proptest::prelude::*;

use super::oracle::{Case, agree, cases, numbers};

fn probabilities(case: &Case) -> (Vec<usize>, Array2<f64>) {
    let labels = case.numbers("y_true").into_iter().map(|label| label as usize).collect();
    let rows: Vec<Vec<f64>> = case.input["proba"].as_array().unwrap().iter().map(numbers).collect();
    let shape = (rows.len(), rows[0].len());
    (labels, Array2::from_shape_vec(shape, rows.concat()).unwrap())
}

#[test]
fn metrics_agree_with_scikit_learn() {
    type Metric = fn(&ScoredClasses<'_>) -> Option<f64>;
    let metrics: [(&str, Metric); 7] = [
        ("auc_ovr_macro", |rows| rows.auc_one_vs_rest(Average::Macro)),
        ("auc_ovr_weighted", |rows| rows.auc_one_vs_rest(Average::Weighted)),
        ("auc_ovo_macro", |rows| rows.auc_one_vs_one(Average::Macro)),
        ("auc_ovo_weighted", |rows| rows.auc_one_vs_one(Average::Weighted)),
        ("log_loss", |rows| rows.log_loss()),
        ("cohen_kappa", |rows| rows.confusion().unwrap().kappa()),
        ("mcc", |rows| rows.confusion().unwrap().mcc()),
    ];
    for (family, metric) in metrics {
        for case in cases(&format!("multiclass:{family}")) {
            let (labels, table) = probabilities(&case);
            case.expect(metric(&ScoredClasses::new(&labels, &table.view()).unwrap()));
        }
    }
    for (family, average) in [("prf_macro", Average::Macro), ("prf_weighted", Average::Weighted)] {
        for case in cases(&format!("multiclass:{family}")) {
            let (labels, table) = probabilities(&case);
            let matrix = ScoredClasses::new(&labels, &table.view()).unwrap().confusion().unwrap();
            let PrecisionRecall { precision, recall, f1 } = matrix.average(average).unwrap();
            for (index, value) in [precision, recall, f1].into_iter().enumerate() {
                agree(family, Some(value), &case.expected[index]);
            }
            let mut streamed = MulticlassMetrics::new(table.ncols()).unwrap();
            for (&label, row) in labels.iter().zip(table.rows()) {
                streamed.push(&MulticlassRow { label, probabilities: row.to_vec() }).unwrap();
            }
            assert_eq!(streamed.confusion(), &matrix);
        }
    }
}

#[test]
fn averages_run_over_the_classes_that_occur() {
    let mut matrix = ConfusionMatrix::new(5).unwrap();
    for (label, predicted) in [(0, 0), (0, 1), (3, 3)] {
        matrix.add(label, predicted, 1.0).unwrap();
    }
    // scikit-learn 1.9.1, `precision_recall_fscore_support([0, 0, 3], [0, 1, 3], average="macro", zero_division=0)`.
    let average = matrix.average(Average::Macro).unwrap();
    assert!((average.precision - 2.0 / 3.0).abs() < 1e-12);
    assert!((average.recall - 0.5).abs() < 1e-12);
    assert!((average.f1 - 5.0 / 9.0).abs() < 1e-12);
    assert_eq!(matrix.of_class(2), None);
}

#[test]
fn bad_rows_are_refused() {
    assert!(ConfusionMatrix::new(1).is_err());
    assert!(ConfusionMatrix::new(usize::MAX).is_err());
    assert!(ConfusionMatrix::new(3).unwrap().add(3, 0, 1.0).is_err());
    assert!(ConfusionMatrix::new(3).unwrap().add(0, 0, f64::NAN).is_err());
    assert_eq!(ConfusionMatrix::new(3).unwrap().mcc(), None);
    assert_eq!(ConfusionMatrix::new(3).unwrap().average(Average::Macro), None);
    let mut metrics = MulticlassMetrics::new(2).unwrap();
    for (label, probabilities) in [
        (0, vec![0.5]),
        (0, vec![0.5, 0.6]),
        (0, vec![f64::NAN, 1.0]),
        (2, vec![0.5, 0.5]),
        (0, vec![-0.5, 1.5]),
    ] {
        assert!(metrics.push(&MulticlassRow { label, probabilities }).is_err());
    }
    assert_eq!(metrics, MulticlassMetrics::new(2).unwrap());
    let one_class = ndarray::array![[0.4, 0.6], [0.3, 0.7]];
    let rows = ScoredClasses::new(&[1, 1], &one_class.view()).unwrap();
    assert_eq!(rows.auc_one_vs_rest(Average::Macro), None);
    assert_eq!(rows.top_k_accuracy(1), Some(1.0));
    assert!(ScoredClasses::new(&[2, 1], &one_class.view()).is_err());
    assert!(ScoredClasses::new(&[1], &one_class.view()).is_err());
    assert!(serde_json::from_str::<ConfusionMatrix>("[[1.0, 2.0], [1.0]]").is_err());
}

proptest! {
    #[test]
    fn merging_any_sharding_equals_the_whole(rows in prop::collection::vec((0..4_usize, 0..4_usize), 0..50), shards in 1..5_usize) {
        let matrix = |rows: &mut dyn Iterator<Item = &(usize, usize)>| {
            let mut matrix = ConfusionMatrix::new(4).unwrap();
            rows.for_each(|&(label, predicted)| matrix.add(label, predicted, 1.0).unwrap());
            matrix
        };
        let whole = matrix(&mut rows.iter());
        let mut merged = matrix(&mut std::iter::empty());
        (0..shards).for_each(|shard| merged.merge(&matrix(&mut rows.iter().skip(shard).step_by(shards))).unwrap());
        prop_assert_eq!(&merged, &whole);
        let back: ConfusionMatrix = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        prop_assert_eq!(back, whole);
    }
}
