//! Every call of every operation goes wrong in every way: a fresh reader then sees a legal state, and a second
//! try ends right. On object stores each call of the store, on databases each call of the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::{BoxFuture, Digest, ErrorKind, ModelFile, ModelSource as _, ModelVersion, Result};
use mlops_registry::doctor::Checkup;
use mlops_registry::log::{Capabilities, Log, ObjectLog, Reach};
use mlops_registry::{At, Change, Draft, Expect, NewVersion, Policy, Registry, Snapshot};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::faulty::{Fault, Plan, now};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::faulty_log::FaultyLog;
use crate::faulty_store::Faulty;
use crate::support::tree;

struct Scenario {
    name: &'static str,
    /// How many commits there are before. After 60 opening starts at a checkpoint; the 124th writes one.
    commits: u64,
    /// How many of the last calls go wrong.
    calls: u64,
    run: for<'a> fn(&'a Registry, &'a Path) -> BoxFuture<'a, Result<()>>,
    done: fn(&Snapshot) -> bool,
}

fn id(version: u64) -> ModelVersion {
    ModelVersion::new("shop", version)
}

fn draft() -> Draft {
    Draft::new("ann", "why").key("the key")
}

/// A scenario of one commit.
macro_rules! commit {
    ($name:literal, $draft:expr, $done:expr) => {
        Scenario {
            name: $name,
            commits: 7,
            calls: u64::MAX,
            run: |registry, _| Box::pin(async move { registry.commit($draft).await.map(drop) }),
            done: $done,
        }
    };
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "open and read",
        commits: 64,
        calls: u64::MAX,
        run: |registry, folder| {
            Box::pin(async move {
                registry.fetch(&id(1)).await?;
                registry.fetch_to(&id(2), folder.join("out")).await?;
                registry.history(1, 3).await?;
                registry.watch(2).poll().await.map(drop)
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
    commit!("roll back", draft().roll_back("shop", At::Sequence(3)), |state| {
        state.alias("shop", "champion").is_none() && state.sequence() == 8
    }),
    commit!("delete", draft().delete(&id(2)), |state| state.version(&id(2)).unwrap().deleted.is_some()),
    commit!("restore", draft().restore(&id(4)), |state| state.version(&id(4)).unwrap().deleted.is_none()),
    commit!(
        "describe, tag, measure, set the policy",
        draft()
            .change(Change::DescribeModel {
                model: "shop".into(),
                description: "Buys or not".into(),
                tags: [("team".into(), "a".into())].into(),
            })
            .tag(&id(1), "market", "eu")
            .measure(&id(1), "psi", 0.1)
            .policy("shop", Policy::default()),
        |state| state.version(&id(1)).unwrap().tags["market"] == "eu" && state.sequence() == 8
    ),
    commit!(
        "rename and delete a model",
        draft()
            .remove_alias("shop", "champion", Expect::Version(1))
            .rename_model("shop", "store")
            .delete_model("shop"),
        |state| {
            let model = state.model("shop").unwrap();
            model.name == "store" && model.deleted.is_some() && state.sequence() == 8
        }
    ),
    Scenario {
        name: "copy a version",
        commits: 7,
        calls: u64::MAX,
        run: |registry, _| {
            Box::pin(async move {
                let copy = registry.copy_of(&id(2), "copied").await?;
                registry.commit(draft().register(copy)).await.map(drop)
            })
        },
        done: |state| state.model("copied").is_ok_and(|model| model.versions.len() == 1),
    },
    Scenario {
        name: "commit and checkpoint",
        commits: 123,
        calls: 8,
        run: |registry, _| {
            Box::pin(async move { registry.commit(draft().tag(&id(2), "round", "last")).await.map(drop) })
        },
        done: |state| state.sequence() == 124,
    },
    Scenario {
        name: "purge and sweep",
        commits: 7,
        calls: u64::MAX,
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
        run: |registry, _| {
            Box::pin(async move { registry.mend(&id(1), "model.bin", &ModelFile::Bytes("1".into())).await })
        },
        done: |state| state.sequence() == 7,
    },
];

fn versions(state: &Snapshot) -> usize {
    state.model("shop").unwrap().versions.len()
}

fn open<'a>(
    log: Arc<dyn Log>,
    store: Arc<dyn ObjectStore>,
    folder: &'a Path,
) -> impl Future<Output = Result<Registry>> + 'a {
    Registry::builder().cache(folder.join("cache"), 1 << 30).open_with(log, store)
}

fn object_log(store: Arc<dyn ObjectStore>) -> Arc<dyn Log> {
    Arc::new(ObjectLog::new(store, Capabilities::all(Reach::Process)))
}

/// Four versions, the first of them champion, the third purged, the fourth deleted, and so many commits in all.
fn base(commits: u64) -> InMemory {
    let store = Arc::new(InMemory::new());
    let folder = tempfile::tempdir().unwrap();
    let registry = now(open(object_log(store.clone()), store.clone(), folder.path())).unwrap();
    let commit = |draft: Draft| now(registry.commit(draft)).unwrap();
    for content in ["1", "2", "3", "4"] {
        let version = NewVersion::new("shop").file("model.bin", content);
        commit(Draft::new("trainer", "test").register(version));
    }
    commit(Draft::new("ann", "go").alias("champion", &id(1), Expect::Absent));
    commit(Draft::new("ann", "old").delete(&id(3)).purge(&id(3)));
    commit(Draft::new("ann", "old").delete(&id(4)));
    for round in 7..commits {
        commit(Draft::new("ann", "fill").tag(&id(2), "round", round.to_string()));
    }
    assert_eq!(registry.snapshot().sequence(), commits);
    store.fork()
}

fn legal(log: Arc<dyn Log>, store: &Arc<InMemory>, folder: &Path, context: &str) -> Arc<Snapshot> {
    let registry =
        now(open(log, store.clone(), folder)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = now(registry.doctor(checkup)).unwrap();
    let critical = report.findings.iter().find(|finding| finding.severity == mlops_core::Severity::Critical);
    assert!(critical.is_none(), "{context}: {report}");
    let state = registry.snapshot();
    for model in state.models() {
        for (name, alias) in &model.aliases {
            let version =
                alias.version.map(|version| state.version(&ModelVersion::new(&model.name, version)).unwrap());
            assert!(version.is_none_or(|version| version.deleted.is_none()), "{context}: {name} dangles");
        }
    }
    // What came out under its name is whole.
    for name in tree(folder) {
        let bytes = || std::fs::read(folder.join(&name)).unwrap();
        match name.split_once('/') {
            Some((_, part)) if part.starts_with(".mlops-part-") => {}
            Some(("out", _)) => assert_eq!(bytes(), b"2", "{context}"),
            Some((_, digest)) => assert_eq!(Digest::of(bytes()).to_string(), digest, "{context}"),
            None => panic!("{context}: {name}"),
        }
    }
    state
}

/// A copy of a log with one call that goes wrong: the log to open it by, what settles it, and the honest one.
struct Broken {
    log: Arc<dyn Log>,
    blobs: Arc<dyn ObjectStore>,
    honest: Arc<dyn Log>,
    store: Arc<InMemory>,
    settle: Box<dyn Fn()>,
}

/// On an object store: every call for entries and blobs.
fn broken_store(base: &InMemory, plan: Arc<Plan>) -> Broken {
    let store = Arc::new(base.fork());
    let faulty = Arc::new(Faulty::new(store.clone(), plan));
    Broken {
        log: object_log(faulty.clone()),
        blobs: faulty.clone(),
        honest: object_log(store.clone()),
        store,
        settle: Box::new(move || now(faulty.settle())),
    }
}

/// On a database: every call of the log.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn broken_log(honest: Arc<dyn Log>, base: &InMemory, plan: Arc<Plan>) -> Broken {
    let store = Arc::new(base.fork());
    let entries = now(object_log(store.clone()).read(1, usize::MAX)).unwrap();
    for (sequence, entry) in (1..).zip(entries) {
        now(honest.append(sequence, entry)).unwrap();
    }
    let faulty = Arc::new(FaultyLog::new(honest.clone(), plan));
    let (log, blobs) = (faulty.clone(), store.clone());
    Broken { log, blobs, honest, store, settle: Box::new(move || now(faulty.settle())) }
}

fn check(scenario: &Scenario, broken: &dyn Fn(&InMemory, Arc<Plan>) -> Broken) -> u64 {
    let Scenario { name, commits, calls, run, done } = scenario;
    let base = base(*commits);
    let scratch = || tempfile::tempdir().unwrap();
    let go = |broken: &Broken, plan: &Plan, folder: &Path| {
        plan.drive(async {
            let registry = open(broken.log.clone(), broken.blobs.clone(), folder).await?;
            run(&registry, folder).await
        })
    };
    let counter = Plan::new(u64::MAX, Fault::Fails);
    go(&broken(&base, counter.clone()), &counter, scratch().path()).unwrap().unwrap();
    assert!(counter.calls() >= 2, "{name}");
    let mut runs = 0;
    for call in counter.calls().saturating_sub(*calls)..counter.calls() {
        for fault in Fault::ALL {
            let context = format!("{name}, call {call}, {fault:?}");
            let (plan, folder) = (Plan::new(call, fault), scratch());
            let broken = broken(&base, plan.clone());
            let result = go(&broken, &plan, folder.path());
            match &result {
                Some(Ok(())) => {}
                None => assert!(matches!(fault, Fault::Stops | Fault::StopsAfter), "{context}"),
                Some(Err(error)) => {
                    let kind = match fault {
                        Fault::ReadOnly => ErrorKind::Unsupported,
                        _ => ErrorKind::Unavailable,
                    };
                    assert_eq!(error.kind(), kind, "{context}: {error:?}");
                    if fault == Fault::DiskFull {
                        assert!(
                            format!("{error:#}").contains("the disk is full; free some space"),
                            "{error:#}"
                        );
                    }
                }
            }
            let look = || legal(broken.honest.clone(), &broken.store, folder.path(), &context);
            let state = look();
            assert!(!matches!(result, Some(Ok(()))) || done(&state), "{context}: it said that it was done");
            // A second try with another process, while what was under way may still arrive.
            let registry = now(open(broken.honest.clone(), broken.store.clone(), folder.path())).unwrap();
            now(run(&registry, folder.path()))
                .unwrap_or_else(|error| panic!("{context}: the second try: {error:?}"));
            assert!(done(&registry.snapshot()), "{context}: the second try");
            (broken.settle)();
            let state = look();
            assert!(done(&state), "{context}: after all has arrived");
            if state.version(&id(4)).unwrap().purged.is_some() {
                let left = object_store::path::Path::from(format!("blob/{}", Digest::of("4")));
                let left = now(broken.store.list_with_delimiter(Some(&left))).unwrap();
                assert!(left.objects.is_empty(), "{context}: {left:?}");
            }
            runs += 1;
        }
    }
    runs
}

fn check_all(broken: &dyn Fn(&InMemory, Arc<Plan>) -> Broken) -> u64 {
    let big: Vec<u8> = (0..(8 << 20) + 5).map(|index: u32| (index % 253) as u8).collect();
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/big.bin");
    if std::fs::read(path).ok().as_ref() != Some(&big) {
        std::fs::write(path, big).unwrap();
    }
    SCENARIOS.iter().map(|scenario| check(scenario, broken)).sum()
}

#[test]
fn whatever_goes_wrong_wherever_nothing_is_lost_or_doubled() {
    let runs = check_all(&broken_store);
    assert!(runs > 800, "{runs}");
}

#[cfg(feature = "sqlite")]
#[test]
fn whatever_goes_wrong_with_sqlite_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let database = mlops_registry::log::SqliteLog::open(folder.path().join("registry.db")).unwrap();
    let count = std::cell::Cell::new(0);
    let runs = check_all(&|base, plan| {
        count.set(count.get() + 1);
        broken_log(Arc::new(database.clone().named(&count.get().to_string())), base, plan)
    });
    assert!(runs > 300, "{runs}");
}

#[cfg(feature = "postgres")]
#[test]
fn whatever_goes_wrong_with_postgres_nothing_is_lost_or_doubled() {
    let Some(address) = crate::support::server("MLOPS_TEST_POSTGRES", "PostgreSQL") else { return };
    let (name, count) = (crate::support::fresh(), std::cell::Cell::new(0));
    let database = now(mlops_registry::log::PostgresLog::connect(&address, &name)).unwrap();
    let runs = check_all(&|base, plan| {
        count.set(count.get() + 1);
        broken_log(Arc::new(database.clone().named(&format!("{name} {}", count.get()))), base, plan)
    });
    assert!(runs > 300, "{runs}");
}
