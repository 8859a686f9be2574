//! What an endpoint tells of.

use std::sync::Arc;

use mlops_core::{Event, EventLog, EventSink, ManualClock, Severity, Timestamp};
use mlops_serve::endpoint::{ArmSpec, Endpoint, Follower, Golden, HealthSettings};
use mlops_serve::rollout::{Plan, Rollout};

use crate::models::{id, model, row};
use crate::shelf::{Shelf, loader};

fn told(log: &EventLog) -> Vec<String> {
    log.take()
        .iter()
        .map(|event| format!("{} {}: {}", event.severity, event.subject, event.message))
        .collect()
}

fn endpoint(log: &Arc<EventLog>) -> (Endpoint, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let health = HealthSettings::default().failures_in_row_max(2).tries_max(1).cool_down_us(1);
    let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_health(health);
    (endpoint.with_events(Arc::clone(log) as _), clock)
}

#[test]
fn swaps_and_drains_are_told_and_changes_that_change_nothing_are_not() {
    let log = Arc::new(EventLog::default());
    let (endpoint, _) = endpoint(&log);
    endpoint.deploy(model(1, |x| x)).unwrap();
    let challenger = model(2, |x| x);
    endpoint.challenge(Arc::clone(&challenger), 0.25).unwrap();
    endpoint.challenge(challenger, 0.25).unwrap();
    endpoint.set_challenger_share(0.25).unwrap();
    let plan = Plan::canary([0.25], 0, 0);
    let version = |number| model(number, |x| x).version().clone();
    let rollout = Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).unwrap();
    endpoint.apply(&rollout).unwrap();
    endpoint.promote().unwrap();
    let third = model(3, |x| x);
    let third = |name: &str| ArmSpec::new(name, Arc::clone(&third), 1.0);
    endpoint.set_arms(["champion", "b", "c"].map(third).to_vec()).unwrap();
    endpoint.set_arms(Vec::new()).unwrap();
    let want = [
        "info endpoint `shop`: answers with champion shop/1 (1)",
        "info endpoint `shop`: answers with champion shop/1 (0.75), challenger shop/2 (0.25)",
        "info endpoint `shop`: answers with champion shop/2 (1)",
        "info shop/1: is drained: its last request is done",
        "info endpoint `shop`: answers with champion shop/3 (0.3333), b shop/3 (0.3333), c shop/3 (0.3333)",
        "info shop/2: is drained: its last request is done",
        "info endpoint `shop`: has no model any more",
        "info shop/3: is drained: its last request is done",
    ];
    assert_eq!(told(&log), want);
}

#[test]
fn a_model_that_fails_is_told_when_it_goes_out_of_service_and_when_it_is_back() {
    let log = Arc::new(EventLog::default());
    let (endpoint, clock) = endpoint(&log);
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    endpoint.deploy(model(1, |x| x)).unwrap();
    let challenger =
        model(2, move |x| if is_broken.load(std::sync::atomic::Ordering::SeqCst) { f32::NAN } else { x });
    endpoint.challenge(challenger, 1.0).unwrap();
    log.take();
    (0..5).for_each(|number| assert!(endpoint.score(id(number), &row()).unwrap().origin.fallback));
    let failed = "shop/2 answered NaN for row 0: want a finite number";
    let opened =
        format!("warning shop/2: is out of service in arm `challenger` after 2 failures in a row: {failed}");
    assert_eq!(told(&log), [opened]);

    let again = || {
        clock.advance(std::time::Duration::from_micros(1));
        endpoint.score(id(9), &row()).unwrap().origin.fallback
    };
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(!again());
    assert_eq!(told(&log), ["info shop/2: is in service again in arm `challenger`"]);
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(again() && again() && again());
    let quarantined = format!("critical shop/2: failed in all 1 tries in arm `challenger`: {failed}");
    assert_eq!(told(&log)[1..], [quarantined]);
}

#[test]
fn a_version_that_a_follower_cannot_deploy_is_told_once() {
    let log = Arc::new(EventLog::default());
    let (endpoint, _) = endpoint(&log);
    let shelf = Arc::new(Shelf::default());
    let mut golden = Golden::new(0.0);
    golden.push(&row(), 9.0);
    shelf.put(2, 0.25, Some(&golden));
    shelf.champion.store(2, std::sync::atomic::Ordering::SeqCst);
    let follower = Follower::new(loader(), shelf, "shop@champion".parse().unwrap()).unwrap();
    assert!(follower.poll_blocking(&endpoint).is_err());
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
    let told = told(&log);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning shop/2: is refused, where `shop@champion` points: shop/2 cannot"));
}

#[derive(Debug)]
struct Panics;

impl EventSink for Panics {
    fn emit(&self, event: &Event) {
        assert!(event.severity == Severity::Info && event.message.contains("shop/1"), "it cannot be told");
    }
}

#[test]
fn a_sink_that_panics_costs_no_request() {
    let health = HealthSettings::default().failures_in_row_max(1);
    let endpoint = Endpoint::new("shop", mlops_core::SystemClock::new()).with_health(health);
    let endpoint = endpoint.with_events(Arc::new(Panics));
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 1.0).unwrap();
    (0..3).for_each(|number| assert!(endpoint.score(id(number), &row()).unwrap().origin.fallback));
    endpoint.deploy(model(3, |x| x)).unwrap();
    assert_eq!(endpoint.score(id(4), &row()).unwrap().origin.version.version, 3);
}
