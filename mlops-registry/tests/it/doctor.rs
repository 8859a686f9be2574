//! The doctor finds what is broken, says so, and repairs what can be.

use std::sync::Arc;

use mlops_core::{ErrorKind, ModelFile, Severity};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::Checkup;
use mlops_registry::log::{Capabilities, ObjectLog, Reach};
use mlops_registry::{Draft, Expect};
use object_store::memory::InMemory;

use crate::faulty::{Fault, Plan};
use crate::faulty_store::Faulty;
use crate::store::{Liar, Lie};
use crate::support::{open, register, tree};

#[test]
fn stores_that_lie_are_caught() {
    for (lie, what) in [
        (Lie::IgnoresCondition, "two writers were told that they had created the same entry"),
        (Lie::LooksThenWrites, "two writers were told that they had created the same entry"),
        (Lie::Forgets, "the storage lies"),
    ] {
        let store = Arc::new(Liar { inner: Arc::new(InMemory::new()), lie, puts: 0.into() });
        let log = Arc::new(ObjectLog::new(store.clone(), Capabilities::all(Reach::Network)));
        let registry = Registry::open_parts(mlops_registry::Registry::builder(), log, store).unwrap();
        let report = registry.doctor(Checkup::default()).unwrap();
        assert!(!report.is_healthy());
        assert!(report.to_string().contains(what), "{lie:?}: {report}");
        let measured = report.measured.unwrap();
        assert!(!measured.create_if_absent || !measured.read_after_write, "{lie:?}");
    }
}

#[test]
fn honest_stores_are_not_accused_and_keep_nothing_of_the_probe() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    register(&registry, "shop", "1").unwrap();
    let before = tree(folder.path());
    let report = registry.doctor(Checkup::default()).unwrap();
    assert!(report.is_healthy() && report.findings.is_empty(), "{report}");
    assert_eq!(report.measured, Some(registry.registry().log().capabilities()));
    // A host with a runtime asks it too.
    let asked = registry.registry().doctor(Checkup::default());
    let report = mlops_core::driver::Driver::new().unwrap().wait(asked).unwrap();
    assert!(report.is_healthy() && report.findings.is_empty() && report.commits == 1, "{report}");
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_store_that_can_only_be_read_is_read() {
    let store = Arc::new(InMemory::new());
    let open = |capabilities| {
        let log = Arc::new(ObjectLog::new(store.clone(), capabilities));
        Registry::open_parts(mlops_registry::Registry::builder(), log, store.clone()).unwrap()
    };
    let id = register(&open(Capabilities::all(Reach::Process)), "shop", "1").unwrap();
    let copy = open(Capabilities::read_only(Reach::Network));
    assert_eq!(copy.fetch(&id).unwrap().read("model.bin").unwrap(), "1");
    let error = register(&copy, "shop", "2").unwrap_err();
    assert!(error.to_string().contains("can only be read"), "{error}");
    assert!(copy.doctor(Checkup::default()).unwrap().is_healthy());
}

#[test]
fn damage_is_found_and_repaired_where_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let ids: Vec<_> =
        ["one", "two"].iter().map(|content| register(&registry, "shop", content).unwrap()).collect();
    for _ in 0..64 {
        registry.commit(Draft::new("ann", "x").alias("champion", &ids[0], Expect::Any)).unwrap();
    }
    let checkup = || {
        let mut checkup = Checkup::default();
        checkup.races = 0;
        checkup
    };
    let blobs = folder.path().join("blob");
    let blob_of = |content: &str| {
        let digest = mlops_core::Digest::of(content).to_string();
        blobs.join(tree(&blobs).into_iter().find(|path| path.starts_with(&digest)).unwrap())
    };
    // A flipped byte with a whole second upload beside it, one without, and a torn checkpoint.
    let (one, two) = (blob_of("one"), blob_of("two"));
    std::fs::write(one.with_file_name("01ARZ3NDEKTSV4RRFFQ69G5FAV"), "one").unwrap();
    std::fs::write(&one, "oNe").unwrap();
    std::fs::write(&two, "tw").unwrap();
    let checkpoint = folder.path().join("checkpoint").join(&tree(&folder.path().join("checkpoint"))[0]);
    std::fs::write(&checkpoint, "torn").unwrap();
    let report = registry.doctor(checkup()).unwrap();
    assert_eq!(
        report.findings.iter().filter(|finding| finding.severity == Severity::Critical).count(),
        2,
        "{report}"
    );
    let text = report.to_string();
    for part in [
        "file `model.bin` of shop/1 is damaged",
        "it has 2 bytes",
        "is torn, altered, forged, or belongs to another log",
        "1 uploads with 3 bytes",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report = registry.doctor(checkup().repair()).unwrap();
    assert!(!report.is_healthy(), "one cannot be repaired");
    assert_eq!(report.findings.iter().filter(|finding| finding.repaired).count(), 2, "{report}");
    assert_eq!(registry.read(&ids[0], "model.bin").unwrap(), "one");
    // Registering the same bytes again brings back what is gone or cut off.
    let again = register(&registry, "shop", "two").unwrap();
    assert_eq!(registry.read(&again, "model.bin").unwrap(), "two");
    assert!(registry.doctor(checkup()).unwrap().is_healthy());
    std::fs::remove_file(&two).unwrap();
    assert!(registry.doctor(checkup()).unwrap().to_string().contains("it is gone"));
    register(&registry, "shop", "two").unwrap();
    assert!(registry.doctor(checkup()).unwrap().is_healthy());
    // What rotted at its length is mended from a copy, and from nothing else.
    std::fs::write(&two, "tWo").unwrap();
    let report = registry.doctor(checkup()).unwrap().to_string();
    assert!(report.contains("bring its bytes back from a copy by `Registry::mend`"), "{report}");
    let mend = |bytes: &'static str| registry.mend(&ids[1], "model.bin", &ModelFile::Bytes(bytes.into()));
    assert_eq!(mend("tWo").unwrap_err().kind(), ErrorKind::Conflict);
    mend("two").unwrap();
    assert!(registry.doctor(checkup()).unwrap().is_healthy());
}

#[test]
fn lost_entries_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    for content in ["1", "2", "3", "4"] {
        register(&registry, "shop", content).unwrap();
    }
    let entry = |sequence: u64| folder.path().join(format!("log/{sequence:020}.json"));
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let third = std::fs::read(entry(3)).unwrap();
    std::fs::remove_file(entry(3)).unwrap();
    let text = registry.doctor(checkup).unwrap().to_string();
    assert!(text.contains("this process saw 4 commits, the log has 2 whole ones"), "{text}");
    assert!(text.contains("log entry 3 is gone, though entry 4 exists"), "{text}");
    assert!(text.contains("keep them until what is critical is mended"), "{text}");
    std::fs::write(entry(3), &third[..20]).unwrap();
    let report = registry.doctor(checkup).unwrap();
    assert_eq!(report.commits, 2);
    assert!(report.to_string().contains("log entry 3 is damaged"), "{report}");
    std::fs::write(entry(3), third).unwrap();
    assert!(registry.doctor(checkup).unwrap().is_healthy());
}

#[test]
fn a_registry_that_is_in_use_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (registry, done) = (&registry, &done);
            // One in this process, one in another.
            let other = open(folder.path());
            scope.spawn(move || {
                let registry = if writer == 0 { registry } else { &other };
                let mut round = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    round += 1;
                    // With no grace at all the other may sweep every try of an upload: then it is said, and tried again.
                    let id = match register(registry, "shop", &format!("{writer} {round}")) {
                        Err(error) if error.kind() == ErrorKind::Unavailable => continue,
                        id => id.unwrap(),
                    };
                    registry.commit(Draft::new("ann", "old").delete(&id).purge(&id)).unwrap();
                    registry.sweep("ann", "disk", std::time::Duration::ZERO).unwrap();
                }
            });
        }
        let mut checkup = Checkup::default();
        checkup.races = 0;
        for _ in 0..40 {
            let report = registry.doctor(checkup);
            let healthy = report.as_ref().is_ok_and(mlops_registry::doctor::Report::is_healthy);
            if !healthy {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(healthy, "{report:?}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn files_that_cannot_be_read_do_not_end_the_checkup() {
    let store = Arc::new(InMemory::new());
    let parts = |blobs: Arc<dyn object_store::ObjectStore>| {
        let log = Arc::new(ObjectLog::new(store.clone(), Capabilities::all(Reach::Process)));
        Registry::open_parts(mlops_registry::Registry::builder(), log, blobs).unwrap()
    };
    for content in ["1", "2", "3"] {
        register(&parts(store.clone()), "shop", content).unwrap();
    }
    // The listing is the first call; the second is the read of a file.
    let faulty = Arc::new(Faulty::new(store.clone(), Plan::new(2, Fault::Fails)));
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = parts(faulty).doctor(checkup).unwrap();
    assert_eq!((report.files, report.findings.len()), (3, 1), "{report}");
    assert!(report.to_string().contains("the store does not answer"), "{report}");
}

#[test]
fn a_clock_that_was_ahead_is_told() {
    let clock = Arc::new(mlops_core::ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap()));
    let builder = mlops_registry::Registry::builder().clock(clock.clone());
    let registry = Registry::open_with(builder, "memory:").unwrap();
    register(&registry, "shop", "1").unwrap();
    clock.set("2026-01-01T00:00:00Z".parse().unwrap());
    register(&registry, "shop", "2").unwrap();
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = registry.doctor(checkup).unwrap();
    assert!(report.is_healthy());
    assert!(report.to_string().contains("commit 1 bears the time 2030-01-01"), "{report}");
}

#[test]
fn a_registry_that_cannot_be_opened_is_examined_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().to_str().unwrap();
    let registry = open(folder.path());
    for content in ["1", "2", "3", "4", "5", "6", "7"] {
        register(&registry, "shop", content).unwrap();
    }
    let digests: Vec<_> =
        registry.history(2, 7).unwrap().into_iter().map(|commit| commit.previous.to_string()).collect();
    drop(registry);
    let entry = |sequence: u64| folder.path().join(format!("log/{sequence:020}.json"));
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let examine = || Registry::doctor_of(mlops_registry::Registry::builder(), location, checkup).unwrap();
    assert!(examine().is_healthy(), "{}", examine());
    let keep = |sequence: u64| std::fs::read(entry(sequence)).unwrap();
    let (third, fourth, sixth) = (keep(3), keep(4), keep(6));
    std::fs::remove_file(entry(3)).unwrap();
    std::fs::remove_file(entry(4)).unwrap();
    std::fs::write(entry(6), &sixth[..40]).unwrap();
    let error = Registry::open(location).unwrap_err();
    assert!(error.to_string().contains("`Builder::doctor` tells what can still be read"), "{error}");
    let report = examine();
    assert_eq!((report.commits, report.files), (2, 2), "{report}");
    let text = report.to_string();
    for part in [
        "log entry 3 is gone, though entry 7 exists".to_owned(),
        "2 whole entries lie beyond entry 2".to_owned(),
        format!("restore entries 3 to 4 (the last one's digest is {})", digests[3]),
        format!("entry 6 (its digest is {})", digests[5]),
        "keep them until what is critical is mended".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    // A file that is damaged too is told, although the log cannot be read to its end.
    std::fs::write(entry(4), fourth).unwrap();
    std::fs::write(entry(3), &third[..40]).unwrap();
    let blob = mlops_core::Digest::of("1").to_string();
    let path = tree(folder.path()).into_iter().find(|path| path.contains(&blob)).unwrap();
    std::fs::write(folder.path().join(path), "x").unwrap();
    let text = examine().to_string();
    assert!(text.contains("log entry 3 is damaged"), "{text}");
    assert!(text.contains("3 whole entries lie beyond entry 2"), "{text}");
    assert!(text.contains("file `model.bin` of shop/1 is damaged"), "{text}");
    std::fs::write(entry(3), third).unwrap();
    std::fs::write(entry(6), sixth).unwrap();
    assert_eq!(open(folder.path()).snapshot().sequence(), 7);
    // The way with futures, and a place where nothing is.
    let driver = mlops_core::driver::Driver::new().unwrap();
    let report = driver.wait(mlops_registry::Registry::builder().doctor(location, checkup)).unwrap();
    assert_eq!(report.commits, 7);
    let nowhere = folder.path().join("typo");
    let builder = mlops_registry::Registry::builder();
    let error = Registry::doctor_of(builder, nowhere.to_str().unwrap(), checkup).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!nowhere.exists());
}
