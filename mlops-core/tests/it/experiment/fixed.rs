//! Laws and bad input of the fixed-sample tests.

use mlops_core::ErrorKind;
use mlops_core::experiment::fixed::{DifferenceMethod, MeanPower, RatePower, TwoRates, Welch};
use mlops_core::experiment::{Alternative, Moments, Proportion, TwoArm};
use proptest::prelude::*;

const METHODS: [DifferenceMethod; 4] = [
    DifferenceMethod::Newcombe,
    DifferenceMethod::Score,
    DifferenceMethod::AgrestiCaffo,
    DifferenceMethod::Wald,
];

proptest! {
    #[test]
    fn welch_is_dual_and_blind_to_the_unit(
        a in prop::collection::vec(-10.0..10.0, 3..40), b in prop::collection::vec(-10.0..10.0, 3..40),
        alpha in 0.001..0.9, null in -5.0..5.0, exponent in -80_i32..80,
    ) {
        let unit = 10_f64.powi(exponent);
        let arms = |unit: f64| {
            let moments = |values: &[f64]| Moments::of(values.iter().map(|value| value * unit)).unwrap();
            TwoArm::new(moments(&a), moments(&b))
        };
        for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
            let test = Welch { alpha, alternative, null };
            let answer = test.compare(&arms(1.0)).unwrap();
            if (answer.p_value - alpha).abs() > 1e-9 {
                prop_assert_eq!(answer.p_value <= alpha, !answer.interval.contains(null), "{:?}", answer);
            }
            let scaled = Welch { null: null * unit, ..test }.compare(&arms(unit)).unwrap();
            prop_assert!((answer.p_value - scaled.p_value).abs() < 1e-9);
        }
    }

    #[test]
    fn rates_mirror_and_stay_in_range(
        (sc, fc, st, ft) in (0_u64..60, 0_u64..60, 0_u64..60, 0_u64..60), alpha in 0.001..0.5,
    ) {
        prop_assume!(sc + fc > 0 && st + ft > 0);
        let arms = TwoArm::new(Proportion::of(sc, sc + fc).unwrap(), Proportion::of(st, st + ft).unwrap());
        for method in METHODS {
            let test = TwoRates { alpha, method, ..Default::default() };
            let answer = test.compare(&arms).unwrap();
            prop_assert!(answer.interval.lower() >= -1.0 && answer.interval.upper() <= 1.0);
            prop_assert!((0.0..=1.0).contains(&answer.p_value));
            let exchanged = test.compare(&TwoArm::new(arms.treatment, arms.control)).unwrap();
            prop_assert!((answer.interval.lower() + exchanged.interval.upper()).abs() < 1e-9);
            prop_assert!((answer.statistic + exchanged.statistic).abs() < 1e-12);
        }
    }

    #[test]
    fn planned_rows_are_the_fewest_that_suffice(
        effect in 0.01..3.0, power in 0.3..0.99, ratio in 0.1..10.0, alpha in 0.001..0.2,
    ) {
        let plan = MeanPower { alpha, ratio, ..Default::default() };
        let rows = plan.rows(effect, power).unwrap().control as f64;
        prop_assert!(plan.power(effect, rows).unwrap() >= power);
        prop_assert!(rows == 1.0 || plan.power(effect, rows - 1.0).unwrap() < power);
    }
}

#[test]
fn bad_input_is_refused() {
    let one = Moments::of([1.0]).unwrap();
    let constant = Moments::of([1.0, 1.0, 1.0]).unwrap();
    for arms in
        [TwoArm::new(one, constant), TwoArm::new(Moments::new(), one), TwoArm::new(constant, constant)]
    {
        assert_eq!(Welch::default().compare(&arms).unwrap_err().kind(), ErrorKind::Data);
    }
    let rates = TwoArm::new(Proportion::of(1, 2).unwrap(), Proportion::new());
    assert_eq!(TwoRates::default().compare(&rates).unwrap_err().kind(), ErrorKind::Data);
    for alpha in [0.0, 1.0, f64::NAN] {
        let test = TwoRates { alpha, ..Default::default() };
        assert_eq!(test.compare(&rates).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let plan = MeanPower::default();
    for (effect, power) in [(0.0, 0.8), (f64::NAN, 0.8), (1.0, 0.05), (1.0, 1.0), (1e-12, 0.8)] {
        assert_eq!(plan.rows(effect, power).unwrap_err().kind(), ErrorKind::Invalid, "{effect} {power}");
    }
    assert!(plan.power(1.0, 0.0).is_err());
    assert!(MeanPower { sd_control: 0.0, ..plan }.power(1.0, 10.0).is_err());
    assert!(RatePower::default().power(0.0, 0.1, 10.0).is_err());
    assert!(RatePower::default().rows(0.1, 0.1, 0.8).is_err());
}

#[test]
fn rates_that_agree_say_nothing() {
    for successes in [0, 10] {
        let arm = Proportion::of(successes, 10).unwrap();
        for method in METHODS {
            let answer = TwoRates { method, ..Default::default() }.compare(&TwoArm::new(arm, arm)).unwrap();
            assert_eq!((answer.p_value, answer.estimate), (1.0, 0.0));
            assert!(answer.interval.contains(0.0));
        }
    }
}
