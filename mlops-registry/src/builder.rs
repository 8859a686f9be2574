//! Opening a registry: where it is, and with what.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mlops_core::{Clock, Error, ErrorKind, Result, Seed, SystemClock};

use crate::blobs::Blobs;
use crate::cache::Cache;
use crate::doctor::{Checkup, Report};
use crate::ids::Ids;
use crate::log::{Capabilities, Log, ObjectLog};
use crate::registry::{Inner, Registry};
use crate::store;
use crate::telemetry::{self, Call};

/// What a registry is opened with.
pub struct Builder {
    clock: Arc<dyn Clock>,
    ids: Ids,
    options: Vec<(String, String)>,
    cache: Option<(PathBuf, u64)>,
    artifacts: Option<String>,
    name: Option<String>,
    limits: Limits,
    existing: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of options may be secrets.
        let Self { clock, ids, options, cache, artifacts, name, limits, existing } = self;
        f.debug_struct("Builder")
            .field("clock", clock)
            .field("ids", ids)
            .field("options", &options.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("cache", cache)
            .field("artifacts", &artifacts.as_deref().map(store::shown))
            .field("name", name)
            .field("limits", limits)
            .field("existing", existing)
            .finish()
    }
}

#[cold]
fn no_registry(location: &str) -> Error {
    Error::not_found(format!(
        "there is no registry at `{location}`, or nothing was committed to it: check the location, or open it without \
         `Builder::existing` to make one"
    ))
}

/// Names the way out of a log that cannot be read.
#[cold]
fn to_doctor(error: Error) -> Error {
    if error.kind() != ErrorKind::Data {
        return error;
    }
    Error::data(format!(
        "{error:#}; `Builder::doctor` tells what can still be read and what to restore, without opening the registry"
    ))
}

/// How big what is registered may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) file_bytes: u64,
    pub(crate) version_bytes: u64,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            ids: Ids::System,
            options: Vec::new(),
            cache: None,
            artifacts: None,
            name: None,
            limits: Limits { file_bytes: u64::MAX, version_bytes: u64::MAX },
            existing: false,
        }
    }

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

    /// The name of the registry in a database that holds several, SQLite or PostgreSQL. A registry that is named
    /// keeps its artifacts below `named/<name>`, apart from those of the others.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A local folder for the files that [`fetch`](mlops_core::ModelSource::fetch) brings, so that each is
    /// downloaded once. Any number of processes may share it. Give it a folder of its own: what has another name than
    /// the cache's files is neither counted nor removed, but nobody else should write there.
    ///
    /// Packages then hold paths into the folder instead of bytes: constant memory for models of any size. A path
    /// stays good while the package that names it, or a clone of it, lives; and that of the version of a model that was
    /// fetched last as long as the registry. What was not used for longest is removed when the files outgrow
    /// `bytes_max`; what some process holds so stays, so `bytes_max` should hold the versions that are served at once.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>, bytes_max: u64) -> Self {
        self.cache = Some((folder.into(), bytes_max));
        self
    }

    /// Opens only what exists, and makes no folder, database or table, of the log as of the artifacts: for services
    /// that read. Else it is `NotFound`.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.existing = true;
        self
    }

    /// The most bytes that a file may have which this process registers; any number if it is not set. A version has
    /// 10 000 files at most.
    #[must_use]
    pub fn file_bytes_max(mut self, bytes: u64) -> Self {
        self.limits.file_bytes = bytes;
        self
    }

    /// The most bytes that the files of a version may have together which this process registers; any number if it is
    /// not set.
    #[must_use]
    pub fn version_bytes_max(mut self, bytes: u64) -> Self {
        self.limits.version_bytes = bytes;
        self
    }

    /// An option of the bucket that holds the registry or its [artifacts](Self::artifacts), by the names that
    /// `object_store` gives them. Options are not taken from the environment: what a store needs is given here. But
    /// without credentials `object_store` looks for some itself: for Google Cloud in the file of application default
    /// credentials in the home folder and at the metadata server that `GCE_METADATA_HOST` names, for Azure by
    /// `IDENTITY_HEADER`. A test that means to be without rights gives credentials that have none.
    ///
    /// ```no_run
    /// use mlops_registry::blocking::Registry;
    ///
    /// let builder = Registry::builder()
    ///     .option("aws_region", "eu-central-1")
    ///     .option("aws_access_key_id", "AKIA...")
    ///     .option("aws_secret_access_key", std::env::var("AWS_SECRET_ACCESS_KEY").unwrap());
    /// let registry = Registry::open_with(builder, "s3://company-models/registry")?;
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// Opening is `Invalid` if the store has no such option.
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
        let (log, blobs, shown) = self.parts(location).await?;
        self.open_parts(&shown, log, blobs).await
    }

    /// Examines the registry at a location without opening it: for one that cannot be opened, since an entry of its log
    /// is lost or damaged.
    ///
    /// The log is read and checked from its first entry on, no checkpoint is believed, and nothing is made that does
    /// not exist. Beside what [`Registry::doctor`] finds, it tells what can be read beyond the damage and which entries
    /// have to be restored, with their digests as far as their neighbours state them.
    ///
    /// ```
    /// use mlops_registry::doctor::Checkup;
    /// use mlops_registry::{Draft, NewVersion, Registry, blocking};
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let location = folder.path().to_str().unwrap();
    /// let registry = blocking::Registry::open(location)?;
    /// for file in ["1", "2", "3"] {
    ///     let version = NewVersion::new("shop").file("model.bin", file);
    ///     registry.commit(Draft::new("ann", "nightly").register(version))?;
    /// }
    /// std::fs::remove_file(folder.path().join("log/00000000000000000002.json")).unwrap();
    /// assert!(blocking::Registry::open(location).unwrap_err().to_string().contains("`Builder::doctor`"));
    /// let report = blocking::Registry::doctor_of(Registry::builder(), location, Checkup::default())?;
    /// assert!(report.to_string().contains("restore entry 2 "), "{report}");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if there is no registry, `Unavailable` if the storage is out of reach. Damage is no error but a
    /// finding.
    pub async fn doctor(self, location: &str, checkup: Checkup) -> Result<Report> {
        self.unread(location).await?.doctor(checkup).await
    }

    /// Examines a registry with a log and a blob store of the caller's, as [`doctor`](Self::doctor) does.
    ///
    /// # Errors
    /// As there.
    pub async fn doctor_with(
        self,
        log: Arc<dyn Log>,
        blobs: Arc<dyn object_store::ObjectStore>,
        checkup: Checkup,
    ) -> Result<Report> {
        self.registry("custom log", log, Blobs::new(blobs))?.doctor(checkup).await
    }

    /// The registry at a location that exists, nothing of which was read.
    pub(crate) async fn unread(self, location: &str) -> Result<Registry> {
        let builder = self.existing();
        let (log, blobs, shown) = builder.parts(location).await?;
        builder.registry(&shown, log, blobs)
    }

    /// The log and the blobs at a location, and how it is shown.
    async fn parts(&self, location: &str) -> Result<(Arc<dyn Log>, Blobs, String)> {
        match store::scheme(location) {
            Some(("sqlite", path)) => {
                let (log, blobs) = self.sqlite(location, path)?;
                Ok((log, blobs, location.to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => self.postgres(location).await,
            _ => {
                if self.artifacts.is_some() {
                    return Err(Error::invalid(format!(
                        "`{}` keeps its artifacts itself: leave out `Builder::artifacts`",
                        store::shown(location)
                    )));
                }
                if let Some(name) = &self.name {
                    let shown = store::shown(location);
                    return Err(Error::invalid(format!(
                        "`{shown}` holds one registry: leave out `Builder::name`, or open `{shown}/{name}`"
                    )));
                }
                #[cfg(feature = "local")]
                if self.existing
                    && matches!(store::scheme(location), None | Some(("file", _)))
                    && !std::path::Path::new(store::local_path(location)?).is_dir()
                {
                    return Err(no_registry(&store::shown(location)));
                }
                let place = store::open(location, &self.options, self.existing)?;
                let mut log = ObjectLog::new(place.store.clone(), Capabilities::all(place.reach));
                log.folder.clone_from(&place.folder);
                Ok((Arc::new(log), Blobs::at(place), location.to_owned()))
            }
        }
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(&self, location: &str, path: &str) -> Result<(Arc<dyn Log>, Blobs)> {
        let path = match path.strip_prefix("//") {
            None => store::local_path(path)?,
            Some(absolute) if absolute.is_empty() || absolute.starts_with('/') => absolute,
            // A host in any other URL; never a path that nobody wrote.
            Some(path) => {
                let shown = store::shown(location);
                let path = if shown == location { path } else { "path/to/registry.db" };
                return Err(Error::invalid(format!(
                    "`{shown}` names a host, which a file has not: want `sqlite:{path}` for a path from here, or \
                     `sqlite:///{path}` for one from the root"
                )));
            }
        };
        if path.is_empty() {
            return Err(Error::invalid("`sqlite:` names no file: want `sqlite:path/to/registry.db`"));
        }
        if self.existing && !std::path::Path::new(path).is_file() {
            return Err(no_registry(&store::shown(location)));
        }
        let mut log = if self.existing {
            crate::log::SqliteLog::open_existing(path)?
        } else {
            crate::log::SqliteLog::open(path)?
        };
        if let Some(name) = &self.name {
            log = log.named(name);
        }
        let artifacts = self.artifacts.clone().unwrap_or_else(|| format!("{path}.artifacts"));
        Ok((Arc::new(log), self.blobs(&artifacts)?))
    }

    #[cfg(not(feature = "sqlite"))]
    #[allow(clippy::unused_self, reason = "the same call with the feature")]
    fn sqlite(&self, location: &str, _: &str) -> Result<(Arc<dyn Log>, Blobs)> {
        let shown = store::shown(location);
        Err(Error::unsupported(format!("`{shown}`: build mlops-registry with its feature `sqlite`")))
    }

    #[cfg(feature = "postgres")]
    async fn postgres(&self, location: &str) -> Result<(Arc<dyn Log>, Blobs, String)> {
        let Some(artifacts) = &self.artifacts else {
            return Err(Error::invalid(
                "a registry in PostgreSQL needs a place for its artifacts: name it by `Builder::artifacts`",
            ));
        };
        let blobs = self.blobs(artifacts)?;
        let name = self.name.as_deref().unwrap_or("default");
        let log = if self.existing {
            crate::log::PostgresLog::connect_existing(location, name).await?
        } else {
            crate::log::PostgresLog::connect(location, name).await?
        };
        let shown = format!("postgres registry `{name}` of {}", crate::log::postgres_place(location)?);
        Ok((Arc::new(log), blobs, shown))
    }

    #[cfg(not(feature = "postgres"))]
    #[allow(clippy::unused_async, reason = "the same call with the feature")]
    async fn postgres(&self, _: &str) -> Result<(Arc<dyn Log>, Blobs, String)> {
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
        self.open_parts("custom log", log, Blobs::new(blobs)).await
    }

    /// Where the files of a registry in a database lie: two registries never share a place, since the sweep of
    /// one would remove what the other needs.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn blobs(&self, artifacts: &str) -> Result<Blobs> {
        let mut place = store::open(artifacts, &self.options, self.existing)?;
        if let Some(name) = &self.name {
            crate::name::check_model(name)?;
            let below = format!("named/{name}");
            place.folder = place.folder.map(|folder| folder.join(&below));
            place.store = Arc::new(object_store::prefix::PrefixStore::new(place.store, below));
        }
        Ok(Blobs::at(place))
    }

    fn registry(self, location: &str, log: Arc<dyn Log>, blobs: Blobs) -> Result<Registry> {
        let cache = self.cache.map(|(folder, bytes_max)| Cache::open(&folder, bytes_max)).transpose()?;
        Ok(Registry {
            inner: Arc::new(Inner {
                location: location.to_owned(),
                log,
                blobs,
                clock: self.clock,
                ids: self.ids,
                cache,
                limits: self.limits,
                snapshot: ArcSwap::default(),
            }),
        })
    }

    async fn open_parts(self, location: &str, log: Arc<dyn Log>, blobs: Blobs) -> Result<Registry> {
        let existing = self.existing;
        let registry = self.registry(location, log, blobs)?;
        telemetry::describe();
        let open = async {
            if let Some(state) = registry.checkpoint(u64::MAX).await.map_err(to_doctor)? {
                registry.publish(state);
            }
            let state = registry.refresh_whole().await.map_err(to_doctor)?;
            if existing && state.sequence() == 0 { Err(no_registry(location)) } else { Ok(()) }
        };
        telemetry::told(&registry.inner, Call::Open, telemetry::ok, open).await?;
        Ok(registry)
    }
}
