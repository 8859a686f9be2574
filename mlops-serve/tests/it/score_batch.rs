//! Deadlines and cancellation of requests that are scored together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{Clock, ManualClock, ModelVersion, Result, Timestamp};
use mlops_serve::Overloaded;
use mlops_serve::batch::{BatchRuntime, BatchSettings, Call, Cancel};
use mlops_serve::endpoint::{Endpoint, Model, Request};
use mlops_serve::runtime::{Capabilities, FnRuntime, Runtime};

use crate::models::{id, signature};

const ROW_US: u64 = 100;

type Batches = Arc<Mutex<Vec<Vec<f32>>>>;

/// A model that adds one and takes 100 us a row, and the rows that it was asked, batch by batch.
fn timed(clock: &Arc<ManualClock>) -> (FnRuntime, Batches) {
    let batches = Batches::default();
    let (clock, seen) = (Arc::clone(clock), Arc::clone(&batches));
    let runtime = FnRuntime::new("timed", signature(), move |inputs, outputs| {
        let x = inputs[0].values::<f32>()?;
        seen.lock().unwrap().push(x.to_vec());
        clock.advance(Duration::from_micros(ROW_US * x.len() as u64));
        let scores = outputs[0].reset::<f32>([x.len(), 1])?;
        scores.iter_mut().zip(x).for_each(|(score, x)| *score = x + 1.0);
        Ok(())
    });
    (runtime.unwrap(), batches)
}

fn clock() -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    clock.advance(Duration::from_secs(1));
    clock
}

fn endpoint(clock: &Arc<ManualClock>, runtime: impl Runtime) -> Endpoint {
    let endpoint = Endpoint::new("shop", Arc::clone(clock));
    endpoint.deploy(Arc::new(Model::new(ModelVersion::new("shop", 1), runtime).unwrap())).unwrap();
    endpoint
}

/// Scores the rows 0, 1, ... with these calls.
fn score(endpoint: &Endpoint, calls: &[Option<Call<'_>>]) -> Vec<Result<f64>> {
    let cells: Vec<_> = (0..calls.len()).map(|row| [Value::Float(row as f64)]).collect();
    let rows: Vec<&[Value<'_>]> = cells.iter().map(|row| &row[..]).collect();
    let requests: Vec<Request<'_>> = (0..)
        .zip(calls)
        .map(|(row, call)| {
            call.as_ref().map_or(Request::new(id(row)), |call| Request::new(id(row)).call(call))
        })
        .collect();
    let answers = endpoint.score_batch(&requests, &rows).unwrap();
    answers.into_iter().map(|answer| answer.map(|answer| answer.score)).collect()
}

fn within_us(us: u64) -> Option<Call<'static>> {
    Some(Call::default().within(Duration::from_micros(us)))
}

#[test]
fn rows_that_are_dead_are_not_run() {
    let clock = clock();
    let (runtime, batches) = timed(&clock);
    let endpoint = endpoint(&clock, runtime);
    let (cancelled, open) = (Cancel::default(), Cancel::default());
    cancelled.cancel();
    let late = Call::default().deadline_ns(clock.monotonic_ns() - 7000);
    let calls = [
        Some(Call::default().cancel(&cancelled)),
        None,
        Some(late),
        Some(Call::default().cancel(&open).deadline_ns(clock.monotonic_ns() + 1_000_000)),
    ];
    let answers = score(&endpoint, &calls);
    assert_eq!(*batches.lock().unwrap(), [[3.0, 1.0]], "the urgent first");
    assert_eq!(
        answers[0].as_ref().unwrap_err().to_string(),
        "the request was called off before a model was asked"
    );
    let error = answers[2].as_ref().unwrap_err();
    // 200 us of the batch went by before it was its turn.
    assert_eq!(
        error.to_string(),
        "the deadline passed 207 us before a model was asked, by the clock of endpoint `shop`: ask earlier, or allow \
         more time"
    );
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(Overloaded::is_cause_of));
    assert_eq!((answers[1].as_ref().unwrap(), answers[3].as_ref().unwrap()), (&2.0, &4.0));
    let traffic = endpoint.take_traffic().remove(0).traffic;
    assert_eq!((traffic.requests, traffic.failures), (2, 0), "the arm is not to blame for who came late");
    assert_eq!(endpoint.late_requests(), 1);
    // Alone it is the same.
    assert!(endpoint.score(Request::new(id(0)).call(&late), &[Value::Float(0.0)]).is_err());
    assert!(endpoint.run(Request::new(id(0)).call(&late), &[], &mut Vec::new()).is_err());
    assert_eq!(batches.lock().unwrap().len(), 1);
}

#[test]
fn a_batch_takes_no_more_rows_than_its_deadlines_allow() {
    let clock = clock();
    let (runtime, batches) = timed(&clock);
    let endpoint = endpoint(&clock, runtime);
    // Learns that a row takes 100 us.
    (1..4).for_each(|rows| assert!(score(&endpoint, &vec![None; rows]).iter().all(Result::is_ok)));
    batches.lock().unwrap().clear();
    let mut calls = vec![None; 8];
    (calls[5], calls[6], calls[7]) = (within_us(350), within_us(650), within_us(50));
    let answers = score(&endpoint, &calls);
    assert_eq!(*batches.lock().unwrap(), [vec![5.0, 6.0, 0.0], vec![1.0, 2.0, 3.0, 4.0]]);
    let error = answers[7].as_ref().unwrap_err();
    assert!(error.to_string().starts_with("the deadline passed 0 us before"), "{error}");
    assert!(answers[..7].iter().zip(1..).all(|(answer, want)| *answer.as_ref().unwrap() == f64::from(want)));
    assert_eq!((endpoint.take_traffic().remove(0).traffic.failures, endpoint.late_requests()), (0, 1));

    // What learned too much is tried all the same, with the time that is left.
    batches.lock().unwrap().clear();
    let answers = score(&endpoint, &[within_us(90), None]);
    assert_eq!(*batches.lock().unwrap(), [[1.0]], "{answers:?}");
    let answers = score(&endpoint, &[within_us(90)]);
    assert_eq!(*answers[0].as_ref().unwrap(), 1.0);
}

#[test]
fn dead_rows_have_the_answers_that_need_no_model() {
    let clock = clock();
    let (runtime, batches) = timed(&clock);
    let endpoint = endpoint(&clock, runtime);
    let safe = Endpoint::new("safe", Arc::clone(&clock)).with_default_score(0.25).unwrap();
    safe.set_arms(endpoint.arms()).unwrap();
    assert_eq!(*score(&safe, &[within_us(0)])[0].as_ref().unwrap(), 0.25);
    let cancelled = Cancel::default();
    cancelled.cancel();
    assert!(score(&safe, &[Some(Call::default().cancel(&cancelled))])[0].is_err());
    assert!(batches.lock().unwrap().is_empty());
}

#[test]
fn rows_of_whole_batches_have_their_calls_too() {
    let clock = clock();
    let (runtime, batches) = timed(&clock);
    let endpoint = endpoint(&clock, runtime.with_capabilities(Capabilities::row_function().whole_batches()));
    let answers = score(&endpoint, &[None, within_us(150), within_us(50), None]);
    assert_eq!(*batches.lock().unwrap(), [[0.0], [1.0], [3.0]], "the third has no time left after two");
    assert!(answers[2].is_err());
}

/// A batcher that turns the urgent rows of a batch away still answers the others together.
#[test]
fn rows_at_leisure_stay_together_when_urgent_ones_are_turned_away() {
    let clock = clock();
    let (runtime, batches) = timed(&clock);
    let batched = BatchRuntime::new(runtime, BatchSettings::default(), Arc::clone(&clock)).unwrap();
    let batched = Arc::new(batched);
    let endpoint = endpoint(&clock, Arc::clone(&batched));
    // The batcher learns from single rows, of which the endpoint puts none together.
    (0..20).for_each(|row| {
        endpoint.score(Request::new(id(row)), &[Value::Float(0.0)]).unwrap();
    });
    batches.lock().unwrap().clear();
    let answers = score(&endpoint, &[None, within_us(40), None, None]);
    assert_eq!(*batches.lock().unwrap(), [[0.0, 2.0, 3.0]]);
    assert!(answers[1].as_ref().is_err_and(Overloaded::is_cause_of));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert!(batched.stats().turned_away > 0);
}
