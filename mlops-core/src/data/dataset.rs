//! A table in memory.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::ArrowError;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::conform::conform;
use super::{Cells, Fingerprint, TableSchema, Value};
use crate::{Digest, Error, Result};

/// Arrow batches that fit a [`TableSchema`]: the right columns, of the right kinds, in its order.
///
/// Cheap to clone: batches are shared, not copied. `==` compares the batches one by one: the same rows cut into other
/// batches are not equal. Compare [`fingerprint`](Self::fingerprint)s for that.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema};
///
/// let schema = TableSchema::new([
///     Column::new("page_value", ColumnKind::Float),
///     Column::new("bought", ColumnKind::Boolean).required(),
/// ])?;
/// let csv = "bought,page_value\ntrue,12.5\nfalse,\n";
/// let data = Dataset::from_csv(csv.as_bytes(), schema)?;
/// assert_eq!(data.rows(), 2);
/// assert_eq!(data.numbers("bought")?, [1.0, 0.0]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    schema: Arc<TableSchema>,
    batches: Vec<RecordBatch>,
}

impl Dataset {
    /// The batches, each brought to the schema: columns are found by name, put into order and cast. A cast that
    /// would cut a fraction or turn a number into another truth value is refused; whole numbers beyond 2^53 are
    /// rounded in columns of floats, and times to microseconds. Times as numbers, and numbers as times, are
    /// microseconds since 1970. Columns that the schema does not name are dropped.
    ///
    /// # Errors
    /// `Data` if a column is missing or comes twice, a value cannot be cast, or a required cell is missing.
    pub fn new(
        schema: impl Into<Arc<TableSchema>>,
        batches: impl IntoIterator<Item = RecordBatch>,
    ) -> Result<Self> {
        let schema = schema.into();
        let mut first_row = 0;
        let batches = batches
            .into_iter()
            .map(|batch| {
                let conformed = conform(&schema, &batch, first_row);
                first_row += batch.num_rows();
                conformed
            })
            .filter(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0))
            .collect::<Result<_>>()?;
        Ok(Self { schema, batches })
    }

    /// What the columns mean.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// The batches; none is empty.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// One column as one array; copies only if there is more than one batch.
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column, `Unsupported` if its texts are longer than 2 GiB in all.
    pub fn column(&self, name: &str) -> Result<ArrayRef> {
        let index = self.schema.index_of(name)?;
        let pieces: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        match &pieces[..] {
            [] => Ok(arrow_array::new_empty_array(&self.schema.columns()[index].kind.data_type())),
            [_] => Ok(Arc::clone(self.batches[0].column(index))),
            _ => concat(&pieces).map_err(|error| too_long(name, error)),
        }
    }

    /// One column as numbers: integers and truth values (0, 1) too, NaN for missing cells.
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column, `Invalid` if it holds text.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let index = self.schema.index_of(name)?;
        let mut numbers = Vec::with_capacity(self.rows());
        for batch in &self.batches {
            let cells = Cells::new(batch.column(index).as_ref())?;
            for row in 0..cells.len() {
                numbers.push(match cells.value(row) {
                    Value::Missing => f64::NAN,
                    value => value.as_f64().ok_or_else(|| {
                        Error::invalid(format!("column `{name}` holds text, numbers are asked for"))
                    })?,
                });
            }
        }
        Ok(numbers)
    }

    /// Calls `visit` with every row: its place and its cells in the order of the schema.
    ///
    /// # Errors
    /// The first error of `visit` ends the walk.
    pub fn for_each_row(&self, mut visit: impl FnMut(usize, &[Value<'_>]) -> Result<()>) -> Result<()> {
        let mut row = 0;
        for batch in &self.batches {
            let columns: Vec<Cells<'_>> =
                batch.columns().iter().map(|column| Cells::new(column.as_ref())).collect::<Result<_>>()?;
            let mut values = vec![Value::Missing; columns.len()];
            for index in 0..batch.num_rows() {
                for (value, column) in values.iter_mut().zip(&columns) {
                    *value = column.value(index);
                }
                visit(row, &values)?;
                row += 1;
            }
        }
        Ok(())
    }

    /// The rows at these places, in this order; a place may occur more than once.
    ///
    /// # Errors
    /// `Invalid` if a place is not below [`rows`](Self::rows), `Unsupported` if the texts of a column are longer than
    /// 2 GiB in all.
    pub fn take(&self, places: &[usize]) -> Result<Self> {
        let rows = self.rows();
        if let Some(place) = places.iter().find(|place| **place >= rows) {
            return Err(Error::invalid(format!("row {place} is asked for, there are {rows} rows")));
        }
        if places.is_empty() {
            return Ok(Self { schema: Arc::clone(&self.schema), batches: Vec::new() });
        }
        let places: UInt64Array = places.iter().map(|place| *place as u64).collect();
        let names = self.schema.columns().iter().map(|column| &column.name);
        let columns = names.map(|name| self.taken(name, &places)).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(self.schema.to_arrow(), columns)?;
        Ok(Self { schema: Arc::clone(&self.schema), batches: vec![batch] })
    }

    /// The cells of one column at these places; missing where the place is.
    pub(super) fn taken(&self, name: &str, places: &UInt64Array) -> Result<ArrayRef> {
        take(self.column(name)?.as_ref(), places, None).map_err(|error| too_long(name, error))
    }

    /// The rows for which `keep` is true; it sees the cells in the order of the schema.
    ///
    /// # Errors
    /// `Unsupported` if a column has an Arrow type that no [`ColumnKind`](super::ColumnKind) has.
    pub fn filter(&self, mut keep: impl FnMut(&[Value<'_>]) -> bool) -> Result<Self> {
        let mut kept = Vec::new();
        self.for_each_row(|row, values| {
            if keep(values) {
                kept.push(row);
            }
            Ok(())
        })?;
        self.take(&kept)
    }

    /// The columns of these names, in this order, without copying.
    ///
    /// # Errors
    /// `NotFound` if a name is not in the schema, `Invalid` if one comes twice or there is none.
    pub fn project(&self, names: &[&str]) -> Result<Self> {
        let places = names.iter().map(|name| self.schema.index_of(name)).collect::<Result<Vec<_>>>()?;
        let schema = TableSchema::new(places.iter().map(|place| self.schema.columns()[*place].clone()))?;
        let batches = self.batches.iter().map(|batch| batch.project(&places)).collect::<Result<_, _>>()?;
        Ok(Self { schema: Arc::new(schema), batches })
    }

    /// The rows of this data set, then those of `other`, without copying.
    ///
    /// # Errors
    /// `Invalid` if the schemas differ.
    pub fn concat(mut self, other: Self) -> Result<Self> {
        if self.schema != other.schema {
            return Err(Error::invalid("data sets with different schemas cannot be put together"));
        }
        self.batches.extend(other.batches);
        Ok(self)
    }

    /// The version of the data: the same rows give the same digest, however they are cut into batches,
    /// files or formats. See [`Fingerprint`].
    ///
    /// The digest of the data set as an artifact of a pipeline is another number: it covers roles, ranges and
    /// categories of the schema too.
    pub fn fingerprint(&self) -> Digest {
        let mut fingerprint = Fingerprint::new(&self.schema);
        for batch in &self.batches {
            fingerprint.update_conformed(batch);
        }
        fingerprint.finish()
    }
}

/// Says which column is too long for one array.
#[cold]
fn too_long(name: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::OffsetOverflowError(_) => Error::unsupported(format!(
            "the texts of column `{name}` are longer than 2 GiB in all, which one Arrow array cannot hold: take fewer \
             rows, or go through `batches`"
        ))
        .with_source(error),
        error => error.into(),
    }
}
