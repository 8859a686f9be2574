//! Parquet.

use std::io::Write;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;

use super::{BATCH_ROWS, Scan, check_columns, write_error};
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

impl Scan {
    /// The rows of a Parquet file (`std::fs::File`) or of its bytes (`bytes::Bytes`). Only the columns that
    /// the schema names are decoded.
    ///
    /// # Errors
    /// `Data` if the file is damaged or cut off; then each batch may fail.
    pub fn parquet(file: impl ChunkReader + 'static, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let schema = schema.into();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        check_columns(&schema, builder.schema())?;
        let names = schema.columns().iter().map(|column| column.name.as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
        Ok(Self::new(schema, batches.map(|batch| batch.map_err(damaged))))
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

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::data("the Parquet file is damaged or cut off: write it again").with_source(error)
}
