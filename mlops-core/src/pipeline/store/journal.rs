//! What a run committed, as a file that only grows.
//!
//! A line is 16 hexadecimal digits, a space, and an [`Entry`] in JSON. The digits are the first of the
//! SHA-256 over the line before's digits and the JSON, so no line is changed, lost, added or moved by accident
//! unseen; there is no key that would keep out somebody who means to. Lines are written by one call, and each ends with the only line feed in it: a process that is killed
//! leaves whole lines and at most one that has no end, which was never committed and is cut off.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;
use crate::version::later_format;
use crate::{Digest, Digester, Error, ErrorKind, Result, Seed, Timestamp};

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry")]
#[non_exhaustive]
pub enum Entry {
    /// The run started.
    Started(Started),
    /// A step is done for good.
    Committed(Committed),
}

/// What a run was started with. It is resumed with the same or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// The digest of its wiring.
    pub wiring: Digest,
    /// The digests of parameters and injected values by name.
    pub given: std::collections::BTreeMap<String, Digest>,
    /// The seed of the run.
    pub seed: Seed,
    /// When.
    pub time: Timestamp,
}

/// A step that is done for good: computed, or taken from the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// The step.
    pub step: String,
    /// Its cache key.
    pub key: Digest,
    /// The id of its result in the store.
    pub result: Digest,
    /// The digests of its outputs.
    pub outputs: Vec<Digest>,
}

pub(in super::super) const FORMAT: u32 = 1;
const SUM_DIGITS: usize = 16;

/// Reads a journal: its entries, and how many bytes of it are whole lines.
///
/// # Errors
/// `Data` if a whole line does not have its checksum, or is no entry; `Unsupported` if a later build wrote it.
pub fn decode(journal: &[u8]) -> Result<(Vec<Entry>, usize)> {
    let mut sum = String::new();
    let mut entries = Vec::new();
    let mut start = 0;
    while let Some(length) = journal[start..].iter().position(|byte| *byte == b'\n') {
        let line = &journal[start..start + length];
        let damaged = || Error::data(format!("line {} of the journal is damaged", entries.len() + 1));
        let json = line.get(SUM_DIGITS + 1..).ok_or_else(damaged)?;
        let expected = chain(&sum, json);
        if line[..SUM_DIGITS] != *expected.as_bytes() || line[SUM_DIGITS] != b' ' {
            return Err(damaged());
        }
        // Only the first entry holds the format; another may be of a kind that this build does not know.
        let entry = serde_json::from_slice(json);
        let holds_format = entry.as_ref().map_or(true, |entry| matches!(entry, Entry::Started(_)));
        if holds_format && let Some(format) = later_format(json, FORMAT) {
            return Err(Error::unsupported(format!(
                "journal format {format}: this build reads up to {FORMAT}"
            )));
        }
        entries.push(entry.map_err(|error| damaged().with_source(error))?);
        sum = expected;
        start += length + 1;
    }
    Ok((entries, start))
}

fn chain(before: &str, json: &[u8]) -> String {
    let mut digester = Digester::new();
    digester.field(before);
    digester.update(json);
    let mut sum = digester.finish().to_string();
    sum.truncate(SUM_DIGITS);
    sum
}

/// A journal that this process alone writes, until it is dropped.
#[derive(Debug)]
pub(in super::super) struct Journal {
    file: File,
    path: PathBuf,
    sum: String,
    length: u64,
    durable: bool,
    /// Whether this process made sure that the folder keeps its name.
    is_named: bool,
}

pub(in super::super) struct Opened {
    pub(in super::super) journal: Journal,
    pub(in super::super) entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal, or a new one, for this process alone, and cuts off a line that was never committed.
    pub(in super::super) fn open(path: &Path, durable: bool) -> Result<Opened> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(|error| file::failed("open", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict(format!(
                    "the run of `{}` is being executed elsewhere: wait for its end",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(file::failed("lock", path, error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| file::failed("read", path, error))?;
        let (entries, whole) = decode(&bytes)
            .map_err(|error| error.context(format!("`{}` cannot be resumed from", path.display())))?;
        let sum = match bytes[..whole].iter().rev().skip(1).position(|byte| *byte == b'\n') {
            Some(length) => &bytes[whole - 1 - length..whole],
            None => &bytes[..whole],
        };
        let sum = String::from_utf8_lossy(sum.get(..SUM_DIGITS).unwrap_or_default()).into_owned();
        let mut journal =
            Self { file, path: path.to_owned(), sum, length: whole as u64, durable, is_named: false };
        if whole < bytes.len() {
            journal.cut()?;
        }
        Ok(Opened { journal, entries })
    }

    /// Adds entries. When this returns they survive a crash of the process and, with `sync`, one of the machine.
    pub(in super::super) fn append(&mut self, entries: &[Entry], sync: bool) -> Result<()> {
        let mut sum = self.sum.clone();
        let mut lines = Vec::new();
        for entry in entries {
            let json = serde_json::to_vec(entry).map_err(|error| {
                Error::new(ErrorKind::Internal, "an entry does not go into JSON").with_source(error)
            })?;
            sum = chain(&sum, &json);
            lines.extend_from_slice(sum.as_bytes());
            lines.push(b' ');
            lines.extend_from_slice(&json);
            lines.push(b'\n');
        }
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| {
            self.file.write_all(&lines)?;
            if sync && self.durable { self.file.sync_data() } else { Ok(()) }
        });
        if let Err(error) = written {
            let error = file::failed("write", &self.path, error);
            return Err(match self.cut() {
                Ok(()) => error,
                Err(second) => error.context(format!("and cannot undo it: {second}")),
            });
        }
        self.sum = sum;
        self.length += lines.len() as u64;
        if sync && self.durable && !self.is_named {
            file::sync_folder(&self.path)?;
            self.is_named = true;
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        self.file.set_len(self.length).map_err(|error| file::failed("shorten", &self.path, error))
    }
}

impl Drop for Journal {
    /// Closing alone would leave the lock with a child process that is just being started and still has a copy
    /// of the file.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let first = Journal::open(&path, false).unwrap().journal;
        let copy = first.file.try_clone().unwrap();
        let error = Journal::open(&path, false).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        drop(first);
        Journal::open(&path, false).unwrap();
        drop(copy);
    }
}
