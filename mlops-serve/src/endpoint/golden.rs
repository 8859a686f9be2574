//! Rows whose scores are known: the last check before a model may answer.

#[cfg(feature = "native")]
use mlops_core::ModelSignature;
use mlops_core::data::Value;
#[cfg(feature = "native")]
use mlops_core::features::Encoder;
use mlops_core::{Error, ModelPackage, ModelVersion, Result};
use serde::{Deserialize, Serialize};

use super::Model;
#[cfg(feature = "native")]
use super::fed::Fed;
#[cfg(feature = "native")]
use super::inputs::Inputs;
#[cfg(feature = "native")]
use crate::tensor::TensorBuf;

/// Rows with the scores that the model gave when it was trained. A package carries them as
/// [`Golden::FILE`]; a model that scores them otherwise is not what was registered, or runs on an engine
/// that computes otherwise, and is refused.
///
/// ```
/// use mlops_core::data::Value;
/// use mlops_serve::endpoint::Golden;
///
/// let mut golden = Golden::new(1e-5);
/// golden.push(&[Value::Float(0.2), Value::Text("new_visitor")], 0.83);
/// let bytes = golden.to_json()?;
/// assert_eq!(Golden::from_json(&bytes)?, golden);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    version: u32,
    tolerance: f64,
    rows: Vec<(Vec<serde_json::Value>, f64)>,
}

impl Golden {
    /// The name of the file in a package.
    pub const FILE: &str = "golden.json";

    /// No rows yet. Scores may differ by `tolerance * (1 + |score|)`.
    pub fn new(tolerance: f64) -> Self {
        Self { version: 1, tolerance, rows: Vec::new() }
    }

    /// Adds a row and its score. NaN and infinite cells cannot be written: they become missing ones.
    pub fn push(&mut self, row: &[Value<'_>], score: f64) {
        let cell = |cell: &Value<'_>| match *cell {
            Value::Float(value) => value.into(),
            Value::Integer(value) => value.into(),
            Value::Boolean(value) => value.into(),
            Value::Text(value) => value.into(),
            _ => serde_json::Value::Null,
        };
        self.rows.push((row.iter().map(cell).collect(), score));
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// `Data` if the bytes are something else.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let golden: Self = serde_json::from_slice(json)
            .map_err(|error| Error::data("the bytes are no golden rows in JSON").with_source(error))?;
        if golden.version != 1 || !(0.0..=f64::MAX).contains(&golden.tolerance) {
            let Self { version, tolerance, .. } = golden;
            return Err(Error::data(format!(
                "golden rows have version {version} and tolerance {tolerance}: want version 1 and a tolerance >= 0"
            )));
        }
        Ok(golden)
    }

    /// The rows as JSON.
    ///
    /// # Errors
    /// `Invalid` if the tolerance or a score is no number that JSON has.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        if !(0.0..=f64::MAX).contains(&self.tolerance) {
            return Err(Error::invalid(format!(
                "golden rows of tolerance {}: want 0 or more",
                self.tolerance
            )));
        }
        if let Some(index) = self.rows.iter().position(|(_, score)| !score.is_finite()) {
            return Err(Error::invalid(format!("golden row {index} has the score {}", self.rows[index].1)));
        }
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("golden rows cannot be written as JSON").with_source(error))
    }

    /// The golden rows of a package, if it has any.
    pub(super) fn of(package: &ModelPackage) -> Result<Option<Self>> {
        if !package.files.contains_key(Self::FILE) {
            return Ok(None);
        }
        let golden = Self::from_json(&package.read(Self::FILE)?)?;
        if golden.is_empty() {
            return Err(Error::data(format!("`{}` has no rows: add some, or leave it out", Self::FILE)));
        }
        Ok(Some(golden))
    }

    /// All rows as the inputs of a model.
    #[cfg(feature = "native")]
    pub(super) fn inputs(
        &self,
        encoder: Option<Encoder>,
        signature: &ModelSignature,
    ) -> Result<Vec<TensorBuf>> {
        let inputs =
            Inputs::of(&signature.inputs).map_err(|why| Error::unsupported(format!("golden rows: {why}")))?;
        let rows = self.rows.iter().map(|(cells, _)| cells.iter().map(value).collect::<Result<Vec<_>>>());
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let rows = rows.iter().map(Vec::as_slice);
        let mut buffers = Vec::new();
        match encoder {
            None => inputs.fill(&rows, &mut buffers)?,
            Some(encoder) => {
                let fed = Fed::new(encoder, &inputs)
                    .map_err(|error| error.context("golden rows do not fit the model"))?;
                inputs.encode(&fed, &rows, &mut buffers, &mut TensorBuf::default())?;
            }
        }
        Ok(buffers)
    }

    /// Whether the model gives the known scores: row by row, and for all rows at once if their answers depend on
    /// each other.
    ///
    /// # Errors
    /// `Data` if a score is off, naming the row and both scores; `Invalid` if a row does not fit the model.
    pub fn check(&self, model: &Model) -> Result<()> {
        let version = model.version();
        let mut rows = Vec::with_capacity(self.len());
        for (index, (cells, _)) in self.rows.iter().enumerate() {
            let row = cells.iter().map(value).collect::<Result<Vec<_>>>()?;
            let got = model
                .score(&row)
                .map_err(|error| error.context(format!("{version} cannot score golden row {index}")))?;
            self.check_score(index, got, version, "")?;
            rows.push(row);
        }
        if model.runtime().capabilities().rows_independent {
            return Ok(());
        }
        let rows: Vec<&[Value<'_>]> = rows.iter().map(Vec::as_slice).collect();
        let mut scores = Vec::with_capacity(rows.len());
        model
            .score_rows(&rows, &mut scores)
            .map_err(|error| error.context(format!("{version} cannot score all golden rows at once")))?;
        let mut scores = scores.into_iter().enumerate();
        scores.try_for_each(|(index, got)| self.check_score(index, got, version, " among all others"))
    }

    fn check_score(&self, index: usize, got: f64, version: &ModelVersion, among: &str) -> Result<()> {
        let (tolerance, want) = (self.tolerance, self.rows[index].1);
        if (got - want).abs() <= tolerance * (1.0 + want.abs()) {
            return Ok(());
        }
        Err(Error::data(format!(
            "{version} scores golden row {index}{among} with {got}, training gave {want} (tolerance {tolerance})"
        )))
    }
}

fn value(cell: &serde_json::Value) -> Result<Value<'_>> {
    Ok(match cell {
        serde_json::Value::Null => Value::Missing,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::String(value) => Value::Text(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Integer(value),
            (None, Some(value)) => Value::Float(value),
            (None, None) => return Err(Error::data(format!("golden cell {number} is no 64-bit number"))),
        },
        other => {
            return Err(Error::data(format!(
                "golden cell {other} is neither null, boolean, number nor text"
            )));
        }
    })
}
