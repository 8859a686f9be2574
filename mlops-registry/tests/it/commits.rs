//! Commits: versions, aliases, approvals, history, rollback, exactly once.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::{
    Digest, ElementType, ErrorKind, ManualClock, ModelRef, ModelSignature, ModelSource, ModelVersion,
    TensorSpec, Timestamp,
};
use mlops_registry::blocking::Registry;
use mlops_registry::{Approval, At, Change, Draft, Expect, NewVersion};

use crate::support::{open, register, tree};

#[test]
fn everything_recorded_is_read_back_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.json");
    std::fs::write(&path, "{}").unwrap();
    let signature = ModelSignature {
        inputs: vec![TensorSpec::batch("x", ElementType::F32, 17)],
        outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
    };
    let root = folder.path().join("registry");
    let first = open(&root);
    let parent = register(&first, "shop", "old weights").unwrap();
    let version = NewVersion::new("shop")
        .file("weights/model.bin", "weights")
        .file_at("baseline.json", &path)
        .signature(signature.clone())
        .framework("mlops-native")
        .metric("auc", 0.93)
        .tag("market", "eu")
        .description("größer")
        .parent(parent.clone())
        .run("2026-05")
        .data("train", Digest::of("rows"))
        .code("3f2a")
        .baseline("baseline.json");
    let receipt = first.commit(Draft::new("trainer", "rows of May").register(version)).unwrap();
    assert!(!receipt.replayed);
    let id = receipt.version().unwrap().clone();
    assert_eq!(id, ModelVersion::new("shop", 2));

    let second = open(&root);
    let state = second.snapshot();
    assert_eq!(*state, *first.snapshot());
    let found = state.version(&id).unwrap();
    assert_eq!(found.record.signature, signature);
    assert_eq!(found.record.framework.as_deref(), Some("mlops-native"));
    assert_eq!(found.record.metrics["auc"], 0.93);
    assert_eq!(found.tags["market"], "eu");
    assert_eq!(found.record.description, "größer");
    assert_eq!(found.record.parents, [parent]);
    assert_eq!(found.record.run.as_deref(), Some("2026-05"));
    assert_eq!(found.record.data["train"], Digest::of("rows"));
    assert_eq!(found.record.code.as_deref(), Some("3f2a"));
    assert_eq!(found.record.baseline.as_deref(), Some("baseline.json"));
    assert_eq!(
        (found.registered.actor.as_str(), found.registered.reason.as_str()),
        ("trainer", "rows of May")
    );
    let package = second.fetch(&id).unwrap();
    assert_eq!(package.read("weights/model.bin").unwrap(), "weights");
    assert_eq!(package.read("baseline.json").unwrap(), "{}");
    assert_eq!(second.read(&id, "baseline.json").unwrap(), "{}");
    assert_eq!(second.read(&id, "no").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_key_makes_every_retry_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let draft = || {
        let version = NewVersion::new("shop").file("model.bin", "weights").metric("auc", 0.9);
        Draft::new("trainer", "nightly").key("may").register(version)
    };
    let first = open(folder.path()).commit(draft()).unwrap();
    let files = tree(folder.path());
    let again = open(folder.path());
    let second = again.commit(draft()).unwrap();
    assert_eq!(second.commit, first.commit);
    assert!(second.replayed && !first.replayed);
    assert_eq!(again.snapshot().model("shop").unwrap().versions.len(), 1);
    assert_eq!(tree(folder.path()), files, "a retry uploads nothing");

    let other =
        Draft::new("trainer", "nightly").key("may").register(NewVersion::new("shop").file("model.bin", "x"));
    let error = again.commit(other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`may` was used for other changes at log entry 1"), "{error}");

    // A promotion is tried again with what is read then: it is the same operation all the same.
    let id = first.version().unwrap();
    let promote = |expect: Option<u64>| {
        again.commit(Draft::new("ann", "good").key("promote").alias("champion", id, Expect::from(expect)))
    };
    assert!(!promote(None).unwrap().replayed);
    assert!(promote(Some(1)).unwrap().replayed);
}

#[test]
fn equal_bytes_are_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    register(&registry, "a", "same").unwrap();
    register(&registry, "b", "same").unwrap();
    assert_eq!(tree(folder.path()).iter().filter(|path| path.starts_with("blob/")).count(), 1);
}

#[test]
fn aliases_move_by_compare_and_set_and_together() {
    let registry = Registry::open("memory:").unwrap();
    let versions: Vec<_> =
        ["1", "2"].iter().map(|content| register(&registry, "shop", content).unwrap()).collect();
    let other = register(&registry, "fraud", "1").unwrap();
    let set = |expect| Draft::new("ann", "test").alias("champion", &versions[0], expect);
    registry.commit(set(Expect::Absent)).unwrap();
    for (expect, found) in [(Expect::Absent, "nothing"), (Expect::Version(2), "shop/2")] {
        let error = registry.commit(set(expect)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&format!("points at shop/1, expected was {found}")), "{error}");
    }
    // One of the two expectations fails: neither moves.
    let pair = |expect| {
        Draft::new("ann", "both")
            .alias("champion", &versions[1], Expect::Version(1))
            .alias("live", &other, expect)
    };
    assert!(registry.commit(pair(Expect::Version(7))).is_err());
    assert_eq!(registry.state().alias("shop", "champion").unwrap().id().version, 1);
    registry.commit(pair(Expect::Absent)).unwrap();
    assert_eq!(registry.state().alias("shop", "champion").unwrap().id().version, 2);
    assert_eq!(registry.state().alias("fraud", "live").unwrap().id().version, 1);
    // Removed, it is gone, and its history is not.
    registry.commit(Draft::new("ann", "off").remove_alias("fraud", "live", Expect::Version(1))).unwrap();
    assert!(registry.state().alias("fraud", "live").is_none());
    assert_eq!(registry.state().model("fraud").unwrap().aliases["live"].moves.len(), 2);
}

#[test]
fn a_rejected_version_never_serves_and_a_serving_one_is_never_deleted() {
    let registry = Registry::open("memory:").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("bob", "leaks the label").reject(&id)).unwrap();
    let promote = || registry.commit(Draft::new("ann", "go").alias("champion", &id, Expect::Absent));
    let error = promote().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("rejected by bob: leaks the label"), "{error}");
    // The verdict of one reviewer does not lift another's; his own new one does.
    registry.commit(Draft::new("ann", "fine by me").approve(&id)).unwrap();
    assert_eq!(registry.state().version(&id).unwrap().approval, Approval::Rejected);
    registry.commit(Draft::new("bob", "was wrong").approve(&id)).unwrap();
    assert_eq!(registry.state().version(&id).unwrap().approval, Approval::Approved);
    promote().unwrap();

    let delete = || Draft::new("ann", "old").change(Change::Delete { model: "shop".into(), version: 1 });
    assert!(registry.commit(delete()).unwrap_err().to_string().contains("shop@champion points at it"));
    registry.commit(Draft::new("ann", "off").remove_alias("shop", "champion", Expect::Any)).unwrap();
    registry.commit(delete()).unwrap();
    assert!(promote().unwrap_err().to_string().contains("restore it first"));
    registry
        .commit(Draft::new("ann", "oh").change(Change::Restore { model: "shop".into(), version: 1 }))
        .unwrap();
    promote().unwrap();
}

#[test]
fn what_served_when_and_back_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new("2026-05-01T00:00:00Z".parse().unwrap()));
    let builder = mlops_registry::Registry::builder().clock(clock.clone());
    let registry = Registry::open_with(builder, folder.path().to_str().unwrap()).unwrap();
    let promote = |id: &ModelVersion| {
        clock.advance(Duration::from_secs(60));
        registry.commit(Draft::new("ann", "better").alias("champion", id, Expect::Any)).unwrap().commit
    };
    let versions: Vec<_> =
        ["1", "2", "3"].iter().map(|content| register(&registry, "shop", content).unwrap()).collect();
    let commits: Vec<_> = versions.iter().map(promote).collect();
    let state = registry.snapshot();
    let served =
        |at: At| state.served_at("shop", "champion", at).unwrap().map(|version| version.id().version);
    assert_eq!(served(At::Time(Timestamp::EPOCH)), None);
    assert_eq!(served(At::Time(commits[0].time)), Some(1));
    assert_eq!(served(At::Time(commits[1].time.saturating_add(Duration::from_secs(59)))), Some(2));
    assert_eq!(served(At::Sequence(commits[2].sequence)), Some(3));

    // A clock that is set back a year changes the dates, never the order.
    clock.set("2025-05-01T00:00:00Z".parse().unwrap());
    let draft =
        Draft::new("bob", "3 is slow").key("back").roll_back("shop", At::Sequence(commits[0].sequence));
    let back = registry.commit(draft.clone()).unwrap();
    assert!(back.commit.time < commits[0].time);
    let state = registry.snapshot();
    assert_eq!(state.alias("shop", "champion").unwrap().id().version, 1);
    let last =
        state.served_at("shop", "champion", commits[2].time.saturating_add(Duration::from_secs(1))).unwrap();
    assert_eq!(last.unwrap().id().version, 1);
    assert!(registry.commit(draft).unwrap().replayed);
    assert_eq!(register(&registry, "shop", "4").unwrap().version, 4);

    let history = open(folder.path()).history(1, 100).unwrap();
    assert_eq!(history.len(), 8);
    let last = &history[6];
    assert_eq!((last.actor.as_str(), last.reason.as_str()), ("bob", "3 is slow"));
    assert_eq!(last.changes[0].to_string(), "point shop@champion at shop/1");
}

#[test]
fn eight_writers_on_one_folder_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let path = folder.path().to_path_buf();
            std::thread::spawn(move || {
                let registry = open(&path);
                let numbers: Vec<_> = (0..6)
                    .map(|round| register(&registry, "shop", &format!("{writer} {round}")).unwrap().version)
                    .collect();
                assert!(numbers.is_sorted_by(|a, b| a < b));
                numbers
            })
        })
        .collect();
    let mut numbers: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=48).collect::<Vec<_>>());
    assert_eq!(open(folder.path()).snapshot().sequence(), 48);
}

#[test]
fn a_model_source_follows_what_others_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (open(folder.path()), open(folder.path()));
    let id = register(&writer, "shop", "weights").unwrap();
    writer.commit(Draft::new("ann", "go").alias("champion", &id, Expect::Absent)).unwrap();
    let source: &dyn ModelSource = &reader;
    let model: ModelRef = "shop@champion".parse().unwrap();
    let found = now(source.resolve(&model)).unwrap();
    assert_eq!(found, id);
    assert_eq!(now(source.fetch(&found)).unwrap().read("model.bin").unwrap(), "weights");
    let missing = now(source.resolve(&"shop@challenger".parse().unwrap())).unwrap_err();
    assert_eq!(missing.to_string(), "model `shop` has no alias `challenger`: there are `champion`");
}

/// The output of a future that is ready when it is polled.
fn now<T>(mut future: mlops_core::BoxFuture<'_, T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("not ready at once"),
    }
}

#[test]
fn a_checkpoint_gives_the_same_state_as_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    for content in 0..66 {
        let id = register(&registry, "shop", &content.to_string()).unwrap();
        registry.commit(Draft::new("ann", "next").alias("champion", &id, Expect::Any)).unwrap();
    }
    assert_eq!(registry.snapshot().sequence(), 132);
    let checkpoints = folder.path().join("checkpoint");
    assert_eq!(tree(&checkpoints).len(), 3);
    assert_eq!(*open(folder.path()).snapshot(), *registry.snapshot());
    // Torn, the newest is passed over for the one before; with none, the log is read from its start.
    // It is what opening starts at, not the entries before it.
    let early = folder.path().join(format!("log/{:020}.json", 60));
    let entry = std::fs::read(&early).unwrap();
    std::fs::remove_file(&early).unwrap();
    assert_eq!(*open(folder.path()).snapshot(), *registry.snapshot());
    std::fs::write(&early, entry).unwrap();
    let newest = checkpoints.join(format!("{:020}.json", 127));
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(*open(folder.path()).snapshot(), *registry.snapshot());
    std::fs::remove_dir_all(&checkpoints).unwrap();
    assert_eq!(*open(folder.path()).snapshot(), *registry.snapshot());
}

#[test]
fn one_alias_is_rolled_back_and_the_others_stay() {
    let registry = Registry::open("memory:").unwrap();
    let (first, second) =
        (register(&registry, "shop", "1").unwrap(), register(&registry, "shop", "2").unwrap());
    registry.commit(Draft::new("ann", "go").alias("champion", &first, Expect::Absent)).unwrap();
    let both = Draft::new("ann", "next").alias("champion", &second, Expect::Version(1));
    registry.commit(both.alias("challenger", &first, Expect::Absent)).unwrap();
    let back = || Draft::new("bob", "bad").roll_back_alias("shop", "champion", At::Sequence(3));
    registry.commit(back()).unwrap();
    let state = registry.snapshot();
    assert_eq!(state.alias("shop", "champion").unwrap().id(), &first);
    assert_eq!(state.alias("shop", "challenger").unwrap().id(), &first);
    assert!(registry.commit(back()).unwrap_err().to_string().contains("there is nothing to roll back"));
}
