//! What is told of versions: searches, lineage, cards.

use std::time::Duration;

use mlops_core::{Digest, ManualClock, ModelVersion, Timestamp};
use mlops_registry::blocking::Registry;
use mlops_registry::{Approval, Draft, NewVersion, Query};

use crate::support::{refused, register};

#[test]
fn versions_are_found_by_what_is_known_of_them() {
    let clock = std::sync::Arc::new(ManualClock::new(Timestamp::EPOCH));
    let registry =
        Registry::open_with(mlops_registry::Registry::builder().clock(clock.clone()), "memory:").unwrap();
    for (model, auc, market) in
        [("shop", 0.9, "eu"), ("shop", 0.8, "us"), ("shop/small", 0.7, "eu"), ("fraud", 0.6, "eu")]
    {
        clock.advance(Duration::from_secs(10));
        let version = NewVersion::new(model)
            .file("model.bin", market)
            .metric("auc", auc)
            .tag("market", market)
            .run(format!("run {auc}"))
            .description(format!("For the {market} Market"))
            .data("train", Digest::of(market));
        registry.commit(Draft::new(format!("trainer-{market}"), "x").register(version)).unwrap();
    }
    let parent = ModelVersion::new("shop", 1);
    let child = NewVersion::new("shop").file("model.bin", "child").parent(parent.clone());
    registry.commit(Draft::new("t", "x").register(child)).unwrap();
    registry.commit(Draft::new("t", "x").alias("champion", &parent, None).approve(&parent)).unwrap();
    registry.commit(Draft::new("t", "x").delete(&ModelVersion::new("shop", 2))).unwrap();
    let state = registry.snapshot();
    let check = |query: Query, expect: &[&str]| {
        let found: Vec<_> = state.search(&query).iter().map(|version| version.id().to_string()).collect();
        assert_eq!(found, expect, "{query:?}");
    };
    let second = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    check(Query::new(), &["fraud/1", "shop/1", "shop/3", "shop/small/1"]);
    check(Query::new().with_deleted().model("shop"), &["shop/1", "shop/2", "shop/3"]);
    check(Query::new().model_prefix("shop").tag("market", "eu"), &["shop/1", "shop/small/1"]);
    check(Query::new().tagged("market").metric("auc", ..0.65), &["fraud/1"]);
    check(Query::new().metric("auc", f64::NAN..), &[]);
    check(Query::new().registered(second(30)..second(40)), &["shop/small/1"]);
    check(Query::new().alias("champion"), &["shop/1"]);
    check(Query::new().approval(Approval::Approved), &["shop/1"]);
    check(Query::new().actor("trainer-eu").newest_first().limit(2), &["fraud/1", "shop/small/1"]);
    check(Query::new().parent(parent.clone()), &["shop/3"]);
    check(Query::new().run("run 0.6"), &["fraud/1"]);
    check(Query::new().data(Digest::of("us")).with_deleted(), &["shop/2"]);
    check(Query::new().file(Digest::of("child")), &["shop/3"]);
    check(Query::new().text("EU market").best_first("auc", false), &["fraud/1", "shop/small/1", "shop/1"]);
    check(Query::new().best_first("auc", true), &["shop/1", "shop/small/1", "fraud/1", "shop/3"]);
    check(Query::new().model("../etc"), &[]);
}

#[test]
fn lineage_and_card_tell_what_is_recorded_and_nothing_else() {
    let registry = Registry::open("memory:").unwrap();
    let base = register(&registry, "base", "1").unwrap();
    let middle = NewVersion::new("shop")
        .file("model.bin", "2")
        .parent(base.clone())
        .run("<script>alert(1)</script>")
        .data("train", Digest::of("rows"))
        .metric("auc", 0.9)
        .description("# not a heading | [not a link](x) https://x.y @ann");
    let middle = registry.commit(Draft::new("t", "x").register(middle)).unwrap().version().unwrap().clone();
    let leaf = NewVersion::new("leaf").file("model.bin", "3").parent(middle.clone());
    let leaf = registry.commit(Draft::new("t", "x").register(leaf)).unwrap().version().unwrap().clone();
    registry.commit(Draft::new("ann", "fine").approve(&middle).alias("champion", &middle, None)).unwrap();
    let state = registry.snapshot();
    let lineage = state.lineage(&middle).unwrap();
    assert_eq!(lineage.ancestors, [base.clone()].into());
    assert_eq!(lineage.descendants, [leaf.clone()].into());
    assert_eq!(state.lineage(&base).unwrap().descendants, [leaf, middle.clone()].into());
    let drawing = lineage.to_mermaid();
    assert!(drawing.contains("<b>shop/1</b>") && !drawing.contains("<script>"), "{drawing}");

    let card = state.card(&middle).unwrap();
    assert_eq!(card.aliases, ["champion"]);
    let page = card.to_markdown();
    for part in [
        "# shop/1\n",
        "| Approval | approved |",
        "| auc | 0.9 |",
        "| ann | approved on",
        "\\# not a heading \\| \\[not a link\\](x) https&#58;//x.y &#64;ann",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script>"));
    let json = serde_json::to_value(&card).unwrap();
    assert_eq!(json["metrics"]["auc"], 0.9);
}

#[test]
fn a_card_tells_what_became_of_a_version() {
    use mlops_registry::{Expect, Gate, Policy};
    let registry = Registry::open("memory:").unwrap();
    let commit = |draft: Draft| registry.commit(draft).unwrap();
    let why = |reason: &str| Draft::new("ann", reason);
    let ids: Vec<_> = ["1", "2"].map(|content| register(&registry, "shop", content).unwrap()).into();
    commit(why("words").describe_model("shop", "Buys or not", [("team", "growth")]));
    commit(why("rules").policy("shop", Policy::default().gate("champion", Gate::metric_at_most("psi", 0.2))));
    commit(why("numbers").measure(&ids[0], "psi", 0.1).measure(&ids[1], "psi", 0.15));
    for (id, reason) in
        [(&ids[0], "first"), (&ids[0], "again"), (&ids[1], "second"), (&ids[0], "third"), (&ids[1], "last")]
    {
        commit(why(reason).alias("champion", id, Expect::Any));
    }
    commit(why("new name").rename_model("shop", "store"));
    commit(Draft::new("bob", "too old").delete(&ids[0]).purge(&ids[0]).measure(&ids[1], "psi", 0.5));
    let state = registry.snapshot();
    let card = state.card(&ids[0]).unwrap();
    let spans: Vec<_> = card
        .served
        .iter()
        .map(|span| {
            (span.alias.as_str(), span.from.reason.as_str(), span.until.as_ref().map(|by| by.reason.as_str()))
        })
        .collect();
    assert_eq!(spans, [("champion", "first", Some("second")), ("champion", "third", Some("last"))]);
    let now = state.card(&ids[1]).unwrap();
    assert_eq!(now.served.len(), 2);
    assert!(now.served[1].until.is_none());
    assert!(!now.gates["champion"][0].passed);
    let page = card.to_markdown();
    for part in [
        "| Can serve | no: its files are gone |",
        "| Signature | not recorded |",
        "| Former names | shop |",
        "| Deleted by | bob on",
        "| Files given up by | bob on",
        "| team | growth |",
        "; until ann on",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = now.to_markdown();
    for part in ["| champion | failed: psi at most 0.2: psi is 0.5", "until now |"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let json = serde_json::to_value(&card).unwrap();
    assert_eq!(json["purged"]["actor"], "bob");
    assert!(
        json["signature"]["inputs"].is_array() && json["gates"]["champion"][0]["passed"] == true,
        "{json}"
    );
    commit(why("poor").reject(&ids[1]));
    let rejected = registry.snapshot().card(&ids[1]).unwrap().to_markdown();
    assert!(
        rejected.contains("| Can serve | no alias can be pointed at it: it was rejected |"),
        "{rejected}"
    );
    commit(why("alone").remove_alias("store", "champion", Expect::Any).delete_model("store"));
    assert!(!page.contains("Can serve"), "{page}");
    let card = registry.snapshot().card(&ids[1]).unwrap();
    assert!(card.to_markdown().contains("| Can serve | no: it is deleted, and no alias"));
    assert_eq!(card.model_deleted.unwrap().reason, "alone");
}

#[test]
fn commits_are_found_by_what_they_change_by_whom_and_when() {
    use mlops_registry::{Change, CommitQuery, Expect, Policy};
    let clock = std::sync::Arc::new(ManualClock::new(Timestamp::EPOCH));
    let registry =
        Registry::open_with(mlops_registry::Registry::builder().clock(clock.clone()), "memory:").unwrap();
    let commit = |draft: Draft| {
        clock.advance(Duration::from_secs(1));
        registry.commit(draft).unwrap()
    };
    let other = register(&registry, "other", "1").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    commit(Draft::new("lead", "rules").policy("shop", Policy::default()));
    // More than a page of what nobody asks for.
    for round in 0..300 {
        commit(Draft::new("job", "fill").tag(&other, "round", round.to_string()));
    }
    commit(Draft::new("ann", "go").approve(&id).alias("champion", &id, Expect::Any));
    commit(Draft::new("lead", "stricter").policy("shop", Policy::default().four_eyes()));
    commit(Draft::new("lead", "a name").rename_model("shop", "store"));
    let last =
        commit(Draft::new("ann", "back").remove_alias("store", "champion", Expect::Any)).commit.sequence;
    let check = |query: CommitQuery, expect: &[u64]| {
        let found = registry.find_commits(&query).unwrap();
        assert_eq!(found.iter().map(|commit| commit.sequence).collect::<Vec<_>>(), expect, "{query:?}");
    };
    let of = |model: &str| CommitQuery::new().model(model);
    check(of("shop"), &[last, last - 1, last - 2, last - 3, 3, 2]);
    check(of("store").kind("set_policy"), &[last - 2, 3]);
    check(of("store").kind("set_policy").limit(1), &[last - 2]);
    check(of("store").kind("set_policy").before(last - 2), &[3]);
    check(CommitQuery::new().version(&id), &[last - 3, 2]);
    check(CommitQuery::new().alias("champion"), &[last, last - 3]);
    check(CommitQuery::new().actor("lead"), &[last - 1, last - 2, 3]);
    check(CommitQuery::new().actor("trainer"), &[2, 1]);
    check(of("other").kind("tag").limit(2), &[303, 302]);
    check(of("shop").kind("tag"), &[]);
    let second = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    check(CommitQuery::new().time(second(1)..second(3)), &[4, 3]);
    check(CommitQuery::new().before(1), &[]);
    assert_eq!(registry.find_commits(&CommitQuery::new()).unwrap().len() as u64, last);
    let error = registry.find_commits(&CommitQuery::new().kind("setpolicy")).unwrap_err();
    assert!(
        error.to_string().contains("no kind of change `setpolicy`: want one of register, review"),
        "{error}"
    );
    assert!(registry.find_commits(&of("none")).is_err());
    // The names of the kinds are those of the log.
    for commit in registry.find_commits(&CommitQuery::new()).unwrap() {
        for change in &commit.changes {
            assert_eq!(serde_json::to_value(change).unwrap()["change"], change.kind());
            assert!(Change::KINDS.contains(&change.kind()));
        }
    }
}

#[test]
fn words_change_and_versions_are_found_by_them() {
    let registry = Registry::open("memory:").unwrap();
    let commit = |draft: Draft| registry.commit(draft).unwrap();
    let new = || Draft::new("ann", "words");
    let base = NewVersion::new("base").file("m", "b").code("c1").framework("onnx");
    let base = commit(new().register(base)).version().unwrap().clone();
    let tuned = NewVersion::new("shop").file("m", "t").parent(base.clone()).code("c2").description("first");
    let tuned = commit(new().register(tuned)).version().unwrap().clone();
    let copied = commit(new().register(registry.copy_of(&tuned, "shop").unwrap())).version().unwrap().clone();
    let find = |query: Query| -> Vec<String> {
        registry.snapshot().search(&query).iter().map(|found| found.id().to_string()).collect()
    };
    assert_eq!(find(Query::new().descends_from(base.clone())), ["shop/1", "shop/2"]);
    assert_eq!(find(Query::new().descends_from(ModelVersion::new("none", 1))), [""; 0]);
    assert_eq!(find(Query::new().code("c2").skip(1)), ["shop/2"]);
    assert_eq!(find(Query::new().framework("onnx")), ["base/1"]);
    assert_eq!(find(Query::new().skip(2).limit(5)), ["shop/2"]);
    assert_eq!(find(Query::new().skip(9)), [""; 0]);
    // Words are mended; what was recorded stays.
    commit(new().describe(&tuned, "größer").tag(&tuned, "a", "b"));
    commit(new().remove_tag(&tuned, "a"));
    assert_eq!(find(Query::new().text("GRÖSSER")), [""; 0]);
    assert_eq!(find(Query::new().text("GRÖßER")), ["shop/1"]);
    let state = registry.snapshot();
    let version = state.version(&tuned).unwrap();
    assert_eq!((version.description.as_str(), version.record.description.as_str()), ("größer", "first"));
    assert!(version.tags.is_empty());
    assert!(state.card(&tuned).unwrap().to_markdown().contains("größer"));
    let bytes = state.to_checkpoint().unwrap();
    assert_eq!(mlops_registry::Snapshot::from_checkpoint(state.sequence(), &bytes).as_ref(), Some(&*state));
    commit(new().delete(&copied));
    refused(&registry, new().describe(&copied, "x"), "was deleted by ann");
}
