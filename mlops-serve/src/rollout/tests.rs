use std::time::Duration;

use mlops_core::{ModelVersion, Timestamp};

use super::{Action, Guardrail, Metric, Plan, Proof, Rollout, Status, Traffic};

fn version(version: u64) -> ModelVersion {
    ModelVersion::new("shop", version)
}

/// The version that is in an arm.
fn of(arm: &str) -> ModelVersion {
    version(if arm == "champion" { 1 } else { 2 })
}

fn rollout(plan: Plan) -> Rollout {
    Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).unwrap()
}

fn after_s(s: u64) -> Timestamp {
    Timestamp::EPOCH.saturating_add(Duration::from_secs(s))
}

fn traffic(requests: u64, failures: u64) -> Traffic {
    Traffic { requests, failures, ..Traffic::default() }
}

#[test]
fn steps_wait_for_time_and_traffic() {
    let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 10));
    let decision = rollout.advance(after_s(59));
    assert_eq!(
        decision.to_string(),
        "hold: step 1 is held for 59 s of 60 s; the challenger got 0 requests of 10 in step 1"
    );
    assert!(rollout.add_traffic(&of("challenger"), "challenger", 0.1, &traffic(10, 0)));
    assert_eq!(rollout.advance(after_s(60)).action, Action::Advance);
    assert_eq!((rollout.step(), rollout.challenger_weight()), (1, 0.5));
    assert_eq!(rollout.advance(after_s(61)).action, Action::Hold);
    assert!(rollout.add_traffic(&of("challenger"), "challenger", 0.5, &traffic(10, 0)));
    assert_eq!(rollout.advance(after_s(120)).action, Action::Promote);
    assert_eq!((rollout.status(), rollout.challenger_weight()), (Status::Promoted, 1.0));
    assert_eq!(rollout.advance(after_s(999)).to_string(), "hold: the challenger was promoted");
}

#[test]
fn a_clock_that_jumps_back_only_holds_longer() {
    let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 0));
    assert_eq!(rollout.advance(Timestamp::from_micros(i64::MIN)).action, Action::Hold);
    assert_eq!(rollout.advance(after_s(60)).action, Action::Advance);
}

#[test]
fn traffic_and_outcomes_of_other_splits_are_not_taken() {
    let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 0).guardrail(Metric::new("auc")));
    let error = rollout.add_outcome("acu", &of("champion"), "champion", 0.9, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "the plan has no metric `acu`, it has `auc`");
    assert!(!rollout.add_traffic(&of("champion"), "champion", 1.0, &traffic(1, 0)));
    assert!(!rollout.add_traffic(&of("shadow"), "shadow", 0.1, &traffic(1, 0)));
    assert!(!rollout.add_outcome("auc", &of("challenger"), "challenger", 0.2, 1.0).unwrap());
    assert!(rollout.add_outcome("auc", &of("champion"), "champion", 0.9, 1.0).unwrap());
    assert!(rollout.add_outcome("auc", &of("champion"), "champion", 0.9, f64::NAN).is_err());
}

#[test]
fn what_other_versions_did_in_the_same_arms_is_not_taken() {
    let plan = Plan::canary([0.1], 0, 0).guardrail(Guardrail::FailureRate { max: 0.01 });
    let mut bare = rollout(plan.clone());
    let error = bare.add_outcome("auc", &version(1), "champion", 0.9, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "the plan has no metric `auc`, it has none");
    assert_eq!(bare.decide(after_s(0)).action, Action::Promote);
    let mut rollout = rollout(plan.guardrail(Metric::new("auc")));
    assert!(!rollout.add_traffic(&version(7), "challenger", 0.1, &traffic(100, 100)));
    assert!(!rollout.add_traffic(&version(7), "champion", 0.9, &traffic(100, 100)));
    assert!(!rollout.add_traffic(&version(1), "challenger", 0.1, &traffic(100, 100)));
    assert!(!rollout.add_outcome("auc", &version(7), "challenger", 0.1, 1.0).unwrap());
    assert!(!rollout.add_outcome("auc", &version(2), "champion", 0.9, 1.0).unwrap());
    // The champion answered for a challenger that failed.
    assert!(rollout.add_outcome("auc", &version(1), "challenger", 0.1, 1.0).unwrap());
    assert_eq!(rollout.decide(after_s(0)).action, Action::Hold);
}

#[test]
fn guardrails_that_saw_nothing_hold() {
    let plan = || Plan::canary([0.1, 0.5], 0, 0);
    for guardrail in
        [Guardrail::SlowRate { limit_us: 1.0, max: 0.1 }, Guardrail::SlowRatio { limit_us: 1.0, max: 2.0 }]
    {
        let mut rollout = rollout(plan().guardrail(guardrail));
        assert!(rollout.add_traffic(&version(2), "challenger", 0.1, &traffic(50, 0)));
        let decision = rollout.advance(after_s(0));
        assert_eq!(decision.action, Action::Hold);
        assert!(decision.to_string().contains("was timed"), "{decision}");
        let mut timed = traffic(1, 0);
        timed.latencies.record(10);
        assert!(rollout.add_traffic(&version(2), "challenger", 0.1, &timed));
        assert_eq!(rollout.advance(after_s(0)).action, Action::Advance);
    }
    let mut unlabelled = rollout(plan().guardrail(Metric::new("loss").outcomes_min(7)));
    assert_eq!(
        unlabelled.advance(after_s(0)).to_string(),
        "hold: loss has 0 of the 7 outcomes of the challenger that a verdict needs"
    );
}

#[test]
fn a_metric_that_cannot_be_judged_holds_the_step_and_names_the_way_out() {
    let plan = Plan::canary([0.1, 0.5], 0, 0).guardrail(Metric::new("spent")).proof(Proof::None, Some(100));
    let fed = |limit: f64| {
        let mut rollout = rollout(plan.clone());
        for row in 0..2000_u32 {
            // One who buys for all the others.
            let spent = if row == 7 { 1e6 } else { f64::from(row % 3) };
            assert!(
                rollout.add_outcome("spent", &of("champion"), "champion", 0.9, spent.min(limit)).unwrap()
            );
            assert!(
                rollout
                    .add_outcome("spent", &of("challenger"), "challenger", 0.1, f64::from(row % 3))
                    .unwrap()
            );
        }
        rollout
    };
    let blind = fed(f64::INFINITY).decide(after_s(99));
    assert_eq!(
        blind.to_string(),
        "hold: spent has 2000 of the 9986 outcomes of the challenger that a verdict needs at a skewness of 44.7: \
         wait for more, or report outcomes clipped at a fixed limit"
    );
    let measured = blind.reasons[0].measurement.as_ref().unwrap();
    assert_eq!((measured.value, measured.limit), (2000.0, 9986.0));
    let tired = fed(f64::INFINITY).decide(after_s(100));
    assert!(
        tired.to_string().starts_with("roll_back: nothing was shown within 100 s; spent has 2000"),
        "{tired}"
    );
    assert_eq!(fed(3.0).decide(after_s(0)).action, Action::Advance);
}

#[test]
fn replicas_that_do_not_time_do_not_dilute_the_slow_rate() {
    let mut slow = traffic(40, 0);
    (0..20).for_each(|_| slow.latencies.record(1_000_000));
    slow.requests = 40_000;
    assert_eq!(
        failing(Guardrail::SlowRate { limit_us: 500.0, max: 0.01 }, &traffic(9, 0), &slow),
        "roll_back: 20 of 20 requests of the challenger took longer than 500 us: more than 0.01 allows"
    );
}

fn failing(guardrail: Guardrail, champion: &Traffic, challenger: &Traffic) -> String {
    let mut rollout = rollout(Plan::canary([0.1, 0.5], 60, 0).guardrail(guardrail));
    assert!(rollout.add_traffic(&of("champion"), "champion", 0.9, champion));
    assert!(rollout.add_traffic(&of("challenger"), "challenger", 0.1, challenger));
    rollout.decide(after_s(0)).to_string()
}

#[test]
fn guardrails_say_what_they_saw() {
    assert_eq!(
        failing(Guardrail::FailureRate { max: 0.01 }, &traffic(0, 0), &traffic(50, 5)),
        "roll_back: 5 of 50 requests of the challenger failed: more than 0.01 allows"
    );
    assert_eq!(
        failing(Guardrail::FailureRatio { max: 1.0 }, &traffic(900, 2), &traffic(100, 6)),
        "roll_back: 6 requests of the challenger failed and 2 of the champion: the ratio is above 1"
    );
    assert_eq!(
        failing(Guardrail::ShareMismatch, &traffic(2000, 0), &traffic(100, 0)),
        "roll_back: the challenger got 100 of 2100 requests, which is not its share"
    );
    let slow = |requests, ns| {
        let mut traffic = traffic(requests, 0);
        (0..requests).for_each(|_| traffic.latencies.record(ns));
        traffic
    };
    assert_eq!(
        failing(Guardrail::SlowRate { limit_us: 500.0, max: 0.01 }, &slow(9, 1000), &slow(10, 1_000_000)),
        "roll_back: 10 of 10 requests of the challenger took longer than 500 us: more than 0.01 allows"
    );
    assert!(
        failing(Guardrail::SlowRatio { limit_us: 500.0, max: 2.0 }, &slow(90, 1000), &slow(10, 1_000_000))
            .starts_with("roll_back: 10 requests of the challenger took longer than 500 us and 0 of")
    );
}

#[test]
fn equal_arms_raise_no_alarm() {
    for guardrail in
        [Guardrail::FailureRate { max: 0.05 }, Guardrail::FailureRatio { max: 1.0 }, Guardrail::ShareMismatch]
    {
        let decision = failing(guardrail, &traffic(9000, 180), &traffic(1000, 20));
        assert!(decision.starts_with("hold: "), "{decision}");
    }
}

#[test]
fn the_drift_of_traffic_between_steps_is_no_effect() {
    let metric = Metric::new("loss").lower_is_better();
    let mut rollout = rollout(Plan::canary([0.1, 0.9], 60, 0).guardrail(metric));
    // Between the steps the loss of everybody rises, and the challenger has most of the second step.
    for (weight, level, rows) in [(0.1, 0.0, [900, 100]), (0.9, 1.0, [100, 900])] {
        for (arm, rows, propensity) in [("champion", rows[0], 1.0 - weight), ("challenger", rows[1], weight)]
        {
            for row in 0..rows {
                let loss = level + f64::from(row % 10) / 10.0;
                assert!(rollout.add_outcome("loss", &of(arm), arm, propensity, loss).unwrap());
            }
        }
    }
    assert_eq!(rollout.decide(after_s(0)).action, Action::Hold);
}

fn compared(plan: Plan, difference: f64) -> Rollout {
    let mut rollout = rollout(plan);
    for row in 0..2000 {
        let noise = f64::from(row % 10) / 10.0;
        rollout.add_outcome("rate", &of("champion"), "champion", 0.5, noise).unwrap();
        rollout.add_outcome("rate", &of("challenger"), "challenger", 0.5, noise + difference).unwrap();
    }
    rollout
}

#[test]
fn promotion_asks_for_the_proof_that_the_plan_names() {
    let plan = |proof, margin| {
        Plan::canary([0.5], 0, 0).guardrail(Metric::new("rate").margin(margin)).proof(proof, Some(100))
    };
    let action = |plan: Plan, difference| compared(plan, difference).decide(after_s(0)).action;
    assert_eq!(action(plan(Proof::None, 0.0), 0.0), Action::Promote);
    assert_eq!(action(plan(Proof::NotWorse, 0.1), 0.0), Action::Promote);
    assert_eq!(action(plan(Proof::NotWorse, 0.01), 0.0), Action::Hold);
    assert_eq!(action(plan(Proof::Better, 0.1), 0.0), Action::Hold);
    assert_eq!(action(plan(Proof::Better, 0.1), 0.2), Action::Promote);
    assert_eq!(action(plan(Proof::None, 0.1), -0.5), Action::RollBack);
    let tired = compared(plan(Proof::Better, 0.1), 0.0).decide(after_s(100));
    assert!(tired.to_string().starts_with("roll_back: nothing was shown within 100 s; rate of"), "{tired}");
    let unlabelled = rollout(plan(Proof::Better, 0.1)).decide(after_s(0));
    assert_eq!(
        unlabelled.to_string(),
        "hold: rate has 0 of the 100 outcomes of the challenger that a verdict needs"
    );
}

#[test]
fn a_restart_changes_nothing_and_replicas_merge() {
    let plan = Plan::canary([0.5], 60, 10).guardrail(Metric::new("rate"));
    let whole = compared(plan.clone(), -0.1);
    let stored = serde_json::to_string(&whole).unwrap();
    let back: Rollout = serde_json::from_str(&stored).unwrap();
    assert_eq!(back, whole);
    assert_eq!(back.decide(after_s(9)), whole.decide(after_s(9)));

    let mut sum = rollout(plan);
    sum.merge(&whole).unwrap();
    assert_eq!(sum.decide(after_s(9)), whole.decide(after_s(9)));
    assert!(sum.merge(&rollout(Plan::canary([0.2], 0, 0))).is_err());

    let newer = stored.replacen("\"version\":1", "\"version\":2", 1);
    assert!(serde_json::from_str::<Rollout>(&newer).unwrap_err().to_string().contains("version 2"));
    let lost = stored.replacen("\"step\":0", "\"step\":7", 1);
    assert!(serde_json::from_str::<Rollout>(&lost).unwrap_err().to_string().contains("step 7"));
}
