//! The bytes of model files, kept by digest on an object store.

use std::fs::File;
use std::io::{BufReader, Cursor, Read as _};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use mlops_core::{Digest, Digester, Error, ModelFile, Result};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use crate::onnx::external_data;
use crate::{FileRecord, Format, UploadId, store};

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

    /// A whole upload of these bytes that lies in the store already: what an interrupted try left behind.
    ///
    /// Only asked for big files, since a look costs a request.
    pub(crate) async fn find(
        &self,
        sha256: Digest,
        size_bytes: u64,
        floor: UploadId,
    ) -> Result<Option<UploadId>> {
        if size_bytes < PART_BYTES as u64 {
            return Ok(None);
        }
        let folder = Path::from(format!("blob/{sha256}"));
        let found: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| store::failed("list", &folder, error))?;
        let whole = found.iter().filter(|object| object.size == size_bytes);
        Ok(whole
            .filter_map(|object| upload_of(&object.location))
            .map(|(_, upload)| upload)
            .filter(|id| *id >= floor)
            .max())
    }

    /// All uploads in the store, with their sizes.
    pub(crate) async fn list(&self) -> Result<Vec<(Digest, UploadId, u64)>> {
        let folder = Path::from("blob");
        let found: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| store::failed("list", &folder, error))?;
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
    ///
    /// # Errors
    /// `Unavailable` if the store is out of reach.
    pub(crate) async fn fault(&self, file: &FileRecord) -> Result<Option<Error>> {
        let read = async {
            let mut digester = Digester::new();
            let mut stream = std::pin::pin!(self.stream(file, 0).await?);
            while let Some(bytes) = stream.try_next().await? {
                digester.update(&bytes);
            }
            let (digest, path) = (digester.finish(), blob_path(&file.sha256, file.upload));
            if digest == file.sha256 {
                return Ok(());
            }
            Err(wrong_digest(&path, &digest))
        };
        match read.await {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == mlops_core::ErrorKind::Data => Ok(Some(error)),
            Err(error) => Err(error),
        }
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

/// What a file is: its digest, its length, its format.
pub(crate) struct Measured {
    pub(crate) sha256: Digest,
    pub(crate) size_bytes: u64,
    pub(crate) format: Format,
    /// The files that an ONNX model wants beside it.
    pub(crate) external: Vec<String>,
}

/// Reads a file once, part by part.
pub(crate) fn measure(file: &ModelFile) -> Result<Measured> {
    let mut source = Source::open(file)?;
    let (mut digester, mut size_bytes) = (Digester::new(), 0);
    let (mut head, mut tail) = (Bytes::new(), BytesMut::new());
    loop {
        let part = source.part()?;
        digester.update(&part);
        if size_bytes == 0 {
            head = part.slice(..part.len().min(Format::SNIFF_BYTES));
        }
        size_bytes += part.len() as u64;
        tail.extend_from_slice(&part[part.len().saturating_sub(Format::SNIFF_BYTES)..]);
        let surplus = tail.len().saturating_sub(Format::SNIFF_BYTES);
        let _ = tail.split_to(surplus);
        if source.is_done() {
            break;
        }
    }
    let format = Format::sniff(&head, &tail, size_bytes);
    let external = match (format, file) {
        (Format::Onnx, ModelFile::Bytes(bytes)) => external_data(&mut Cursor::new(bytes))?,
        (Format::Onnx, ModelFile::Path(path)) => {
            let file = File::open(path).map_err(|error| cannot_read(path, error))?;
            external_data(&mut BufReader::new(file))?
        }
        _ => Vec::new(),
    };
    Ok(Measured { sha256: digester.finish(), size_bytes, format, external })
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

fn cannot_read(path: &std::path::Path, error: std::io::Error) -> Error {
    store::io_failed(&error, &format!("cannot read `{}`", path.display())).with_source(error)
}

fn blob_path(sha256: &Digest, upload: UploadId) -> Path {
    Path::from(format!("blob/{sha256}/{upload}"))
}

/// S3 wants 5 MiB at least for all parts but the last.
const PART_BYTES: usize = 8 << 20;
