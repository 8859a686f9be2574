//! Histories of eight concurrent writers are linearizable.
//!
//! The log gives a total order. A history is linearizable if that order explains every answer and never puts an
//! operation before one that had returned when it was called (M. Herlihy and J. Wing, *Linearizability*, 1990).

use std::sync::atomic::{AtomicU64, Ordering};

use mlops_core::{ErrorKind, ModelVersion, Seed};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Expect};
use rand::RngExt as _;

use crate::support::register;

#[derive(Debug)]
struct Call {
    called: u64,
    returned: u64,
    action: Action,
}

#[derive(Debug)]
enum Action {
    /// A compare-and-set of the alias, which succeeded at this place in the log.
    Moved { expect: Option<u64>, to: u64, at: u64 },
    /// A compare-and-set that was refused.
    Refused { expect: Option<u64> },
    /// A read: what the alias pointed at, after so many commits.
    Read { found: Option<u64>, at: u64 },
}

#[test]
fn eight_writers_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    eight_writers(|| crate::support::open(folder.path()));
}

#[cfg(feature = "sqlite")]
#[test]
fn eight_writers_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("sqlite:{}", folder.path().join("registry.db").display());
    eight_writers(|| Registry::open(&location).unwrap());
}

#[cfg(feature = "postgres")]
#[test]
fn eight_writers_on_postgres() {
    let Some(address) = crate::support::server("MLOPS_TEST_POSTGRES", "PostgreSQL") else { return };
    let (folder, name) = (tempfile::tempdir().unwrap(), crate::support::fresh());
    let artifacts = folder.path().to_str().unwrap();
    eight_writers(|| {
        let builder = mlops_registry::Registry::builder().artifacts(artifacts).name(&name);
        Registry::open_with(builder, &address).unwrap()
    });
}

fn eight_writers(open: impl Fn() -> Registry + Sync) {
    let setup = open();
    for content in 0..4 {
        register(&setup, "shop", &content.to_string()).unwrap();
    }
    let (time, start) = (AtomicU64::new(0), std::sync::Barrier::new(8));
    let calls: Vec<Call> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (time, open, start) = (&time, &open, &start);
                scope.spawn(move || {
                    let registry = open();
                    start.wait();
                    let mut rng = Seed::new(writer).rng();
                    let mut calls = Vec::new();
                    for _ in 0..24 {
                        let called = time.fetch_add(1, Ordering::SeqCst);
                        let action = if rng.random_bool(0.5) {
                            let state = registry.refresh().unwrap();
                            let found = state.alias("shop", "champion").map(|version| version.id().version);
                            Action::Read { found, at: state.sequence() }
                        } else {
                            let expect =
                                registry.state().alias("shop", "champion").map(|found| found.id().version);
                            let to = rng.random_range(1..=4);
                            let draft = Draft::new(format!("writer {writer}"), "race");
                            let draft =
                                draft.alias("champion", &ModelVersion::new("shop", to), Expect::from(expect));
                            match registry.commit(draft) {
                                Ok(receipt) => Action::Moved { expect, to, at: receipt.commit.sequence },
                                Err(error) if error.kind() == ErrorKind::Conflict => {
                                    Action::Refused { expect }
                                }
                                Err(error) => panic!("{error:?}"),
                            }
                        };
                        let returned = time.fetch_add(1, Ordering::SeqCst);
                        calls.push(Call { called, returned, action });
                    }
                    calls
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });

    // What the alias pointed at after each commit, from the log.
    let last = open().snapshot();
    let moves = &last.model("shop").unwrap().aliases["champion"].moves;
    let value_at = |at: u64| {
        let before = moves.iter().take_while(|step| step.by.sequence <= at).last();
        before.and_then(|step| step.to)
    };
    let place = |call: &Call| match call.action {
        Action::Moved { at, .. } | Action::Read { at, .. } => Some(at),
        Action::Refused { .. } => None,
    };
    let (mut moved, mut refused) = (0, 0);
    for call in &calls {
        match call.action {
            Action::Moved { expect, to, at } => {
                moved += 1;
                assert_eq!(value_at(at - 1), expect, "{call:?}: the comparison held");
                assert_eq!(value_at(at), Some(to), "{call:?}: the value was set");
            }
            Action::Read { found, at } => assert_eq!(value_at(at), found, "{call:?}"),
            Action::Refused { expect } => {
                refused += 1;
                // Some state between call and return refuses it.
                let from = calls
                    .iter()
                    .filter(|other| other.returned < call.called)
                    .filter_map(place)
                    .max()
                    .unwrap_or(0);
                let to = calls
                    .iter()
                    .filter(|other| other.called < call.returned)
                    .filter_map(place)
                    .max()
                    .unwrap_or(0);
                assert!((from..=to).any(|at| value_at(at) != expect), "{call:?}: nothing refuses it");
            }
        }
    }
    assert_eq!(moved, moves.len(), "what was answered is what is recorded");
    assert!(moved > 8 && refused > 0, "the writers raced: {moved} moved, {refused} refused");
    // Real time: what had returned is seen by what is called later.
    for earlier in &calls {
        for later in calls.iter().filter(|later| later.called > earlier.returned) {
            if let (Some(before), Some(after)) = (place(earlier), place(later)) {
                let later_is_move = matches!(later.action, Action::Moved { .. });
                assert!(before < after || (before == after && !later_is_move), "{earlier:?} then {later:?}");
            }
        }
    }
}
