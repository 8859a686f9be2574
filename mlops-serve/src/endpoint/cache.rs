//! Many models under one memory budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mlops_core::{Clock, Error, ErrorKind, ModelFile, ModelPackage, ModelSource, ModelVersion, Result};

use super::follow::block_on;
use super::{Loader, Model, isolate};
use crate::Overloaded;

/// Loads versions when they are first asked for, keeps them while memory lasts, and unloads the least
/// recently used.
///
/// Concurrent callers of a version that is not there share one load. A version that is damaged or does not
/// fit is not tried again until [`forget`](Self::forget); one that is not there yet, or a source that is out
/// of reach, is. What somebody still uses is not unloaded: an endpoint uses its models, but for those of
/// [`on_demand`](Self::on_demand). A model's size is what its runtime says, and that of its files while it is
/// loaded.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use mlops_core::{Error, BoxFuture, ModelPackage, ModelRef, ModelSource, ModelVersion, SystemClock};
/// # use mlops_serve::endpoint::{Loader, ModelCache};
/// # #[derive(Debug)]
/// # struct Registry;
/// # impl ModelSource for Registry {
/// #     fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
/// #         Box::pin(async { Err(Error::not_found("none")) })
/// #     }
/// #     fn fetch<'a>(&'a self, _: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
/// #         Box::pin(async { Err(Error::not_found("none")) })
/// #     }
/// # }
/// # let (registry, loader) = (Arc::new(Registry), Loader::new(|_| Err(Error::data("none"))));
/// let cache = ModelCache::new(loader, registry, 2 << 30, SystemClock::new());
/// if let Ok(model) = cache.model(&ModelVersion::new("shop", 3)) {
///     println!("{}", model.memory_usage());
/// }
/// // From time to time: what nobody asked for in an hour goes, down to nothing.
/// cache.unload_idle(Duration::from_secs(3600));
/// # assert_eq!(cache.stats().loaded_bytes, 0);
/// ```
#[derive(Debug)]
pub struct ModelCache {
    loader: Loader,
    source: Arc<dyn ModelSource>,
    bytes_max: usize,
    clock: Box<dyn Clock>,
    state: Mutex<State>,
    /// A load has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    models: BTreeMap<ModelVersion, Entry>,
    loading: BTreeSet<ModelVersion>,
    refused: BTreeMap<ModelVersion, (ErrorKind, String)>,
    stats: CacheStats,
    uses: u64,
    /// What loads in progress have set aside.
    reserved_bytes: usize,
}

/// Versions that are remembered as bad: names come from clients.
const REFUSED_MAX: usize = 1024;

#[derive(Debug)]
struct Entry {
    model: Arc<Model>,
    bytes: usize,
    /// The order of use.
    used: u64,
    used_ns: u64,
}

/// What a cache holds, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Models that are loaded.
    pub loaded: usize,
    /// Bytes that they take.
    pub loaded_bytes: usize,
    /// Requests for a model that was there.
    pub hits: u64,
    /// Loads, those that failed included.
    pub loads: u64,
    /// Models that were unloaded.
    pub unloads: u64,
}

impl ModelCache {
    /// An empty cache that holds models of at most this many bytes.
    pub fn new(loader: Loader, source: Arc<dyn ModelSource>, bytes_max: usize, clock: impl Clock) -> Self {
        let (state, ended) = (Mutex::default(), Condvar::new());
        Self { loader, source, bytes_max, clock: Box::new(clock), state, ended }
    }

    /// The model of this version if it is loaded. Does not wait for loads: for the request path.
    pub fn loaded(&self, version: &ModelVersion) -> Option<Arc<Model>> {
        let now_ns = self.clock.monotonic_ns();
        self.state().hit(version, now_ns)
    }

    /// The model of this version, loaded if need be, which may take seconds. The source must work without an
    /// async runtime around it, see [`Loader::fetch_blocking`].
    ///
    /// # Errors
    /// What the source gives, and as [`Loader::load`]; `Unavailable` if the budget has no room for it beside
    /// the models in use, `Unsupported` if it is larger than the whole budget.
    pub fn model(&self, version: &ModelVersion) -> Result<Arc<Model>> {
        let now_ns = self.clock.monotonic_ns();
        let mut state = self.state();
        loop {
            if let Some(model) = state.hit(version, now_ns) {
                return Ok(model);
            }
            if let Some((kind, message)) = state.refused.get(version) {
                return Err(Error::new(*kind, message.clone()));
            }
            if !state.loading.contains(version) {
                break;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.loading.insert(version.clone());
        state.stats.loads += 1;
        drop(state);
        // A source that panics must not leave the others waiting.
        let loaded = isolate(version, || self.load(version));
        let mut state = self.state();
        state.loading.remove(version);
        if let Err(error) = &loaded
            && matches!(error.kind(), ErrorKind::Data | ErrorKind::Invalid | ErrorKind::Unsupported)
        {
            if state.refused.len() >= REFUSED_MAX {
                // Trying one of them again costs a load, no more.
                state.refused.pop_first();
            }
            state.refused.insert(version.clone(), (error.kind(), format!("{error:#}")));
        }
        drop(state);
        self.ended.notify_all();
        loaded
    }

    /// Unloads what nobody asked for in this time and nobody uses. Gives how many that were.
    pub fn unload_idle(&self, idle: Duration) -> usize {
        let now_ns = self.clock.monotonic_ns();
        let limit_ns = u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.state();
        let is_idle = |entry: &Entry| {
            Arc::strong_count(&entry.model) == 1 && now_ns.saturating_sub(entry.used_ns) >= limit_ns
        };
        let idle = state.models.iter().filter(|(_, entry)| is_idle(entry));
        let idle: Vec<ModelVersion> = idle.map(|(version, _)| version.clone()).collect();
        let gone: Vec<Arc<Model>> = idle.iter().filter_map(|version| state.unload(version)).collect();
        drop(state);
        gone.len()
    }

    /// Lets a version that could not be loaded be tried again.
    pub fn forget(&self, version: &ModelVersion) {
        self.state().refused.remove(version);
    }

    /// What it holds, and what it did.
    pub fn stats(&self) -> CacheStats {
        let state = self.state();
        CacheStats { loaded: state.models.len(), ..state.stats }
    }

    pub(super) fn source(&self) -> &dyn ModelSource {
        &*self.source
    }

    /// The memory of this version, 0 if it is not loaded. No use of it.
    pub(super) fn loaded_bytes(&self, version: &ModelVersion) -> usize {
        self.state().models.get(version).map_or(0, |entry| entry.bytes)
    }

    fn load(&self, version: &ModelVersion) -> Result<Arc<Model>> {
        let package = block_on(self.source.fetch(version))?;
        // Its files are the least that it will take: make room before it comes.
        let files = file_bytes(&package);
        let gone = self.state().reserve(version, files, self.bytes_max)?;
        drop(gone);
        let loaded = isolate(version, || self.loader.load(&package));
        let mut state = self.state();
        state.reserved_bytes -= files;
        let model = loaded?;
        let bytes = model.memory_usage().max(1);
        let gone = match state.make_room(version, bytes, self.bytes_max) {
            Ok(gone) => gone,
            Err(error) => {
                drop(state);
                return Err(error);
            }
        };
        state.uses += 1;
        let entry =
            Entry { model: Arc::clone(&model), bytes, used: state.uses, used_ns: self.clock.monotonic_ns() };
        state.stats.loaded_bytes += bytes;
        state.models.insert(version.clone(), entry);
        drop(state);
        // Dropping a model takes time: not under the lock.
        drop(gone);
        Ok(model)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hit(&mut self, version: &ModelVersion, now_ns: u64) -> Option<Arc<Model>> {
        let entry = self.models.get_mut(version)?;
        self.uses += 1;
        self.stats.hits += 1;
        (entry.used, entry.used_ns) = (self.uses, now_ns);
        Some(Arc::clone(&entry.model))
    }

    /// Makes room for the files of a model that is about to be loaded, and keeps it for them.
    fn reserve(&mut self, version: &ModelVersion, bytes: usize, max: usize) -> Result<Vec<Arc<Model>>> {
        let gone = self.make_room(version, bytes, max)?;
        self.reserved_bytes += bytes;
        Ok(gone)
    }

    /// Unloads the least recently used until so many bytes fit; nothing, if they cannot.
    fn make_room(&mut self, version: &ModelVersion, bytes: usize, max: usize) -> Result<Vec<Arc<Model>>> {
        if bytes > max {
            return Err(Error::unsupported(format!(
                "{version} takes {bytes} bytes, more than the {max} that the cache may hold"
            )));
        }
        let mut unused: Vec<(u64, ModelVersion, usize)> = Vec::new();
        for (version, entry) in &self.models {
            if Arc::strong_count(&entry.model) == 1 {
                unused.push((entry.used, version.clone(), entry.bytes));
            }
        }
        let unused_bytes: usize = unused.iter().map(|(.., bytes)| bytes).sum();
        let taken = self.stats.loaded_bytes.saturating_add(self.reserved_bytes);
        let used = taken - unused_bytes;
        if used.saturating_add(bytes) > max {
            return Err(Overloaded::error(format!(
                "{version} takes {bytes} bytes: {used} of {max} are in use by other models"
            )));
        }
        unused.sort_unstable();
        let mut over = taken.saturating_add(bytes).saturating_sub(max);
        let mut gone = Vec::new();
        for (_, version, bytes) in unused {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(bytes);
            gone.extend(self.unload(&version));
        }
        Ok(gone)
    }

    fn unload(&mut self, version: &ModelVersion) -> Option<Arc<Model>> {
        let entry = self.models.remove(version)?;
        self.stats.loaded_bytes -= entry.bytes;
        self.stats.unloads += 1;
        Some(entry.model)
    }
}

fn file_bytes(package: &ModelPackage) -> usize {
    let length = |file: &ModelFile| match file {
        ModelFile::Bytes(bytes) => bytes.len(),
        // A file that is not there fails when it is read.
        ModelFile::Path(path) => {
            path.metadata().map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX))
        }
        _ => 0,
    };
    package.files.values().map(|(_, file)| length(file)).fold(0, usize::saturating_add)
}
