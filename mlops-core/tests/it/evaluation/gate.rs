//! Gates: what passes, what fails, and what the verdict says.

use mlops_core::evaluation::{Evaluation, Gate, Goal, Metric, Reference, Rule, Status, Verdict};

fn auc(value: f64, std_error: f64) -> Evaluation {
    Evaluation::new(1000).with("roc_auc", Metric::new(value).with_std_error(Some(std_error)))
}

fn passes(rule: Rule, candidate: &Evaluation, champion: &Evaluation) -> bool {
    Gate::new([rule]).against().champion(champion).check(candidate).passed()
}

#[test]
fn limits_hold_at_the_limit_itself() {
    let evaluation = auc(0.9, 0.01);
    for (rule, holds) in [
        (Rule::at_least("roc_auc", 0.9), true),
        (Rule::at_least("roc_auc", 0.900_1), false),
        (Rule::at_most("roc_auc", 0.9), true),
        (Rule::at_most("roc_auc", 0.899), false),
        (Rule::between("roc_auc", 0.9, 0.95), true),
        (Rule::between("roc_auc", 0.95, 0.99), false),
        (Rule::at_least("rows", 1000.0), true),
        (Rule::at_least("rows", 1001.0), false),
        (Rule::at_least("roc_auc", f64::NAN), false),
        (Rule::at_least("roc_auc", 0.88).proven(0.95), true),
        (Rule::at_least("roc_auc", 0.89).proven(0.95), false),
        (Rule::at_least("roc_auc", 0.91).unrefuted(0.95), true),
        (Rule::at_least("roc_auc", 0.92).unrefuted(0.95), false),
        (Rule::at_least("roc_auc", 0.5).proven(1.0), false),
        (Rule::at_least("rmse", 0.5), false),
        (Rule::at_least("roc_auc", 0.5).on("visitor=new"), false),
    ] {
        assert_eq!(Gate::new([rule.clone()]).check(&evaluation).passed(), holds, "{rule}");
    }
}

#[test]
fn comparison_takes_both_uncertainties() {
    let champion = auc(0.90, 0.003);
    let no_worse = |margin| Rule::no_worse_than("roc_auc", Reference::Champion, margin);
    let better = |margin| Rule::better_than("roc_auc", Reference::Champion, margin);
    assert!(passes(no_worse(0.0), &auc(0.90, 0.004), &champion));
    assert!(!passes(no_worse(0.0), &auc(0.899, 0.004), &champion));
    // The standard error of the difference is 0.005, its 95 % bound 0.00822.
    assert!(!passes(no_worse(0.008).proven(0.95), &auc(0.90, 0.004), &champion));
    assert!(passes(no_worse(0.0083).proven(0.95), &auc(0.90, 0.004), &champion));
    assert!(passes(no_worse(0.0).unrefuted(0.95), &auc(0.892, 0.004), &champion));
    assert!(!passes(no_worse(0.0).unrefuted(0.95), &auc(0.891, 0.004), &champion));
    assert!(!passes(better(0.0), &champion, &champion));
    assert!(passes(better(0.0), &auc(0.901, 0.004), &champion));
    assert!(!passes(better(0.0).proven(0.95), &auc(0.908, 0.004), &champion));
    assert!(passes(better(0.0).proven(0.95), &auc(0.909, 0.004), &champion));
    assert!(!passes(no_worse(-0.1), &auc(0.99, 0.004), &champion));
    assert!(!passes(no_worse(f64::NAN), &auc(0.99, 0.004), &champion));
}

#[test]
fn paired_differences_are_sharper() {
    let (candidate, champion) = (auc(0.905, 0.01), auc(0.90, 0.01));
    let gate = Gate::new([Rule::better_than("roc_auc", Reference::Champion, 0.0).proven(0.95)]);
    assert!(!gate.against().champion(&champion).check(&candidate).passed());
    let paired = auc(0.005, 0.001);
    assert!(gate.against().champion_paired(&champion, &paired).check(&candidate).passed());
    let unknown = Evaluation::new(1000);
    assert!(!gate.against().champion_paired(&champion, &unknown).check(&candidate).passed());
}

#[test]
fn losses_are_better_low_and_unknown_metrics_need_a_goal() {
    let of = |name: &str, value| Evaluation::new(10).with(name, Metric::new(value));
    let better = |name: &str| Rule::better_than(name, Reference::Champion, 0.0);
    assert!(passes(better("log_loss"), &of("log_loss", 0.3), &of("log_loss", 0.4)));
    assert!(!passes(better("log_loss"), &of("log_loss", 0.4), &of("log_loss", 0.3)));
    assert!(!passes(better("profit"), &of("profit", 2.0), &of("profit", 1.0)));
    assert!(passes(better("profit").goal(Goal::Higher), &of("profit", 2.0), &of("profit", 1.0)));
}

#[test]
fn a_missing_reference_fails_unless_the_rule_says_skip() {
    let rule = Rule::no_worse_than("roc_auc", Reference::Champion, 0.0);
    assert!(!Gate::new([rule.clone()]).check(&auc(0.9, 0.01)).passed());
    let verdict = Gate::new([rule.skip_without_reference()]).check(&auc(0.9, 0.01));
    assert!(verdict.passed());
    assert_eq!(verdict.outcomes[0].status, Status::Skipped);
    assert_eq!(verdict.outcomes[0].reason, "there is no champion");
    let baseline = Rule::better_than("roc_auc", Reference::Baseline, 0.1);
    let verdict = Gate::new([baseline]).against().baseline(&auc(0.5, 0.01)).check(&auc(0.9, 0.01));
    assert!(verdict.passed());
}

#[test]
fn the_verdict_says_why() {
    let gate = Gate::new([
        Rule::at_least("roc_auc", 0.95),
        Rule::at_most("log_loss", 0.4),
        Rule::no_worse_than("roc_auc", Reference::Champion, 0.01),
    ]);
    let verdict = gate.against().champion(&auc(0.93, 0.01)).check(&auc(0.9, 0.01));
    assert_eq!(
        verdict.to_string(),
        "rejected\n\
         failed: roc_auc at least 0.95: 0.9 is below 0.95\n\
         failed: log_loss at most 0.4: no metric `log_loss`: there are roc_auc\n\
         failed: roc_auc no worse than the champion's by more than 0.01: 0.9 against 0.93: worse by 0.030000000000000027"
    );
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn rules_and_evaluations_are_data() {
    let gate = Gate::new([
        Rule::between("di", 0.8, 1.25).on("visitor=new"),
        Rule::better_than("roc_auc", Reference::Baseline, 0.05).proven(0.9).goal(Goal::Higher),
    ]);
    let text = serde_json::to_string(&gate).unwrap();
    assert_eq!(serde_json::from_str::<Gate>(&text).unwrap(), gate);
    assert!(
        serde_json::from_str::<Gate>(r#"{"rules": [{"metric": "x", "check": {"at_leest": 1}}]}"#).is_err()
    );
    assert!(
        serde_json::from_str::<Gate>(r#"{"rules": [{"metric": "x", "checks": {"at_least": 1}}]}"#).is_err()
    );

    let evaluation = auc(0.9, 0.01).with_slice("visitor=new", 7, [("di", Metric::new(f64::INFINITY))]);
    let text = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), evaluation);
    assert!(serde_json::from_str::<Evaluation>(&text.replace(r#""version":1"#, r#""version":2"#)).is_err());
}
