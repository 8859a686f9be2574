//! Rules of a model: approvals, gates, stages.

use mlops_core::{Digest, ElementType, ErrorKind, ModelSignature, ModelVersion, TensorSpec};
use mlops_registry::blocking::Registry;
use mlops_registry::{Approval, At, Change, Draft, Expect, Gate, NewVersion, Policy, Query, Stages};

use crate::support::{invalid, refused, register};

#[test]
fn approvals_follow_the_policy() {
    let registry = Registry::open("memory:").unwrap();
    let mut policy = Policy::default();
    policy.approvals_min = 2;
    policy.four_eyes = true;
    policy.reviewers = ["ann", "bob", "trainer"].map(String::from).into();
    registry.commit(Draft::new("lead", "rules").policy("shop", policy.clone())).unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    refused(
        &registry,
        Draft::new("eve", "me too").approve(&id),
        "`eve` is no reviewer of shop/1: ask ann or bob",
    );
    refused(&registry, Draft::new("trainer", "mine").approve(&id), "four eyes");
    let approval = || registry.state().version(&id).unwrap().approval;
    registry.commit(Draft::new("ann", "good").approve(&id)).unwrap();
    registry.commit(Draft::new("ann", "still good").approve(&id)).unwrap();
    assert_eq!(approval(), Approval::Pending, "one person approves once");
    registry.commit(Draft::new("bob", "good").approve(&id)).unwrap();
    assert_eq!(approval(), Approval::Approved);
    registry.commit(Draft::new("bob", "take it back").review(&id, Approval::Pending)).unwrap();
    assert_eq!(approval(), Approval::Pending);
    // A changed policy weighs the same verdicts anew.
    policy.approvals_min = 1;
    registry.commit(Draft::new("lead", "rules").policy("shop", policy.clone())).unwrap();
    assert_eq!(approval(), Approval::Approved);
    policy.approvals_min = 9;
    let error = registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap_err();
    assert!(error.to_string().contains("wants 9 approvals of 3 reviewers"), "{error}");
}

#[test]
fn gates_are_checked_inside_the_commit() {
    let registry = Registry::open("memory:").unwrap();
    let mut policy = Policy::default();
    let better =
        Gate::Better { name: "auc".into(), than: "champion".into(), higher_is_better: true, margin: 0.01 };
    let gates = vec![
        Gate::metric_at_least("auc", 0.8),
        better,
        Gate::metric_at_most("bias.dpl", 0.1),
        Gate::metric_at_most("drift.psi", 0.25),
        Gate::Approved,
        Gate::Signature,
        Gate::SameSignature { alias: "champion".into() },
        Gate::Lineage,
        Gate::Baseline,
        Gate::Tag { name: "card".into(), value: "read".into() },
    ];
    policy.gates.insert("champion".into(), gates);
    registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap();
    let bare = register(&registry, "shop", "bare").unwrap();
    refused(
        &registry,
        Draft::new("ann", "go").alias("champion", &bare, None),
        "auc is missing, wanted at least 0.8; bias.dpl is missing, wanted at most 0.1; drift.psi is missing, wanted \
         at most 0.25; approval is pending; signature is not recorded; lineage lacks [run, data, code]; baseline is \
         missing; tag card is \"\", wanted \"read\"",
    );
    // The alias has no gates of another alias.
    registry.commit(Draft::new("ann", "try").alias("challenger", &bare, None)).unwrap();
    let full = |auc: f64| {
        let version = NewVersion::new("shop")
            .file("model.bin", auc.to_string())
            .metric("auc", auc)
            .metric("bias.dpl", 0.05)
            .signature(ModelSignature {
                inputs: vec![TensorSpec::batch("x", ElementType::F32, 2)],
                outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
            })
            .run("r")
            .data("train", Digest::of("rows"))
            .code("c")
            .baseline("b")
            .tag("card", "read");
        let receipt = registry.commit(Draft::new("trainer", "full").register(version)).unwrap();
        let id = receipt.version().unwrap().clone();
        registry.commit(Draft::new("monitor", "last week").measure(&id, "drift.psi", 0.1)).unwrap();
        id
    };
    let first = full(0.9);
    // An approval earlier in the same commit counts.
    registry.commit(Draft::new("ann", "go").approve(&first).alias("champion", &first, None)).unwrap();
    let second = full(0.905);
    let promote = |id| Draft::new("ann", "go").approve(id).alias("champion", id, Expect::Any);
    refused(&registry, promote(&second), "auc is 0.905, that of shop/2 is 0.9, wanted a gain of 0.01");
    assert_eq!(registry.state().version(&second).unwrap().approval, Approval::Pending, "all or none");
    let third = full(0.95);
    registry.commit(promote(&third)).unwrap();
    let dry: Vec<_> = registry.state().gates("shop", "champion", second.version).unwrap();
    assert_eq!(dry.iter().filter(|gate| !gate.passed).count(), 2);
    // One that served before faces the gates of now; to roll back is always possible.
    refused(&registry, promote(&first), "that of shop/4 is 0.95");
    let served = registry.state().model("shop").unwrap().aliases["champion"].moves[0].by.sequence;
    registry.commit(Draft::new("ann", "third is slow").roll_back("shop", At::Sequence(served))).unwrap();
    assert_eq!(registry.state().alias("shop", "champion").unwrap().id(), &first);
    let draft = Draft::new("m", "x").measure(&first, "auc", 1.0);
    refused(&registry, draft, "was recorded when it was registered");
}

#[test]
fn gates_that_came_later_hold_for_those_who_served_before() {
    let registry = Registry::open("memory:").unwrap();
    let (first, second) =
        (register(&registry, "shop", "1").unwrap(), register(&registry, "shop", "2").unwrap());
    for id in [&first, &second] {
        registry.commit(Draft::new("ann", "go").alias("champion", id, Expect::Any)).unwrap();
    }
    let mut policy = Policy::default();
    policy.gates.insert("champion".into(), vec![Gate::Approved]);
    registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap();
    refused(&registry, Draft::new("ann", "go").alias("champion", &first, Expect::Any), "approval is pending");
    // A change that says that it goes back to where the alias never pointed is none.
    let third = register(&registry, "shop", "3").unwrap();
    let forged = Change::MoveAlias {
        model: "shop".into(),
        alias: "champion".into(),
        expect: Expect::Any,
        to: Some(third.version),
        back: true,
    };
    refused(&registry, Draft::new("ann", "go").change(forged), "approval is pending");
    registry.commit(Draft::new("ann", "2 is slow").roll_back("shop", At::Sequence(3))).unwrap();
    let error = registry.commit(Draft::new("ann", "again").roll_back("shop", At::Sequence(3))).unwrap_err();
    assert!(error.to_string().contains("nothing to roll back"), "{error}");
}

#[test]
fn of_two_who_change_a_policy_one_is_told() {
    let registry = Registry::open("memory:").unwrap();
    let rules = || Draft::new("lead", "rules");
    registry.commit(rules().absent("shop").policy("shop", Policy::default())).unwrap();
    refused(
        &registry,
        rules().absent("shop").policy("shop", Policy::default()),
        "there is a model `shop` already",
    );
    let state = registry.snapshot();
    let read = state.model("shop").unwrap();
    let with = |gate: Gate| {
        let mut policy = read.policy.clone();
        policy.gates.entry("champion".into()).or_default().push(gate);
        rules().unchanged(read).policy("shop", policy)
    };
    registry.commit(with(Gate::Approved).key("once")).unwrap();
    refused(&registry, with(Gate::Lineage), "changed since it was read");
    assert!(registry.commit(with(Gate::Approved).key("once")).unwrap().replayed, "a second try is no other");
    // Versions and aliases are not part of it.
    let state = registry.snapshot();
    register(&registry, "shop", "1").unwrap();
    let draft = rules().unchanged(state.model("shop").unwrap()).policy("shop", Policy::default());
    registry.commit(draft).unwrap();
}

#[test]
fn an_approval_that_cannot_be_reached_is_said() {
    let registry = Registry::open("memory:").unwrap();
    let mut policy = Policy::default();
    policy.approvals_min = 2;
    policy.four_eyes = true;
    policy.reviewers = ["ann", "trainer"].map(String::from).into();
    policy.gates.insert("champion".into(), vec![Gate::Approved]);
    registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("ann", "good").approve(&id)).unwrap();
    refused(
        &registry,
        Draft::new("ann", "go").alias("champion", &id, None),
        "approval is pending and cannot be reached: 1 of the 2 reviewers may approve what `trainer` registered, wanted 2",
    );
}

#[test]
fn stages_follow_their_table() {
    let registry = Registry::open("memory:").unwrap();
    let mut policy = Policy::default();
    policy.stages = Some(Stages::new("dev").allow("dev", "staging").allow("staging", "production"));
    registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap();
    register(&registry, "shop", "1").unwrap();
    let step = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        Draft::new("ann", "on").change(Change::MoveStage { model: "shop".into(), version: 1, from, to })
    };
    refused(
        &registry,
        step("dev", "production"),
        "stage `production` cannot follow on `dev`: it leads to [staging]",
    );
    registry.commit(step("dev", "staging")).unwrap();
    refused(&registry, step("dev", "staging"), "is in stage `staging`, expected was `dev`");
    assert_eq!(registry.state().search(&Query::new().stage("staging")).len(), 1);
    register(&registry, "bare", "1").unwrap();
    let draft = Draft::new("ann", "on").stage(&ModelVersion::new("bare", 1), "dev", "staging");
    invalid(&registry, draft, "`bare` has no stages: set them by `Policy::stages`");
}

#[test]
fn rules_that_ask_for_nothing_are_refused() {
    let registry = Registry::open("memory:").unwrap();
    let rules = |policy| Draft::new("lead", "rules").policy("shop", policy);
    invalid(&registry, rules(Policy::default().approvals_min(0)), "wants 0 approvals");
    let stages = |stages: Stages| rules(Policy::default().stages(stages));
    let gap = Stages::new("dev").allow("dev", "test").allow("staging", "live");
    invalid(&registry, stages(gap), "stage `staging` of `shop` can never be reached from `dev`");
    // A stage that is given up leads out as long as somebody is in it.
    registry.commit(stages(Stages::new("dev").allow("dev", "old"))).unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("ann", "on").stage(&id, "dev", "old")).unwrap();
    let retired = || Policy::default().stages(Stages::new("dev").allow("old", "dev"));
    registry.commit(rules(retired())).unwrap();
    registry.commit(Draft::new("ann", "back").stage(&id, "old", "dev")).unwrap();
    // The same stages stay good when nobody is in it any more, with other rules too; once they are others, no more.
    registry.commit(rules(retired().gate("champion", Gate::Approved))).unwrap();
    registry.commit(stages(Stages::new("dev"))).unwrap();
    invalid(&registry, rules(retired()), "stage `old` of `shop` can never be reached from `dev`");
}

#[test]
fn a_commit_is_not_judged_by_rules_that_it_brings_along() {
    let registry = Registry::open("memory:").unwrap();
    let rules = Policy::default().four_eyes().gate("champion", Gate::Approved).stages(Stages::new("dev"));
    // Who makes a model sets its rules; what comes after is judged by them.
    let version = || NewVersion::new("shop").file("m", "1");
    registry.commit(Draft::new("trainer", "new").policy("shop", rules.clone()).register(version())).unwrap();
    let id = ModelVersion::new("shop", 1);
    let weak = || Draft::new("trainer", "x").policy("shop", Policy::default());
    let past = "cannot set the policy of `shop` and then";
    refused(&registry, weak().approve(&id).alias("champion", &id, Expect::Any), past);
    refused(&registry, weak().alias("champion", &id, Expect::Any), "then point shop@champion at shop/1: ");
    let open = Policy::default().stages(Stages::new("production").allow("dev", "production"));
    let open = || Draft::new("trainer", "x").policy("shop", open.clone());
    refused(&registry, open().stage(&id, "dev", "production"), past);
    refused(&registry, open().register(version()).policy("shop", rules.clone()), past);
    // Another name hides nothing, and a rejection needs no policy to hold.
    let renamed =
        weak().rename_model("shop", "store").alias("champion", &ModelVersion::new("store", 1), Expect::Any);
    refused(&registry, renamed, "cannot set the policy of `store` and then");
    let other = register(&registry, "other", "1").unwrap();
    registry.commit(Draft::new("ann", "bad").reject(&other)).unwrap();
    let mine = Policy::default().reviewers(["eve"]);
    let draft = Draft::new("eve", "x").policy("other", mine);
    refused(&registry, draft.alias("champion", &other, Expect::Any), "cannot set the policy of `other`");
    // Before the new rules the old ones judge, and the same rules again are no others.
    registry.commit(Draft::new("ann", "good").policy("shop", rules).approve(&id)).unwrap();
    registry
        .commit(Draft::new("ann", "go").alias("champion", &id, Expect::Any).policy("shop", Policy::default()))
        .unwrap();
}

#[test]
fn versions_that_were_there_before_the_stages_are_in_the_first() {
    let registry = Registry::open("memory:").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    let other = register(&registry, "shop", "2").unwrap();
    let stages =
        |stages: Stages| Draft::new("lead", "rules").policy("shop", Policy::default().stages(stages));
    registry.commit(stages(Stages::new("dev").allow("dev", "staging"))).unwrap();
    assert_eq!(registry.state().search(&Query::new().stage("dev")).len(), 2);
    assert_eq!(registry.state().card(&id).unwrap().stage.as_deref(), Some("dev"));
    let step = |from, to| Draft::new("ann", "on").stage(&id, from, to);
    refused(&registry, step("staging", "dev"), "is in stage `dev`, expected was `staging`");
    registry.commit(step("dev", "staging")).unwrap();
    assert_eq!(registry.state().search(&Query::new().stage("dev")).len(), 1);
    // A table that forgets the stage of somebody would keep it there for ever.
    refused(
        &registry,
        stages(Stages::new("test")),
        "the new stages of `shop` do not name `staging`, in which shop/1 is: allow a move from there, as in \
         `.allow(\"staging\", \"test\")`",
    );
    registry.commit(stages(Stages::new("test").allow("staging", "test"))).unwrap();
    assert_eq!(
        registry.state().model("shop").unwrap().stage_of(registry.state().version(&other).unwrap()),
        Some("test")
    );
    registry.commit(step("staging", "test")).unwrap();
}

#[test]
fn better_is_not_equal_and_gates_do_not_contradict_each_other() {
    let registry = Registry::open("memory:").unwrap();
    let rules = |gate| Draft::new("lead", "rules").policy("shop", Policy::default().gate("champion", gate));
    registry.commit(rules(Gate::better("auc", "champion", 0.0))).unwrap();
    let version = |auc: f64| {
        let version = NewVersion::new("shop").file("m", "weights").metric("auc", auc);
        registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone()
    };
    let promote = |id: &ModelVersion| Draft::new("ann", "go").alias("champion", id, Expect::Any);
    let first = version(0.9);
    registry.commit(promote(&first)).unwrap();
    // What serves is not compared with itself: a job that promotes it again, and its card, find nothing wrong.
    registry.commit(promote(&first)).unwrap();
    let gates = registry.state().gates("shop", "champion", first.version).unwrap();
    assert!(gates[0].passed && gates[0].detail.contains("points at it"), "{}", gates[0]);
    let same = version(0.9);
    refused(&registry, promote(&same), "auc is 0.9, that of shop/1 is 0.9, wanted a gain");
    registry.commit(promote(&version(0.9001))).unwrap();
    registry.commit(rules(Gate::better("auc", "champion", -0.01))).unwrap();
    registry.commit(promote(&same)).unwrap();
    // A gain that is the margin as people write it.
    registry.commit(rules(Gate::better("auc", "champion", 0.2))).unwrap();
    let third = version(0.1);
    let gain = |theirs: &ModelVersion, ours: &ModelVersion| {
        registry.commit(Draft::new("ann", "other").alias("other", theirs, Expect::Any)).unwrap();
        registry.commit(rules(Gate::better("auc", "other", 0.2))).unwrap();
        registry.state().gates("shop", "champion", ours.version).unwrap().remove(0).passed
    };
    assert!(gain(&third, &version(0.3)) && !gain(&third, &version(0.2999)));
    let limits = Gate::Metric { name: "auc".into(), at_least: Some(0.9), at_most: Some(0.1) };
    let apart = Policy::default()
        .gate("a", Gate::metric_at_least("auc", 0.9))
        .gate("b", Gate::metric_at_most("auc", 0.1));
    let both = apart.clone().gate("a", Gate::metric_at_most("auc", 0.8));
    for policy in [Policy::default().gate("champion", limits), both] {
        let error = registry.commit(Draft::new("lead", "x").policy("shop", policy)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("want `auc` to be at least 0.9 and at most 0."), "{error}");
    }
    registry.commit(Draft::new("lead", "x").policy("shop", apart)).unwrap();
}

#[test]
fn an_evaluation_is_judged_with_its_standard_errors() {
    use mlops_core::evaluation::{self, Evaluation, Metric, Reference, Rule};
    let registry = Registry::open("memory:").unwrap();
    let rules = evaluation::Gate::new([
        Rule::at_least("roc_auc", 0.8).on("visitor=new"),
        Rule::better_than("roc_auc", Reference::Champion, 0.0).proven(0.95).skip_without_reference(),
    ]);
    let mut policy = Policy::default();
    let gate = Gate::Evaluation { rules: rules.unwrap(), champion: Some("champion".into()) };
    policy.gates.insert("champion".into(), vec![gate]);
    registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap();
    let register = |evaluation: Option<Evaluation>| {
        let mut version = NewVersion::new("shop").file("model.bin", format!("{evaluation:?}"));
        if let Some(evaluation) = evaluation {
            version = version.evaluation(evaluation);
        }
        let receipt = registry.commit(Draft::new("trainer", "x").register(version)).unwrap();
        receipt.version().unwrap().clone()
    };
    let auc = |value: f64, error: f64, new: f64| {
        Evaluation::new(5000).with("roc_auc", Metric::new(value).with_std_error(Some(error))).with_slice(
            "visitor=new",
            500,
            [("roc_auc", Metric::new(new))],
        )
    };
    let promote = |id: &ModelVersion| Draft::new("ann", "go").alias("champion", id, Expect::Any);
    let first = register(Some(auc(0.90, 0.004, 0.85)));
    registry.commit(promote(&first)).unwrap();
    for (evaluation, why) in [
        (None, "the evaluation is missing"),
        (Some(auc(0.99, 0.001, 0.7)), "roc_auc on visitor=new at least 0.8"),
        (Some(auc(0.91, 0.02, 0.85)), "roc_auc better than the champion's"),
    ] {
        refused(&registry, promote(&register(evaluation)), why);
    }
    let better = register(Some(auc(0.95, 0.004, 0.85)));
    registry.commit(promote(&better)).unwrap();
    registry.commit(promote(&better)).unwrap();
    let card = registry.snapshot().card(&better).unwrap().to_markdown();
    assert!(card.contains("| roc\\_auc on visitor=new | 0.85 (500 rows) |"), "{card}");
    assert!(card.contains("| roc\\_auc | 0.95 ± 0.004 (5000 rows) |"), "{card}");
}

#[test]
fn gates_tell_what_they_want_and_what_they_found() {
    let registry = Registry::open("memory:").unwrap();
    let gates = [
        Gate::Approved,
        Gate::metric_at_least("auc", 0.9),
        Gate::better("auc", "champion", 0.01),
        Gate::Tag { name: "market".into(), value: "eu".into() },
        Gate::Lineage,
    ];
    let policy = gates.into_iter().fold(Policy::default(), |policy, gate| policy.gate("champion", gate));
    registry.commit(Draft::new("lead", "rules").policy("shop", policy)).unwrap();
    let version = NewVersion::new("shop").file("m", "x").metric("auc", 0.95).run("r").code("c");
    let version = version.data("train", Digest::of("rows"));
    registry.commit(Draft::new("t", "x").register(version)).unwrap();
    let told: Vec<_> =
        registry.snapshot().gates("shop", "champion", 1).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "failed: approved: approval is pending",
            "passed: auc at least 0.9: auc is 0.95, wanted at least 0.9",
            "passed: auc above that at champion by 0.01: shop@champion points at nothing",
            "failed: tag market=eu: tag market is \"\", wanted \"eu\"",
            "passed: lineage recorded: lineage is recorded",
        ]
    );
    // A number is no alias, and an alias that never was is not called moved.
    let id = ModelVersion::new("shop", 1);
    let error = registry.commit(Draft::new("ann", "x").alias("7", &id, Expect::Any)).unwrap_err();
    assert!(error.to_string().contains("`7` cannot name an alias: it reads as a version"), "{error}");
    let moved = Draft::new("ann", "x").alias("other", &id, Expect::Version(3));
    refused(&registry, moved, "expected was shop/3: it never existed");
}

#[test]
fn one_commit_gives_one_verdict_on_a_version() {
    let registry = Registry::open("memory:").unwrap();
    let (first, second) =
        (register(&registry, "shop", "1").unwrap(), register(&registry, "shop", "2").unwrap());
    let error = registry.commit(Draft::new("ann", "x").approve(&first).reject(&first)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("shop/1 is reviewed twice in one commit"), "{error}");
    registry.commit(Draft::new("ann", "x").approve(&first).reject(&second)).unwrap();
}

#[test]
fn a_deleted_version_is_not_stranded_either() {
    let registry = Registry::open("memory:").unwrap();
    let stages =
        |stages: Stages| Draft::new("lead", "rules").policy("shop", Policy::default().stages(stages));
    registry.commit(stages(Stages::new("dev").allow("dev", "staging"))).unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("ann", "go").stage(&id, "dev", "staging")).unwrap();
    registry.commit(Draft::new("ann", "old").delete(&id)).unwrap();
    refused(
        &registry,
        stages(Stages::new("dev").allow("dev", "live")),
        "do not name `staging`, in which shop/1 is",
    );
    registry.commit(Draft::new("ann", "never again").purge(&id)).unwrap();
    registry.commit(stages(Stages::new("dev").allow("dev", "live"))).unwrap();
}
