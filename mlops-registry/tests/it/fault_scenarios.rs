//! The operations that calls of stores and logs break off, one scenario each.

use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mlops_core::{BoxFuture, Digest, Error, ModelFile, ModelSource as _, ModelVersion, Result};
use mlops_registry::doctor::Checkup;
use mlops_registry::{Approval, At, Draft, Expect, NewVersion, Policy, Registry, Snapshot, Stages};
use object_store::memory::InMemory;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use crate::faulty::now;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How many commits there are before. After 60 opening starts at a checkpoint; the 124th writes one.
    pub(crate) commits: u64,
    /// How many of the last calls go wrong.
    pub(crate) calls: u64,
    /// What is broken before, and whole afterwards.
    pub(crate) damage: Option<fn(&InMemory)>,
    pub(crate) run: for<'a> fn(&'a Registry, &'a Path) -> BoxFuture<'a, Result<()>>,
    pub(crate) done: fn(&Snapshot) -> bool,
}

pub(crate) fn id(version: u64) -> ModelVersion {
    ModelVersion::new("shop", version)
}

fn draft() -> Draft {
    Draft::new("ann", "why").key("the key")
}

fn keyed(key: &str) -> Draft {
    Draft::new("ann", "why").key(key)
}

const NO_DAMAGE: Option<fn(&InMemory)> = None;

/// A scenario of one commit.
macro_rules! commit {
    ($name:literal, $draft:expr, $done:expr) => {
        Scenario {
            name: $name,
            commits: 7,
            calls: u64::MAX,
            damage: NO_DAMAGE,
            run: |registry, _| Box::pin(async move { registry.commit($draft).await.map(drop) }),
            done: $done,
        }
    };
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "open and read",
        commits: 64,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, folder| {
            Box::pin(async move {
                registry.refresh().await?;
                registry.resolve(&"shop@champion".parse()?).await?;
                registry.fetch(&id(1)).await?;
                assert_eq!(registry.read(&id(1), "model.bin").await?, "1");
                registry.fetch_to(&id(2), folder.join("out")).await?;
                registry.history(1, 3).await?;
                let mut watch = registry.watch(60);
                assert_eq!(watch.poll().await?.len(), 4);
                watch.poll().await.map(|commits| assert!(commits.is_empty()))
            })
        },
        done: |state| state.sequence() == 64,
    },
    commit!(
        "register",
        draft().register(NewVersion::new("shop").file("a", "new a").file("b", "new b").file("c", "1")),
        |state| versions(state) == 5 && state.sequence() == 8
    ),
    commit!(
        "register a big file",
        draft().register(
            NewVersion::new("shop").file_at("big", concat!(env!("CARGO_TARGET_TMPDIR"), "/big.bin"))
        ),
        |state| versions(state) == 5 && state.sequence() == 8
    ),
    commit!(
        "approve and promote",
        draft().approve(&id(2)).alias("champion", &id(2), Expect::Version(1)),
        |state| {
            let alias = &state.model("shop").unwrap().aliases["champion"];
            alias.version == Some(2) && alias.moves.len() == 2
        }
    ),
    Scenario {
        name: "roll back an alias, all of a model, all",
        commits: 7,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move {
                let alias = keyed("alias").roll_back_alias("shop", "champion", At::Sequence(3));
                registry.commit(alias).await?;
                registry.commit(keyed("model").roll_back("shop", At::Sequence(5))).await?;
                registry.commit(keyed("all").roll_back_all(At::Sequence(3))).await.map(drop)
            })
        },
        done: |state| {
            let alias = &state.model("shop").unwrap().aliases["champion"];
            alias.moves.iter().map(|step| step.to).eq([Some(1), None, Some(1), None])
                && state.sequence() == 10
        },
    },
    Scenario {
        name: "all that can be changed of versions and their model",
        commits: 7,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move {
                let rules = Policy::default().stages(Stages::new("dev").allow("dev", "production"));
                registry.commit(keyed("rules").policy("shop", rules)).await?;
                let all = draft()
                    .describe_model("shop", "Buys or not", [("team", "a")])
                    .register(
                        NewVersion::new("shop").file("a", "new a").tag("market", "eu").tag("old", "yes"),
                    )
                    .stage(&id(5), "dev", "production")
                    .describe(&id(5), "the fifth")
                    .tag(&id(5), "market", "us")
                    .remove_tag(&id(5), "old")
                    .measure(&id(5), "psi", 0.1)
                    .reject(&id(5))
                    .delete(&id(2))
                    .restore(&id(4));
                registry.commit(all).await.map(drop)
            })
        },
        done: |state| {
            let [second, fourth, fifth] = [2, 4, 5].map(|version| state.version(&id(version)).unwrap());
            let tags = fifth.tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            state.sequence() == 9
                && state.model("shop").unwrap().tags["team"] == "a"
                && (fifth.stage.as_deref(), fifth.description.as_str()) == (Some("production"), "the fifth")
                && tags.eq([("market", "us")])
                && (fifth.metrics["psi"], fifth.approval) == (0.1, Approval::Rejected)
                && (second.deleted.is_some(), fourth.deleted.is_some()) == (true, false)
        },
    },
    Scenario {
        name: "rename a model, go on by its former name, delete and restore it",
        commits: 7,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move {
                let rename = keyed("rename").unchanged(registry.snapshot().model("shop")?);
                registry.commit(rename.rename_model("shop", "store")).await?;
                let fifth = NewVersion::new("shop").file("a", "new a").parent(id(1));
                registry.commit(keyed("register").register(fifth)).await?;
                registry.commit(keyed("alias").alias("champion", &id(5), Expect::Version(1))).await?;
                registry.fetch(&id(5)).await?;
                let delete = keyed("delete").remove_alias("shop", "champion", Expect::Version(5));
                registry.commit(delete.delete_model("shop")).await?;
                let restore = keyed("restore").restore_model("shop").roll_back("shop", At::Sequence(9));
                registry.commit(restore).await.map(drop)
            })
        },
        done: |state| {
            let model = state.model("shop").unwrap();
            let champion = state.alias("shop", "champion").map(|version| version.id().to_string());
            (model.name.as_str(), model.deleted.is_some(), model.versions.len()) == ("store", false, 5)
                && champion.as_deref() == Some("store/1")
                && state.sequence() == 12
        },
    },
    Scenario {
        name: "copy a version",
        commits: 7,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move {
                let copy = registry.copy_of(&id(2), "copied").await?;
                registry.commit(draft().absent("copied").register(copy)).await.map(drop)
            })
        },
        done: |state| state.model("copied").is_ok_and(|model| model.versions.len() == 1),
    },
    Scenario {
        name: "commit and checkpoint",
        commits: 123,
        calls: 8,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move { registry.commit(draft().tag(&id(2), "round", "last")).await.map(drop) })
        },
        done: |state| state.sequence() == 124,
    },
    Scenario {
        name: "purge and sweep",
        commits: 7,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move {
                registry.commit(draft().purge(&id(4))).await?;
                registry.sweep("ann", "disk", Duration::ZERO).await.map(drop)
            })
        },
        done: |state| state.version(&id(4)).unwrap().purged.is_some() && state.sequence() <= 10,
    },
    Scenario {
        name: "mend",
        commits: 7,
        calls: u64::MAX,
        damage: NO_DAMAGE,
        run: |registry, _| {
            Box::pin(async move { registry.mend(&id(1), "model.bin", &ModelFile::Bytes("1".into())).await })
        },
        done: |state| state.sequence() == 7,
    },
    Scenario {
        name: "repair",
        commits: 64,
        calls: 30,
        damage: Some(damage),
        run: |registry, _| {
            Box::pin(async move {
                let mut checkup = Checkup::default().repair();
                checkup.races = 0;
                let report = registry.doctor(checkup).await?;
                if report.is_healthy() { Ok(()) } else { Err(Error::data(report.to_string())) }
            })
        },
        done: |state| state.sequence() == 64,
    },
];

/// The file of the second version and the checkpoint are torn; another upload of the file is whole.
fn damage(store: &InMemory) {
    let folder = |name: String| now(store.list(Some(&name.into())).try_collect::<Vec<_>>()).unwrap();
    let torn = |path: &_| now(store.put(path, "torn".into())).unwrap();
    for checkpoint in folder("checkpoint".to_owned()) {
        torn(&checkpoint.location);
    }
    let blobs = format!("blob/{}", Digest::of("2"));
    for blob in folder(blobs.clone()) {
        now(store.copy(&blob.location, &format!("{blobs}/{}", "0".repeat(26)).into())).unwrap();
        torn(&blob.location);
    }
}

fn versions(state: &Snapshot) -> usize {
    state.model("shop").unwrap().versions.len()
}
