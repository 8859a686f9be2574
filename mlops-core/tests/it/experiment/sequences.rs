//! Laws and bad input of the confidence sequences of one mean.

use mlops_core::ErrorKind;
use mlops_core::experiment::sequence::{
    AsymptoticMean, Betting, Bounded, PredictableMixture, RateSequence, Sequence, difference,
};
use mlops_core::experiment::{Alternative, Interval, Moments, Proportion, TwoArm};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

const ALTERNATIVES: [Alternative; 3] = [Alternative::TwoSided, Alternative::Greater, Alternative::Less];

fn empirical(settings: Bounded) -> PredictableMixture {
    PredictableMixture::empirical_bernstein(settings).unwrap()
}

fn hoeffding(settings: Bounded) -> PredictableMixture {
    PredictableMixture::hoeffding(settings).unwrap()
}

fn betting(settings: Bounded) -> Betting {
    Betting::new(settings, 50).unwrap()
}

fn fed<S: Sequence>(mut sequence: S, values: &[f64]) -> S {
    values.iter().for_each(|value| sequence.push(*value).unwrap());
    sequence
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(1.0)
}

/// What holds for every sequence that can be made.
fn laws<S>(make: impl Fn(Bounded) -> S, values: &[f64], cut: usize)
where
    S: Sequence + Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let cut = cut % (values.len() + 1);
    for alternative in ALTERNATIVES {
        let settings = Bounded { alternative, ..Default::default() };
        let whole = fed(make(settings), values);
        let interval = whole.interval();
        assert!(interval.lower() >= 0.0 && interval.upper() <= 1.0);

        let stored = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<S>(&stored).unwrap(), whole, "storage");

        for null in [0.0, 0.3, 0.31, 1.0] {
            let answer = whole.compare(null).unwrap();
            assert!((0.0..=1.0).contains(&answer.p_value));
            // A grid may leave a rejected candidate inside, never an accepted one outside.
            assert!(answer.rejects() || interval.contains(null), "{answer:?}");
        }

        // Another scale: the same bets, so the same evidence.
        let scaled = Bounded { low: -20.0, high: 20.0, ..settings };
        let values_scaled: Vec<f64> = values.iter().map(|value| 40.0 * value - 20.0).collect();
        let other = fed(make(scaled), &values_scaled);
        assert!(close(other.interval().lower(), 40.0 * interval.lower() - 20.0));
        assert!(close(other.interval().upper(), 40.0 * interval.upper() - 20.0));

        // Evidence of shards multiplies, in either order.
        let (a, b) = (fed(make(settings), &values[..cut]), fed(make(settings), &values[cut..]));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b).unwrap();
        ba.merge(&a).unwrap();
        assert_eq!(ab.rows(), whole.rows());
        assert!(close(ab.interval().lower(), ba.interval().lower()));
        if alternative == Alternative::Greater {
            let log = |sequence: &S| sequence.compare(0.3).unwrap().log_e_value;
            assert!(close(log(&ab), log(&a) + log(&b)));
        }
        let mut with_nothing = whole.clone();
        with_nothing.merge(&make(settings)).unwrap();
        assert!(close(with_nothing.interval().upper(), interval.upper()));
    }
    // Mirrored values mirror the interval.
    let mirrored: Vec<f64> = values.iter().map(|value| 1.0 - value).collect();
    let (a, b) = (fed(make(Bounded::default()), values), fed(make(Bounded::default()), &mirrored));
    assert!(close(a.interval().lower(), 1.0 - b.interval().upper()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn laws_of_bounded_sequences(values in prop::collection::vec(0.0..=1.0, 0..120), cut in 0_usize..120) {
        laws(empirical, &values, cut);
        laws(hoeffding, &values, cut);
        laws(betting, &values, cut);
    }

    #[test]
    fn laws_of_rates(
        successes in 0_u64..3000, failures in 0_u64..3000, null in 0.01..0.99, alpha in 0.001..0.5,
        narrowest_at in 1.0..1e4,
    ) {
        let counts = Proportion::of(successes, successes + failures).unwrap();
        let mirrored = Proportion::of(failures, successes + failures).unwrap();
        for alternative in ALTERNATIVES {
            let test = RateSequence { alpha, alternative, narrowest_at };
            let answer = test.compare(&counts, null).unwrap();
            prop_assert!(answer.estimate.is_none_or(|rate| answer.interval.contains(rate)));
            if (answer.p_value - alpha).abs() > 1e-6 {
                prop_assert_eq!(answer.rejects(), !answer.interval.contains(null), "{:?}", answer);
            }
        }
        let test = RateSequence { alpha, alternative: Alternative::TwoSided, narrowest_at };
        let (a, b) = (test.interval(&counts).unwrap(), test.interval(&mirrored).unwrap());
        prop_assert!((a.lower() + b.upper() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn asymptotic_intervals_and_tests_agree(
        values in prop::collection::vec(-10.0..10.0, 0..100), null in -5.0..5.0, rho in 0.01..1.0,
    ) {
        let moments = Moments::of(values).unwrap();
        for alternative in ALTERNATIVES {
            let test = AsymptoticMean { null, rho, alternative, warm_up_rows: 1, ..Default::default() };
            let answer = test.compare(&moments).unwrap();
            if (answer.p_value - test.alpha).abs() > 1e-9 {
                prop_assert_eq!(answer.rejects(), !answer.interval.contains(null));
            }
        }
    }
}

#[test]
fn bad_values_are_refused_and_change_nothing() {
    fn check<S: Sequence + Clone + PartialEq + std::fmt::Debug>(sequence: S) {
        let mut sequence = fed(sequence, &[0.2, 0.4]);
        let before = sequence.clone();
        for value in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(sequence.push(value).unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(sequence.compare(value).unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert_eq!(sequence, before);
    }
    check(empirical(Bounded::default()));
    check(hoeffding(Bounded::default()));
    check(betting(Bounded::default()));
}

#[test]
fn bad_settings_are_refused() {
    let good = Bounded::default();
    for settings in [
        Bounded { alpha: 0.0, ..good },
        Bounded { alpha: f64::NAN, ..good },
        Bounded { low: 1.0, ..good },
        Bounded { low: f64::NEG_INFINITY, ..good },
        Bounded { low: f64::MIN, high: f64::MAX, ..good },
    ] {
        assert_eq!(Betting::new(settings, 10).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(PredictableMixture::hoeffding(settings).unwrap_err().kind(), ErrorKind::Invalid);
    }
    for steps in [0, 10_001] {
        assert_eq!(Betting::new(good, steps).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let counts = Proportion::of(1, 2).unwrap();
    assert!(RateSequence { narrowest_at: 0.0, ..Default::default() }.interval(&counts).is_err());
    assert!(RateSequence::default().compare(&counts, 0.0).is_err());
    assert!(AsymptoticMean { rho: 0.0, ..Default::default() }.compare(&counts).is_err());
    assert!(AsymptoticMean::narrowest_at(f64::NAN, 0.05).is_err());
}

#[test]
fn states_of_other_settings_do_not_merge() {
    let one_sided = Bounded { alternative: Alternative::Less, ..Default::default() };
    let mut sequence = empirical(Bounded::default());
    assert_eq!(sequence.merge(&hoeffding(Bounded::default())).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(sequence.merge(&empirical(one_sided)).unwrap_err().kind(), ErrorKind::Invalid);
    let mut sequence = betting(Bounded::default());
    assert!(sequence.merge(&Betting::new(Bounded::default(), 51).unwrap()).is_err());
    assert!(sequence.merge(&betting(one_sided)).is_err());
}

#[test]
fn tampered_states_are_refused() {
    let text = serde_json::to_string(&fed(betting(Bounded::default()), &[0.1, 0.9])).unwrap();
    for (from, to) in [
        (r#""version":1"#, r#""version":9"#),
        (r#""above":[0.0,"#, r#""above":["#),
        (r#""pending_rows":2"#, r#""pending_rows":64"#),
        (r#""rows":2"#, r#""rows":0"#),
        (r#""alpha":0.05"#, r#""alpha":5.0"#),
    ] {
        assert!(text.contains(from));
        assert!(serde_json::from_str::<Betting>(&text.replacen(from, to, 1)).is_err(), "{from}");
    }
    let text = serde_json::to_string(&fed(empirical(Bounded::default()), &[0.1, 0.9])).unwrap();
    for (from, to) in [
        (r#""version":1"#, r#""version":0"#),
        (r#""weight":"#, r#""weight":-"#),
        (r#""rows":2"#, r#""rows":0"#),
    ] {
        assert!(text.contains(from));
        assert!(serde_json::from_str::<PredictableMixture>(&text.replacen(from, to, 1)).is_err(), "{from}");
    }
}

#[test]
fn without_rows_the_answer_is_the_range() {
    let range = Interval::new(0.0, 1.0).unwrap();
    assert_eq!(empirical(Bounded::default()).interval(), range);
    assert_eq!(hoeffding(Bounded::default()).interval(), range);
    assert_eq!(betting(Bounded::default()).interval(), range);
    assert_eq!(RateSequence::default().interval(&Proportion::new()).unwrap(), range);
    let answer = betting(Bounded::default()).compare(0.5).unwrap();
    assert_eq!((answer.p_value, answer.estimate), (1.0, None));
}

#[test]
fn a_mean_that_moves_leaves_one_candidate() {
    let sequence = fed(betting(Bounded::default()), &[0.0; 2000]);
    assert_eq!(sequence.interval(), Interval::new(0.0, 0.02).unwrap());
    let sequence = fed(sequence, &[1.0; 10]);
    assert!([0.0, 0.02, 0.04, 1.0].iter().all(|mean| sequence.compare(*mean).unwrap().rejects()));
    assert!(sequence.interval().width() <= 0.04);
}

#[test]
fn long_streams_neither_overflow_nor_vanish() {
    let sequence = fed(Betting::new(Bounded::default(), 100).unwrap(), &vec![0.5; 5000]);
    assert!(sequence.interval().contains(0.5) && sequence.interval().width() < 0.1);
    assert!(sequence.compare(0.9).unwrap().log_e_value.is_finite());
}

#[test]
fn the_difference_of_two_sequences_covers() {
    let settings = Bounded { alpha: 0.025, ..Default::default() };
    let even: Vec<f64> = (0..800).map(|i| f64::from(i % 2)).collect();
    let fifth: Vec<f64> = (0..800).map(|i| if i % 5 == 0 { 1.0 } else { 0.0 }).collect();
    let arms = TwoArm::new(fed(empirical(settings), &fifth), fed(empirical(settings), &even));
    let answer = difference(&arms, 0.0).unwrap();
    assert!(answer.interval.contains(0.3) && !answer.interval.contains(0.0), "{answer:?}");
    assert!(answer.rejects() && (answer.estimate.unwrap() - 0.3).abs() < 1e-12 && answer.alpha == 0.05);
}

#[test]
fn differences_that_cannot_be_are_refused() {
    let arms = |control: Bounded, treatment: Bounded| TwoArm::new(empirical(control), empirical(treatment));
    let unit = Bounded { alpha: 0.025, ..Default::default() };
    let wide = Bounded { low: 2.0, high: 4.0, ..unit };
    let nothing = difference(&arms(unit, wide), 1.0).unwrap();
    assert_eq!((nothing.estimate, nothing.p_value), (None, 1.0));
    assert_eq!((nothing.interval.lower(), nothing.interval.upper()), (1.0, 4.0));
    for null in [0.5, 4.5, f64::NAN, f64::INFINITY] {
        assert!(difference(&arms(unit, wide), null).is_err(), "{null}");
    }
    let greater = Bounded { alternative: Alternative::Greater, ..unit };
    assert!(difference(&arms(unit, greater), 0.0).unwrap_err().to_string().contains("two-sided"));
    let loose = Bounded { alpha: 0.6, ..unit };
    assert!(difference(&arms(loose, loose), 0.0).unwrap_err().to_string().contains("alpha is 1.2"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn differences_and_their_intervals_agree(
        control in prop::collection::vec(0.0..1.0_f64, 0..120),
        treatment in prop::collection::vec(0.0..1.0_f64, 0..120),
        (a, b) in (0.01..0.4_f64, 0.01..0.4_f64),
        null in -1.0..1.0_f64,
    ) {
        let of = |alpha| Bounded { alpha, ..Default::default() };
        let arms = TwoArm::new(fed(empirical(of(a)), &control), fed(empirical(of(b)), &treatment));
        let answer = difference(&arms, null).unwrap();
        if (answer.p_value - answer.alpha).abs() > 1e-9 {
            prop_assert_eq!(answer.rejects(), !answer.interval.contains(null), "{:?}", answer);
        }
        // No pair of means on a grid has less evidence against it.
        for step in 0..=200 {
            let mean = f64::from(step) / 200.0;
            if (0.0..=1.0).contains(&(mean + null)) {
                let log = |sequence: &PredictableMixture, mean: f64, alpha: f64| {
                    sequence.compare(mean).unwrap().log_e_value + (alpha / (a + b)).ln()
                };
                let pair = log(&arms.control, mean, a).max(log(&arms.treatment, mean + null, b));
                prop_assert!(pair >= answer.log_e_value - 1e-9, "{mean} {pair} {}", answer.log_e_value);
            }
        }
        // A grid rounds against the evidence.
        let grid = |alpha, values: &[f64]| fed(Betting::new(of(alpha), 20).unwrap(), values);
        let arms = TwoArm::new(grid(a, &control), grid(b, &treatment));
        let answer = difference(&arms, null).unwrap();
        prop_assert!(!answer.rejects() || answer.interval.lower() + 0.2 > null || null > answer.interval.upper() - 0.2);
    }
}

#[test]
fn betting_is_narrower_than_the_bound_that_ignores_the_variance() {
    let values: Vec<f64> = (0..1000).map(|i| 0.45 + 0.01 * f64::from(i % 10)).collect();
    let width = |sequence: &dyn Fn(Bounded) -> Interval| sequence(Bounded::default()).width();
    let wide = width(&|settings| fed(hoeffding(settings), &values).interval());
    let narrow = width(&|settings| fed(empirical(settings), &values).interval());
    let narrowest = width(&|settings| fed(Betting::new(settings, 1000).unwrap(), &values).interval());
    assert!(narrowest < narrow && narrow < 0.5 * wide, "{narrowest} {narrow} {wide}");
}
