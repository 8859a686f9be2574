//! Calibration against scikit-learn, and the laws of the curves.

use mlops_core::ErrorKind;
use mlops_core::evaluation::binary::{BinEdge, Scored};
use mlops_core::evaluation::calibration::{Calibration, Isotonic, Platt, Temperature};
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

    let flat = Platt { slope: 0.0, intercept: 0.0 };
    assert_eq!((flat.probability(f64::INFINITY), flat.probability(f64::NEG_INFINITY)), (0.5, 0.5));

    for bad in ["[]", "[[0.0,0.5],[0.0,0.6]]", "[[0.0,0.5],[1.0,0.4]]", "[[0.0,1.5]]"] {
        assert!(serde_json::from_str::<Isotonic>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_temperature_is_the_likeliest_or_refused() {
    let scores: Vec<f64> = (0..999).map(|row| f64::from(row + 1) / 1000.0).collect();
    let labels: Vec<bool> =
        (0..999).map(|row| (f64::from(row) * 0.618_034).fract() < f64::from(row) / 2000.0 + 0.25).collect();
    let rows = Scored::new(&labels, &scores).unwrap();
    let fitted = Temperature::fit(&rows).unwrap();
    let loss = |temperature: f64| -> f64 {
        let temperature = Temperature::new(temperature).unwrap();
        rows.rows()
            .map(|(label, score, _)| {
                let probability = temperature.probability(score);
                -(if label { probability } else { 1.0 - probability }).ln()
            })
            .sum()
    };
    assert!(fitted.get() > 1.5, "{fitted:?}");
    for factor in [0.5, 0.99, 1.01, 2.0] {
        assert!(loss(fitted.get()) < loss(factor * fitted.get()), "{factor}");
    }
    let error = |labels: &[bool], scores: &[f64]| {
        let error = Temperature::fit(&Scored::new(labels, scores).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        error.to_string()
    };
    assert!(error(&[], &[]).starts_with("no rows"));
    assert!(error(&[true], &[1.5]).starts_with("score 1.5 is no probability"));
    assert!(error(&[true, false], &[0.9, 0.1]).contains("without a mistake"));
    assert!(error(&[true, false], &[0.1, 0.9]).contains("no better than a coin"));
    assert!(error(&[true, false], &[0.5, 0.5]).contains("no better than a coin"));
    // Both labels alike at each score: the sum is 0 but for rounding, on either side of it.
    let scores = [0.1, 0.2, 0.3, 0.45, 0.1, 0.2, 0.3, 0.45];
    for first in [true, false] {
        let labels: Vec<_> = (0..8).map(|row| (row < 4) == first).collect();
        assert!(error(&labels, &scores).contains("no better than a coin"));
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Temperature::new(bad).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(fitted.probability(f64::NAN).is_nan());
}

#[test]
fn every_form_that_was_written_is_read() {
    let read = |text: &str| serde_json::from_str::<Calibration>(text);
    let points = vec![(-1.0, 0.1), (0.0, 0.2), (2.0, 0.8)];
    let curve = Calibration::from(Isotonic::try_from(points).unwrap());
    assert_eq!(read(r#"{"isotonic":[[-1.0,0.1],[0.0,0.2],[2.0,0.8]]}"#).unwrap(), curve);
    assert_eq!(read(r#"{"isotonic":{"knots":[[-1.0,0.1],[0.0,0.2],[2.0,0.8]]}}"#).unwrap(), curve);
    assert_eq!(serde_json::to_string(&curve).unwrap(), r#"{"isotonic":[[-1.0,0.1],[0.0,0.2],[2.0,0.8]]}"#);
    let temperature = Calibration::from(Temperature::new(1.5).unwrap());
    assert_eq!(read(r#"{"temperature":{"temperature":1.5}}"#).unwrap(), temperature);
    let platt = Calibration::from(Platt { slope: -2.0, intercept: 0.5 });
    assert_eq!(read(r#"{"platt":{"slope":-2.0,"intercept":0.5}}"#).unwrap(), platt);
    for bad in [
        r#"{"temperature":{"temperature":-2.0}}"#,
        r#"{"isotonic":{"knots":[]}}"#,
        r#"{"isotonic":{"knots":[[0.0,0.5],[0.0,0.6]]}}"#,
        r#"{"isotonic":{}}"#,
        r#"{"platt":{"slope":1.0}}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn points_that_are_far_apart_or_near_have_a_line_between() {
    let curve = |points: &[(f64, f64)]| Isotonic::try_from(points.to_vec()).unwrap();
    let huge = curve(&[(f64::MIN, 0.0), (f64::MAX, 1.0)]);
    assert!((huge.probability(0.0) - 0.5).abs() < 1e-15);
    let tiny = curve(&[(0.0, 0.25), (5e-324, 0.75)]);
    assert_eq!((tiny.probability(0.0), tiny.probability(5e-324)), (0.25, 0.75));
}

proptest! {
    #[test]
    fn the_order_of_scores_is_kept(a in 0.0_f64..1.0, b in 0.0_f64..1.0, slope in 0.1_f64..9.0) {
        let (low, high) = (a.min(b), a.max(b));
        for calibration in [
            Platt { slope, intercept: -1.0 }.into(),
            Temperature::new(slope).unwrap().into(),
            Calibration::from(Isotonic::try_from(vec![(0.2, 0.1), (0.5, 0.1), (0.7, 0.9)]).unwrap()),
        ] {
            prop_assert!(calibration.probability(low) <= calibration.probability(high));
            prop_assert!((0.0..=1.0).contains(&calibration.probability(a)));
            let text = serde_json::to_string(&calibration).unwrap();
            prop_assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        }
    }

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
