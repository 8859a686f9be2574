//! The log on an object store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use mlops_core::{BoxFuture, Error, Result};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};

use super::{Appended, CHECKPOINTS_KEPT, Capabilities, Log, not_scratch};
use crate::store;

/// A log of one object an entry, on a store that can create what is absent (`PutMode::Create`).
///
/// Layout: `log/<number, 20 digits>.json`, `checkpoint/<number, 20 digits>.json`, and `checkpoint/newest`,
/// which holds the number of the newest checkpoint.
#[derive(Clone)]
pub struct ObjectLog {
    store: Arc<dyn ObjectStore>,
    capabilities: Capabilities,
    /// The folder of the store on a local disk.
    pub(crate) folder: Option<PathBuf>,
    scratch: bool,
}

impl ObjectLog {
    /// The log in a store whose root is the registry's; the caller knows what the store promises.
    pub fn new(store: Arc<dyn ObjectStore>, capabilities: Capabilities) -> Self {
        Self { store, capabilities, folder: None, scratch: false }
    }

    async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        match self.store.get(path).await {
            Ok(found) if found.meta.size > OBJECT_BYTES_MAX => Err(Error::data(format!(
                "`{path}` of the registry has {} bytes, which none of its build has: restore it from a backup",
                found.meta.size
            ))),
            Ok(found) => found.bytes().await.map(Some).map_err(|error| store::failed("read", path, error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store::failed("read", path, error)),
        }
    }

    /// The number that the pointer names.
    async fn pointed(&self) -> Result<Option<u64>> {
        let pointer = self.get(&pointer()).await?;
        Ok(pointer.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok()))
    }

    /// The numbers of all checkpoints, the newest first.
    async fn listed(&self) -> Result<Vec<u64>> {
        let folder = Path::from(CHECKPOINTS);
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| store::failed("list", &folder, error))?;
        let number = |object: &object_store::ObjectMeta| {
            object.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok()
        };
        let mut numbers: Vec<_> = listed.iter().filter_map(number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
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
            // Few at first, since most calls find nothing new; then many at once, since a cloud answers slowly.
            let mut at_once = 2;
            while entries.len() < count_max {
                let next = from.saturating_add(entries.len() as u64);
                let wanted = at_once.min(count_max - entries.len());
                let paths: Vec<_> =
                    (0..wanted as u64).map(|ahead| entry_path(next.saturating_add(ahead))).collect();
                let found = try_join_all(paths.iter().map(|path| self.get(path))).await?;
                let before = entries.len();
                entries.extend(found.into_iter().map_while(|entry| entry));
                if entries.len() < before + wanted {
                    break;
                }
                at_once = (at_once * 2).min(READS_AT_ONCE);
            }
            Ok(entries)
        })
    }

    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(async move {
            let number = |name: &str| name.strip_suffix(".json")?.parse::<u64>().ok();
            if let Some(folder) = &self.folder {
                // The store would look at every file, and only the names are wanted.
                let folder = folder.join(LOG);
                let entries = match std::fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => {
                        let what = format!("cannot read `{}`", folder.display());
                        return Err(store::io_failed(&error, &what).with_source(error));
                    }
                };
                let mut highest = None;
                for entry in entries {
                    // One that cannot be read may be the one that tells of a hole.
                    let entry = entry.map_err(|error| {
                        let what = format!("cannot read `{}`", folder.display());
                        store::io_failed(&error, &what).with_source(error)
                    })?;
                    let found = entry.file_name().to_str().and_then(number);
                    highest = highest.max(found.filter(|found| *found > above));
                }
                return Ok(highest);
            }
            let folder = Path::from(LOG);
            let mut listed = self.store.list_with_offset(Some(&folder), &entry_path(above));
            let mut highest = None;
            loop {
                match listed.try_next().await {
                    Ok(Some(object)) => highest = highest.max(object.location.filename().and_then(number)),
                    Ok(None) => return Ok(highest),
                    Err(
                        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. },
                    ) => return Ok(None),
                    Err(error) => return Err(store::failed("list", &folder, error)),
                }
            }
        })
    }

    fn sync(&self, sequence: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(folder) = &self.folder else { return Ok(()) };
            let path = folder.join(entry_path(sequence).as_ref());
            // Only Unix can open a folder to force its names to the disk.
            let parent = path.parent().filter(|_| cfg!(unix));
            for path in [Some(path.as_path()), parent].into_iter().flatten() {
                std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(|error| {
                    let what = format!("cannot force `{}` to the disk", path.display());
                    store::io_failed(&error, &what).with_source(error)
                })?;
            }
            Ok(())
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
            for old in
                self.listed().await?.into_iter().filter(|old| *old < sequence).skip(CHECKPOINTS_KEPT - 1)
            {
                let path = checkpoint_path(old);
                match self.store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(store::failed("delete", &path, error)),
                }
            }
            Ok(())
        })
    }

    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>> {
        Box::pin(async move {
            let pointed = self.pointed().await?.filter(|number| *number < before);
            if let Some(number) = pointed
                && let Some(state) = self.get(&checkpoint_path(number)).await?
            {
                return Ok(Some((number, state)));
            }
            for number in self.listed().await?.into_iter().filter(|number| *number < before) {
                // Another process may have removed it meanwhile.
                if let Some(state) = self.get(&checkpoint_path(number)).await? {
                    return Ok(Some((number, state)));
                }
            }
            Ok(None)
        })
    }

    fn scratch(&self, name: &str) -> Arc<dyn Log> {
        let below = format!("scratch/{name}");
        Arc::new(Self {
            folder: self.folder.as_ref().map(|folder| folder.join(&below)),
            store: Arc::new(PrefixStore::new(self.store.clone(), below)),
            capabilities: self.capabilities,
            scratch: true,
        })
    }

    fn discard(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if !self.scratch {
                return Err(not_scratch());
            }
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

impl fmt::Debug for ObjectLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store would show its credentials.
        let Self { store: _, capabilities, folder, scratch } = self;
        f.debug_struct("ObjectLog")
            .field("capabilities", capabilities)
            .field("folder", folder)
            .field("scratch", scratch)
            .finish_non_exhaustive()
    }
}

fn entry_path(sequence: u64) -> Path {
    Path::from(format!("{LOG}/{sequence:020}.json"))
}

fn checkpoint_path(sequence: u64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{sequence:020}.json"))
}

fn pointer() -> Path {
    Path::from(format!("{CHECKPOINTS}/newest"))
}

/// No entry is over 64 MiB; a checkpoint of that many bytes holds some million versions.
const OBJECT_BYTES_MAX: u64 = 4 << 30;
const LOG: &str = "log";
const CHECKPOINTS: &str = "checkpoint";
const READS_AT_ONCE: usize = 16;
