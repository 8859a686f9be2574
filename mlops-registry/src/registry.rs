//! The registry: a log, the blobs, and the state that the log adds up to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use mlops_core::{
    BoxFuture, Clock, Digest, Error, ModelFile, ModelPackage, ModelRef, ModelSource, ModelVersion, Result,
    Seed, SystemClock,
};

use crate::blobs::{Blobs, Measured, measure};
use crate::cache::Cache;
use crate::draft::Step;
use crate::ids::Ids;
use crate::log::{Appended, Capabilities, Log, ObjectLog};
use crate::state::{Refusal, Request, checkpoint};
use crate::{
    Change, Commit, Draft, Expect, FileRecord, Format, NewVersion, Receipt, Snapshot, UploadId, Version,
    VersionRecord, store,
};

/// A registry of models on a storage of the caller's choice. Clones share one state.
///
/// Readers and writers of any number of processes work on one registry at once; the storage is all that they
/// share. Every commit is linearizable: it happens at one point between call and return, and whoever refreshes
/// after that sees it.
///
/// With a folder or memory as storage the futures need no runtime: any executor drives them. See
/// [`blocking`](crate::blocking) for a face without futures.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    location: String,
    log: Arc<dyn Log>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    ids: Ids,
    cache: Option<Cache>,
    snapshot: ArcSwap<Snapshot>,
}

/// What a registry is opened with.
#[derive(Debug)]
pub struct Builder {
    clock: Arc<dyn Clock>,
    ids: Ids,
    options: Vec<(String, String)>,
    cache: Option<(PathBuf, u64)>,
    artifacts: Option<String>,
    name: Option<String>,
}

impl Builder {
    /// The clock that dates the commits, instead of the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The seed of fresh ids, instead of the machine's entropy: for replays of a single process. Two writers
    /// with one seed would make the same ids and overwrite each other's uploads.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.ids = Ids::seeded(seed);
        self
    }

    /// Where the files of versions go when the log is in a database: a folder or a cloud. With SQLite it is the
    /// folder `<database>.artifacts` if it is not named.
    #[must_use]
    pub fn artifacts(mut self, location: impl Into<String>) -> Self {
        self.artifacts = Some(location.into());
        self
    }

    /// The name of the registry in a PostgreSQL database that holds several; `default` if it is not named.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A local folder for the files that [`fetch`](ModelSource::fetch) brings, so that each is downloaded once.
    ///
    /// Any number of processes may share it. What was not used for longest is removed when the files outgrow
    /// `bytes_max`; the files of the version that is being fetched stay. Packages then hold paths into the
    /// folder instead of bytes: constant memory for models of any size.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>, bytes_max: u64) -> Self {
        self.cache = Some((folder.into(), bytes_max));
        self
    }

    /// An option of the store, by the names that `object_store` gives them: `aws_region`, `aws_access_key_id`, ...
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// Opens the registry at a location, see [`Registry::open`].
    ///
    /// # Errors
    /// As for [`Registry::open`].
    pub async fn open(self, location: &str) -> Result<Registry> {
        match store::scheme(location) {
            Some(("sqlite", path)) => {
                let (log, artifacts) = self.sqlite(location, path)?;
                self.open_parts(location, log, artifacts).await
            }
            Some(("postgres" | "postgresql", _)) => {
                let (log, artifacts, shown) = self.postgres(location).await?;
                self.open_parts(&shown, log, artifacts).await
            }
            _ => {
                if self.artifacts.is_some() {
                    return Err(Error::invalid(format!(
                        "`{location}` keeps its artifacts itself: leave out `Builder::artifacts`"
                    )));
                }
                let (store, reach) = store::open(location, &self.options)?;
                let log = ObjectLog::new(store.clone(), Capabilities::all(reach));
                self.open_parts(location, Arc::new(log), store).await
            }
        }
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(
        &self,
        location: &str,
        path: &str,
    ) -> Result<(Arc<dyn Log>, Arc<dyn object_store::ObjectStore>)> {
        let path = store::local_path(path);
        if path.is_empty() {
            return Err(Error::invalid(format!(
                "`{location}` names no file: want `sqlite:path/to/registry.db`"
            )));
        }
        let log = crate::log::SqliteLog::open(path)?;
        let artifacts = self.artifacts.clone().unwrap_or_else(|| format!("{path}.artifacts"));
        Ok((Arc::new(log), store::open(&artifacts, &self.options)?.0))
    }

    #[cfg(not(feature = "sqlite"))]
    #[allow(clippy::unused_self, reason = "the same call with the feature")]
    fn sqlite(&self, location: &str, _: &str) -> Result<(Arc<dyn Log>, Arc<dyn object_store::ObjectStore>)> {
        Err(Error::unsupported(format!("`{location}`: build mlops-registry with its feature `sqlite`")))
    }

    #[cfg(feature = "postgres")]
    async fn postgres(
        &self,
        location: &str,
    ) -> Result<(Arc<dyn Log>, Arc<dyn object_store::ObjectStore>, String)> {
        let Some(artifacts) = &self.artifacts else {
            return Err(Error::invalid(
                "a registry in PostgreSQL needs a place for its artifacts: name it by `Builder::artifacts`",
            ));
        };
        let name = self.name.as_deref().unwrap_or("default");
        let log = crate::log::PostgresLog::connect(location, name).await?;
        let shown = format!("postgres registry `{name}`");
        Ok((Arc::new(log), store::open(artifacts, &self.options)?.0, shown))
    }

    #[cfg(not(feature = "postgres"))]
    #[allow(clippy::unused_async, reason = "the same call with the feature")]
    async fn postgres(&self, _: &str) -> Result<(Arc<dyn Log>, Arc<dyn object_store::ObjectStore>, String)> {
        Err(Error::unsupported("`postgres:`: build mlops-registry with its feature `postgres`"))
    }

    /// Opens a registry with a log and a blob store of the caller's.
    ///
    /// # Errors
    /// `Data` if the log is damaged, `Unavailable` if it is out of reach.
    pub async fn open_with(
        self,
        log: Arc<dyn Log>,
        blobs: Arc<dyn object_store::ObjectStore>,
    ) -> Result<Registry> {
        self.open_parts("custom log", log, blobs).await
    }

    async fn open_parts(
        self,
        location: &str,
        log: Arc<dyn Log>,
        blobs: Arc<dyn object_store::ObjectStore>,
    ) -> Result<Registry> {
        let registry = Registry {
            inner: Arc::new(Inner {
                location: location.to_owned(),
                log,
                blobs: Blobs::new(blobs),
                clock: self.clock,
                ids: self.ids,
                cache: self.cache.map(|(folder, bytes_max)| Cache::open(&folder, bytes_max)).transpose()?,
                snapshot: ArcSwap::default(),
            }),
        };
        registry.load_checkpoint().await?;
        registry.refresh().await?;
        Ok(registry)
    }
}

impl Registry {
    /// Opens the registry at a location, and makes it at its first commit if there is none.
    ///
    /// A path or `file:///path` is a folder, written through to the disk (feature `local`); `memory:` is a new
    /// registry that dies with the process; `s3://bucket/prefix`, `gs://bucket/prefix` and
    /// `az://container/prefix` are clouds (features `aws`, `gcp`, `azure`); `sqlite:path` is a database file
    /// (feature `sqlite`), `postgres://user@host/database` a database (feature `postgres`, with
    /// [`Builder::artifacts`]).
    ///
    /// # Errors
    /// `Invalid` if the location is none, `Unsupported` if it needs another feature or right, `Data` if the log
    /// is damaged, `Unavailable` if the storage is out of reach.
    pub async fn open(location: &str) -> Result<Self> {
        Self::builder().open(location).await
    }

    /// What a registry is opened with: a clock, a seed, options of the store.
    pub fn builder() -> Builder {
        Builder {
            clock: Arc::new(SystemClock::new()),
            ids: Ids::System,
            options: Vec::new(),
            cache: None,
            artifacts: None,
            name: None,
        }
    }

    /// The state as it was last seen: no I/O, no lock, no allocation.
    ///
    /// It grows by [`refresh`](Self::refresh) and by commits of this process. Drop the guard soon; for a state
    /// that is kept, take [`snapshot`](Self::snapshot).
    pub fn state(&self) -> Guard<Arc<Snapshot>> {
        self.inner.snapshot.load()
    }

    /// The state as it was last seen, to keep: consistent in itself, whatever others commit meanwhile.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }

    /// Reads what others committed. Every commit that returned before this call is seen.
    ///
    /// # Errors
    /// `Data` if the log is damaged, `Unavailable` if the storage is out of reach.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>> {
        let seen = self.snapshot();
        let mut entries = self.inner.log.read(seen.sequence() + 1, READ_ENTRIES_MAX).await?;
        if entries.is_empty() {
            return Ok(seen);
        }
        let mut state = Snapshot::clone(&seen);
        while !entries.is_empty() {
            for entry in &entries {
                let (commit, digest) = Commit::decode(state.sequence() + 1, entry)?;
                state.apply(&commit, digest)?;
            }
            entries = self.inner.log.read(state.sequence() + 1, READ_ENTRIES_MAX).await?;
        }
        Ok(self.publish(state))
    }

    /// Commits a draft: uploads its files, then adds one entry to the log.
    ///
    /// When it returns, the commit is durable. When it fails with `Unavailable`, the outcome may be unknown:
    /// commit the same draft with the same [`key`](Draft::key) again. When it is dropped or the process dies,
    /// the commit has happened whole or not at all.
    ///
    /// # Errors
    /// `Conflict` if an expectation does not hold (read and decide again), `NotFound` if a named thing does not
    /// exist, `Invalid` if a name, a value or the reuse of a key is wrong, `Unsupported` if the storage cannot
    /// be written, `Unavailable` if it is out of reach or full, `Data` if the log is damaged.
    pub async fn commit(&self, draft: Draft) -> Result<Receipt> {
        let capabilities = self.inner.log.capabilities();
        if !capabilities.create_if_absent || !capabilities.read_after_write {
            return Err(Error::unsupported(format!(
                "`{}` can only be read: its storage cannot create an entry atomically",
                self.inner.location
            )));
        }
        let prepared = prepare(&draft)?;
        let mut state = self.refresh().await?;
        let operation = match &draft.key {
            Some(key) => key.clone(),
            None => self.fresh(&state)?.to_string(),
        };
        let mut uploads = HashMap::new();
        loop {
            if let Some(done) = state.operation(&operation) {
                if done.request != prepared.digest {
                    return Err(Error::invalid(format!(
                        "the key `{operation}` was used for other changes at log entry {}: take a new key",
                        done.sequence
                    )));
                }
                return Ok(Receipt { commit: self.entry(done.sequence).await?, replayed: true });
            }
            let request = Request {
                operation: operation.clone(),
                digest: prepared.digest,
                actor: draft.actor.clone(),
                reason: draft.reason.clone(),
                changes: self.changes(&draft, &prepared, &state, &mut uploads).await?,
            };
            let commit = match state.validate(&request, self.inner.clock.now()) {
                Ok(commit) => commit,
                Err(Refusal::Error(error)) => return Err(error),
                Err(Refusal::UploadExpired(sha256)) => {
                    uploads.remove(&sha256);
                    continue;
                }
            };
            if let Some((commit, digest)) = self.append(commit).await? {
                let mut next = Snapshot::clone(&state);
                next.apply(&commit, digest)?;
                let next = self.publish(next);
                self.save_checkpoint(&next, commit.sequence).await;
                return Ok(Receipt { commit, replayed: false });
            }
            state = self.refresh().await?;
        }
    }

    /// The commits from a place in the log on, `count_max` at most: who changed what, when and why.
    ///
    /// # Errors
    /// `Data` if the log is damaged, `Unavailable` if the storage is out of reach.
    pub async fn history(&self, from: u64, count_max: usize) -> Result<Vec<Commit>> {
        let from = from.max(1);
        let entries = self.inner.log.read(from, count_max).await?;
        let numbered = entries.iter().zip(from..);
        numbered.map(|(entry, sequence)| Ok(Commit::decode(sequence, entry)?.0)).collect()
    }

    /// The content of one file of a version, checked against its digest.
    ///
    /// # Errors
    /// `NotFound` if there is no such version or file, `Data` if the stored bytes are damaged, `Unavailable` if
    /// the storage is out of reach.
    pub async fn read(&self, version: &ModelVersion, file: &str) -> Result<Bytes> {
        let found = self.stored(version).await?;
        self.inner.blobs.get(found.file(file)?).await
    }

    /// Writes the files of a version below a folder, in constant memory.
    ///
    /// A file appears under its name when its digest was checked. What was interrupted goes on where it ended.
    ///
    /// # Errors
    /// `NotFound` if there is no such version, `Data` if the stored bytes are damaged, `Invalid` if a link lies in
    /// the way, `Unavailable` if the storage is out of reach or the disk is full.
    pub async fn fetch_to(&self, version: &ModelVersion, folder: impl AsRef<Path>) -> Result<()> {
        let found = self.stored(version).await?;
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|error| {
            let what = format!("cannot create `{}`", folder.display());
            store::io_failed(&error, &what).with_source(error)
        })?;
        for (name, file) in &found.record.files {
            // The log may hold what an older or foreign writer let through.
            crate::name::check_file(name)?;
            let place = crate::cache::place(folder, name)?;
            crate::cache::download(&self.inner.blobs, file, &place, self.fresh(&self.state())?).await?;
        }
        Ok(())
    }

    /// The log that it stands on.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// A version whose files are there.
    async fn stored(&self, id: &ModelVersion) -> Result<Arc<Version>> {
        let known = self.state().version(id).ok().cloned();
        let version = match known {
            Some(version) => version,
            None => self.refresh().await?.version(id)?.clone(),
        };
        match &version.purged {
            None => Ok(version),
            Some(by) => Err(Error::not_found(format!(
                "the files of {id} are gone: {} purged it ({})",
                by.actor, by.reason
            ))),
        }
    }

    async fn entry(&self, sequence: u64) -> Result<Commit> {
        match self.history(sequence, 1).await?.pop() {
            Some(commit) => Ok(commit),
            None => Err(Error::data(format!(
                "log entry {sequence} is gone: restore it from a backup of the registry"
            ))),
        }
    }

    pub(crate) fn fresh(&self, state: &Snapshot) -> Result<UploadId> {
        self.inner.ids.fresh(self.inner.clock.now(), state.watermark())
    }

    /// Publishes a state unless a later one is there; gives the later of the two.
    fn publish(&self, state: Snapshot) -> Arc<Snapshot> {
        let state = Arc::new(state);
        let seen = self
            .inner
            .snapshot
            .rcu(|seen| if seen.sequence() < state.sequence() { state.clone() } else { seen.clone() });
        if seen.sequence() < state.sequence() { state } else { seen }
    }

    /// The changes that a draft means on a state; uploads the blobs that the state does not have.
    async fn changes(
        &self,
        draft: &Draft,
        prepared: &Prepared,
        state: &Snapshot,
        uploads: &mut HashMap<Digest, UploadId>,
    ) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(draft.steps.len());
        let mut records = prepared.records.iter();
        for step in &draft.steps {
            match step {
                Step::Change(change) => changes.push(change.clone()),
                Step::RollBack { model, at } => changes.extend(state.moves_back(model.as_deref(), *at)?),
                Step::Register(version) => {
                    // `prepare` made one record for each of these steps, in this order.
                    let Some(mut record) = records.next().cloned() else { continue };
                    for (name, file) in &mut record.files {
                        file.upload = match (state.upload(&file.sha256), uploads.get(&file.sha256)) {
                            (Some(upload), _) => upload,
                            (None, Some(upload)) => *upload,
                            (None, None) => {
                                let blobs = &self.inner.blobs;
                                let found =
                                    blobs.find(file.sha256, file.size_bytes, state.watermark()).await?;
                                let upload = match found {
                                    Some(upload) => upload,
                                    None => {
                                        let upload = self.fresh(state)?;
                                        blobs.put(file.sha256, upload, &version.files[name]).await?;
                                        upload
                                    }
                                };
                                uploads.insert(file.sha256, upload);
                                upload
                            }
                        };
                    }
                    changes.push(Change::Register(Box::new(record)));
                }
            }
        }
        Ok(changes)
    }

    /// Tries to make a commit the next entry. `None` if somebody else's is: look at the new state.
    ///
    /// The place is left only when it is known to be taken by another: an error may hide a success.
    async fn append(&self, commit: Commit) -> Result<Option<(Commit, Digest)>> {
        let sequence = commit.sequence;
        let (entry, digest) = commit.encode()?;
        let entry = Bytes::from(entry);
        let mut failure = None;
        for _ in 0..APPEND_TRIES_MAX {
            match self.inner.log.append(sequence, entry.clone()).await {
                Ok(Appended::Created) => return Ok(Some((commit, digest))),
                Ok(Appended::Taken) => failure = None,
                Err(error) => failure = Some(error),
            }
            let found = match (self.inner.log.read(sequence, 1).await, &failure) {
                (Ok(mut found), _) => found.pop(),
                (Err(error), _) => {
                    let error = failure.unwrap_or(error);
                    return Err(error.context(format!(
                        "it is unknown whether log entry {sequence} was written: commit again with the same key"
                    )));
                }
            };
            if let Some(found) = found {
                let (found, digest) = Commit::decode(sequence, &found)?;
                return Ok((found.operation == commit.operation).then_some((found, digest)));
            }
            if failure.as_ref().is_some_and(|error| !error.is_retryable()) {
                break;
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::unavailable(format!(
                "the store says that log entry {sequence} exists but does not show it: it is not consistent; commit again later"
            ))
        }))
    }

    async fn load_checkpoint(&self) -> Result<()> {
        let mut before = u64::MAX;
        while let Some((sequence, bytes)) = self.inner.log.checkpoint(before).await? {
            if let Some(state) = checkpoint::decode(sequence, &bytes) {
                self.publish(state);
                return Ok(());
            }
            before = sequence;
        }
        Ok(())
    }

    /// Every so often, and never in the way: the log alone holds the truth.
    async fn save_checkpoint(&self, state: &Snapshot, sequence: u64) {
        if sequence.is_multiple_of(CHECKPOINT_ENTRIES)
            && state.sequence() == sequence
            && let Ok(bytes) = checkpoint::encode(state)
        {
            let _ = self.inner.log.save_checkpoint(sequence, bytes.into()).await;
        }
    }
}

/// A draft whose files were measured.
struct Prepared {
    records: Vec<VersionRecord>,
    digest: Digest,
}

fn prepare(draft: &Draft) -> Result<Prepared> {
    let mut records = Vec::new();
    let mut digester = mlops_core::Digester::new();
    for step in &draft.steps {
        match step {
            Step::Change(change) => digester.field(json(&goal(change))?),
            Step::RollBack { model, at } => digester.field(format!("roll back {model:?} {at:?}")),
            Step::Register(version) => {
                let mut files = BTreeMap::new();
                for (name, file) in &version.files {
                    crate::name::check_file(name)?;
                    let Measured { sha256, size_bytes, format, external } = measure(file)?;
                    if format == Format::Pickle && !version.pickle {
                        return Err(Error::invalid(format!(
                            "file `{name}` is a pickle, which runs code when it is loaded: export ONNX or \
                             safetensors, or allow it by `NewVersion::allow_pickle`"
                        )));
                    }
                    check_external(version, name, &external)?;
                    let upload = UploadId::default();
                    files.insert(name.clone(), FileRecord { sha256, size_bytes, format, upload });
                }
                let record = VersionRecord {
                    id: ModelVersion::new(&version.model, 0),
                    files,
                    signature: version.signature.clone(),
                    framework: version.framework.clone(),
                    metrics: version.metrics.clone(),
                    tags: version.tags.clone(),
                    description: version.description.clone(),
                    parents: version.parents.clone(),
                    run: version.run.clone(),
                    data: version.data.clone(),
                    code: version.code.clone(),
                    baseline: version.baseline.clone(),
                };
                digester.field(json(&record)?);
                records.push(record);
            }
        }
    }
    Ok(Prepared { records, digest: digester.finish() })
}

/// Whether the external data of an ONNX model lies among the files of the version, and nowhere else.
fn check_external(version: &NewVersion, model: &str, external: &[String]) -> Result<()> {
    let folder = model.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    for location in external {
        crate::name::check_file(location).map_err(|error| {
            error.context(format!("ONNX model `{model}` reaches for data outside its folder"))
        })?;
        if !version.files.contains_key(&format!("{folder}{location}")) {
            return Err(Error::invalid(format!(
                "ONNX model `{model}` keeps data in `{folder}{location}`: add that file to the version"
            )));
        }
    }
    Ok(())
}

/// A change without its expectation, which a second try reads anew: after the first one succeeded, another holds.
fn goal(change: &Change) -> Change {
    let mut goal = change.clone();
    if let Change::MoveAlias { expect, .. } = &mut goal {
        *expect = Expect::Any;
    }
    goal
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::internal("a change has no JSON form").with_source(error))
}

impl ModelSource for Registry {
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion>> {
        Box::pin(async move { Ok(self.refresh().await?.resolve(model)?.id().clone()) })
    }

    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage>> {
        Box::pin(async move {
            let found = self.stored(version).await?;
            let record = &found.record;
            let mut files = BTreeMap::new();
            for (name, file) in &record.files {
                let content = match &self.inner.cache {
                    None => ModelFile::Bytes(self.inner.blobs.get(file).await?),
                    Some(cache) => {
                        let fresh = self.fresh(&self.state())?;
                        ModelFile::Path(
                            cache.file(&self.inner.blobs, file, self.inner.clock.now(), fresh).await?,
                        )
                    }
                };
                files.insert(name.clone(), (file.sha256, content));
            }
            if let Some(cache) = &self.inner.cache {
                cache.evict(&record.files.values().map(|file| file.sha256).collect::<Vec<_>>())?;
            }
            Ok(ModelPackage::new(version.clone(), record.signature.clone(), files))
        })
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { location, log, .. } = &*self.inner;
        let sequence = self.state().sequence();
        f.debug_struct("Registry")
            .field("location", location)
            .field("log", log)
            .field("sequence", &sequence)
            .finish()
    }
}

const APPEND_TRIES_MAX: usize = 4;
const CHECKPOINT_ENTRIES: u64 = 64;
const READ_ENTRIES_MAX: usize = 256;
