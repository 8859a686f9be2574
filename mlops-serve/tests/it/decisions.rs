//! Yes or no, by the threshold that each version brings.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::evaluation::calibration::{Calibration, Platt};
use mlops_core::record::RecordSchema;
use mlops_core::{Digest, ErrorKind, ModelFile, ModelVersion, SystemClock};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{ArmSpec, Endpoint, Loader, Model, Request, Shadow};
use mlops_serve::post::Threshold;
use mlops_serve::{CHALLENGER, CHAMPION};

use crate::models::{function, id, row};
use crate::shelf::{loader, package};

fn model(version: u64, threshold: f64, f: impl Fn(f32) -> f32 + Send + Sync + 'static) -> Arc<Model> {
    let model = Model::new(ModelVersion::new("shop", version), function(version, f)).unwrap();
    Arc::new(model.with_threshold(Threshold::new(threshold).unwrap()).unwrap())
}

fn capture() -> Arc<Capture> {
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = RecordSchema::new(&table, ["score"]).unwrap();
    Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap())
}

/// The arm and the decision of each record.
fn captured(capture: &Capture) -> Vec<(String, Option<bool>)> {
    let batch = capture.drain().unwrap().unwrap();
    let arms = batch["arm"].as_string::<i32>().iter().map(|arm| arm.unwrap().to_owned());
    arms.zip(batch["decision"].as_boolean()).collect()
}

#[test]
fn each_arm_decides_by_its_own_threshold() {
    let (heard, unheard) = (capture(), capture());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&heard));
    let arm = |name: &str, threshold| ArmSpec::new(name, model(1, threshold, |x| x), 0.5);
    endpoint.set_arms(vec![arm(CHAMPION, 1.0), arm(CHALLENGER, 2.0)]).unwrap();
    let shadow = Shadow::new(model(3, -1.0, |x| -x), SystemClock::new()).with_capture(Arc::clone(&unheard));
    let shadow = Arc::new(shadow);
    endpoint.set_shadows(vec![Arc::clone(&shadow)]).unwrap();

    let mut want = Vec::new();
    let (rows, mut scores) = ([&row()[..], &[Value::Float(0.5)], &[Value::Float(2.0)]], Vec::new());
    for number in 0..20 {
        let answer = endpoint.score(id(number), &row()).unwrap();
        assert_eq!(answer.decision, Some(answer.origin.arm == CHAMPION), "{answer:?}");
        want.push((answer.origin.arm.clone(), answer.decision));

        scores.clear();
        let origin = endpoint.score_rows(id(number), &rows, &mut scores).unwrap();
        let decisions: Vec<_> = scores.iter().map(|score| origin.decides(*score)).collect();
        assert_eq!(decisions, [origin.arm == CHAMPION, false, true].map(Some));
        want.extend(decisions.into_iter().map(|decision| (origin.arm.clone(), decision)));
    }
    assert!(want.iter().any(|(arm, _)| arm == CHAMPION) && want.iter().any(|(arm, _)| arm == CHALLENGER));
    assert_eq!(captured(&heard), want);
    shadow.work();
    let own = captured(&unheard);
    assert_eq!(own.len(), want.len());
    let of_one_request: Vec<_> = own[..4].iter().map(|(_, decision)| *decision).collect();
    assert_eq!(of_one_request, [Some(true), Some(true), Some(true), Some(false)], "-1, -1, -0.5, -2");

    let requests: Vec<Request<'_>> = (0..20).map(|number| id(number).into()).collect();
    for answer in endpoint.score_batch(&requests, &vec![&row()[..]; 20]).unwrap() {
        let answer = answer.unwrap();
        assert_eq!(answer.decision, Some(answer.origin.arm == CHAMPION));
    }

    captured(&heard);
    let undecided = crate::models::model(9, |x| x);
    endpoint.set_arms(vec![ArmSpec::new(CHAMPION, undecided, 1.0)]).unwrap();
    assert_eq!(endpoint.score(id(0), &row()).unwrap().decision, None);
    assert_eq!(captured(&heard), [(CHAMPION.to_owned(), None)]);
}

#[test]
fn who_answers_in_anothers_place_decides() {
    let fails = |threshold| ArmSpec::new(CHALLENGER, model(2, threshold, |_| f32::NAN), 1.0);
    let champion = |weight| ArmSpec::new(CHAMPION, model(1, 1.0, |x| x), weight);
    let endpoint = Endpoint::new("shop", SystemClock::new())
        .with_remembered_answers(10)
        .with_default_score(0.75)
        .unwrap();
    endpoint.set_arms(vec![champion(0.0), fails(5.0)]).unwrap();
    let answer = endpoint.score(id(0), &row()).unwrap();
    assert_eq!((answer.origin.version.version, answer.decision), (1, Some(true)), "the champion's 1, not 5");

    endpoint.set_arms(vec![champion(1.0)]).unwrap();
    assert_eq!(endpoint.score(id(0), &row()).unwrap().score, 1.0);
    endpoint.set_arms(vec![ArmSpec { name: CHAMPION.into(), ..fails(5.0) }]).unwrap();
    let answer = endpoint.score(id(0), &row()).unwrap();
    assert_eq!((answer.origin.version.version, answer.decision), (1, Some(true)), "remembered");
    let answer = endpoint.score(id(0), &[Value::Float(3.0)]).unwrap();
    assert_eq!((answer.score, answer.decision), (0.75, Some(false)), "the default score by the arm's own");
}

#[test]
fn a_package_brings_its_threshold() {
    let mut package = package(0.5, None);
    let mut add = |name: &str, text: String| {
        package.files.insert(name.to_owned(), (Digest::of(&text), ModelFile::Bytes(text.into())));
        loader().load(&package)
    };
    let model = add(Loader::THRESHOLD_FILE, "1.5".into()).unwrap();
    assert_eq!(model.threshold(), Some(Threshold::new(1.5).unwrap()));
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model).unwrap();
    assert_eq!(endpoint.score(id(0), &row()).unwrap().decision, Some(true), "1 + 0.5");
    assert_eq!(endpoint.score(id(0), &[Value::Float(0.9)]).unwrap().decision, Some(false));

    let platt = Calibration::from(Platt { slope: 1.0, intercept: 0.0 });
    let error = add(Loader::CALIBRATION_FILE, serde_json::to_string(&platt).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(format!("{error:#}").contains("its threshold 1.5 is no probability: want 0 to 1"), "{error:#}");
    let model = add(Loader::THRESHOLD_FILE, "0.8".into()).unwrap();
    endpoint.deploy(model).unwrap();
    let answer = endpoint.score(id(0), &row()).unwrap();
    assert_eq!((answer.decision, answer.score > 0.8), (Some(true), true), "the calibrated score decides");
    for text in ["null", "[0.5]", "\"a half\""] {
        let error = add(Loader::THRESHOLD_FILE, text.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(format!("{error:#}").contains("no threshold in JSON"), "{error:#}");
    }
}
