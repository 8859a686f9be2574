//! Intervals against statsmodels and SciPy, and whether they cover what they promise.

use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings, ScoreMemory};
use mlops_core::evaluation::interval::{
    Bootstrap, BootstrapMethod, PoissonBootstrap, ProportionMethod, proportion_interval,
};
use mlops_core::evaluation::regression::{RegressionMetrics, RegressionRow};
use mlops_core::{ErrorKind, Seed};
use proptest::prelude::*;
use rand::RngExt;

use super::oracle::{agree, cases};

fn method(name: &str) -> ProportionMethod {
    match name {
        "normal" => ProportionMethod::Normal,
        "wilson" => ProportionMethod::Wilson,
        "agresti_coull" => ProportionMethod::AgrestiCoull,
        "jeffreys" => ProportionMethod::Jeffreys,
        "beta" => ProportionMethod::ClopperPearson,
        other => panic!("no method {other}"),
    }
}

#[test]
fn shares_agree_with_statsmodels() {
    let names = ["normal", "wilson", "agresti_coull", "jeffreys", "beta"];
    let families = names.map(|name| format!("proportion_{name}"));
    for case in families.iter().flat_map(|family| cases(family)).chain(cases("proportion")) {
        let count = |field: &str| case.input[field].as_u64().unwrap();
        let alpha = case.input["alpha"].as_f64().unwrap_or(0.05);
        let name = case.input["method"].as_str().map_or_else(
            || case.name.split('/').next().unwrap().trim_start_matches("proportion_").to_owned(),
            str::to_owned,
        );
        let interval = proportion_interval(count("x"), count("n"), 1.0 - alpha, method(&name)).unwrap();
        agree(&case.name, Some(interval.lower()), &case.expected[0]);
        agree(&case.name, Some(interval.upper()), &case.expected[1]);
    }
}

#[test]
fn the_bootstrap_agrees_with_scipy_up_to_its_own_noise() {
    for case in cases("bootstrap_percentile_basic_bca") {
        let values = case.numbers("a");
        let mean =
            |rows: &[usize]| Some(rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64);
        for (field, method) in [
            ("percentile", BootstrapMethod::Percentile),
            ("basic", BootstrapMethod::Basic),
            ("BCa", BootstrapMethod::Bca),
        ] {
            let bootstrap = Bootstrap::new(Seed::new(7)).method(method);
            let metric = bootstrap.metric(values.len(), mean).unwrap();
            let (interval, std_error) = (metric.interval.unwrap(), metric.std_error.unwrap());
            let expected = |index: usize| case.expected[field][index].as_f64().unwrap();
            // A quantile of 2000 draws at .025 is known to about .06 standard errors, in each of the two runs.
            assert!((interval.lower() - expected(0)).abs() < 0.25 * expected(2), "{field} {interval:?}");
            assert!((interval.upper() - expected(1)).abs() < 0.25 * expected(2), "{field} {interval:?}");
            assert!((std_error / expected(2) - 1.0).abs() < 0.08, "{field} {std_error}");
            assert_eq!(bootstrap.metric(values.len(), mean).unwrap(), metric);
        }
    }
}

#[test]
fn the_bootstrap_covers_what_it_promises() {
    let seed = Seed::new(11);
    let mut rng = seed.derive("data").rng();
    let mut covered = 0;
    let (runs, rows) = (300, 40);
    for run in 0..runs {
        // Exponential values of mean 1: skewed, which is what BCa is for.
        let values: Vec<f64> = (0..rows).map(|_| -f64::ln(1.0 - rng.random::<f64>())).collect();
        let mean =
            |rows: &[usize]| Some(rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64);
        let bootstrap = Bootstrap::new(seed.derive(&format!("{run}"))).resamples(200).confidence(0.9);
        let interval = bootstrap.metric(rows, mean).unwrap().interval.unwrap();
        covered += u32::from(interval.lower() <= 1.0 && 1.0 <= interval.upper());
    }
    // The nominal 270 of 300 less four standard deviations; small samples of skewed data fall a little short.
    assert!((249..=291).contains(&covered), "{covered}");
}

#[test]
fn the_poisson_bootstrap_finds_the_standard_error() {
    let mut bootstrap =
        PoissonBootstrap::new(RegressionMetrics::new(0.5).unwrap(), 400, Seed::new(3)).unwrap();
    let mut rng = Seed::new(5).rng();
    for row in 0..300 {
        bootstrap.push(row, &RegressionRow::new(0.0, rng.random_range(-1.0..1.0))).unwrap();
    }
    let known = bootstrap.whole().metrics()["mae"].std_error.unwrap();
    let metric = bootstrap.metrics(0.95).unwrap()["mae"];
    let found = metric.std_error.unwrap();
    // The standard deviation of 400 draws is known to 1 / sqrt(800) = 3.5 %.
    assert!((found / known - 1.0).abs() < 0.15, "{found} {known}");
    let interval = metric.interval.unwrap();
    assert!(((interval.upper() - interval.lower()) / (2.0 * 1.96 * known) - 1.0).abs() < 0.2);
}

#[test]
fn rows_of_one_key_come_and_go_together() {
    let empty = || BinaryMetrics::new(BinarySettings::default()).unwrap();
    let mut bootstrap = PoissonBootstrap::new(empty(), 30, Seed::new(3)).unwrap();
    for row in 0..40 {
        bootstrap.push(row / 2, &BinaryRow::new(row % 2 == 0, 0.7)).unwrap();
    }
    // Each key holds one right and one wrong row: every replicate that is not empty is half right.
    let accuracy = bootstrap.metrics(0.95).unwrap()["accuracy"];
    assert_eq!((accuracy.value, accuracy.std_error), (0.5, Some(0.0)));
}

#[test]
fn bad_settings_are_refused() {
    let share = |successes, trials, confidence| {
        proportion_interval(successes, trials, confidence, ProportionMethod::Wilson)
            .err()
            .map(|error| error.kind())
    };
    assert_eq!(share(0, 0, 0.95), Some(ErrorKind::Invalid));
    assert_eq!(share(3, 2, 0.95), Some(ErrorKind::Invalid));
    assert_eq!(share(1, 2, 1.0), Some(ErrorKind::Invalid));
    assert_eq!(share(1, 2, f64::NAN), Some(ErrorKind::Invalid));
    assert_eq!(share(u64::MAX, u64::MAX, 0.95), None);

    let bootstrap = Bootstrap::new(Seed::new(1)).resamples(50);
    let kind = |bootstrap: Bootstrap, rows, value: Option<f64>| {
        bootstrap.metric(rows, |_| value).err().map(|error| error.kind())
    };
    assert_eq!(kind(bootstrap, 1, Some(1.0)), Some(ErrorKind::Invalid));
    assert_eq!(kind(bootstrap.resamples(0), 9, Some(1.0)), Some(ErrorKind::Invalid));
    assert_eq!(kind(bootstrap.confidence(0.0), 9, Some(1.0)), Some(ErrorKind::Invalid));
    assert_eq!(kind(bootstrap, 9, None), Some(ErrorKind::Data));
    assert_eq!(kind(bootstrap, 9, Some(f64::NAN)), Some(ErrorKind::Data));
    let rarely = bootstrap.metric(9, |rows| (rows == [0, 1, 2, 3, 4, 5, 6, 7, 8]).then_some(1.0));
    assert_eq!(rarely.err().map(|error| error.kind()), Some(ErrorKind::Data));
    let constant = bootstrap.metric(9, |_| Some(4.0)).unwrap();
    assert_eq!(
        (constant.std_error, constant.interval.map(|i| (i.lower(), i.upper()))),
        (Some(0.0), Some((4.0, 4.0)))
    );

    let empty = || BinaryMetrics::new(BinarySettings::default()).unwrap();
    assert!(PoissonBootstrap::new(empty(), 1, Seed::new(1)).is_err());
    let mut poisson = PoissonBootstrap::new(empty(), 3, Seed::new(1)).unwrap();
    assert!(poisson.push(1, &BinaryRow::new(true, f64::NAN)).is_err());
    assert_eq!(poisson, PoissonBootstrap::new(empty(), 3, Seed::new(1)).unwrap());
    assert!(poisson.merge(&PoissonBootstrap::new(empty(), 3, Seed::new(2)).unwrap()).is_err());
    assert!(poisson.metrics(2.0).is_err());
    assert!(poisson.metrics(0.9).unwrap().is_empty());
}

proptest! {
    #[test]
    fn poisson_replicates_do_not_depend_on_the_sharding(
        rows in prop::collection::vec((any::<bool>(), 0_u8..=10), 0..30),
        shards in 1..4_usize,
    ) {
        let scores = ScoreMemory::Histogram { bins: 16 };
        let empty = || BinaryMetrics::new(BinarySettings { scores, ..BinarySettings::default() }).unwrap();
        let new = || PoissonBootstrap::new(empty(), 5, Seed::new(9)).unwrap();
        let mut whole = new();
        let mut parts: Vec<_> = (0..shards).map(|_| new()).collect();
        for (key, &(label, probability)) in rows.iter().enumerate() {
            let row = BinaryRow::new(label, f64::from(probability) / 10.0);
            whole.push(key as u64, &row).unwrap();
            parts[key % shards].push(key as u64, &row).unwrap();
        }
        let mut merged = new();
        parts.iter().for_each(|part| merged.merge(part).unwrap());
        let (merged, whole) = (merged.metrics(0.9).unwrap(), whole.metrics(0.9).unwrap());
        prop_assert_eq!(merged.get("accuracy"), whole.get("accuracy"));
        prop_assert_eq!(merged.get("roc_auc"), whole.get("roc_auc"));
    }
}
