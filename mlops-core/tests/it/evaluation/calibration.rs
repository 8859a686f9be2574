//! Calibration against scikit-learn, and the laws of the curves.

use mlops_core::ErrorKind;
use mlops_core::evaluation::binary::{BinEdge, Scored};
use mlops_core::evaluation::calibration::{Calibration, Isotonic, Platt};
use proptest::prelude::*;

use super::oracle::{agree, cases};

#[test]
fn isotonic_agrees_with_scikit_learn() {
    for case in cases("isotonic") {
        let (labels, scores, weights) =
            (case.labels("label"), case.numbers("score"), case.numbers("sample_weight"));
        let rows = Scored::new(&labels, &scores).unwrap().weighted(&weights).unwrap();
        let curve = Isotonic::fit(&rows).unwrap();
        for (index, &score) in case.numbers("at").iter().enumerate() {
            agree(
                &format!("{} at {score}", case.name),
                Some(curve.probability(score)),
                &case.expected[index],
            );
        }
    }
}

#[test]
fn platt_agrees_with_scikit_learn() {
    for family in ["platt", "platt_weighted"] {
        for case in cases(family) {
            let (labels, scores) = (case.labels("label"), case.numbers("score"));
            let weights = case.input.get("sample_weight").map(|_| case.numbers("sample_weight"));
            let mut rows = Scored::new(&labels, &scores).unwrap();
            if let Some(weights) = &weights {
                rows = rows.weighted(weights).unwrap();
            }
            let platt = Platt::fit(&rows).unwrap();
            let number = |field: &str| case.expected[field].as_f64().unwrap();
            let tolerance = number("tolerance");
            assert!((platt.slope + number("a")).abs() < tolerance, "{}: {platt:?}", case.name);
            assert!((platt.intercept + number("b")).abs() < tolerance, "{}: {platt:?}", case.name);
        }
    }
}

#[test]
fn calibration_mends_what_it_was_fitted_to() {
    // Scores whose true probability is their square.
    let scores: Vec<f64> = (0..4000).map(|row| f64::from(row % 100) / 100.0).collect();
    let labels: Vec<bool> =
        (0..4000).map(|row| f64::from(row / 100) / 40.0 < (f64::from(row % 100) / 100.0).powi(2)).collect();
    let ece = |scores: &[f64]| {
        Scored::new(&labels, scores).unwrap().calibration(10, BinEdge::LowerClosed).unwrap().ece().unwrap()
    };
    let before = ece(&scores);
    let rows = Scored::new(&labels, &scores).unwrap();
    for (calibration, limit) in
        [(Calibration::from(Isotonic::fit(&rows).unwrap()), 0.01), (Platt::fit(&rows).unwrap().into(), 0.06)]
    {
        let mended: Vec<f64> = scores.iter().map(|&score| calibration.probability(score)).collect();
        assert!(before > 0.15 && ece(&mended) < limit, "{before} {}", ece(&mended));
    }
}

#[test]
fn bad_rows_are_refused_or_documented() {
    let none = Scored::new(&[], &[]).unwrap();
    assert_eq!(Isotonic::fit(&none).err().map(|error| error.kind()), Some(ErrorKind::Data));
    assert_eq!(Platt::fit(&none).err().map(|error| error.kind()), Some(ErrorKind::Data));
    let weightless = Scored::new(&[true], &[0.5]).unwrap().weighted(&[0.0]).unwrap();
    assert!(Isotonic::fit(&weightless).is_err() && Platt::fit(&weightless).is_err());

    let one_class = Scored::new(&[true, true, true], &[0.1, 0.5, 0.9]).unwrap();
    assert_eq!(Isotonic::fit(&one_class).unwrap().probability(0.3), 1.0);
    assert!((Platt::fit(&one_class).unwrap().probability(0.5) - 0.8).abs() < 1e-6);
    // Separable classes: the softened labels keep the slope finite.
    let separable = Scored::new(&[false, false, true, true], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert!(Platt::fit(&separable).unwrap().slope.is_finite());
    let constant = Scored::new(&[false, true, true], &[7.0, 7.0, 7.0]).unwrap();
    assert_eq!(Isotonic::fit(&constant).unwrap().points(), [(7.0, 2.0 / 3.0)]);
    let huge = Scored::new(&[false, true, false, true], &[-1e300, 1e300, 1.0, -1.0]).unwrap();
    assert!(Platt::fit(&huge).is_ok_and(|platt| (0.0..=1.0).contains(&platt.probability(1e300))));
    assert!(Isotonic::fit(&one_class).unwrap().probability(f64::NAN).is_nan());
    assert!(Platt { slope: 1.0, intercept: 0.0 }.probability(f64::NAN).is_nan());

    for bad in ["[]", "[[0.0,0.5],[0.0,0.6]]", "[[0.0,0.5],[1.0,0.4]]", "[[0.0,1.5]]"] {
        assert!(serde_json::from_str::<Isotonic>(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn isotonic_rises_keeps_the_mean_and_survives_serde(
        rows in prop::collection::vec((any::<bool>(), -20_i8..20), 1..60),
    ) {
        let (labels, scores): (Vec<bool>, Vec<f64>) =
            rows.into_iter().map(|(label, score)| (label, f64::from(score) / 4.0)).unzip();
        let curve = Isotonic::fit(&Scored::new(&labels, &scores).unwrap()).unwrap();
        let grid: Vec<f64> = (-60..60).map(|at| curve.probability(f64::from(at) / 10.0)).collect();
        prop_assert!(grid.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12));
        prop_assert!(grid.iter().all(|value| (0.0..=1.0).contains(value)));
        let fitted: f64 = scores.iter().map(|&score| curve.probability(score)).sum();
        let positives = labels.iter().filter(|&&label| label).count() as f64;
        prop_assert!((fitted - positives).abs() < 1e-9);
        let back: Isotonic = serde_json::from_str(&serde_json::to_string(&curve).unwrap()).unwrap();
        prop_assert_eq!(back, curve);
    }
}
