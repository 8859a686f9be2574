//! Records as Arrow batches.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::InferenceRecord;
use crate::data::{Column, ColumnKind, TableSchema, Value};
use crate::{Error, Result};

/// The columns of captured records: the fixed ones, the features of a table, the outputs of a model.
#[derive(Clone, Debug)]
pub struct RecordSchema {
    features: Vec<Column>,
    outputs: Vec<String>,
    arrow: SchemaRef,
}

impl RecordSchema {
    /// Records with the feature columns of `table` and outputs of these names.
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, TableSchema};
    /// use mlops_core::record::RecordSchema;
    ///
    /// let table = TableSchema::new([Column::new("page_value", ColumnKind::Float)])?;
    /// assert_eq!(RecordSchema::new(&table, ["score", "margin"])?.outputs(), ["score", "margin"]);
    /// assert!(RecordSchema::new(&table, ["score", "score"]).is_err());
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if two outputs have the same name, or one has none.
    pub fn new(table: &TableSchema, outputs: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let features: Vec<Column> = table.features().cloned().collect();
        let outputs: Vec<String> = outputs.into_iter().map(Into::into).collect();
        for (place, name) in outputs.iter().enumerate() {
            if name.is_empty() {
                return Err(Error::invalid(format!("output {place} of the records has no name")));
            }
            if outputs[..place].contains(name) {
                return Err(Error::invalid(format!(
                    "two outputs of the records are called `{name}`: rename one"
                )));
            }
        }
        let text_list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        let mut fields = vec![
            Field::new("request_id", DataType::FixedSizeBinary(16), false),
            Field::new("time", ColumnKind::Timestamp.data_type(), false),
            Field::new("model", DataType::Utf8, false),
            Field::new("version", DataType::UInt64, false),
            Field::new("arm", DataType::Utf8, false),
            Field::new("propensity", DataType::Float64, false),
            fallback_field(),
            decision_field(),
            Field::new("latency_us", DataType::Float64, false),
            Field::new("candidates", text_list, false),
        ];
        fields.extend(
            features
                .iter()
                .map(|column| Field::new(format!("feature.{}", column.name), column.kind.data_type(), true)),
        );
        fields.extend(
            outputs.iter().map(|name| Field::new(format!("output.{name}"), DataType::Float64, false)),
        );
        Ok(Self { features, outputs, arrow: Arc::new(Schema::new(fields)) })
    }

    /// The schema of the batches.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The feature columns, in the order in which a record carries them.
    pub fn features(&self) -> &[Column] {
        &self.features
    }

    /// The names of the outputs, in the order in which a record carries them.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }
}

pub(super) fn fallback_field() -> Field {
    Field::new("fallback", DataType::Boolean, false)
}

pub(super) fn decision_field() -> Field {
    Field::new("decision", DataType::Boolean, true)
}

/// Collects records into an Arrow batch.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
/// use mlops_core::record::{InferenceLog, InferenceRecord, RecordSchema};
/// use mlops_core::{RequestId, Timestamp};
///
/// let table = TableSchema::new([Column::new("page_value", ColumnKind::Float)])?;
/// let mut log = InferenceLog::new(RecordSchema::new(&table, ["probability"])?);
/// log.push(&InferenceRecord {
///     id: RequestId::from_u128(1),
///     time: Timestamp::EPOCH,
///     model: "shop",
///     version: 3,
///     arm: "champion",
///     propensity: 1.0,
///     fallback: false,
///     decision: Some(true),
///     latency_us: 2.5,
///     candidates: &[],
///     features: &[Value::Float(12.0)],
///     outputs: &[0.7],
/// })?;
/// let batch = log.finish()?;
/// assert_eq!(batch.num_rows(), 1);
/// assert!(batch.column_by_name("feature.page_value").is_some());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct InferenceLog {
    schema: RecordSchema,
    request_id: FixedSizeBinaryBuilder,
    time: TimestampMicrosecondBuilder,
    model: StringBuilder,
    version: UInt64Builder,
    arm: StringBuilder,
    propensity: Float64Builder,
    fallback: BooleanBuilder,
    decision: BooleanBuilder,
    latency_us: Float64Builder,
    candidates: ListBuilder<StringBuilder>,
    features: Vec<FeatureBuilder>,
    outputs: Vec<Float64Builder>,
    rows: usize,
    /// The bytes of all texts since the last batch.
    text_bytes: usize,
}

/// One column of text of an Arrow batch holds no more; all of them together are kept below it.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

impl InferenceLog {
    /// An empty log.
    pub fn new(schema: RecordSchema) -> Self {
        Self {
            request_id: FixedSizeBinaryBuilder::new(16),
            time: TimestampMicrosecondBuilder::new().with_timezone("+00:00"),
            model: StringBuilder::new(),
            version: UInt64Builder::new(),
            arm: StringBuilder::new(),
            propensity: Float64Builder::new(),
            fallback: BooleanBuilder::new(),
            decision: BooleanBuilder::new(),
            latency_us: Float64Builder::new(),
            candidates: ListBuilder::new(StringBuilder::new()),
            features: schema.features.iter().map(|column| FeatureBuilder::new(column.kind)).collect(),
            outputs: schema.outputs.iter().map(|_| Float64Builder::new()).collect(),
            rows: 0,
            text_bytes: 0,
            schema,
        }
    }

    /// The number of records collected.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no record was collected.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds one record. A record that is refused leaves the log as it was.
    ///
    /// # Errors
    /// `Invalid` if the number of features or outputs, or the kind of a feature, is not the schema's, or
    /// the propensity is not in (0, 1]; `Unavailable` if the texts since the last [`finish`](Self::finish) would be
    /// more than 2 GiB.
    pub fn push(&mut self, record: &InferenceRecord<'_>) -> Result<()> {
        self.check(record)?;
        let text_bytes = self.text_bytes.saturating_add(text_bytes(record));
        if text_bytes > TEXT_BYTES_MAX {
            return Err(Error::unavailable(format!(
                "the log holds {} records, whose texts fill a batch: finish it and push again",
                self.rows
            )));
        }
        self.text_bytes = text_bytes;
        self.request_id.append_value(record.id.as_u128().to_be_bytes())?;
        self.time.append_value(record.time.as_micros());
        self.model.append_value(record.model);
        self.version.append_value(record.version);
        self.arm.append_value(record.arm);
        self.propensity.append_value(record.propensity);
        self.fallback.append_value(record.fallback);
        self.decision.append_option(record.decision);
        self.latency_us.append_value(record.latency_us);
        for candidate in record.candidates {
            self.candidates.values().append_value(candidate);
        }
        self.candidates.append(true);
        for (builder, value) in self.features.iter_mut().zip(record.features) {
            builder.append(*value);
        }
        for (builder, value) in self.outputs.iter_mut().zip(record.outputs) {
            builder.append_value(*value);
        }
        self.rows += 1;
        Ok(())
    }

    /// The records as one batch; the log is empty afterwards.
    ///
    /// # Errors
    /// `Internal` if the columns do not fit the schema, which `push` rules out.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.request_id.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.model.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.arm.finish()),
            Arc::new(self.propensity.finish()),
            Arc::new(self.fallback.finish()),
            Arc::new(self.decision.finish()),
            Arc::new(self.latency_us.finish()),
            Arc::new(self.candidates.finish()),
        ];
        columns.extend(self.features.iter_mut().map(FeatureBuilder::finish));
        columns.extend(self.outputs.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        self.rows = 0;
        self.text_bytes = 0;
        RecordBatch::try_new(self.schema.arrow.clone(), columns)
            .map_err(|error| Error::internal("captured columns do not fit their schema").with_source(error))
    }

    fn check(&self, record: &InferenceRecord<'_>) -> Result<()> {
        let counts = [
            ("features", self.features.len(), record.features.len()),
            ("outputs", self.outputs.len(), record.outputs.len()),
        ];
        for (what, want, got) in counts {
            if want != got {
                return Err(Error::invalid(format!(
                    "record {} has {got} {what}, its schema has {want}",
                    record.id
                )));
            }
        }
        if !(record.propensity > 0.0 && record.propensity <= 1.0) {
            return Err(Error::invalid(format!(
                "record {} has propensity {}: a chosen arm's is above 0 and at most 1",
                record.id, record.propensity
            )));
        }
        for (column, value) in self.schema.features.iter().zip(record.features) {
            if !column.kind.takes(*value) {
                return Err(Error::invalid(format!(
                    "record {} has {value} for feature `{}`, which is {}",
                    record.id, column.name, column.kind
                )));
            }
        }
        Ok(())
    }
}

fn text_bytes(record: &InferenceRecord<'_>) -> usize {
    let candidates = record.candidates.iter().map(|candidate| candidate.len());
    let features = record.features.iter().map(|value| match value {
        Value::Text(text) => text.len(),
        _ => 0,
    });
    candidates.chain(features).sum::<usize>() + record.model.len() + record.arm.len()
}

#[derive(Debug)]
enum FeatureBuilder {
    Float(Float64Builder),
    Integer(Int64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl FeatureBuilder {
    fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Float => Self::Float(Float64Builder::new()),
            ColumnKind::Integer => Self::Integer(Int64Builder::new()),
            ColumnKind::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnKind::Text => Self::Text(StringBuilder::new()),
            ColumnKind::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("+00:00"))
            }
        }
    }

    /// Appends a value that [`takes`](ColumnKind::takes) let through; anything else would be a missing cell.
    fn append(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Float(builder), value) => builder.append_option(value.as_f64()),
            (Self::Integer(builder), Value::Integer(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Value::Integer(value)) => builder.append_value(value),
            (Self::Boolean(builder), Value::Boolean(value)) => builder.append_value(value),
            (Self::Text(builder), Value::Text(value)) => builder.append_value(value),
            (Self::Integer(builder), _) => builder.append_null(),
            (Self::Timestamp(builder), _) => builder.append_null(),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Text(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}
