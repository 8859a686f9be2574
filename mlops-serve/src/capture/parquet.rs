//! Rotated Parquet files that survive a crash.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use mlops_core::{Clock, Error, ErrorKind, Result, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::RecordSink;
use super::stream::Stream;

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
/// cannot be finished for now, because the disk is full say, is tried again at every call, and holds up no other.
///
/// A stream that is damaged, not just broken off at its end, is kept as `<prefix>-<number>.arrows.damaged` once the
/// batches of it that can be read are in its Parquet file; [`damaged`](Self::damaged) lists these. The next
/// [`tick`](RecordSink::tick) or [`flush`](RecordSink::flush) gives a `Data` error that says so, once, and also if
/// a stream was removed by others. A stream has no checksums: a byte that makes another number is not noticed.
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
    /// The first loss that nobody was told of.
    loss: Option<Error>,
}

/// A stream that is not a Parquet file yet.
#[derive(Debug)]
struct Unfinished {
    stem: PathBuf,
    /// Unknown of what another process left behind.
    acknowledged: Option<Acknowledged>,
}

/// What was acknowledged of a stream. The caller has what lies behind still.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    bytes: u64,
    rows: u64,
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
        let _lock = lock(&folder, &prefix)?;
        let mut sink = Self {
            _lock,
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
        for (number, path) in streams {
            if finished.iter().any(|(done, _)| *done == number) {
                remove(&path)?;
            } else {
                self.unfinished.push(Unfinished { stem: path.with_extension(""), acknowledged: None });
            }
        }
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
        self.sync_folder()?;
        let (start, start_ns) = (self.clock.now(), self.clock.monotonic_ns());
        let acknowledged = Acknowledged { bytes: length(stream.get_ref(), &path)?, rows: 0 };
        Ok(Open { stream, schema: Arc::clone(schema), stem, acknowledged, start, start_ns })
    }

    /// Ends the open file, if there is one, and those that could not be finished before.
    fn finish(&mut self) -> Result<()> {
        self.unfinished.extend(self.open.take().map(Unfinished::from));
        self.catch_up()
    }

    /// Finishes the files that could not be finished before: all that can be, whatever becomes of the others.
    fn catch_up(&mut self) -> Result<()> {
        let mut first = Ok(());
        for stream in std::mem::take(&mut self.unfinished) {
            let Err(error) = self.finish_stream(&stream) else { continue };
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

    /// Turns the stream `<stem>.arrows`, whole, broken off or damaged, into `<stem>.parquet`.
    fn finish_stream(&self, Unfinished { stem, acknowledged }: &Unfinished) -> Result<()> {
        let (path, tmp) = (stem.with_extension("arrows"), stem.with_extension("parquet.tmp"));
        let wrong = |error| unavailable("write", &tmp, error);
        let rows =
            acknowledged.map_or("its".into(), |acknowledged| format!("{} acknowledged", acknowledged.rows));
        let short_at = acknowledged.map_or(Ok(None), |acknowledged| cut(&path, acknowledged.bytes));
        let opened =
            short_at.and_then(|short_at| Ok((short_at, Stream::open(&path, acknowledged.is_some())?)));
        let (short_at, mut stream) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Error::data(format!("a stream of records was removed: {rows} rows are lost"))
                    .with_source(error)
            }
            _ => error,
        })?;
        let mut rows_read = 0;
        // A stream that broke off within its schema holds no batch.
        if let Some(schema) = stream.schema() {
            let output = File::create(&tmp).map_err(wrong)?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            let mut writer = ArrowWriter::try_new(output, schema, Some(properties)).map_err(bad_parquet)?;
            while let Some(batch) = stream.next()? {
                writer.write(&batch).map_err(bad_parquet)?;
                rows_read += batch.num_rows();
            }
            let output = writer.into_inner().map_err(bad_parquet)?;
            output.sync_all().map_err(wrong)?;
            fs::rename(&tmp, stem.with_extension("parquet")).map_err(wrong)?;
            self.sync_folder()?;
        }
        let Some(byte) = stream.damaged_at().or(short_at) else { return remove(&path) };
        let aside = stem.with_extension(DAMAGED);
        fs::rename(&path, &aside).map_err(|error| unavailable("rename", &path, error))?;
        self.sync_folder()?;
        Err(Error::data(format!(
            "a stream of records is damaged at byte {byte}: {rows_read} of {rows} rows could be read, it is kept as \
             `{}`",
            aside.display()
        )))
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
                // The stream may end within a batch now, or with one that the caller will offer again.
                self.unfinished.push(open.into());
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

/// Cuts off what was not acknowledged. Where the file ends if even less is there.
fn cut(path: &Path, bytes: u64) -> Result<Option<u64>> {
    let file = File::options().write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no `{}`", path.display())),
        _ => unavailable("cut", path, error),
    })?;
    let length = length(&file, path)?;
    if length > bytes {
        file.set_len(bytes).map_err(|error| unavailable("cut", path, error))?;
    }
    Ok((length < bytes).then_some(length))
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

/// Of streams that are not to be read again.
const DAMAGED: &str = "arrows.damaged";

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
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(10..15));
        fs::remove_dir(&in_the_way).unwrap();
        sink.write(&batch(15..20)).unwrap();
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..20));
    }

    #[test]
    fn one_stream_that_is_gone_stops_no_other_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default().rows_max(10));
        let in_the_way = folder.path().join("shop-00000000.parquet.tmp");
        fs::create_dir(&in_the_way).unwrap();
        sink.write(&batch(0..10)).unwrap();
        sink.write(&batch(10..20)).unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(10..20), "the first holds up no other");
        fs::remove_file(folder.path().join("shop-00000000.arrows")).unwrap();
        let error = sink.tick().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.to_string(), "a stream of records was removed: 10 acknowledged rows are lost");
        sink.tick().unwrap();
        sink.write(&batch(20..25)).unwrap();
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(10..25));
    }

    #[test]
    fn a_sink_opens_though_a_stream_cannot_be_finished_now_or_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.write(&batch(0..10)).unwrap();
        drop(sink);
        fs::write(folder.path().join("shop-00000001.arrows"), [7; 1000]).unwrap();
        let in_the_way = folder.path().join("shop-00000000.parquet.tmp");
        fs::create_dir(&in_the_way).unwrap();

        let mut sink = open(folder.path(), ParquetSettings::default());
        assert_eq!(sink.damaged().unwrap(), [folder.path().join("shop-00000001.arrows.damaged")]);
        assert_eq!(sink.tick().unwrap_err().kind(), ErrorKind::Data);
        assert!(sink.tick().unwrap_err().is_retryable());
        fs::remove_dir(&in_the_way).unwrap();
        sink.write(&batch(10..15)).unwrap();
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..15));
        drop(sink);
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.flush().unwrap();
        assert_eq!((sink.damaged().unwrap().len(), sink.number), (1, 3), "its number is not used again");
    }

    /// A stream of 12 batches of 10 rows, and where each message starts.
    fn stream_of_12(folder: &Path) -> (ParquetSink, Vec<usize>) {
        let mut sink = open(folder, ParquetSettings::default());
        let mut starts = vec![0];
        for start in (0..120).step_by(10) {
            starts.push(sink.open.as_ref().map_or(0, |open| open.acknowledged.bytes as usize));
            sink.write(&batch(start..start + 10)).unwrap();
        }
        let bytes = sink.open.as_ref().unwrap().acknowledged.bytes as usize;
        // The schema's message ends where the first batch starts: all batches are as long.
        starts[1] = starts[2] - (bytes - starts[2]) / 11;
        (sink, starts)
    }

    #[test]
    fn a_flipped_byte_costs_a_batch_at_most_and_the_stream_is_kept() {
        for is_restarted in [false, true] {
            // The marker, its length, then all of the metadata.
            for offset in (0..16).chain((16..200).step_by(13)) {
                let folder = tempfile::tempdir().unwrap();
                let (mut sink, starts) = stream_of_12(folder.path());
                let path = folder.path().join("shop-00000000.arrows");
                let mut bytes = fs::read(&path).unwrap();
                bytes[starts[4] + offset] ^= 0x40;
                fs::write(&path, bytes).unwrap();
                if is_restarted {
                    drop(sink);
                    sink = open(folder.path(), ParquetSettings::default());
                }
                let told = sink.flush();
                let found = values(&sink.files().unwrap());
                let Err(told) = told else {
                    assert_eq!(found.len(), 120, "byte {offset}");
                    continue;
                };
                assert_eq!(found, Vec::from_iter((0..30).chain(40..120)), "byte {offset}");
                assert_eq!(sink.damaged().unwrap().len(), 1);
                let rows = if is_restarted { "110 of its rows" } else { "110 of 120 acknowledged rows" };
                let want = format!("damaged at byte {}: {rows}", starts[4]);
                assert!(told.to_string().contains(&want), "{told}");
                sink.flush().unwrap();
            }
        }
    }

    #[test]
    fn acknowledged_rows_that_are_cut_off_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (mut sink, starts) = stream_of_12(folder.path());
        let file = OpenOptions::new().write(true).open(folder.path().join("shop-00000000.arrows")).unwrap();
        for cut in [starts[11] + 9, starts[8]] {
            file.set_len(cut as u64).unwrap();
        }
        let told = sink.flush().unwrap_err().to_string();
        assert!(told.contains("70 of 120 acknowledged rows could be read"), "{told}");
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..70));
    }

    #[test]
    fn a_file_that_was_made_longer_before_it_was_written_is_torn_not_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let (sink, starts) = stream_of_12(folder.path());
        drop(sink);
        let file = OpenOptions::new().write(true).open(folder.path().join("shop-00000000.arrows")).unwrap();
        file.set_len(starts[11] as u64).unwrap();
        file.set_len(starts[11] as u64 + 5000).unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.flush().unwrap();
        assert_eq!(values(&sink.files().unwrap()), Vec::from_iter(0..100));
        assert!(sink.damaged().unwrap().is_empty());
    }

    #[test]
    fn a_batch_that_was_not_acknowledged_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = open(folder.path(), ParquetSettings::default());
        sink.write(&batch(0..5)).unwrap();
        // Written, but the sync failed: the caller offers it again.
        let mut failed = sink.open.take().unwrap();
        failed.stream.write(&batch(5..9)).unwrap();
        sink.unfinished.push(failed.into());
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
        assert_eq!(error.kind(), ErrorKind::Invalid);
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
