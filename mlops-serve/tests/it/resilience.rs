//! Bad models, and an endpoint that answers all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::RecordSchema;
use mlops_core::{ErrorKind, ManualClock, ModelVersion, SystemClock, Timestamp};
use mlops_serve::Overloaded;
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{Endpoint, HealthSettings, Model, Shadow};
use mlops_serve::runtime::FnRuntime;

use crate::models::{id, model, row, signature};

#[test]
fn a_champion_that_fails_is_replaced_by_the_one_before_and_then_by_the_default() {
    let endpoint =
        Endpoint::new("shop", SystemClock::new()).with_previous().with_default_score(0.25).unwrap();
    let score = || endpoint.score(id(0), &row()).unwrap();
    endpoint.deploy(model(1, |_| f32::NAN)).unwrap();
    let answer = score();
    assert_eq!((answer.score, answer.origin.version.version, answer.origin.fallback), (0.25, 0, true));
    let mut scores = Vec::new();
    let rows = [row(), row()];
    let rows: Vec<&[Value<'_>]> = rows.iter().map(<[_; 1]>::as_slice).collect();
    endpoint.score_rows(id(0), &rows, &mut scores).unwrap();
    assert_eq!(scores, [0.25, 0.25]);

    endpoint.deploy(model(2, |x| x)).unwrap();
    endpoint.deploy(model(3, |_| panic!("third"))).unwrap();
    // A change of the split keeps what was before.
    endpoint.challenge(model(4, |_| f32::NAN), 0.5).unwrap();
    for number in 0..10 {
        let answer = endpoint.score(id(number), &row()).unwrap();
        assert_eq!((answer.score, answer.origin.version.version, answer.origin.fallback), (1.0, 2, true));
    }
    // What no model takes is still the caller's mistake.
    assert!(endpoint.score(id(0), &[]).is_err());
}

/// A model that fails while it is told to, and counts how often it was asked.
fn moody(version: u64) -> (Arc<Model>, Arc<AtomicBool>, Arc<AtomicU32>) {
    let (bad, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let (is_bad, counted) = (Arc::clone(&bad), Arc::clone(&asked));
    let model = model(version, move |x| {
        counted.fetch_add(1, Ordering::SeqCst);
        if is_bad.load(Ordering::SeqCst) { f32::NAN } else { x }
    });
    (model, bad, asked)
}

#[test]
fn a_model_that_keeps_failing_is_left_alone_tried_and_quarantined() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let health = HealthSettings::default().failures_in_row_max(3).cool_down_us(1000).tries_max(2);
    let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_health(health);
    endpoint.deploy(model(1, |x| -x)).unwrap();
    let (challenger, bad, asked) = moody(2);
    endpoint.challenge(Arc::clone(&challenger), 1.0).unwrap();
    let ask = |times: u32| {
        (0..times).for_each(|number| assert!(endpoint.score(id(number), &row()).is_ok()));
        asked.swap(0, Ordering::SeqCst)
    };
    assert_eq!(ask(50), 3);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(50), 1, "one try after the cool-down");
    bad.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(50), 50, "a try that succeeds brings it back");

    bad.store(true, Ordering::SeqCst);
    assert_eq!(ask(50), 3);
    for _ in 0..2 {
        assert!(endpoint.quarantined().is_empty());
        clock.advance(Duration::from_millis(1));
        assert_eq!(ask(50), 1);
    }
    clock.advance(Duration::from_secs(1000));
    assert_eq!(ask(50), 0);
    let version = ModelVersion::new("shop", 2);
    assert_eq!(endpoint.quarantined(), std::slice::from_ref(&version));
    // Failures that were spared still count against the arm.
    let traffic = endpoint.take_traffic();
    assert_eq!((traffic[0].traffic.requests, traffic[0].traffic.failures), (350, 300));

    endpoint.roll_back().unwrap();
    let error = endpoint.challenge(moody(2).0, 0.1).unwrap_err();
    assert_eq!(error.to_string(), "shop/2 is in quarantine after its failures: release it first");
    endpoint.release(&version);
    endpoint.challenge(moody(2).0, 0.1).unwrap();
}

#[test]
fn a_champion_that_fails_alone_fails_at_once_and_is_tried_again_for_ever() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let health = HealthSettings::default().failures_in_row_max(1).cool_down_us(1000).tries_max(1);
    let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_health(health);
    let (champion, bad, asked) = moody(1);
    endpoint.deploy(champion).unwrap();
    for round in 1..10 {
        endpoint.score(id(0), &row()).unwrap_err();
        let error = endpoint.score(id(0), &row()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "shop/1 is out of service after failures in a row: `Endpoint::stats` has the last"
        );
        assert_eq!(asked.load(Ordering::SeqCst), round);
        clock.advance(Duration::from_millis(1));
    }
    bad.store(false, Ordering::SeqCst);
    assert_eq!(endpoint.score(id(0), &row()).unwrap().score, 1.0);
}

#[test]
fn failures_at_the_same_time_are_no_row_of_tries() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let health = HealthSettings::default().failures_in_row_max(3).tries_max(3);
    let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_health(health);
    endpoint.deploy(model(1, |x| -x)).unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(16));
    let together = Arc::clone(&barrier);
    let challenger = model(2, move |_| {
        together.wait();
        f32::NAN
    });
    endpoint.challenge(challenger, 1.0).unwrap();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let endpoint = &endpoint;
            scope.spawn(move || assert_eq!(endpoint.score(id(number), &row()).unwrap().score, -1.0));
        }
    });
    assert!(endpoint.quarantined().is_empty());
}

#[test]
fn a_row_with_gaps_is_the_callers_mistake_where_the_model_has_no_answer() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| 2.0 * x)).unwrap();
    for bad in [Value::Missing, Value::Float(f64::NAN), Value::Float(f64::INFINITY)] {
        for number in 0..10 {
            let error = endpoint.score(id(number), &[bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(
                error.to_string().starts_with("shop/1 has no answer for row 0, whose feature 0 is"),
                "{error}"
            );
        }
    }
    let error = endpoint.score(id(0), &[Value::Float(1e300)]).unwrap_err();
    assert!(error.to_string().contains("beyond the f32 that input `features` takes"), "{error}");
    assert_eq!(endpoint.score(id(0), &row()).unwrap().score, 2.0, "still in service");
    assert_eq!(endpoint.take_traffic()[0].traffic.failures, 0);
    // A model that knows what to do with gaps gets them.
    endpoint.deploy(model(2, |x| if x.is_nan() { 7.0 } else { x })).unwrap();
    assert_eq!(endpoint.score(id(0), &[Value::Missing]).unwrap().score, 7.0);
}

#[test]
fn calls_that_were_turned_away_do_not_take_a_model_out_of_service() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let full = Arc::new(AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    let runtime = FnRuntime::new("busy", signature(), move |inputs, outputs| {
        if is_full.load(Ordering::SeqCst) {
            return Err(Overloaded::error("full: try again later"));
        }
        outputs[0].reset::<f32>([inputs[0].rows(), 1])?.fill(1.0);
        Ok(())
    });
    let version = ModelVersion::new("shop", 1);
    endpoint.deploy(Arc::new(Model::new(version, runtime.unwrap()).unwrap())).unwrap();
    for number in 0..20 {
        let error = endpoint.score(id(number), &row()).unwrap_err();
        assert!(Overloaded::is_cause_of(&error), "{error:#}");
    }
    full.store(false, Ordering::SeqCst);
    assert_eq!(endpoint.score(id(0), &row()).unwrap().score, 1.0);
    // They were not answered all the same.
    assert_eq!(endpoint.take_traffic()[0].traffic.failures, 20);
}

#[test]
fn when_no_model_can_an_equal_row_gets_the_answer_that_it_got_before() {
    let endpoint = Endpoint::new("shop", SystemClock::new())
        .with_remembered_answers(100)
        .with_default_score(0.25)
        .unwrap();
    endpoint.deploy(model(1, |x| 2.0 * x)).unwrap();
    let row = |x: f64| [Value::Float(x)];
    assert_eq!(endpoint.score(id(0), &row(3.0)).unwrap().score, 6.0);
    let (four, five) = (row(4.0), row(5.0));
    endpoint.score_batch(&[id(1).into(), id(2).into()], &[&four, &five]).unwrap();
    endpoint.deploy(model(2, |_| f32::NAN)).unwrap();
    for (x, score) in [(3.0, 6.0), (4.0, 8.0), (5.0, 10.0)] {
        let answer = endpoint.score(id(3), &row(x)).unwrap();
        assert_eq!((answer.score, answer.origin.version.version, answer.origin.fallback), (score, 1, true));
    }
    let answer = endpoint.score(id(3), &row(9.0)).unwrap();
    assert_eq!((answer.score, answer.origin.version.version), (0.25, 0), "not seen before");
    let mut scores = Vec::new();
    endpoint.score_rows(id(4), &[&four, &five], &mut scores).unwrap();
    assert_eq!(scores, [8.0, 10.0]);
}

#[test]
fn a_shadow_sees_everything_and_harms_nothing() {
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = RecordSchema::new(&table, ["score"]).unwrap();
    let capture = Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
    assert!(endpoint.set_shadows(Vec::new()).is_err(), "no arms yet");
    endpoint.deploy(model(1, |x| x)).unwrap();
    let picky = model(2, |x| if x >= 90.0 { panic!("too large") } else { x + 0.5 });
    let shadow = Shadow::new(picky, SystemClock::new()).with_capture(Arc::clone(&capture));
    let shadow = Arc::new(shadow);
    let full = Arc::new(Shadow::new(model(3, |x| x), SystemClock::new()).with_bytes_max(1000));
    endpoint.set_shadows(vec![Arc::clone(&shadow), Arc::clone(&full)]).unwrap();
    // Swaps keep the shadows.
    endpoint.deploy(model(4, |x| x)).unwrap();
    for number in 0..100 {
        let row = [Value::Float(f64::from(number))];
        assert_eq!(endpoint.score(id(number), &row).unwrap().score, f64::from(number));
    }
    shadow.work();
    full.work();
    let stats = shadow.stats();
    assert_eq!((stats.scored, stats.failures, stats.dropped), (90, 10, 0));
    assert_eq!(stats.difference.mean(), Some(0.5));
    assert_eq!(stats.latencies.count(), 90);
    let stats = full.stats();
    assert!(stats.dropped > 0 && stats.scored + stats.dropped == 100, "{stats:?}");
    assert_eq!(capture.drain().unwrap().unwrap().num_rows(), 190);

    let handle = shadow.spawn(Duration::from_micros(100)).unwrap();
    endpoint.score(id(0), &row()).unwrap();
    while shadow.stats().scored < 91 {
        std::thread::yield_now();
    }
    drop(handle);
}

#[test]
fn the_capture_tells_which_answers_stood_in() {
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = RecordSchema::new(&table, ["score"]).unwrap();
    let capture = Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new())
        .with_capture(Arc::clone(&capture))
        .with_remembered_answers(10)
        .with_default_score(0.25)
        .unwrap();
    let (champion, bad, _) = moody(1);
    endpoint.deploy(champion).unwrap();
    bad.store(false, Ordering::SeqCst);
    endpoint.score(id(0), &row()).unwrap();
    bad.store(true, Ordering::SeqCst);
    endpoint.score(id(1), &row()).unwrap();
    let other = [Value::Float(7.0)];
    endpoint.score(id(2), &other).unwrap();
    endpoint.score_rows(id(3), &[&other], &mut Vec::new()).unwrap();
    assert!(endpoint.score_batch(&[id(4).into()], &[&other]).unwrap()[0].is_ok());
    endpoint.score(id(5), &[]).unwrap_err();
    let batch = capture.drain().unwrap().unwrap();
    let versions = batch["version"].as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!(versions, [1, 1, 0, 0, 0], "answered, remembered, and by default; errors are not captured");
    let fallback: Vec<bool> = batch["fallback"].as_boolean().values().iter().collect();
    assert_eq!(fallback, [false, true, true, true, true]);
}
