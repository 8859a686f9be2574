//! Many models under one memory budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mlops_core::{Clock, Error, ErrorKind, ModelFile, ModelPackage, ModelSource, ModelVersion, Result};

use super::follow::block_on;
use super::{Loader, Model, isolate};

/// Loads versions when they are first asked for, keeps them while memory lasts, and unloads the least
/// recently used.
///
/// Concurrent callers of a version that is not there share one load. A version that cannot be loaded is not
/// tried again until [`forget`](Self::forget); a source that is out of reach is. What somebody still uses is
/// not unloaded. A model's size is what its runtime says, and at least that of its files while it is loaded.
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
}

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
    /// the models in use.
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
            && !error.is_retryable()
        {
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

    fn load(&self, version: &ModelVersion) -> Result<Arc<Model>> {
        let package = block_on(self.source.fetch(version))?;
        // Its files are the least that it will take: make room before it comes.
        let files = file_bytes(&package);
        let gone = self.state().make_room(version, files, self.bytes_max)?;
        drop(gone);
        let model = self.loader.load(&package)?;
        let bytes = model.memory_usage().max(1);
        let mut state = self.state();
        let gone = state.make_room(version, bytes, self.bytes_max)?;
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

    /// Unloads the least recently used until so many bytes fit.
    fn make_room(&mut self, version: &ModelVersion, bytes: usize, max: usize) -> Result<Vec<Arc<Model>>> {
        let mut gone = Vec::new();
        while self.stats.loaded_bytes.saturating_add(bytes) > max {
            let unused = self.models.iter().filter(|(_, entry)| Arc::strong_count(&entry.model) == 1);
            let oldest = unused.min_by_key(|(_, entry)| entry.used).map(|(version, _)| version.clone());
            match oldest.and_then(|oldest| self.unload(&oldest)) {
                Some(model) => gone.push(model),
                None => {
                    let used = self.stats.loaded_bytes;
                    return Err(Error::unavailable(format!(
                        "{version} takes {bytes} bytes: {used} of {max} are in use by other models"
                    )));
                }
            }
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
