//! The bytes of model files, kept by digest on an object store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, TryStreamExt as _};
use mlops_core::{Digest, Digester, Error, ModelFile, Result};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use crate::content::{Content, Parts};
use crate::store::Place;
use crate::{FileRecord, UploadId, store};

/// The blobs of a registry: `blob/<sha256>/<upload>`.
#[derive(Clone)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder of the store on a local disk.
    folder: Option<PathBuf>,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store would show its credentials.
        f.debug_struct("Blobs").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Blobs {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, folder: None }
    }

    pub(crate) fn at(place: Place) -> Self {
        Self { store: place.store, folder: place.folder }
    }

    /// Stores the bytes of a file under its upload, over what may be there. Streams: memory stays at some parts.
    pub(crate) async fn put(&self, record: &FileRecord, content: &Content) -> Result<()> {
        let path = blob_path(&record.sha256, record.upload);
        let failed = |error| store::failed("write", &path, error);
        let part_bytes = part_bytes(record.size_bytes);
        let mut source = Parts::open(content, part_bytes).await?;
        if !is_big(record) {
            let bytes = source.next().await?;
            if Digest::of(&bytes) != record.sha256 {
                return Err(changed(content));
            }
            self.store.put(&path, bytes.into()).await.map_err(failed)?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&path).await.map_err(failed)?;
        match copy(&mut source, record.size_bytes, &mut *upload, &path).await {
            Ok(digest) if digest == record.sha256 => upload.complete().await.map(drop).map_err(failed),
            copied => {
                // The copy failed already. Parts that stay behind are swept on a local disk; a cloud needs a rule
                // of its own against unfinished uploads.
                let _ = upload.abort().await;
                copied.and(Err(changed(content)))
            }
        }
    }

    /// A whole upload of these bytes that lies in the store already: what an interrupted try left behind.
    ///
    /// Only asked for big files, since a look costs a request, and reads them to be sure.
    pub(crate) async fn find(&self, record: &FileRecord, floor: UploadId) -> Result<Option<UploadId>> {
        if record.size_bytes < PART_BYTES_MIN as u64 {
            return Ok(None);
        }
        let folder = Path::from(format!("blob/{}", record.sha256));
        let mut found: Vec<_> = self
            .listed(&folder)
            .await?
            .into_iter()
            .filter(|(_, upload, size_bytes)| *size_bytes == record.size_bytes && *upload >= floor)
            .collect();
        found.sort_unstable();
        while let Some((_, upload, _)) = found.pop() {
            if self.fault(&FileRecord { upload, ..record.clone() }).await.is_none() {
                return Ok(Some(upload));
            }
        }
        Ok(None)
    }

    /// The length of the stored bytes of a file; `None` if they are gone.
    pub(crate) async fn size(&self, file: &FileRecord) -> Result<Option<u64>> {
        let path = blob_path(&file.sha256, file.upload);
        match self.store.head(&path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store::failed("read", &path, error)),
        }
    }

    /// Brings the bytes of a file back from another upload of them, if that one is whole.
    pub(crate) async fn restore(&self, file: &FileRecord, from: UploadId) -> Result<bool> {
        if self.fault(&FileRecord { upload: from, ..file.clone() }).await.is_some() {
            return Ok(false);
        }
        let (from, to) = (blob_path(&file.sha256, from), blob_path(&file.sha256, file.upload));
        self.store.copy(&from, &to).await.map_err(|error| store::failed("write", &to, error))?;
        Ok(true)
    }

    /// Removes what killed writers left half written on a local disk and nobody has touched since a time; gives
    /// how many bytes. The store hides such files, `<name>#<number>`, from its listings.
    pub(crate) fn remove_staged(&self, untouched_since: SystemTime) -> Result<u64> {
        let mut bytes = 0;
        let mut left: Vec<PathBuf> = self
            .folder
            .iter()
            .flat_map(|folder| ["blob", "log", "checkpoint"].map(|name| folder.join(name)))
            .collect();
        while let Some(folder) = left.pop() {
            // Another process may have removed it meanwhile.
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    left.push(entry.path());
                } else if is_staged(&entry.file_name())
                    && metadata.modified().is_ok_and(|modified| modified < untouched_since)
                {
                    match std::fs::remove_file(entry.path()) {
                        Ok(()) => bytes += metadata.len(),
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        Err(error) => {
                            let what = format!("cannot remove `{}`", entry.path().display());
                            return Err(store::io_failed(&error, &what).with_source(error));
                        }
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// All uploads in the store, with their sizes.
    pub(crate) async fn list(&self) -> Result<Vec<(Digest, UploadId, u64)>> {
        self.listed(&Path::from("blob")).await
    }

    async fn listed(&self, folder: &Path) -> Result<Vec<(Digest, UploadId, u64)>> {
        let found: Vec<_> = self
            .store
            .list(Some(folder))
            .try_collect()
            .await
            .map_err(|error| store::failed("list", folder, error))?;
        let known = |object: &ObjectMeta| {
            upload_of(&object.location).map(|(sha256, upload)| (sha256, upload, object.size))
        };
        Ok(found.iter().filter_map(known).collect())
    }

    pub(crate) async fn delete(&self, sha256: &Digest, upload: UploadId) -> Result<()> {
        let path = blob_path(sha256, upload);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store::failed("delete", &path, error)),
        }
    }

    /// The bytes of a file from an offset on, as they come.
    pub(crate) async fn stream(
        &self,
        file: &FileRecord,
        from: u64,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let path = blob_path(&file.sha256, file.upload);
        let range = (from > 0).then_some(GetRange::Offset(from));
        let options = GetOptions { range, ..GetOptions::default() };
        let found =
            self.store.get_opts(&path, options).await.map_err(|error| store::failed("read", &path, error))?;
        if found.meta.size != file.size_bytes {
            return Err(wrong_size(&path, found.meta.size, file));
        }
        Ok(found.into_stream().map_err(move |error| store::failed("read", &path, error)))
    }

    /// What is wrong with the stored bytes of a file, read in constant memory; `None` if nothing is.
    pub(crate) async fn fault(&self, file: &FileRecord) -> Option<Error> {
        let read = async {
            let mut digester = Digester::new();
            let mut stream = std::pin::pin!(self.stream(file, 0).await?);
            while let Some(bytes) = stream.try_next().await? {
                digester.update(&bytes);
            }
            let (digest, path) = (digester.finish(), blob_path(&file.sha256, file.upload));
            if digest == file.sha256 { Ok(()) } else { Err(wrong_digest(&path, &digest)) }
        };
        read.await.err()
    }

    /// The bytes of a file, checked against its digest.
    pub(crate) async fn get(&self, file: &FileRecord) -> Result<Bytes> {
        let path = blob_path(&file.sha256, file.upload);
        let found = self.store.get(&path).await.map_err(|error| store::failed("read", &path, error))?;
        if found.meta.size != file.size_bytes {
            return Err(wrong_size(&path, found.meta.size, file));
        }
        let bytes = found.bytes().await.map_err(|error| store::failed("read", &path, error))?;
        let digest = Digest::of(&bytes);
        if digest != file.sha256 {
            return Err(wrong_digest(&path, &digest));
        }
        Ok(bytes)
    }
}

/// Copies so many bytes part by part; gives the digest of all that was there.
async fn copy(
    from: &mut Parts<'_>,
    size_bytes: u64,
    to: &mut dyn MultipartUpload,
    path: &Path,
) -> Result<Digest> {
    let mut digester = Digester::new();
    let mut writing = FuturesUnordered::new();
    let mut left = size_bytes;
    while left > 0 {
        let part = from.next().await?;
        digester.update(&part);
        // A file that shrank or grew meanwhile has another digest.
        left = if part.is_empty() { 0 } else { left.saturating_sub(part.len() as u64) };
        writing.push(to.put_part(part.into()));
        if writing.len() == PARTS_AT_ONCE || left == 0 {
            let keep = if left == 0 { 0 } else { PARTS_AT_ONCE - 1 };
            while writing.len() > keep {
                writing.try_next().await.map_err(|error| store::failed("write", path, error))?;
            }
        }
    }
    Ok(digester.finish())
}

#[cold]
fn changed(content: &Content) -> Error {
    let name = match content {
        Content::File(ModelFile::Path(path)) => format!("file `{}`", path.display()),
        Content::File(_) => "a file".to_owned(),
        Content::Stored(_, file) => {
            let path = blob_path(&file.sha256, file.upload);
            return Error::data(format!(
                "`{path}` of the registry that is copied from is damaged: look at it with its doctor"
            ));
        }
    };
    Error::conflict(format!(
        "{name} changed while it was being registered, or does not have the bytes that were registered"
    ))
}

#[cold]
fn wrong_size(path: &Path, found: u64, file: &FileRecord) -> Error {
    let want = file.size_bytes;
    Error::data(format!(
        "`{path}` of the registry is damaged: it has {found} bytes, registered were {want}; restore it from a backup"
    ))
}

#[cold]
fn wrong_digest(path: &Path, found: &Digest) -> Error {
    Error::data(format!(
        "`{path}` of the registry is damaged: its digest is {found}; restore it from a backup"
    ))
}

fn upload_of(path: &Path) -> Option<(Digest, UploadId)> {
    let mut parts = path.parts();
    let (_, sha256, upload) = (parts.next()?, parts.next()?, parts.next()?);
    Some((sha256.as_ref().parse().ok()?, upload.as_ref().parse().ok()?))
}

/// Whether a local store made the name for a file that is being written.
fn is_staged(name: &std::ffi::OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

fn blob_path(sha256: &Digest, upload: UploadId) -> Path {
    Path::from(format!("blob/{sha256}/{upload}"))
}

/// Whether a file is uploaded in parts.
pub(crate) fn is_big(file: &FileRecord) -> bool {
    file.size_bytes > part_bytes(file.size_bytes) as u64
}

/// The size of the parts of a big file: all but the last are of one size, and S3 takes 10 000 of them at most.
fn part_bytes(size_bytes: u64) -> usize {
    let enough = usize::try_from(size_bytes.div_ceil(9000).next_multiple_of(1 << 20)).unwrap_or(usize::MAX);
    enough.max(PART_BYTES_MIN)
}

/// S3 wants 5 MiB at least for all parts but the last.
const PART_BYTES_MIN: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_the_limits_of_s3() {
        for size_bytes in [0, 1, 8 << 20, 78 << 30, 5 << 40] {
            let part = part_bytes(size_bytes) as u64;
            assert!(part >= 5 << 20 && size_bytes.div_ceil(part) <= 10_000, "{size_bytes}");
        }
    }
}
