//! Every call of every operation goes wrong in every way: a fresh reader then sees a legal state, and a second
//! try ends right. On object stores each call of the store, on databases each call of the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::{Digest, ErrorKind, ModelVersion, Result, Severity};
use mlops_registry::doctor::{Checkup, Finding};
use mlops_registry::log::{Capabilities, Log, ObjectLog, Reach};
use mlops_registry::{Draft, Expect, NewVersion, Registry, Snapshot, blocking};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::fault_scenarios::{SCENARIOS, Scenario, id};
use crate::faulty::{Fault, Plan, now};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::faulty_log::FaultyLog;
use crate::faulty_store::Faulty;
use crate::support::tree;

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

fn legal(broken: &Broken, folder: &Path, may_be_damaged: bool, context: &str) -> Arc<Snapshot> {
    let registry = now(open_honest(broken, folder)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = now(registry.doctor(checkup)).unwrap();
    let critical = |finding: &&Finding| finding.severity == Severity::Critical;
    let expected = |finding: &Finding| may_be_damaged && finding.what.contains("of shop/2 is damaged");
    assert!(report.findings.iter().filter(critical).all(expected), "{context}: {report}");
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

fn open_honest<'a>(broken: &Broken, folder: &'a Path) -> impl Future<Output = Result<Registry>> + 'a {
    open(broken.honest.clone(), broken.store.clone(), folder)
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
    let Scenario { name, commits, calls, damage, run, done } = scenario;
    let base = base(*commits);
    damage.iter().for_each(|damage| damage(&base));
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
                        // The doctor tells it as a finding.
                        _ if damage.is_some() && error.kind() == ErrorKind::Data => ErrorKind::Data,
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
            let look = |may_be_damaged| legal(&broken, folder.path(), may_be_damaged, &context);
            let said_done = matches!(result, Some(Ok(())));
            let state = look(damage.is_some() && !said_done);
            assert!(!said_done || done(&state), "{context}: it said that it was done");
            // A second try with another process, while what was under way may still arrive.
            let registry = now(open_honest(&broken, folder.path())).unwrap();
            now(run(&registry, folder.path()))
                .unwrap_or_else(|error| panic!("{context}: the second try: {error:?}"));
            assert!(done(&registry.snapshot()), "{context}: the second try");
            (broken.settle)();
            let state = look(false);
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

/// Calls that go wrong once: what goes on for ever ends no feed, and has nothing to deliver.
#[test]
fn a_feed_delivers_each_commit_once_whatever_call_goes_wrong() {
    let base = base(70);
    for fault in [Fault::Fails, Fault::AnswerLost, Fault::Torn, Fault::Twice] {
        let mut call = 0;
        loop {
            let (plan, folder) = (Plan::new(call, fault), tempfile::tempdir().unwrap());
            let broken = broken_store(&base, plan.clone());
            let open = || {
                let builder = Registry::builder();
                blocking::Registry::open_parts(builder, broken.log.clone(), broken.blobs.clone())
            };
            let registry = open().or_else(|_| open()).unwrap();
            let (send, receive) = std::sync::mpsc::channel();
            let feed = registry.feed(3, Duration::from_micros(200), move |commit| {
                let _ = send.send(commit.sequence);
            });
            let next = || receive.recv_timeout(Duration::from_secs(60)).unwrap();
            let old: Vec<u64> = (4..=70).map(|_| next()).collect();
            // Others write meanwhile.
            let writer = now(open_honest(&broken, folder.path())).unwrap();
            for round in 0..2 {
                now(writer.commit(Draft::new("ann", "meanwhile").tag(&id(2), "feed", round.to_string())))
                    .unwrap();
            }
            let new = [next(), next()];
            drop(feed);
            assert!(old.into_iter().chain(new).eq(4..=72), "call {call}, {fault:?}");
            assert!(receive.try_recv().is_err(), "call {call}, {fault:?}: told twice");
            if plan.calls() <= call || call == 24 {
                break;
            }
            call += 1;
        }
    }
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
