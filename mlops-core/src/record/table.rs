//! Labelled records as a training table: what closes the loop.

#[cfg(feature = "parquet")]
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "parquet")]
use arrow_array::UInt64Array;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
#[cfg(feature = "parquet")]
use arrow_schema::Schema;
use arrow_select::filter::filter_record_batch;

use super::SHADOW_ARM;
#[cfg(feature = "parquet")]
use super::log::{decision_field, fallback_field};
use crate::data::{Dataset, Role, TableSchema, named};
#[cfg(feature = "parquet")]
use crate::data::{caught, damaged_parquet as damaged};
use crate::{Error, Result};

/// The labelled records as rows of `schema`: each feature column holds what was asked, the label column what
/// turned out to be true. Records whose label is still missing are left out, and those of arm
/// [`SHADOW_ARM`](super::SHADOW_ARM): they ask again what another record has asked.
///
/// The batches are those that [`LabelStore::join`](super::LabelStore::join) gives.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Role, TableSchema, Value};
/// use mlops_core::record::{InferenceLog, InferenceRecord, Label, LabelStore, RecordSchema, labelled_rows};
/// use mlops_core::{RequestId, Timestamp};
///
/// let table = TableSchema::new([
///     Column::new("page_value", ColumnKind::Float),
///     Column::new("bought", ColumnKind::Boolean).role(Role::Label).required(),
/// ])?;
/// let (id, time) = (RequestId::from_u128(1), Timestamp::EPOCH);
/// let mut log = InferenceLog::new(RecordSchema::new(&table, ["probability"])?);
/// log.push(&InferenceRecord {
///     id, time, model: "shop", version: 3, arm: "champion", propensity: 1.0, fallback: false, decision: None,
///     latency_us: 2.5, candidates: &[], features: &[Value::Float(12.0)], outputs: &[0.7],
/// })?;
/// let mut labels = LabelStore::default();
/// labels.insert(Label { id, time, value: 1.0 })?;
/// let joined = labels.join(&log.finish()?, time)?;
/// let rows = labelled_rows(&[joined], table)?;
/// assert_eq!((rows.numbers("page_value")?[0], rows.numbers("bought")?[0]), (12.0, 1.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the schema has not exactly one label, or columns that are neither feature nor label; `Data`
/// if a column is missing, comes twice or does not fit.
pub fn labelled_rows(records: &[RecordBatch], schema: impl Into<Arc<TableSchema>>) -> Result<Dataset> {
    let schema = schema.into();
    let label = &schema.the(Role::Label)?.name;
    let names = schema.columns().iter().map(|column| match column.role {
        Role::Feature => Ok((column.name.as_str(), format!("feature.{}", column.name))),
        Role::Label => Ok((label.as_str(), "label".to_owned())),
        other => Err(Error::invalid(format!(
            "column `{}` has the role {other:?}, records hold features and labels alone: project it away",
            column.name
        ))),
    });
    let names = names.collect::<Result<Vec<_>>>()?;
    let batches = records.iter().map(|batch| {
        let column = |name: &str| {
            named(batch, name)?.cloned().ok_or_else(|| match name {
                "label" => Error::data("the records have no labels: join them by `LabelStore::join` first"),
                _ => Error::data(format!("column `{name}` is missing from the records")),
            })
        };
        let known = present(column("label")?.as_ref(), named(batch, "arm")?);
        let columns = names.iter().map(|(name, recorded)| Ok((*name, column(recorded)?)));
        let table = RecordBatch::try_from_iter(columns.collect::<Result<Vec<_>>>()?)?;
        Ok(filter_record_batch(&table, &known)?)
    });
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Dataset::new(Arc::clone(&schema), batches)
}

/// Which records have a label and were heard.
fn present(labels: &dyn Array, arms: Option<&ArrayRef>) -> BooleanArray {
    let arms = arms.and_then(|arms| arms.as_any().downcast_ref::<StringArray>());
    let heard = |row: usize| arms.is_none_or(|arms| arms.is_null(row) || arms.value(row) != SHADOW_ARM);
    (0..labels.len()).map(|row| Some(labels.is_valid(row) && heard(row))).collect()
}

/// Reads captured records back from a Parquet file, whole. Files from before there were columns `fallback` and
/// `decision` have them too. In these `decision` is missing, and `fallback` is `true` for version 0, a default score; of
/// others it is not known whether another model answered, and they read as `false`.
///
/// # Errors
/// `NotFound` if there is no such file, `Unavailable` if it cannot be read, `Data` if it is damaged or holds
/// no records.
#[cfg(feature = "parquet")]
pub fn read_parquet(path: impl AsRef<Path>) -> Result<Vec<RecordBatch>> {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let path = path.as_ref();
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no file `{name}`")),
        _ => Error::unavailable(format!("cannot open `{name}`")).with_source(error),
    })?;
    let read = || -> Result<Vec<RecordBatch>> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        builder.build().map_err(damaged)?.map(|batch| batch.map_err(damaged)).collect()
    };
    let batches = caught(read)
        .map_err(damaged)
        .flatten()
        .map_err(|error| error.context(format!("`{name}` is no readable Parquet file of records")))?;
    match batches.iter().find(|batch| batch.column_by_name("request_id").is_none()) {
        Some(_) => Err(Error::data(format!("`{name}` holds no records: it has no column `request_id`"))),
        None => batches.into_iter().map(completed).collect(),
    }
}

/// The batch with the columns that older files lack, each after the one that it follows.
#[cfg(feature = "parquet")]
fn completed(batch: RecordBatch) -> Result<RecordBatch> {
    let versions = batch.column_by_name("version");
    let is_default = match versions.and_then(|versions| versions.as_any().downcast_ref::<UInt64Array>()) {
        Some(versions) => versions.iter().map(|version| Some(version == Some(0))).collect(),
        None => BooleanArray::from(vec![false; batch.num_rows()]),
    };
    let unknown = BooleanArray::from(vec![None; batch.num_rows()]);
    let (schema, mut columns, _) = batch.into_parts();
    let mut fields = schema.fields().to_vec();
    let newer = [("propensity", fallback_field(), is_default), ("fallback", decision_field(), unknown)];
    for (before, field, cells) in newer {
        let is_there = fields.iter().any(|other| other.name() == field.name());
        let before = fields.iter().position(|other| other.name() == before);
        if let Some(before) = before.filter(|_| !is_there) {
            fields.insert(before + 1, Arc::new(field));
            columns.insert(before + 1, Arc::new(cells));
        }
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
