//! Models that are renamed or deleted while others work on them, and what was before.

use std::time::Duration;

use mlops_core::{Digest, Error, ErrorKind, ModelVersion};
use mlops_registry::blocking::Registry;
use mlops_registry::{At, Draft, Expect, NewVersion, Snapshot};

use crate::faulty::now;
use crate::races::overtaken;
use crate::support::{open, register};

fn draft() -> Draft {
    Draft::new("ann", "why")
}

fn id(model: &str, version: u64) -> ModelVersion {
    ModelVersion::new(model, version)
}

/// What comes of a draft that somebody else's draft overtakes, on a model `shop` with two versions.
fn after(theirs: Draft, mine: Draft) -> Result<std::sync::Arc<Snapshot>, Error> {
    let (registry, log) = overtaken();
    for content in ["1", "2"] {
        now(registry.commit(draft().register(NewVersion::new("shop").file("m", content)))).unwrap();
    }
    log.by([theirs]);
    now(registry.commit(mine))?;
    assert_eq!(registry.snapshot().sequence(), 4);
    Ok(registry.snapshot())
}

#[test]
fn what_a_rename_overtakes_goes_on_under_the_new_name() {
    let renamed = || Draft::new("bob", "two shops").rename_model("shop", "store");
    let new = |model: &str| draft().register(NewVersion::new(model).file("m", "new"));
    let state = after(renamed(), new("shop")).unwrap();
    assert_eq!(state.model("store").unwrap().versions.len(), 3);
    let alias = draft().alias("champion", &id("shop", 2), Expect::Absent);
    assert_eq!(after(renamed(), alias).unwrap().alias("store", "champion").unwrap().id(), &id("store", 2));
    let delete = draft().delete(&id("shop", 1));
    assert!(after(renamed(), delete).unwrap().version(&id("store", 1)).unwrap().deleted.is_some());
    let delete = draft().delete_model("shop");
    assert!(after(renamed(), delete).unwrap().model("store").unwrap().deleted.is_some());
    let child = draft().register(NewVersion::new("tuned").file("m", "t").parent(id("shop", 1)));
    let state = after(renamed(), child).unwrap();
    assert_eq!(state.version(&id("tuned", 1)).unwrap().record.parents, [id("store", 1)]);
    // Whoever asks for a new model of that name does not get into the renamed one, if it says so.
    assert_eq!(after(renamed(), new("store")).unwrap().model("shop").unwrap().versions.len(), 3);

    for (theirs, mine, why) in [
        (renamed(), new("store").absent("store"), "there is a model `store` already"),
        (
            renamed(),
            draft().rename_model("shop", "market"),
            "was renamed by bob (two shops) and is `store` now",
        ),
        (
            renamed(),
            draft().rename_model("shop", "store"),
            "was renamed by bob (two shops) and is `store` now",
        ),
        (
            Draft::new("bob", "closed").delete_model("shop"),
            renamed(),
            "model `shop` was deleted by bob (closed)",
        ),
        (new("store"), renamed(), "model `shop` cannot be named `store`: there is a model of that name"),
        (
            Draft::new("bob", "go").alias("champion", &id("shop", 1), Expect::Absent),
            draft().delete_model("shop"),
            "shop@champion points at shop/1",
        ),
    ] {
        let error = after(theirs, mine).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn names_that_come_and_go_are_told_once() {
    let registry = Registry::open("memory:").unwrap();
    register(&registry, "a", "1").unwrap();
    let promote = |model: &str| draft().key("go").alias("champion", &id(model, 1), Expect::Absent);
    registry.commit(promote("a")).unwrap();
    for (from, to, former) in [
        ("a", "b", &["a"][..]),
        ("b", "a", &["b"]),
        ("a", "b", &["a"]),
        ("b", "c", &["a", "b"]),
        ("c", "a", &["b", "c"]),
        ("a", "d", &["b", "c", "a"]),
    ] {
        registry.commit(draft().rename_model(from, to)).unwrap();
        let state = registry.snapshot();
        let model = state.model("a").unwrap();
        assert_eq!(model.name, to);
        assert!(model.former.iter().map(|former| &*former.name).eq(former.iter().copied()), "{from} -> {to}");
        assert_eq!(model.former.last().unwrap().until.sequence, state.sequence());
        // A request is the same by any of its names, before a checkpoint and after it.
        assert!(registry.commit(promote(to)).unwrap().replayed);
        let checkpoint = Snapshot::from_checkpoint(state.sequence(), &state.to_checkpoint().unwrap());
        assert_eq!(checkpoint.as_ref(), Some(&*state));
    }
}

/// Earlier builds noted a name each time that it was lost, the present one too.
#[test]
fn a_checkpoint_with_names_that_came_back_is_the_same_state() {
    let registry = Registry::open("memory:").unwrap();
    register(&registry, "a", "1").unwrap();
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
        registry.commit(draft().rename_model(from, to)).unwrap();
    }
    let state = registry.snapshot();
    let checkpoint = String::from_utf8(state.to_checkpoint().unwrap()).unwrap();
    let (_, body) = checkpoint.split_once('\n').unwrap();
    let earlier = body.replace("\"former\":[[\"a\",", "\"former\":[[\"a\",0],[\"b\",0],[\"a\",");
    assert_ne!(earlier, body);
    let head = format!("{{\"format\":3,\"sequence\":4,\"sha256\":\"{}\"}}\n", Digest::of(&earlier));
    assert_eq!(Snapshot::from_checkpoint(4, (head + &earlier).as_bytes()).as_ref(), Some(&*state));
}

#[test]
fn roll_backs_reach_past_a_rename_and_leave_deleted_models_alone() {
    for name in ["shop", "store"] {
        let registry = Registry::open("memory:").unwrap();
        for model in ["gone", "shop"] {
            register(&registry, model, "1").unwrap();
            registry.commit(draft().alias("champion", &id(model, 1), Expect::Absent)).unwrap();
        }
        let then = At::Sequence(registry.snapshot().sequence());
        register(&registry, "shop", "2").unwrap();
        registry.commit(draft().rename_model("shop", "store")).unwrap();
        registry.commit(draft().alias("champion", &id(name, 2), Expect::Version(1))).unwrap();
        let closing = draft().remove_alias("gone", "champion", Expect::Any).delete_model("gone");
        registry.commit(closing.rename_model("store", "market")).unwrap();
        let champion =
            |at| registry.snapshot().served_at(name, "champion", at).unwrap().unwrap().id().clone();
        assert_eq!((champion(then), champion(At::Sequence(7))), (id("market", 1), id("market", 2)));
        for back in [draft().roll_back(name, then), draft().roll_back_alias(name, "champion", then)] {
            registry.commit(back).unwrap();
            assert_eq!(registry.snapshot().alias(name, "champion").unwrap().id(), &id("market", 1));
            registry.commit(draft().alias("champion", &id(name, 2), Expect::Version(1))).unwrap();
        }
        registry.commit(draft().roll_back_all(then)).unwrap();
        let state = registry.snapshot();
        assert_eq!(state.alias(name, "champion").unwrap().id(), &id("market", 1));
        assert!(state.alias("gone", "champion").is_none());
        // Restored, it goes back too.
        registry.commit(draft().restore_model("gone")).unwrap();
        registry.commit(draft().roll_back_all(then)).unwrap();
        assert_eq!(registry.snapshot().alias("gone", "champion").unwrap().id(), &id("gone", 1));
    }
}

#[test]
fn a_future_entry_is_no_point_in_the_past() {
    let registry = Registry::open("memory:").unwrap();
    let first = register(&registry, "shop", "1").unwrap();
    registry.commit(draft().alias("champion", &first, Expect::Absent)).unwrap();
    let state = registry.snapshot();
    assert_eq!(state.served_at("shop", "champion", At::Sequence(2)).unwrap().unwrap().id(), &first);
    let errors = [
        state.served_at("shop", "champion", At::Sequence(999)).unwrap_err(),
        state.moves_back(None, At::Sequence(3)).unwrap_err(),
        registry.commit(draft().roll_back("shop", At::Sequence(999))).unwrap_err(),
        registry.commit(draft().roll_back_alias("shop", "champion", At::Sequence(999))).unwrap_err(),
        registry.commit(draft().roll_back_all(At::Sequence(999))).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("its last one is 2"), "{error}");
    }
}

#[test]
fn a_sweep_leaves_what_deleted_and_renamed_models_need() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    for (model, content) in [("gone", "1"), ("gone", "2"), ("shop", "3"), ("shop", "1"), ("shop", "4")] {
        register(&registry, model, content).unwrap();
    }
    registry.commit(draft().rename_model("shop", "store").delete_model("gone")).unwrap();
    let sweep = || registry.sweep("ann", "disk", Duration::ZERO).unwrap();
    assert_eq!(sweep().uploads, 0, "what is deleted may come back");
    // The files of a deleted model that are purged go, unless another model has the same bytes.
    let purge = draft().purge(&id("gone", 1)).purge(&id("gone", 2));
    registry.commit(purge.delete(&id("shop", 3)).purge(&id("store", 3))).unwrap();
    assert_eq!((sweep().uploads, sweep().uploads), (2, 0));
    registry.commit(draft().restore_model("gone")).unwrap();
    let fresh = open(folder.path());
    assert_eq!(fresh.read(&id("shop", 2), "model.bin").unwrap(), "1");
    assert_eq!(fresh.read(&id("store", 1), "model.bin").unwrap(), "3");
    let error = fresh.read(&id("gone", 1), "model.bin").unwrap_err();
    assert!(error.to_string().contains("the files of gone/1 are gone: ann purged it"), "{error}");
    let mut checkup = mlops_registry::doctor::Checkup::default();
    checkup.races = 0;
    assert!(fresh.doctor(checkup).unwrap().is_healthy());
}

#[test]
fn a_copy_by_a_former_name_is_a_copy_of_the_model() {
    let (staging, production) = (Registry::open("memory:").unwrap(), Registry::open("memory:").unwrap());
    register(&staging, "shop", "1").unwrap();
    let copy = |model: &str| staging.copy_of(&id(model, 1), "copied").unwrap();
    production.commit(draft().key("copy").register(copy("shop"))).unwrap();
    staging.commit(draft().key("copy").register(copy("shop"))).unwrap();
    staging.commit(draft().rename_model("shop", "store")).unwrap();
    // It is the same request by either name, here as there.
    for name in ["shop", "store"] {
        assert!(production.commit(draft().key("copy").register(copy(name))).unwrap().replayed);
        assert!(staging.commit(draft().key("copy").register(copy(name))).unwrap().replayed);
        for registry in [&staging, &production] {
            let receipt = registry.commit(draft().register(copy(name))).unwrap();
            let state = registry.snapshot();
            let copied = state.version(receipt.version().unwrap()).unwrap();
            assert_eq!(copied.record.copy_of.as_ref().unwrap().version, id("store", 1));
        }
    }
    let lineage = staging.snapshot().lineage(&id("shop", 1)).unwrap();
    assert_eq!(lineage.descendants, (1..=3).map(|version| id("copied", version)).collect());
}

#[test]
fn a_cache_holds_one_version_of_a_model_by_whatever_name() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |bytes_max| {
        let builder = mlops_registry::Registry::builder().cache(cache.path(), bytes_max);
        Registry::open_with(builder, folder.path().to_str().unwrap()).unwrap()
    };
    let registry = open(0);
    for content in ["1", "2"] {
        register(&registry, "shop", content).unwrap();
    }
    registry.fetch(&id("shop", 1)).unwrap();
    registry.commit(draft().rename_model("shop", "store")).unwrap();
    let cached = || crate::support::tree(cache.path()).len();
    assert_eq!(cached(), 1);
    // What was held by the former name is given up for what is fetched by the new one.
    registry.fetch(&id("store", 2)).unwrap();
    assert_eq!(cached(), 1);
    registry.fetch(&id("shop", 1)).unwrap();
    assert_eq!(cached(), 1);
}
