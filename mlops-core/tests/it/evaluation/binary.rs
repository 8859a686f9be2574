//! Two classes against scikit-learn, and streaming against batch.

use mlops_core::evaluation::binary::{
    BinEdge, BinaryMetrics, BinaryRow, BinarySettings, Confusion, ExactScores, ScoreHistogram, ScoreMemory,
    Scored, log_loss_f32,
};
use mlops_core::evaluation::{Evaluation, MetricState, Slices};
use proptest::prelude::*;

use super::oracle::{Case, agree, cases, numbers};

/// Runs a metric on every case of a family.
fn check(family: &str, metric: impl Fn(&Case, Scored<'_>) -> Option<f64>) {
    for case in cases(family) {
        on_rows(&case, |rows| case.expect(metric(&case, rows)));
    }
}

fn on_rows<T>(case: &Case, run: impl FnOnce(Scored<'_>) -> T) -> T {
    let (labels, scores) = (case.labels("y_true"), case.numbers("y_score"));
    let rows = Scored::new(&labels, &scores).unwrap();
    match case.input.get("sample_weight").filter(|weights| !weights.is_null()) {
        Some(weights) => run(rows.weighted(&numbers(weights)).unwrap()),
        None => run(rows),
    }
}

#[test]
fn ranking_of_scores_agrees_with_scikit_learn() {
    check("roc_auc", |_, rows| rows.roc_auc());
    check("roc_auc", |_, rows| rows.curve().roc_auc());
    check("average_precision", |_, rows| rows.curve().average_precision());
    check("pr_auc_trapezoid", |_, rows| rows.curve().pr_auc_trapezoid());
}

#[test]
fn losses_agree_with_scikit_learn() {
    check("log_loss", |_, rows| rows.losses().unwrap().log_loss());
    check("brier", |_, rows| rows.losses().unwrap().brier());
    check("normalized_entropy", |_, rows| rows.losses().unwrap().normalized_entropy());
    check("calibration_ratio", |_, rows| rows.losses().unwrap().calibration_ratio());
    for case in cases("log_loss_f32_eps") {
        let scores: Vec<f32> = case.numbers("y_score_f32").into_iter().map(|score| score as f32).collect();
        case.expect(Some(f64::from(log_loss_f32(&case.labels("y_true"), &scores).unwrap())));
    }
}

#[test]
fn decisions_agree_with_scikit_learn() {
    check("mcc", |case, rows| matrix(case, rows).mcc());
    check("balanced_accuracy", |case, rows| matrix(case, rows).balanced_accuracy());
    for (family, zero_division) in [("prf1_threshold0.5_zd0", 0.0), ("prf1_threshold0.5_zd1", 1.0)] {
        for case in cases(family) {
            let matrix = on_rows(&case, |rows| matrix(&case, rows));
            let or = |value: Option<f64>| Some(value.unwrap_or(zero_division));
            case.expect_field("precision", or(matrix.precision()));
            case.expect_field("recall", or(matrix.recall()));
            case.expect_field("f1", or(matrix.f_beta(1.0)));
        }
    }
    for case in cases("confusion") {
        let matrix = on_rows(&case, |rows| matrix(&case, rows));
        agree(&case.name, Some(matrix.true_negatives), &case.expected[0][0]);
        agree(&case.name, Some(matrix.false_positives), &case.expected[0][1]);
        agree(&case.name, Some(matrix.false_negatives), &case.expected[1][0]);
        agree(&case.name, Some(matrix.true_positives), &case.expected[1][1]);
    }
}

fn matrix(case: &Case, rows: Scored<'_>) -> Confusion {
    rows.confusion(case.input["threshold"].as_f64().unwrap())
}

#[test]
fn calibration_agrees_with_scikit_learn_and_the_formula() {
    for case in cases("ece10_uniform_halfopen_right") {
        let table = on_rows(&case, |rows| rows.calibration(10, BinEdge::LowerClosed).unwrap());
        case.expect_field("ece", table.ece());
        case.expect_field("mce", table.mce());
    }
    for case in cases("ece10_quantile") {
        let table = on_rows(&case, |rows| rows.calibration_by_quantile(10).unwrap());
        case.expect_field("ece", table.ece());
        case.expect_field("mce", table.mce());
    }
    for case in cases("calibration_curve5") {
        let table = on_rows(&case, |rows| rows.calibration(5, BinEdge::UpperClosed).unwrap());
        let bins: Vec<_> = table.bins().collect();
        assert_eq!(bins.len(), case.expected["prob_true"].as_array().unwrap().len());
        for (index, bin) in bins.iter().enumerate() {
            agree(&case.name, Some(bin.observed), &case.expected["prob_true"][index]);
            agree(&case.name, Some(bin.predicted), &case.expected["prob_pred"][index]);
        }
    }
}

#[test]
fn the_roc_curve_agrees_with_scikit_learn() {
    for case in cases("roc_curve") {
        let curve = on_rows(&case, |rows| rows.curve());
        for (index, point) in curve.points().enumerate() {
            // The first point of the expected rates stands for "predict nothing positive".
            agree(&case.name, point.confusion.false_positive_rate(), &case.expected[0][index + 1]);
            agree(&case.name, point.confusion.recall(), &case.expected[1][index + 1]);
            agree(&case.name, Some(point.threshold), &case.expected[2][index]);
        }
    }
}

#[test]
fn the_variance_of_the_area_is_delongs() {
    for case in cases("delong_auc_variance") {
        let (labels, scores) = (case.labels("y"), case.numbers("s"));
        let curve = Scored::new(&labels, &scores).unwrap().curve();
        case.expect_field("auc", curve.roc_auc());
        case.expect_field("var", curve.roc_auc_std_error().map(|error| error * error));
    }
}

#[test]
fn lift_and_ks_read_off_the_curve() {
    let labels = [true, true, false, true, false, false, false, false, false, false];
    let scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0];
    let curve = Scored::new(&labels, &scores).unwrap().curve();
    assert_eq!(curve.gain(0.2), Some(2.0 / 3.0));
    assert!((curve.lift(0.2).unwrap() - 10.0 / 3.0).abs() < 1e-12);
    assert_eq!(curve.lift(1.0), Some(1.0));
    let (gap, threshold) = curve.ks().unwrap();
    assert!((gap - (1.0 - 1.0 / 7.0)).abs() < 1e-12);
    assert_eq!(threshold, 0.6);
    // Ten tied rows: any share of them holds the same share of the positives.
    let tied = Scored::new(&labels, &[0.5; 10]).unwrap().curve();
    assert!((tied.lift(0.3).unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn weighted_rows_agree_with_scikit_learn() {
    for case in cases("binary_weighted") {
        on_rows(&case, |rows| {
            let (curve, losses, matrix) = (rows.curve(), rows.losses().unwrap(), matrix(&case, rows));
            case.expect_field("roc_auc", curve.roc_auc());
            case.expect_field("average_precision", curve.average_precision());
            case.expect_field("log_loss", losses.log_loss());
            case.expect_field("brier", losses.brier());
            case.expect_field("mcc", matrix.mcc());
            case.expect_field("kappa", matrix.kappa());
            case.expect_field("f2", matrix.f_beta(2.0));
            case.expect_field("f0.5", matrix.f_beta(0.5));
            case.expect_field("balanced_accuracy", matrix.balanced_accuracy());
        });
    }
    check("ks", |_, rows| rows.curve().ks().map(|(gap, _)| gap));
}

/// Probabilities from a coarse grid, so that ties are common.
fn rows() -> impl Strategy<Value = Vec<BinaryRow>> {
    let row = (any::<bool>(), 0_u32..=20).prop_map(|(label, p)| BinaryRow::new(label, f64::from(p) / 20.0));
    prop::collection::vec(row, 0..60)
}

fn state(rows: &[BinaryRow], scores: ScoreMemory) -> BinaryMetrics {
    let mut state = BinaryMetrics::new(BinarySettings { scores, ..BinarySettings::default() }).unwrap();
    rows.iter().for_each(|row| state.push(row).unwrap());
    state
}

proptest! {
    #[test]
    fn merging_any_sharding_equals_the_whole(rows in rows(), shards in 1..6_usize, histogram: bool) {
        let memory = if histogram { ScoreMemory::Histogram { bins: 64 } } else { ScoreMemory::Exact };
        let whole = state(&rows, memory);
        let mut merged = state(&[], memory);
        for shard in 0..shards {
            let part: Vec<_> = rows.iter().skip(shard).step_by(shards).copied().collect();
            merged.merge(&state(&part, memory)).unwrap();
        }
        prop_assert_eq!(merged.rows(), whole.rows());
        prop_assert_eq!(merged.confusion(), whole.confusion());
        prop_assert_eq!(merged.curve(), whole.curve());
        let (merged, whole) = (merged.metrics(), whole.metrics());
        prop_assert_eq!(merged.len(), whole.len());
        for (name, metric) in &whole {
            prop_assert!((merged[name].value - metric.value).abs() < 1e-12, "{}", name);
        }
    }

    #[test]
    fn a_state_survives_serde(rows in rows(), histogram: bool) {
        let memory = if histogram { ScoreMemory::Histogram { bins: 64 } } else { ScoreMemory::Exact };
        let before = state(&rows, memory);
        let after: BinaryMetrics = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn the_area_keeps_its_laws(rows in rows(), shift in -3.0..3.0_f64) {
        let labels: Vec<bool> = rows.iter().map(|row| row.label).collect();
        let scores: Vec<f64> = rows.iter().map(|row| row.probability).collect();
        let auc = Scored::new(&labels, &scores).unwrap().roc_auc();
        // The count of pairs by definition.
        let (mut won, mut pairs) = (0.0, 0.0);
        for (&label, &score) in labels.iter().zip(&scores).filter(|(label, _)| **label) {
            for (_, &other) in labels.iter().zip(&scores).filter(|(other, _)| **other != label) {
                won += if score > other { 1.0 } else if score == other { 0.5 } else { 0.0 };
                pairs += 1.0;
            }
        }
        prop_assert_eq!(auc, (pairs > 0.0).then(|| won / pairs));
        prop_assert_eq!(auc, Scored::new(&labels, &scores).unwrap().curve().roc_auc());
        let moved: Vec<f64> = scores.iter().map(|score| (score * 3.0 + shift).exp()).collect();
        prop_assert_eq!(auc, Scored::new(&labels, &moved).unwrap().roc_auc());
        let turned: Vec<f64> = scores.iter().map(|score| -score).collect();
        let mirrored = Scored::new(&labels, &turned).unwrap().roc_auc();
        prop_assert_eq!(auc.is_some(), mirrored.is_some());
        if let (Some(auc), Some(mirrored)) = (auc, mirrored) {
            prop_assert!((auc + mirrored - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_histogram_keeps_its_error_bound(
        rows in prop::collection::vec((any::<bool>(), 0.0..=1.0_f64), 2..200),
        bins in 1..64_usize,
    ) {
        let (labels, scores): (Vec<bool>, Vec<f64>) = rows.into_iter().unzip();
        let mut histogram = ScoreHistogram::probabilities(bins).unwrap();
        histogram.extend(&labels, &scores).unwrap();
        let exact = Scored::new(&labels, &scores).unwrap().roc_auc();
        prop_assert_eq!(exact.is_some(), histogram.roc_auc_error().is_some());
        if let (Some(exact), Some(bound)) = (exact, histogram.roc_auc_error()) {
            prop_assert!((histogram.roc_auc().unwrap() - exact).abs() <= bound + 1e-12);
            prop_assert_eq!(histogram.curve().roc_auc(), histogram.roc_auc());
        }
    }

    #[test]
    fn weights_count_as_repeated_rows(rows in prop::collection::vec((any::<bool>(), 0_u32..=20, 0_u32..4), 1..40)) {
        let labels: Vec<bool> = rows.iter().map(|row| row.0).collect();
        let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.1) / 20.0).collect();
        let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.2)).collect();
        let repeat = |index: usize| std::iter::repeat_n(index, rows[index].2 as usize);
        let places: Vec<usize> = (0..rows.len()).flat_map(repeat).collect();
        let many_labels: Vec<bool> = places.iter().map(|&place| labels[place]).collect();
        let many_scores: Vec<f64> = places.iter().map(|&place| scores[place]).collect();
        let weighted = Scored::new(&labels, &scores).unwrap().weighted(&weights).unwrap();
        let repeated = Scored::new(&many_labels, &many_scores).unwrap();
        prop_assert_eq!(weighted.curve(), repeated.curve());
        prop_assert_eq!(weighted.confusion(0.5), repeated.confusion(0.5));
        let (left, right) = (weighted.losses().unwrap(), repeated.losses().unwrap());
        prop_assert_eq!(left.log_loss().is_some(), right.log_loss().is_some());
        if let (Some(left), Some(right)) = (left.log_loss(), right.log_loss()) {
            prop_assert!((left - right).abs() < 1e-12);
        }
    }

    #[test]
    fn slices_add_up_to_the_whole(rows in rows(), shards in 1..4_usize) {
        let names = ["a", "b", "c"];
        let empty = || Slices::new(state(&[], ScoreMemory::Exact));
        let mut whole = empty();
        let mut parts: Vec<_> = (0..shards).map(|_| empty()).collect();
        for (index, row) in rows.iter().enumerate() {
            let slice = [("group", names[index % 3])];
            whole.push(row, &slice).unwrap();
            parts[index % shards].push(row, &slice).unwrap();
        }
        let mut merged = empty();
        parts.iter().for_each(|part| merged.merge(part).unwrap());
        prop_assert_eq!(Evaluation::of_slices(&merged).slices.len(), Evaluation::of_slices(&whole).slices.len());
        let mut sum = Confusion::default();
        merged.slices().for_each(|(_, state)| sum.merge(state.confusion()));
        prop_assert_eq!(&sum, whole.whole().confusion());
    }
}

#[test]
fn exact_scores_hold_many_distinct_values() {
    let mut scores = ExactScores::default();
    for row in 0..20_000_u32 {
        let score = f64::from(row.wrapping_mul(2_654_435_761) >> 8);
        scores.add(row % 3 == 0, score, 1.0).unwrap();
    }
    let curve = scores.curve();
    assert_eq!(curve.positives() + curve.negatives(), 20_000.0);
    assert!(curve.runs().windows(2).all(|pair| pair[0].score > pair[1].score));
}

/// The lift at a share of the rows is a metric by name, the same from any sharding.
#[test]
fn lift_is_streamed_and_named() {
    let settings = BinarySettings { lift_at: 0.2, ..BinarySettings::default() };
    let rows: Vec<BinaryRow> =
        (0..50_u32).map(|row| BinaryRow::new(row % 10 == 0 || row > 44, f64::from(row) / 50.0)).collect();
    let fed = |rows: &[BinaryRow]| {
        let mut metrics = BinaryMetrics::new(settings).unwrap();
        rows.iter().for_each(|row| metrics.push(row).unwrap());
        metrics
    };
    let mut merged = fed(&rows[..17]);
    merged.merge(&fed(&rows[17..])).unwrap();
    let lift = fed(&rows).metrics()["lift@0.2"].value;
    assert_eq!(merged.metrics()["lift@0.2"].value, lift);
    // Six of the ten positives are among the ten best of fifty rows.
    assert!((lift - (6.0 / 10.0) / 0.2).abs() < 1e-12, "{lift}");
    assert!(fed(&rows[1..9]).metrics().keys().all(|name| !name.starts_with("lift")), "no positives");
    for share in [0.0, 1.1, -0.1, f64::NAN] {
        let settings = BinarySettings { lift_at: share, ..BinarySettings::default() };
        assert!(BinaryMetrics::new(settings).is_err(), "{share}");
    }
}

/// What the docs say of batches of one class.
#[test]
fn metrics_of_one_class() {
    let of = |label: bool| {
        let mut metrics = BinaryMetrics::new(BinarySettings::default()).unwrap();
        [0.2, 0.7, 0.9].iter().for_each(|score| metrics.push(&BinaryRow::new(label, *score)).unwrap());
        metrics.metrics()
    };
    let (positives, negatives) = (of(true), of(false));
    for absent in ["roc_auc", "ks", "specificity"] {
        assert!(!positives.contains_key(absent), "{absent}");
    }
    for absent in ["roc_auc", "ks", "recall"] {
        assert!(!negatives.contains_key(absent), "{absent}");
    }
    assert_eq!([&positives, &negatives].map(|metrics| metrics["mcc"].value), [0.0; 2]);
    assert_eq!(positives["balanced_accuracy"].value, positives["recall"].value);
    assert_eq!(positives["average_precision"].value, 1.0);
}
