//! Tables: Arrow batches with a schema that says what each column means.
//!
//! - [`TableSchema`]: names, kinds, roles, ranges and categories of the columns.
//! - [`Dataset`]: a table in memory; [`Scan`]: a table that streams from a file, a folder or,
//!   with the feature `object-store`, an object store (`StoredTable`).
//! - [`Fingerprint`]: the version of the data; [`Split`]: reproducible parts and folds of it.
//! - [`PointInTime`]: joins of features and late labels that see no future; [`Reservoir`], [`Draw`]: samples.
//! - [`Validator`] and its [`ValidationReport`]: what breaks the schema, where and how often.
//! - [`Value`] and [`Cells`]: single cells, for requests and row-wise code.

mod cells;
mod conform;
mod dataset;
mod file;
mod fill;
mod fingerprint;
mod fold;
#[cfg(feature = "object-store")]
#[cfg_attr(
    not(all(feature = "csv", feature = "ipc", feature = "parquet")),
    allow(dead_code, unused_variables, reason = "each format reads in its own way")
)]
mod object;
mod point_in_time;
mod sample;
mod schema;
mod split;
mod validate;
mod value;

pub use cells::Cells;
pub(crate) use conform::named;
pub use dataset::Dataset;
#[cfg(feature = "csv")]
pub use file::CsvFormat;
pub use file::Scan;
#[cfg(feature = "parquet")]
pub(crate) use file::{caught, parquet::damaged as damaged_parquet};
pub use fingerprint::Fingerprint;
#[cfg(feature = "object-store")]
pub use object::StoredTable;
pub use point_in_time::PointInTime;
pub use sample::{Draw, Reservoir};
pub use schema::{Column, ColumnKind, Role, TableSchema};
pub use split::Split;
pub use validate::{Promise, ValidationReport, Validator, Violation};
pub use value::Value;
