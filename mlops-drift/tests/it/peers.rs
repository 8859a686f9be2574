//! Distances, choices and bin edges against Evidently, NannyML and NumPy.

use std::collections::BTreeMap;

use mlops_drift::binning::{Binning, count};
use mlops_drift::distance::*;
use mlops_drift::gap_count::Reference;
use mlops_drift::two_sample::*;
use mlops_drift::{Result, Sample};

use crate::batch::rows;
use crate::oracle::{SplitMix64, close, number, pair, read};

fn reference(values: impl IntoIterator<Item = f64>) -> Reference {
    Reference::new(&Sample::new(values).unwrap()).unwrap()
}

fn distinct(a: &Sample, b: &Sample) -> usize {
    let mut all = [a.sorted(), b.sorted()].concat();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all.len()
}

/// NumPy's histogram: buckets [a, b), the last closed; and what lies outside.
fn histogram(edges: &[f64], sample: &Sample) -> (Vec<u64>, u64) {
    let mut counts = vec![0; edges.len() - 1];
    let mut outside = 0;
    for value in sample.sorted() {
        if *value < edges[0] || *value > edges[edges.len() - 1] {
            outside += 1;
        } else {
            let bin = edges.partition_point(|edge| edge <= value) - 1;
            counts[bin.min(edges.len() - 2)] += 1;
        }
    }
    (counts, outside)
}

/// Edges as NumPy places them: a constant lies in a bucket of width 1.
fn numpy_edges(binning: &Binning, sample: &Sample) -> Vec<f64> {
    let edges = binning.edges(&reference(sample.sorted().iter().copied())).unwrap();
    if edges.len() == 1 { vec![edges[0] - 0.5, edges[0] + 0.5] } else { edges }
}

/// Counts of each distinct value of both.
fn categories(a: &Sample, b: &Sample) -> (Vec<u64>, Vec<u64>) {
    let mut counts: BTreeMap<u64, (f64, u64, u64)> = BTreeMap::new();
    let key =
        |value: f64| (value + 0.0).to_bits() ^ (((value + 0.0).to_bits() as i64 >> 63) as u64 | 1 << 63);
    a.sorted().iter().for_each(|value| counts.entry(key(*value)).or_insert((*value, 0, 0)).1 += 1);
    b.sorted().iter().for_each(|value| counts.entry(key(*value)).or_insert((*value, 0, 0)).2 += 1);
    counts.into_values().map(|(_, a, b)| (a, b)).unzip()
}

fn real(counts: &[u64]) -> Vec<f64> {
    counts.iter().map(|count| *count as f64).collect()
}

fn is_finite(sample: &Sample) -> bool {
    sample.sorted()[0].is_finite() && sample.sorted()[sample.len() - 1].is_finite()
}

#[test]
fn binned_distances_as_evidently() {
    type Distance<'a> = Box<dyn Fn(&[u64], &[u64]) -> Result<f64> + 'a>;
    let tests: [(&str, Distance<'_>); 4] = [
        ("psi", Box::new(psi_as_evidently)),
        ("kl_div", Box::new(|a, b| kullback_leibler_nats(&filled_shares(a)?, &filled_shares(b)?))),
        ("jensenshannon", Box::new(|a, b| jensen_shannon_distance_nats(&real(a), &real(b)))),
        ("hellinger", Box::new(|a, b| hellinger(&real(a), &real(b)))),
    ];
    let mut all = Vec::new();
    for (test, distance) in tests {
        let (mut numbers, mut texts) = (0, 0);
        rows("evidently", test, |name, a, b, row| {
            let Some(want) = row["value"].as_array().map(|value| number(&value[0])) else {
                // Evidently raised: infinite values have no bins.
                assert!(!is_finite(a) || !is_finite(b) || name == "huge", "{test} {name}: {row}");
                return;
            };
            // Evidently takes up to 20 distinct numbers of the reference for categories.
            let few = distinct(a, a) <= 20;
            if few && test == "hellinger" && row["settings"]["type"] == "num" {
                // But not in Hellinger's distance, where neither its bins nor its categories give what it recorded.
                return;
            }
            let is_category = row["settings"]["type"] != "num" || few;
            let (p, q) = if is_category {
                categories(a, b)
            } else {
                let pooled = Sample::new(a.sorted().iter().chain(b.sorted()).copied()).unwrap();
                let edges = numpy_edges(&Binning::Sturges, &pooled);
                (histogram(&edges, a).0, histogram(&edges, b).0)
            };
            let got = distance(&p, &q).unwrap();
            assert!(close(got, want, 1e-12) || (got - want).abs() < 1e-16, "{test} {name}: {got} {want}");
            *if is_category { &mut texts } else { &mut numbers } += 1;
        });
        all.push((numbers, texts));
    }
    assert_eq!(all, [(10, 25), (10, 25), (10, 25), (10, 13)]);
}

#[test]
fn tests_as_evidently() {
    type Test = fn(&Sample, &Sample) -> Result<f64>;
    let tests: [(&str, Test, (usize, usize)); 12] = [
        // SciPy's exact p-value exceeds 1 by rounding for two of them, and falls back: ours is 1.
        ("ks", |a, b| Ok(kolmogorov_smirnov(a, b)?.p_value), (20, 2)),
        ("anderson", |a, b| Ok(anderson_darling(a, b)?.p_value), (21, 0)),
        // Evidently sums the limit's series to 1e-7, and holds its exact table in half precision.
        ("cramer_von_mises", |a, b| Ok(cramer_von_mises(a, b, Method::Auto)?.p_value), (10, 8)),
        // SciPy keeps three degrees of freedom for 0/1 data, two of them rounding errors.
        ("es", |a, b| Ok(epps_singleton(a, b)?.p_value), (15, 3)),
        // Evidently's is one-sided.
        ("mannw", |a, b| Ok(mann_whitney(a, b, Alternative::Less, Method::Auto)?.p_value), (22, 0)),
        // Evidently's squares overflow for `huge`.
        ("t_test", |a, b| Ok(student_t(a, b)?.p_value), (18, 1)),
        ("ed", energy, (20, 0)),
        // The same for `huge`.
        ("wasserstein", wasserstein_normed_as_evidently, (19, 1)),
        ("chisquare", |a, b| chi_squared_p_as_evidently(&categories(a, b).0, &categories(a, b).1), (13, 0)),
        ("g_test", |a, b| g_test_p_as_evidently(&categories(a, b).0, &categories(a, b).1), (6, 0)),
        ("z", |a, b| Ok(two_proportion_z(least_of(a, b, a), least_of(a, b, b))?.p_value), (13, 0)),
        (
            "fisher_exact",
            |a, b| Ok(fisher_exact(least_of(a, b, a), least_of(a, b, b), Alternative::TwoSided)?.p_value),
            (2, 0),
        ),
        // `TVD` is a random relabelling of Evidently's own, without a seed: no value to compare with.
    ];
    for (test, ours, counts) in tests {
        let (mut agreed, mut differed) = (0, 0);
        rows("evidently", test, |name, a, b, row| {
            let want = row["value"].as_array().map_or(f64::NAN, |value| number(&value[0]));
            if want.is_nan() {
                return;
            }
            let Ok(got) = ours(a, b) else {
                assert!(!is_finite(a) || !is_finite(b), "{test} {name} {want}");
                return;
            };
            let near = match test {
                "cramer_von_mises" => (got - want).abs() < if a.len() <= 20 { 2e-4 } else { 1.1e-7 },
                "es" => name.starts_with("bin_") || close(got, want, 1e-9),
                "ks" => got == 1.0 && want > 0.9999,
                _ => name == "huge",
            };
            assert!(near || close(got, want, 1e-10), "{test} {name}: {got} {want}");
            *if close(got, want, 1e-10) { &mut agreed } else { &mut differed } += 1;
        });
        assert_eq!((agreed, differed), counts, "{test}");
    }
}

/// How often the least value of both occurs in one of them.
fn least_of(a: &Sample, b: &Sample, of: &Sample) -> (u64, u64) {
    let least = a.sorted()[0].min(b.sorted()[0]);
    (of.sorted().iter().filter(|value| **value == least).count() as u64, of.len() as u64)
}

#[test]
fn the_choice_is_that_of_evidently() {
    let mut checked = 0;
    rows("evidently", "default_choice", |name, a, b, row| {
        let numeric = row["settings"]["type"] == "num";
        let got = match EvidentlyMethod::choose(numeric, a.len() as u64, distinct(a, b)) {
            EvidentlyMethod::KolmogorovSmirnov => "ks",
            EvidentlyMethod::ChiSquared => "chisquare",
            EvidentlyMethod::TwoProportionZ => "z",
            EvidentlyMethod::WassersteinNormed => "wasserstein",
            EvidentlyMethod::JensenShannon => "jensenshannon",
        };
        assert_eq!(got, row["value"], "{name} {row}");
        checked += 1;
    });
    assert_eq!(checked, 35);
}

#[test]
fn distances_as_nannyml() {
    let oracle = read("nannyml.json");
    let samples = read("batch.json");
    let mut checked: BTreeMap<&str, u32> = BTreeMap::new();
    let mut left_out: BTreeMap<&str, u32> = BTreeMap::new();
    for row in oracle["univariate"].as_array().unwrap() {
        let (name, test) = (row["sample"].as_str().unwrap(), row["test"].as_str().unwrap());
        let record = &samples["samples"][name];
        let mut leave = |why| *left_out.entry(why).or_default() += 1;
        if record.is_null() {
            leave("samples whose values are not on record");
            continue;
        }
        let (a, b) = pair(name, record);
        let (Ok(a), Ok(b)) = (Sample::new(a), Sample::new(b)) else {
            leave("no numbers");
            continue;
        };
        if row["mode"] == "estimated" {
            leave("estimates from quantile bins of large references, where ours are exact");
            continue;
        }
        if row["mode"].is_null() {
            leave("NannyML raised");
            continue;
        }
        let continuous = || {
            let edges = numpy_edges(&Binning::Doane, &a);
            let ((mut p, _), (mut q, outside)) = (histogram(&edges, &a), histogram(&edges, &b));
            p.push(0);
            q.push(outside);
            (real(&p), real(&q))
        };
        let categorical = || {
            let (p, q) = categories(&a, &b);
            (real(&p), real(&q))
        };
        let over =
            |(p, q): (Vec<f64>, Vec<f64>), distance: fn(&[f64], &[f64]) -> Result<f64>| distance(&p, &q);
        let got = match test {
            "ContinuousJensenShannonDistance" => over(continuous(), jensen_shannon_distance_base2),
            "ContinuousHellingerDistance" => over(continuous(), hellinger),
            "CategoricalJensenShannonDistance" => over(categorical(), jensen_shannon_distance_base2),
            "CategoricalHellingerDistance" => over(categorical(), hellinger),
            "LInfinityDistance" => over(categorical(), l_infinity),
            "KolmogorovSmirnovStatistic" => kolmogorov_smirnov(&a, &b).map(|result| result.statistic),
            "WassersteinDistance" => wasserstein(&a, &b),
            "Chi2Statistic" => {
                let (p, q) = categories(&a, &b);
                let result = chi_squared(&p, &q).unwrap();
                if p.len() == 2 {
                    leave("Yates' correction of 2 x 2 tables, which ours has not");
                    continue;
                }
                let (statistic, p_value) = (number(&row["value"][0]), number(&row["value"][1]));
                assert!(close(result.p_value, p_value, 1e-10), "{name}: {result} {p_value}");
                assert!(close(result.statistic, statistic, 1e-12), "{name}: {result} {statistic}");
                *checked.entry(test).or_default() += 1;
                continue;
            }
            _ => panic!("unknown test {test}"),
        };
        if !is_finite(&a) || !is_finite(&b) {
            leave("infinite values");
            continue;
        }
        let want = number(&row["value"]);
        let got = got.unwrap();
        assert!(close(got, want, 1e-12) || (got - want).abs() < 1e-15, "{test} {name}: {got} {want}");
        *checked.entry(test).or_default() += 1;
    }
    let counts: Vec<u32> = checked.into_values().collect();
    // Categorical Hellinger and Jensen-Shannon, chi-squared, continuous Hellinger and Jensen-Shannon,
    // Kolmogorov-Smirnov, L-infinity, Wasserstein.
    assert_eq!(counts, [11, 11, 9, 20, 20, 18, 11, 18]);
    assert_eq!(left_out.into_values().sum::<u32>() + 118, 256);
}

#[test]
fn limits_from_chunks_as_nannyml() {
    let chunks = &read("nannyml.json")["chunks"];
    let values: Vec<f64> = chunks["value"].as_array().unwrap().iter().map(number).collect();
    // The first five chunks are the reference's.
    let (low, high) = chunk_limits(&values[..5], 3.0, (0.0, f64::INFINITY)).unwrap();
    assert!(close(low, number(&chunks["lower_threshold"]), 1e-12));
    assert!(close(high, number(&chunks["upper_threshold"]), 1e-12));
    assert!(chunk_limits(&values[..1], 3.0, (0.0, 1.0)).is_err());
    assert!(chunk_limits(&values, f64::NAN, (0.0, 1.0)).is_err());
    assert_eq!(chunk_limits(&[0.1, 0.9], 3.0, (0.0, 1.0)).unwrap(), (0.0, 1.0));
}

#[test]
fn edges_as_numpy() {
    let oracle = read("edges.json");
    let uniforms = |seed, n: usize| {
        let mut random = SplitMix64::new(seed);
        (0..n).map(move |_| random.uniform())
    };
    let sample = |name: &str| -> Vec<f64> {
        match name {
            "uniform" => uniforms(21, 700).collect(),
            "squares" => uniforms(22, 333).map(|u| u * u * 50.0).collect(),
            "steps" => uniforms(23, 500).map(|u| (u * 9.0).floor()).collect(),
            "zeros" => uniforms(24, 400).map(|u| if u < 0.6 { 0.0 } else { u }).collect(),
            _ => uniforms(25, 200).chain([12.0]).collect(),
        }
    };
    let cases = oracle["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let (name, rule) = (case["sample"].as_str().unwrap(), &case["rule"]);
        let binning = match rule.as_str() {
            Some("auto") => Binning::Auto,
            Some("sturges") => Binning::Sturges,
            Some("doane") => Binning::Doane,
            Some("fd") => Binning::FreedmanDiaconis,
            Some(_) => Binning::Quantile(10),
            None => Binning::EqualWidth(7),
        };
        let values = sample(name);
        let mut want: Vec<f64> = case["edges"].as_array().unwrap().iter().map(number).collect();
        if rule == "deciles" {
            // A minimum that fills a bucket stands twice.
            let fills = want[0] == want[1];
            want.dedup();
            want.splice(..0, fills.then_some(want[0]));
        }
        let edges = binning.edges(&reference(values.iter().copied())).unwrap();
        assert_eq!(edges.len(), want.len(), "{name} {rule}");
        let range = want[want.len() - 1] - want[0];
        for (edge, want) in edges.iter().zip(&want) {
            assert!((edge - want).abs() <= 1e-14 * range, "{name} {rule}: {edge} {want}");
        }
        let counts = count(&edges, &values).unwrap();
        assert_eq!((counts.iter().sum::<u64>(), counts[0]), (values.len() as u64, 0));
    }
    // NumPy's edges of the recorded samples: how many buckets, the first and the last edge; and deciles.
    let mut checked = [0, 0, 0];
    for (kind, test) in ["histogram_bin_edges_concat", "histogram_bin_edges_ref", "quantile_deciles_ref"]
        .into_iter()
        .enumerate()
    {
        rows("numpy", test, |name, a, b, row| {
            let Some(want) = row["value"].as_array() else { return };
            let want: Vec<f64> = want.iter().map(number).collect();
            let got: Vec<f64> = match kind {
                0 if !is_finite(a) || !is_finite(b) => return,
                _ if !is_finite(a) => return,
                0 => {
                    let pooled = Sample::new(a.sorted().iter().chain(b.sorted()).copied()).unwrap();
                    let edges = numpy_edges(&Binning::Sturges, &pooled);
                    vec![(edges.len() - 1) as f64, edges[0], edges[edges.len() - 1]]
                }
                1 => {
                    let edges = numpy_edges(&Binning::Doane, a);
                    vec![(edges.len() - 1) as f64, edges[0], edges[edges.len() - 1]]
                }
                _ => {
                    let reference = reference(a.sorted().iter().copied());
                    (0..=10).map(|decile| reference.quantile(f64::from(decile) / 10.0)).collect()
                }
            };
            for (got, want) in got.iter().zip(&want) {
                assert!(close(*got, *want, 1e-12), "{test} {name}: {got} {want}");
            }
            checked[kind] += 1;
        });
    }
    assert_eq!(checked, [20, 20, 20]);
}
