//! CUPED: against its definition, over shards, and that it claims no more than it may.

use mlops_core::experiment::fixed::Welch;
use mlops_core::experiment::{Arm, Covaried, MeanDifference, Moments, ROWS_MAX, TwoArm};
use mlops_core::{ErrorKind, Seed};
use proptest::prelude::*;
use rand::RngExt;

use super::{close, more_cases, numbers};

fn filled(pairs: impl IntoIterator<Item = (f64, f64)>) -> Covaried {
    let mut state = Covaried::default();
    pairs.into_iter().for_each(|(x, y)| state.push(x, y).unwrap());
    state
}

#[test]
fn adjusted_outcomes_match_numpy_and_scipy() {
    for case in more_cases("cuped") {
        let arm = |name: &str| {
            let columns = case["input"][name].as_array().unwrap();
            filled(numbers(&columns[0]).into_iter().zip(numbers(&columns[1])))
        };
        let arms = TwoArm::new(arm("control"), arm("treatment"));
        let expected = &case["expected"];
        let number = |name: &str| expected[name].as_f64().unwrap();
        let pooled = arms.pooled().unwrap();
        close(pooled.theta().unwrap(), number("theta"), 1e-12);
        close(pooled.explained().unwrap(), number("explained"), 1e-12);
        let adjusted = arms.adjusted().unwrap();
        for (arm, at) in [(adjusted.control, 0), (adjusted.treatment, 1)] {
            close(arm.mean().unwrap(), numbers(&expected["means"])[at], 1e-12);
            close(arm.sample_variance().unwrap(), numbers(&expected["variances"])[at], 1e-12);
            close(arm.skewness().unwrap(), numbers(&expected["skewness"])[at], 1e-12);
        }
        let answer = Welch::default().compare(&adjusted).unwrap();
        close(answer.statistic, number("t"), 1e-12);
        close(answer.degrees_of_freedom.unwrap(), number("df"), 1e-12);
        close(answer.p_value, number("p"), 1e-12);
    }
}

/// The case that was handed to the crate: pre- and post-period of all users as one sample.
#[test]
fn the_share_of_variance_that_goes_is_the_squared_correlation() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../../../testdata/evaluation/metrics.json")).unwrap();
    let case = cases["cases"].as_array().unwrap().iter().find(|case| case["name"] == "cuped").unwrap();
    let (pre, post) = (numbers(&case["input"]["pre"]), numbers(&case["input"]["post"]));
    let all = filled(pre.iter().copied().zip(post.iter().copied()));
    let number = |name: &str| case["expected"][name].as_f64().unwrap();
    close(all.theta().unwrap(), number("theta"), 1e-12);
    close(all.explained().unwrap(), number("rho2"), 1e-12);
    let arms = TwoArm::new(all, Covaried::default());
    let adjusted = arms.adjusted().unwrap();
    close(adjusted.control.mean().unwrap(), number("mean"), 1e-12);
    close(adjusted.control.sample_variance().unwrap(), number("var"), 1e-12);
    let plain = Moments::of(post).unwrap().sample_variance().unwrap();
    close(1.0 - number("var") / plain, number("var_reduction"), 1e-12);
    assert_eq!(adjusted.treatment, Moments::new(), "an arm without units stays one");
}

#[test]
fn what_is_no_pair_of_values_is_refused() {
    let mut state = filled([(1.0, 2.0)]);
    let before = state;
    for (x, y) in [(f64::NAN, 1.0), (1.0, f64::INFINITY), (2e90, 1.0), (1.0, -2e90)] {
        assert_eq!(state.push(x, y).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(state, before);
    // Without variance in the covariate nothing is adjusted.
    let constant = TwoArm::new(filled([(1.0, 2.0), (1.0, 5.0)]), filled([(1.0, 3.0), (1.0, 9.0)]));
    assert_eq!(constant.pooled().unwrap().theta(), None);
    assert_eq!(constant.adjusted().unwrap().treatment.mean(), Some(6.0));
    assert_eq!(filled([(1.0, 2.0), (2.0, 2.0)]).explained(), None);
    // The slope is that of the many, about 1e99, and takes the one unit that lies a thousand spreads off to 1e93.
    let mut many = filled([(0.0, 0.0), (1e-9, 1e90)]);
    for _ in 0..24 {
        let half = many;
        many.merge(&half).unwrap();
    }
    let error = TwoArm::new(many, filled([(1e-6, 0.0)])).adjusted().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().starts_with("theta ") && error.to_string().contains("1e90"), "{error}");
    let near = TwoArm::new(many, filled([(1e-9, 0.0)])).adjusted().unwrap();
    assert!(near.treatment.mean().unwrap().abs() <= 1e90);
    // With a covariate that says all, nothing is left for the rounding to test.
    let told = |shift: f64| filled((0..50).map(|i| (f64::from(i) * 0.1, f64::from(i) * 0.3 + shift)));
    let told = TwoArm::new(told(0.0), told(0.0)).adjusted().unwrap();
    assert_eq!(told.control.sample_variance(), Some(0.0));
    let stored = serde_json::to_string(&before).unwrap();
    assert_eq!(serde_json::from_str::<Covaried>(&stored).unwrap(), before);
    let torn = [
        stored.replace("\"rows\":1", "\"rows\":0"),
        stored.replace("[1.0,2.0]", "[1.0,1e91]"),
        stored.replace("[0.0,0.0,0.0]", "[1.0,9.0,1.0]").replace("\"rows\":1", "\"rows\":2"),
        stored.replace("\"rows\":1", &format!("\"rows\":{}", ROWS_MAX + 1)),
    ];
    for torn in torn {
        assert_ne!(torn, stored);
        assert!(serde_json::from_str::<Covaried>(&torn).is_err(), "{torn}");
    }
}

/// Two thousand A/A experiments at one look each, and twenty with an effect that the plain test rarely sees.
#[test]
fn the_adjusted_test_keeps_its_level_and_sees_more() {
    let mut rng = Seed::new(20_261_122).rng();
    let mut experiment = |effect: f64| {
        let (mut plain, mut arms) = (TwoArm::<Moments>::default(), TwoArm::<Covaried>::default());
        for unit in 0..200 {
            let (arm, more) = if unit % 2 == 0 { (Arm::Control, 0.0) } else { (Arm::Treatment, effect) };
            let before: f64 = rng.random::<f64>() + rng.random::<f64>();
            let outcome = 3.0 * before + rng.random::<f64>() + more;
            plain.record(arm, outcome).unwrap();
            arms.record(arm, before, outcome).unwrap();
        }
        let adjusted = arms.adjusted().unwrap();
        assert!(MeanDifference::default().compare(&adjusted).is_ok());
        [plain, adjusted].map(|arms| Welch::default().compare(&arms).unwrap().p_value <= 0.05)
    };
    let wrong = (0..2000).filter(|_| experiment(0.0)[1]).count();
    assert!((60..=140).contains(&wrong), "{wrong} of 2000 at .05");
    let seen: Vec<[bool; 2]> = (0..50).map(|_| experiment(0.2)).collect();
    let count = |at: usize| seen.iter().filter(|seen| seen[at]).count();
    assert!(count(1) > 45 && count(0) < 25, "{} against {}", count(1), count(0));
}

proptest! {
    #[test]
    fn shards_merge_into_the_whole(
        pairs in prop::collection::vec((-100.0..100.0_f64, -100.0..100.0_f64), 2..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = filled(pairs.iter().copied());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(pairs.len())).collect();
        ends.sort_unstable();
        ends.push(pairs.len());
        let (mut merged, mut start) = (Covaried::default(), 0);
        for end in ends {
            merged.merge(&filled(pairs[start..end].iter().copied())).unwrap();
            start = end;
        }
        prop_assert_eq!(merged.rows(), whole.rows());
        let arms = |state| TwoArm::new(state, Covaried::default()).adjusted().unwrap().control;
        let (a, b) = (arms(merged), arms(whole));
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-8 * b.abs().max(1.0),
            (a, b) => a == b,
        };
        prop_assert!(near(merged.theta(), whole.theta()));
        prop_assert!(near(a.mean(), b.mean()) && near(a.sample_variance(), b.sample_variance()));
        // By the definition, one value after the other.
        let (theta, center) = (whole.theta().unwrap_or(0.0), pairs.iter().map(|p| p.0).sum::<f64>() / pairs.len() as f64);
        let direct = Moments::of(pairs.iter().map(|(x, y)| y - theta * (x - center))).unwrap();
        prop_assert!(near(b.mean(), direct.mean()) && near(b.sample_variance(), direct.sample_variance()));
        if direct.sample_variance() > Some(1e-6) {
            prop_assert!((b.skewness().unwrap() - direct.skewness().unwrap()).abs() < 1e-6);
        }
    }
}
