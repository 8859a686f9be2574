//! One loaded version: encoder, runtime, and which of its outputs is the score.

use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::features::Encoder;
use mlops_core::{Dimension, ElementType, Error, ModelVersion, Result, TensorSpec};
use serde::{Deserialize, Serialize};

use super::health::Health;
use super::scratch::{Scratch, with_scratch};
use crate::post::Calibration;
use crate::runtime::Runtime;
use crate::tensor::{TensorBuf, TensorData, TensorView};

/// One version of a model, loaded: raw rows in, one score a row out.
///
/// A row is encoded by the [`Encoder`] that was fitted with the model; without one, its cells must be
/// numbers, which are passed on as they are (missing cells as NaN). The model takes one matrix of floats, of
/// 32 bits (ONNX, XGBoost) or of 64 (LightGBM's text). The score is one column of one output, see [`Head`].
///
/// ```
/// use mlops_core::{ElementType, ModelSignature, ModelVersion, TensorSpec};
/// use mlops_core::data::Value;
/// use mlops_serve::endpoint::Model;
/// use mlops_serve::runtime::FnRuntime;
///
/// let signature = ModelSignature {
///     inputs: vec![TensorSpec::batch("features", ElementType::F32, 2)],
///     outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
/// };
/// let runtime = FnRuntime::new("sum", signature, |inputs, outputs| {
///     let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
///     let rows = inputs[0].values::<f32>()?.chunks_exact(2);
///     scores.iter_mut().zip(rows).for_each(|(score, row)| *score = row[0] + row[1]);
///     Ok(())
/// })?;
/// let model = Model::new(ModelVersion::new("shop", 1), runtime)?;
/// assert_eq!(model.score(&[Value::Float(1.5), Value::Integer(2)])?, 3.5);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Debug)]
pub struct Model {
    version: ModelVersion,
    runtime: Arc<dyn Runtime>,
    encoder: Option<Encoder>,
    calibration: Option<Calibration>,
    input: Result<Input, String>,
    score: Result<Score, String>,
    pub(super) health: Health,
}

/// Which column of which output is the score.
///
/// Without a head, the model must have one floating-point output of one column, or of two, as classifiers
/// give the probabilities of no and yes; the score is the last column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The name of the output.
    pub output: String,
    /// The column.
    pub column: usize,
}

/// The one matrix that a model takes.
#[derive(Clone, Copy, Debug)]
struct Input {
    width: usize,
    /// Whether its numbers have 64 bits, not 32.
    wide: bool,
}

/// A head found in a signature; without a column it is the last of one or two.
#[derive(Clone, Copy, Debug)]
struct Score {
    output: usize,
    column: Option<usize>,
}

impl Model {
    /// This runtime as a version of a model, without an encoder.
    ///
    /// # Errors
    /// `Invalid` if two inputs or outputs of the runtime share a name.
    pub fn new(version: ModelVersion, runtime: impl Runtime) -> Result<Self> {
        Self::from_arc(version, Arc::new(runtime))
    }

    /// As [`new`](Self::new), with a runtime that is shared.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_arc(version: ModelVersion, runtime: Arc<dyn Runtime>) -> Result<Self> {
        crate::runtime::SignatureCheck::new(runtime.signature().clone())?;
        let input = input_of(&runtime.signature().inputs);
        let score = score_of(&runtime.signature().outputs);
        Ok(Self {
            version,
            runtime,
            encoder: None,
            calibration: None,
            input,
            score,
            health: Health::default(),
        })
    }

    /// Sets the encoder of the rows.
    ///
    /// # Errors
    /// `Invalid` if the encoder makes rows of another width than the model takes.
    pub fn with_encoder(mut self, encoder: Encoder) -> Result<Self> {
        let want = self.row_width()?;
        let got = encoder.width();
        if want != got {
            let version = &self.version;
            return Err(Error::invalid(format!("{version} takes {want} features, its encoder makes {got}")));
        }
        self.encoder = Some(encoder);
        Ok(self)
    }

    /// Sets which output is the score.
    ///
    /// # Errors
    /// `Invalid` if there is no such output or column, or it holds no numbers.
    pub fn with_head(mut self, head: &Head) -> Result<Self> {
        let Head { output: name, column } = head;
        let specs = &self.runtime.signature().outputs;
        let Some(output) = specs.iter().position(|spec| spec.name == *name) else {
            let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(Error::invalid(format!("no output `{name}`: the model gives {}", names.join(", "))));
        };
        if specs[output].element == ElementType::Text {
            return Err(Error::invalid(format!("output `{name}` holds texts, a score is a number")));
        }
        self.score = Ok(Score { output, column: Some(*column) });
        Ok(self)
    }

    /// Sets the calibration through which every score goes.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    /// Which version it is.
    pub fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// What computes.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The encoder of the rows, if there is one.
    pub fn encoder(&self) -> Option<&Encoder> {
        self.encoder.as_ref()
    }

    /// Bytes of memory that the runtime holds.
    pub fn memory_usage(&self) -> usize {
        self.runtime.memory_usage()
    }

    /// The score of one row.
    ///
    /// # Errors
    /// `Invalid` if the row does not fit, or holds something that is no finite number and that the model has
    /// no finite answer for; `Data` if the model answers with NaN or an infinity otherwise; `Unsupported` if it
    /// does not take rows or has no clear score; and what the runtime gives.
    pub fn score(&self, row: &[Value<'_>]) -> Result<f64> {
        let mut score = 0.0;
        self.score_each(std::iter::once(row), |_, value| score = value)?;
        Ok(score)
    }

    /// The scores of these rows, appended to `scores`. On an error nothing is appended.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn score_rows(&self, rows: &[&[Value<'_>]], scores: &mut Vec<f64>) -> Result<()> {
        if rows.is_empty() {
            return Err(Error::invalid("no rows to score: want at least one"));
        }
        let before = scores.len();
        let result = self.score_each(rows.iter().copied(), |_, score| scores.push(score));
        if result.is_err() {
            scores.truncate(before);
        }
        result
    }

    /// Calls `each` with the index and the score of every row.
    pub(super) fn score_each<'r, 'v: 'r>(
        &self,
        rows: impl ExactSizeIterator<Item = &'r [Value<'v>]>,
        mut each: impl FnMut(usize, f64),
    ) -> Result<()> {
        let (Input { width, wide: is_wide }, score) = (self.input()?, self.score_place()?);
        let count = rows.len();
        with_scratch(|Scratch { features, wide, outputs }| {
            match (&self.encoder, is_wide) {
                (Some(encoder), _) => {
                    make_room(features, count, width)?;
                    for (row, encoded) in rows.zip(features.chunks_exact_mut(width)) {
                        encoder.encode_row(row, encoded)?;
                    }
                    if is_wide {
                        make_room(wide, count, width)?;
                        wide.iter_mut().zip(&*features).for_each(|(wide, value)| *wide = f64::from(*value));
                    }
                }
                (None, false) => {
                    make_room(features, count, width)?;
                    let mut all = rows.zip(features.chunks_exact_mut(width));
                    all.try_for_each(|(row, cells)| copy_numbers(row, cells, |value| value as f32))?;
                }
                (None, true) => {
                    make_room(wide, count, width)?;
                    let mut all = rows.zip(wide.chunks_exact_mut(width));
                    all.try_for_each(|(row, cells)| copy_numbers(row, cells, |value| value))?;
                }
            }
            let specs = &self.runtime.signature().outputs;
            outputs.truncate(specs.len());
            while let Some(spec) = specs.get(outputs.len()) {
                outputs.push(TensorBuf::new(spec.element));
            }
            let input = match is_wide {
                false => TensorView::new(features.as_slice(), [count, width])?,
                true => TensorView::new(wide.as_slice(), [count, width])?,
            };
            self.runtime.run(&[input], outputs)?;
            let gap = |row: usize| match is_wide {
                false => gap_in(&features[row * width..][..width]),
                true => gap_in(&wide[row * width..][..width]),
            };
            self.read(&outputs[score.output].view(), score, count, gap, &mut each)
        })
    }

    fn read(
        &self,
        output: &TensorView<'_>,
        score: Score,
        rows: usize,
        gap: impl Fn(usize) -> Option<(usize, f64)>,
        each: &mut impl FnMut(usize, f64),
    ) -> Result<()> {
        let data = output.data();
        let columns = data.len() / rows.max(1);
        let column = score.column.unwrap_or(columns.wrapping_sub(1));
        if columns * rows != data.len() || column >= columns || score.column.is_none() && columns > 2 {
            return Err(self.wrong_output(output, rows, score));
        }
        let raw = |row: usize| {
            let place = row * columns + column;
            Some(match data {
                TensorData::F32(values) => f64::from(values[place]),
                TensorData::F64(values) => values[place],
                TensorData::I32(values) => f64::from(values[place]),
                TensorData::I64(values) => values[place] as f64,
                TensorData::Bool(values) => f64::from(u8::from(values[place])),
                _ => return None,
            })
        };
        let calibrated = |value: f64| self.calibration.as_ref().map_or(value, |map| map.apply(value));
        let value = |row: usize| raw(row).map(calibrated);
        // Look before the first call of `each`, so that an answer is whole or none.
        for row in 0..rows {
            match value(row) {
                Some(value) if value.is_finite() => {}
                Some(value) => return Err(self.not_finite(value, row, gap(row))),
                None => return Err(self.wrong_output(output, rows, score)),
            }
        }
        (0..rows).filter_map(|row| Some((row, value(row)?))).for_each(|(row, value)| each(row, value));
        Ok(())
    }

    /// How many numbers an encoded row has.
    ///
    /// # Errors
    /// `Unsupported` if the model takes anything but one matrix of floats.
    pub fn row_width(&self) -> Result<usize> {
        self.input().map(|input| input.width)
    }

    fn input(&self) -> Result<Input> {
        self.input.clone().map_err(|reason| self.unsupported(&reason))
    }

    fn score_place(&self) -> Result<Score> {
        self.score.clone().map_err(|reason| self.unsupported(&reason))
    }

    #[cold]
    fn unsupported(&self, reason: &str) -> Error {
        Error::unsupported(format!("{} cannot score rows: {reason}", self.version))
    }

    #[cold]
    fn not_finite(&self, value: f64, row: usize, gap: Option<(usize, f64)>) -> Error {
        let version = &self.version;
        match gap {
            Some((feature, cell)) => Error::invalid(format!(
                "{version} has no answer for row {row}, whose feature {feature} is {cell}: send a number, or \
                 use an encoder that fills gaps"
            )),
            None => Error::data(format!("{version} answered {value} for row {row}: want a finite number")),
        }
    }

    #[cold]
    fn wrong_output(&self, output: &TensorView<'_>, rows: usize, score: Score) -> Error {
        let name = &self.runtime.signature().outputs[score.output].name;
        let want =
            score.column.map_or("one or two numbers".into(), |column| format!("a number in column {column}"));
        Error::data(format!(
            "{} gave {output:?} as output `{name}` for {rows} rows: want {want} a row",
            self.version
        ))
    }
}

/// The one matrix that a model takes, or why there is none.
fn input_of(inputs: &[TensorSpec]) -> Result<Input, String> {
    match inputs {
        [TensorSpec { element: element @ (ElementType::F32 | ElementType::F64), shape, .. }] => {
            match shape.as_slice() {
                [_, Dimension::Fixed(width)] if *width > 0 => {
                    Ok(Input { width: *width, wide: *element == ElementType::F64 })
                }
                _ => Err(format!("its input is {}, want [batch, a fixed width]", inputs[0])),
            }
        }
        [input] => Err(format!("its input is {input}, want floats of 32 or 64 bits: call its runtime")),
        _ => Err(format!("it takes {} inputs, want one matrix of floats: call its runtime", inputs.len())),
    }
}

fn score_of(outputs: &[TensorSpec]) -> Result<Score, String> {
    let floats: Vec<usize> = outputs
        .iter()
        .enumerate()
        .filter(|(_, spec)| matches!(spec.element, ElementType::F32 | ElementType::F64))
        .map(|(index, _)| index)
        .collect();
    match floats[..] {
        // Declared shapes are hints: what comes is looked at when it comes.
        [output] => Ok(Score { output, column: None }),
        _ => Err(format!("it has {} floating-point outputs, name one by a head", floats.len())),
    }
}

fn make_room<T: Clone + Default>(cells: &mut Vec<T>, rows: usize, width: usize) -> Result<()> {
    cells.clear();
    let total = rows.saturating_mul(width);
    cells.try_reserve(total).map_err(|_| out_of_memory(rows, width))?;
    cells.resize(total, T::default());
    Ok(())
}

/// The first cell that is no finite number.
fn gap_in<T: Copy + Into<f64>>(row: &[T]) -> Option<(usize, f64)> {
    row.iter().map(|cell| (*cell).into()).enumerate().find(|(_, cell): &(usize, f64)| !cell.is_finite())
}

fn copy_numbers<T: Copy + Into<f64>>(
    row: &[Value<'_>],
    encoded: &mut [T],
    narrow: impl Fn(f64) -> T,
) -> Result<()> {
    if row.len() != encoded.len() {
        return Err(wrong_width(row.len(), encoded.len()));
    }
    for (cell, number) in row.iter().zip(encoded) {
        *number = match cell.as_f64() {
            Some(value) => {
                let narrowed = narrow(value);
                if value.is_finite() && !narrowed.into().is_finite() {
                    return Err(too_large(value));
                }
                narrowed
            }
            None if cell.is_missing() => narrow(f64::NAN),
            None => return Err(no_number(*cell)),
        };
    }
    Ok(())
}

#[cold]
fn wrong_width(got: usize, want: usize) -> Error {
    Error::invalid(format!("the row has {got} cells, the model takes {want}"))
}

#[cold]
fn too_large(value: f64) -> Error {
    Error::invalid(format!("cell {value} is beyond the 32-bit floats that the model takes"))
}

#[cold]
fn no_number(cell: Value<'_>) -> Error {
    Error::invalid(format!("cell {cell} is no number, and the model has no encoder"))
}

#[cold]
fn out_of_memory(rows: usize, width: usize) -> Error {
    Error::unavailable(format!("no memory for {rows} rows of {width} features: send fewer rows at a time"))
}
