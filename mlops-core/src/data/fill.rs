//! Values for missing cells.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, Scalar, StringArray,
    TimestampMicrosecondArray,
};
use arrow_select::zip::zip;

use super::{Column, ColumnKind, Dataset, TableSchema, Value};
use crate::{Error, Result};

impl Dataset {
    /// The same rows, with `value` in the missing cells of a column, which is
    /// [`required`](super::Column::required) then. NaN is a number, not a missing cell.
    ///
    /// A purchase that did not happen is missing after a join of [`labels`](super::PointInTime::labels), and is a
    /// negative:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mlops_core::Timestamp;
    /// use mlops_core::data::{Column, ColumnKind, Dataset, PointInTime, Role, TableSchema};
    ///
    /// let (integer, yes) = (ColumnKind::Integer, ColumnKind::Boolean);
    /// let at = [Column::new("user", integer).role(Role::Id), Column::new("t", integer).role(Role::Time)];
    /// let bought = Column::new("bought", yes).role(Role::Label).required();
    /// let visits = Dataset::from_csv("user,t\n1,10\n2,20\n".as_bytes(), TableSchema::new(at.clone())?)?;
    /// let schema = TableSchema::new(at.into_iter().chain([bought]))?;
    /// let sales = Dataset::from_csv("user,t,bought\n2,25,true\n".as_bytes(), schema)?;
    ///
    /// let join = PointInTime::new(["user"], "t");
    /// let rows = join.labels(&visits, &sales, Duration::from_micros(30), Timestamp::from_micros(99))?;
    /// let rows = rows.fill_null("bought", false)?;
    /// assert_eq!(rows.numbers("bought")?, [0.0, 1.0]);
    /// assert!(!rows.schema().the(Role::Label)?.nullable);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column; `Invalid` if the value is missing too, is not of the column's kind,
    /// breaks its range or categories, or is a whole number that no cell of a float column can hold.
    pub fn fill_null<'a>(&self, column: &str, value: impl Into<Value<'a>>) -> Result<Self> {
        let (place, value) = (self.schema().index_of(column)?, value.into());
        let mut columns = self.schema().columns().to_vec();
        let cell = Scalar::new(cell(&columns[place], value)?);
        columns[place].nullable = false;
        let schema = Arc::new(TableSchema::new(columns)?);
        let filled = self.batches().iter().map(|batch| {
            let mut arrays = batch.columns().to_vec();
            if let Some(nulls) = arrays[place].logical_nulls() {
                let is_there = BooleanArray::new(nulls.into_inner(), None);
                arrays[place] = zip(&is_there, &arrays[place], &cell)?;
            }
            Ok(RecordBatch::try_new(schema.to_arrow(), arrays)?)
        });
        let filled = filled.collect::<Result<Vec<_>>>()?;
        Self::new(schema, filled)
    }
}

/// The value as a column of one cell.
fn cell(column: &Column, value: Value<'_>) -> Result<ArrayRef> {
    let Column { name, kind, range, categories, .. } = column;
    let invalid =
        |why: String| Err(Error::invalid(format!("missing cells of `{name}` cannot be {value}: {why}")));
    if let (Some((low, high)), Some(number)) = (range, value.as_f64())
        && !(*low..=*high).contains(&number)
    {
        return invalid(format!("its range is {low}..={high}"));
    }
    if let (Some(categories), Value::Text(text)) = (categories, value)
        && !categories.iter().any(|category| category == text)
    {
        return invalid(format!("its categories are {}", categories.join(", ")));
    }
    Ok(match (kind, value) {
        (ColumnKind::Float, Value::Integer(number)) if i128::from(number) != number as f64 as i128 => {
            return invalid(
                "the cells are f64, which holds whole numbers up to 2^53 and few above".to_owned(),
            );
        }
        (ColumnKind::Float, Value::Float(_) | Value::Integer(_)) => {
            Arc::new(Float64Array::from(vec![value.as_f64()]))
        }
        (ColumnKind::Integer, Value::Integer(number)) => Arc::new(Int64Array::from(vec![number])),
        (ColumnKind::Timestamp, Value::Integer(micros)) => {
            let micros = TimestampMicrosecondArray::from(vec![micros]);
            Arc::new(micros.with_data_type(kind.data_type()))
        }
        (ColumnKind::Boolean, Value::Boolean(truth)) => Arc::new(BooleanArray::from(vec![truth])),
        (ColumnKind::Text, Value::Text(text)) => Arc::new(StringArray::from(vec![text])),
        (_, Value::Missing) => return invalid("give a value".to_owned()),
        _ => return invalid(format!("it is {kind}")),
    })
}
