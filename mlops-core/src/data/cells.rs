//! One Arrow column read cell by cell.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{
    Array, BooleanArray, Float64Array, Int64Array, LargeStringArray, PrimitiveArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};

use super::Value;
use crate::{Error, Result};

/// A column whose cells can be read as [`Value`]s, without copying.
///
/// Takes the Arrow types of every [`ColumnKind`](super::ColumnKind), and the narrower numbers.
///
/// ```
/// use arrow_array::{Array, Int64Array};
/// use mlops_core::data::{Cells, Value};
///
/// let array = Int64Array::from(vec![Some(7), None]);
/// let cells = Cells::new(&array)?;
/// assert_eq!(cells.value(0), Value::Integer(7));
/// assert_eq!(cells.value(1), Value::Missing);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    array: &'a dyn Array,
    typed: Typed<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Typed<'a> {
    Float64(&'a Float64Array),
    Float32(&'a PrimitiveArray<Float32Type>),
    Int64(&'a Int64Array),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int8(&'a PrimitiveArray<Int8Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    Boolean(&'a BooleanArray),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    Timestamp(&'a TimestampMicrosecondArray),
}

impl<'a> Cells<'a> {
    /// The cells of this array.
    ///
    /// # Errors
    /// `Unsupported` if the array holds lists, structs or another type that is no cell of a table.
    pub fn new(array: &'a dyn Array) -> Result<Self> {
        fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> &PrimitiveArray<T> {
            array.as_primitive::<T>()
        }
        let typed = match array.data_type() {
            DataType::Float64 => Typed::Float64(primitive::<Float64Type>(array)),
            DataType::Float32 => Typed::Float32(primitive(array)),
            DataType::Int64 => Typed::Int64(primitive::<Int64Type>(array)),
            DataType::Int32 => Typed::Int32(primitive(array)),
            DataType::Int16 => Typed::Int16(primitive(array)),
            DataType::Int8 => Typed::Int8(primitive(array)),
            DataType::UInt32 => Typed::UInt32(primitive(array)),
            DataType::UInt16 => Typed::UInt16(primitive(array)),
            DataType::UInt8 => Typed::UInt8(primitive(array)),
            DataType::Boolean => Typed::Boolean(array.as_boolean()),
            DataType::Utf8 => Typed::Text(array.as_string()),
            DataType::LargeUtf8 => Typed::LargeText(array.as_string()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Typed::Timestamp(primitive::<TimestampMicrosecondType>(array))
            }
            other => {
                return Err(Error::unsupported(format!(
                    "a column of type {other} cannot be read cell by cell: cast it to a number, text, truth \
                     value or timestamp in microseconds first"
                )));
            }
        };
        Ok(Self { array, typed })
    }

    /// The number of cells.
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// The cell at `row`; a timestamp is the whole number of its microseconds.
    ///
    /// # Panics
    /// If `row` is not below [`len`](Self::len), as a slice does.
    #[inline]
    pub fn value(&self, row: usize) -> Value<'a> {
        if self.array.is_null(row) {
            return Value::Missing;
        }
        match self.typed {
            Typed::Float64(array) => Value::Float(array.value(row)),
            Typed::Float32(array) => Value::Float(f64::from(array.value(row))),
            Typed::Int64(array) => Value::Integer(array.value(row)),
            Typed::Int32(array) => Value::Integer(i64::from(array.value(row))),
            Typed::Int16(array) => Value::Integer(i64::from(array.value(row))),
            Typed::Int8(array) => Value::Integer(i64::from(array.value(row))),
            Typed::UInt32(array) => Value::Integer(i64::from(array.value(row))),
            Typed::UInt16(array) => Value::Integer(i64::from(array.value(row))),
            Typed::UInt8(array) => Value::Integer(i64::from(array.value(row))),
            Typed::Boolean(array) => Value::Boolean(array.value(row)),
            Typed::Text(array) => Value::Text(array.value(row)),
            Typed::LargeText(array) => Value::Text(array.value(row)),
            Typed::Timestamp(array) => Value::Integer(array.value(row)),
        }
    }
}
