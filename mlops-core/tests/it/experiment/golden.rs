//! Answers of independent implementations.

use mlops_core::experiment::mixture::{GammaExponentialMixture, NormalMixture, PolyStitching, Sides};
use mlops_core::experiment::{Allocation, MeanDifference, Moments, SampleRatio, Scale, TwoArm, correction};

use super::{close, confseq_cases, counts, fixed_case, numbers};

/// `key=value,...` as numbers.
fn arguments<const N: usize>(text: &str) -> [f64; N] {
    let numbers: Vec<f64> =
        text.split(',').map(|part| part.rsplit('=').next().unwrap().parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[test]
fn corrections_match_statsmodels() {
    let case = fixed_case("holm_bh");
    let p_values = numbers(&case["input"]["p"]);
    for (name, adjust) in [
        ("bonferroni", correction::bonferroni as fn(&[f64]) -> _),
        ("holm", correction::holm),
        ("fdr_bh", correction::benjamini_hochberg),
        ("fdr_by", correction::benjamini_yekutieli),
    ] {
        let expected = numbers(&case["expected"][name]);
        let actual = adjust(&p_values).unwrap();
        actual.iter().zip(&expected).for_each(|(a, e)| close(*a, *e, 1e-12));
    }
}

#[test]
fn mixture_ratio_matches_the_formula() {
    let case = fixed_case("msprt_normal");
    let moments = |name| Moments::of(numbers(&case["input"][name])).unwrap();
    let test = MeanDifference {
        allocation: Allocation::Fixed,
        scale: Scale::Effect(case["input"]["tau2"].as_f64().unwrap().sqrt()),
        ..Default::default()
    };
    let answer = test.compare(&TwoArm::new(moments("a"), moments("b"))).unwrap();
    close(answer.log_e_value.exp(), case["expected"]["lam"].as_f64().unwrap(), 1e-12);
}

#[test]
fn sample_ratio_matches_scipy() {
    let case = fixed_case("srm/[50100, 49000]");
    let test = SampleRatio::new(&numbers(&case["input"]["ratio"])).unwrap();
    let answer = test.chi_square(&counts(&case["input"]["observed"])).unwrap();
    close(answer.statistic, case["expected"]["chi2"].as_f64().unwrap(), 1e-12);
    close(answer.p_value / case["expected"]["p"].as_f64().unwrap(), 1.0, 1e-12);
}

#[test]
fn normal_mixtures_match_confseq() {
    for (at, expected) in confseq_cases("normal_mixture_bound") {
        let [v, v_opt] = arguments(at);
        let bound = NormalMixture::narrowest_at(v_opt, 0.05, Sides::Two).unwrap().bound(v, 0.05).unwrap();
        close(bound, expected.as_f64().unwrap(), 1e-12);
    }
    for (at, expected) in confseq_cases("normal_log_mixture") {
        let [s, v] = arguments(at);
        let mixture = NormalMixture::narrowest_at(100.0, 0.05, Sides::Two).unwrap();
        close(mixture.log_mixture(s, v).unwrap(), expected.as_f64().unwrap(), 1e-12);
    }
}

#[test]
fn other_bounds_match_confseq() {
    for (v, expected) in confseq_cases("gamma_exponential_mixture_bound") {
        let mixture = GammaExponentialMixture::narrowest_at(100.0, 0.05, 1.0).unwrap();
        // confseq bisects to 40 bits.
        close(mixture.bound(v.parse().unwrap(), 0.05).unwrap(), expected.as_f64().unwrap(), 1e-11);
    }
    for (v, expected) in confseq_cases("poly_stitching_bound") {
        let bound = PolyStitching::default().bound(v.parse().unwrap(), 0.05).unwrap();
        close(bound, expected.as_f64().unwrap(), 1e-12);
    }
}
