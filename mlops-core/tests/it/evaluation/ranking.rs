//! Rankings against scikit-learn, trec_eval and ranx.

use std::collections::BTreeMap;

use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::ranking::{
    ApDenominator, Catalogue, Conventions, Gain, Gauc, Judgements, ListMetrics, ListRow, NoAnswer,
    NoRelevant, Ranking, RankingMetrics, RankingSettings, Ties, intra_list_diversity,
    label_ranking_average_precision, ndcg_rows, rankings, serendipity,
};
use mlops_core::{ErrorKind, Result};
use ndarray::Array2;
use proptest::prelude::*;
use serde_json::Value;

use super::oracle::{agree, cases, numbers};

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

#[test]
fn ndcg_agrees_with_scikit_learn() {
    for case in cases("sklearn_ndcg") {
        let (relevance, scores) = (rows(&case.input["rel"]), rows(&case.input["score"]));
        let k = case.input["k"].as_u64().map(|k| k as usize);
        let ties = if case.input["ignore_ties"] == true { Ties::LastFirst } else { Ties::Averaged };
        let conventions = Conventions { ties, ..Conventions::sklearn() };
        let by_query = |(relevance, scores): (&Vec<f64>, &Vec<f64>)| {
            Ranking::from_scores(relevance, scores, conventions).map(|list| list.ndcg(k))
        };
        let slow: Result<Vec<f64>> = relevance.iter().zip(&scores).map(by_query).collect();
        let (relevance, scores) = (matrix(&relevance), matrix(&scores));
        let fast = ndcg_rows(&relevance.view(), &scores.view(), k.unwrap_or(usize::MAX), conventions);
        for values in [slow, fast] {
            case.expect(values.ok().map(|values| values.iter().sum::<f64>() / values.len() as f64));
        }
    }
}

#[test]
fn long_tied_lists_agree_with_scikit_learn() {
    for case in cases("ndcg") {
        let (relevance, scores) = (matrix(&rows(&case.input["rel"])), matrix(&rows(&case.input["score"])));
        let k = case.input["k"].as_u64().unwrap() as usize;
        let values = ndcg_rows(&relevance.view(), &scores.view(), k, Conventions::sklearn()).unwrap();
        case.expect(Some(values.iter().sum::<f64>() / values.len() as f64));
    }
}

#[test]
fn label_ranking_agrees_with_scikit_learn() {
    for case in cases("sklearn_lrap") {
        let pairs = rows(&case.input["rel"]).into_iter().zip(rows(&case.input["score"]));
        let values: Vec<f64> = pairs
            .map(|(relevance, scores)| {
                let relevant: Vec<bool> = relevance.iter().map(|&value| value > 0.0).collect();
                label_ranking_average_precision(&relevant, &scores).unwrap()
            })
            .collect();
        case.expect(Some(values.iter().sum::<f64>() / values.len() as f64));
    }
}

fn judgements(value: &Value) -> Judgements {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn queries_agree_with_ranx() {
    for case in cases("ranx_per_query") {
        let (judged, answered) = (judgements(&case.input["qrels"]), judgements(&case.input["run"]));
        let plain = rankings(&judged, &answered, Conventions::ranx()).unwrap();
        let burges = Conventions { gain: Gain::Exponential, ..Conventions::ranx() };
        let burges = rankings(&judged, &answered, burges).unwrap();
        type Metric = fn(&Ranking) -> f64;
        let metrics: [(&str, Metric); 13] = [
            ("ndcg@3", |list| list.ndcg(Some(3))),
            ("ndcg@5", |list| list.ndcg(Some(5))),
            ("map", |list| list.average_precision(None)),
            ("map@3", |list| list.average_precision(Some(3))),
            ("mrr", |list| list.reciprocal_rank(None)),
            ("mrr@2", |list| list.reciprocal_rank(Some(2))),
            ("precision@3", |list| list.precision(Some(3))),
            ("recall@3", |list| list.recall(Some(3))),
            ("hit_rate@1", |list| list.hit(Some(1))),
            ("hit_rate@3", |list| list.hit(Some(3))),
            ("f1@3", |list| list.f1(Some(3))),
            ("r-precision", Ranking::r_precision),
            ("rbp.95", |list| list.rank_biased_precision(0.95)),
        ];
        for (name, metric) in metrics {
            for (query, list) in &plain {
                agree(&format!("{name} {query}"), Some(metric(list)), &case.expected[name][query]);
            }
        }
        for (query, list) in &burges {
            agree(query, Some(list.ndcg(Some(3))), &case.expected["ndcg_burges@3"][query]);
            agree(query, Some(list.ndcg(Some(5))), &case.expected["ndcg_burges@5"][query]);
            agree(query, Some(list.dcg(Some(3))), &case.expected["dcg_burges@3"][query]);
        }
        for (query, list) in &plain {
            agree(query, Some(list.dcg(Some(3))), &case.expected["dcg@3"][query]);
        }
        assert_eq!(case.expected.as_object().unwrap().len(), 17);
    }
}

#[test]
fn means_agree_with_trec_eval_over_all_queries() {
    for case in cases("ir_measures_agg") {
        let (judged, answered) = (judgements(&case.input["qrels"]), judgements(&case.input["run"]));
        let mean = |conventions: Conventions, k: usize, name: &str| {
            let settings = RankingSettings { cutoffs: vec![k], conventions };
            let mut metrics = RankingMetrics::new(settings).unwrap();
            for (_, list) in rankings(&judged, &answered, conventions).unwrap() {
                metrics.push(&list).unwrap();
            }
            metrics.metrics().get(name).map(|metric| metric.value)
        };
        let all = Conventions { no_answer: NoAnswer::Zero, ..Conventions::trec_eval() };
        case.expect_field("nDCG@10", mean(all, 10, "ndcg@10"));
        case.expect_field("nDCG@3", mean(all, 3, "ndcg@3"));
        case.expect_field("AP@3", mean(all, 3, "map@3"));
        case.expect_field("AP", mean(all, 3, "map"));
        case.expect_field("RR", mean(all, 3, "mrr"));
        case.expect_field("Success@1", mean(all, 1, "hit_rate@1"));
        case.expect_field("R@3", mean(all, 3, "recall@3"));
        case.expect_field("P@3", mean(all, 3, "precision@3"));
        case.expect_field("RR@2", mean(Conventions { ties: Ties::NameAscending, ..all }, 2, "mrr@2"));
        assert_eq!(case.expected.as_object().unwrap().len(), 9);
        // trec_eval alone leaves out the query without answers: 5 instead of 6.
        let five = mean(Conventions::trec_eval(), 3, "mrr").unwrap();
        let six = case.expected["RR"].as_f64().unwrap();
        assert!((five - six * 6.0 / 5.0).abs() < 1e-12);
    }
}

#[test]
fn average_precision_has_three_denominators() {
    let denominators =
        [("map@5_denom_all", ApDenominator::Relevant), ("map@5_denom_hits", ApDenominator::Hits)];
    for (family, ap_denominator) in denominators {
        for case in cases(family) {
            let conventions = Conventions { ap_denominator, ..Conventions::default() };
            let lists = rows(&case.input["pred"]).into_iter().zip(rows(&case.input["truth"]));
            let whole = |values: Vec<f64>| values.into_iter().map(|value| value as i64).collect::<Vec<_>>();
            let lists: Vec<Ranking> = lists
                .map(|(list, truth)| Ranking::from_items(&whole(list), &whole(truth), conventions))
                .collect();
            let values: Vec<f64> = lists.iter().map(|list| list.average_precision(Some(5))).collect();
            for (index, &value) in values.iter().enumerate() {
                agree(&case.name, Some(value), &case.expected["per"][index]);
            }
            for (field, no_relevant) in [("mean_all", NoRelevant::Zero), ("mean_nonempty", NoRelevant::Skip)]
            {
                let conventions = Conventions { no_relevant, ..conventions };
                let mut metrics =
                    RankingMetrics::new(RankingSettings { cutoffs: vec![5], conventions }).unwrap();
                for (list, truth) in rows(&case.input["pred"]).into_iter().zip(rows(&case.input["truth"])) {
                    metrics.push(&Ranking::from_items(&whole(list), &whole(truth), conventions)).unwrap();
                }
                case.expect_field(field, Some(metrics.metrics()["map@5"].value));
            }
        }
    }
    let conventions = Conventions { ap_denominator: ApDenominator::RelevantUpToK, ..Conventions::default() };
    let list = Ranking::from_items(&[1, 2, 3], &[1, 2, 3, 4, 5], conventions);
    assert_eq!(list.average_precision(Some(2)), 1.0);
    assert_eq!(list.average_precision(None), 0.6);
}

#[test]
fn the_catalogue_agrees_with_the_formulas() {
    for case in cases("catalogue") {
        let lists: Vec<Vec<usize>> = serde_json::from_value(case.input["lists"].clone()).unwrap();
        let users = case.input["n_users"].as_f64().unwrap();
        let mut catalogue = Catalogue::new(&case.numbers("item_pop"), users).unwrap();
        lists.iter().for_each(|list| catalogue.push(list).unwrap());
        let vectors = matrix(&rows(&case.input["item_vecs"]));
        let diversity =
            lists.iter().map(|list| intra_list_diversity(list, &vectors.view()).unwrap().unwrap());
        case.expect_field("item_coverage", catalogue.coverage());
        case.expect_field("gini_all_items", catalogue.gini());
        case.expect_field("gini_recommended_only", catalogue.gini_of_recommended());
        case.expect_field("shannon_entropy_nats", catalogue.entropy());
        case.expect_field("novelty_mean_self_information_bits", catalogue.novelty());
        case.expect_field("epc", catalogue.epc());
        case.expect_field("arp", catalogue.average_popularity());
        case.expect_field("intra_list_diversity_cosine", Some(diversity.sum::<f64>() / lists.len() as f64));
        case.expect_field("personalization", catalogue.personalization());
        assert_eq!(case.expected.as_object().unwrap().len(), 9);
    }
}

#[test]
fn the_area_within_users_agrees_with_the_formula() {
    for case in cases("gauc_group_auc") {
        let users: Vec<u64> = case.numbers("user").into_iter().map(|user| user as u64).collect();
        let gauc = Gauc::of(&users, &case.labels("y"), &case.numbers("s")).unwrap();
        case.expect(gauc.value());
    }
}

#[test]
fn bad_lists_are_refused_or_documented() {
    let conventions = Conventions::default();
    let kind = |relevance: &[f64], scores: &[f64]| {
        Ranking::from_scores(relevance, scores, conventions).err().map(|error| error.kind())
    };
    assert_eq!(kind(&[-1.0, 1.0], &[0.1, 0.2]), Some(ErrorKind::Data));
    assert_eq!(kind(&[f64::NAN, 1.0], &[0.1, 0.2]), Some(ErrorKind::Data));
    assert_eq!(kind(&[1.0, 1.0], &[f64::NAN, 0.2]), Some(ErrorKind::Data));
    assert_eq!(kind(&[1.0], &[0.1, 0.2]), Some(ErrorKind::Invalid));
    assert!(Ranking::from_names(&[("a", -1.0)], &[], conventions).is_err());
    assert!(Ranking::from_names(&[("a", 1.0)], &[("a", f64::INFINITY)], conventions).is_err());

    let list = Ranking::from_items(&[1, 2], &[2, 3], conventions);
    assert_eq!(list.precision(Some(4)), 0.25);
    assert_eq!(list.recall(Some(usize::MAX)), 0.5);
    assert!((list.ndcg(Some(100)) - list.ndcg(None)).abs() < 1e-15);
    assert_eq!((list.precision(Some(0)), list.ndcg(Some(0)), list.hit(Some(0))), (0.0, 0.0, 0.0));
    for empty in
        [Ranking::from_items::<u8>(&[], &[1], conventions), Ranking::from_items::<u8>(&[1], &[], conventions)]
    {
        assert_eq!((empty.ndcg(None), empty.average_precision(None), empty.precision(None)), (0.0, 0.0, 0.0));
        assert_eq!((empty.r_precision(), empty.f1(None), empty.recall(None)), (0.0, 0.0, 0.0));
    }
    // Retrieved twice: credited once, at the better rank.
    let twice =
        Ranking::from_names(&[("a", 1.0)], &[("a", 0.1), ("b", 0.5), ("a", 0.9)], conventions).unwrap();
    assert_eq!((twice.reciprocal_rank(None), twice.recall(None)), (1.0, 1.0));

    assert!(RankingMetrics::new(RankingSettings { cutoffs: vec![0], conventions }).is_err());
    let mut metrics = RankingMetrics::new(RankingSettings::default()).unwrap();
    assert!(metrics.metrics().is_empty());
    assert!(metrics.push(&Ranking::from_items(&[1], &[1], Conventions::sklearn())).is_err());
    let other = RankingSettings { cutoffs: vec![3], conventions };
    assert!(metrics.merge(&RankingMetrics::new(other).unwrap()).is_err());

    let scores = ndarray::array![[0.1, f64::NAN]];
    let relevance = ndarray::array![[0.0, 1.0]];
    assert!(ndcg_rows(&relevance.view(), &scores.view(), 1, conventions).is_err());
    assert!(ndcg_rows(&relevance.view(), &relevance.view(), 0, conventions).is_err());
    assert_eq!(ndcg_rows(&relevance.view(), &relevance.view(), 50, conventions).unwrap(), [1.0]);
    assert!(ndcg_rows(&scores.view(), &relevance.view(), 1, conventions).is_err());
    let none = Array2::<f64>::zeros((2, 0));
    assert_eq!(ndcg_rows(&none.view(), &none.view(), 5, conventions).unwrap(), [0.0, 0.0]);

    let mut catalogue = Catalogue::new(&[1.0, 0.0], 2.0).unwrap();
    assert!(catalogue.metrics().is_empty());
    for bad in [vec![], vec![2], vec![0, 0]] {
        assert!(catalogue.push(&bad).is_err());
    }
    assert_eq!(catalogue, Catalogue::new(&[1.0, 0.0], 2.0).unwrap());
    catalogue.push(&vec![1]).unwrap();
    assert_eq!(catalogue.novelty(), Some(2.0));
    assert_eq!(catalogue.personalization(), None);
    assert!(Catalogue::new(&[], 2.0).is_err() && Catalogue::new(&[3.0], 2.0).is_err());
    assert!(Catalogue::new(&[1.0], f64::NAN).is_err());
    assert_eq!(serendipity(&[], &[]).unwrap(), None);
    assert!(serendipity(&[true], &[]).is_err());
    let vectors = ndarray::array![[0.0, 0.0], [1.0, f64::NAN]];
    assert!(intra_list_diversity(&[1], &vectors.view()).is_err());
    assert!(intra_list_diversity(&[2], &vectors.view()).is_err());
    assert_eq!(intra_list_diversity(&[0], &vectors.view()).unwrap(), None);
    assert_eq!(Gauc::of(&[1, 2], &[true, true], &[0.1, 0.2]).unwrap().value(), None);
    assert!(Gauc::of(&[1], &[true, true], &[0.1, 0.2]).is_err());
    assert!(Gauc::of(&[1, 2], &[true, true], &[0.1, f64::NAN]).is_err());
}

fn lists() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let item =
        (0_u8..4, 0_u8..8).prop_map(|(relevance, score)| (f64::from(relevance), f64::from(score) / 8.0));
    prop::collection::vec(item, 1..40).prop_map(|items| items.into_iter().unzip())
}

proptest! {
    #[test]
    fn the_fast_path_agrees_with_the_ranking((relevance, scores) in lists(), k in 1..50_usize, exponential: bool) {
        let gain = if exponential { Gain::Exponential } else { Gain::Linear };
        for ties in [Ties::AsGiven, Ties::LastFirst, Ties::Averaged, Ties::NameAscending, Ties::NameDescending] {
            let conventions = Conventions { ties, gain, ..Conventions::default() };
            let slow = Ranking::from_scores(&relevance, &scores, conventions).unwrap().ndcg(Some(k));
            let (relevance, scores) = (matrix(std::slice::from_ref(&relevance)), matrix(std::slice::from_ref(&scores)));
            let fast = ndcg_rows(&relevance.view(), &scores.view(), k, conventions).unwrap()[0];
            prop_assert!((slow - fast).abs() < 1e-12, "{:?}: {} {}", ties, slow, fast);
        }
    }

    #[test]
    fn metrics_stay_in_bounds_and_averaging_ignores_order((relevance, scores) in lists(), k in 1..50_usize) {
        let conventions = Conventions::sklearn();
        let list = Ranking::from_scores(&relevance, &scores, conventions).unwrap();
        for value in [list.ndcg(Some(k)), list.average_precision(Some(k)), list.precision(Some(k)), list.recall(Some(k)), list.f1(Some(k))] {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
        }
        let (mut turned_relevance, mut turned_scores) = (relevance, scores);
        turned_relevance.reverse();
        turned_scores.reverse();
        let turned = Ranking::from_scores(&turned_relevance, &turned_scores, conventions).unwrap();
        prop_assert!((list.ndcg(Some(k)) - turned.ndcg(Some(k))).abs() < 1e-12);
    }

    #[test]
    fn merging_any_sharding_equals_the_whole(lists in prop::collection::vec(lists(), 1..12), shards in 1..4_usize) {
        let conventions = Conventions::default();
        let state = |lists: &mut dyn Iterator<Item = &(Vec<f64>, Vec<f64>)>| {
            let mut metrics = RankingMetrics::new(RankingSettings { cutoffs: vec![1, 5], conventions }).unwrap();
            for (relevance, scores) in lists {
                metrics.push(&Ranking::from_scores(relevance, scores, conventions).unwrap()).unwrap();
            }
            metrics
        };
        let whole = state(&mut lists.iter());
        let mut merged = state(&mut std::iter::empty());
        (0..shards).for_each(|shard| merged.merge(&state(&mut lists.iter().skip(shard).step_by(shards))).unwrap());
        prop_assert_eq!(merged.rows(), whole.rows());
        for (name, metric) in whole.metrics() {
            prop_assert!((merged.metrics()[&name].value - metric.value).abs() < 1e-12);
        }
        let back: RankingMetrics = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        prop_assert_eq!(back, whole);
    }

    #[test]
    fn catalogues_merge_exactly(lists in prop::collection::vec(prop::collection::btree_set(0..8_usize, 1..5), 1..20), shards in 1..4_usize) {
        let lists: Vec<Vec<usize>> = lists.into_iter().map(|list| list.into_iter().collect()).collect();
        let state = |lists: &mut dyn Iterator<Item = &Vec<usize>>| {
            let mut catalogue = Catalogue::new(&[1.0; 8], 10.0).unwrap();
            lists.for_each(|list| catalogue.push(list).unwrap());
            catalogue
        };
        let whole = state(&mut lists.iter());
        let mut merged = state(&mut std::iter::empty());
        (0..shards).for_each(|shard| merged.merge(&state(&mut lists.iter().skip(shard).step_by(shards))).unwrap());
        prop_assert_eq!(merged.coverage(), whole.coverage());
        prop_assert_eq!(merged.gini(), whole.gini());
        prop_assert_eq!(merged.entropy(), whole.entropy());
        // The cosines of all pairs by definition.
        if let Some(found) = whole.personalization() {
            let mut cosines = Vec::new();
            for (index, list) in lists.iter().enumerate() {
                for other in &lists[..index] {
                    let both = list.iter().filter(|item| other.contains(item)).count() as f64;
                    cosines.push(both / ((list.len() * other.len()) as f64).sqrt());
                }
            }
            let wanted = 1.0 - cosines.iter().sum::<f64>() / cosines.len() as f64;
            prop_assert!((found - wanted).abs() < 1e-12);
            prop_assert!((merged.personalization().unwrap() - wanted).abs() < 1e-12);
        }
    }
}

#[test]
fn judgements_are_plain_maps() {
    let mut judged = Judgements::new();
    judged.insert("q".into(), BTreeMap::from([("a".into(), -2.0)]));
    let error = rankings(&judged, &Judgements::new(), Conventions::default()).unwrap_err();
    assert!(format!("{error:#}").contains("query `q`"), "{error:#}");
}

/// Lists with and without a measure, in any sharding.
#[test]
fn diversity_and_serendipity_stream_and_merge() {
    let vectors = ndarray::array![[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 0.0]];
    let row = |list: &[usize], useful: &[bool], expected: &[bool]| {
        ListRow::default().diverse(list, &vectors.view()).unwrap().serendipitous(useful, expected).unwrap()
    };
    let rows = [
        row(&[0, 1], &[true, true], &[true, false]),
        row(&[0, 2], &[true, false], &[false, false]),
        row(&[3], &[], &[]),
        row(&[0, 1, 2], &[false], &[false]),
    ];
    let fed = |rows: &[ListRow]| {
        let mut metrics = ListMetrics::default();
        rows.iter().for_each(|row| metrics.push(row).unwrap());
        metrics
    };
    let whole = fed(&rows).metrics();
    let close = |name: &str, value: f64| assert!((whole[name].value - value).abs() < 1e-12, "{name}");
    close("diversity", (1.0 + 0.0 + 2.0 / 3.0) / 3.0);
    close("serendipity", (0.5 + 0.5 + 0.0) / 3.0);
    for cut in 0..=rows.len() {
        let mut merged = fed(&rows[..cut]);
        merged.merge(&fed(&rows[cut..])).unwrap();
        assert_eq!(merged.rows(), 4);
        for (name, metric) in merged.metrics() {
            assert!((metric.value - whole[&name].value).abs() < 1e-12);
            assert!((metric.std_error.unwrap() - whole[&name].std_error.unwrap()).abs() < 1e-12);
        }
    }
    assert!(fed(&rows[2..3]).metrics().is_empty(), "one item is no pair, and no flags are no share");
    assert!(ListRow::default().diverse(&[9], &vectors.view()).is_err());
    assert!(ListRow::default().serendipitous(&[true], &[]).is_err());
    let stored = serde_json::to_string(&fed(&rows)).unwrap();
    assert_eq!(serde_json::from_str::<ListMetrics>(&stored).unwrap(), fed(&rows));
}
