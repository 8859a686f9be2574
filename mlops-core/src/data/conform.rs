//! Brings Arrow batches to a schema.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, new_null_array};
use arrow_cast::display::array_value_to_string;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::nullif::nullif;

use super::{Column, ColumnKind, TableSchema};
use crate::{Error, Result};

/// Brings one batch to the schema. `first_row` is where it starts in the table, for messages.
pub(super) fn conform(schema: &TableSchema, batch: &RecordBatch, first_row: usize) -> Result<RecordBatch> {
    let arrays = find(schema, batch)?;
    let missing: Vec<_> = schema.columns().iter().zip(&arrays).filter(|(_, array)| array.is_none()).collect();
    if !missing.is_empty() {
        let have: Vec<_> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        let names: Vec<_> = missing.iter().map(|(column, _)| format!("`{}`", column.name)).collect();
        let (s, are) = if names.len() == 1 { ("", "is") } else { ("s", "are") };
        return Err(Error::data(format!(
            "column{s} {} {are} missing: the data has {}",
            names.join(", "),
            if have.is_empty() { "none".to_owned() } else { have.join(", ") }
        )));
    }
    let columns = schema.columns().iter().zip(arrays.into_iter().flatten()).map(|(column, array)| {
        let Column { name, kind, .. } = column;
        let fitted = Fitted::new(column, array)?;
        if let Some(row) = fitted.unfit.first() {
            let value = array_value_to_string(array, *row)?;
            let row = first_row + row;
            return Err(Error::data(format!(
                "column `{name}` should be {kind}, its cell in row {row} is `{value}`"
            )));
        }
        if !column.nullable
            && let Some(nulls) = fitted.array.nulls()
            && let Some(row) = nulls.iter().position(|valid| !valid)
        {
            let row = first_row + row;
            return Err(Error::data(format!(
                "column `{name}` is required, its cell in row {row} is missing"
            )));
        }
        Ok(fitted.array)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.to_arrow(), columns)?)
}

/// The array of each column of the schema, if the batch has it.
///
/// # Errors
/// `Data` if a name comes twice: nobody can say which one is meant.
pub(super) fn find<'a>(schema: &TableSchema, batch: &'a RecordBatch) -> Result<Vec<Option<&'a ArrayRef>>> {
    schema.columns().iter().map(|column| named(batch, &column.name)).collect()
}

/// The array of the column of this name, if the batch has it.
///
/// # Errors
/// `Data` if the name comes twice.
pub(crate) fn named<'a>(batch: &'a RecordBatch, name: &str) -> Result<Option<&'a ArrayRef>> {
    let fields = batch.schema_ref().fields();
    let mut places = (0..fields.len()).filter(|place| fields[*place].name() == name);
    let first = places.next();
    match places.next() {
        None => Ok(first.map(|place| batch.column(place))),
        Some(_) => Err(Error::data(format!("the data has two columns `{name}`: rename one"))),
    }
}

/// A column brought to its kind.
pub(super) struct Fitted {
    pub(super) array: ArrayRef,
    /// The rows whose cell does not fit, in order.
    pub(super) unfit: Vec<usize>,
}

impl Fitted {
    /// # Errors
    /// `Data` if no cell of the array's type fits.
    pub(super) fn new(column: &Column, array: &ArrayRef) -> Result<Self> {
        let Column { name, kind, .. } = column;
        if *array.data_type() == kind.data_type() {
            return Ok(Self { array: Arc::clone(array), unfit: Vec::new() });
        }
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        let cast = |array: &ArrayRef, to: &DataType| {
            cast_with_options(array, to, &lenient).map_err(|error| {
                let found = array.data_type();
                Error::data(format!("column `{name}` should be {kind}, the data has {found}"))
                    .with_source(error)
            })
        };
        let mut before = Arc::clone(array);
        while let Some(plainer) = plainer(before.data_type(), *kind) {
            before = cast(&before, &plainer)?;
        }
        let after = cast(&before, &kind.data_type())?;
        // A dictionary may hold missing values, and an array of nothing has no bitmap.
        let nulls = array.logical_nulls();
        let rounded = Rounded::new(&before, &after)?;
        let unfit = |row: &usize| {
            nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row))
                && (after.is_null(*row) || rounded.at(*row))
        };
        let unfit = (0..array.len()).filter(unfit).collect();
        Ok(Self { array: after, unfit })
    }

    /// A column of which no cell fits but the missing ones.
    pub(super) fn none(column: &Column, array: &ArrayRef) -> Self {
        let nulls = array.logical_nulls();
        let there = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        let unfit = (0..array.len()).filter(there).collect();
        Self { array: new_null_array(&column.kind.data_type(), array.len()), unfit }
    }

    /// The column, in which cells that do not fit are missing.
    pub(super) fn into_fitting(self) -> Result<ArrayRef> {
        if self.unfit.is_empty() {
            return Ok(self.array);
        }
        let mut unfit = vec![false; self.array.len()];
        self.unfit.iter().for_each(|row| unfit[*row] = true);
        Ok(nullif(&self.array, &BooleanArray::from(unfit))?)
    }
}

/// The type through which a cast goes: the values of a dictionary, and times of any unit as microseconds.
fn plainer(found: &DataType, kind: ColumnKind) -> Option<DataType> {
    let number = matches!(kind, ColumnKind::Float | ColumnKind::Integer);
    match found {
        DataType::Dictionary(_, values) => Some((**values).clone()),
        DataType::RunEndEncoded(_, values) => Some(values.data_type().clone()),
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Duration(TimeUnit::Microsecond) => None,
        DataType::Timestamp(_, zone) if number => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Date32 | DataType::Date64 if number => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        DataType::Duration(_) if number => Some(DataType::Duration(TimeUnit::Microsecond)),
        _ => None,
    }
}

/// Finds the cells whose number a cast changed: 1.5 to an integer or a time, 2 to a truth value.
struct Rounded(Option<(Float64Array, Float64Array)>);

impl Rounded {
    fn new(before: &ArrayRef, after: &ArrayRef) -> Result<Self> {
        let narrows =
            matches!(after.data_type(), DataType::Int64 | DataType::Boolean | DataType::Timestamp(..));
        if !(narrows && before.data_type().is_numeric()) {
            return Ok(Self(None));
        }
        let floats = |array: &ArrayRef| -> Result<Float64Array> {
            Ok(arrow_cast::cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        Ok(Self(Some((floats(before)?, floats(after)?))))
    }

    fn at(&self, row: usize) -> bool {
        self.0.as_ref().is_some_and(|(before, after)| before.value(row) != after.value(row))
    }
}
