//! Rotated Parquet files that survive a crash.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use mlops_core::{Clock, Error, Result, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::RecordSink;

/// When a file is finished and the next one begun: whichever comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ParquetSettings {
    /// Rows in a file. Default 1 000 000.
    pub rows_max: u64,
    /// Seconds from the first row of a file to its end. Default 900.
    pub age_s_max: u64,
}

impl Default for ParquetSettings {
    fn default() -> Self {
        Self { rows_max: 1_000_000, age_s_max: 900 }
    }
}

impl ParquetSettings {
    /// Sets the rows in a file.
    #[must_use]
    pub fn rows_max(mut self, rows: u64) -> Self {
        self.rows_max = rows;
        self
    }

    /// Sets the seconds that a file stays open.
    #[must_use]
    pub fn age_s_max(mut self, seconds: u64) -> Self {
        self.age_s_max = seconds;
        self
    }
}

/// Writes records to `<folder>/<prefix>-<number>.parquet`, one file after the other.
///
/// A Parquet file cannot be read before it is finished. So rows go first to an Arrow stream,
/// `<prefix>-<number>.arrows`, which can be read up to the last whole batch whenever it breaks off; each
/// batch is synced to disk before [`write`](RecordSink::write) returns. When the file is full, the stream is
/// rewritten as Parquet under a temporary name, synced, and renamed. What a crash leaves behind is finished
/// when the next sink opens the folder: a batch that was written is in exactly one finished file. A file that
/// cannot be finished for now, because the disk is full say, is tried again at every call.
///
/// One sink at a time for a folder and a prefix, kept by a lock on `.<prefix>.lock`: give each process its own
/// prefix. On file systems without locks nothing keeps two sinks apart.
#[derive(Debug)]
pub struct ParquetSink {
    /// Held until the sink is dropped, or its process ends.
    _lock: File,
    folder: PathBuf,
    prefix: String,
    settings: ParquetSettings,
    clock: Arc<dyn Clock>,
    number: u64,
    open: Option<Open>,
    unfinished: Vec<Unfinished>,
}

/// A stream that is not a Parquet file yet.
#[derive(Debug)]
struct Unfinished {
    stem: PathBuf,
    /// What lies behind was not acknowledged: the caller has it still.
    length: u64,
}

struct Open {
    stream: StreamWriter<File>,
    schema: SchemaRef,
    stem: PathBuf,
    rows: u64,
    /// Bytes up to the end of the last batch that was acknowledged.
    length: u64,
    start: Timestamp,
    start_ns: u64,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("stem", &self.stem).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl ParquetSink {
    /// A sink for this folder, which is created if need be. Finishes what a crash left behind.
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
        let _lock = lock(&folder, &prefix)?;
        let mut sink =
            Self { _lock, folder, prefix, settings, clock, number: 0, open: None, unfinished: Vec::new() };
        sink.recover()?;
        Ok(sink)
    }

    /// The finished files, oldest first.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files: Vec<(u64, PathBuf)> = self.entries("parquet")?;
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
            remove(&path)?;
        }
        let (streams, finished) = (self.entries("arrows")?, self.entries("parquet")?);
        let numbers = streams.iter().chain(&finished).map(|(number, _)| number + 1);
        self.number = numbers.max().unwrap_or(0);
        for (number, path) in streams {
            if finished.iter().any(|(done, _)| *done == number) {
                remove(&path)?;
            } else {
                self.finish_stream(&path.with_extension(""))?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, schema: &SchemaRef) -> Result<Open> {
        let stem = self.folder.join(format!("{}-{:08}", self.prefix, self.number));
        self.number += 1;
        let path = stem.with_extension("arrows");
        let file = File::create_new(&path).map_err(|error| unavailable("create", &path, error))?;
        let stream = StreamWriter::try_new(file, schema)?;
        self.sync_folder()?;
        let (start, start_ns) = (self.clock.now(), self.clock.monotonic_ns());
        let length = length(stream.get_ref(), &path)?;
        Ok(Open { stream, schema: Arc::clone(schema), stem, rows: 0, length, start, start_ns })
    }

    /// Ends the open file, if there is one, and those that could not be finished before.
    fn finish(&mut self) -> Result<()> {
        self.unfinished.extend(self.open.take().map(|Open { stem, length, .. }| Unfinished { stem, length }));
        self.catch_up()
    }

    /// Finishes the files that could not be finished before.
    fn catch_up(&mut self) -> Result<()> {
        while let Some(Unfinished { stem, length }) = self.unfinished.first() {
            let path = stem.with_extension("arrows");
            let file = File::options().write(true).open(&path);
            let cut = file.and_then(|file| file.set_len(*length));
            cut.map_err(|error| unavailable("cut", &path, error))?;
            self.finish_stream(stem)?;
            self.unfinished.remove(0);
        }
        Ok(())
    }

    fn is_due(&self, open: &Open) -> bool {
        let age_s_max = self.settings.age_s_max;
        let age_ns = self.clock.monotonic_ns().saturating_sub(open.start_ns);
        open.rows >= self.settings.rows_max
            || Duration::from_nanos(age_ns).as_secs() >= age_s_max
            || self.clock.now().saturating_since(open.start).as_secs() >= age_s_max
    }

    /// Turns the stream `<stem>.arrows`, whole or broken off, into `<stem>.parquet`.
    fn finish_stream(&self, stem: &Path) -> Result<()> {
        let (stream, tmp) = (stem.with_extension("arrows"), stem.with_extension("parquet.tmp"));
        let wrong = |error| unavailable("write", &tmp, error);
        let file = File::open(&stream).map_err(|error| unavailable("open", &stream, error))?;
        // A stream that broke off within its schema holds no batch.
        if let Some(batches) = unless_cut_off(StreamReader::try_new(BufReader::new(file), None), &stream)? {
            let output = File::create(&tmp).map_err(wrong)?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            let mut writer =
                ArrowWriter::try_new(output, batches.schema(), Some(properties)).map_err(bad_parquet)?;
            // A batch that broke off was never acknowledged: the stream ends before it.
            for batch in batches {
                let Some(batch) = unless_cut_off(batch, &stream)? else { break };
                writer.write(&batch).map_err(bad_parquet)?;
            }
            let output = writer.into_inner().map_err(bad_parquet)?;
            output.sync_all().map_err(wrong)?;
            fs::rename(&tmp, stem.with_extension("parquet")).map_err(wrong)?;
            self.sync_folder()?;
        }
        remove(&stream)
    }

    /// Makes names that were created or renamed last through a power cut, where the system can.
    fn sync_folder(&self) -> Result<()> {
        if cfg!(unix) {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| unavailable("sync folder", &self.folder, error))?;
        }
        Ok(())
    }
}

/// What was read, or nothing if the file ends here. An error of the disk leaves the stream as it is: what comes after
/// was acknowledged.
fn unless_cut_off<T>(read: Result<T, ArrowError>, stream: &Path) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ArrowError::IoError(_, error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(unavailable("read", stream, error))
        }
        Err(_) => Ok(None),
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
            Ok(length) => {
                open.length = length;
                open.rows += batch.num_rows() as u64;
                let is_due = self.is_due(&open);
                self.open = Some(open);
                if is_due {
                    // The batch is safe: an error comes from the next tick or flush, which try again.
                    let _ = self.finish();
                }
                Ok(())
            }
            Err(error) => {
                // The stream may end within a batch now, or with one that the caller will offer again.
                self.unfinished.push(Unfinished { stem: open.stem, length: open.length });
                Err(Error::unavailable("a captured batch could not be written").with_source(error))
            }
        }
    }

    fn tick(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| self.is_due(open)) { self.finish() } else { self.catch_up() }
    }

    fn flush(&mut self) -> Result<()> {
        self.finish()
    }
}

fn length(file: &File, path: &Path) -> Result<u64> {
    let metadata = file.metadata().map_err(|error| unavailable("look at", path, error))?;
    Ok(metadata.len())
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|error| unavailable("remove", path, error))
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

fn bad_parquet(error: parquet::errors::ParquetError) -> Error {
    Error::unavailable("cannot write a Parquet file of captured records").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};
    use mlops_core::ManualClock;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(values))]).unwrap()
    }

    fn values(paths: &[PathBuf]) -> Vec<i64> {
        let mut values = Vec::new();
        for path in paths {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
            for batch in reader.build().unwrap() {
                let batch = batch.unwrap();
                values.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
            }
        }
        values
    }

    fn open(folder: &Path, settings: ParquetSettings) -> ParquetSink {
        ParquetSink::open(folder, "shop", settings, ManualClock::new(Timestamp::EPOCH)).unwrap()
    }

    #[test]
    fn files_rotate_by_rows_and_by_age() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        let settings = ParquetSettings::default().rows_max(25).age_s_max(60);
        let mut sink = ParquetSink::open(folder.path(), "shop", settings, Arc::clone(&clock)).unwrap();
        for start in [0, 10, 20] {
            sink.write(&batch(start..start + 10)).unwrap();
        }
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..30));
        sink.write(&batch(30..31)).unwrap();
        assert_eq!(sink.files().unwrap().len(), 1);
        clock.advance(Duration::from_secs(61));
        sink.write(&batch(31..32)).unwrap();
        assert_eq!(sink.files().unwrap().len(), 2);
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..32));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "finished files and the lock");
    }

    #[test]
    fn a_crash_loses_no_batch_wherever_it_falls() {
        for (cut, kept) in [(0, 20), (9, 10), (700, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let mut sink = open(folder.path(), ParquetSettings::default());
            sink.write(&batch(0..10)).unwrap();
            sink.write(&batch(10..20)).unwrap();
            let stream = folder.path().join("shop-00000000.arrows");
            drop(sink);
            // The last bytes never reached the disk.
            let length = fs::metadata(&stream).unwrap().len();
            OpenOptions::new()
                .write(true)
                .open(&stream)
                .unwrap()
                .set_len(length.saturating_sub(cut))
                .unwrap();
            fs::write(folder.path().join("shop-00000000.parquet.tmp"), b"half a file").unwrap();

            let mut sink = open(folder.path(), ParquetSettings::default());
            let found = values(&sink.files().unwrap());
            assert_eq!(found, Vec::from_iter(0..kept), "cut {cut} of {length}");
            sink.write(&batch(90..91)).unwrap();
            sink.flush().unwrap();
            assert_eq!(values(&sink.files().unwrap()).len(), kept as usize + 1);
        }
    }

    #[test]
    fn a_crash_between_rename_and_removal_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.write(&batch(0..10)).unwrap();
        let stream = folder.path().join("shop-00000000.arrows");
        let bytes = fs::read(&stream).unwrap();
        sink.flush().unwrap();
        fs::write(&stream, bytes).unwrap();
        drop(sink);
        let sink = open(folder.path(), ParquetSettings::default());
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..10));
    }

    #[test]
    fn a_file_that_cannot_be_finished_yet_is_finished_later_and_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default().rows_max(10));
        let in_the_way = folder.path().join("shop-00000000.parquet.tmp");
        fs::create_dir(&in_the_way).unwrap();
        sink.write(&batch(0..10)).unwrap();
        sink.write(&batch(10..15)).unwrap();
        assert!(sink.tick().unwrap_err().is_retryable());
        assert!(sink.flush().is_err());
        assert!(sink.files().unwrap().is_empty());
        fs::remove_dir(&in_the_way).unwrap();
        sink.write(&batch(15..20)).unwrap();
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..20));
    }

    #[test]
    fn a_disk_that_fails_ends_no_stream() {
        let read = |kind| {
            let error = io::Error::new(kind, "read");
            unless_cut_off::<()>(Err(ArrowError::IoError("read".into(), error)), Path::new("x.arrows"))
        };
        assert!(read(io::ErrorKind::UnexpectedEof).unwrap().is_none());
        let error = read(io::ErrorKind::Other).unwrap_err();
        assert_eq!((error.is_retryable(), error.to_string().as_str()), (true, "cannot read `x.arrows`"));
    }

    #[test]
    fn a_batch_that_was_not_acknowledged_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.write(&batch(0..5)).unwrap();
        // Written, but the sync failed: the caller offers it again.
        let mut failed = sink.open.take().unwrap();
        failed.stream.write(&batch(5..9)).unwrap();
        sink.unfinished.push(Unfinished { stem: failed.stem, length: failed.length });
        sink.write(&batch(5..9)).unwrap();
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..9));
    }

    #[test]
    fn a_quiet_sink_finishes_its_file_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        let mut sink =
            ParquetSink::open(folder.path(), "shop", ParquetSettings::default(), Arc::clone(&clock)).unwrap();
        sink.write(&batch(0..5)).unwrap();
        sink.tick().unwrap();
        assert!(sink.files().unwrap().is_empty());
        clock.advance(Duration::from_secs(900));
        sink.tick().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..5));
    }

    #[test]
    fn a_second_sink_is_refused_and_takes_nothing_from_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = open(folder.path(), ParquetSettings::default());
        first.write(&batch(0..5)).unwrap();
        let clock = ManualClock::new(Timestamp::EPOCH);
        let error = ParquetSink::open(folder.path(), "shop", ParquetSettings::default(), clock).unwrap_err();
        assert_eq!(error.kind(), mlops_core::ErrorKind::Invalid);
        assert!(error.to_string().starts_with("another sink writes `shop` in"), "{error}");
        first.write(&batch(5..9)).unwrap();
        drop(first);
        let next = open(folder.path(), ParquetSettings::default());
        assert_eq!(values(&next.files().unwrap()), Vec::from_iter(0..9));
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for prefix in ["", "../x", "a/b", "a.b"] {
            let clock = ManualClock::new(Timestamp::EPOCH);
            assert!(ParquetSink::open(".", prefix, ParquetSettings::default(), clock).is_err(), "{prefix}");
        }
    }
}
