//! Answers of independent implementations.

use mlops_core::experiment::fixed::{DifferenceMethod, MeanPower, RatePower, TwoRates, Welch};
use mlops_core::experiment::mixture::{GammaExponentialMixture, NormalMixture, PolyStitching, Sides};
use mlops_core::experiment::sequence::{
    AsymptoticMean, Betting, Bounded, PredictableMixture, RateSequence, Sequence,
};
use mlops_core::experiment::{
    Allocation, Alternative, MeanDifference, Moments, Proportion, SampleRatio, Scale, TwoArm, correction,
};

use super::{
    close, confseq_cases, confseq_intervals, counts, fixed_case, more_cases, numbers, two_arm_cases,
};

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
        warm_up_rows: 2,
        skewness_guard: false,
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

#[test]
fn rate_sequences_match_confseq() {
    for (at, expected) in confseq_cases("bernoulli_confidence_interval") {
        let (successes, trials) = at.split_once('/').unwrap();
        let counts = Proportion::of(successes.parse().unwrap(), trials.parse().unwrap()).unwrap();
        let interval = RateSequence::default().interval(&counts).unwrap();
        let expected = numbers(expected);
        // confseq bisects to 40 bits of the bracket.
        close(interval.lower(), expected[0], 1e-11);
        close(interval.upper(), expected[1], 1e-11);
    }
}

#[test]
fn one_sided_rates_match_quadrature() {
    for case in more_cases("rate_greater") {
        let [alpha, narrowest_at, null] =
            ["alpha", "narrowest_at", "null"].map(|name| case["input"][name].as_f64().unwrap());
        let [successes, trials] = ["successes", "trials"].map(|name| case["input"][name].as_u64().unwrap());
        let expected = case["expected"].as_f64().unwrap();
        let test = RateSequence { alpha, narrowest_at, alternative: Alternative::Greater };
        let counts = Proportion::of(successes, trials).unwrap();
        close(test.compare(&counts, null).unwrap().log_e_value, expected, 1e-10);
        // The other side is the same of failures.
        let mirrored = Proportion::of(trials - successes, trials).unwrap();
        let test = RateSequence { alternative: Alternative::Less, ..test };
        close(test.compare(&mirrored, 1.0 - null).unwrap().log_e_value, expected, 1e-10);
    }
}

#[test]
fn bounded_sequences_match_confseq() {
    let settings = Bounded::default();
    matches(PredictableMixture::empirical_bernstein(settings).unwrap(), "predmix_empbern_cs");
    matches(PredictableMixture::hoeffding(settings).unwrap(), "predmix_hoeffding_cs");
    matches(Betting::new(settings, 1000).unwrap(), "betting_cs");
}

/// The stream and the looks are those that the name of the case says.
fn matches(mut sequence: impl Sequence, name: &str) {
    let mut expected = confseq_intervals(name).into_iter();
    let stream = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    for n in 1..=100 {
        sequence.push(stream[(n - 1) % 10]).unwrap();
        if [10, 50, 100].contains(&n) {
            let expected = expected.next().unwrap();
            close(sequence.interval().lower(), expected[0], 1e-12);
            close(sequence.interval().upper(), expected[1], 1e-12);
        }
    }
    assert!(expected.next().is_none());
}

#[test]
fn asymptotic_sequence_matches_the_formula() {
    let case = fixed_case("asymptotic_confidence_sequence");
    let number = |name: &str| case["input"][name].as_f64().unwrap();
    let moments = Moments::of(numbers(&case["input"]["x"])).unwrap();
    let test = AsymptoticMean {
        alpha: number("alpha"),
        rho: number("rho"),
        warm_up_rows: 2,
        skewness_guard: false,
        ..Default::default()
    };
    let answer = test.compare(&moments).unwrap();
    close(answer.estimate.unwrap(), case["expected"]["mean"].as_f64().unwrap(), 1e-12);
    close(0.5 * answer.interval.width(), case["expected"]["radius"].as_f64().unwrap(), 1e-12);
}

#[test]
fn welch_matches_scipy() {
    let case = fixed_case("welch_t");
    let moments = |name: &str| Moments::of(numbers(&case["input"][name])).unwrap();
    let answer = Welch::default().compare(&TwoArm::new(moments("b"), moments("a"))).unwrap();
    let (expected, ci) =
        (|name: &str| case["expected"][name].as_f64().unwrap(), numbers(&case["expected"]["ci"]));
    close(answer.statistic, expected("t"), 1e-12);
    close(answer.degrees_of_freedom.unwrap(), expected("df"), 1e-12);
    close(answer.p_value, expected("p"), 1e-12);
    close(answer.interval.lower(), ci[0], 1e-12);
    close(answer.interval.upper(), ci[1], 1e-12);

    for case in two_arm_cases("welch") {
        let moments = |name: &str| Moments::of(numbers(&case["input"][name])).unwrap();
        let arms = TwoArm::new(moments("a"), moments("b"));
        for (alternative, name) in [
            (Alternative::TwoSided, "two-sided"),
            (Alternative::Greater, "greater"),
            (Alternative::Less, "less"),
        ] {
            let answer = Welch { alpha: 0.1, alternative, ..Default::default() }.compare(&arms).unwrap();
            let expected = &case["expected"][name];
            close(answer.statistic, expected["t"].as_f64().unwrap(), 1e-12);
            close(answer.degrees_of_freedom.unwrap(), expected["df"].as_f64().unwrap(), 1e-12);
            close(answer.p_value, expected["p"].as_f64().unwrap(), 1e-12);
            let end = |i: usize| expected["ci"][i].as_f64();
            close(answer.interval.lower().max(-1e300), end(0).unwrap_or(-1e300), 1e-12);
            close(answer.interval.upper().min(1e300), end(1).unwrap_or(1e300), 1e-12);
        }
    }
}

#[test]
fn two_rates_match_statsmodels() {
    let case = fixed_case("two_prop_ztest_pooled");
    let (x, n) = (counts(&case["input"]["x"]), counts(&case["input"]["n"]));
    let arm = |i: usize| Proportion::of(x[i], n[i]).unwrap();
    let arms = TwoArm::new(arm(1), arm(0));
    let answer = TwoRates::default().compare(&arms).unwrap();
    close(answer.statistic, case["expected"]["z"].as_f64().unwrap(), 1e-12);
    close(answer.p_value, case["expected"]["p"].as_f64().unwrap(), 1e-12);
    for (method, name, tolerance) in [
        (DifferenceMethod::Wald, "diff_ci_wald", 1e-12),
        (DifferenceMethod::StatsmodelsScore, "diff_ci_score", 1e-11),
    ] {
        let interval = TwoRates { method, ..Default::default() }.compare(&arms).unwrap().interval;
        let expected = numbers(&fixed_case(name)["expected"]);
        close(interval.lower(), expected[0], tolerance);
        close(interval.upper(), expected[1], tolerance);
    }

    for case in two_arm_cases("two_rates") {
        let (x, n) = (counts(&case["input"]["x"]), counts(&case["input"]["n"]));
        let arms = TwoArm::new(Proportion::of(x[0], n[0]).unwrap(), Proportion::of(x[1], n[1]).unwrap());
        for (alternative, name) in [
            (Alternative::TwoSided, "p_two-sided"),
            (Alternative::Greater, "p_larger"),
            (Alternative::Less, "p_smaller"),
        ] {
            let answer = TwoRates { alternative, ..Default::default() }.compare(&arms).unwrap();
            close(answer.p_value, case["expected"][name].as_f64().unwrap(), 1e-12);
        }
        for (method, name, tolerance) in [
            (DifferenceMethod::Wald, "wald", 1e-12),
            (DifferenceMethod::AgrestiCaffo, "agresti_caffo", 1e-12),
            (DifferenceMethod::Newcombe, "newcombe", 1e-12),
            // statsmodels stops at 2e-12.
            (DifferenceMethod::StatsmodelsScore, "score", 1e-11),
        ] {
            let Some(expected) = case["expected"].get(name) else { continue };
            let expected = numbers(expected);
            let interval = TwoRates { method, ..Default::default() }.compare(&arms).unwrap().interval;
            close(interval.lower(), expected[0].max(-1.0), tolerance);
            close(interval.upper(), expected[1].min(1.0), tolerance);
        }
    }
}

/// Miettinen and Nurminen's cubic as published, solved by scipy 1.17.1's `brentq` to 1e-15.
#[test]
fn score_interval_matches_the_published_cubic() {
    let arms = TwoArm::new(Proportion::of(150, 2410).unwrap(), Proportion::of(120, 2400).unwrap());
    let test = TwoRates { method: DifferenceMethod::Score, ..Default::default() };
    let interval = test.compare(&arms).unwrap().interval;
    close(interval.lower(), -0.025_374_417_967_551_07, 1e-12);
    close(interval.upper(), 0.000_775_266_358_467_903, 1e-12);
}

#[test]
fn power_matches_statsmodels() {
    let alternatives = [(Alternative::TwoSided, "two-sided"), (Alternative::Greater, "larger")];
    for case in two_arm_cases("mean_power") {
        let input = |name: &str| case["input"][name].as_f64().unwrap();
        for (alternative, name) in alternatives {
            let plan =
                MeanPower { alpha: input("alpha"), ratio: input("ratio"), alternative, ..Default::default() };
            let power = plan.power(input("effect"), input("rows")).unwrap();
            close(power, case["expected"][name].as_f64().unwrap(), 1e-12);
            if alternative == Alternative::TwoSided {
                let rows = plan.rows(input("effect"), 0.8).unwrap();
                assert_eq!(rows.control, case["expected"]["rows_at_.8"].as_f64().unwrap().ceil() as u64);
            }
        }
    }
    for case in two_arm_cases("rate_power") {
        let input = |name: &str| case["input"][name].as_f64().unwrap();
        for (alternative, name) in alternatives {
            let plan = RatePower { alpha: input("alpha"), ratio: input("ratio"), alternative };
            let treatment = input("control") + input("difference");
            let power = plan.power(input("control"), treatment, input("rows")).unwrap();
            let expected = case["expected"][name].as_f64().unwrap();
            // For "larger" statsmodels keeps the sign of the difference; ours is meant on its side.
            if alternative == Alternative::TwoSided || input("difference") > 0.0 {
                close(power, expected, 1e-12);
            }
        }
    }
}
