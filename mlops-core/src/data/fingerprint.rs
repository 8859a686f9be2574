//! The version of a data set: a digest of its rows.

use arrow_array::{Array, RecordBatch};

use super::conform::conform;
use super::{Cells, TableSchema, Value};
use crate::{Digest, Digester, Result};

/// Computes the fingerprint of a table that comes in batches.
///
/// The digest covers the names and kinds of the columns and every cell in row order. It does not depend on
/// how the rows are cut into batches, nor on the file format, compression or dictionary encoding they came
/// from. All NaNs are one value; a missing cell differs from every value; `0.0` and `-0.0` differ.
/// Roles, ranges and nullability are what we say about the data, so they are left out.
///
/// Constant memory; one pass.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    schema: TableSchema,
    columns: Vec<Digester>,
    rows: u64,
}

impl Fingerprint {
    /// The fingerprint of a table with no rows yet.
    pub fn new(schema: &TableSchema) -> Self {
        let columns = vec![Digester::new(); schema.columns().len()];
        Self { schema: schema.clone(), columns, rows: 0 }
    }

    /// Takes in the next rows.
    ///
    /// # Errors
    /// `Data` if the batch does not fit the schema.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = conform(&self.schema, batch, usize::try_from(self.rows).unwrap_or(usize::MAX))?;
        self.update_conformed(&batch);
        Ok(())
    }

    pub(super) fn update_conformed(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (digester, column) in self.columns.iter_mut().zip(batch.columns()) {
            update_column(digester, column.as_ref());
        }
    }

    /// The digest of all rows seen.
    pub fn finish(self) -> Digest {
        let mut whole = Digester::new();
        whole.field(b"mlops table 1");
        whole.update(self.rows.to_le_bytes());
        for (column, digester) in self.schema.columns().iter().zip(self.columns) {
            whole.field(&column.name);
            whole.field(column.kind.to_string());
            whole.field(digester.finish().as_bytes());
        }
        whole.finish()
    }
}

/// Each cell is one tag byte and its value; bytes are gathered so that the digester sees long runs.
fn update_column(digester: &mut Digester, column: &dyn Array) {
    const RUN_BYTES: usize = 4096;
    let Ok(cells) = Cells::new(column) else {
        unreachable!("a conformed column has the type of a column kind, and Cells reads all of those")
    };
    let mut run = Vec::with_capacity(2 * RUN_BYTES);
    for row in 0..cells.len() {
        match cells.value(row) {
            Value::Missing => run.push(0),
            Value::Float(value) => {
                let canonical = if value.is_nan() { f64::NAN } else { value };
                run.push(1);
                run.extend_from_slice(&canonical.to_le_bytes());
            }
            Value::Integer(value) => {
                run.push(2);
                run.extend_from_slice(&value.to_le_bytes());
            }
            Value::Boolean(value) => run.extend_from_slice(&[3, u8::from(value)]),
            Value::Text(value) => {
                run.push(4);
                run.extend_from_slice(&(value.len() as u64).to_le_bytes());
                run.extend_from_slice(value.as_bytes());
            }
        }
        if run.len() >= RUN_BYTES {
            digester.update(&run);
            run.clear();
        }
    }
    digester.update(&run);
}
