use std::time::Duration;

use mlops_core::{ModelVersion, Timestamp};

use super::{Action, Experiment, Plan, Status, Variant};
use crate::rollout::{Guardrail, Metric, Traffic};

const NAMES: [&str; 4] = ["champion", "b", "c", "d"];

fn version(arm: usize) -> ModelVersion {
    ModelVersion::new("shop", arm as u64 + 1)
}

fn experiment(plan: Plan) -> Experiment {
    let arms = NAMES.iter().enumerate().map(|(arm, name)| Variant::new(*name, version(arm), 1.0));
    Experiment::new(plan, arms, Timestamp::EPOCH).unwrap()
}

fn plan() -> Plan {
    Plan::new(Metric::new("gain"))
}

fn after_s(s: u64) -> Timestamp {
    Timestamp::EPOCH.saturating_add(Duration::from_secs(s))
}

/// Feeds each running arm rows around its mean.
fn feed(experiment: &mut Experiment, means: [f64; 4], rows: u32) {
    let shares: Vec<f64> = experiment.shares().map(|(_, share)| share).collect();
    for (arm, share) in shares.into_iter().enumerate().filter(|(_, share)| *share > 0.0) {
        for row in 0..rows {
            let value = means[arm] + f64::from(row % 10) / 10.0;
            assert!(experiment.add_outcome("gain", &version(arm), NAMES[arm], share, value).unwrap());
        }
        let traffic = Traffic { requests: rows.into(), ..Traffic::default() };
        assert!(experiment.add_traffic(&version(arm), NAMES[arm], share, &traffic));
    }
}

#[test]
fn the_best_of_those_shown_to_be_better_wins() {
    let mut experiment = experiment(plan().hold_s(60));
    feed(&mut experiment, [0.0, 0.3, 0.4, 0.0], 1000);
    assert_eq!(experiment.advance(after_s(59)).to_string(), "hold: the experiment runs for 59 s of 60 s");
    let decision = experiment.advance(after_s(60));
    assert_eq!(decision.action, Action::Promote { arm: "c".into() });
    assert_eq!(decision.reasons[0].measurement.as_ref().unwrap().name, "p_value");
    assert_eq!(experiment.advance(after_s(61)).to_string(), "hold: `c` was promoted");
    let shares: Vec<f64> = experiment.shares().map(|(_, share)| share).collect();
    assert_eq!(shares, [0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn lower_may_be_better() {
    let mut experiment = experiment(Plan::new(Metric::new("gain").lower_is_better()));
    feed(&mut experiment, [0.0, -0.3, 0.0, 0.0], 1000);
    assert_eq!(experiment.decide(after_s(0)).action, Action::Promote { arm: "b".into() });
}

#[test]
fn a_tolerance_asks_that_no_rival_may_be_better() {
    let held = |tolerance| {
        let mut experiment = experiment(plan().tolerance(tolerance).patience_s(100));
        feed(&mut experiment, [0.0, 0.39, 0.4, 0.0], 1000);
        [0, 100].map(|s| experiment.decide(after_s(s)))
    };
    let c = Action::Promote { arm: "c".into() };
    assert_eq!(held(0.2)[0].action, c);
    let [now, late] = held(0.001);
    assert_eq!(now.action, Action::Hold);
    assert!(now.to_string().ends_with("gain of `b` may be better than of `c` by 0.001 or more"), "{now}");
    assert_eq!(late.action, c, "the best so far, when time is up");
}

#[test]
fn a_variant_that_does_harm_is_stopped_and_the_others_go_on() {
    let mut experiment = experiment(plan().guardrail(Guardrail::FailureRate { max: 0.01 }));
    feed(&mut experiment, [0.0, -0.4, 0.0, 0.0], 1000);
    let failing = Traffic { requests: 60, failures: 60, ..Traffic::default() };
    assert!(experiment.add_traffic(&version(3), "d", 0.25, &failing));
    let decision = experiment.advance(after_s(0));
    assert_eq!(decision.action, Action::Stop { arms: vec!["b".into(), "d".into()] });
    assert!(decision.to_string().starts_with("stop b, d: gain of `b` is worse by 0.4000"), "{decision}");
    assert!(decision.to_string().contains("60 of 1060 requests of `d` failed"), "{decision}");
    let shares: Vec<f64> = experiment.shares().map(|(_, share)| share).collect();
    assert_eq!(shares, [0.5, 0.0, 0.5, 0.0]);

    // Labels of the first split still count for it; those of a split that never was do not.
    assert!(experiment.add_outcome("gain", &version(1), "b", 0.25, 0.0).unwrap());
    assert!(!experiment.add_outcome("gain", &version(1), "b", 0.5, 0.0).unwrap());
    feed(&mut experiment, [0.0, 9.0, 0.2, 9.0], 2000);
    assert_eq!(experiment.decide(after_s(0)).action, Action::Promote { arm: "c".into() });

    feed(&mut experiment, [0.0, 0.0, -3.0, 0.0], 2000);
    assert_eq!(experiment.advance(after_s(0)).action, Action::KeepControl, "the last one does harm, too");
    assert_eq!(experiment.status(), &Status::ControlKept);
}

#[test]
fn an_experiment_ends_when_nothing_is_better() {
    let mut futile = experiment(plan().effect_min(0.1));
    feed(&mut futile, [0.0; 4], 110);
    assert_eq!(futile.decide(after_s(0)).action, Action::Hold);
    feed(&mut futile, [0.0; 4], 4000);
    let decision = futile.decide(after_s(0));
    assert_eq!(decision.action, Action::KeepControl);
    assert!(decision.to_string().starts_with("keep_control: every variant is shown to bring less than 0.1"));

    let mut tired = experiment(plan().patience_s(7200));
    feed(&mut tired, [0.0; 4], 4000);
    assert_eq!(tired.advance(after_s(7199)).action, Action::Hold);
    let decision = tired.advance(after_s(7200));
    assert!(
        decision.to_string().starts_with("keep_control: the 2 h of the experiment are over; gain of `b`")
    );
    assert_eq!(tired.status(), &Status::ControlKept);
}

#[test]
fn arms_that_do_not_get_their_share_end_it() {
    let mut experiment = experiment(plan().guardrail(Guardrail::ShareMismatch));
    feed(&mut experiment, [0.0, 0.0, 0.5, 0.0], 1000);
    let more = Traffic { requests: 400, ..Traffic::default() };
    assert!(experiment.add_traffic(&version(2), "c", 0.25, &more));
    let decision = experiment.decide(after_s(0));
    assert_eq!(decision.action, Action::KeepControl);
    assert!(
        decision.to_string().contains("`c` got 1400 of 4400 requests, which is not its share"),
        "{decision}"
    );
}

#[test]
fn what_is_better_by_less_than_is_worth_a_change_is_not_promoted() {
    let ends = |plan: Plan| {
        let mut experiment = experiment(plan);
        feed(&mut experiment, [0.0, 0.1, 0.0, 0.0], 20_000);
        experiment.decide(after_s(0))
    };
    assert_eq!(ends(plan()).action, Action::Promote { arm: "b".into() });
    assert_eq!(ends(plan().effect_min(0.05)).action, Action::Promote { arm: "b".into() });
    let kept = ends(plan().effect_min(0.2));
    assert_eq!(kept.action, Action::KeepControl);
    assert!(kept.to_string().contains("every variant is shown to bring less than 0.2 of gain"), "{kept}");
}

#[test]
fn nothing_is_promoted_that_a_guardrail_has_not_looked_at() {
    let plan = plan().guardrail(Metric::new("returns").lower_is_better().outcomes_min(7));
    let mut experiment = experiment(plan.guardrail(Guardrail::SlowRate { limit_us: 9.0, max: 0.1 }));
    feed(&mut experiment, [0.0, 0.5, 0.0, 0.0], 1000);
    let decision = experiment.decide(after_s(0));
    assert_eq!(decision.action, Action::Hold);
    for words in
        ["returns has 0 of the 7 outcomes of `b` that a verdict needs", "no request of `b` was timed"]
    {
        assert!(decision.to_string().contains(words), "{decision}");
    }
}

#[test]
fn evidence_of_others_is_not_taken() {
    let mut experiment = experiment(plan());
    let traffic = Traffic { requests: 1, ..Traffic::default() };
    assert!(!experiment.add_traffic(&version(1), "champion", 0.25, &traffic));
    assert!(!experiment.add_traffic(&version(0), "champion", 0.5, &traffic));
    assert!(!experiment.add_traffic(&version(0), "shadow", 0.25, &traffic));
    assert!(!experiment.add_outcome("gain", &version(2), "b", 0.25, 1.0).unwrap());
    // The control answered for a variant that failed.
    assert!(experiment.add_outcome("gain", &version(0), "b", 0.25, 1.0).unwrap());
    let error = experiment.add_outcome("gian", &version(0), "b", 0.25, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "the plan has no metric `gian`, it has `gain`");
    assert!(experiment.add_outcome("gain", &version(0), "b", 0.25, f64::NAN).is_err());
    for propensity in [f64::NAN, 0.0, -0.5, 1.5] {
        let error = experiment.add_outcome("gain", &version(0), "b", propensity, 1.0).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("the propensity of an outcome is {propensity}: want"))
        );
    }
}

#[test]
fn a_restart_changes_nothing_and_replicas_merge() {
    let mut whole = experiment(plan().guardrail(Guardrail::FailureRatio { max: 2.0 }));
    let empty = whole.clone();
    feed(&mut whole, [0.0, -0.5, 0.05, 0.0], 1000);
    assert_eq!(whole.advance(after_s(0)).action, Action::Stop { arms: vec!["b".into()] });
    feed(&mut whole, [0.0, 0.0, 0.05, 0.0], 1000);
    let stored = serde_json::to_string(&whole).unwrap();
    let back: Experiment = serde_json::from_str(&stored).unwrap();
    assert_eq!(back, whole);

    let mut sum = empty;
    sum.merge(&whole).unwrap();
    assert_eq!(sum.decide(after_s(9)), whole.decide(after_s(9)));
    let mut other = experiment(plan().guardrail(Guardrail::FailureRatio { max: 2.0 }));
    other.apply(&Action::Stop { arms: vec!["c".into()] });
    assert!(other.merge(&whole).unwrap_err().to_string().contains("stopped different variants"));
    assert!(sum.merge(&experiment(plan())).unwrap_err().to_string().contains("two experiments"));

    let newer = stored.replacen("\"version\":1", "\"version\":2", 1);
    assert!(serde_json::from_str::<Experiment>(&newer).unwrap_err().to_string().contains("version 2"));
    let revived = stored.replacen("[true,false,true,true]", "[true,true,true,true]", 1);
    assert_ne!(revived, stored);
    assert!(serde_json::from_str::<Experiment>(&revived).unwrap_err().to_string().contains("4 arms"));
}

#[test]
fn plans_and_arms_that_make_no_sense_are_refused() {
    let refused = |plan: Plan, arms: &[(&str, f64)], words: &str| {
        let arms = arms.iter().enumerate();
        let arms = arms.map(|(arm, (name, weight))| Variant::new(*name, version(arm), *weight));
        let error = Experiment::new(plan, arms, Timestamp::EPOCH).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let arms = [("champion", 1.0), ("b", 1.0)];
    refused(plan(), &arms[..1], "1 arms compares nothing");
    refused(plan(), &[("a", 1.0), ("b", 1.0)], "the first arm is `a`");
    refused(plan(), &[("champion", 1.0), ("champion", 1.0)], "declared twice");
    refused(plan(), &[("champion", 1.0), ("shadow", 1.0)], "an arm is called `shadow`");
    refused(plan(), &[("champion", 1.0), ("b", 0.0)], "`b` has weight 0");
    refused(plan(), &[("champion", 1.0), ("b", f64::NAN)], "`b` has weight NaN");
    refused(plan().alpha(0.5), &arms, "alpha is 0.5");
    refused(plan().hold_s(9).patience_s(8), &arms, "patience_s is 8");
    refused(plan().effect_min(0.0), &arms, "effect_min is 0");
    refused(plan().tolerance(-1.0), &arms, "tolerance is -1");
    refused(plan().guardrail(Metric::new("gain")), &arms, "`gain` is named twice");
    refused(Plan::new(Metric::new("")), &arms, "a metric has no name");
    refused(plan().guardrail(Metric::new("")), &arms, "a metric has no name");
    refused(Plan::new(Metric::new("gain").margin(f64::NAN)), &arms, "margin of a metric is NaN");
    refused(plan().guardrail(Guardrail::FailureRate { max: 2.0 }), &arms, "failure rate is 2");
}
