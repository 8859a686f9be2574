//! Every call of every operation goes wrong in every way: a fresh reader then sees a legal state, and a second
//! try ends right.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::{ErrorKind, ModelVersion, Result};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::Checkup;
use mlops_registry::log::{Capabilities, ObjectLog, Reach};
use mlops_registry::{At, Draft, Expect, NewVersion, Snapshot};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::store::{Fault, Faulty, now};
use crate::support::register;

fn open(store: Arc<dyn ObjectStore>) -> Result<Registry> {
    let log = ObjectLog::new(store.clone(), Capabilities::all(Reach::Process));
    Registry::open_parts(mlops_registry::Registry::builder(), Arc::new(log), store)
}

/// Two versions, the first of them champion, a third purged, and so many commits in all.
fn base(commits: u64) -> InMemory {
    let store = Arc::new(InMemory::new());
    let registry = open(store.clone()).unwrap();
    let ids: Vec<_> =
        ["1", "2", "3"].iter().map(|content| register(&registry, "shop", content).unwrap()).collect();
    registry.commit(Draft::new("ann", "go").alias("champion", &ids[0], Expect::Absent)).unwrap();
    registry.commit(Draft::new("ann", "old").delete(&ids[2]).purge(&ids[2])).unwrap();
    for round in 5..commits {
        registry.commit(Draft::new("ann", "fill").tag(&ids[1], "round", round.to_string())).unwrap();
    }
    assert_eq!(registry.snapshot().sequence(), commits);
    store.fork()
}

struct Scenario {
    name: &'static str,
    /// How many commits there are before. After 61 opening starts at a checkpoint; the 125th writes one.
    commits: u64,
    /// How many of the last calls go wrong.
    calls: u64,
    run: fn(&Registry) -> Result<()>,
    done: fn(&Snapshot) -> bool,
}

fn id(version: u64) -> ModelVersion {
    ModelVersion::new("shop", version)
}

fn draft() -> Draft {
    Draft::new("ann", "why").key("the key")
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "open and read",
        commits: 64,
        calls: u64::MAX,
        run: |registry| registry.fetch(&id(1)).map(drop),
        done: |state| state.sequence() == 64,
    },
    Scenario {
        name: "register",
        commits: 64,
        calls: u64::MAX,
        run: |registry| {
            let version = NewVersion::new("shop").file("a", "new a").file("b", "new b").file("c", "1");
            registry.commit(draft().register(version)).map(drop)
        },
        done: |state| state.model("shop").unwrap().versions.len() == 4 && state.sequence() == 65,
    },
    Scenario {
        name: "register a big file",
        commits: 64,
        calls: u64::MAX,
        run: |registry| {
            let version =
                NewVersion::new("shop").file_at("big", concat!(env!("CARGO_TARGET_TMPDIR"), "/big.bin"));
            registry.commit(draft().register(version)).map(drop)
        },
        done: |state| state.model("shop").unwrap().versions.len() == 4 && state.sequence() == 65,
    },
    Scenario {
        name: "promote",
        commits: 64,
        calls: u64::MAX,
        run: |registry| {
            registry.commit(draft().approve(&id(2)).alias("champion", &id(2), Expect::Version(1))).map(drop)
        },
        done: |state| {
            let alias = &state.model("shop").unwrap().aliases["champion"];
            alias.version == Some(2) && alias.moves.len() == 2
        },
    },
    Scenario {
        name: "roll back",
        commits: 64,
        calls: u64::MAX,
        run: |registry| registry.commit(draft().roll_back("shop", At::Sequence(3))).map(drop),
        done: |state| state.alias("shop", "champion").is_none() && state.sequence() == 65,
    },
    Scenario {
        name: "commit and checkpoint",
        commits: 124,
        calls: 8,
        run: |registry| registry.commit(draft().tag(&id(2), "round", "last")).map(drop),
        done: |state| state.sequence() == 125,
    },
    Scenario {
        name: "sweep",
        commits: 64,
        calls: u64::MAX,
        run: |registry| registry.sweep("ann", "disk", Duration::ZERO).map(drop),
        done: |state| state.sequence() <= 66,
    },
];

fn legal(store: &Arc<InMemory>, context: &str) -> Arc<Snapshot> {
    let registry = open(store.clone()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = registry.doctor(checkup).unwrap();
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
    state
}

#[test]
fn whatever_goes_wrong_wherever_nothing_is_lost_or_doubled() {
    let big: Vec<u8> = (0..(8 << 20) + 5).map(|index: u32| (index % 253) as u8).collect();
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/big.bin"), big).unwrap();
    let mut runs = 0;
    for Scenario { name, commits, calls, run, done } in SCENARIOS {
        let base = base(*commits);
        let counter = Arc::new(Faulty::new(Arc::new(base.fork()), u64::MAX, Fault::Fails));
        run(&open(counter.clone()).unwrap()).unwrap();
        assert!(counter.calls() > 3, "{name}");
        for call in counter.calls().saturating_sub(*calls)..counter.calls() {
            for fault in Fault::ALL {
                let context = format!("{name}, call {call}, {fault:?}");
                let store = Arc::new(base.fork());
                let faulty = Arc::new(Faulty::new(store.clone(), call, fault));
                let result = open(faulty.clone()).and_then(|registry| run(&registry));
                if let Err(error) = &result {
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
                let state = legal(&store, &context);
                assert!(result.is_err() || done(&state), "{context}: it said that it was done");
                // A second try with another process, while what was under way may still arrive.
                let registry = open(store.clone()).unwrap();
                run(&registry).unwrap_or_else(|error| panic!("{context}: the second try: {error:?}"));
                assert!(done(&registry.snapshot()), "{context}: the second try");
                now(faulty.settle());
                assert!(done(&legal(&store, &context)), "{context}: after all has arrived");
                runs += 1;
            }
        }
    }
    assert!(runs > 400, "{runs}");
}
