//! Reads an Arrow stream that may be broken off or damaged.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use mlops_core::{Error, Result};

use crate::endpoint::isolate;

/// The batches of a stream that can be read, and where it is damaged.
///
/// What a crash tore off at the end was never acknowledged, and is no damage. Anything else that cannot be read is:
/// then the batches behind it are read all the same.
pub(super) struct Stream {
    path: PathBuf,
    /// Nothing if there is no schema to read by.
    reader: Option<StreamReader<Frames>>,
    damaged_at: Option<u64>,
}

impl Stream {
    /// Opens a stream, all of which was acknowledged, or which a crash may have torn.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `Unavailable` if the disk fails.
    pub(super) fn open(path: &Path, is_acknowledged: bool) -> Result<Self> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("there is no `{}`", path.display())),
            _ => unread(path, error),
        })?;
        let length = file.metadata().map_err(|error| unread(path, error))?.len();
        let mut frames = Frames {
            file: BufReader::new(file),
            end: length,
            next: 0,
            start: 0,
            frame: Cursor::default(),
            is_acknowledged,
            damaged_at: None,
        };
        let has_more = frames.advance().map_err(|error| unread(path, error))?;
        let mut stream = Self { path: path.into(), reader: None, damaged_at: frames.damaged_at };
        if has_more && frames.start == 0 {
            match isolate("the reader of a stream", || Ok(StreamReader::try_new(frames, None))) {
                Ok(Ok(reader)) => stream.reader = Some(reader),
                Ok(Err(ArrowError::IoError(_, error))) => return Err(unread(path, error)),
                Ok(Err(_)) | Err(_) => stream.damaged_at = Some(0),
            }
        }
        Ok(stream)
    }

    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.reader.as_ref().map(StreamReader::schema)
    }

    /// The next batch that can be read.
    ///
    /// # Errors
    /// `Unavailable` if the disk fails: what comes after may be read later.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        loop {
            match isolate("the reader of a stream", || Ok(reader.next())) {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(batch))) => return Ok(Some(batch)),
                Ok(Some(Err(ArrowError::IoError(_, error)))) => return Err(unread(&self.path, error)),
                Ok(Some(Err(_))) | Err(_) => reader.get_mut().skip(),
            }
        }
    }

    /// The first byte of what cannot be read, as far as was read.
    pub(super) fn damaged_at(&self) -> Option<u64> {
        self.damaged_at.or_else(|| self.reader.as_ref()?.get_ref().damaged_at)
    }
}

#[cold]
fn unread(path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot read `{}`", path.display())).with_source(error)
}

/// The messages of a stream, one after the other, each of them whole.
struct Frames {
    file: BufReader<File>,
    end: u64,
    /// Where the next message is looked for.
    next: u64,
    /// Where the message at hand starts.
    start: u64,
    frame: Cursor<Vec<u8>>,
    is_acknowledged: bool,
    damaged_at: Option<u64>,
}

/// What stands at a place of the file.
enum Header {
    /// A message of so many bytes.
    Whole(u64),
    /// A message that goes on behind the end of the file.
    Torn,
    Other,
}

impl Frames {
    /// Gives up the message at hand.
    fn skip(&mut self) {
        self.damaged_at.get_or_insert(self.start);
        self.frame = Cursor::default();
    }

    /// Reads the next message that is whole, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        if self.next >= self.end {
            return Ok(false);
        }
        let header = self.header(self.next)?;
        let (start, length) = match header {
            Header::Whole(length) => (self.next, length),
            Header::Torn | Header::Other => {
                // A crash tears the last message alone.
                let behind = self.find(self.next + ALIGNMENT)?;
                let is_torn = matches!(header, Header::Torn) || self.is_zero(self.next)?;
                if self.is_acknowledged || behind.is_some() || !is_torn {
                    self.damaged_at.get_or_insert(self.next);
                }
                self.next = self.end;
                let Some(behind) = behind else { return Ok(false) };
                behind
            }
        };
        self.file.seek(SeekFrom::Start(start))?;
        let mut frame = vec![0; length as usize];
        self.file.read_exact(&mut frame)?;
        (self.frame, self.start, self.next) = (Cursor::new(frame), start, start + length);
        Ok(true)
    }

    fn header(&mut self, start: u64) -> io::Result<Header> {
        let (has_marker, header) = self.message(start)?;
        Ok(match header {
            // One whose length is wrong would give numbers that are none of its own.
            Header::Whole(length) if !has_marker || !self.may_follow(start + length)? => Header::Other,
            Header::Torn if !has_marker => Header::Other,
            header => header,
        })
    }

    /// Whether a message may end here: because the next one starts, or the file was not written any further.
    fn may_follow(&mut self, end: u64) -> io::Result<bool> {
        let (has_marker, header) = self.message(end)?;
        Ok(has_marker || matches!(header, Header::Whole(_)) || self.is_zero(end)?)
    }

    /// Whether a marker stands here, and what behind it.
    fn message(&mut self, start: u64) -> io::Result<(bool, Header)> {
        let rest = self.end - start;
        let mut prefix = [0xFF; PREFIX as usize];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut prefix[..rest.min(PREFIX) as usize])?;
        let [a, b, c, d, length @ ..] = prefix;
        let has_marker = [a, b, c, d] == MARKER;
        if rest < PREFIX {
            return Ok((has_marker, Header::Torn));
        }
        let Some(metadata) = metadata_bytes(length) else { return Ok((has_marker, Header::Other)) };
        if metadata > rest - PREFIX {
            return Ok((has_marker, Header::Torn));
        }
        let mut message = vec![0; metadata as usize];
        self.file.read_exact(&mut message)?;
        let wanted = if start == 0 { &[MessageHeader::Schema][..] } else { BATCHES };
        let message =
            root_as_message(&message).ok().filter(|message| wanted.contains(&message.header_type()));
        let body = message.and_then(|message| u64::try_from(message.bodyLength()).ok());
        Ok((
            has_marker,
            match body {
                Some(body) if body <= rest - PREFIX - metadata => Header::Whole(PREFIX + metadata + body),
                Some(_) => Header::Torn,
                None => Header::Other,
            },
        ))
    }

    /// The first whole message from here on, and its length.
    fn find(&mut self, from: u64) -> io::Result<Option<(u64, u64)>> {
        let mut place = from;
        while place + PREFIX <= self.end {
            self.file.seek(SeekFrom::Start(place))?;
            let chunk = CHUNK.min(self.end - place) / ALIGNMENT * ALIGNMENT;
            let mut bytes = vec![0; chunk as usize];
            self.file.read_exact(&mut bytes)?;
            for (index, [a, b, c, d, length @ ..]) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let start = place + index as u64 * ALIGNMENT;
                if [*a, *b, *c, *d] == MARKER
                    && metadata_bytes(*length).is_some()
                    && let Header::Whole(length) = self.header(start)?
                {
                    return Ok(Some((start, length)));
                }
            }
            place += chunk;
        }
        Ok(None)
    }

    /// Whether all is 0 from here on: a file may be made longer before what it holds is written.
    fn is_zero(&mut self, from: u64) -> io::Result<bool> {
        self.file.seek(SeekFrom::Start(from))?;
        for byte in self.file.by_ref().take(self.end - from).bytes() {
            if byte? != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Read for Frames {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.frame.read(bytes)?;
        if read > 0 || bytes.is_empty() || !self.advance()? {
            return Ok(read);
        }
        self.frame.read(bytes)
    }
}

/// The length of the metadata of a message, which follows its marker.
fn metadata_bytes(length: [u8; 4]) -> Option<u64> {
    u64::try_from(i32::from_le_bytes(length)).ok().filter(|length| *length > 0)
}

/// What a message starts with.
const MARKER: [u8; 4] = [0xFF; 4];

const BATCHES: &[MessageHeader] = &[MessageHeader::RecordBatch, MessageHeader::DictionaryBatch];

/// The marker of a message and the length of its metadata.
const PREFIX: u64 = 8;

/// Messages start at multiples of it.
const ALIGNMENT: u64 = 8;

/// Bytes that are searched at once.
const CHUNK: u64 = 1 << 16;
