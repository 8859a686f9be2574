//! The registry without futures, for callers that have no runtime.
//!
//! ```
//! use mlops_registry::{Draft, Expect, NewVersion, blocking::Registry};
//!
//! let registry = Registry::open("memory:")?;
//! let draft = Draft::new("ann", "first model").register(NewVersion::new("shop").file("model.bin", "weights"));
//! let receipt = registry.commit(draft)?;
//! assert_eq!(receipt.version().unwrap().to_string(), "shop/1");
//! # Ok::<(), mlops_core::Error>(())
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use bytes::Bytes;
use mlops_core::driver::Driver;
use mlops_core::{BoxFuture, ModelFile, ModelPackage, ModelRef, ModelSource, ModelVersion, Result};

use crate::Builder;
use crate::doctor::{Checkup, Report};
use crate::log::Log;
use crate::{Commit, CommitQuery, Draft, NewVersion, Receipt, Snapshot, Swept, Watch};

/// [`Registry`](crate::Registry) without futures. Clones share one state.
///
/// Each method waits on the calling thread. With a network back end a thread for its I/O runs until the last
/// clone is dropped. May be called from inside a runtime too, where it blocks the worker that calls it.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: crate::Registry,
    driver: Driver,
}

impl Registry {
    /// What a registry is opened with, for [`open_with`](Self::open_with).
    pub fn builder() -> Builder {
        crate::Registry::builder()
    }

    /// Opens the registry at a location, see [`Registry::open`](crate::Registry::open).
    ///
    /// # Errors
    /// As for [`Registry::open`](crate::Registry::open).
    pub fn open(location: &str) -> Result<Self> {
        Self::open_with(crate::Registry::builder(), location)
    }

    /// Opens the registry at a location with a clock, a seed or options of the store.
    ///
    /// # Errors
    /// As for [`Registry::open`](crate::Registry::open).
    pub fn open_with(builder: Builder, location: &str) -> Result<Self> {
        let driver = Driver::new()?;
        let inner = driver.wait(builder.open(location))?;
        Ok(Self { inner, driver })
    }

    /// Opens a registry with a log and a blob store of the caller's.
    ///
    /// # Errors
    /// As for [`Builder::open_with`].
    pub fn open_parts(
        builder: Builder,
        log: Arc<dyn Log>,
        blobs: Arc<dyn object_store::ObjectStore>,
    ) -> Result<Self> {
        let driver = Driver::new()?;
        let inner = driver.wait(builder.open_with(log, blobs))?;
        Ok(Self { inner, driver })
    }

    /// Examines the registry at a location without opening it, see [`Builder::doctor`].
    ///
    /// # Errors
    /// As there.
    pub fn doctor_of(builder: Builder, location: &str, checkup: Checkup) -> Result<Report> {
        let driver = Driver::new()?;
        let inner = driver.wait(builder.unread(location))?;
        Self { inner, driver }.doctor(checkup)
    }

    /// The blocking face of a registry that is open, for another thread than those that drive the runtime.
    pub(crate) fn of(registry: crate::Registry) -> Result<Self> {
        Ok(Self { inner: registry, driver: Driver::current()? })
    }

    /// Waits for any future of this registry, its log or its stores.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.driver.wait(future)
    }

    /// The registry with futures behind this one.
    pub fn registry(&self) -> &crate::Registry {
        &self.inner
    }

    /// See [`Registry::state`](crate::Registry::state).
    pub fn state(&self) -> Guard<Arc<Snapshot>> {
        self.inner.state()
    }

    /// See [`Registry::snapshot`](crate::Registry::snapshot).
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot()
    }

    /// See [`Registry::refresh`](crate::Registry::refresh).
    ///
    /// # Errors
    /// As there.
    pub fn refresh(&self) -> Result<Arc<Snapshot>> {
        self.driver.wait(self.inner.refresh())
    }

    /// See [`Registry::commit`](crate::Registry::commit).
    ///
    /// # Errors
    /// As there.
    pub fn commit(&self, draft: Draft) -> Result<Receipt> {
        self.driver.wait(self.inner.commit(draft))
    }

    /// See [`Registry::history`](crate::Registry::history).
    ///
    /// # Errors
    /// As there.
    pub fn history(&self, from: u64, count_max: usize) -> Result<Vec<Commit>> {
        self.driver.wait(self.inner.history(from, count_max))
    }

    /// See [`Registry::find_commits`](crate::Registry::find_commits).
    ///
    /// # Errors
    /// As there.
    pub fn find_commits(&self, query: &CommitQuery) -> Result<Vec<Commit>> {
        self.driver.wait(self.inner.find_commits(query))
    }

    /// See [`Registry::read`](crate::Registry::read).
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, version: &ModelVersion, file: &str) -> Result<Bytes> {
        self.driver.wait(self.inner.read(version, file))
    }

    /// See [`Registry::fetch_to`](crate::Registry::fetch_to).
    ///
    /// # Errors
    /// As there.
    pub fn fetch_to(&self, version: &ModelVersion, folder: impl AsRef<Path>) -> Result<()> {
        self.driver.wait(self.inner.fetch_to(version, folder))
    }

    /// See [`Registry::mend`](crate::Registry::mend).
    ///
    /// # Errors
    /// As there.
    pub fn mend(&self, version: &ModelVersion, file: &str, copy: &ModelFile) -> Result<()> {
        self.driver.wait(self.inner.mend(version, file, copy))
    }

    /// See [`Registry::copy_of`](crate::Registry::copy_of).
    ///
    /// # Errors
    /// As there.
    pub fn copy_of(&self, version: &ModelVersion, model: impl Into<String>) -> Result<NewVersion> {
        self.driver.wait(self.inner.copy_of(version, model))
    }

    /// See [`Registry::sweep`](crate::Registry::sweep).
    ///
    /// # Errors
    /// As there.
    pub fn sweep(&self, actor: &str, reason: &str, grace: Duration) -> Result<Swept> {
        self.driver.wait(self.inner.sweep(actor, reason, grace))
    }

    /// See [`Registry::watch`](crate::Registry::watch).
    pub fn watch(&self, after: u64) -> Watch {
        self.inner.watch(after)
    }

    /// See [`Watch::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll(&self, watch: &mut Watch) -> Result<Vec<Commit>> {
        self.driver.wait(watch.poll())
    }

    /// The version that a reference points at now, as the log has it.
    ///
    /// For an answer without I/O, ask [`state`](Self::state).
    ///
    /// # Errors
    /// As for [`ModelSource::resolve`].
    pub fn resolve(&self, model: &ModelRef) -> Result<ModelVersion> {
        self.driver.wait(self.inner.resolve(model))
    }

    /// The files and the signature of one version, checked against their digests.
    ///
    /// # Errors
    /// As for [`ModelSource::fetch`].
    pub fn fetch(&self, version: &ModelVersion) -> Result<ModelPackage> {
        self.driver.wait(self.inner.fetch(version))
    }
}

/// Futures that are ready when they are polled: any executor drives them, and the poll waits.
impl ModelSource for Registry {
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion>> {
        Box::pin(async move { self.driver.wait(self.inner.resolve(model)) })
    }

    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage>> {
        Box::pin(async move { self.driver.wait(self.inner.fetch(version)) })
    }
}
