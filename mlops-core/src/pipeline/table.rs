//! Tables as artifacts: Arrow IPC, so that every cell comes back as it was.

use std::ops::Deref;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, PrimitiveArray, RecordBatch, StringArray};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::DataType;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::step::Lend;
use crate::data::{Dataset, TableSchema};
use crate::version::Version;
use crate::{Error, Result};

/// An Arrow batch as an artifact, alone or in tuples, lists and structs of your own: written as an Arrow IPC stream.
/// A table with a schema that says what its columns mean is a [`Dataset`], which is an artifact itself.
///
/// Two tables with the same buffers, types and names have the same digest: what lies under missing cells and past
/// the end of a bitmap counts too. Take a [`Dataset`] where the same rows must have the same digest.
///
/// **Cost**: writing makes the stream in memory once, also for a digest alone, and copies it where it goes; reading copies
/// it once, and the columns then lie in that copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Table(pub RecordBatch);

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let rows = ByteBuf::from(written(&self.0).map_err(S::Error::custom)?);
        WrittenTable { version: Version, rows }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let WrittenTable { rows, .. } = WrittenTable::deserialize(from)?;
        read(rows.into_vec()).map(Self).map_err(D::Error::custom)
    }
}

/// A [`Table`] as it is written.
#[derive(Serialize, Deserialize)]
struct WrittenTable {
    version: Version<1>,
    /// An Arrow IPC stream of one batch.
    rows: ByteBuf,
}

/// A [`Dataset`] as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: Version<1>,
    schema: TableSchema,
    /// An Arrow IPC stream of one batch.
    rows: ByteBuf,
}

/// Written as its schema and one Arrow batch: the same rows give the same bytes, however they were made or cut into
/// batches. For that the columns are copied once, besides what a [`Table`](crate::pipeline::Table) costs.
impl Serialize for Dataset {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let columns = self.schema().columns().iter();
        let columns = columns.map(|column| Ok(canonical(self.column(&column.name)?.as_ref())));
        let columns = columns.collect::<Result<Vec<_>>>().map_err(S::Error::custom)?;
        let batch = RecordBatch::try_new(self.schema().to_arrow(), columns).map_err(S::Error::custom)?;
        let rows = ByteBuf::from(written(&batch).map_err(S::Error::custom)?);
        Written { version: Version, schema: TableSchema::clone(self.schema()), rows }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Dataset {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { schema, rows, .. } = Written::deserialize(from)?;
        read(rows.into_vec()).and_then(|batch| Self::new(schema, [batch])).map_err(D::Error::custom)
    }
}

/// The column with nothing in its memory but its cells: what lies under missing ones or beyond its ends is left out,
/// and all NaNs are one.
fn canonical(column: &dyn Array) -> ArrayRef {
    let nulls = (column.null_count() > 0)
        .then(|| (0..column.len()).map(|row| column.is_valid(row)).collect::<NullBuffer>());
    match column.data_type() {
        DataType::Boolean => {
            let cells = column.as_boolean().iter().map(Option::unwrap_or_default);
            Arc::new(BooleanArray::new(cells.collect(), nulls))
        }
        DataType::Utf8 if nulls.is_some() => {
            Arc::new(column.as_string::<i32>().iter().collect::<StringArray>())
        }
        DataType::Utf8 => {
            let cells = column.as_string::<i32>();
            Arc::new(StringArray::new(cells.offsets().clone(), cells.values().clone(), None))
        }
        DataType::Float64 => {
            let cells = column.as_primitive::<Float64Type>().iter().map(|cell| match cell {
                Some(number) if number.is_nan() => f64::NAN,
                cell => cell.unwrap_or_default(),
            });
            Arc::new(Float64Array::new(cells.collect(), nulls))
        }
        DataType::Int64 => Arc::new(whole_numbers::<Int64Type>(column, nulls)),
        // The last kind of a table's columns.
        _ => Arc::new(whole_numbers::<TimestampMicrosecondType>(column, nulls)),
    }
}

fn whole_numbers<T: ArrowPrimitiveType<Native = i64>>(
    column: &dyn Array,
    nulls: Option<NullBuffer>,
) -> PrimitiveArray<T> {
    let cells = column.as_primitive::<T>().iter().map(Option::unwrap_or_default);
    PrimitiveArray::new(cells.collect(), nulls).with_data_type(column.data_type().clone())
}

fn written(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// Reads as far as there are bytes: a damaged length reserves no memory.
fn read(bytes: Vec<u8>) -> Result<RecordBatch> {
    let mut rest = Buffer::from(bytes);
    let mut decoder = StreamDecoder::new();
    let Some(batch) = decoder.decode(&mut rest)? else {
        return Err(Error::data("an Arrow stream without a batch is not a table"));
    };
    if *rest != END {
        return Err(Error::data("an Arrow stream that does not end after its first batch is not one table"));
    }
    Ok(batch)
}

/// The mark at the end of an Arrow stream.
const END: [u8; 8] = [255, 255, 255, 255, 0, 0, 0, 0];

impl Deref for Table {
    type Target = RecordBatch;

    fn deref(&self) -> &RecordBatch {
        &self.0
    }
}

impl Lend<RecordBatch> for Table {
    fn lend(&self) -> &RecordBatch {
        &self.0
    }
}

impl From<RecordBatch> for Table {
    fn from(batch: RecordBatch) -> Self {
        Self(batch)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::artifact::{Artifact, digest};
    use super::*;
    use crate::data::{Column, ColumnKind, Role};

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::INFINITY)])) as _),
            ("s", Arc::new(StringArray::from(vec!["a", "", "c"])) as _),
        ])
        .unwrap()
    }

    fn bytes(value: &impl Artifact) -> Bytes {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        bytes.into()
    }

    #[test]
    fn tables_round_trip() {
        for table in [Table(batch()), Table(batch().slice(1, 1)), Table(batch().slice(0, 0))] {
            assert_eq!(Table::decode(bytes(&table)).unwrap(), table);
        }
        let error = Table::decode(Bytes::from_static(b"no arrow")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Data);
    }

    #[test]
    fn bytes_are_written_as_bytes_and_a_later_version_is_refused() {
        let table = Table(batch());
        let stream = written(&table.0).unwrap();
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
        let later = json.replacen("\"version\":1", "\"version\":2", 1);
        assert_ne!(later, json);
        assert!(serde_json::from_str::<Table>(&later).unwrap_err().to_string().contains("version"));
        let encoded = bytes(&table);
        assert!(encoded.len() < stream.len() + 40, "bytes as bytes, not as numbers");
    }

    #[test]
    fn what_is_no_cell_does_not_count() {
        let schema = TableSchema::new([
            Column::new("x", ColumnKind::Float),
            Column::new("n", ColumnKind::Integer),
            Column::new("b", ColumnKind::Boolean),
            Column::new("s", ColumnKind::Text),
            Column::new("t", ColumnKind::Timestamp),
        ])
        .unwrap();
        let csv =
            |rows: &str| Dataset::from_csv(format!("x,n,b,s,t\n{rows}").as_bytes(), schema.clone()).unwrap();
        let (kept, gone) =
            ("1,2,true,a,2026-01-01T00:00:00Z\n,,,,\n3,4,false,b,2026-01-02T00:00:00Z\n", "5,6,true,c,\n");
        let plain = csv(kept);
        let sliced = csv(&format!("{gone}{kept}{gone}{gone}"));
        let sliced =
            Dataset::new(schema.clone(), sliced.batches().iter().map(|batch| batch.slice(1, 3))).unwrap();
        assert_eq!(sliced.fingerprint(), plain.fingerprint());
        assert_eq!(digest(&sliced).unwrap(), digest(&plain).unwrap());
        // Without a missing cell, but out of a column that has one.
        let first =
            Dataset::new(schema.clone(), plain.batches().iter().map(|batch| batch.slice(0, 1))).unwrap();
        assert_eq!(digest(&first).unwrap(), digest(&csv("1,2,true,a,2026-01-01T00:00:00Z\n")).unwrap());
        // Taking a row that is not there leaves another's number under the missing cell.
        let places = arrow_array::UInt64Array::from(vec![Some(0), None, Some(2)]);
        let batch = &plain.batches()[0];
        let columns = batch.columns().iter();
        let columns =
            columns.map(|column| arrow_select::take::take(column, &places, None).unwrap()).collect();
        let taken = Dataset::new(schema, [RecordBatch::try_new(batch.schema(), columns).unwrap()]).unwrap();
        assert_eq!(digest(&taken).unwrap(), digest(&plain).unwrap());
    }

    #[test]
    fn data_sets_round_trip_and_forget_how_they_were_cut() {
        let schema = TableSchema::new([
            Column::new("x", ColumnKind::Float).range(0.0, f64::INFINITY),
            Column::new("s", ColumnKind::Text).role(Role::Id),
        ])
        .unwrap();
        let whole = Dataset::new(schema.clone(), [batch()]).unwrap();
        let cut = Dataset::new(schema.clone(), [batch().slice(0, 1), batch().slice(1, 2)]).unwrap();
        let none = Dataset::new(schema, []).unwrap();
        assert_eq!(digest(&whole).unwrap(), digest(&cut).unwrap());
        assert_ne!(digest(&whole).unwrap(), digest(&none).unwrap());
        for data in [&whole, &cut, &none] {
            let back = Dataset::decode(bytes(data)).unwrap();
            assert_eq!((back.fingerprint(), back.schema()), (data.fingerprint(), data.schema()));
            let nested = vec![(data.clone(), Some(data.clone()))];
            let back = Vec::<(Dataset, Option<Dataset>)>::decode(bytes(&nested)).unwrap();
            assert_eq!(digest(&back).unwrap(), digest(&nested).unwrap());
        }
        let whole = bytes(&whole);
        for length in 0..whole.len() {
            let error = Dataset::decode(whole.slice(..length)).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Data, "{length}");
        }
    }
}
