//! Rows to scores, tensors to tensors.

use mlops_core::data::Value;
use mlops_core::{Error, Result};

use super::Model;
use crate::batch::Call;
use crate::endpoint::head::Score;
use crate::endpoint::inputs::Inputs;
use crate::endpoint::scratch::{Scratch, with_scratch};
use crate::tensor::{TensorBuf, TensorData, TensorView};

impl Model {
    /// The score of one row.
    ///
    /// # Errors
    /// `Invalid` if the row does not fit, or holds something that is no finite number and that the model has
    /// no finite answer for; `Data` if the model answers with NaN or an infinity otherwise; `Unsupported` if it
    /// does not take rows or has no clear score; and what the runtime gives.
    pub fn score(&self, row: &[Value<'_>]) -> Result<f64> {
        self.score_call(row, None)
    }

    /// As [`score`](Self::score), as the call asks.
    #[inline]
    pub(in crate::endpoint) fn score_call(&self, row: &[Value<'_>], call: Option<&Call<'_>>) -> Result<f64> {
        let mut score = 0.0;
        self.score_each(&std::iter::once(row), call, |_, value| score = value)?;
        Ok(score)
    }

    /// The scores of these rows, appended to `scores`. On an error nothing is appended.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn score_rows(&self, rows: &[&[Value<'_>]], scores: &mut Vec<f64>) -> Result<()> {
        self.score_rows_call(rows, scores, None)
    }

    /// As [`score_rows`](Self::score_rows), as the call asks.
    pub(in crate::endpoint) fn score_rows_call(
        &self,
        rows: &[&[Value<'_>]],
        scores: &mut Vec<f64>,
        call: Option<&Call<'_>>,
    ) -> Result<()> {
        if rows.is_empty() {
            return Err(Error::invalid("no rows to score: want at least one"));
        }
        let before = scores.len();
        let result = self.score_each(&rows.iter().copied(), call, |_, score| scores.push(score));
        if result.is_err() {
            scores.truncate(before);
        }
        result
    }

    /// Calls `each` with the index and the score of every row.
    pub(in crate::endpoint) fn score_each<'r, 'v: 'r>(
        &self,
        rows: &(impl ExactSizeIterator<Item = &'r [Value<'v>]> + Clone),
        call: Option<&Call<'_>>,
        mut each: impl FnMut(usize, f64),
    ) -> Result<()> {
        let (layout, score) = (self.inputs()?, self.score_place()?);
        let count = rows.len();
        with_scratch(|scratch| {
            let Scratch { inputs, outputs, narrow } = scratch;
            match &self.encoder {
                Some(fed) => layout.encode(fed, rows, inputs, narrow)?,
                None => layout.fill(rows, inputs)?,
            }
            self.prepare(outputs);
            Inputs::with_views(inputs, |inputs| {
                self.compute(inputs, outputs, call)?;
                let gap = |row| Inputs::gap(inputs, row, count);
                self.read(&outputs[score.output].view(), score, count, gap, &mut each)
            })
        })
    }

    /// Runs tensors as they are: without encoder, head, calibration and threshold. Makes the buffers that `outputs` lacks.
    ///
    /// # Errors
    /// What the runtime gives, and `Data` if an output holds NaN although no input does; `Invalid` if one does.
    pub fn run(&self, inputs: &[TensorView<'_>], outputs: &mut Vec<TensorBuf>) -> Result<()> {
        self.run_call(inputs, outputs, None)
    }

    /// As [`run`](Self::run), as the call asks.
    #[inline]
    pub(in crate::endpoint) fn run_call(
        &self,
        inputs: &[TensorView<'_>],
        outputs: &mut Vec<TensorBuf>,
        call: Option<&Call<'_>>,
    ) -> Result<()> {
        self.prepare(outputs);
        self.compute(inputs, outputs, call)?;
        let specs = &self.runtime.signature().outputs;
        let Some(spec) = specs.iter().zip(&*outputs).find(|(_, output)| has_nan(&output.view())) else {
            return Ok(());
        };
        let (version, name) = (&self.version, &spec.0.name);
        Err(match self.runtime.signature().inputs.iter().zip(inputs).find(|(_, input)| has_nan(input)) {
            Some((input, _)) => Error::invalid(format!(
                "{version} answered NaN in output `{name}`, since input `{}` holds NaN: send numbers",
                input.name
            )),
            None => Error::data(format!("{version} answered NaN in output `{name}`: want numbers")),
        })
    }

    #[inline]
    fn compute(
        &self,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
        call: Option<&Call<'_>>,
    ) -> Result<()> {
        match call {
            None => self.runtime.run(inputs, outputs),
            Some(call) => self.runtime.run_call(inputs, outputs, *call),
        }
    }

    /// Makes the buffers that are missing, and drops those too many.
    fn prepare(&self, outputs: &mut Vec<TensorBuf>) {
        let specs = &self.runtime.signature().outputs;
        outputs.truncate(specs.len());
        while let Some(spec) = specs.get(outputs.len()) {
            outputs.push(TensorBuf::new(spec.element));
        }
    }

    /// Whether the score is where it is looked for in what the runtime gave for so many rows.
    ///
    /// # Errors
    /// `Invalid` if it is not, with the way out.
    pub(in crate::endpoint) fn check_score(&self, outputs: &[TensorBuf], rows: usize) -> Result<()> {
        // Inputs that no row fills are those of a model for `run`.
        if self.inputs.is_err() {
            return Ok(());
        }
        let way_out = "say which column is the score in `head.json` (`Model::with_head`), or load it by \
                       `Loader::without_score` and call `run`";
        let version = &self.version;
        let score = self.score.as_ref().map_err(|reason| {
            Error::invalid(format!("{version} gives no clear score: {reason}; {way_out}"))
        })?;
        let output = outputs[score.output].view();
        match score.column_in(&output, rows) {
            Some(_) => Ok(()),
            None => {
                let name = &self.runtime.signature().outputs[score.output].name;
                Err(Error::invalid(format!(
                    "{version} gave {output:?} as output `{name}` for {rows} rows, which holds no score: {way_out}"
                )))
            }
        }
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
        let Some((columns, column)) = score.column_in(output, rows) else {
            return Err(self.wrong_output(output, rows, score));
        };
        let raw = |row: usize| {
            let place = row * columns + column;
            Some(match data {
                TensorData::F16(values) => f64::from(values[place]),
                TensorData::F32(values) => f64::from(values[place]),
                TensorData::F64(values) => values[place],
                TensorData::I32(values) => f64::from(values[place]),
                TensorData::I64(values) => values[place] as f64,
                TensorData::Bool(values) => f64::from(u8::from(values[place])),
                _ => return None,
            })
        };
        let calibrated = |value: f64| self.calibration.as_ref().map_or(value, |map| map.probability(value));
        let value = |row: usize| raw(row).map(calibrated);
        let finite = |row: usize| match value(row) {
            Some(value) if value.is_finite() => Ok(value),
            Some(value) => Err(self.not_finite(value, row, gap(row))),
            None => Err(self.wrong_output(output, rows, score)),
        };
        // Look before the first call of `each`, so that an answer is whole or none.
        (1..rows).try_for_each(|row| finite(row).map(|_| ()))?;
        each(0, finite(0)?);
        (1..rows).filter_map(|row| Some((row, value(row)?))).for_each(|(row, value)| each(row, value));
        Ok(())
    }

    fn score_place(&self) -> Result<Score> {
        self.score.as_ref().copied().map_err(|reason| self.unsupported(reason))
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
            "{} gave {output:?} as output `{name}` for {rows} rows: want {want} a row (`Model::with_head`)",
            self.version
        ))
    }
}

fn has_nan(view: &TensorView<'_>) -> bool {
    match view.data() {
        TensorData::F16(values) => values.iter().any(|value| value.is_nan()),
        TensorData::F32(values) => values.iter().any(|value| value.is_nan()),
        TensorData::F64(values) => values.iter().any(|value| value.is_nan()),
        _ => false,
    }
}
