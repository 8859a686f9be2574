//! Input that cannot be measured: a typed error or a documented value.

use mlops_core::evaluation::bias::{Contingency, flip_test};
use mlops_core::evaluation::binary::{
    BinEdge, BinaryMetrics, BinaryRow, BinarySettings, CalibrationTable, Confusion, ExactScores,
    ProbabilityLosses, ScoreHistogram, ScoreMemory, Scored, labels_from, log_loss_f32,
};
use mlops_core::evaluation::business::Ratio;
use mlops_core::evaluation::interval::{Bootstrap, BootstrapMethod};
use mlops_core::evaluation::multiclass::{MulticlassMetrics, MulticlassRow};
use mlops_core::evaluation::paired::{PairedBinary, PairedMean, PairedRow};
use mlops_core::evaluation::ranking::{
    Catalogue, Conventions, Gain, Gauc, Ranking, RankingMetrics, RankingSettings,
};
use mlops_core::evaluation::regression::{Predicted, RegressionMetrics, RegressionRow};
use mlops_core::evaluation::{Evaluation, Goal, Metric, MetricState, SliceSearch, Slices};
use mlops_core::{ErrorKind, Seed};

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
fn the_cheapest_threshold_of_odd_costs_and_classes() {
    let cheapest = |labels: &[bool], costs: [f64; 2]| {
        let scores: Vec<f64> = (1..=labels.len()).map(|place| place as f64 / 10.0).collect();
        let point = Scored::new(labels, &scores).unwrap().curve().cheapest(costs[0], costs[1]);
        point.map(|point| point.threshold)
    };
    let mixed = [false, true, false, true, true];
    for costs in [[f64::INFINITY, 1.0], [1.0, f64::NAN], [-1.0, 1.0]] {
        assert_eq!(cheapest(&mixed, costs), None, "{costs:?}");
    }
    assert_eq!(cheapest(&mixed, [0.0, 0.0]), Some(f64::INFINITY));
    assert_eq!(cheapest(&[false; 5], [1.0, 5.0]), Some(f64::INFINITY));
    assert_eq!(cheapest(&[true; 5], [5.0, 1.0]), Some(0.1));
    assert_eq!(cheapest(&[true; 5], [5.0, 0.0]), Some(f64::INFINITY));
    // Sums of these would be infinite, and all points as dear as the others.
    for [false_positive, false_negative] in [[1.0, 5.0], [5.0, 1.0], [1.0, 1.0]] {
        let huge = [false_positive * 3e307, false_negative * 3e307];
        assert_eq!(cheapest(&mixed, huge), cheapest(&mixed, [false_positive, false_negative]));
    }
    // However small, a cost counts where the other one is nothing.
    for dear in [1e15, 1e200, f64::MAX] {
        assert_eq!(cheapest(&mixed, [dear, 1e-200]), Some(0.4), "{dear}");
        assert_eq!(cheapest(&mixed, [1e-200, dear]), Some(0.2), "{dear}");
    }
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

/// Squares of what is let in stay finite, so no metric is NaN and none is lost.
#[test]
fn numbers_too_large_to_square_are_refused() {
    let mut regression = RegressionMetrics::new(0.5).unwrap();
    for (truth, predicted) in [(1e200, 0.0), (1e308, -1e308), (0.0, -1e91)] {
        assert_eq!(kind(regression.push(&RegressionRow::new(truth, predicted))), Some(ErrorKind::Data));
        assert_eq!(kind(Predicted::new(&[truth], &[predicted])), Some(ErrorKind::Data));
        assert_eq!(kind(PairedMean::default().add(truth, predicted)), Some(ErrorKind::Data));
    }
    (0..3).for_each(|i| regression.push(&RegressionRow::new(1e90, f64::from(i - 1) * 1e90)).unwrap());
    for name in ["mse", "rmse", "r2", "explained_variance"] {
        assert!(regression.metrics()[name].value.is_finite(), "{name}");
    }
    assert_eq!(kind(Ratio::default().add(1e200, 2.0)), Some(ErrorKind::Data));
    let loss: Vec<f64> =
        (0..80).map(|i| if i < 40 { 1e200 * f64::from(1 - i % 2 * 2) } else { 0.0 }).collect();
    let slices: Vec<&str> = (0..80).map(|i| if i < 40 { "x" } else { "y" }).collect();
    assert_eq!(kind(SliceSearch::default().find(&[("a", &slices)], &loss)), Some(ErrorKind::Data));
    let large: Vec<f64> = loss.iter().map(|loss| loss * 1e-110).collect();
    assert_eq!(SliceSearch::default().find(&[("a", &slices)], &large).unwrap(), []);
    let exponential = Conventions { gain: Gain::Exponential, ..Conventions::default() };
    assert_eq!(kind(Ranking::from_scores(&[2000.0], &[1.0], exponential)), Some(ErrorKind::Data));
    assert_eq!(Ranking::from_scores(&[1000.0, 1000.0], &[1.0, 0.0], exponential).unwrap().ndcg(None), 1.0);
    let error = regression.push(&RegressionRow::new(1e200, 0.0)).unwrap_err().to_string();
    assert_eq!(error, "truth 1e200 at row 3 is outside -1e90..=1e90");
}

#[test]
fn rows_added_one_by_one_are_checked_and_named() {
    let mut losses = ProbabilityLosses::default();
    let mut table = CalibrationTable::new(10, BinEdge::LowerClosed).unwrap();
    let mut confusion = Confusion::default();
    losses.add(true, 0.5, 1.0).unwrap();
    table.add(true, 0.5, 1.0).unwrap();
    for probability in [1.5, -0.1, f64::NAN] {
        assert!(losses.add(true, probability, 1.0).unwrap_err().to_string().contains("at row 1"));
        assert!(table.add(true, probability, 1.0).unwrap_err().to_string().contains("at row 1"));
    }
    for weight in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
        assert_eq!(kind(losses.add(true, 0.5, weight)), Some(ErrorKind::Data));
        assert_eq!(kind(table.add(true, 0.5, weight)), Some(ErrorKind::Data));
        assert_eq!(kind(confusion.add(true, true, weight)), Some(ErrorKind::Data));
    }
    assert_eq!((losses.log_loss(), table.ece()), (Some(2_f64.ln()), Some(0.5)));
    let mut classes = MulticlassMetrics::new(2).unwrap();
    let row = |label| MulticlassRow { label, probabilities: vec![0.4, 0.6] };
    (0..7).for_each(|_| classes.push(&row(1)).unwrap());
    assert!(classes.push(&row(2)).unwrap_err().to_string().contains("at row 7"));
    let mut scores = ExactScores::default();
    scores.add(true, 0.5, 1.0).unwrap();
    assert!(scores.add(true, f64::NAN, 1.0).unwrap_err().to_string().contains("at row 1"));
}

#[test]
fn names_that_collide_are_refused() {
    let empty = BinaryMetrics::new(BinarySettings::default()).unwrap();
    let mut slices = Slices::new(empty);
    slices.push(&BinaryRow::new(true, 0.9), &[("a", "x"), ("a", "x")]).unwrap();
    assert_eq!(slices.slices().map(|(_, state)| state.rows()).collect::<Vec<_>>(), [1]);
    assert_eq!(kind(slices.push(&BinaryRow::new(true, 0.9), &[("a=b", "c")])), Some(ErrorKind::Invalid));
    assert_eq!(slices.whole().rows(), 1);
    assert_eq!(kind(slices.worst("profit", 0)), Some(ErrorKind::Invalid));
    assert!(slices.worst_by("profit", Goal::Higher, 0).is_empty());
    let judged = [("a", 1.0), ("a", 1.0)];
    assert_eq!(
        kind(Ranking::from_names(&judged, &[("a", 1.0)], Conventions::default())),
        Some(ErrorKind::Data)
    );
    // The score's `ks` and the label's stand side by side.
    let mut slices = Slices::new(BinaryMetrics::new(BinarySettings::default()).unwrap());
    for (label, probability, visitor) in
        [(true, 0.9, "new"), (false, 0.1, "new"), (true, 0.8, "old"), (false, 0.3, "old")]
    {
        slices.push(&BinaryRow::new(label, probability), &[("visitor", visitor)]).unwrap();
    }
    let names = ["new", "new", "old", "old"];
    let table =
        Contingency::from_rows(&names, &[true, false, true, false], &[true, false, true, false]).unwrap();
    let evaluation = Evaluation::of_slices(&slices).with_bias("visitor", &table).unwrap();
    let value = |name| evaluation.metric(name, Some("visitor=new")).unwrap().value;
    assert_eq!((value("ks"), value("label_ks")), (1.0, 0.0));
    assert_eq!(kind(evaluation.clone().with_bias("visitor", &table)), Some(ErrorKind::Invalid));
    assert_eq!(kind(evaluation.with_bias("a=b", &table)), Some(ErrorKind::Invalid));
    let all = Contingency::from_rows(&["x"], &[true], &[true]).unwrap();
    let one = Evaluation::new(1).with_bias("only", &all).unwrap();
    assert_eq!(one.metric("rows", Some("only=x")).unwrap().value, 1.0);
}

#[test]
fn a_bootstrap_of_extremes_is_an_error_or_finite() {
    let ratio = |rows: &[usize]| {
        let hits = rows.iter().filter(|&&row| row < 5).count() as f64;
        Some((rows.len() as f64 - hits) / hits)
    };
    let metric = Bootstrap::new(Seed::new(3)).method(BootstrapMethod::Percentile).metric(9, ratio).unwrap();
    let interval = metric.interval.unwrap();
    assert!(interval.upper().is_finite() && metric.std_error.unwrap().is_finite());
    let text = serde_json::to_string(&metric).unwrap();
    assert_eq!(serde_json::from_str::<Metric>(&text).unwrap(), metric);
    // Every resample has fewer distinct rows than the sample.
    let distinct = |rows: &[usize]| Some(rows.iter().collect::<std::collections::BTreeSet<_>>().len() as f64);
    let error = Bootstrap::new(Seed::new(3)).resamples(200).metric(30, distinct).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("one side"), "{error}");
}

#[test]
fn stored_states_that_are_torn_are_refused() {
    fn text<T: serde::Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap()
    }
    fn torn<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T, swaps: &[(&str, &str)]) {
        let good = text(value);
        assert!(serde_json::from_str::<T>(&good).is_ok(), "{good}");
        for (from, to) in swaps {
            assert!(good.contains(from), "{from} in {good}");
            assert!(serde_json::from_str::<T>(&good.replacen(from, to, 1)).is_err(), "{from} to {to}");
        }
    }
    let mut binary = BinaryMetrics::new(BinarySettings::default()).unwrap();
    binary.push(&BinaryRow::new(true, 0.7)).unwrap();
    binary.push(&BinaryRow::new(false, 0.2)).unwrap();
    torn(
        &binary,
        &[
            (r#""true_positives":1.0"#, r#""true_positives":-1.0"#),
            (r#""calibration_bins":10"#, r#""calibration_bins":9"#),
            (r#""threshold":0.5"#, r#""threshold":null"#),
            (r#""scores":"exact""#, r#""scores":{"histogram":{"bins":8}}"#),
        ],
    );
    torn(&binary.curve(), &[("0.7", "0.1"), (r#""positives":1.0"#, r#""positives":-1.0"#)]);
    let mut regression = RegressionMetrics::new(0.5).unwrap();
    regression.push(&RegressionRow::new(1.0, 2.0)).unwrap();
    torn(
        &regression,
        &[
            (r#""quantile":0.5"#, r#""quantile":5.0"#),
            (r#""rows":1"#, r#""rows":0"#),
            (r#""largest":1.0"#, r#""largest":-1.0"#),
            (r#""weight":1.0"#, r#""weight":2.0"#),
        ],
    );
    let most = text(&regression).replacen(r#""rows":1"#, r#""rows":18446744073709551615"#, 1);
    let mut most: RegressionMetrics = serde_json::from_str(&most).unwrap();
    most.push(&RegressionRow::new(1.0, 2.0)).unwrap();
    most.merge(&regression).unwrap();
    assert_eq!(most.rows(), u64::MAX);
    let mut ranking = RankingMetrics::new(RankingSettings::default()).unwrap();
    ranking.push(&Ranking::from_items(&["a"], &["a"], Conventions::default())).unwrap();
    torn(
        &ranking,
        &[(r#""cutoffs":[10]"#, r#""cutoffs":[10,20]"#), (r#""cutoffs":[10]"#, r#""cutoffs":[0]"#)],
    );
    let mut catalogue = Catalogue::new(&[3.0, 1.0], 4.0).unwrap();
    catalogue.push(&vec![0]).unwrap();
    torn(
        &catalogue,
        &[
            (r#""lists":1"#, r#""lists":0"#),
            (r#""users":4.0"#, r#""users":2.0"#),
            (r#""popularity":3.0"#, r#""popularity":-3.0"#),
        ],
    );
    let mut paired = PairedBinary::new(0.5).unwrap();
    paired.push(&PairedRow { label: true, candidate: 0.9, champion: 0.1 }).unwrap();
    torn(
        &paired,
        &[(r#""candidate_only":1"#, r#""candidate_only":2"#), (r#""threshold":0.5"#, r#""threshold":null"#)],
    );
    let mut ratio = Ratio::default();
    ratio.add(1.0, 2.0).unwrap();
    torn(
        &ratio,
        &[
            (r#""users":1"#, r#""users":0"#),
            ("[1.0,2.0]", "[1e200,2.0]"),
            (r#""version":1"#, r#""version":2"#),
        ],
    );
    let gauc = Gauc::of(&[1, 1], &[true, false], &[0.9, 0.1]).unwrap();
    torn(&gauc, &[(r#""version":1"#, r#""version":2"#), (r#""weight":2.0"#, r#""weight":-2.0"#)]);
    let table = Contingency::from_rows(&["x"], &[true], &[true]).unwrap();
    torn(&table, &[(r#""version":1"#, r#""version":2"#)]);
}
