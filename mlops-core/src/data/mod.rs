//! Tables: Arrow batches with a schema that says what each column means.

mod schema;
mod value;

pub use schema::{Column, ColumnKind, Role, TableSchema};
pub use value::Value;
