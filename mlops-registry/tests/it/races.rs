//! A commit that others overtake on the way to its place in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mlops_core::{BoxFuture, Result};
use mlops_registry::log::{Appended, Capabilities, Log, ObjectLog, Reach};
use mlops_registry::{Draft, NewVersion, Registry};
use object_store::memory::InMemory;

use crate::faulty::now;

/// A log on which somebody else is faster at the next appends, one draft at each.
#[derive(Debug)]
pub(crate) struct Overtaken {
    inner: Arc<dyn Log>,
    other: Mutex<Option<Registry>>,
    drafts: Mutex<Vec<Draft>>,
    checkpoints: AtomicU64,
}

impl Overtaken {
    pub(crate) fn by(&self, drafts: impl IntoIterator<Item = Draft>) {
        self.drafts.lock().unwrap().extend(drafts);
    }
}

impl Log for Overtaken {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>> {
        Box::pin(async move {
            let draft = self.drafts.lock().unwrap().pop();
            let other = self.other.lock().unwrap().clone();
            if let (Some(other), Some(draft)) = (other, draft) {
                other.commit(draft).await?;
            }
            self.inner.append(sequence, entry).await
        })
    }

    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.inner.read(from, count_max)
    }

    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>> {
        self.inner.highest(above)
    }

    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>> {
        self.checkpoints.fetch_add(1, Ordering::SeqCst);
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

fn many(model: &str, count: u32) -> Draft {
    (0..count).fold(Draft::new("trainer", "sweep"), |draft, number| {
        draft.register(NewVersion::new(model).file("model.bin", number.to_string()))
    })
}

pub(crate) fn overtaken() -> (Registry, Arc<Overtaken>) {
    let store = Arc::new(InMemory::new());
    let inner = Arc::new(ObjectLog::new(store.clone(), Capabilities::all(Reach::Process)));
    let log = Arc::new(Overtaken {
        inner: inner.clone(),
        other: Mutex::default(),
        drafts: Mutex::default(),
        checkpoints: AtomicU64::default(),
    });
    let registry = now(Registry::builder().open_with(log.clone(), store.clone())).unwrap();
    *log.other.lock().unwrap() = Some(now(Registry::builder().open_with(inner, store)).unwrap());
    (registry, log)
}

#[test]
fn a_commit_that_is_overtaken_again_and_again_gives_its_checkpoint_up() {
    let (registry, log) = overtaken();
    now(registry.commit(many("shop", 1))).unwrap();
    // So many versions at once are due for a checkpoint.
    let receipt = now(registry.commit(many("shop", 70))).unwrap();
    assert!(receipt.commit.checkpoint.is_some());
    assert_eq!(log.checkpoints.load(Ordering::SeqCst), 1);
    log.by([many("other", 1), many("other", 1)]);
    let receipt = now(registry.commit(many("shop", 70))).unwrap();
    assert!(receipt.commit.sequence == 5 && receipt.commit.checkpoint.is_some());
    assert_eq!(log.checkpoints.load(Ordering::SeqCst), 2);
    log.by((0..3).map(|_| many("other", 1)));
    let receipt = now(registry.commit(many("shop", 70))).unwrap();
    assert_eq!((receipt.commit.sequence, receipt.commit.checkpoint), (9, None));
    assert_eq!(log.checkpoints.load(Ordering::SeqCst), 2);
    assert_eq!(registry.snapshot().model("shop").unwrap().versions.len(), 211);
    // The next one that is due has its own.
    assert!(now(registry.commit(many("shop", 70))).unwrap().commit.checkpoint.is_some());
}

#[cfg(feature = "telemetry")]
#[test]
fn a_lost_race_is_counted() {
    let (heard, spans) = crate::telemetry::listen(|| {
        let (registry, log) = overtaken();
        log.by([many("other", 1)]);
        let receipt = now(registry.commit(many("shop", 1))).unwrap();
        assert_eq!(receipt.commit.sequence, 2);
    });
    // On the span of the commit, not on that of its caller if nobody listens to commits.
    assert_eq!(spans.recorded(), [("registry_commit", "attempts=2".to_owned())]);
    let place = "{registry=custom log}";
    for (name, count) in [("races_lost_total", 1), ("commits_read_total", 1), ("commit_seconds", 2)] {
        assert_eq!(heard.count(&format!("{name}{place}")), count, "{name}");
    }
}
