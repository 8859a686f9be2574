//! One object, read in pieces that all belong to the same version of it.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::failed;
use crate::data::file::MAGIC_BYTES;
use crate::driver::Driver;
use crate::{Error, Result};

/// An object as it was when it was opened; a read that meets another version is a `Conflict`.
#[derive(Clone)]
pub(super) struct Snapshot {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    name: Arc<str>,
}

impl Snapshot {
    /// Opens the object and reads its first bytes, in one request.
    pub(super) async fn open(store: &Arc<dyn ObjectStore>, path: &Path, name: &str) -> Result<(Self, Bytes)> {
        let snapshot = |meta| Self { store: Arc::clone(store), meta, name: name.into() };
        let first = GetOptions::new().with_range(Some(0..MAGIC_BYTES));
        let error = match store.get_opts(path, first).await {
            Ok(found) => {
                let opened = snapshot(found.meta.clone());
                let magic = found.bytes().await.map_err(|error| failed(name, error))?;
                return Ok((opened, magic));
            }
            Err(error) => error,
        };
        // Stores refuse every range of an object without bytes.
        match store.head(path).await {
            Ok(meta) if meta.size == 0 => Ok((snapshot(meta), Bytes::new())),
            _ => Err(failed(name, error)),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.meta.size
    }

    /// The bytes of this range.
    pub(super) async fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        let (from, to, size) = (range.start, range.end, self.meta.size);
        if to > size {
            let name = &self.name;
            return Err(Error::data(format!(
                "`{name}` ends at byte {size}, it should go on to {to}: it is cut off or damaged"
            )));
        }
        if from == to {
            return Ok(Bytes::new());
        }
        let found = self.get(GetOptions::new().with_range(Some(range))).await?;
        let bytes = found.bytes().await.map_err(|error| failed(&self.name, error))?;
        if bytes.len() as u64 != to - from {
            return Err(self.ended(bytes.len() as u64, to - from));
        }
        Ok(bytes)
    }

    /// All bytes, as they arrive.
    pub(super) async fn stream(self, driver: Driver) -> Result<StreamReader> {
        let chunks = self.get(GetOptions::new()).await?.into_stream();
        Ok(StreamReader { object: self, driver, chunks, chunk: Bytes::new(), arrived: 0 })
    }

    async fn get(&self, options: GetOptions) -> Result<GetResult> {
        let path = &self.meta.location;
        let found = self.store.get_opts(path, options).await.map_err(|error| failed(&self.name, error))?;
        let version = |meta: &ObjectMeta| (meta.size, meta.e_tag.clone(), meta.last_modified);
        if version(&found.meta) != version(&self.meta) {
            let name = &self.name;
            return Err(Error::conflict(format!("`{name}` was replaced while it was read: read it again")));
        }
        Ok(found)
    }

    #[cold]
    fn ended(&self, arrived: u64, wanted: u64) -> Error {
        let name = &self.name;
        Error::unavailable(format!("`{name}`: the store sent {arrived} of {wanted} bytes: read it again"))
    }
}

/// The bytes of an object from its start to its end.
pub(super) struct StreamReader {
    object: Snapshot,
    driver: Driver,
    chunks: BoxStream<'static, object_store::Result<Bytes>>,
    chunk: Bytes,
    arrived: u64,
}

impl Read for StreamReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.driver.wait(self.chunks.next()) {
                Some(chunk) => {
                    self.chunk = chunk.map_err(|error| io::Error::other(failed(&self.object.name, error)))?;
                    self.arrived += self.chunk.len() as u64;
                }
                None if self.arrived == self.object.size() => return Ok(0),
                None => return Err(io::Error::other(self.object.ended(self.arrived, self.object.size()))),
            }
        }
        let count = out.len().min(self.chunk.len());
        out[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// The bytes of an object at any place: each read is one request.
pub(super) struct RangeReader {
    object: Snapshot,
    driver: Driver,
    place: u64,
}

impl RangeReader {
    pub(super) fn new(object: Snapshot, driver: Driver) -> Self {
        Self { object, driver, place: 0 }
    }
}

impl Read for RangeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let end = self.place.saturating_add(out.len() as u64).min(self.object.size());
        if end <= self.place {
            return Ok(0);
        }
        let bytes = self.driver.wait(self.object.bytes(self.place..end)).map_err(io::Error::other)?;
        out[..bytes.len()].copy_from_slice(&bytes);
        self.place = end;
        Ok(bytes.len())
    }
}

impl Seek for RangeReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.object.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.place.checked_add_signed(by),
        };
        self.place = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.place)
    }
}
