//! Laws that hold for any input.

use std::sync::Arc;

use arrow_array::{Float64Array, RecordBatch};
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_core::{Seed, Timestamp};
use mlops_drift::detector::*;
use mlops_drift::distance::*;
use mlops_drift::gap_count::{GapCounts, Reference};
use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions, DriftReport, Monitor};
use mlops_drift::two_sample::*;
use mlops_drift::{Correction, Result, Sample};
use proptest::collection::vec;
use proptest::prelude::*;

fn all_tests(a: &Sample, b: &Sample) -> Vec<Result<TestResult>> {
    let mut results = vec![
        anderson_darling(a, b),
        welch_t(a, b),
        student_t(a, b),
        epps_singleton(a, b),
        cramer_von_mises(a, b, Method::Asymptotic),
        energy_test(a, b, 20, Seed::new(1)),
        mmd_test(a, b, 20, Seed::new(1)),
    ];
    for alternative in [Alternative::TwoSided, Alternative::Less, Alternative::Greater] {
        for method in [Method::Auto, Method::Exact, Method::Asymptotic] {
            results.push(kolmogorov_smirnov_with(a, b, alternative, method));
            results.push(mann_whitney(a, b, alternative, method));
        }
    }
    results
}

fn detectors() -> Vec<AnyDetector> {
    vec![
        Adwin::new(AdwinSettings { clock: 3, ..AdwinSettings::default() }).unwrap().into(),
        Cusum::new(CusumSettings { threshold: 2.0, ..CusumSettings::default() }).unwrap().into(),
        Ddm::new(DdmSettings::default()).unwrap().into(),
        Ecdd::new(EcddSettings::default()).unwrap().into(),
        Eddm::new(EddmSettings::default()).unwrap().into(),
        Fhddm::new(FhddmSettings { window: 20, delta: 0.1, ..FhddmSettings::default() }).unwrap().into(),
        Gma::new(GmaSettings { threshold: 0.05, ..GmaSettings::default() }).unwrap().into(),
        HddmA::new(HddmASettings { decrease: Decrease::Report, ..HddmASettings::default() }).unwrap().into(),
        HddmW::new(HddmWSettings { decrease: Decrease::Restart, ..HddmWSettings::default() }).unwrap().into(),
        Kswin::new(KswinSettings { window: 40, recent: 10, ..KswinSettings::default() }).unwrap().into(),
        Kswin::new(KswinSettings { window: 40, recent: 10, ..KswinSettings::river(3) }).unwrap().into(),
        PageHinkley::new(PageHinkleySettings { threshold: 2.0, ..PageHinkleySettings::default() })
            .unwrap()
            .into(),
        Rddm::new(RddmSettings { warm_up: 20, kept: 30, ..RddmSettings::default() }).unwrap().into(),
        Stepd::new(StepdSettings { window: 10, ..StepdSettings::default() }).unwrap().into(),
    ]
}

/// Any number, infinities, and ties.
fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => any::<f64>(),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::MAX), Just(f64::MIN)],
        3 => (-3i32..3).prop_map(f64::from),
    ]
}

/// Replaces the leaf at this place, counted from the front.
fn damage_leaf(value: &mut serde_json::Value, left: &mut usize, damage: usize) {
    use serde_json::{Value, json};
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| damage_leaf(value, left, damage)),
        Value::Object(map) => map.values_mut().for_each(|value| damage_leaf(value, left, damage)),
        _ => {
            if *left == 0 {
                *value = [
                    json!(0),
                    json!(1),
                    json!(-1),
                    json!(3),
                    json!(65_535),
                    json!(u64::MAX),
                    json!(1e308),
                    json!(null),
                    json!("inf"),
                ][damage]
                    .clone();
            }
            *left = left.wrapping_sub(1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_test_panics_and_every_p_value_is_a_probability(
        a in vec(numbers(), 0..25), b in vec(numbers(), 0..25)
    ) {
        let (Ok(a), Ok(b)) = (Sample::new(a), Sample::new(b)) else { return Ok(()) };
        for result in all_tests(&a, &b).into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&result.p_value), "{result:?}");
        }
        let _ = (wasserstein(&a, &b), wasserstein_normed(&a, &b), energy(&a, &b));
    }

    #[test]
    fn rank_tests_know_order_alone(
        a in vec(-100i32..100, 5..40), b in vec(-100i32..100, 5..40), shift in -50i32..50
    ) {
        let sample = |values: &[i32], map: &dyn Fn(f64) -> f64| {
            Sample::new(values.iter().map(|value| map(f64::from(*value)))).unwrap()
        };
        let (x, y) = (sample(&a, &|v| v), sample(&b, &|v| v));
        let cube = |v: f64| (v + f64::from(shift)).powi(3) * 4.0;
        let (u, v) = (sample(&a, &cube), sample(&b, &cube));
        prop_assert_eq!(kolmogorov_smirnov(&x, &y)?, kolmogorov_smirnov(&u, &v)?);
        prop_assert_eq!(
            mann_whitney(&x, &y, Alternative::TwoSided, Method::Auto)?,
            mann_whitney(&u, &v, Alternative::TwoSided, Method::Auto)?
        );
        let swapped = kolmogorov_smirnov(&y, &x)?;
        let straight = kolmogorov_smirnov(&x, &y)?;
        prop_assert_eq!(swapped.statistic, straight.statistic);
        prop_assert!((swapped.p_value - straight.p_value).abs() <= 1e-12);
        let identical = kolmogorov_smirnov(&x, &x)?;
        prop_assert_eq!((identical.statistic, identical.p_value), (0.0, 1.0));
    }

    #[test]
    fn distances_are_bounded_symmetric_and_zero_on_equals(
        counts in vec((0u64..1000, 0u64..1000), 2..20)
    ) {
        let (a, b): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
        let (p, q) = (smoothed(&a), smoothed(&b));
        let ln2 = std::f64::consts::LN_2;
        type Distance = fn(&[f64], &[f64]) -> Result<f64>;
        let bounded: [(Distance, f64); 7] = [
            (psi, f64::INFINITY),
            (jensen_shannon_divergence_nats, ln2),
            (jensen_shannon_divergence_bits, 1.0),
            (jensen_shannon_distance_base2, 1.0),
            (hellinger, 1.0),
            (total_variation, 1.0),
            (l_infinity, 1.0),
        ];
        for (distance, most) in bounded {
            let there = distance(&p, &q)?;
            let back = distance(&q, &p)?;
            prop_assert!((0.0..=most).contains(&there));
            prop_assert!((there - back).abs() <= 1e-12 * there.max(1.0));
            prop_assert!(distance(&p, &p)? <= 1e-8);
        }
        let one_way = kullback_leibler_nats(&p, &q)? + kullback_leibler_nats(&q, &p)?;
        prop_assert!((one_way - psi(&p, &q)?).abs() < 1e-10);
    }

    #[test]
    fn corrections_keep_order_and_never_lower(p in vec(0.0f64..=1.0, 0..30)) {
        for correction in [
            Correction::None, Correction::Bonferroni, Correction::Holm,
            Correction::BenjaminiHochberg, Correction::BenjaminiYekutieli,
        ] {
            let adjusted = correction.adjust(&p)?;
            for (i, (raw, high)) in p.iter().zip(&adjusted).enumerate() {
                prop_assert!(raw <= high && *high <= 1.0);
                for (other, other_high) in p.iter().zip(&adjusted).skip(i) {
                    prop_assert!(raw > other || high <= other_high || raw == other);
                }
            }
        }
    }

    #[test]
    fn counts_of_parts_are_those_of_the_whole(
        reference in vec(-20i32..20, 1..40), live in vec(-25.0f64..25.0, 2..60), cut in 0usize..60
    ) {
        let reference = Reference::new(&Sample::new(reference)?)?;
        let count = |values: &[f64]| {
            let mut counts = GapCounts::new(&reference);
            counts.update_all(&reference, values).unwrap();
            counts
        };
        let (first, second) = live.split_at(cut.min(live.len()));
        let mut merged = count(first);
        merged.merge(&count(second))?;
        let whole = count(&live);
        prop_assert_eq!(&merged, &whole);
        merged.subtract(&count(first))?;
        prop_assert_eq!(merged, count(second));
        let json = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<GapCounts>(&json).unwrap(), whole);
    }

    #[test]
    fn no_detector_panics_and_a_refused_value_changes_nothing(
        values in vec(prop_oneof![2 => prop::num::f64::ANY, 2 => numbers(), 2 => 0.0f64..=1.0, 1 => -1e100f64..1e100], 0..80)
    ) {
        for mut detector in detectors() {
            for value in &values {
                let before = detector.clone();
                prop_assert_eq!(detector.check(*value).is_ok(), detector.update(*value).is_ok());
                if detector.check(*value).is_err() {
                    prop_assert_eq!(&before, &detector);
                }
            }
            // Nothing in it is NaN or infinite but what its stored form has a name for.
            let json = serde_json::to_string(&detector).unwrap();
            prop_assert!(!json.contains("NaN"), "{}", json);
            prop_assert_eq!(&serde_json::from_str::<AnyDetector>(&json).unwrap(), &detector);
            detector.reset();
            prop_assert_eq!(detector.signal(), Signal::Stable);
        }
    }

    #[test]
    fn a_stored_detector_goes_on_as_if_nothing_had_happened(
        errors in vec(prop::bool::weighted(0.2), 20..200), later in vec(prop::bool::weighted(0.6), 20..100)
    ) {
        let number = |flag: &bool| f64::from(u8::from(*flag));
        for mut detector in detectors() {
            for error in &errors {
                detector.update(number(error))?;
            }
            let json = serde_json::to_string(&detector).unwrap();
            let mut again: AnyDetector = serde_json::from_str(&json).unwrap();
            for error in &later {
                prop_assert_eq!(detector.update(number(error))?, again.update(number(error))?);
                prop_assert_eq!(detector.reason(), again.reason());
            }
        }
    }

    #[test]
    fn a_damaged_store_is_refused_or_harmless(
        errors in vec(prop::bool::weighted(0.3), 0..60), place in 0usize..400, damage in 0usize..9
    ) {
        let number = |flag: &bool| f64::from(u8::from(*flag));
        for mut detector in detectors() {
            for error in &errors {
                detector.update(number(error))?;
            }
            let mut stored = serde_json::to_value(&detector).unwrap();
            let mut left = place;
            damage_leaf(&mut stored, &mut left, damage);
            if let Ok(mut detector) = serde_json::from_value::<AnyDetector>(stored) {
                for step in 0..200 {
                    let _ = detector.update(f64::from(u8::from(step % 3 == 0)));
                    let _ = (detector.signal(), detector.reason());
                }
            }
        }
    }

    #[test]
    fn baselines_and_monitors_of_parts_are_those_of_the_whole(
        reference in vec((proptest::option::of(-9i32..9), 0usize..4), 2..60),
        live in vec((proptest::option::of(-12i32..12), 0usize..6), 2..60),
        cut in 1usize..60,
    ) {
        let schema =
            TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("kind", ColumnKind::Text)])?;
        let batch = |rows: &[(Option<i32>, usize)]| {
            let numbers = Float64Array::from_iter(rows.iter().map(|(x, _)| x.map(|x| f64::from(x) / 2.0)));
            let texts = rows.iter().map(|(_, kind)| ["a", "b", "c", "d", "e", "f"][*kind]);
            let texts = arrow_array::StringArray::from_iter_values(texts);
            RecordBatch::try_from_iter([("x", Arc::new(numbers) as _), ("kind", Arc::new(texts) as _)]).unwrap()
        };
        let fit = |rows: &[(Option<i32>, usize)]| {
            Baseline::fit(&schema, &[batch(rows)], BaselineOptions::default())
        };
        let (first, second) = reference.split_at(cut.clamp(1, reference.len() - 1));
        let whole = fit(&reference)?;
        prop_assert_eq!(&fit(first)?.merge(&fit(second)?)?, &whole);

        let (first, second) = live.split_at(cut.clamp(1, live.len() - 1));
        let mut merged = Monitor::new(&whole);
        for part in [first, second] {
            let mut monitor = Monitor::new(&whole);
            monitor.observe(&batch(part));
            let json = serde_json::to_string(&monitor.state()).unwrap();
            merged.merge(&Monitor::resume(&whole, serde_json::from_str(&json).unwrap())?)?;
        }
        let options = CheckOptions::evidently();
        let report = whole.check(&[batch(&live)], &options)?;
        prop_assert_eq!(&merged.report(&options)?, &report);
        let json = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<DriftReport>(&json).unwrap(), report);
    }

    #[test]
    fn distances_of_samples_scale_with_the_unit(
        a in vec(-50i32..50, 2..30), b in vec(-50i32..50, 2..30), power in -60i32..60, shift in -100i32..100
    ) {
        let sample = |values: &[i32], map: &dyn Fn(f64) -> f64| {
            Sample::new(values.iter().map(|value| map(f64::from(*value)))).unwrap()
        };
        let scale = 2f64.powi(power);
        let (x, y) = (sample(&a, &|v| v), sample(&b, &|v| v));
        let (u, v) = (sample(&a, &|v| v * scale), sample(&b, &|v| v * scale));
        prop_assert_eq!(wasserstein(&u, &v)?, wasserstein(&x, &y)? * scale);
        prop_assert_eq!(wasserstein_normed(&u, &v)?, wasserstein_normed(&x, &y)?);
        let (u, v) = (sample(&a, &|v| v + f64::from(shift)), sample(&b, &|v| v + f64::from(shift)));
        prop_assert!((wasserstein(&u, &v)? - wasserstein(&x, &y)?).abs() < 1e-9);
        prop_assert!((energy(&u, &v)? - energy(&x, &y)?).abs() < 1e-9);
    }

    #[test]
    fn no_window_stops_a_report(
        reference in vec(proptest::option::of(prop_oneof![numbers(), prop::num::f64::ANY]), 1..60),
        live in vec(proptest::option::of(prop_oneof![numbers(), prop::num::f64::ANY]), 0..60),
    ) {
        let schema = TableSchema::new([Column::new("x", ColumnKind::Float)])?;
        let batch = |values: Vec<Option<f64>>| {
            RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(values)) as _)]).unwrap()
        };
        let baseline = Baseline::fit(&schema, &[batch(reference)], BaselineOptions::default())?;
        let report = baseline.check(&[batch(live)], &CheckOptions::default())?;
        let _ = report.events(Timestamp::EPOCH);
        let column = report.column("x")?;
        for measure in [column.psi, column.kolmogorov_smirnov, column.missing_rate, column.non_finite_rate] {
            prop_assert!(measure.is_none_or(|measure| (0.0..=1.0).contains(&measure.p_value)));
        }
        let json = serde_json::to_string(&baseline).unwrap();
        prop_assert_eq!(serde_json::from_str::<Baseline>(&json).unwrap(), baseline);
    }
}
