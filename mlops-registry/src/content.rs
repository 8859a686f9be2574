//! What the files of a new version are made of, read part by part.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use mlops_core::{ModelFile, Result};

use crate::FileRecord;
use crate::blobs::Blobs;
use crate::measure::{cannot_read, open, unknown};

/// Where the bytes of a file come from.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Memory or a local disk.
    File(ModelFile),
    /// A registry: a file of one of its versions.
    Stored(Blobs, FileRecord),
}

impl Content {
    /// Its length, before it is read.
    pub(crate) fn size_bytes(&self) -> Result<u64> {
        match self {
            Self::File(ModelFile::Bytes(bytes)) => Ok(bytes.len() as u64),
            Self::File(ModelFile::Path(path)) => {
                Ok(open(path)?.metadata().map_err(|error| cannot_read(path, error))?.len())
            }
            Self::File(_) => Err(unknown()),
            Self::Stored(_, file) => Ok(file.size_bytes),
        }
    }
}

/// A file read part by part, of one size but for the last.
pub(crate) struct Parts<'a> {
    source: PartSource<'a>,
    part_bytes: usize,
}

enum PartSource<'a> {
    Bytes(Bytes),
    File(File, &'a Path),
    /// A stream, and what it brought that is not read yet.
    Stream(BoxStream<'static, Result<Bytes>>, Bytes),
}

impl<'a> Parts<'a> {
    pub(crate) async fn open(content: &'a Content, part_bytes: usize) -> Result<Self> {
        let source = match content {
            Content::File(ModelFile::Bytes(bytes)) => PartSource::Bytes(bytes.clone()),
            Content::File(ModelFile::Path(path)) => PartSource::File(open(path)?, path),
            Content::File(_) => return Err(unknown()),
            Content::Stored(blobs, file) => {
                PartSource::Stream(Box::pin(blobs.stream(file, 0).await?), Bytes::new())
            }
        };
        Ok(Self { source, part_bytes })
    }

    /// The next part; empty at the end.
    pub(crate) async fn next(&mut self) -> Result<Bytes> {
        match &mut self.source {
            PartSource::Bytes(bytes) => Ok(bytes.split_to(bytes.len().min(self.part_bytes))),
            PartSource::File(file, path) => {
                let left = file.metadata().map_err(|error| cannot_read(path, error))?.len();
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.part_bytes);
                let mut part = BytesMut::zeroed(wanted.max(1));
                let mut length = 0;
                while length < part.len() {
                    match file.read(&mut part[length..]) {
                        Ok(0) => break,
                        Ok(count) => length += count,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(cannot_read(path, error)),
                    }
                }
                part.truncate(length);
                Ok(part.freeze())
            }
            PartSource::Stream(stream, rest) => {
                let mut part = BytesMut::new();
                while part.len() < self.part_bytes {
                    if rest.is_empty() {
                        let Some(bytes) = stream.try_next().await? else { break };
                        *rest = bytes;
                    }
                    part.extend_from_slice(&rest.split_to(rest.len().min(self.part_bytes - part.len())));
                }
                Ok(part.freeze())
            }
        }
    }
}
