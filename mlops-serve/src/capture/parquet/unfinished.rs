//! Streams on their way to a Parquet file.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use mlops_core::{Error, ErrorKind, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::stream::Stream;
use super::{length, sync_folder, unavailable};

/// A stream that is not a Parquet file yet.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) stem: PathBuf,
    /// Unknown of what another process left behind.
    pub(super) acknowledged: Option<Acknowledged>,
}

/// What was acknowledged of a stream. The caller has what lies behind still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub(super) bytes: u64,
    pub(super) rows: u64,
}

/// Of streams that are not to be read again.
pub(super) const DAMAGED: &str = "arrows.damaged";

impl Unfinished {
    /// Turns the stream `<stem>.arrows`, whole, broken off or damaged, into `<stem>.parquet`. A crash may have fallen
    /// after that file was there: then what became of the stream is all that is left to do.
    pub(super) fn finish(&self) -> Result<()> {
        let path = self.stem.with_extension("arrows");
        let rows = self.acknowledged.map_or("its".into(), |it| format!("{} acknowledged", it.rows));
        let opened =
            self.cut().and_then(|short_at| Ok((short_at, Stream::open(&path, self.acknowledged.is_some())?)));
        let (short_at, mut stream) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Error::data(format!("a stream of records was removed: {rows} rows are lost"))
                    .with_source(error)
            }
            _ => error,
        })?;
        let rows_read = self.write(&mut stream)?;
        let Some(byte) = stream.damaged_at().or(short_at) else {
            return fs::remove_file(&path).map_err(|error| unavailable("remove", &path, error));
        };
        let aside = self.stem.with_extension(DAMAGED);
        fs::rename(&path, &aside).map_err(|error| unavailable("rename", &path, error))?;
        // What a power cut undoes is done again by the next sink.
        let _ = sync_folder(&aside);
        Err(Error::data(format!(
            "a stream of records is damaged at byte {byte}: {rows_read} of {rows} rows could be read, it is kept as \
             `{}`",
            aside.display()
        )))
    }

    /// Cuts off what was not acknowledged. Where the file ends if even less is there.
    pub(super) fn cut(&self) -> Result<Option<u64>> {
        let Some(Acknowledged { bytes, .. }) = self.acknowledged else { return Ok(None) };
        let path = self.stem.with_extension("arrows");
        let file = File::options().write(true).open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("there is no `{}`", path.display())),
            _ => unavailable("cut", &path, error),
        })?;
        let length = length(&file, &path)?;
        if length > bytes {
            let cut = file.set_len(bytes).and_then(|()| file.sync_all());
            cut.map_err(|error| unavailable("cut", &path, error))?;
        }
        Ok((length < bytes).then_some(length))
    }

    /// Writes the batches of the stream, unless a finished file has them. Gives the rows that could be read.
    fn write(&self, stream: &mut Stream) -> Result<usize> {
        // A stream that broke off within its schema holds no batch.
        let Some(schema) = stream.schema() else { return Ok(0) };
        let (tmp, finished) = (self.stem.with_extension("parquet.tmp"), self.stem.with_extension("parquet"));
        let wrong = |error| unavailable("write", &tmp, error);
        let mut writer = None;
        if !finished.try_exists().map_err(|error| unavailable("look at", &finished, error))? {
            let output = File::create(&tmp).map_err(wrong)?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            writer = Some(ArrowWriter::try_new(output, schema, Some(properties)).map_err(bad_parquet)?);
        }
        let mut rows_read = 0;
        while let Some(batch) = stream.next()? {
            if let Some(writer) = &mut writer {
                writer.write(&batch).map_err(bad_parquet)?;
            }
            rows_read += batch.num_rows();
        }
        if let Some(writer) = writer {
            let output = writer.into_inner().map_err(bad_parquet)?;
            output.sync_all().map_err(wrong)?;
            fs::rename(&tmp, &finished).map_err(wrong)?;
        }
        // Also where it was there: whoever renamed it may not have come so far.
        sync_folder(&finished)?;
        Ok(rows_read)
    }
}

fn bad_parquet(error: parquet::errors::ParquetError) -> Error {
    Error::unavailable("cannot write a Parquet file of captured records").with_source(error)
}
