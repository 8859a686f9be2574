//! The log on an object store.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use mlops_core::{BoxFuture, Error, Result};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};

use super::{Appended, Capabilities, Log};
use crate::store;

/// A log of one object an entry, on a store that can create what is absent (`PutMode::Create`).
///
/// Layout: `log/<number, 20 digits>.json`, `checkpoint/<number, 20 digits>.json`, and `checkpoint/newest`,
/// which holds the number of the newest checkpoint.
#[derive(Clone, Debug)]
pub struct ObjectLog {
    store: Arc<dyn ObjectStore>,
    capabilities: Capabilities,
}

impl ObjectLog {
    /// The log in a store whose root is the registry's; the caller knows what the store promises.
    pub fn new(store: Arc<dyn ObjectStore>, capabilities: Capabilities) -> Self {
        Self { store, capabilities }
    }

    async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        match self.store.get(path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| store::failed("read", path, error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store::failed("read", path, error)),
        }
    }

    /// The newest checkpoint before a number, by the pointer or else by listing.
    async fn newest(&self, before: u64) -> Result<Option<u64>> {
        let pointer = self.get(&pointer()).await?;
        let pointed = pointer.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse::<u64>().ok());
        if let Some(pointed) = pointed.filter(|pointed| *pointed < before) {
            return Ok(Some(pointed));
        }
        let folder = Path::from(CHECKPOINTS);
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| store::failed("list", &folder, error))?;
        let numbers = listed
            .iter()
            .filter_map(|object| object.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok());
        Ok(numbers.filter(|number| *number < before).max())
    }
}

impl Log for ObjectLog {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>> {
        Box::pin(async move {
            let path = entry_path(sequence);
            match self.store.put_opts(&path, entry.into(), PutMode::Create.into()).await {
                Ok(_) => Ok(Appended::Created),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(Appended::Taken)
                }
                Err(
                    object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. },
                ) => Err(Error::unsupported(format!(
                    "the store cannot create `{path}` only if it is absent: a registry needs that; use another store"
                ))),
                Err(error) => Err(store::failed("write", &path, error)),
            }
        })
    }

    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(async move {
            let mut entries = Vec::new();
            while entries.len() < count_max {
                match self.get(&entry_path(from + entries.len() as u64)).await? {
                    Some(entry) => entries.push(entry),
                    None => break,
                }
            }
            Ok(entries)
        })
    }

    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let path = checkpoint_path(sequence);
            self.store
                .put(&path, state.into())
                .await
                .map_err(|error| store::failed("write", &path, error))?;
            let pointer = pointer();
            let text = Bytes::from(sequence.to_string());
            self.store
                .put(&pointer, text.into())
                .await
                .map_err(|error| store::failed("write", &pointer, error))?;
            Ok(())
        })
    }

    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>> {
        Box::pin(async move {
            let Some(number) = self.newest(before).await? else { return Ok(None) };
            Ok(self.get(&checkpoint_path(number)).await?.map(|state| (number, state)))
        })
    }

    fn scratch(&self, name: &str) -> Arc<dyn Log> {
        let store = PrefixStore::new(self.store.clone(), format!("scratch/{name}"));
        Arc::new(Self::new(Arc::new(store), self.capabilities))
    }

    fn discard(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let all = Path::default();
            let listed: Vec<_> = self
                .store
                .list(None)
                .try_collect()
                .await
                .map_err(|error| store::failed("list", &all, error))?;
            for object in listed {
                match self.store.delete(&object.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(store::failed("delete", &object.location, error)),
                }
            }
            Ok(())
        })
    }
}

fn entry_path(sequence: u64) -> Path {
    Path::from(format!("log/{sequence:020}.json"))
}

fn checkpoint_path(sequence: u64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{sequence:020}.json"))
}

fn pointer() -> Path {
    Path::from(format!("{CHECKPOINTS}/newest"))
}

const CHECKPOINTS: &str = "checkpoint";
