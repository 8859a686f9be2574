//! The bytes of model files, kept by digest on an object store.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mlops_core::{Digest, Digester, Error, ModelFile, Result};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _};

use crate::{FileRecord, UploadId, store};

/// The blobs of a registry: `blob/<sha256>/<upload>`.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Stores the bytes under a fresh upload. Streams: memory stays at one part.
    pub(crate) async fn put(&self, sha256: Digest, upload: UploadId, file: &ModelFile) -> Result<()> {
        let path = blob_path(&sha256, upload);
        let mut source = Source::open(file)?;
        let first = source.part()?;
        let digest = if source.is_done() {
            let digest = Digest::of(&first);
            self.check(&digest, &sha256, file)?;
            self.store
                .put(&path, first.into())
                .await
                .map_err(|error| store::failed("write", &path, error))?;
            return Ok(());
        } else {
            let mut parts = self
                .store
                .put_multipart(&path)
                .await
                .map_err(|error| store::failed("write", &path, error))?;
            match copy(first, &mut source, &mut *parts, &path).await {
                Ok(digest) if digest == sha256 => {
                    parts.complete().await.map_err(|error| store::failed("write", &path, error))?;
                    digest
                }
                failed => {
                    // The copy failed already; a part that stays behind is swept with the other orphans.
                    let _ = parts.abort().await;
                    failed?
                }
            }
        };
        self.check(&digest, &sha256, file)
    }

    fn check(&self, found: &Digest, want: &Digest, file: &ModelFile) -> Result<()> {
        if found == want {
            return Ok(());
        }
        let name = match file {
            ModelFile::Path(path) => format!("file `{}`", path.display()),
            _ => "a file".to_owned(),
        };
        Err(Error::conflict(format!(
            "{name} changed while it was being registered: register it when it is done"
        )))
    }

    /// The bytes of a file, checked against its digest.
    pub(crate) async fn get(&self, file: &FileRecord) -> Result<Bytes> {
        let path = blob_path(&file.sha256, file.upload);
        let found = self.store.get(&path).await.map_err(|error| store::failed("read", &path, error))?;
        if found.meta.size != file.size_bytes {
            let (found, want) = (found.meta.size, file.size_bytes);
            return Err(Error::data(format!(
                "`{path}` of the registry is damaged: it has {found} bytes, registered were {want}; restore it from a backup"
            )));
        }
        let bytes = found.bytes().await.map_err(|error| store::failed("read", &path, error))?;
        let digest = Digest::of(&bytes);
        if digest != file.sha256 {
            return Err(Error::data(format!(
                "`{path}` of the registry is damaged: its digest is {digest}; restore it from a backup"
            )));
        }
        Ok(bytes)
    }
}

/// The digest and the length of a file.
pub(crate) fn measure(file: &ModelFile) -> Result<(Digest, u64)> {
    let mut source = Source::open(file)?;
    let (mut digester, mut size_bytes) = (Digester::new(), 0);
    loop {
        let part = source.part()?;
        digester.update(&part);
        size_bytes += part.len() as u64;
        if source.is_done() {
            return Ok((digester.finish(), size_bytes));
        }
    }
}

async fn copy(
    first: Bytes,
    from: &mut Source<'_>,
    to: &mut dyn MultipartUpload,
    path: &Path,
) -> Result<Digest> {
    let mut digester = Digester::new();
    let mut part = first;
    loop {
        digester.update(&part);
        to.put_part(part.into()).await.map_err(|error| store::failed("write", path, error))?;
        if from.is_done() {
            return Ok(digester.finish());
        }
        part = from.part()?;
    }
}

/// A file read part by part.
enum Source<'a> {
    Bytes(Option<Bytes>),
    File { file: File, path: &'a std::path::Path, done: bool },
}

impl<'a> Source<'a> {
    fn open(file: &'a ModelFile) -> Result<Self> {
        match file {
            ModelFile::Bytes(bytes) => Ok(Self::Bytes(Some(bytes.clone()))),
            ModelFile::Path(path) => {
                let file = File::open(path).map_err(|error| cannot_read(path, error))?;
                if !file.metadata().map_err(|error| cannot_read(path, error))?.is_file() {
                    return Err(Error::invalid(format!("`{}` is not a file", path.display())));
                }
                Ok(Self::File { file, path, done: false })
            }
            _ => Err(Error::unsupported("this kind of model file cannot be registered: read it into bytes")),
        }
    }

    /// The next part; all but the last are of one size, as stores want it.
    fn part(&mut self) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.take().unwrap_or_default()),
            Self::File { file, path, done } => {
                let mut part = BytesMut::zeroed(PART_BYTES);
                let mut length = 0;
                while length < PART_BYTES {
                    match file.read(&mut part[length..]) {
                        Ok(0) => {
                            *done = true;
                            break;
                        }
                        Ok(count) => length += count,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(cannot_read(path, error)),
                    }
                }
                part.truncate(length);
                Ok(part.freeze())
            }
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::File { done, .. } => *done,
        }
    }
}

fn cannot_read(path: &std::path::Path, error: std::io::Error) -> Error {
    store::io_failed(&error, &format!("cannot read `{}`", path.display())).with_source(error)
}

fn blob_path(sha256: &Digest, upload: UploadId) -> Path {
    Path::from(format!("blob/{sha256}/{upload}"))
}

/// S3 wants 5 MiB at least for all parts but the last.
const PART_BYTES: usize = 8 << 20;
