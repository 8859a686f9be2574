//! Late labels and their join with what was predicted.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, FixedSizeBinaryArray, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::data::named;
use crate::{Error, RequestId, Result, Timestamp};

/// What turned out to be true for one request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The request it belongs to.
    pub id: RequestId,
    /// When it became known.
    pub time: Timestamp,
    /// The target: 0 or 1 for a class, a number for a regression.
    pub value: f64,
}

/// Labels by request, waiting to be joined with records.
///
/// A label may be corrected: what counts is the one that became known last by the time asked for (of two at
/// the same time, the one that came in last), so that an evaluation of March never sees what April found out,
/// and is the same whenever it is repeated.
///
/// ```
/// use mlops_core::record::{Label, LabelStore};
/// use mlops_core::{RequestId, Timestamp};
///
/// let mut labels = LabelStore::default();
/// let id = RequestId::from_u128(1);
/// labels.insert(Label { id, time: Timestamp::from_micros(10), value: 1.0 })?;
/// assert_eq!(labels.get(id, Timestamp::from_micros(10)), Some(1.0));
/// assert_eq!(labels.get(id, Timestamp::from_micros(9)), None);
/// labels.insert(Label { id, time: Timestamp::from_micros(20), value: 0.0 })?;
/// assert_eq!(labels.get(id, Timestamp::from_micros(10)), Some(1.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LabelStore {
    /// By time, the last one last; hardly ever more than one.
    labels: HashMap<RequestId, Vec<(Timestamp, f64)>>,
}

impl LabelStore {
    /// Takes one label.
    ///
    /// # Errors
    /// `Invalid` if its value is not finite.
    pub fn insert(&mut self, label: Label) -> Result<()> {
        if !label.value.is_finite() {
            return Err(Error::invalid(format!(
                "the label of request {} is {}: want a finite number",
                label.id, label.value
            )));
        }
        let known = self.labels.entry(label.id).or_default();
        let place = known.partition_point(|(time, _)| *time <= label.time);
        known.insert(place, (label.time, label.value));
        Ok(())
    }

    /// The label of a request, if it was known at `known_at`.
    pub fn get(&self, id: RequestId, known_at: Timestamp) -> Option<f64> {
        let known = self.labels.get(&id)?;
        let place = known.partition_point(|(time, _)| *time <= known_at);
        known[..place].last().map(|(_, value)| *value)
    }

    /// The number of requests that have a label.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The records with a further column `label`, missing where none was known at `known_at`.
    ///
    /// # Errors
    /// `Invalid` if the batch has no `request_id` column as [`InferenceLog`](super::InferenceLog) writes it,
    /// `Data` if it has two.
    pub fn join(&self, records: &RecordBatch, known_at: Timestamp) -> Result<RecordBatch> {
        let ids = named(records, "request_id")?
            .and_then(|column| column.as_any().downcast_ref::<FixedSizeBinaryArray>())
            .filter(|ids| ids.value_length() == 16)
            .ok_or_else(|| Error::invalid("the records have no `request_id` column of 16 bytes"))?;
        let label = |row| {
            if ids.is_null(row) {
                return None;
            }
            let bytes = ids.value(row).try_into().ok()?;
            self.get(RequestId::from_u128(u128::from_be_bytes(bytes)), known_at)
        };
        let labels: Float64Array = (0..ids.len()).map(label).collect();
        // Joined again, as of a later time: the new labels take the place of the old.
        let schema = records.schema();
        let kept = (0..records.num_columns()).filter(|place| schema.field(*place).name() != "label");
        let records = records.project(&kept.collect::<Vec<_>>())?;
        let mut fields = records.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("label", DataType::Float64, true)));
        let mut columns = records.columns().to_vec();
        columns.push(Arc::new(labels));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
