//! Rotated Parquet files that survive a crash.

mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod unfinished;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use mlops_core::{Clock, Error, Result, Timestamp};

use super::RecordSink;
pub use settings::ParquetSettings;
use unfinished::{Acknowledged, DAMAGED, Unfinished};

/// Writes records to `<folder>/<prefix>-<number>.parquet`, one file after the other.
///
/// A Parquet file cannot be read before it is finished. So rows go first to an Arrow stream,
/// `<prefix>-<number>.arrows`, which can be read up to the last whole batch whenever it breaks off; each
/// batch is synced to disk before [`write`](RecordSink::write) returns. When the file is full, the stream is
/// rewritten as Parquet under a temporary name, synced, and renamed. What a crash leaves behind is finished
/// when the next sink opens the folder: a batch that was written is in exactly one finished file. A file that
/// cannot be finished for now, because the disk is full say, is tried again at every tick and flush,
/// and holds up no other.
///
/// A stream that is damaged, not just broken off at its end, is kept as `<prefix>-<number>.arrows.damaged` once the
/// batches of it that can be read are in its Parquet file; [`damaged`](Self::damaged) lists these. The next
/// [`tick`](RecordSink::tick) or [`flush`](RecordSink::flush) gives a `Data` error that says so, once, and also if
/// a stream was removed by others. A stream has no checksums: a byte that makes another number is not noticed, nor one
/// that makes the last batch before a crash look as if it broke off.
///
/// One sink at a time for a folder and a prefix, kept by a lock on `.<prefix>.lock`: give each process its own
/// prefix. On file systems without locks nothing keeps two sinks apart.
#[derive(Debug)]
pub struct ParquetSink {
    /// Held until the sink is dropped, or its process ends.
    lock: File,
    folder: PathBuf,
    prefix: String,
    settings: ParquetSettings,
    clock: Arc<dyn Clock>,
    number: u64,
    open: Option<Open>,
    unfinished: Vec<Unfinished>,
    /// The first loss that nobody was told of.
    loss: Option<Error>,
}

struct Open {
    stream: StreamWriter<File>,
    schema: SchemaRef,
    stem: PathBuf,
    acknowledged: Acknowledged,
    start: Timestamp,
    start_ns: u64,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("stem", &self.stem)
            .field("rows", &self.acknowledged.rows)
            .finish_non_exhaustive()
    }
}

impl ParquetSink {
    /// A sink for this folder, which is created if need be. Finishes what a crash left behind, or tries so again later.
    ///
    /// # Errors
    /// `Invalid` if the prefix is empty or holds anything but ASCII letters, digits, `_` and `-`, a limit
    /// is 0, or another sink writes there; `Unavailable` if the folder cannot be read or written.
    pub fn open(
        folder: impl Into<PathBuf>,
        prefix: impl Into<String>,
        settings: ParquetSettings,
        clock: impl Clock,
    ) -> Result<Self> {
        let (folder, prefix) = (folder.into(), prefix.into());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if prefix.is_empty() || !prefix.chars().all(plain) {
            return Err(Error::invalid(format!(
                "prefix `{prefix}` is no plain name: want letters, digits, _ and -"
            )));
        }
        if settings.rows_max == 0 {
            return Err(Error::invalid("a file of at most 0 rows holds none: want at least 1"));
        }
        fs::create_dir_all(&folder).map_err(|error| unavailable("create folder", &folder, error))?;
        let clock = Arc::new(clock);
        let lock = lock(&folder, &prefix)?;
        let mut sink = Self {
            lock,
            folder,
            prefix,
            settings,
            clock,
            number: 0,
            open: None,
            unfinished: Vec::new(),
            loss: None,
        };
        sink.recover()?;
        Ok(sink)
    }

    /// The finished files, oldest first.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        self.sorted("parquet")
    }

    /// The streams that are damaged, oldest first: what could be read of each is in the finished file of its number.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read.
    pub fn damaged(&self) -> Result<Vec<PathBuf>> {
        self.sorted(DAMAGED)
    }

    fn sorted(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let mut files = self.entries(extension)?;
        files.sort_unstable();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    /// The files of this sink with this extension, with their numbers.
    fn entries(&self, extension: &str) -> Result<Vec<(u64, PathBuf)>> {
        let wrong = |error| unavailable("read folder", &self.folder, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
                let name = name.strip_prefix(&self.prefix)?.strip_prefix('-')?;
                name.strip_suffix(extension)?.strip_suffix('.')?.parse().ok()
            });
            found.extend(number.map(|number| (number, path)));
        }
        Ok(found)
    }

    fn recover(&mut self) -> Result<()> {
        for (_, path) in self.entries("parquet.tmp")? {
            // One that stays is written over.
            let _ = fs::remove_file(path);
        }
        let (streams, finished) = (self.entries("arrows")?, self.entries("parquet")?);
        let damaged = self.entries(DAMAGED)?;
        let numbers = streams.iter().chain(&finished).chain(&damaged).map(|(number, _)| number + 1);
        self.number = numbers.max().unwrap_or(0);
        let of_path = |path: PathBuf| Unfinished { stem: path.with_extension(""), acknowledged: None };
        self.unfinished = streams.into_iter().map(|(_, path)| of_path(path)).collect();
        // An error comes from the next tick or flush, which try again.
        let _ = self.catch_up();
        Ok(())
    }

    fn begin(&mut self, schema: &SchemaRef) -> Result<Open> {
        let stem = self.folder.join(format!("{}-{:08}", self.prefix, self.number));
        self.number += 1;
        let path = stem.with_extension("arrows");
        let file = File::create_new(&path).map_err(|error| unavailable("create", &path, error))?;
        let stream = StreamWriter::try_new(file, schema)?;
        sync_folder(&path)?;
        let (start, start_ns) = (self.clock.now(), self.clock.monotonic_ns());
        let acknowledged = Acknowledged { bytes: length(stream.get_ref(), &path)?, rows: 0 };
        Ok(Open { stream, schema: Arc::clone(schema), stem, acknowledged, start, start_ns })
    }

    /// Ends the open file, if there is one, and those that could not be finished before.
    fn finish(&mut self) -> Result<()> {
        self.unfinished.extend(self.open.take().map(Unfinished::from));
        self.catch_up()
    }

    /// Leaves a stream that may end within a batch, or with one that the caller will offer again.
    fn give_up(&mut self, open: Open) {
        let stream = Unfinished::from(open);
        // Now, since after a crash nobody knows what was acknowledged; if it cannot be, when the stream is finished.
        let _ = stream.cut();
        self.unfinished.push(stream);
    }

    /// Finishes the files that could not be finished before: all that can be, whatever becomes of the others.
    fn catch_up(&mut self) -> Result<()> {
        let mut first = Ok(());
        for stream in std::mem::take(&mut self.unfinished) {
            let Err(error) = stream.finish() else { continue };
            if error.is_retryable() {
                first = first.and(Err(error));
                self.unfinished.push(stream);
            } else {
                self.loss.get_or_insert(error);
            }
        }
        first
    }

    /// What is to be told: a loss first, which comes but once.
    fn tell(&mut self, done: Result<()>) -> Result<()> {
        self.loss.take().map_or(done, Err)
    }

    fn is_due(&self, open: &Open) -> bool {
        let age_s_max = self.settings.age_s_max;
        let age_ns = self.clock.monotonic_ns().saturating_sub(open.start_ns);
        open.acknowledged.rows >= self.settings.rows_max
            || Duration::from_nanos(age_ns).as_secs() >= age_s_max
            || self.clock.now().saturating_since(open.start).as_secs() >= age_s_max
    }
}

impl Drop for ParquetSink {
    fn drop(&mut self) {
        // To close it is not enough: a child that the host is starting holds it, too, until it runs its own program.
        let _ = self.lock.unlock();
    }
}

impl From<Open> for Unfinished {
    fn from(Open { stem, acknowledged, .. }: Open) -> Self {
        Self { stem, acknowledged: Some(acknowledged) }
    }
}

impl RecordSink for ParquetSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let other_schema = self.open.as_ref().is_some_and(|open| open.schema != batch.schema());
        if other_schema {
            // As below: what is written is safe.
            let _ = self.finish();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(&batch.schema())?,
        };
        let path = open.stem.with_extension("arrows");
        let written = open.stream.write(batch).map_err(Error::from).and_then(|()| {
            let file = open.stream.get_ref();
            file.sync_data().map_err(|error| unavailable("sync", &path, error))?;
            length(file, &path)
        });
        match written {
            Ok(bytes) => {
                open.acknowledged.bytes = bytes;
                open.acknowledged.rows += batch.num_rows() as u64;
                let is_due = self.is_due(&open);
                self.open = Some(open);
                if is_due {
                    // The batch is safe: an error comes from the next tick or flush, which try again.
                    let _ = self.finish();
                }
                Ok(())
            }
            Err(error) => {
                self.give_up(open);
                Err(Error::unavailable("a captured batch could not be written").with_source(error))
            }
        }
    }

    fn tick(&mut self) -> Result<()> {
        let is_due = self.open.as_ref().is_some_and(|open| self.is_due(open));
        let done = if is_due { self.finish() } else { self.catch_up() };
        self.tell(done)
    }

    fn flush(&mut self) -> Result<()> {
        let done = self.finish();
        self.tell(done)
    }
}

fn length(file: &File, path: &Path) -> Result<u64> {
    let metadata = file.metadata().map_err(|error| unavailable("look at", path, error))?;
    Ok(metadata.len())
}

/// Makes the name of a file that was created or renamed last through a power cut, where the system can.
fn sync_folder(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|_| cfg!(unix)) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| unavailable("sync folder", folder, error))?;
    }
    Ok(())
}

/// Keeps other sinks from finishing and removing what this one writes.
fn lock(folder: &Path, prefix: &str) -> Result<File> {
    let path = folder.join(format!(".{prefix}.lock"));
    let file = File::create(&path).map_err(|error| unavailable("create", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
            "another sink writes `{prefix}` in `{}`: give each process its own prefix",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(unavailable("lock", &path, error)),
    }
}

fn unavailable(what: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {what} `{}`", path.display())).with_source(error)
}
