//! A table in memory.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, UInt64Array, new_null_array};
use arrow_cast::display::array_value_to_string;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::{Cells, Column, ColumnKind, Fingerprint, TableSchema, Value};
use crate::{Digest, Error, Result};

/// Arrow batches that fit a [`TableSchema`]: the right columns, of the right kinds, in its order.
///
/// Cheap to clone: batches are shared, not copied. Equal data sets have equal batches; whether two have the same rows,
/// however they are cut, their [fingerprints](Self::fingerprint) tell.
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
    /// rounded in columns of floats, and times to microseconds. A time in a column of integers is its
    /// microseconds. Columns that the schema does not name are
    /// dropped.
    ///
    /// # Errors
    /// `Data` if a column is missing or there twice, a value cannot be cast, or a required cell is missing.
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
    /// `NotFound` if the schema has no such column.
    pub fn column(&self, name: &str) -> Result<ArrayRef> {
        let index = self.schema.index_of(name)?;
        let pieces: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        match &pieces[..] {
            [] => Ok(arrow_array::new_empty_array(&self.schema.columns()[index].kind.data_type())),
            [_] => Ok(Arc::clone(self.batches[0].column(index))),
            _ => Ok(concat(&pieces)?),
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
    /// `Invalid` if a place is not below [`rows`](Self::rows).
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
        let columns = names
            .map(|name| Ok(take(self.column(name)?.as_ref(), &places, None)?))
            .collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(self.schema.to_arrow(), columns)?;
        Ok(Self { schema: Arc::clone(&self.schema), batches: vec![batch] })
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
    pub fn fingerprint(&self) -> Digest {
        let mut fingerprint = Fingerprint::new(&self.schema);
        for batch in &self.batches {
            fingerprint.update_conformed(batch);
        }
        fingerprint.finish()
    }
}

/// Brings one batch to the schema. `first_row` is where it starts in the table, for messages.
pub(super) fn conform(schema: &TableSchema, batch: &RecordBatch, first_row: usize) -> Result<RecordBatch> {
    let columns = schema.columns().iter().map(|column| {
        let name = &column.name;
        let Some(array) = batch.column_by_name(name) else {
            let have: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
            return Err(Error::data(format!("column `{name}` is missing: the data has {}", have.join(", "))));
        };
        if batch.schema_ref().fields().iter().filter(|field| field.name() == name).count() > 1 {
            return Err(Error::data(format!("the data has two columns `{name}`: rename one")));
        }
        let want = column.kind.data_type();
        let array =
            if *array.data_type() == want { Arc::clone(array) } else { cast(column, array, first_row)? };
        if !column.nullable
            && let Some(nulls) = array.nulls()
            && let Some(row) = nulls.iter().position(|valid| !valid)
        {
            let row = first_row + row;
            return Err(Error::data(format!(
                "column `{name}` is required, its cell in row {row} is missing"
            )));
        }
        Ok(array)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.to_arrow(), columns)?)
}

/// Casts a column to its kind, or names the first cell that does not fit.
fn cast(column: &Column, array: &ArrayRef, first_row: usize) -> Result<ArrayRef> {
    let Column { name, kind, .. } = column;
    let found = array.data_type();
    let lenient = CastOptions { safe: true, ..CastOptions::default() };
    let unlike = |error| {
        Error::data(format!("column `{name}` should be {kind}, the data has {found}")).with_source(error)
    };
    let array = &match found {
        DataType::Null => return Ok(new_null_array(&kind.data_type(), array.len())),
        DataType::Dictionary(_, values) => arrow_cast::cast(array, values).map_err(unlike)?,
        // Every time is in microseconds here, as a number too.
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 if *kind == ColumnKind::Integer => {
            arrow_cast::cast(array, &ColumnKind::Timestamp.data_type()).map_err(unlike)?
        }
        _ => Arc::clone(array),
    };
    let cast = cast_with_options(array, &kind.data_type(), &lenient).map_err(unlike)?;
    let rounded = Rounded::new(array, &cast)?;
    let fits = |row: &usize| array.is_null(*row) || (cast.is_valid(*row) && !rounded.at(*row));
    match (0..array.len()).find(|row| !fits(row)) {
        None => Ok(cast),
        Some(row) => {
            let value = array_value_to_string(array, row)?;
            let row = first_row + row;
            Err(Error::data(format!("column `{name}` should be {kind}, its cell in row {row} is `{value}`")))
        }
    }
}

/// Finds the cells whose number a cast changed: 1.5 to an integer, 2 to a truth value.
struct Rounded(Option<(Float64Array, Float64Array)>);

impl Rounded {
    fn new(before: &ArrayRef, after: &ArrayRef) -> Result<Self> {
        let narrows =
            matches!(after.data_type(), DataType::Int64 | DataType::Boolean | DataType::Timestamp(..));
        if !(narrows && before.data_type().is_numeric()) {
            return Ok(Self(None));
        }
        let floats = |array| -> Result<Float64Array> {
            Ok(arrow_cast::cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        Ok(Self(Some((floats(before)?, floats(after)?))))
    }

    fn at(&self, row: usize) -> bool {
        self.0.as_ref().is_some_and(|(before, after)| before.value(row) != after.value(row))
    }
}
