//! Rows in, numbers out.

use arrow_array::RecordBatch;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::EncoderSpec;
use super::fitted::Fitted;
use crate::data::{Cells, Column, Dataset, Value};
use crate::{Error, Result};

/// A fitted encoder: turns the feature cells of a row into the numbers that a model takes.
///
/// It is a plain serde value with a version; JSON keeps every number bit for bit. Encoding a row does not
/// allocate, and is the same code for one request as for a training batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Encoder {
    /// The cells of a row, in order.
    inputs: Vec<Column>,
    steps: Vec<Step>,
}

/// What is written: with a version, and checked when it is read.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    inputs: Vec<Column>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    input: usize,
    fitted: Fitted,
}

const VERSION: u32 = 1;

impl Encoder {
    /// Fits every transform on the training rows. Rows to encode later have the feature columns of the
    /// data set's schema, in its order, whether a transform uses them or not.
    ///
    /// # Errors
    /// `Invalid` if a transform does not fit its column, or there is none; `NotFound` if a column is no
    /// feature of the schema; `Data` if the data set is empty, or a column has no number to fit on.
    pub fn fit(spec: &EncoderSpec, train: &Dataset) -> Result<Self> {
        if train.is_empty() {
            return Err(Error::data("an encoder cannot be fitted on an empty data set"));
        }
        if spec.columns.is_empty() {
            return Err(Error::invalid("an encoder needs at least one column"));
        }
        let inputs: Vec<Column> = train.schema().features().cloned().collect();
        let steps = spec
            .columns
            .iter()
            .map(|(name, transform)| {
                let input = inputs.iter().position(|column| column.name == *name).ok_or_else(|| {
                    Error::not_found(format!("column `{name}` is no feature of the schema"))
                })?;
                let array = train.column(name)?;
                let cells = Cells::new(array.as_ref())?;
                let cells = (0..cells.len()).map(|row| cells.value(row));
                Ok(Step { input, fitted: Fitted::fit(name, transform, inputs[input].kind, cells)? })
            })
            .collect::<Result<_>>()?;
        Ok(Self { inputs, steps })
    }

    /// Reads an encoder from the JSON that serde wrote.
    ///
    /// # Errors
    /// `Data` if it is no encoder, `Unsupported` if a newer version of this library wrote it.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let wrong = |error| Error::data("the bytes are no encoder in JSON").with_source(error);
        let value: serde_json::Value = serde_json::from_slice(json).map_err(wrong)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(Error::unsupported(format!(
                "the encoder has version {version}, this build reads up to {VERSION}: update mlops-core"
            )));
        }
        serde_json::from_value(value).map_err(wrong)
    }

    /// The encoder as JSON, for [`from_json`](Self::from_json).
    ///
    /// # Errors
    /// `Internal` if serde refuses, which no fitted encoder makes it do.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("an encoder cannot be written as JSON").with_source(error))
    }

    /// The feature columns: what a row must hold, in order.
    pub fn inputs(&self) -> &[Column] {
        &self.inputs
    }

    /// How many numbers a row becomes.
    pub fn width(&self) -> usize {
        self.steps.iter().map(|step| step.fitted.width()).sum()
    }

    /// The names of those numbers, in order.
    pub fn output_names(&self) -> Vec<String> {
        let names = self.steps.iter().map(|step| step.fitted.output_names(&self.inputs[step.input].name));
        names.flatten().collect()
    }

    /// Encodes one row into `out`. Does not allocate.
    ///
    /// # Errors
    /// `Invalid` if the row has not one cell for each input, a cell's kind does not fit its column, or `out`
    /// has not the encoder's width.
    pub fn encode_row(&self, row: &[Value<'_>], mut out: &mut [f32]) -> Result<()> {
        if row.len() != self.inputs.len() {
            return Err(self.wrong_count(row.len()));
        }
        if out.len() != self.width() {
            return Err(Error::invalid(format!(
                "the row becomes {} numbers, there is room for {}",
                self.width(),
                out.len()
            )));
        }
        for step in &self.steps {
            let (cell, column) = (row[step.input], &self.inputs[step.input]);
            if !column.kind.takes(cell) {
                return Err(wrong_kind(column, cell));
            }
            let (head, tail) = out.split_at_mut(step.fitted.width());
            step.fitted.encode(cell, head);
            out = tail;
        }
        Ok(())
    }

    /// Encodes every row of a batch, whose columns are found by name.
    ///
    /// # Errors
    /// `Data` if a feature column is missing or of a kind that does not fit.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Array2<f32>> {
        let columns = self
            .inputs
            .iter()
            .map(|input| {
                let name = &input.name;
                let column = batch.column_by_name(name).ok_or_else(|| {
                    Error::data(format!("column `{name}` is missing: the encoder reads it"))
                })?;
                Cells::new(column.as_ref())
            })
            .collect::<Result<Vec<_>>>()?;
        let mut encoded = Array2::zeros((batch.num_rows(), self.width()));
        let mut row = vec![Value::Missing; columns.len()];
        for (index, mut out) in encoded.outer_iter_mut().enumerate() {
            row.iter_mut().zip(&columns).for_each(|(cell, column)| *cell = column.value(index));
            let out = out.as_slice_mut().ok_or_else(|| Error::internal("a row of an array is in pieces"))?;
            self.encode_row(&row, out)?;
        }
        Ok(encoded)
    }

    /// Encodes every row of a data set.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_dataset(&self, data: &Dataset) -> Result<Array2<f32>> {
        let mut encoded = Array2::zeros((0, self.width()));
        for batch in data.batches() {
            encoded
                .append(ndarray::Axis(0), self.encode(batch)?.view())
                .map_err(|error| Error::internal("encoded batches differ in width").with_source(error))?;
        }
        Ok(encoded)
    }

    #[cold]
    fn wrong_count(&self, got: usize) -> Error {
        let names: Vec<_> = self.inputs.iter().map(|column| column.name.as_str()).collect();
        Error::invalid(format!("the row has {got} cells, want {}: {}", names.len(), names.join(", ")))
    }
}

impl From<Encoder> for Stored {
    fn from(Encoder { inputs, steps }: Encoder) -> Self {
        Self { version: VERSION, inputs, steps }
    }
}

impl TryFrom<Stored> for Encoder {
    type Error = Error;

    fn try_from(Stored { version, inputs, steps }: Stored) -> Result<Self> {
        if version != VERSION {
            return Err(Error::unsupported(format!(
                "the encoder has version {version}, this build reads {VERSION}"
            )));
        }
        for step in &steps {
            let column = inputs.get(step.input).ok_or_else(|| {
                Error::data(format!(
                    "the encoder reads cell {} of rows with {} cells",
                    step.input,
                    inputs.len()
                ))
            })?;
            step.fitted.check(column)?;
        }
        Ok(Self { inputs, steps })
    }
}

#[cold]
fn wrong_kind(column: &Column, cell: Value<'_>) -> Error {
    Error::invalid(format!("feature `{}` wants {}, got {cell}", column.name, column.kind))
}
