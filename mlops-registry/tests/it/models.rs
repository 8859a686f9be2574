//! Models that are deleted, restored and renamed: nothing that was is lost, no number is given twice.

use std::collections::BTreeSet;

use mlops_core::{ErrorKind, ModelVersion, Seed};
use mlops_registry::blocking::Registry;
use mlops_registry::{At, Draft, Expect, NewVersion, Policy, Query, Snapshot};
use rand::RngExt as _;

use crate::support::{open, register};

fn draft() -> Draft {
    Draft::new("ann", "why")
}

fn id(model: &str, version: u64) -> ModelVersion {
    ModelVersion::new(model, version)
}

#[test]
fn a_deleted_model_is_left_alone_until_it_is_restored() {
    let registry = Registry::open("memory:").unwrap();
    for content in ["1", "2"] {
        register(&registry, "shop", content).unwrap();
    }
    registry.commit(draft().alias("champion", &id("shop", 2), Expect::Absent)).unwrap();
    registry.commit(draft().describe_model("shop", "Buys or not", [("team", "growth")])).unwrap();
    let error = registry.commit(draft().delete_model("shop")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("shop@champion points at shop/2; remove the alias first"), "{error}");
    let closing = draft().remove_alias("shop", "champion", Expect::Version(2)).delete_model("shop");
    registry.commit(closing).unwrap();

    // Whoever looks for what there is does not find it; whoever names it does.
    let state = registry.snapshot();
    assert!(state.search(&Query::new()).is_empty() && state.find_models("shop").next().is_none());
    assert_eq!(state.search(&Query::new().with_deleted().model("shop")).len(), 2);
    assert_eq!(state.model("shop").unwrap().deleted.as_ref().unwrap().actor, "ann");
    assert_eq!(state.served_at("shop", "champion", At::Sequence(3)).unwrap().unwrap().id(), &id("shop", 2));
    assert_eq!(registry.read(&id("shop", 1), "model.bin").unwrap(), "1");
    let first = id("shop", 1);
    for refused in [
        draft().register(NewVersion::new("shop").file("model.bin", "3")),
        draft().alias("champion", &first, Expect::Absent),
        draft().approve(&first),
        draft().tag(&first, "a", "b"),
        draft().delete(&first),
        draft().restore(&first),
        draft().policy("shop", Policy::default()),
        draft().describe_model("shop", "x", [("a", "b")]),
        draft().rename_model("shop", "store"),
        draft().delete_model("shop"),
        draft().roll_back("shop", At::Sequence(3)),
        draft().register(NewVersion::new("other").file("m", "x")).tag(&first, "a", "b"),
    ] {
        let error = registry.commit(refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(
            error.to_string().contains("model `shop` was deleted by ann (why): restore it first"),
            "{error}"
        );
    }
    for unknown in
        [draft().delete_model("no"), draft().restore_model("no"), draft().rename_model("no", "yes")]
    {
        assert_eq!(registry.commit(unknown).unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(registry.snapshot().sequence(), 5);

    // What is purged meanwhile does not come back with it.
    registry.commit(draft().purge(&first)).unwrap();
    registry.commit(draft().restore_model("shop").roll_back("shop", At::Sequence(4))).unwrap();
    let state = registry.snapshot();
    assert_eq!(state.alias("shop", "champion").unwrap().id(), &id("shop", 2));
    assert_eq!(state.model("shop").unwrap().description, "Buys or not");
    let purged = state.version(&first).unwrap();
    assert!(purged.deleted.is_some() && purged.purged.is_some());
    let error = registry.commit(draft().alias("champion", &first, Expect::Any)).unwrap_err();
    assert!(error.to_string().contains("shop/1 was purged"), "{error}");
    assert_eq!(register(&registry, "shop", "3").unwrap(), id("shop", 3));
    let error = registry.commit(draft().restore_model("shop")).unwrap_err();
    assert!(error.to_string().contains("is not deleted"), "{error}");
}

#[test]
fn a_renamed_model_is_found_by_all_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    register(&registry, "shop", "1").unwrap();
    let child = NewVersion::new("tuned").file("model.bin", "t").parent(id("shop", 1));
    registry.commit(draft().register(child)).unwrap();
    let copy = registry.copy_of(&id("shop", 1), "copied").unwrap();
    registry.commit(draft().register(copy)).unwrap();
    registry.commit(draft().alias("champion", &id("shop", 1), Expect::Absent)).unwrap();
    registry.commit(draft().key("name").rename_model("shop", "store")).unwrap();

    // The jobs and services of before go on.
    assert_eq!(register(&registry, "shop", "2").unwrap(), id("store", 2));
    let moved = draft().approve(&id("shop", 2)).alias("champion", &id("shop", 2), Expect::Version(1));
    registry.commit(moved).unwrap();
    assert!(registry.commit(draft().key("name").rename_model("shop", "store")).unwrap().replayed);
    let later = NewVersion::new("tuned").file("model.bin", "u").parent(id("shop", 2));
    registry.commit(draft().register(later)).unwrap();
    let check = |state: &Snapshot| {
        for name in ["shop", "store"] {
            assert_eq!(state.model(name).unwrap().name, "store");
            assert_eq!(state.alias(name, "champion").unwrap().id(), &id("store", 2));
            assert_eq!(state.resolve(&format!("{name}@champion").parse().unwrap()).unwrap().id().version, 2);
            let before = state.served_at(name, "champion", At::Sequence(4)).unwrap().unwrap();
            assert_eq!(before.id(), &id("store", 1));
            // Lineage and questions know it by any name.
            let lineage = state.lineage(&id(name, 1)).unwrap();
            assert_eq!(lineage.of, id("store", 1));
            assert_eq!(lineage.descendants, [id("copied", 1), id("tuned", 1)].into());
            let children = state.search(&Query::new().parent(id(name, 2)));
            assert_eq!(children.iter().map(|found| found.id()).collect::<Vec<_>>(), [&id("tuned", 2)]);
            assert_eq!(state.search(&Query::new().model(name)).len(), 2);
            assert_eq!(state.search(&Query::new().descends_from(id(name, 1))).len(), 2);
            assert_eq!(state.card(&id(name, 1)).unwrap().id, id("store", 1));
        }
        let tuned = state.version(&id("tuned", 1)).unwrap();
        assert_eq!(tuned.record.parents, [id("store", 1)]);
        assert_eq!(
            state.models().map(|model| &*model.name).collect::<Vec<_>>(),
            ["copied", "store", "tuned"]
        );
        assert_eq!(
            (&*state.model("shop").unwrap().former[0].name, state.model("shop").unwrap().former.len()),
            ("shop", 1)
        );
    };
    check(&registry.snapshot());
    check(&open(folder.path()).snapshot());
    assert_eq!(registry.read(&id("shop", 1), "model.bin").unwrap(), "1");
    // Who asked by the old name goes on with it.
    assert_eq!(registry.fetch(&id("shop", 2)).unwrap().id, id("shop", 2));
    let driver = mlops_core::driver::Driver::new().unwrap();
    for known in ["shop@champion", "store@champion", "shop/1"] {
        driver.wait(mlops_core::conformance::check_model_source(&registry, &known.parse().unwrap())).unwrap();
    }
    // The log keeps what was written.
    let log = registry.history(1, 9).unwrap();
    assert_eq!(log[0].changes[0].model(), Some("shop"));
    assert_eq!(log[4].changes[0].to_string(), "rename model shop to store");
    assert_eq!(log[5].changes[0].model(), Some("store"));
    assert_eq!(log[4].events()[0].subject, "shop");

    // No other model takes a name that leads here, and it takes none of theirs; its own it can take back.
    for (from, to, why) in [
        ("tuned", "shop", "it leads to `store`, a model of that name"),
        ("tuned", "store", "there is a model of that name"),
        ("store", "tuned", "there is a model of that name"),
        ("store", "store", "model `store` has that name already"),
        // Of two who rename it, the second has to know.
        ("shop", "market", "model `shop` was renamed by ann (why) and is `store` now"),
    ] {
        let error = registry.commit(draft().rename_model(from, to)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(
        registry.commit(draft().rename_model("store", "../x")).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        registry.commit(draft().absent("shop").policy("shop", Policy::default())).unwrap_err().kind(),
        ErrorKind::Conflict
    );
    registry.commit(draft().rename_model("store", "shop")).unwrap();
    let state = registry.snapshot();
    assert_eq!(state.model("store").unwrap().name, "shop");
    let former: Vec<_> = state.model("shop").unwrap().former.iter().map(|former| &*former.name).collect();
    assert_eq!(former, ["store"]);
    assert_eq!(*open(folder.path()).snapshot(), *state);
    let mut checkup = mlops_registry::doctor::Checkup::default();
    checkup.races = 0;
    assert!(registry.doctor(checkup).unwrap().is_healthy());
}

/// The answer to a commit is lost, others rename its model, and the job builds the same draft from what it reads now.
#[test]
fn a_second_try_after_a_rename_is_the_same_request() {
    let registry = Registry::open("memory:").unwrap();
    let base = register(&registry, "shop", "1").unwrap();
    let tries = |base: &ModelVersion| {
        [
            draft()
                .key("tune")
                .register(NewVersion::new("tuned").file("model.bin", "t").parent(base.clone())),
            draft().key("promote").alias("champion", base, Expect::Absent),
            draft().key("more").register(NewVersion::new(&base.name).file("model.bin", "2")),
        ]
    };
    for first in tries(&base) {
        assert!(!registry.commit(first).unwrap().replayed);
    }
    registry.commit(draft().rename_model("shop", "store")).unwrap();
    let now = registry.snapshot().alias("shop", "champion").unwrap().id().clone();
    assert_eq!(now, id("store", 1));
    for again in tries(&now) {
        assert!(registry.commit(again).unwrap().replayed);
    }
    assert_eq!(registry.snapshot().search(&Query::new()).len(), 3);
}

#[test]
fn deleted_models_stand_in_the_way_of_no_roll_back() {
    let registry = Registry::open("memory:").unwrap();
    let [old, _] = ["old", "shop"].map(|model| register(&registry, model, "1").unwrap());
    let aliases =
        draft().alias("champion", &old, Expect::Absent).alias("champion", &id("shop", 1), Expect::Absent);
    registry.commit(aliases).unwrap();
    let then = registry.snapshot().sequence();
    let closing = draft().remove_alias("old", "champion", Expect::Any).delete_model("old");
    registry.commit(closing).unwrap();
    registry.commit(draft().purge(&old)).unwrap();
    let error = registry.snapshot().resolve(&"old@champion".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("model `old` was deleted by ann (why): restore it"), "{error}");
    let bad = register(&registry, "shop", "2").unwrap();
    registry.commit(draft().alias("champion", &bad, Expect::Version(1))).unwrap();
    registry.commit(draft().roll_back_all(At::Sequence(then))).unwrap();
    assert_eq!(registry.snapshot().alias("shop", "champion").unwrap().id(), &id("shop", 1));
    // What was purged says so, and does not send around in circles.
    registry.commit(draft().restore_model("old")).unwrap();
    let error = registry.commit(draft().roll_back("old", At::Sequence(then))).unwrap_err();
    assert!(error.to_string().contains("old/1 was purged by ann (why): its files are gone"), "{error}");
}

/// A model as a plain list keeps it.
#[derive(Clone, Default)]
struct Plain {
    name: String,
    names: BTreeSet<String>,
    deleted: bool,
    versions: u64,
    champion: Option<u64>,
    /// What the champion was after each commit that moved it.
    moves: Vec<(u64, Option<u64>)>,
}

#[test]
fn random_lives_of_models_are_as_a_plain_list_says() {
    let names = ["a", "b", "c", "d", "e"];
    let (mut done, mut refused) = (0, 0);
    for seed in 0..40 {
        let mut rng = Seed::new(seed).rng();
        let registry = Registry::open("memory:").unwrap();
        let mut plain: Vec<Plain> = Vec::new();
        for _ in 0..40 {
            let (name, to) = (names[rng.random_range(0..5)], names[rng.random_range(0..5)]);
            let at = registry.snapshot().sequence() + 1;
            let place = plain.iter().position(|model| model.names.contains(name));
            let mut next = place.map(|place| plain[place].clone()).unwrap_or_default();
            let alive = place.is_some() && !next.deleted;
            let (request, holds) = match rng.random_range(0..6) {
                0 => {
                    next.versions += 1;
                    let content = format!("{seed} {at}");
                    (draft().register(NewVersion::new(name).file("m", content)), place.is_none() || alive)
                }
                1 => {
                    let to = rng.random_range(1..4);
                    next.moves.push((at, Some(to)));
                    next.champion = Some(to);
                    let holds = alive && to <= next.versions;
                    (draft().alias("champion", &id(name, to), Expect::Any), holds)
                }
                2 => {
                    let holds = alive && next.champion.is_some();
                    next.moves.push((at, None));
                    next.champion = None;
                    (draft().remove_alias(name, "champion", Expect::Any), holds)
                }
                3 => {
                    let holds = alive && next.champion.is_none();
                    next.deleted = true;
                    (draft().delete_model(name), holds)
                }
                4 => {
                    let holds = place.is_some() && next.deleted;
                    next.deleted = false;
                    (draft().restore_model(name), holds)
                }
                _ => {
                    let taken = plain.iter().position(|model| model.names.contains(to));
                    let holds =
                        alive && next.name == name && name != to && (taken.is_none() || taken == place);
                    to.clone_into(&mut next.name);
                    next.names.insert(to.to_owned());
                    (draft().rename_model(name, to), holds)
                }
            };
            let result = registry.commit(request);
            assert_eq!(result.is_ok(), holds, "seed {seed}, commit {at}: {result:?}");
            if !holds {
                refused += 1;
                assert!([ErrorKind::Conflict, ErrorKind::NotFound].contains(&result.unwrap_err().kind()));
                continue;
            }
            done += 1;
            match place {
                Some(place) => plain[place] = next,
                None => {
                    name.clone_into(&mut next.name);
                    next.names.insert(name.to_owned());
                    plain.push(next);
                }
            }
            compare(&registry.snapshot(), &plain, &names, rng.random_range(0..=at));
        }
        // The log adds up to the same, and so does a checkpoint.
        let state = registry.snapshot();
        let mut replayed = Snapshot::default();
        for commit in registry.history(1, usize::MAX).unwrap() {
            let digest = commit.encode().unwrap().1;
            replayed.apply(&commit, digest).unwrap();
        }
        assert_eq!(replayed, *state, "seed {seed}");
        assert_eq!(
            Snapshot::from_checkpoint(state.sequence(), &state.to_checkpoint().unwrap()),
            Some(replayed)
        );
    }
    assert!(done > 400 && refused > 400, "{done} done, {refused} refused");
}

fn compare(state: &Snapshot, plain: &[Plain], names: &[&str], at: u64) {
    assert_eq!(state.models().len(), plain.len());
    for name in names {
        let Some(model) = plain.iter().find(|model| model.names.contains(*name)) else {
            assert!(state.model(name).is_err());
            continue;
        };
        let found = state.model(name).unwrap();
        assert_eq!((&found.name, found.deleted.is_some()), (&model.name, model.deleted));
        assert!(
            found.versions.iter().zip(1..).all(|(version, number)| *version.id() == id(&model.name, number))
        );
        assert_eq!(found.versions.len() as u64, model.versions);
        assert_eq!(state.alias(name, "champion").map(|version| version.id().version), model.champion);
        let shown = state.search(&Query::new().model(*name)).len() as u64;
        assert_eq!(shown, if model.deleted { 0 } else { model.versions });
        if let Ok(served) = state.served_at(name, "champion", At::Sequence(at)) {
            let then = model.moves.iter().rev().find(|(sequence, _)| *sequence <= at).and_then(|(_, to)| *to);
            assert_eq!(served.map(|version| version.id().version), then);
        }
    }
}
