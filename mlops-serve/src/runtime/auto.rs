//! The fastest of several runtimes, by measurement.

use std::fmt;

use mlops_core::{Clock, Dimension, ModelSignature, TensorSpec};

use super::{Capabilities, Runtime, RuntimeExt};
use crate::batch::Call;
use crate::tensor::{TensorBuf, TensorData, TensorView};
use crate::{Error, ErrorKind, Result};

/// One model in several runtimes: each batch goes to the one that was fastest at its size.
///
/// [`measure`](Self::measure) runs all candidates on sample rows, leaves out those that fail or answer
/// otherwise than the first that works, and keeps the rest. Printing it says what was chosen, and why. The sample
/// should be rows as they will be served: only what they reach is compared.
///
/// Engines round differently: a row's answer may differ in the last digits between batches of different sizes.
///
/// ```
/// use mlops_core::SystemClock;
/// use mlops_core::onnx::LinearModel;
/// use mlops_serve::Error;
/// use mlops_serve::runtime::{AutoRuntime, NativeRuntime, Runtime};
/// use mlops_serve::tensor::TensorView;
///
/// let bytes = LinearModel::new(vec![1.0, -1.0], 0.0).to_bytes()?;
/// let native = NativeRuntime::from_onnx(&bytes).map(|runtime| Box::new(runtime) as Box<dyn Runtime>);
/// let other = Err(Error::not_found("there is no ONNX Runtime"));
/// let sample = TensorView::new(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let model = AutoRuntime::measure([("native", native), ("ort", other)], &[sample], &SystemClock::new())?;
/// assert_eq!(model.choices()[0].winner, "native");
/// assert!(model.to_string().contains("ort is left out: there is no ONNX Runtime"));
/// # Ok::<(), Error>(())
/// ```
pub struct AutoRuntime {
    candidates: Vec<(String, Box<dyn Runtime>)>,
    /// For each measured batch size, ascending, the place of the winner.
    winners: Vec<(usize, usize)>,
    choices: Vec<Choice>,
    left_out: Vec<LeftOut>,
    engine: String,
}

/// Which runtime answers batches of one size, and how long each took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Rows of a batch.
    pub rows: usize,
    /// The runtime that was chosen.
    pub winner: String,
    /// The median time of a call, of every runtime, in the order of preference.
    pub median_ns: Vec<(String, u64)>,
}

/// A runtime that was not chosen from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Batch sizes that are measured.
const ROWS: [usize; 4] = [1, 8, 64, 256];
/// Timed calls for each size, after as many to warm up.
const CALLS: usize = 15;
/// A runtime slower than this for one size gets no more calls of that size.
const PATIENCE_NS: u64 = 200_000_000;

impl AutoRuntime {
    /// Answers of two engines may differ by this much: relative above 1, absolute below.
    pub(crate) const TOLERANCE: f64 = 1e-4;

    /// Measures candidates on sample rows. An earlier one wins unless a later one takes at most nine tenths of
    /// its time.
    ///
    /// Takes a few milliseconds for small models; a call that takes longer than 0.2 s is not repeated.
    ///
    /// # Errors
    /// `Unsupported` if no candidate is left, or `Data` if one of them finds the model wrong, with the reasons; `Invalid` if the sample has no rows.
    pub fn measure<'n>(
        candidates: impl IntoIterator<Item = (&'n str, Result<Box<dyn Runtime>>)>,
        sample: &[TensorView<'_>],
        clock: &dyn Clock,
    ) -> Result<Self> {
        let candidates = candidates.into_iter();
        let candidates = candidates.map(|(name, runtime)| (name.to_owned(), runtime, Self::TOLERANCE));
        Self::measure_each(candidates, sample, clock)
    }

    /// As [`measure`](Self::measure), where each candidate's answers may be so far from those of the first.
    pub(crate) fn measure_each(
        candidates: impl IntoIterator<Item = (String, Result<Box<dyn Runtime>>, f64)>,
        sample: &[TensorView<'_>],
        clock: &dyn Clock,
    ) -> Result<Self> {
        let mut kept: Vec<(String, Box<dyn Runtime>)> = Vec::new();
        let mut left_out = Vec::new();
        let mut answer: Option<Vec<TensorBuf>> = None;
        // A model that is wrong is none that this build cannot compute.
        let mut kind = ErrorKind::Unsupported;
        for (name, runtime, tolerance) in candidates {
            let tried = runtime.and_then(|runtime| {
                if let Some((_, first)) = kept.first() {
                    agree(first.signature(), runtime.signature())?;
                }
                let got = runtime.predict(sample)?;
                if let Some(want) = &answer {
                    agree_on(want, &got, tolerance)?;
                }
                Ok((runtime, got))
            });
            match tried {
                Ok((runtime, got)) => {
                    answer.get_or_insert(got);
                    kept.push((name, runtime));
                }
                Err(error) => {
                    if error.kind() == ErrorKind::Data {
                        kind = ErrorKind::Data;
                    }
                    left_out.push(LeftOut { name, reason: format!("{error:#}") });
                }
            }
        }
        if kept.is_empty() {
            let reasons: Vec<String> = left_out.iter().map(ToString::to_string).collect();
            let reasons = reasons.join("; ");
            return Err(Error::new(kind, format!("no runtime can answer with this model: {reasons}")));
        }
        // All sizes, also where rows are no function of their own: what they answer is not looked at here.
        let sizes = if kept.iter().all(|(_, runtime)| takes_any_rows(runtime.signature())) {
            ROWS.to_vec()
        } else {
            vec![sample.first().map_or(1, TensorView::rows)]
        };
        let mut choices = Vec::with_capacity(sizes.len());
        let mut winners = Vec::with_capacity(sizes.len());
        for rows in sizes {
            let batch = sample.iter().map(|view| repeated(view, rows)).collect::<Result<Vec<_>>>()?;
            let views: Vec<TensorView<'_>> = batch.iter().map(TensorBuf::view).collect();
            let mut median_ns = Vec::with_capacity(kept.len());
            for (name, runtime) in &kept {
                median_ns.push((name.clone(), median(runtime, &views, clock)?));
            }
            let mut winner = 0;
            for (place, (_, time)) in median_ns.iter().enumerate() {
                if time.saturating_mul(10) <= median_ns[winner].1.saturating_mul(9) && place != winner {
                    winner = place;
                }
            }
            choices.push(Choice { rows, winner: median_ns[winner].0.clone(), median_ns });
            winners.push((rows, winner));
        }
        // Runtimes that win nowhere are dropped, with their memory.
        let mut places = vec![None; kept.len()];
        let mut candidates = Vec::new();
        for (place, candidate) in kept.into_iter().enumerate() {
            if winners.iter().any(|(_, winner)| *winner == place) {
                places[place] = Some(candidates.len());
                candidates.push(candidate);
            }
        }
        for (_, winner) in &mut winners {
            *winner = places[*winner].unwrap_or(0);
        }
        let names: Vec<&str> = candidates.iter().map(|(_, runtime)| runtime.engine()).collect();
        let engine = format!("auto: {}", names.join(", "));
        Ok(Self { candidates, winners, choices, left_out, engine })
    }

    /// What was chosen, by ascending batch size. A size between two takes the choice of the smaller.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// What could not be chosen.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    fn winner(&self, rows: usize) -> &dyn Runtime {
        let after = self.winners.partition_point(|(size, _)| *size <= rows);
        let (_, winner) = self.winners[after.saturating_sub(1)];
        &*self.candidates[winner].1
    }
}

impl fmt::Debug for AutoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoRuntime")
            .field("choices", &self.choices)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is left out: {}", self.name, self.reason)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers batches of {} rows:", self.winner, self.rows)?;
        for (index, (name, time)) in self.median_ns.iter().enumerate() {
            write!(f, "{} {name} takes {time} ns", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for AutoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.choices.iter().try_for_each(|choice| writeln!(f, "{choice}"))?;
        self.left_out.iter().try_for_each(|left_out| writeln!(f, "{left_out}"))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for AutoRuntime {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn signature(&self) -> &ModelSignature {
        self.winner(1).signature()
    }

    fn capabilities(&self) -> Capabilities {
        let all = || self.candidates.iter().map(|(_, runtime)| runtime.capabilities());
        Capabilities {
            rows_independent: all().all(|one| one.rows_independent),
            parallel_calls: all().filter_map(|one| one.parallel_calls).min(),
        }
    }

    fn memory_usage(&self) -> usize {
        self.candidates.iter().map(|(_, runtime)| runtime.memory_usage()).sum()
    }

    #[inline]
    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.winner(inputs.first().map_or(1, TensorView::rows)).run(inputs, outputs)
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], call: Call<'_>) -> Result<()> {
        self.winner(inputs.first().map_or(1, TensorView::rows)).run_call(inputs, outputs, call)
    }
}

fn takes_any_rows(signature: &ModelSignature) -> bool {
    let is_open = |spec: &TensorSpec| matches!(spec.shape.first(), Some(Dimension::Symbol(_)));
    signature.inputs.iter().all(is_open)
}

/// Whether callers cannot tell two signatures apart.
fn agree(first: &ModelSignature, other: &ModelSignature) -> Result<()> {
    let names = |signature: &ModelSignature| {
        let specs = signature.inputs.iter().chain(&signature.outputs);
        specs.map(|spec| (spec.name.clone(), spec.element)).collect::<Vec<_>>()
    };
    if names(first) == names(other) {
        return Ok(());
    }
    Err(Error::invalid(format!("its signature is {other}, that of the first runtime {first}")))
}

fn agree_on(want: &[TensorBuf], got: &[TensorBuf], tolerance: f64) -> Result<()> {
    for (index, (want, got)) in want.iter().zip(got).enumerate() {
        match distance(&want.view(), &got.view()) {
            Some(distance) if distance <= tolerance => {}
            Some(distance) => {
                return Err(Error::data(format!(
                    "its output {index} is {distance} away from that of the first runtime: {tolerance} is the limit"
                )));
            }
            None => return Err(Error::data(format!("its output {index} has another type or shape"))),
        }
    }
    Ok(())
}

/// The largest difference of two tensors, relative to numbers above 1, absolute below; NaN is as NaN. `None`
/// if their types or shapes differ. Texts and integers that differ are infinitely far apart.
pub(super) fn distance(a: &TensorView<'_>, b: &TensorView<'_>) -> Option<f64> {
    fn far(equal: bool) -> f64 {
        if equal { 0.0 } else { f64::INFINITY }
    }
    fn apart(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
        let distance = |(a, b): (f64, f64)| {
            if a == b || a.is_nan() && b.is_nan() {
                return 0.0;
            }
            let distance = (a - b).abs() / a.abs().max(1.0);
            if distance.is_nan() { f64::INFINITY } else { distance }
        };
        pairs.map(distance).fold(0.0, f64::max)
    }
    if a.shape() != b.shape() {
        return None;
    }
    Some(match (a.data(), b.data()) {
        (TensorData::F16(a), TensorData::F16(b)) => {
            apart(a.iter().zip(b).map(|(a, b)| (a.to_f64(), b.to_f64())))
        }
        (TensorData::F32(a), TensorData::F32(b)) => {
            apart(a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b))))
        }
        (TensorData::F64(a), TensorData::F64(b)) => apart(a.iter().copied().zip(b.iter().copied())),
        (TensorData::I32(a), TensorData::I32(b)) => far(a == b),
        (TensorData::I64(a), TensorData::I64(b)) => far(a == b),
        (TensorData::Bool(a), TensorData::Bool(b)) => far(a == b),
        (TensorData::Text(a), TensorData::Text(b)) => far(a.iter().eq(b.iter())),
        _ => return None,
    })
}

/// So many rows, from the sample over and over.
fn repeated(sample: &TensorView<'_>, rows: usize) -> Result<TensorBuf> {
    let have = sample.rows();
    if have == 0 {
        return Err(Error::invalid("the sample has no rows"));
    }
    let mut batch = TensorBuf::new(sample.element());
    batch.assign(&sample.slice_rows(0..rows.min(have))?)?;
    while batch.view().rows() < rows {
        let missing = rows - batch.view().rows();
        batch.append_rows(&sample.slice_rows(0..missing.min(have))?)?;
    }
    Ok(batch)
}

fn median(runtime: &dyn Runtime, inputs: &[TensorView<'_>], clock: &dyn Clock) -> Result<u64> {
    let mut outputs = runtime.outputs();
    let mut times = Vec::with_capacity(2 * CALLS);
    for _ in 0..2 * CALLS {
        let start = clock.monotonic_ns();
        runtime.run(inputs, &mut outputs)?;
        times.push(clock.monotonic_ns().saturating_sub(start));
        if times.iter().sum::<u64>() > PATIENCE_NS {
            break;
        }
    }
    // The first half warms up, unless it was cut short.
    let timed = &mut times[..];
    let timed = if timed.len() > CALLS { &mut timed[CALLS..] } else { timed };
    timed.sort_unstable();
    Ok(timed[timed.len() / 2])
}
