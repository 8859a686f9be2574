//! Laws that hold for any input, and answers to bad input.

use mlops_core::ErrorKind;
use mlops_core::experiment::mixture::{GammaExponentialMixture, NormalMixture, Sides};
use mlops_core::experiment::sequence::{Bounded, PredictableMixture, Sequence};
use mlops_core::experiment::{
    Allocation, Alternative, Arm, Comparison, Interval, MeanDifference, Moments, Proportion, RateDifference,
    Running, SampleRatio, Scale, TwoArm, VALUE_MAX, correction,
};
use proptest::prelude::*;

fn alternatives() -> impl Strategy<Value = Alternative> {
    prop_oneof![Just(Alternative::TwoSided), Just(Alternative::Greater), Just(Alternative::Less)]
}

fn mirrored(alternative: Alternative) -> Alternative {
    match alternative {
        Alternative::TwoSided => Alternative::TwoSided,
        Alternative::Greater => Alternative::Less,
        Alternative::Less => Alternative::Greater,
    }
}

fn tests() -> impl Strategy<Value = MeanDifference> {
    let scale = prop_oneof![(1.0..1e5).prop_map(Scale::Rows), (1e-3..1e3).prop_map(Scale::Effect)];
    let allocation = prop_oneof![Just(Allocation::Adaptive), Just(Allocation::Fixed)];
    (0.001..0.4, alternatives(), -5.0..5.0, scale, allocation, any::<bool>()).prop_map(
        |(alpha, alternative, null, scale, allocation, skewness_guard)| MeanDifference {
            alpha,
            alternative,
            null,
            scale,
            allocation,
            warm_up_rows: 2,
            skewness_guard,
        },
    )
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-100.0..100.0, 0..60)
}

fn moments(values: &[f64]) -> Moments {
    Moments::of(values.iter().copied()).unwrap()
}

fn near(a: Option<f64>, b: Option<f64>, scale: f64) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * scale,
        (a, b) => a == b,
    }
}

proptest! {
    #[test]
    fn merged_moments_are_those_of_the_whole(values in values(), cuts in prop::collection::vec(0_usize..60, 0..5)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (values.len() + 1)).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        let mut merged = Moments::new();
        for pair in cuts.windows(2) {
            merged.merge(&moments(&values[pair[0]..pair[1]])).unwrap();
        }
        let whole = moments(&values);
        prop_assert_eq!(merged.rows(), whole.rows());
        prop_assert!(near(merged.mean(), whole.mean(), 100.0));
        prop_assert!(near(merged.population_variance(), whole.population_variance(), 1e4));
    }

    #[test]
    fn an_interval_excludes_the_null_when_the_test_rejects(test in tests(), c in values(), t in values()) {
        let answer = test.compare(&TwoArm::new(moments(&c), moments(&t))).unwrap();
        // Rounding may decide on the boundary itself.
        prop_assume!((answer.p_value - test.alpha).abs() > 1e-9);
        prop_assert_eq!(answer.rejects(), !answer.interval.contains(test.null));
        prop_assert!((0.0..=1.0).contains(&answer.p_value));
        if let Some(estimate) = answer.estimate {
            prop_assert!(answer.interval.contains(estimate));
        }
    }

    #[test]
    fn exchanging_the_arms_mirrors_the_answer(test in tests(), c in values(), t in values()) {
        let (c, t) = (moments(&c), moments(&t));
        let exchanged = MeanDifference {
            null: -test.null,
            alternative: mirrored(test.alternative),
            ..test
        };
        let a = test.compare(&TwoArm::new(c, t)).unwrap();
        let b = exchanged.compare(&TwoArm::new(t, c)).unwrap();
        let close = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-9 * a.abs().max(1.0);
        prop_assert!(close(a.p_value, b.p_value));
        prop_assert!(close(a.interval.lower(), -b.interval.upper()));
    }

    #[test]
    fn the_unit_of_the_outcome_does_not_matter(
        allocation in prop_oneof![Just(Allocation::Adaptive), Just(Allocation::Fixed)],
        alternative in alternatives(),
        exponent in -80_i32..80,
        c in values(),
        t in values(),
    ) {
        let test = MeanDifference { allocation, alternative, warm_up_rows: 2, ..Default::default() };
        let unit = 10_f64.powi(exponent);
        let scaled = |values: &[f64]| Moments::of(values.iter().map(|v| v * unit)).unwrap();
        let a = test.compare(&TwoArm::new(moments(&c), moments(&t))).unwrap();
        let b = test.compare(&TwoArm::new(scaled(&c), scaled(&t))).unwrap();
        prop_assert!((a.log_e_value - b.log_e_value).abs() <= 1e-9 * a.log_e_value.abs().max(1.0));
    }

    #[test]
    fn one_sided_bounds_are_solutions(v in 0.0..1e6, v_opt in 0.1..1e6, alpha in 0.001..0.499) {
        for sides in [Sides::One, Sides::Two] {
            let mixture = NormalMixture::narrowest_at(v_opt, alpha, sides).unwrap();
            let reached = mixture.log_mixture(mixture.bound(v, alpha).unwrap(), v).unwrap();
            prop_assert!((reached + alpha.ln()).abs() < 1e-10, "{} and {}", reached, -alpha.ln());
        }
    }

    #[test]
    fn states_survive_storage(c in values(), t in values()) {
        let arms = TwoArm::new(moments(&c), moments(&t));
        let stored = serde_json::to_string(&arms).unwrap();
        prop_assert_eq!(serde_json::from_str::<TwoArm<Moments>>(&stored).unwrap(), arms);
        let answer = MeanDifference::default().compare(&arms).unwrap();
        let stored = serde_json::to_string(&answer).unwrap();
        prop_assert_eq!(serde_json::from_str::<Comparison>(&stored).unwrap(), answer);
    }

    #[test]
    fn exact_rates_are_dual_and_mirror(
        alpha in 0.001..0.5, alternative in alternatives(), null in -0.9..0.9,
        (sc, fc, st, ft) in (0_u64..200, 0_u64..200, 0_u64..200, 0_u64..200),
    ) {
        let arms = TwoArm::new(Proportion::of(sc, sc + fc).unwrap(), Proportion::of(st, st + ft).unwrap());
        let test = RateDifference { alpha, alternative, null };
        let answer = test.compare(&arms).unwrap();
        prop_assert!((0.0..=1.0).contains(&answer.p_value));
        prop_assert!(answer.estimate.is_none_or(|estimate| answer.interval.contains(estimate)));
        prop_assert!(answer.interval.lower() >= -1.0 && answer.interval.upper() <= 1.0);
        if (answer.p_value - alpha).abs() > 1e-9 {
            prop_assert_eq!(answer.rejects(), !answer.interval.contains(null));
        }
        let exchanged = RateDifference { null: -null, alternative: mirrored(alternative), ..test };
        let exchanged = exchanged.compare(&TwoArm::new(arms.treatment, arms.control)).unwrap();
        prop_assert!((answer.log_e_value - exchanged.log_e_value).abs() < 1e-9 * answer.log_e_value.abs().max(1.0));
        prop_assert!((answer.interval.lower() + exchanged.interval.upper()).abs() < 1e-9);
    }

    /// The supremum by brute force over a grid never exceeds ours, and comes near.
    #[test]
    fn the_exact_e_value_is_over_the_supremum(null in -0.5..0.5, counts in prop::collection::vec(0_u64..30, 4)) {
        let [sc, fc, st, ft] = counts[..] else { unreachable!() };
        prop_assume!(sc + fc > 0 && st + ft > 0);
        let arms = TwoArm::new(Proportion::of(sc, sc + fc).unwrap(), Proportion::of(st, st + ft).unwrap());
        let test = RateDifference { null, ..Default::default() };
        let at_null = test.log_e_value(&arms).unwrap();
        let log = |n: u64, p: f64| if n == 0 { 0.0 } else { n as f64 * p.ln() };
        let likelihood = |p: f64| log(sc, p) + log(fc, 1.0 - p) + log(st, p + null) + log(ft, 1.0 - p - null);
        let (low, high) = (0_f64.max(-null), 1_f64.min(1.0 - null));
        let grid = (1..2000).map(|i| likelihood(low + (high - low) * f64::from(i) / 2000.0));
        let brute = grid.fold(f64::NEG_INFINITY, f64::max);
        // The marginal of Jeffreys' prior as a product of predictions.
        let marginal = |s: u64, f: u64| {
            let part = |n: u64| (0..n).map(|i| (i as f64 + 0.5).ln()).sum::<f64>();
            part(s) + part(f) - (0..s + f).map(|i| (i as f64 + 1.0).ln()).sum::<f64>()
        };
        let brute = marginal(sc, fc) + marginal(st, ft) - brute;
        prop_assert!(at_null <= brute + 1e-9 && brute - at_null < 0.05, "{} {}", at_null, brute);
    }

    #[test]
    fn corrections_are_ordered(p_values in prop::collection::vec(0.0..=1.0, 0..30)) {
        let [bonferroni, holm, bh, by] = [
            correction::bonferroni(&p_values).unwrap(),
            correction::holm(&p_values).unwrap(),
            correction::benjamini_hochberg(&p_values).unwrap(),
            correction::benjamini_yekutieli(&p_values).unwrap(),
        ];
        for i in 0..p_values.len() {
            prop_assert!(p_values[i] <= bh[i] + 1e-15 && bh[i] <= holm[i] + 1e-15 && holm[i] <= bonferroni[i]);
            prop_assert!(bh[i] <= by[i] + 1e-15 && by[i] <= 1.0);
            for j in 0..p_values.len() {
                prop_assert!(p_values[i] > p_values[j] || (holm[i] <= holm[j] && bh[i] <= bh[j] && by[i] <= by[j]));
            }
        }
    }

    #[test]
    fn sample_ratio_counts_in_any_unit_order(counts in prop::collection::vec(0_u64..100_000, 3)) {
        let plan = SampleRatio::new(&[1.0, 1.0, 2.0]).unwrap();
        let exchanged = [counts[1], counts[0], counts[2]];
        prop_assert!((0.0..=1.0).contains(&plan.always_valid(&counts).unwrap()));
        let (a, b) = (plan.chi_square(&counts).unwrap(), plan.chi_square(&exchanged).unwrap());
        prop_assert!((a.p_value - b.p_value).abs() < 1e-9);
    }
}

#[test]
fn bad_values_are_refused_and_change_nothing() {
    let mut arms = TwoArm::<Moments>::default();
    arms.record(Arm::Treatment, 1.0).unwrap();
    let before = arms;
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0 * VALUE_MAX] {
        assert_eq!(arms.record(Arm::Treatment, value).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(arms, before);
    }
}

#[test]
fn bad_settings_are_refused() {
    let arms = TwoArm::new(moments(&[1.0, 2.0, 3.0]), moments(&[1.0, 2.0, 4.0]));
    let good = MeanDifference { warm_up_rows: 2, ..Default::default() };
    for test in [
        MeanDifference { alpha: 0.0, ..good },
        MeanDifference { alpha: 1.0, ..good },
        MeanDifference { alpha: f64::NAN, ..good },
        MeanDifference { null: f64::INFINITY, ..good },
        MeanDifference { scale: Scale::Rows(0.0), ..good },
        MeanDifference { scale: Scale::Effect(-1.0), ..good },
        MeanDifference { scale: Scale::Effect(f64::NAN), ..good },
        MeanDifference { alpha: 0.5, alternative: Alternative::Less, allocation: Allocation::Fixed, ..good },
    ] {
        assert_eq!(test.compare(&arms).unwrap_err().kind(), ErrorKind::Invalid, "{test:?}");
    }
    for weights in [&[1.0][..], &[], &[1.0, 0.0], &[1.0, f64::NAN], &[1.0, -1.0], &[1e308, 1e308]] {
        assert_eq!(SampleRatio::new(weights).unwrap_err().kind(), ErrorKind::Invalid, "{weights:?}");
    }
    assert!(SampleRatio::new(&[1.0, 1.0]).unwrap().chi_square(&[1, 2, 3]).is_err());
    assert!(Proportion::of(2, 1).is_err());
    assert!(Interval::new(1.0, 0.0).is_err());
    assert!(Interval::new(f64::NAN, 0.0).is_err());
    for p_value in [-0.1, 1.1, f64::NAN] {
        assert_eq!(correction::holm(&[0.5, p_value]).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(correction::benjamini_yekutieli(&[]).unwrap().is_empty());
}

#[test]
fn without_evidence_the_answer_is_everything() {
    let warm = moments(&[1.0; 40]);
    for (control, treatment) in
        [(Moments::new(), Moments::new()), (warm, Moments::new()), (warm, warm), (warm, moments(&[1.0, 2.0]))]
    {
        for allocation in [Allocation::Adaptive, Allocation::Fixed] {
            let test = MeanDifference { allocation, ..Default::default() };
            let answer = test.compare(&TwoArm::new(control, treatment)).unwrap();
            assert_eq!((answer.p_value, answer.interval), (1.0, Interval::ALL));
            assert_eq!(answer.estimate.is_some(), control.rows() > 0 && treatment.rows() > 0);
        }
    }
    let plan = SampleRatio::new(&[1.0, 1.0]).unwrap();
    assert_eq!((plan.chi_square(&[0, 0]).unwrap().p_value, plan.always_valid(&[0, 0]).unwrap()), (1.0, 1.0));
}

#[test]
fn extreme_values_give_an_answer() {
    let huge = |sign: f64| moments(&[sign * VALUE_MAX, 0.9 * sign * VALUE_MAX, 0.8 * sign * VALUE_MAX]);
    let tiny = |sign: f64| moments(&[sign * 1e-160, sign * 2e-160, sign * 3e-160]);
    for allocation in [Allocation::Adaptive, Allocation::Fixed] {
        for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
            for scale in [Scale::Rows(10.0), Scale::Effect(1e-200), Scale::Effect(1e200)] {
                let test =
                    MeanDifference { allocation, alternative, scale, warm_up_rows: 2, ..Default::default() };
                for (a, b) in [(huge(1.0), huge(-1.0)), (tiny(1.0), tiny(-1.0)), (huge(1.0), tiny(1.0))] {
                    let answer = test.compare(&TwoArm::new(a, b)).unwrap();
                    assert!(
                        (0.0..=1.0).contains(&answer.p_value) && answer.log_e_value.is_finite(),
                        "{test:?}"
                    );
                    assert!(answer.interval.lower() <= answer.interval.upper(), "{test:?}");
                }
            }
        }
    }
}

#[test]
fn tampered_states_are_refused() {
    for text in [
        r#"{"version":2,"control":{"successes":1,"trials":2},"treatment":{"successes":1,"trials":2}}"#,
        r#"{"version":1,"control":{"successes":3,"trials":2},"treatment":{"successes":1,"trials":2}}"#,
        r#"{"version":1,"control":{"successes":1,"trials":18446744073709551615},"treatment":{"successes":1,"trials":2}}"#,
    ] {
        assert!(serde_json::from_str::<TwoArm<Proportion>>(text).is_err(), "{text}");
    }
    for text in [
        r#"{"rows":0,"mean":1.0,"squares":0.0,"cubes":0.0}"#,
        r#"{"rows":2,"mean":1.0,"squares":-1.0,"cubes":0.0}"#,
        r#"{"rows":2,"mean":1e200,"squares":0.0,"cubes":0.0}"#,
        r#"{"rows":1,"mean":1.0,"squares":1.0,"cubes":0.0}"#,
        r#"{"rows":1,"mean":1.0,"squares":0.0,"cubes":1.0}"#,
    ] {
        assert!(serde_json::from_str::<Moments>(text).is_err(), "{text}");
    }
    assert!(serde_json::from_str::<Interval>(r#"{"lower":2.0,"upper":1.0}"#).is_err());
    assert!(serde_json::from_str::<NormalMixture>(r#"{"rho":0.0,"sides":"one"}"#).is_err());
    assert!(serde_json::from_str::<SampleRatio>(r#"{"shares":[1.0],"concentration":1.0}"#).is_err());
    assert!(serde_json::from_str::<MeanDifference>(r#"{"alhpa":0.1}"#).is_err());
}

#[test]
fn counts_merge_bit_for_bit_and_never_overflow() {
    let mut a = Proportion::of(3, 9).unwrap();
    a.merge(&Proportion::of(2, 5).unwrap()).unwrap();
    assert_eq!(a, Proportion::of(5, 14).unwrap());
    let most = Proportion::of(0, 1 << 53).unwrap();
    assert_eq!(a.merge(&most).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(a.trials(), 14);
}

#[test]
fn looks_that_contradict_each_other_leave_no_interval() {
    let look = |shift: f64| {
        let c = Moments::of((0..900).map(|i| f64::from(i % 10))).unwrap();
        let t = Moments::of((0..900).map(|i| f64::from(i % 10) + shift)).unwrap();
        MeanDifference::default().compare(&TwoArm::new(c, t)).unwrap()
    };
    let mut running = Running::default();
    running.look(&look(3.0));
    assert!(running.interval.unwrap().contains(3.0));
    running.look(&look(-3.0));
    assert_eq!((running.interval, running.looks), (None, 2));
}

/// Log-gamma functions at 60 digits: an even split of 2^53 units is no mismatch.
#[test]
fn sample_ratios_hold_at_any_count() {
    let plan = SampleRatio::new(&[0.5, 0.5]).unwrap();
    for (n, log_e_value) in [(1000_u64, 0.863_705_018_944_921_3), (1 << 52, -12.664_772_706_773_41)] {
        let more = n + (3.0 * (n as f64).sqrt()) as u64;
        let p_value: f64 = plan.always_valid(&[more, n]).unwrap();
        let log_e_value: f64 = log_e_value;
        assert!((p_value - (-log_e_value).exp().min(1.0)).abs() < 1e-12, "{n} {p_value}");
        assert_eq!(plan.always_valid(&[n, n]).unwrap(), 1.0);
    }
    let rates = RateDifference::default();
    let arm = Proportion::of(1 << 40, 1 << 41).unwrap();
    assert!(rates.log_e_value(&TwoArm::new(arm, arm)).unwrap() < 0.0);
}

#[test]
fn bounds_at_any_time_take_no_time() {
    let mixture = GammaExponentialMixture::narrowest_at(100.0, 0.05, 1.0).unwrap();
    // Solved at 50 digits.
    assert!((mixture.bound(1e6, 0.05).unwrap() / 3_980.326_070_385_387_4 - 1.0).abs() < 1e-11);
    for v in [1e10, 1e15, 1e30] {
        let bound = mixture.bound(v, 0.05).unwrap();
        assert!(bound > 3.0 * v.sqrt() && bound < 9.0 * v.sqrt(), "{v} {bound}");
    }
}

#[test]
fn skewness_merges_and_counts_alike() {
    let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
    let whole = moments(&values);
    let mut merged = moments(&values[..13]);
    merged.merge(&moments(&values[13..])).unwrap();
    assert!((merged.skewness().unwrap() - whole.skewness().unwrap()).abs() < 1e-12);
    // scipy.stats.skew of [0, 0, 0, 1]
    let ones = moments(&[0.0, 0.0, 0.0, 1.0]).skewness().unwrap();
    assert!((ones - 1.154_700_538_379_251_5).abs() < 1e-12);
    let counted = Moments::from(Proportion::of(1, 4).unwrap()).skewness().unwrap();
    assert!((ones - counted).abs() < 1e-12);
    assert_eq!(moments(&[2.0; 5]).skewness(), None);
}

/// Evidence of bounded values by arm merges and records as counts do.
#[test]
fn arms_of_sequences_record_and_merge() {
    let arm = PredictableMixture::empirical_bernstein(Bounded::default()).unwrap();
    let mut here = TwoArm::new(arm, arm);
    let mut there = here;
    here.record(Arm::Control, 0.2).unwrap();
    there.record(Arm::Treatment, 0.7).unwrap();
    here.merge(&there).unwrap();
    assert_eq!((here.control.rows(), here.treatment.rows()), (1, 1));
    assert!(here.record(Arm::Control, 1.5).is_err());
}
