//! Tables in files: CSV, Parquet and Arrow IPC, read batch by batch.

#[cfg(feature = "csv")]
mod csv;
mod folders;
mod format;
#[cfg(feature = "ipc")]
mod ipc;
mod open;
#[cfg(feature = "parquet")]
pub(super) mod parquet;
#[cfg(any(feature = "csv", feature = "ipc", feature = "parquet"))]
mod read_error;
mod scan;

#[cfg(feature = "csv")]
pub use csv::CsvFormat;
pub(super) use format::{Format, MAGIC_BYTES};
pub use scan::Scan;
#[cfg(feature = "object-store")]
pub(super) use scan::cannot_read;

#[cfg(any(feature = "ipc", feature = "parquet"))]
pub(crate) use read_error::caught;
#[cfg(any(feature = "csv", feature = "ipc", feature = "parquet"))]
use read_error::read_error;

/// Rows a batch of a scan holds at most.
#[cfg(any(feature = "csv", feature = "parquet"))]
pub(super) const BATCH_ROWS: usize = 8192;

/// A file must have every column of the schema, even if it has no row.
#[cfg(any(feature = "csv", feature = "ipc", feature = "parquet"))]
pub(super) fn check_columns(schema: &super::TableSchema, file: &arrow_schema::Schema) -> crate::Result<()> {
    let empty = arrow_array::RecordBatch::new_empty(std::sync::Arc::new(file.clone()));
    super::conform::conform(schema, &empty, 0).map(drop)
}

/// An error of a writer: a full disk, a lost connection.
#[cfg(any(feature = "csv", feature = "ipc", feature = "parquet"))]
fn write_error(format: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> crate::Error {
    crate::Error::unavailable(format!("cannot write the table as {format}")).with_source(error)
}
