//! What an endpoint answers, counts and captures.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::RecordSchema;
use mlops_core::{Clock, ErrorKind, ManualClock, ModelVersion, SystemClock, Timestamp};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{ArmSpec, Endpoint, Model, Request};
use mlops_serve::rollout::{Guardrail, Plan, Rollout};

use crate::models::{id, model, row};

#[test]
fn an_endpoint_without_a_model_says_so() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    assert!(!endpoint.is_ready());
    let error = endpoint.score(id(0), &row()).unwrap_err();
    assert_eq!(error.to_string(), "endpoint `shop` has no model yet: deploy one");
    assert!(error.is_retryable());
    for error in [
        endpoint.promote().unwrap_err(),
        endpoint.roll_back().unwrap_err(),
        endpoint.challenge(model(1, |x| x), 0.5).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    endpoint.deploy(model(1, |x| x)).unwrap();
    assert!(endpoint.is_ready());
    endpoint.set_arms(Vec::new()).unwrap();
    assert!(!endpoint.is_ready());
}

#[test]
fn bad_rows_are_the_callers_mistake() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |x| x), 0.5).unwrap();
    for number in 0..20 {
        let error = endpoint.score(id(number), &[]).unwrap_err();
        assert_eq!(error.to_string(), "the row has 0 cells, the model takes 1");
        assert_eq!(endpoint.score(id(number), &[Value::Text("x")]).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(endpoint.take_traffic().is_empty(), "neither a request nor a failure of an arm");
}

#[test]
fn a_bad_challenger_never_stops_answers() {
    type Bad = fn(f32) -> f32;
    let bad: [Bad; 3] = [|_| f32::NAN, |_| panic!("no"), |x| x / 0.0];
    for bad in bad {
        let endpoint = Endpoint::new("shop", SystemClock::new());
        endpoint.deploy(model(1, |x| x + 1.0)).unwrap();
        endpoint.challenge(model(2, bad), 0.5).unwrap();
        let mut fallbacks = 0;
        for number in 0..100 {
            let answer = endpoint.score(id(number), &row()).unwrap();
            assert_eq!((answer.score, answer.origin.version.version), (2.0, 1));
            assert_eq!(answer.origin.fallback, answer.origin.arm == "challenger");
            fallbacks += u64::from(answer.origin.fallback);
        }
        let traffic = endpoint.take_traffic();
        let of = |arm: &str| traffic.iter().find(|traffic| traffic.arm == arm).unwrap().traffic.clone();
        assert_eq!((of("champion").requests, of("champion").failures), (100 - fallbacks, 0));
        assert_eq!((of("challenger").requests, of("challenger").failures), (fallbacks, fallbacks));
        assert!(fallbacks > 20);
        assert_eq!(of("challenger").latencies.count(), fallbacks);
    }
}

#[test]
fn a_bad_champion_is_an_error_that_names_it() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |_| panic!("out of cheese"))).unwrap();
    let error = endpoint.score(id(0), &row()).unwrap_err();
    assert_eq!(error.to_string(), "shop/1 panicked: out of cheese");
    endpoint.deploy(model(2, |_| f32::INFINITY)).unwrap();
    let error = endpoint.score(id(0), &row()).unwrap_err();
    assert_eq!(error.to_string(), "shop/2 answered inf for row 0: want a finite number");
    let failures: Vec<u64> = endpoint.take_traffic().iter().map(|arm| arm.traffic.failures).collect();
    assert_eq!(failures, [1, 1], "each version's own");
}

#[test]
fn keys_stick_to_their_arm_and_a_batch_answers_as_its_rows() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    // The challenger fails on some rows only.
    endpoint.challenge(model(2, |x| if x == 13.0 { f32::NAN } else { -x }), 0.4).unwrap();
    let keys: Vec<[u8; 4]> = (0..200_u32).map(|number| (number % 20).to_le_bytes()).collect();
    let requests: Vec<Request<'_>> =
        (0..200).map(|number| Request::new(id(number)).key(&keys[number as usize])).collect();
    let mut rows: Vec<[Value<'_>; 1]> = (0..200).map(|number| [Value::Float(f64::from(number))]).collect();
    rows[7] = [Value::Text("seven")];
    let rows: Vec<&[Value<'_>]> = rows.iter().map(<[_; 1]>::as_slice).collect();
    let batch = endpoint.score_batch(&requests, &rows).unwrap();
    for ((answer, request), row) in batch.iter().zip(&requests).zip(&rows) {
        match (answer, endpoint.score(*request, row)) {
            (Ok(batched), Ok(single)) => {
                assert_eq!((batched.score, &batched.origin), (single.score, &single.origin));
            }
            (Err(batched), Err(single)) => assert_eq!(batched.to_string(), single.to_string()),
            (batched, single) => panic!("{batched:?} {single:?}"),
        }
    }
    assert_eq!(batch.iter().filter(|answer| answer.is_err()).count(), 1);
    for number in 0..180 {
        if let (Ok(one), Ok(other)) = (&batch[number], &batch[number + 20]) {
            assert_eq!(one.origin.arm, other.origin.arm);
        }
    }
    assert!(endpoint.score_batch(&requests, &rows[1..]).is_err());

    let mut scores = Vec::new();
    let origin = endpoint.score_rows(requests[0], &rows[20..30], &mut scores).unwrap();
    let sign = if origin.arm == "champion" { 1.0 } else { -1.0 };
    assert_eq!(scores, Vec::from_iter((20..30).map(|x| sign * f64::from(x))));
    assert!(endpoint.score_rows(requests[0], &rows[5..10], &mut scores).is_err());
    assert!(endpoint.score_rows(requests[0], &[], &mut scores).is_err());
    assert_eq!(scores.len(), 10);
}

#[test]
fn what_is_answered_is_captured() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    clock.advance(Duration::from_secs(5));
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = RecordSchema::new(&table, ["score"]).unwrap();
    let capture = Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap());
    let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_capture(Arc::clone(&capture));
    endpoint.deploy(model(1, |x| 2.0 * x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 0.5).unwrap();
    for number in 0..50 {
        endpoint.score(Request::new(id(number)).candidates(&["hat"]), &row()).unwrap();
    }
    let batch = capture.drain().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 50);
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap();
        arrow_cast::display::array_value_to_string(column, row).unwrap()
    };
    for row in 0..50 {
        assert_eq!(text("version", row), "1", "the champion answered for both");
        assert_eq!((text("output.score", row).as_str(), text("feature.x", row).as_str()), ("2.0", "1.0"));
        assert_eq!(text("time", row), "1970-01-01T00:00:05Z");
        assert_eq!(text("propensity", row), "0.5");
        assert_eq!(text("candidates", row), "[hat]");
    }
    let challenged = (0..50).filter(|row| text("arm", *row) == "challenger").count();
    assert!((10..40).contains(&challenged), "{challenged}");
}

#[test]
fn a_rollout_drives_the_arms_and_survives_a_restart() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 0.0).unwrap();
    let plan = Plan::canary([0.1, 0.5], 60, 20).guardrail(Guardrail::FailureRate { max: 0.01 });
    let version = |version| ModelVersion::new("shop", version);
    let mut rollout = Rollout::new(plan, version(1), version(2), clock.now()).unwrap();
    endpoint.apply(&rollout).unwrap();
    let mut asked = 0;
    for number in 0.. {
        endpoint.score(id(number), &row()).unwrap();
        asked += 1;
        for arm in endpoint.take_traffic() {
            assert!(rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic));
        }
        let stored = serde_json::to_vec(&rollout).unwrap();
        rollout = serde_json::from_slice(&stored).unwrap();
        rollout.advance(clock.now());
        endpoint.apply(&rollout).unwrap();
        if endpoint.arms().len() == 1 {
            break;
        }
    }
    // Two or three failures of the tenth that gets the challenger are enough.
    assert!(asked < 200, "{asked}");
    assert_eq!(endpoint.arms()[0].model.version(), &version(1));
    endpoint.apply(&rollout).unwrap();
    endpoint.deploy(model(3, |x| x)).unwrap();
    assert!(endpoint.apply(&rollout).unwrap_err().to_string().contains("holds shop/3, not shop/1"));
}

#[test]
fn a_promotion_takes_no_arms_but_those_of_its_rollout() {
    let version = |version| ModelVersion::new("shop", version);
    let now = Timestamp::EPOCH;
    let mut rollout = Rollout::new(Plan::canary([0.5], 0, 0), version(1), version(2), now).unwrap();
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let message = |rollout: &Rollout| endpoint.apply(rollout).unwrap_err().to_string();
    assert!(message(&rollout).contains("has no arm `champion`: load shop/1 and give it to `deploy`"));
    endpoint.deploy(model(1, |x| x)).unwrap();
    assert!(message(&rollout).contains("has no arm `challenger`: load shop/2 and give it to `challenge`"));
    endpoint.challenge(model(2, |x| x), 0.5).unwrap();
    // A hotfix comes while the rollout runs.
    endpoint.deploy(model(3, |x| x)).unwrap();
    assert!(message(&rollout).contains("arm `champion` of `shop` holds shop/3, not shop/1"));
    assert_eq!(rollout.advance(now).action, mlops_serve::rollout::Action::Promote);
    assert!(message(&rollout).contains("holds shop/3"));
    assert_eq!(endpoint.arms()[0].model.version(), &version(3));
    // With its own champion, or promoted already, it goes through, again and again.
    endpoint.deploy(model(1, |x| x)).unwrap();
    for _ in 0..2 {
        endpoint.apply(&rollout).unwrap();
        assert_eq!((endpoint.arms().len(), endpoint.arms()[0].model.version()), (1, &version(2)));
    }
    // Nor does it end the trial of the next one, nor does a roll-back.
    endpoint.challenge(model(4, |x| x), 0.5).unwrap();
    assert!(
        message(&rollout).contains("arm `challenger` of `shop` holds shop/4, not shop/2: drop the rollout")
    );
    let mut rolled_back = Rollout::new(Plan::canary([0.5], 0, 0), version(2), version(3), now).unwrap();
    rolled_back.apply(mlops_serve::rollout::Action::RollBack, now);
    assert!(message(&rolled_back).contains("holds shop/4, not shop/3"));
    assert_eq!(endpoint.arms().len(), 2);
}

#[test]
fn a_default_score_is_a_number() {
    let error = Endpoint::new("shop", SystemClock::new()).with_default_score(f64::NAN).unwrap_err();
    assert_eq!(error.to_string(), "the default score is NaN: want a finite number");
}

#[test]
fn a_closure_that_writes_nothing_gives_no_score_of_another_request() {
    let lazy = mlops_serve::runtime::FnRuntime::new("lazy", crate::models::signature(), |inputs, outputs| {
        let x = inputs[0].values::<f32>()?[0];
        if x > 3.0 {
            return Ok(());
        }
        outputs[0].reset::<f32>([1, 1])?[0] = x;
        Ok(())
    });
    let lazy = Model::new(ModelVersion::new("shop", 2), lazy.unwrap()).unwrap();
    let good = model(1, |x| 10.0 * x);
    for _ in 0..2 {
        assert_eq!(good.score(&[Value::Float(5.0)]).unwrap(), 50.0);
        let error = lazy.score(&[Value::Float(5.0)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(
            error.to_string(),
            "the model wrote nothing to output `score`: want f32[batch, 1] for 1 rows"
        );
        assert_eq!(lazy.score(&[Value::Float(2.0)]).unwrap(), 2.0);
    }
}

#[test]
fn three_arms_share_the_traffic() {
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_salt("spring").without_timing();
    let arms = [("champion", 2.0), ("b", 1.0), ("c", 1.0)].into_iter().zip(1..);
    let arms =
        arms.map(|((name, weight), version)| ArmSpec::new(name, model(version, |x| x), weight)).collect();
    endpoint.set_arms(arms).unwrap();
    for number in 0..4000 {
        let answer = endpoint.score(id(number), &row()).unwrap();
        assert_eq!(answer.latency_us, 0.0);
    }
    for arm in endpoint.take_traffic() {
        let expected = 4000.0 * arm.propensity;
        assert!((arm.traffic.requests as f64 - expected).abs() < 5.0 * expected.sqrt(), "{arm:?}");
        assert_eq!(arm.traffic.latencies.count(), 0);
    }
    let twice = ArmSpec::new("b", model(1, |x| x), 1.0);
    assert!(endpoint.set_arms(vec![twice.clone(), twice]).is_err());
    assert_eq!(endpoint.arms().len(), 3);
}
