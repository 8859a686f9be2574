//! Arrow IPC files, also known as Feather.

use std::io::{Read, Seek, Write};
use std::sync::Arc;

use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;

use super::{Scan, check_columns, write_error};
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

impl Scan {
    /// The rows of an Arrow IPC file.
    ///
    /// # Errors
    /// `Data` if the file is damaged or cut off; then each batch may fail.
    pub fn ipc(
        reader: impl Read + Seek + Send + 'static,
        schema: impl Into<Arc<TableSchema>>,
    ) -> Result<Self> {
        let schema = schema.into();
        let batches = FileReader::try_new(reader, None).map_err(damaged)?;
        check_columns(&schema, &batches.schema())?;
        Ok(Self::new(schema, batches.map(|batch| batch.map_err(damaged))))
    }
}

impl Dataset {
    /// Reads a whole Arrow IPC file: see [`Scan::ipc`].
    ///
    /// # Errors
    /// As [`Scan::ipc`].
    pub fn from_ipc(
        reader: impl Read + Seek + Send + 'static,
        schema: impl Into<Arc<TableSchema>>,
    ) -> Result<Self> {
        Scan::ipc(reader, schema)?.into_dataset()
    }

    /// Writes all rows as an Arrow IPC file.
    ///
    /// # Errors
    /// `Unavailable` if the writer fails.
    pub fn write_ipc(&self, writer: impl Write) -> Result<()> {
        let write = || {
            let mut writer = FileWriter::try_new(writer, &self.schema().to_arrow())?;
            self.batches().iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()
        };
        write().map_err(|error| write_error("Arrow IPC", error))
    }
}

fn damaged(error: arrow_schema::ArrowError) -> Error {
    Error::data("the Arrow IPC file is damaged or cut off: write it again").with_source(error)
}
