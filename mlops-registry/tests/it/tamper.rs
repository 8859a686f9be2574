//! A log or a checkpoint that was altered, cut off or restored behind the back of its users.

use std::path::Path;

use mlops_core::{Digest, ErrorKind};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::Checkup;
use mlops_registry::{Draft, Expect};

use crate::support::{open, register, tree};

fn entry(folder: &Path, sequence: u64) -> std::path::PathBuf {
    folder.join(format!("log/{sequence:020}.json"))
}

/// Writes an entry anew under a right digest of its own.
fn forge(folder: &Path, sequence: u64, from: &str, to: &str) {
    let path = entry(folder, sequence);
    let text = std::fs::read_to_string(&path).unwrap();
    let body = text.lines().next().unwrap().replacen(from, to, 1);
    assert_ne!(Some(body.as_str()), text.lines().next());
    std::fs::write(path, format!("{body}\n{{\"sha256\":\"{}\"}}\n", Digest::of(&body))).unwrap();
}

fn five_commits(folder: &Path) -> Registry {
    let registry = open(folder);
    for content in ["1", "2", "3", "4", "5"] {
        register(&registry, "shop", content).unwrap();
    }
    registry
}

fn checkup() -> Checkup {
    let mut checkup = Checkup::default();
    checkup.races = 0;
    checkup
}

#[test]
fn history_shows_an_entry_that_was_forged() {
    for forged in 1..=5 {
        let folder = tempfile::tempdir().unwrap();
        let registry = five_commits(folder.path());
        let mut watch = registry.watch(0);
        assert_eq!(registry.poll(&mut watch).unwrap().len(), 5);
        let honest = std::fs::read(entry(folder.path(), forged)).unwrap();
        forge(folder.path(), forged, "\"actor\":\"trainer\"", "\"actor\":\"bob\"");
        for (from, count) in [(1, 10), (forged, 1), (forged, 2)] {
            let error = registry.history(from, count).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.to_string().contains("tampered with"), "{forged}, {from}: {error}");
        }
        if forged == 5 {
            assert!(registry.poll(&mut watch).is_err());
        }
        std::fs::write(entry(folder.path(), forged), honest).unwrap();
        assert_eq!(registry.history(1, 10).unwrap().len(), 5);
        assert!(registry.poll(&mut watch).unwrap().is_empty());
    }
}

#[test]
fn a_log_that_was_restored_under_a_running_process_is_not_forked() {
    let folder = tempfile::tempdir().unwrap();
    let registry = five_commits(folder.path());
    let mut watch = registry.watch(5);
    for sequence in 4..=5 {
        std::fs::remove_file(entry(folder.path(), sequence)).unwrap();
    }
    for error in [
        register(&registry, "shop", "6").unwrap_err(),
        registry.refresh().unwrap_err(),
        registry.poll(&mut watch).unwrap_err(),
        registry.poll(&mut registry.watch(7)).unwrap_err(),
        registry.history(2, 10).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
    assert!(!entry(folder.path(), 6).exists());
    // Others go on from the backup; the old process does not take theirs for its own.
    let other = open(folder.path());
    for content in ["a", "b", "c"] {
        register(&other, "shop", content).unwrap();
    }
    let error = registry.refresh().unwrap_err();
    assert!(error.to_string().contains("log entry 5 is not the one that this process read"), "{error}");
    assert_eq!(registry.poll(&mut watch).unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(open(folder.path()).snapshot().sequence(), 6);
}

/// A registry with a checkpoint: version 2 is champion.
fn with_checkpoint(folder: &Path) -> (Registry, std::path::PathBuf) {
    let registry = open(folder);
    let ids: Vec<_> = ["1", "2"].iter().map(|text| register(&registry, "shop", text).unwrap()).collect();
    registry.commit(Draft::new("ann", "go").alias("champion", &ids[1], Expect::Any)).unwrap();
    for round in 0..62 {
        registry.commit(Draft::new("ann", "x").tag(&ids[0], "round", round.to_string())).unwrap();
    }
    let checkpoints = folder.join("checkpoint");
    let newest = checkpoints.join(&tree(&checkpoints)[0]);
    (registry, newest)
}

/// Puts another champion into a checkpoint, under a right digest of its own, which it gives.
fn forge_checkpoint(path: &Path) -> Digest {
    let text = std::fs::read_to_string(path).unwrap();
    let (head, body) = text.split_once('\n').unwrap();
    let forged = body.replacen("\"version\":2,\"moves\"", "\"version\":1,\"moves\"", 1);
    assert_ne!(forged, body);
    let head = head.replace(&Digest::of(body).to_string(), &Digest::of(&forged).to_string());
    std::fs::write(path, format!("{head}\n{forged}")).unwrap();
    Digest::of(&forged)
}

fn champion(registry: &Registry) -> u64 {
    registry.snapshot().alias("shop", "champion").unwrap().id().version
}

#[test]
fn a_forged_checkpoint_misleads_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, path) = with_checkpoint(folder.path());
    let honest = std::fs::read(&path).unwrap();
    forge_checkpoint(&path);
    let other = open(folder.path());
    assert_eq!(*other.snapshot(), *registry.snapshot());
    assert_eq!(champion(&other), 2);
    let report = other.doctor(checkup()).unwrap();
    assert!(report.to_string().contains("is torn, altered, forged, or belongs to another log"), "{report}");
    assert!(!report.is_healthy());
    assert!(other.doctor(checkup().repair()).unwrap().is_healthy());
    assert_eq!(std::fs::read(&path).unwrap(), honest);
    assert!(other.doctor(checkup()).unwrap().findings.is_empty());
}

#[test]
fn a_checkpoint_that_a_writer_forged_in_the_log_too_is_found_by_the_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, path) = with_checkpoint(folder.path());
    let forged = forge_checkpoint(&path);
    // All entries from the one that states it on are written anew.
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut previous = None;
    for sequence in first + 1..=registry.snapshot().sequence() {
        let path = entry(folder.path(), sequence);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut body: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        match previous {
            None => body["checkpoint"] = forged.to_string().into(),
            Some(previous) => body["previous"] = Digest::to_string(&previous).into(),
        }
        let body = body.to_string();
        previous = Some(Digest::of(&body));
        std::fs::write(path, format!("{body}\n{{\"sha256\":\"{}\"}}\n", Digest::of(&body))).unwrap();
    }
    // The head tells, and whoever read the log before.
    let misled = open(folder.path());
    assert_eq!(champion(&misled), 1);
    assert_ne!(misled.snapshot().head(), registry.snapshot().head());
    assert_eq!(registry.refresh().unwrap_err().kind(), ErrorKind::Data);
    let report = misled.doctor(checkup()).unwrap();
    assert!(report.to_string().contains("is not what the log adds up to"), "{report}");
    assert!(report.to_string().contains("`ann` forged it"), "{report}");
    misled.doctor(checkup().repair()).unwrap();
    assert_eq!(champion(&open(folder.path())), 2);
}

#[test]
fn a_checkpoint_of_a_log_that_was_rolled_back_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, path) = with_checkpoint(folder.path());
    drop(registry);
    // The log is restored to its tenth entry, without the checkpoints, and goes on.
    for sequence in 11..=65 {
        std::fs::remove_file(entry(folder.path(), sequence)).unwrap();
    }
    let again = open(folder.path());
    assert_eq!(again.snapshot().sequence(), 10);
    let checkpoint = std::fs::read(&path).unwrap();
    let id = again.snapshot().alias("shop", "champion").unwrap().id().clone();
    for round in 0..60 {
        again.commit(Draft::new("bob", "y").tag(&id, "round", round.to_string())).unwrap();
    }
    std::fs::write(&path, checkpoint).unwrap();
    let number: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    std::fs::write(path.with_file_name("newest"), number.to_string()).unwrap();
    assert_eq!(*open(folder.path()).snapshot(), *again.snapshot());
    let report = again.doctor(checkup()).unwrap();
    assert!(report.to_string().contains("belongs to another log"), "{report}");
}

#[test]
fn a_hole_in_the_log_stops_opening_and_sweeping_before_anything_is_lost() {
    let hole = |error: mlops_core::Error, gone: u64| {
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains(&format!("log entry {gone} is gone, though entry")), "{error}");
    };
    for gone in [1, 2, 4] {
        let folder = tempfile::tempdir().unwrap();
        let registry = five_commits(folder.path());
        let blobs = tree(&folder.path().join("blob"));
        let path = entry(folder.path(), gone);
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        hole(Registry::open(folder.path().to_str().unwrap()).unwrap_err(), gone);
        // A process that was opened before it knows more, and removes nothing that is needed.
        registry.sweep("ann", "disk", std::time::Duration::ZERO).unwrap();
        assert_eq!(tree(&folder.path().join("blob")), blobs);
        std::fs::write(&path, whole).unwrap();
        assert_eq!(*open(folder.path()).snapshot(), *registry.snapshot());
    }
    // Others committed meanwhile, and some of it got lost before this process saw it.
    let folder = tempfile::tempdir().unwrap();
    let (behind, ahead) = (open(folder.path()), five_commits(folder.path()));
    let first = entry(folder.path(), 1);
    let whole = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    hole(behind.sweep("ann", "disk", std::time::Duration::ZERO).unwrap_err(), 1);
    std::fs::write(&first, whole).unwrap();
    drop((behind, ahead));
    // The whole log is away, or its end: the files are no orphans.
    let log = folder.path().join("log");
    std::fs::rename(&log, folder.path().join("away")).unwrap();
    let empty = open(folder.path());
    let error = empty.sweep("ann", "disk", std::time::Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("the log is empty, but there are 5 uploads"), "{error}");
    std::fs::rename(folder.path().join("away"), &log).unwrap();

    let folder = tempfile::tempdir().unwrap();
    drop(with_checkpoint(folder.path()));
    for sequence in 30..=65 {
        std::fs::remove_file(entry(folder.path(), sequence)).unwrap();
    }
    let cut = open(folder.path());
    let error = cut.sweep("ann", "disk", std::time::Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("the log ends at 29, but there is a checkpoint after"), "{error}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_hole_in_a_database_stops_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let location = format!("sqlite:{}", path.display());
    for content in ["1", "2", "3"] {
        register(&Registry::open(&location).unwrap(), "shop", content).unwrap();
    }
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute("DELETE FROM mlops_entry WHERE sequence = 2", []).unwrap();
    let error = Registry::open(&location).unwrap_err();
    assert!(error.to_string().contains("log entry 2 is gone, though entry 3 exists"), "{error}");
}
