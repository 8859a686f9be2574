//! Calls that would break the registry are refused, and lost answers are told from failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mlops_core::{BoxFuture, Error, ErrorKind, ManualClock, ModelVersion, Result, Timestamp};
use mlops_registry::blocking::Registry;
use mlops_registry::log::{Appended, Capabilities, Log, ObjectLog, Reach};
use mlops_registry::{Change, Draft, Expect, NewVersion, UploadId};
use object_store::memory::InMemory;

use crate::support::{open, register};

#[test]
fn a_record_of_another_registry_is_not_registered_without_its_bytes() {
    let (staging, production) = (Registry::open("memory:").unwrap(), Registry::open("memory:").unwrap());
    let id = register(&staging, "shop", "1").unwrap();
    let record = staging.snapshot().version(&id).unwrap().record.clone();
    let draft = Draft::new("ann", "to production").change(Change::Register(record));
    let error = production.commit(draft).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("take `Draft::register`"), "{error}");
    assert_eq!(production.snapshot().sequence(), 0);
}

#[test]
fn the_watermark_always_leaves_room() {
    let registry = Registry::open("memory:").unwrap();
    let last: UploadId = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse().unwrap();
    let error =
        registry.commit(Draft::new("eve", "x").change(Change::Watermark { upload: last })).unwrap_err();
    assert!(error.to_string().contains("moved by `Registry::sweep` alone"), "{error}");
    // A clock in the year 10889 does not do it either.
    let clock = Arc::new(ManualClock::new("2026-05-01T00:00:00Z".parse().unwrap()));
    let builder = mlops_registry::Registry::builder().clock(clock.clone());
    let registry = Registry::open_with(builder, "memory:").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("ann", "old").delete(&id).purge(&id)).unwrap();
    clock.set(Timestamp::from_micros(((1_i64 << 48) - 1) * 1000));
    let error = registry.sweep("ann", "disk", Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("leaves no room for uploads"), "{error}");
    clock.set("2026-05-02T00:00:00Z".parse().unwrap());
    register(&registry, "shop", "2").unwrap();
}

#[test]
fn bytes_that_were_lost_are_uploaded_again_when_they_are_registered() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let first = register(&registry, "shop", "weights").unwrap();
    std::fs::remove_dir_all(folder.path().join("blob")).unwrap();
    let second = register(&registry, "shop", "weights").unwrap();
    for id in [&first, &second] {
        assert_eq!(registry.read(id, "model.bin").unwrap(), "weights");
    }
}

#[test]
fn an_orphan_that_rotted_is_not_taken_for_an_upload() {
    let folder = tempfile::tempdir().unwrap();
    let big = vec![5_u8; 9 << 20];
    let version = || NewVersion::new("shop").file("big.bin", big.clone());
    open(folder.path()).commit(Draft::new("t", "x").register(version())).unwrap();
    // As if the kill had come between the upload and the commit, and a byte had flipped since.
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    let blobs = folder.path().join("blob");
    let path = blobs.join(&crate::support::tree(&blobs)[0]);
    let mut rotten = big.clone();
    rotten[7] ^= 1;
    std::fs::write(&path, rotten).unwrap();
    let again = open(folder.path());
    let receipt = again.commit(Draft::new("t", "x").register(version())).unwrap();
    assert_eq!(again.read(receipt.version().unwrap(), "big.bin").unwrap(), big);
}

#[test]
fn a_registry_s_own_log_is_not_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let id = register(&registry, "shop", "1").unwrap();
    let log = registry.registry().log().clone();
    let mut discard = std::pin::pin!(log.discard());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = discard.as_mut().poll(&mut context) else { panic!("discarded") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(open(folder.path()).read(&id, "model.bin").unwrap(), "1");
}

#[test]
fn places_that_are_not_what_they_seem() {
    let refused = |location: &str, part: &str| {
        let error = Registry::open(location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    };
    refused("file://localhost/srv/registry", "names a host");
    refused("file:///srv/my%20registry", "not decoded");
    let named = mlops_registry::Registry::builder().name("a");
    let error = Registry::open_with(named, "memory:").unwrap_err();
    assert!(error.to_string().contains("holds one registry: leave out `Builder::name`"), "{error}");
}

#[cfg(feature = "sqlite")]
#[test]
fn registries_of_one_database_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("sqlite:{}", folder.path().join("registry.db").display());
    let open =
        |name: &str| Registry::open_with(mlops_registry::Registry::builder().name(name), &location).unwrap();
    let (a, b) = (open("a"), open("b"));
    let id = register(&a, "shop", "1").unwrap();
    assert_eq!(b.refresh().unwrap().sequence(), 0);
    let old = register(&b, "fraud", "2").unwrap();
    b.commit(Draft::new("ann", "old").delete(&old).purge(&old)).unwrap();
    assert_eq!(b.sweep("ann", "disk", Duration::ZERO).unwrap().uploads, 1);
    assert_eq!(open("a").read(&id, "model.bin").unwrap(), "1", "a sweep of one leaves the other's files");
    assert_eq!(Registry::open(&location).unwrap().snapshot().sequence(), 0);
}

/// A log that writes and then loses its answer, and counts what it is asked to make durable.
#[derive(Debug)]
struct Forgetful {
    inner: ObjectLog,
    /// How many appends from now on lose their answer; above, they are not even written.
    lost: AtomicU64,
    unreadable: bool,
    synced: AtomicU64,
}

impl Log for Forgetful {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>> {
        Box::pin(async move {
            if self.lost.load(Ordering::SeqCst) == 0 {
                return self.inner.append(sequence, entry).await;
            }
            self.lost.fetch_sub(1, Ordering::SeqCst);
            self.inner.append(sequence, entry).await?;
            Err(Error::unavailable("the answer is lost"))
        })
    }

    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>> {
        self.inner.highest(above)
    }

    fn sync(&self, _: u64) -> BoxFuture<'_, Result<()>> {
        self.synced.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        if self.unreadable && self.lost.load(Ordering::SeqCst) == 0 {
            return Box::pin(async { Err(Error::unavailable("the network is gone")) });
        }
        self.inner.read(from, count_max)
    }

    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>> {
        self.inner.save_checkpoint(sequence, state)
    }

    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>> {
        self.inner.checkpoint(before)
    }

    fn scratch(&self, name: &str) -> Arc<dyn Log> {
        self.inner.scratch(name)
    }

    fn discard(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.discard()
    }
}

fn forgetful(store: &Arc<InMemory>, unreadable: bool) -> (Arc<Forgetful>, Registry) {
    let inner = ObjectLog::new(store.clone(), Capabilities::all(Reach::Process));
    let log = Arc::new(Forgetful { inner, lost: 1.into(), unreadable, synced: 0.into() });
    let registry =
        Registry::open_parts(mlops_registry::Registry::builder(), log.clone(), store.clone()).unwrap();
    (log, registry)
}

#[test]
fn an_entry_whose_answer_was_lost_is_made_durable() {
    let (log, registry) = forgetful(&Arc::new(InMemory::new()), false);
    let draft = Draft::new("t", "x").key("k").register(NewVersion::new("shop").file("model.bin", "1"));
    assert!(!registry.commit(draft.clone()).unwrap().replayed);
    assert_eq!(log.synced.load(Ordering::SeqCst), 1);
    // So is one that is met as done: who wrote it may have died before.
    assert!(registry.commit(draft).unwrap().replayed);
    assert_eq!(log.synced.load(Ordering::SeqCst), 2);
}

#[test]
fn a_draft_without_a_key_can_be_tried_again_after_an_unknown_outcome() {
    let store = Arc::new(InMemory::new());
    let (_, registry) = forgetful(&store, true);
    let draft = || Draft::new("t", "x").register(NewVersion::new("shop").file("model.bin", "1"));
    let error = registry.commit(draft()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let message = error.to_string();
    let key = message.split("`.key(\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let log = Arc::new(ObjectLog::new(store.clone(), Capabilities::all(Reach::Process)));
    let other = Registry::open_parts(mlops_registry::Registry::builder(), log, store).unwrap();
    assert!(other.commit(draft().key(key)).unwrap().replayed, "{message}");
    assert_eq!(other.snapshot().model("shop").unwrap().versions.len(), 1);
}

#[test]
fn one_key_for_different_drafts_of_two_processes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    register(&open(folder.path()), "shop", "0").unwrap();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let path = folder.path();
                scope.spawn(move || {
                    let id = ModelVersion::new("shop", 1);
                    let draft = Draft::new("t", "x").key("same").tag(&id, "writer", writer.to_string());
                    open(path).commit(draft)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(error.to_string().contains("`same` was used for other changes"), "{error}");
    }
}

#[test]
fn files_that_another_process_purged_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let id = register(&registry, "shop", "1").unwrap();
    let other = open(folder.path());
    other.commit(Draft::new("ann", "old").delete(&id).purge(&id)).unwrap();
    other.sweep("ann", "disk", Duration::ZERO).unwrap();
    for error in [
        registry.read(&id, "model.bin").unwrap_err(),
        open(folder.path()).fetch_to(&id, folder.path().join("out")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("ann purged it (old)"), "{error}");
    }
}

#[test]
fn blocking_callers_resolve() {
    let registry = Registry::open("memory:").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("ann", "go").alias("champion", &id, Expect::Absent)).unwrap();
    assert_eq!(registry.resolve(&"shop@champion".parse().unwrap()).unwrap(), id);
    assert_eq!(registry.resolve(&"shop@x".parse().unwrap()).unwrap_err().kind(), ErrorKind::NotFound);
}
