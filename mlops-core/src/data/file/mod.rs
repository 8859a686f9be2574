//! Tables in files: CSV, Parquet and Arrow IPC, read batch by batch.

#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "ipc")]
mod ipc;
#[cfg(feature = "parquet")]
mod parquet;

use std::fs::File;
#[cfg(feature = "ipc")]
use std::io::BufReader;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;

use super::dataset::conform;
use super::{Dataset, TableSchema};
use crate::{Error, Result};

/// Rows a batch of a scan holds at most.
#[cfg(any(feature = "csv", feature = "parquet"))]
const BATCH_ROWS: usize = 8192;

/// The batches of a file, one after the other, each brought to the schema. Holds one batch at a time.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Scan, TableSchema};
///
/// let schema = TableSchema::new([Column::new("clicks", ColumnKind::Integer)])?;
/// let mut rows = 0;
/// for batch in Scan::csv("clicks\n1\n2\n".as_bytes(), schema)? {
///     rows += batch?.num_rows();
/// }
/// assert_eq!(rows, 2);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub struct Scan {
    schema: Arc<TableSchema>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    next_row: usize,
}

impl Scan {
    /// Opens a file whose format its first bytes tell: Parquet, Arrow IPC, else CSV with a header.
    ///
    /// Only the columns that the schema names are decoded.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `Unavailable` if it cannot be read, `Unsupported` if this build
    /// lacks the feature of its format, `Data` if it is empty, damaged or has not the schema's columns.
    pub fn open(path: impl AsRef<Path>, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display();
        let mut file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is no file `{name}`")),
            _ => Error::unavailable(format!("cannot open `{name}`")).with_source(error),
        })?;
        let magic = magic(&mut file).map_err(|error| {
            Error::unavailable(format!("cannot read `{name}`: is it a file?")).with_source(error)
        })?;
        let scan = match &magic[..] {
            [] => Err(Error::data("the file is empty: a table has at least a header")),
            [b'P', b'A', b'R', b'1', ..] => Self::parquet_file(file, schema.into()),
            [b'A', b'R', b'R', b'O', b'W', b'1'] => Self::ipc_file(file, schema.into()),
            _ => Self::csv_file(file, schema.into()),
        };
        scan.map_err(|error| error.context(format!("cannot read the table `{name}`")))
    }

    #[cfg(feature = "csv")]
    fn csv_file(file: File, schema: Arc<TableSchema>) -> Result<Self> {
        Self::csv(file, schema)
    }

    #[cfg(feature = "parquet")]
    fn parquet_file(file: File, schema: Arc<TableSchema>) -> Result<Self> {
        Self::parquet(file, schema)
    }

    #[cfg(feature = "ipc")]
    fn ipc_file(file: File, schema: Arc<TableSchema>) -> Result<Self> {
        Self::ipc(BufReader::new(file), schema)
    }

    #[cfg(not(feature = "csv"))]
    fn csv_file(_: File, _: Arc<TableSchema>) -> Result<Self> {
        Err(Error::unsupported("CSV is not built in: turn on the feature `csv` of mlops-core"))
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet_file(_: File, _: Arc<TableSchema>) -> Result<Self> {
        Err(Error::unsupported("Parquet is not built in: turn on the feature `parquet` of mlops-core"))
    }

    #[cfg(not(feature = "ipc"))]
    fn ipc_file(_: File, _: Arc<TableSchema>) -> Result<Self> {
        Err(Error::unsupported("Arrow IPC is not built in: turn on the feature `ipc` of mlops-core"))
    }

    /// The batches of `batches`, each brought to the schema.
    pub fn new(
        schema: impl Into<Arc<TableSchema>>,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self { schema: schema.into(), batches: Box::new(batches), next_row: 0 }
    }

    /// What the columns mean.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// All batches, in memory.
    ///
    /// # Errors
    /// The first error of a batch.
    pub fn into_dataset(self) -> Result<Dataset> {
        let schema = Arc::clone(&self.schema);
        Dataset::new(schema, self.collect::<Result<Vec<_>>>()?)
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?.and_then(|batch| {
            let first_row = self.next_row;
            self.next_row += batch.num_rows();
            conform(&self.schema, &batch, first_row)
        });
        Some(batch)
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("schema", &self.schema).field("next_row", &self.next_row).finish()
    }
}

impl Dataset {
    /// Reads a whole file: see [`Scan::open`].
    ///
    /// # Errors
    /// As [`Scan::open`].
    pub fn open(path: impl AsRef<Path>, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let path = path.as_ref();
        Scan::open(path, schema)?
            .into_dataset()
            .map_err(|error| error.context(format!("cannot read the table `{}`", path.display())))
    }
}

fn magic(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(magic)
}

/// A file must have every column of the schema, even if it has no row.
#[cfg(any(feature = "csv", feature = "ipc", feature = "parquet"))]
fn check_columns(schema: &TableSchema, file: &arrow_schema::Schema) -> Result<()> {
    conform(schema, &RecordBatch::new_empty(Arc::new(file.clone())), 0).map(drop)
}

/// An error of a writer: a full disk, a lost connection.
#[cfg(any(feature = "csv", feature = "ipc", feature = "parquet"))]
fn write_error(format: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable(format!("cannot write the table as {format}")).with_source(error)
}
