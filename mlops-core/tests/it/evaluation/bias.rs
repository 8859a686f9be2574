//! Bias metrics against Clarify's formulas and fairlearn.

use mlops_core::Seed;
use mlops_core::evaluation::bias::{BiasRow, Contingency, Gap, flip_test};
use mlops_core::evaluation::interval::PoissonBootstrap;
use mlops_core::evaluation::{Evaluation, Gate, MetricState, Rule, Slices};
use proptest::prelude::*;

use super::oracle::{Case, cases};

fn table(case: &Case, facet: &str) -> Contingency {
    let (facets, groups) = (case.texts(facet), case.input.get("group").is_some() && facet != "group");
    let facets: Vec<&str> = facets.iter().map(String::as_str).collect();
    let (labels, predictions) = (case.labels("y_true"), case.labels("y_pred"));
    if groups {
        let groups = case.texts("group");
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        Contingency::from_grouped_rows(&facets, &groups, &labels, &predictions).unwrap()
    } else {
        Contingency::from_rows(&facets, &labels, &predictions).unwrap()
    }
}

#[test]
fn all_metrics_agree_with_clarify() {
    for family in ["random", "zero_fp", "label_missing_in_facet"] {
        for case in cases(family) {
            let metrics = table(&case, "facet_d").bias("1").unwrap().metrics();
            let expected = case.expected.as_object().unwrap();
            assert_eq!(expected.len(), 20);
            for name in expected.keys() {
                let metric = metrics.get(&name.to_lowercase());
                case.expect_field(name, metric.map(|metric| metric.value));
            }
        }
    }
}

#[test]
fn gaps_agree_with_fairlearn() {
    let check = |family: &str, metric: &dyn Fn(&Contingency) -> Option<f64>| {
        for case in cases(family) {
            case.expect(metric(&table(&case, "group")));
        }
    };
    let (between, overall) = (Gap::BetweenFacets, Gap::ToOverall);
    check("dp_diff", &|table| table.gaps().demographic_parity_difference(between));
    check("dp_diff_to_overall", &|table| table.gaps().demographic_parity_difference(overall));
    check("dp_ratio", &|table| table.gaps().demographic_parity_ratio(between));
    check("dp_ratio_to_overall", &|table| table.gaps().demographic_parity_ratio(overall));
    check("eo_diff", &|table| table.gaps().equalized_odds_difference(between));
    check("eo_diff_to_overall", &|table| table.gaps().equalized_odds_difference(overall));
    check("eo_ratio", &|table| table.gaps().equalized_odds_ratio(between));
    check("eo_ratio_to_overall", &|table| table.gaps().equalized_odds_ratio(overall));
    check("eopp_diff", &|table| table.gaps().equal_opportunity_difference(between));
    check("eopp_diff_to_overall", &|table| table.gaps().equal_opportunity_difference(overall));
    for case in cases("metricframe") {
        let table = table(&case, "group");
        for facet in table.facets() {
            let matrix = table.confusion(facet).unwrap();
            let expect = |field: &str, value: Option<f64>| {
                let wanted = case.expected[field][facet].as_f64().unwrap();
                assert!((value.unwrap_or(0.0) - wanted).abs() < 1e-12, "{} {field} {facet}", case.name);
            };
            expect("sel", matrix.selection_rate());
            expect("tpr", matrix.recall());
            expect("fpr", matrix.false_positive_rate());
            expect("acc", matrix.accuracy());
        }
    }
}

/// fairlearn 0.15.0: rates that are zero everywhere.
#[test]
fn ratios_of_zeros_follow_fairlearn() {
    let gaps = |labels: &[bool], predictions: &[bool], facets: &[&str]| {
        Contingency::from_rows(facets, labels, predictions).unwrap().gaps()
    };
    let one = gaps(&[false, true], &[false, true], &["x", "x"]);
    assert_eq!(one.equalized_odds_ratio(Gap::BetweenFacets), Some(1.0));
    assert_eq!(one.equalized_odds_ratio(Gap::ToOverall), Some(1.0));
    let none = gaps(&[false, true, false, true], &[false; 4], &["x", "x", "y", "y"]);
    assert_eq!(none.demographic_parity_ratio(Gap::BetweenFacets), None);
    assert_eq!(none.equalized_odds_ratio(Gap::ToOverall), None);
    let negatives = gaps(&[false; 4], &[false, false, true, false], &["x", "x", "y", "y"]);
    assert_eq!(negatives.equalized_odds_ratio(Gap::BetweenFacets), None);
    assert_eq!(negatives.equalized_odds_difference(Gap::BetweenFacets), Some(0.5));
    assert_eq!(negatives.equalized_odds_difference(Gap::ToOverall), Some(0.25));
}

#[test]
fn the_flip_test_takes_five_neighbours_when_there_are_ten() {
    let mut features: Vec<f64> = (0..10).map(f64::from).collect();
    features.extend([0.0, 9.0]);
    let features = ndarray::Array2::from_shape_vec((12, 1), features).unwrap();
    let is_d: Vec<bool> = (0..12).map(|row| row >= 10).collect();
    // Rows of a below 3 are positive: of the five neighbours of 0 three are, of those of 9 none.
    let mut predictions: Vec<bool> = (0..10).map(|row| row < 3).collect();
    predictions.extend([false, true]);
    assert_eq!(flip_test(&features.view(), &is_d, &predictions).unwrap(), 0.0);
    predictions[10] = true;
    assert_eq!(flip_test(&features.view(), &is_d, &predictions).unwrap(), 0.5);
}

proptest! {
    #[test]
    fn merging_any_sharding_equals_the_whole(
        rows in prop::collection::vec((0..3_usize, 0..3_usize, any::<bool>(), any::<bool>()), 1..80),
        shards in 1..5_usize,
    ) {
        let names = ["x", "y", "z"];
        let of = |rows: &[(usize, usize, bool, bool)]| {
            let facets: Vec<_> = rows.iter().map(|row| names[row.0]).collect();
            let groups: Vec<_> = rows.iter().map(|row| names[row.1]).collect();
            let labels: Vec<_> = rows.iter().map(|row| row.2).collect();
            let predictions: Vec<_> = rows.iter().map(|row| row.3).collect();
            Contingency::from_grouped_rows(&facets, &groups, &labels, &predictions)
        };
        let whole = of(&rows).unwrap();
        let parts = (0..shards).map(|shard| rows.iter().skip(shard).step_by(shards).copied().collect::<Vec<_>>());
        let merged = parts.filter_map(|part| of(&part).ok()).reduce(|mut left, right| {
            left.merge(&right).unwrap();
            left
        });
        prop_assert_eq!(merged.as_ref(), Some(&whole));
        let merged = merged.unwrap();
        for facet in whole.facets() {
            prop_assert_eq!(merged.confusion(facet), whole.confusion(facet));
            if let Ok(bias) = whole.bias(facet) {
                let there = merged.bias(facet).unwrap();
                prop_assert_eq!(bias.te, there.te);
                prop_assert!((bias.cddl.unwrap_or(0.0) - there.cddl.unwrap_or(0.0)).abs() < 1e-12);
            }
        }
        let back: Contingency = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        prop_assert_eq!(back, whole);
    }

    #[test]
    fn bias_changes_its_sign_with_the_sides(
        rows in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 4..60),
    ) {
        let facets: Vec<_> = rows.iter().map(|row| if row.0 { "x" } else { "y" }).collect();
        let labels: Vec<_> = rows.iter().map(|row| row.1).collect();
        let predictions: Vec<_> = rows.iter().map(|row| row.2).collect();
        let table = Contingency::from_rows(&facets, &labels, &predictions).unwrap();
        if let (Ok(x), Ok(y)) = (table.bias("x"), table.bias("y")) {
            for (x, y) in [(x.ci, y.ci), (x.dpl, y.dpl), (x.dppl, y.dppl), (x.dca, y.dca), (x.dcr, y.dcr), (x.te, y.te)] {
                prop_assert_eq!(x, -y);
            }
            prop_assert_eq!(x.ge, y.ge);
        }
    }
}

/// A limit on a difference can be asked to be proven: more rows prove it, a handful does not.
#[test]
fn differences_of_shares_know_how_sure_they_are() {
    let proven = |times: usize| {
        let row = [("x", true, true), ("x", false, false), ("y", true, true), ("y", false, false)];
        let rows: Vec<_> = (0..times).flat_map(|_| row).collect();
        let facets: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let (labels, decided): (Vec<bool>, Vec<bool>) = rows.iter().map(|row| (row.1, row.2)).unzip();
        let table = Contingency::from_rows(&facets, &labels, &decided).unwrap();
        let evaluation = Evaluation::new(rows.len() as u64).with_bias("f", &table).unwrap();
        let rule = |metric| Rule::between(metric, -0.1, 0.1).on("f=x").proven(0.95);
        let passed = |metric| Gate::new([rule(metric)]).unwrap().check(&evaluation).passed();
        ["dpl", "dppl", "rd", "sd", "dar", "drr", "ad"].map(passed)
    };
    assert_eq!(proven(2), [false; 7]);
    assert_eq!(proven(500), [true; 7]);
}

/// A table is a metric state: it streams in shards, is sliced by another feature, and has intervals by a bootstrap.
#[test]
fn a_bias_table_is_a_metric_state() {
    let facets = ["new", "old", "unseen"];
    let row =
        |index: u64| BiasRow::new(facets[usize::from(index.is_multiple_of(3))], index % 5 < 2, index % 7 < 3);
    let empty = Contingency::new(facets).unwrap();
    let mut whole = Slices::new(empty.clone());
    let mut shards = [Slices::new(empty.clone()), Slices::new(empty.clone())];
    let mut bootstrap = PoissonBootstrap::new(empty, 50, Seed::new(1)).unwrap();
    for index in 0..600_u64 {
        let place = [("device", if index.is_multiple_of(2) { "phone" } else { "web" })];
        whole.push(&row(index), &place).unwrap();
        shards[usize::from(index.is_multiple_of(4))].push(&row(index), &place).unwrap();
        bootstrap.push(index, &row(index)).unwrap();
    }
    let [mut merged, other] = shards;
    merged.merge(&other).unwrap();
    let (merged, whole) = (Evaluation::of_slices(&merged), Evaluation::of_slices(&whole));
    assert_eq!(merged, whole);
    assert_eq!(whole.rows, 600);
    assert!(whole.metric("old.dppl", Some("device=phone")).unwrap().std_error.is_some());
    assert!(whole.metric("demographic_parity_difference", None).is_ok());
    assert!(whole.metric("old.label_ks", None).is_ok() && whole.metric("old.ks", None).is_err());
    assert!(whole.metrics.keys().all(|name| !name.starts_with("unseen")), "no rows, no metrics");
    let te = bootstrap.metrics(0.9).unwrap()["old.di"];
    assert!(te.interval.is_some_and(|interval| interval.contains(te.value)));

    let mut table = Contingency::new(["a"]).unwrap();
    assert!(MetricState::push(&mut table, &BiasRow::new("b", true, true)).is_err());
    let grouped = BiasRow { group: Some("g".to_owned()), ..BiasRow::new("a", true, true) };
    assert!(MetricState::push(&mut table, &grouped).is_err());
    assert_eq!((table.rows(), table.metrics().contains_key("a.ci")), (0, false));
}
