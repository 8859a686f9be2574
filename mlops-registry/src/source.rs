//! The files of versions on their way out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mlops_core::{
    BoxFuture, Error, ErrorKind, ModelFile, ModelPackage, ModelRef, ModelSource, ModelVersion, Result,
};

use crate::content::Content;
use crate::many::at_once;
use crate::registry::Registry;
use crate::telemetry::{self, Amount, Call};
use crate::{FileRecord, Version, download, store};

impl Registry {
    /// The content of one file of a version, checked against its digest.
    ///
    /// # Errors
    /// `NotFound` if there is no such version or file, `Data` if the stored bytes are damaged, `Unavailable` if
    /// the storage is out of reach.
    pub async fn read(&self, version: &ModelVersion, file: &str) -> Result<Bytes> {
        let read = async {
            let found = self.stored(version).await?;
            let read = self.inner.blobs.get(found.file(file)?).await;
            self.unless_purged(version, read).await
        };
        let bytes = telemetry::told(&self.inner, Call::Fetch(version), telemetry::ok, read).await?;
        telemetry::add(&self.inner, Amount::BytesFetched, bytes.len() as u64);
        Ok(bytes)
    }

    /// Writes the files of a version below a folder, in constant memory.
    ///
    /// A file appears under its name when its digest was checked, in any order: eight are under way at once. Files of
    /// another version that lie there stay unless they have the same names. For a folder that is whole or not there, fetch into a
    /// fresh one beside it and rename that. What was interrupted goes on where it ended: files that are whole are
    /// not fetched again, and the part of one is continued. Parts lie in the folder as `.mlops-part-<digest>`.
    ///
    /// # Errors
    /// `NotFound` if there is no such version, `Data` if the stored bytes are damaged, `Invalid` if a link lies in
    /// the way, `Unavailable` if the storage is out of reach or the disk is full.
    pub async fn fetch_to(&self, version: &ModelVersion, folder: impl AsRef<Path>) -> Result<()> {
        let write = self.write_to(version, folder.as_ref());
        telemetry::told(&self.inner, Call::Fetch(version), telemetry::ok, write).await
    }

    async fn write_to(&self, version: &ModelVersion, folder: &Path) -> Result<()> {
        let found = self.stored(version).await?;
        std::fs::create_dir_all(folder).map_err(|error| {
            let what = format!("cannot create `{}`", folder.display());
            store::io_failed(&error, &what).with_source(error)
        })?;
        let write = |(name, file): (String, FileRecord)| async move {
            // The log may hold what an older or foreign writer let through.
            crate::name::check_file(&name)?;
            let place = download::place(folder, &name)?;
            let fresh = self.fresh(&self.state())?;
            download::download(&self.inner.blobs, &file, folder, &place, fresh).await
        };
        let written = at_once(found.record.files.clone().into_iter(), write).await;
        self.unless_purged(version, written).await?;
        download::remove_parts(folder);
        telemetry::add(&self.inner, Amount::BytesFetched, size_bytes(&found));
        Ok(())
    }

    /// Brings the bytes of a file back that were lost or damaged, from a copy of them.
    ///
    /// ```
    /// use mlops_registry::{Draft, NewVersion, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// let version = NewVersion::new("shop").file("model.bin", "weights");
    /// let receipt = registry.commit(Draft::new("ann", "first").register(version))?;
    /// let id = receipt.version().unwrap();
    /// registry.mend(id, "model.bin", &mlops_core::ModelFile::Bytes("weights".into()))?;
    /// assert!(registry.mend(id, "model.bin", &mlops_core::ModelFile::Bytes("others".into())).is_err());
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if there is no such version or file, `Conflict` if the copy does not have the digest that was
    /// registered, `Unavailable` if the storage is out of reach or full.
    pub async fn mend(&self, version: &ModelVersion, file: &str, copy: &ModelFile) -> Result<()> {
        let found = self.stored(version).await?;
        self.inner.blobs.put(found.file(file)?, &Content::File(copy.clone())).await
    }

    /// A version whose files are there.
    pub(crate) async fn stored(&self, id: &ModelVersion) -> Result<Arc<Version>> {
        let known = self.state().version(id).ok().cloned();
        let version = match known {
            Some(version) => version,
            None => self.refresh().await?.version(id)?.clone(),
        };
        check_stored(version)
    }

    /// What became of a read of the files of a version: they are no damage if another process purged it meanwhile.
    async fn unless_purged<T>(&self, id: &ModelVersion, read: Result<T>) -> Result<T> {
        match read {
            Err(error) if error.kind() == ErrorKind::Data => {
                check_stored(self.refresh().await?.version(id)?.clone())?;
                Err(error)
            }
            read => read,
        }
    }
}

fn size_bytes(version: &Version) -> u64 {
    version.record.files.values().map(|file| file.size_bytes).sum()
}

fn check_stored(version: Arc<Version>) -> Result<Arc<Version>> {
    match &version.purged {
        None => Ok(version),
        Some(by) => Err(Error::not_found(format!(
            "the files of {} are gone: {} purged it ({})",
            version.id(),
            by.actor,
            by.reason
        ))),
    }
}

impl ModelSource for Registry {
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion>> {
        // By the name that was asked for: after a rename a service goes on with what it had.
        Box::pin(async move {
            let version = self.refresh().await?.resolve(model)?.id().version;
            Ok(ModelVersion::new(model.name.clone(), version))
        })
    }

    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage>> {
        let fetch = async {
            let found = self.stored(version).await?;
            let package = self.package(&found, version).await;
            let package = self.unless_purged(version, package).await?;
            telemetry::add(&self.inner, Amount::BytesFetched, size_bytes(&found));
            Ok(package)
        };
        Box::pin(telemetry::told(&self.inner, Call::Fetch(version), telemetry::ok, fetch))
    }
}

impl Registry {
    async fn package(&self, version: &Version, id: &ModelVersion) -> Result<ModelPackage> {
        let record = &version.record;
        // Files of the same bytes are one.
        let mut met = BTreeSet::new();
        let mut wanted: Vec<_> = record.files.values().cloned().collect();
        wanted.retain(|file| met.insert(file.sha256));
        let bring = |file: FileRecord| async move {
            let Some(cache) = &self.inner.cache else {
                return Ok((file.sha256, ModelFile::Bytes(self.inner.blobs.get(&file).await?), None));
            };
            let fresh = self.fresh(&self.state())?;
            let (path, lock) = cache.file(&self.inner.blobs, &file, self.inner.clock.now(), fresh).await?;
            Ok((file.sha256, ModelFile::Path(path), Some(lock)))
        };
        let mut contents = BTreeMap::new();
        let mut locks = Vec::new();
        for (sha256, content, lock) in at_once(wanted.into_iter(), bring).await? {
            contents.insert(sha256, content);
            locks.extend(lock);
        }
        let of = |file: &FileRecord| Some((file.sha256, contents.get(&file.sha256)?.clone()));
        let files = record.files.iter().filter_map(|(name, file)| Some((name.clone(), of(file)?))).collect();
        let package = ModelPackage::new(id.clone(), record.signature.clone(), files);
        let Some(cache) = &self.inner.cache else { return Ok(package) };
        let lease = cache.hold(self.state().first_name(&id.name), locks);
        cache.evict()?;
        Ok(package.with_lease(lease))
    }
}
