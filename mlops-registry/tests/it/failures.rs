//! Wrong calls and broken storage: one clear line with a way out, and nothing lost.

use mlops_core::ErrorKind;
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Expect, NewVersion};

use crate::support::{open, register};

#[test]
fn wrong_calls_say_what_is_wrong_and_what_to_do() {
    let registry = Registry::open("memory:").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    let version = |model: &str| NewVersion::new(model).file("model.bin", "x");
    let commit = |draft: Draft| registry.commit(draft).unwrap_err();
    let new = || Draft::new("ann", "why");
    let check = |error: mlops_core::Error, kind: ErrorKind, part: &str| {
        assert_eq!(error.kind(), kind, "{error}");
        let line = format!("{error:#}");
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    };
    use ErrorKind::{Conflict, Invalid, NotFound};
    check(commit(Draft::new("", "why").register(version("a"))), Invalid, "the actor is empty");
    check(commit(Draft::new("ann", " ").register(version("a"))), Invalid, "the reason is empty");
    check(commit(new()), Invalid, "changes nothing");
    check(commit(new().register(version("../a"))), Invalid, "`../a` cannot name a model");
    check(commit(new().register(NewVersion::new("a"))), Invalid, "has no files");
    check(commit(new().register(version("a").file("../x", "x"))), Invalid, "lead out");
    check(commit(new().register(version("a").file("MODEL.bin", "x"))), Invalid, "case does not count");
    check(
        commit(new().register(version("a").file("model.bin/x", "x"))),
        Invalid,
        "both a file and the folder",
    );
    check(commit(new().register(version("a").metric("auc", f64::NAN))), Invalid, "metric `auc` is NaN");
    check(commit(new().register(version("a").file_at("b", "/no/such"))), NotFound, "cannot read `/no/such`");
    check(commit(new().register(version("a").file_at("b", "/"))), Invalid, "`/` is not a file");
    let stranger = mlops_core::ModelVersion::new("fraud", 1);
    check(
        commit(new().register(version("a").parent(stranger.clone()))),
        NotFound,
        "parent fraud/1 is not registered",
    );
    check(commit(new().approve(&stranger)), NotFound, "there is no model `fraud`: there are `shop`");
    let ninth = mlops_core::ModelVersion::new("shop", 9);
    check(commit(new().alias("champion", &ninth, Expect::Any)), NotFound, "has no version 9: it has 1");
    check(commit(new().alias("a/b", &id, Expect::Any)), Invalid, "`a/b` cannot name an alias");
    check(commit(new().remove_alias("shop", "champion", Expect::Any)), NotFound, "there are none yet");
    check(commit(new().remove_alias("shop", "champion", Expect::Version(1))), Conflict, "points at nothing");
    assert_eq!(registry.snapshot().sequence(), 1, "none of it was committed");
}

#[test]
fn what_is_too_big_is_refused_before_it_is_read() {
    let builder = mlops_registry::Registry::builder().file_bytes_max(10).version_bytes_max(15);
    let registry = Registry::open_with(builder, "memory:").unwrap();
    let commit = |version| registry.commit(Draft::new("t", "x").register(version));
    let version = || NewVersion::new("shop").file("a", "0123456789");
    commit(version()).unwrap();
    let error = commit(version().file("b", "01234567890")).unwrap_err();
    assert!(error.to_string().contains("file `b` has 11 bytes: the limit is 10; raise it by"), "{error}");
    let error = commit(version().file("b", "012345")).unwrap_err();
    assert!(error.to_string().contains("the files up to `b` have 16 bytes: the limit is 15"), "{error}");
    // A file that is far too big is not read at all.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = commit(NewVersion::new("shop").file_at("huge", &path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("file `huge` has 1099511627776 bytes"), "{error}");
}

#[test]
fn locations_that_are_none() {
    let kind = |location: &str| Registry::open(location).unwrap_err();
    assert_eq!(kind("").kind(), ErrorKind::Invalid);
    assert!(kind("ftp://host/x").to_string().contains("is no registry"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = kind(file.path().join("registry").to_str().unwrap());
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("a file stands where a folder is needed"), "{error}");
    #[cfg(not(feature = "aws"))]
    assert!(kind("s3://bucket/x").to_string().contains("feature `aws`"));
}

#[test]
fn a_damaged_entry_is_named_and_stops_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    for content in ["1", "2", "3"] {
        register(&open(folder.path()), "shop", content).unwrap();
    }
    let path = folder.path().join(format!("log/{:020}.json", 2));
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    for damaged in [&whole[..0], &whole[..whole.len() / 2], &flipped] {
        std::fs::write(&path, damaged).unwrap();
        let error = Registry::open(folder.path().to_str().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("log entry 2 is damaged"), "{error}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
    }
    // An entry forged with its own digest, and one that was swapped for another, break the chain.
    let third = std::fs::read(folder.path().join(format!("log/{:020}.json", 3))).unwrap();
    let forged = String::from_utf8(third).unwrap().replacen("\"sequence\":3", "\"sequence\":2", 1);
    let body = forged.lines().next().unwrap();
    let sealed = format!("{body}\n{{\"sha256\":\"{}\"}}\n", mlops_core::Digest::of(body));
    std::fs::write(&path, sealed).unwrap();
    let error = Registry::open(folder.path().to_str().unwrap()).unwrap_err();
    assert!(error.to_string().contains("tampered"), "{error}");
    std::fs::write(&path, whole).unwrap();
    assert_eq!(open(folder.path()).snapshot().sequence(), 3);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_damaged_database_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let location = format!("sqlite:{}", path.display());
    for content in ["1", "2", "3"] {
        register(&Registry::open(&location).unwrap(), "shop", content).unwrap();
    }
    let database = || rusqlite::Connection::open(&path).unwrap();
    let entry: Vec<u8> = database()
        .query_row("SELECT entry FROM mlops_entry WHERE sequence = 2", [], |row| row.get(0))
        .unwrap();
    let set = |bytes: &[u8]| {
        database().execute("UPDATE mlops_entry SET entry = ?1 WHERE sequence = 2", [bytes]).unwrap();
    };
    let mut flipped = entry.clone();
    flipped[40] ^= 1;
    for damaged in [&entry[..0], &entry[..entry.len() / 2], &flipped] {
        set(damaged);
        let error = Registry::open(&location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("log entry 2 is damaged"), "{error}");
    }
    set(&entry);
    assert_eq!(Registry::open(&location).unwrap().snapshot().sequence(), 3);
    database().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[4096..].fill(0xa5);
    for (bytes, kind, part) in [
        (b"no database at all, for sure".repeat(200), ErrorKind::Invalid, "it is no SQLite database"),
        (torn, ErrorKind::Data, "it is damaged; restore it from a backup"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = Registry::open(&location).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    std::fs::write(&path, whole).unwrap();
    assert_eq!(Registry::open(&location).unwrap().snapshot().sequence(), 3);
}

#[test]
fn damaged_bytes_are_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let id = register(&registry, "shop", "weights").unwrap();
    let blobs = folder.path().join("blob");
    let blob = blobs.join(&crate::support::tree(&blobs)[0]);
    for damaged in ["Weights", "weight"] {
        std::fs::write(&blob, damaged).unwrap();
        let error = registry.fetch(&id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
    std::fs::remove_file(&blob).unwrap();
    let error = registry.fetch(&id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("it is gone"), "{error}");
}

#[test]
fn a_follower_tells_of_its_failures_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    register(&registry, "shop", "1").unwrap();
    let entry = folder.path().join(format!("log/{:020}.json", 1));
    let whole = std::fs::read(&entry).unwrap();
    let follower = registry.follow(std::time::Duration::from_millis(1)).unwrap();
    std::fs::remove_file(&entry).unwrap();
    while follower.failures() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(follower.take_error().unwrap().kind(), ErrorKind::Data);
    assert_eq!(registry.state().sequence(), 1, "the state stays as it was");
    std::fs::write(&entry, whole).unwrap();
    register(&open(folder.path()), "shop", "2").unwrap();
    while registry.state().sequence() < 2 || follower.failures() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(registry.follow(std::time::Duration::ZERO).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_refused_draft_uploads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let version = || NewVersion::new("shop").file("model.bin", "weights");
    let stranger = mlops_core::ModelVersion::new("fraud", 1);
    for draft in [
        Draft::new("", "why").register(version()),
        Draft::new("ann", "why").register(version().metric("auc", f64::NAN)),
        Draft::new("ann", "why").register(version().parent(stranger)),
        Draft::new("ann", "why").register(version()).remove_alias("shop", "champion", Expect::Version(1)),
    ] {
        registry.commit(draft).unwrap_err();
    }
    let twice = Draft::new("ann", "why").register(version().file("model.bin", "other"));
    let error = registry.commit(twice).unwrap_err();
    assert!(error.to_string().contains("file `model.bin` is given twice"), "{error}");
    assert!(!folder.path().join("blob").exists());
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_is_where_its_address_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let path = path.to_str().unwrap();
    register(&Registry::open(&format!("sqlite:{path}")).unwrap(), "shop", "1").unwrap();
    assert_eq!(Registry::open(&format!("sqlite://{path}")).unwrap().snapshot().sequence(), 1);
    let error = Registry::open(&format!("sqlite:/{path}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let relative = path.trim_start_matches('/');
    let ways_out = format!("want `sqlite:{relative}` for a path from here, or `sqlite:///{relative}`");
    assert!(error.to_string().contains(&ways_out), "{error}");
}

#[test]
fn what_has_to_exist_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let existing = |location: &str| Registry::open_with(Registry::builder().existing(), location);
    let path = folder.path().join("typo");
    let mut locations = vec![path.to_str().unwrap().to_owned(), "memory:".to_owned()];
    if cfg!(feature = "sqlite") {
        locations.push(format!("sqlite:{}/deep/typo.db", folder.path().display()));
    }
    for location in locations {
        let error = existing(&location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("there is no registry at"), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    register(&open(&path), "shop", "1").unwrap();
    assert_eq!(existing(path.to_str().unwrap()).unwrap().snapshot().sequence(), 1);
    #[cfg(feature = "sqlite")]
    {
        let database = folder.path().join("other.db");
        let location = format!("sqlite:{}", database.display());
        // A database of another program stays as it is.
        rusqlite::Connection::open(&database).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        let before = std::fs::read(&database).unwrap();
        let error = existing(&location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("there is no registry in the database"), "{error}");
        assert_eq!(std::fs::read(&database).unwrap(), before);
        // Artifacts in a folder that is not there.
        register(&Registry::open(&location).unwrap(), "shop", "1").unwrap();
        let typo = folder.path().join("artifcats");
        let builder = Registry::builder().existing().artifacts(typo.to_str().unwrap());
        let error = Registry::open_with(builder, &location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("artifcats") && !typo.exists(), "{error}");
        register(&existing(&location).unwrap(), "shop", "2").unwrap();
    }
}

#[test]
fn what_would_not_read_back_is_never_written() {
    use mlops_core::evaluation::{self, Evaluation, Metric, Rule};
    use mlops_registry::{Gate, Policy};
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let id = register(&registry, "shop", "1").unwrap();
    let odd = |metric: Metric| {
        let evaluation = Evaluation::new(9).with("auc", metric);
        let version = NewVersion::new("shop").file("m", "x").evaluation(evaluation);
        Draft::new("ann", "odd").register(version)
    };
    let rules = evaluation::Gate::new([Rule::between("roc_auc", 0.0, f64::INFINITY)]).unwrap();
    let policy = Policy::default().gate("champion", Gate::Evaluation { rules, champion: None });
    for draft in [
        odd(Metric::new(f64::NAN)),
        odd(Metric::new(0.5).with_std_error(Some(f64::NAN))),
        Draft::new("ann", "odd").policy("shop", policy),
    ] {
        let error = registry.commit(draft).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert_eq!(open(folder.path()).snapshot().sequence(), 1);
    // A roll-back that does nothing takes the rest of its draft along.
    let draft =
        Draft::new("bob", "bad").reject(&id).roll_back_alias("shop", "typo", mlops_registry::At::Sequence(1));
    assert_eq!(registry.commit(draft).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(registry.snapshot().sequence(), 1);
}
