//! Gates: what passes, what fails, and what the verdict says.

use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
use mlops_core::evaluation::paired::{PairedBinary, PairedRow};
use mlops_core::evaluation::ranking::{Ranking, RankingMetrics, RankingSettings};
use mlops_core::evaluation::{
    Evaluation, Gate, Goal, Interval, Metric, MetricState, Reference, Rule, Status, Verdict,
};
use mlops_core::pipeline::Decision;

fn auc(value: f64, std_error: f64) -> Evaluation {
    Evaluation::new(1000).with("roc_auc", Metric::new(value).with_std_error(Some(std_error)))
}

fn gate(rules: impl IntoIterator<Item = Rule>) -> Gate {
    Gate::new(rules).unwrap()
}

fn passes(rule: Rule, candidate: &Evaluation, champion: &Evaluation) -> bool {
    gate([rule]).against().champion(champion).check(candidate).passed()
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
        (Rule::at_least("roc_auc", 0.88).proven(0.95), true),
        (Rule::at_least("roc_auc", 0.89).proven(0.95), false),
        (Rule::at_least("roc_auc", 0.91).unrefuted(0.95), true),
        (Rule::at_least("roc_auc", 0.92).unrefuted(0.95), false),
        (Rule::at_least("rmse", 0.5), false),
        (Rule::at_least("roc_auc", 0.5).on("visitor=new"), false),
    ] {
        assert_eq!(gate([rule.clone()]).check(&evaluation).passed(), holds, "{rule}");
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
}

#[test]
fn paired_differences_are_sharper() {
    let (candidate, champion) = (auc(0.905, 0.01), auc(0.90, 0.01));
    let rules = gate([Rule::better_than("roc_auc", Reference::Champion, 0.0).proven(0.95)]);
    assert!(!rules.against().champion(&champion).check(&candidate).passed());
    let paired = auc(0.005, 0.001);
    assert!(rules.against().champion_paired(&champion, &paired).check(&candidate).passed());
    let unknown = Evaluation::new(1000);
    assert!(!rules.against().champion_paired(&champion, &unknown).check(&candidate).passed());
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
    assert!(!gate([rule.clone()]).check(&auc(0.9, 0.01)).passed());
    let verdict = gate([rule.skip_without_reference()]).check(&auc(0.9, 0.01));
    assert!(verdict.passed());
    assert_eq!(verdict.outcomes[0].status, Status::Skipped);
    assert_eq!(verdict.outcomes[0].reason, "there is no champion");
    let baseline = Rule::better_than("roc_auc", Reference::Baseline, 0.1);
    let verdict = gate([baseline]).against().baseline(&auc(0.5, 0.01)).check(&auc(0.9, 0.01));
    assert!(verdict.passed());
}

#[test]
fn a_metric_of_a_few_lists_is_judged_by_these_beside_many_rows() {
    let mut lists = RankingMetrics::new(RankingSettings::default()).unwrap();
    for (relevance, scores) in [([1.0, 0.0], [0.9, 0.1]), ([1.0, 0.0], [0.9, 0.1]), ([0.0, 1.0], [0.9, 0.1])]
    {
        let conventions = RankingSettings::default().conventions;
        lists.push(&Ranking::from_scores(&relevance, &scores, conventions).unwrap()).unwrap();
    }
    let rule = gate([Rule::at_least("ndcg@10", 0.6).proven(0.95)]);
    let alone = rule.check(&Evaluation::of(&lists));
    assert!(!alone.passed(), "{alone}");
    assert_eq!(
        rule.check(&Evaluation::new(2000).with_all(&lists)).outcomes[0].reason,
        alone.outcomes[0].reason
    );
}

#[test]
fn the_reason_of_a_stopped_pipeline_names_the_rules() {
    let verdict = gate([Rule::at_least("roc_auc", 0.95)]).check(&auc(0.9, 0.01));
    assert_eq!(Decision::reason(&verdict), "roc_auc at least 0.95: 0.9 is below 0.95");
}

#[test]
fn the_verdict_says_why() {
    let rules = gate([
        Rule::at_least("roc_auc", 0.95),
        Rule::at_most("log_loss", 0.4),
        Rule::no_worse_than("roc_auc", Reference::Champion, 0.01),
    ]);
    let verdict = rules.against().champion(&auc(0.93, 0.01)).check(&auc(0.9, 0.01));
    assert_eq!(
        verdict.to_string(),
        "rejected\n\
         failed: roc_auc at least 0.95: 0.9 is below 0.95\n\
         failed: log_loss at most 0.4: no metric `log_loss`: it is undefined on these 1000 rows (of one class only?), or was not measured\n\
         failed: roc_auc no worse than the champion's by more than 0.01: 0.9 against 0.93: worse by 0.03"
    );
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn rules_and_evaluations_are_data() {
    let rules = gate([
        Rule::between("di", 0.8, 1.25).on("visitor=new"),
        Rule::better_than("roc_auc", Reference::Baseline, 0.05).proven(0.9).goal(Goal::Higher),
    ]);
    let text = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<Gate>(&text).unwrap(), rules);
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

#[test]
fn a_gate_that_could_not_judge_is_refused_when_it_is_made() {
    let refused = |rules: &[Rule]| Gate::new(rules.to_vec()).unwrap_err().to_string();
    assert!(refused(&[]).contains("at least one rule"));
    assert!(serde_json::from_str::<Gate>(r#"{"rules": []}"#).is_err());
    assert!(refused(&[Rule::at_least("x", f64::NAN)]).contains("NaN"));
    assert!(refused(&[Rule::between("x", 2.0, 1.0)]).contains("between 2 and 1"));
    for margin in [-0.1, f64::NAN] {
        for rule in [
            Rule::no_worse_than("roc_auc", Reference::Champion, margin),
            Rule::better_than("roc_auc", Reference::Champion, margin),
        ] {
            assert!(refused(&[rule]).contains("0 or above"));
        }
    }
    for confidence in [0.5, 1.0, f64::NAN] {
        assert!(refused(&[Rule::at_least("x", 1.0).proven(confidence)]).contains("confidence"));
        assert!(refused(&[Rule::at_least("x", 1.0).unrefuted(confidence)]).contains("confidence"));
    }
    // A verdict of no rules says nothing, so it does not say yes.
    assert!(!serde_json::from_str::<Verdict>(r#"{"outcomes": []}"#).unwrap().passed());
}

#[test]
fn values_exactly_the_margin_apart_are_within_it_and_not_beyond_it() {
    let champion = auc(0.91, 0.01);
    assert!(passes(Rule::no_worse_than("roc_auc", Reference::Champion, 0.01), &auc(0.90, 0.01), &champion));
    assert!(!passes(
        Rule::no_worse_than("roc_auc", Reference::Champion, 0.01),
        &auc(0.8999, 0.01),
        &champion
    ));
    assert!(!passes(Rule::better_than("roc_auc", Reference::Champion, 0.01), &auc(0.92, 0.01), &champion));
    let infinite = Evaluation::new(9).with("di", Metric::new(f64::NEG_INFINITY));
    let finite = Evaluation::new(9).with("di", Metric::new(1.0));
    let rule = |margin| Rule::no_worse_than("di", Reference::Champion, margin).goal(Goal::Higher);
    assert!(!passes(rule(0.1), &infinite, &finite));
    assert!(passes(rule(0.1), &finite, &infinite));
}

#[test]
fn a_handful_of_rows_proves_nothing() {
    let scored = |rows: &[(bool, f64)]| {
        let mut metrics = BinaryMetrics::new(BinarySettings::default()).unwrap();
        rows.iter().for_each(|&(label, p)| metrics.push(&BinaryRow::new(label, p)).unwrap());
        Evaluation::of(&metrics)
    };
    let one = scored(&[(true, 0.9)]);
    assert!(gate([Rule::at_least("accuracy", 0.99)]).check(&one).passed());
    for limit in [0.99, 0.5, 0.06] {
        for metric in ["accuracy", "recall", "precision"] {
            assert!(
                !gate([Rule::at_least(metric, limit).proven(0.95)]).check(&one).passed(),
                "{metric} {limit}"
            );
        }
    }
    // Exact: all of 3 rows right happens one time in twenty at a rate of .368.
    let three = scored(&[(true, 0.9); 3]);
    assert!(gate([Rule::at_least("recall", 0.368).proven(0.95)]).check(&three).passed());
    assert!(!gate([Rule::at_least("recall", 0.369).proven(0.95)]).check(&three).passed());
    // A perfect order of two and two.
    let four = scored(&[(true, 0.9), (true, 0.8), (false, 0.2), (false, 0.1)]);
    assert_eq!(four.metrics["roc_auc"].value, 1.0);
    assert!(!gate([Rule::at_least("roc_auc", 0.5).proven(0.95)]).check(&four).passed());
    // A perfect order of many is proof.
    let rows: Vec<_> = (0..400).map(|row| (row % 2 == 0, if row % 2 == 0 { 0.9 } else { 0.1 })).collect();
    assert!(gate([Rule::at_least("roc_auc", 0.98).proven(0.95)]).check(&scored(&rows)).passed());
    // Two rows of a loss: Student's law with one degree of freedom.
    let two = Evaluation::new(2).with("log_loss", Metric::new(0.2).with_std_error(Some(0.01)));
    assert!(!gate([Rule::at_most("log_loss", 0.25).proven(0.95)]).check(&two).passed());
    assert!(gate([Rule::at_most("log_loss", 0.264).proven(0.95)]).check(&two).passed());
    // No spread is no proof, and the reason says so.
    let constant = Evaluation::new(9).with("log_loss", Metric::new(0.2).with_std_error(Some(0.0)));
    let verdict = gate([Rule::at_most("log_loss", 0.9).proven(0.95)]).check(&constant);
    assert!(!verdict.passed() && verdict.to_string().contains("the standard error is 0"), "{verdict}");
}

#[test]
fn few_rows_that_differ_prove_no_better_accuracy() {
    let differences = |won: u32, lost: u32, both: u32| {
        let mut paired = PairedBinary::new(0.5).unwrap();
        let mut push = |candidate, champion, rows| {
            (0..rows).for_each(|_| paired.push(&PairedRow { label: true, candidate, champion }).unwrap());
        };
        push(0.9, 0.1, won);
        push(0.1, 0.9, lost);
        push(0.9, 0.9, both);
        Evaluation::of(&paired)
    };
    let proven = |margin: Option<f64>, won, lost, both| {
        let rule = match margin {
            None => Rule::better_than("accuracy", Reference::Champion, 0.0),
            Some(margin) => Rule::no_worse_than("accuracy", Reference::Champion, margin),
        };
        let paired = differences(won, lost, both);
        let of = |value| Evaluation::new(paired.rows).with("accuracy", Metric::new(value));
        gate([rule.proven(0.95)]).against().champion_paired(&of(0.5), &paired).check(&of(0.6)).passed()
    };
    assert!(!proven(None, 1, 0, 0) && !proven(None, 3, 0, 0) && !proven(None, 4, 0, 1000));
    // The sign test of 5 to 0 has p = 1/32.
    assert!(proven(None, 5, 0, 1000));
    assert!(!proven(None, 60, 50, 1000) && proven(None, 90, 50, 1000));
    // Few rows that differ among many show that the two are nearly alike.
    assert!(proven(Some(0.01), 1, 1, 10_000) && proven(Some(0.01), 0, 0, 10_000));
    assert!(!proven(Some(0.01), 0, 0, 10));
}

#[test]
fn an_interval_of_the_fitting_confidence_decides() {
    let interval = Interval::new(0.84, 0.95).unwrap();
    let metric = Metric::new(0.9).with_std_error(Some(1e-6)).with_interval(interval, 0.9);
    let evaluation = Evaluation::new(1000).with("roc_auc", metric);
    assert!(gate([Rule::at_least("roc_auc", 0.84).proven(0.95)]).check(&evaluation).passed());
    assert!(!gate([Rule::at_least("roc_auc", 0.85).proven(0.95)]).check(&evaluation).passed());
    // At another confidence the standard error decides.
    assert!(gate([Rule::at_least("roc_auc", 0.89).proven(0.975)]).check(&evaluation).passed());
}

#[test]
fn what_a_verdict_shows_tells_why() {
    // Closer to the limit than the digits that are shown for people.
    let close = 0.5 - 1e-14;
    let bound = Interval::new(close, 0.95).unwrap();
    let metric = Metric::new(0.7).with_interval(bound, 0.9);
    let verdict = gate([Rule::at_least("roc_auc", 0.5).proven(0.95)])
        .check(&Evaluation::new(1000).with("roc_auc", metric));
    assert!(verdict.to_string().ends_with(&format!("0.7 (bound {close}) is below 0.5")), "{verdict}");
    let better = gate([Rule::better_than("roc_auc", Reference::Champion, 0.02)]);
    let against = |value| better.against().champion(&auc(0.5, 0.01)).check(&auc(value, 0.01)).to_string();
    assert!(against(0.52).ends_with("0.52 against 0.5: better by 0.02"), "{}", against(0.52));
    let just = against(0.52 + 1e-13);
    assert!(just.starts_with("accepted") && just.contains("better by 0.0200000000001"), "{just}");
}

#[test]
fn the_unit_of_the_weights_proves_nothing() {
    let of = |weight: f64| {
        let mut metrics = BinaryMetrics::new(BinarySettings::default()).unwrap();
        for row in 0..100 {
            let (label, probability) =
                (row % 3 == 0, if (row % 10 == 0) ^ (row % 3 == 0) { 0.8 } else { 0.3 });
            metrics.push(&BinaryRow { label, probability, weight }).unwrap();
        }
        metrics.metrics()
    };
    let (plain, heavy, light) = (of(1.0), of(1e6), of(0.01));
    for (name, metric) in &plain {
        for other in [heavy[name], light[name]] {
            let error = (metric.std_error, other.std_error);
            let same = error.0.zip(error.1).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
            assert!(same && error.0.is_some() == error.1.is_some(), "{name} {error:?}");
        }
    }
    assert!((plain["accuracy"].std_error.unwrap() - 0.03).abs() < 1e-12);
    assert!((heavy["accuracy"].trials.unwrap() - 100.0).abs() < 1e-9);
}
