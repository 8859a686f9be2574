//! What an endpoint counts of its arms, and for whom.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{ManualClock, ModelVersion, Seed, SystemClock, Timestamp};
use mlops_serve::endpoint::{Endpoint, Model, Request};
use mlops_serve::rollout::{Action, Guardrail, Plan, Rollout, Status};
use rand::RngExt;

use crate::models::{id, model};

fn version(version: u64) -> ModelVersion {
    ModelVersion::new("shop", version)
}

/// A model that takes some time of the clock for each row.
fn slow(number: u64, clock: &Arc<ManualClock>) -> Arc<Model> {
    let clock = Arc::clone(clock);
    model(number, move |x| {
        clock.advance(Duration::from_micros(100));
        x
    })
}

fn feed(rollout: &mut Rollout, endpoint: &Endpoint) -> usize {
    let taken = endpoint.take_traffic();
    taken
        .iter()
        .filter(|arm| rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic))
        .count()
}

#[test]
fn the_failures_of_one_challenger_are_not_held_against_the_next() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 0.5).unwrap();
    let ask = |count| {
        (0..count).for_each(|number| assert!(endpoint.score(id(number), &[Value::Float(1.0)]).is_ok()));
    };
    ask(200);
    endpoint.roll_back().unwrap();
    endpoint.challenge(model(3, |x| x), 0.5).unwrap();
    ask(200);
    let plan = Plan::canary([0.5], 0, 1).guardrail(Guardrail::FailureRate { max: 0.01 });
    let mut rollout = Rollout::new(plan, version(1), version(3), Timestamp::EPOCH).unwrap();
    assert!(feed(&mut rollout, &endpoint) >= 2);
    assert_eq!(rollout.advance(Timestamp::EPOCH).action, Action::Promote);
}

#[test]
fn a_batch_charges_each_arm_with_its_own_time() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let endpoint = Endpoint::new("shop", Arc::clone(&clock));
    endpoint.deploy(slow(1, &clock)).unwrap();
    endpoint.challenge(slow(2, &clock), 0.1).unwrap();
    let requests: Vec<Request<'_>> = (0..1000).map(|number| Request::new(id(number))).collect();
    let rows = vec![&[Value::Float(1.0)][..]; 1000];
    let answers = endpoint.score_batch(&requests, &rows).unwrap();
    for arm in ["champion", "challenger"] {
        let mine: Vec<f64> = answers
            .iter()
            .map(|answer| answer.as_ref().unwrap())
            .filter(|answer| answer.origin.arm == arm)
            .map(|answer| answer.latency_us)
            .collect();
        let want = 100.0 * mine.len() as f64;
        assert!(mine.iter().all(|us| (us - want).abs() < 1e-6), "{arm}: {} for {want}", mine[0]);
    }
    // The time of a batch is no time of a request: guardrails do not see it.
    assert!(endpoint.take_traffic().iter().all(|arm| arm.traffic.latencies.count() == 0));
}

/// Rollouts of a model against itself through an endpoint, looked at after every request or batch.
#[test]
fn equal_models_are_not_rolled_back_by_what_the_endpoint_counts() {
    let simulations = if cfg!(debug_assertions) { 40 } else { 1000 };
    let mut rng = Seed::new(21).rng();
    let mut rolled_back = 0;
    for simulation in 0..simulations {
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        let salt = format!("{simulation}");
        let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_salt(salt);
        let same = |number| {
            let clock = Arc::clone(&clock);
            // One request in ten is slow, one in twenty fails.
            model(number, move |x| {
                clock.advance(Duration::from_micros(if x < 0.1 { 1000 } else { 10 }));
                if x > 0.95 { f32::NAN } else { x }
            })
        };
        endpoint.deploy(same(1)).unwrap();
        endpoint.challenge(same(2), 0.2).unwrap();
        let plan = Plan::canary([0.2], u64::MAX, 0)
            .guardrail(Guardrail::SlowRatio { limit_us: 500.0, max: 1.0 })
            .guardrail(Guardrail::FailureRatio { max: 1.0 })
            .guardrail(Guardrail::ShareMismatch);
        let mut rollout = Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).unwrap();
        for round in 0..60_u32 {
            let base = simulation * 100_000 + round * 100;
            if round % 2 == 0 {
                let row = [Value::Float(rng.random())];
                let _ = endpoint.score(id(base), &row);
            } else {
                let requests: Vec<Request<'_>> =
                    (0..10).map(|number| Request::new(id(base + number))).collect();
                let rows: Vec<[Value<'_>; 1]> = (0..10).map(|_| [Value::Float(rng.random())]).collect();
                let rows: Vec<&[Value<'_>]> = rows.iter().map(<[_; 1]>::as_slice).collect();
                endpoint.score_batch(&requests, &rows).unwrap();
            }
            feed(&mut rollout, &endpoint);
            rollout.advance(Timestamp::EPOCH);
        }
        rolled_back += u32::from(rollout.status() == Status::RolledBack);
    }
    // Alpha is 5 %.
    assert!(f64::from(rolled_back) <= 0.05 * f64::from(simulations), "{rolled_back} of {simulations}");
}

#[test]
fn changes_of_the_split_leave_nothing_behind() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |x| x), 0.5).unwrap();
    let mut asked = 0;
    for step in 0..5000_u32 {
        endpoint.set_challenger_share(f64::from(step) / 5000.0).unwrap();
        if step % 10 == 0 {
            endpoint.score(id(step), &[Value::Float(1.0)]).unwrap();
            asked += 1;
        }
    }
    let taken = endpoint.take_traffic();
    assert!(taken.len() <= 80, "{} sums", taken.len());
    assert_eq!(taken.iter().map(|arm| arm.traffic.requests).sum::<u64>(), asked);
    let older = taken.iter().filter(|arm| arm.propensity.is_nan());
    assert!(older.clone().count() == 2 && older.clone().all(|arm| arm.version.version == 0));
    let last = taken.iter().find(|arm| arm.propensity == 4990.0 / 5000.0);
    assert!(last.is_some_and(|arm| arm.version == version(2)));
}

#[test]
fn a_dashboard_and_a_rollout_both_see_everything() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 0.5).unwrap();
    let ask = |count: u32| {
        (0..count).for_each(|number| assert!(endpoint.score(id(number), &[Value::Float(1.0)]).is_ok()));
    };
    let requests = || -> u64 { endpoint.stats().iter().map(|arm| arm.traffic.requests).sum() };
    ask(100);
    assert_eq!(requests(), 100);
    let taken: u64 = endpoint.take_traffic().iter().map(|arm| arm.traffic.requests).sum();
    assert_eq!(taken, 100, "reading takes nothing away");
    endpoint.roll_back().unwrap();
    ask(50);
    let stats = endpoint.stats();
    let failed = stats.iter().find(|arm| arm.version == version(2)).unwrap();
    assert!(failed.traffic.failures > 20);
    assert_eq!(
        failed.last_failure.as_deref(),
        Some("shop/2 answered NaN for row 0: want a finite number"),
        "the cause, not that it is out of service by now"
    );
    assert!(stats.iter().all(|arm| arm.version == version(2) || arm.last_failure.is_none()));
    assert_eq!((requests(), endpoint.stats().len()), (150, 2));
    for number in 3..200 {
        endpoint.deploy(model(number, |x| x)).unwrap();
        ask(1);
    }
    let stats = endpoint.stats();
    assert!(stats.len() <= 66, "{}", stats.len());
    assert_eq!(requests(), 347);
    assert!(
        stats.iter().any(|arm| arm.version == version(199))
            && stats.iter().any(|arm| arm.version == version(0))
    );
}
