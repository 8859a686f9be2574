//! Parquet.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;
use parquet::schema::types::SchemaDescriptor;

use super::{BATCH_ROWS, Scan, caught, check_columns, read_error, write_error};
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

impl Scan {
    /// The rows of a Parquet file (`std::fs::File`) or of its bytes (`bytes::Bytes`). Only the columns that
    /// the schema names are decoded.
    ///
    /// A forged footer of 65 bytes keeps the decoder of the crate `parquet` 59 busy for seconds, and a longer one for as
    /// long as it likes (a list of truth values that it skips takes time and no bytes): read the files of strangers where
    /// there is a limit of time.
    ///
    /// # Errors
    /// `Data` if the file is damaged or cut off; then each batch may fail.
    pub fn parquet(file: impl ChunkReader + 'static, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let schema = schema.into();
        let builder = caught(|| ParquetRecordBatchReaderBuilder::try_new(file)).map_err(damaged)?;
        let builder = builder.map_err(damaged)?;
        check_columns(&schema, builder.schema())?;
        let mask = wanted(&schema, builder.schema(), builder.parquet_schema());
        let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        let mut batches = caught(|| builder.build()).map_err(damaged)?.map_err(damaged)?;
        let next = move || match caught(|| batches.next()) {
            Ok(batch) => batch.map(|batch| batch.map_err(damaged)),
            Err(panic) => Some(Err(damaged(panic))),
        };
        Ok(Self::new(schema, std::iter::from_fn(next)))
    }
}

impl Dataset {
    /// Reads a whole Parquet file: see [`Scan::parquet`].
    ///
    /// # Errors
    /// As [`Scan::parquet`].
    pub fn from_parquet(
        file: impl ChunkReader + 'static,
        schema: impl Into<Arc<TableSchema>>,
    ) -> Result<Self> {
        Scan::parquet(file, schema)?.into_dataset()
    }

    /// Writes all rows as Parquet with Snappy compression.
    ///
    /// # Errors
    /// `Unavailable` if the writer fails.
    pub fn write_parquet(&self, writer: impl Write + Send) -> Result<()> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let write = || -> parquet::errors::Result<()> {
            let mut writer = ArrowWriter::try_new(writer, self.schema().to_arrow(), Some(properties))?;
            self.batches().iter().try_for_each(|batch| writer.write(batch))?;
            writer.close()?;
            Ok(())
        };
        write().map_err(|error| write_error("Parquet", error))
    }
}

/// The columns that the schema names.
pub(in crate::data) fn wanted(
    schema: &TableSchema,
    file: &Schema,
    layout: &SchemaDescriptor,
) -> ProjectionMask {
    let roots = schema.columns().iter().filter_map(|column| file.index_of(&column.name).ok());
    ProjectionMask::roots(layout, roots)
}

#[cold]
pub(crate) fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    if let Some((_, codec)) = error.to_string().split_once("Disabled feature at compile time: ") {
        let way_out = match codec {
            "zstd" => "turn on the feature `zstd` of mlops-core, or write it with another",
            _ => "write it with Snappy, gzip, LZ4 or Zstandard",
        };
        return Error::unsupported(format!("the Parquet file is compressed with {codec}: {way_out}"));
    }
    read_error(error, "the Parquet file is damaged or cut off: write it again")
}
