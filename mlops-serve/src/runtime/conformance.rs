//! A suite that checks an implementation of [`Runtime`] against its contract, for the tests of whoever writes
//! one.

use half::f16;
use mlops_core::{Dimension, ElementType, ModelSignature};

use super::{Runtime, RuntimeExt, SignatureCheck};
use crate::batch::Call;
use crate::endpoint::zeros;
use crate::tensor::{TensorBuf, TensorView};
use crate::{Error, ErrorKind, Result};

/// Runs all checks on a runtime, with inputs of at least two rows that it answers.
///
/// Checked are:
///
/// - names of inputs and outputs are unique, and outputs fit the signature;
/// - the same call gives the same bits, into buffers that held anything, from several threads at once, while
///   other threads send other numbers of rows;
/// - buffers do not grow from call to call; `run_call` answers as `run` does;
/// - wrong numbers, types, ranks and lengths of inputs, no rows, and wrong numbers of buffers are errors of kind
///   `Invalid` that spoil nothing;
/// - missing numbers (NaN) are answered or refused, always alike, and spoil nothing;
/// - if the runtime says that rows are independent: each row alone, among many more, and beside a row of missing
///   numbers gives what it gives in the sample, up to `tolerance` (relative to numbers above 1, absolute below).
///
/// Texts, whole numbers and truth values take part as they are in the sample.
///
/// ```
/// # use mlops_core::{ElementType, ModelSignature, TensorSpec};
/// # use mlops_serve::runtime::{FnRuntime, conformance};
/// # use mlops_serve::tensor::TensorView;
/// # let signature = ModelSignature {
/// #     inputs: vec![TensorSpec::batch("x", ElementType::F32, 2)],
/// #     outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
/// # };
/// # let runtime = FnRuntime::new("sum", signature, |inputs, outputs| {
/// #     let sums = inputs[0].values::<f32>()?.chunks_exact(2).map(|row| row[0] + row[1]);
/// #     let out = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
/// #     out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
/// #     Ok(())
/// # })?;
/// let rows = TensorView::new(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
/// conformance::check(&runtime, &[rows], 0.0)?;
/// # Ok::<(), mlops_serve::Error>(())
/// ```
///
/// # Errors
/// `Data`, saying which rule is broken and how.
pub fn check(runtime: &dyn Runtime, sample: &[TensorView<'_>], tolerance: f64) -> Result<()> {
    let signature = SignatureCheck::new(runtime.signature().clone())?;
    let rows = signature.inputs(sample)?;
    if rows < 2 {
        return Err(Error::invalid(format!("the sample has {rows} row: the suite wants two or more")));
    }
    require(!runtime.engine().is_empty(), "`engine` is empty")?;
    let want = runtime.predict(sample)?;
    signature.outputs(sample, &want)?;
    repeats(runtime, sample, &want)?;
    refuses(runtime, sample, &want)?;
    if runtime.capabilities().rows_independent {
        rows_alone(runtime, sample, &want, rows, tolerance)?;
        many_rows(runtime, sample, &want, rows, tolerance)?;
    }
    gaps(runtime, sample, &want, rows, tolerance)
}

fn repeats(runtime: &dyn Runtime, sample: &[TensorView<'_>], want: &[TensorBuf]) -> Result<()> {
    let call = |buffers: &mut Vec<TensorBuf>| -> Result<()> {
        runtime.run(sample, buffers)?;
        same(buffers, want, 0.0, "the same call gives different answers")
    };
    // Buffers of other types, and larger than needed.
    let mut buffers = runtime.outputs();
    for buffer in &mut buffers {
        match buffer.element() {
            ElementType::I64 => buffer.reset::<f64>([9999])?.fill(7.0),
            _ => buffer.reset::<i64>([9999])?.fill(7),
        }
    }
    call(&mut buffers)?;
    let held = |buffers: &[TensorBuf]| buffers.iter().map(TensorBuf::memory_usage).sum::<usize>();
    let before = held(&buffers);
    for _ in 0..50 {
        call(&mut buffers)?;
    }
    require(held(&buffers) == before, "output buffers grow from call to call")?;
    let caller = Call::default().caller(7);
    runtime.run_call(sample, &mut buffers, caller)?;
    same(&buffers, want, 0.0, "`run_call` gives another answer than `run`")?;
    let one: &Vec<_> = &match runtime.capabilities().rows_independent {
        true => sample.iter().map(|view| view.slice_rows(0..1)).collect::<Result<_>>()?,
        false => sample.to_vec(),
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    (0..25).try_for_each(|_| match thread {
                        3 => runtime.run(one, &mut runtime.outputs()),
                        _ => call(&mut runtime.outputs()),
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| Error::data("a call from another thread panics"))??;
        }
        Ok(())
    })
}

fn refuses(runtime: &dyn Runtime, sample: &[TensorView<'_>], want: &[TensorBuf]) -> Result<()> {
    let invalid = |outcome: Result<()>, what: &str| match outcome {
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(()),
        Err(error) => {
            Err(Error::data(format!("{what}: the error is of kind {:?}", error.kind())).with_source(error))
        }
        Ok(()) => Err(Error::data(format!("{what} are answered"))),
    };
    let refused = |inputs: &[TensorView<'_>], what: &str| invalid(runtime.predict(inputs).map(drop), what);
    let floats = [0.0_f32; 1];
    let integers = [0_i64; 1];
    refused(&sample[1..], "too few inputs")?;
    refused(&[sample, &sample[..1]].concat(), "too many inputs")?;
    for (index, (input, spec)) in sample.iter().zip(&runtime.signature().inputs).enumerate() {
        let with = |view: TensorView<'_>, what: &str| {
            let mut inputs: Vec<TensorView<'_>> = sample.to_vec();
            inputs[index] = view;
            refused(&inputs, &format!("{what} as input `{}`", spec.name))
        };
        let other = match input.element() {
            ElementType::F32 => TensorView::new(&integers, [1])?,
            _ => TensorView::new(&floats, [1])?,
        };
        with(other, "elements of another type")?;
        let deeper: Vec<usize> = input.shape().iter().copied().chain([1]).collect();
        if let Ok(deeper) = input.reshape(&deeper) {
            with(deeper, "an axis too many")?;
        }
        if spec.shape.len() > 1 {
            with(input.reshape([input.data().len()])?, "an axis too few")?;
        }
        for (axis, dimension) in spec.shape.iter().enumerate() {
            let Dimension::Fixed(length) = dimension else { continue };
            let mut longer = spec.clone();
            longer.shape[axis] = Dimension::Fixed(length + 1);
            let longer = ModelSignature { inputs: vec![longer], outputs: Vec::new() };
            let longer = zeros(&longer, input.rows())?;
            with(longer[0].view(), &format!("axis {axis} of length {}", length + 1))?;
        }
        if matches!(spec.shape.first(), Some(Dimension::Symbol(_)))
            && let Ok(none) = input.slice_rows(0..0)
        {
            with(none, "no rows")?;
            if sample.len() > 1 && runtime.capabilities().rows_independent {
                with(input.slice_rows(0..1)?, "fewer rows than in the others")?;
            }
        }
    }
    let mut buffers = runtime.outputs();
    buffers.push(TensorBuf::default());
    invalid(runtime.run(sample, &mut buffers), "too many output buffers")?;
    invalid(runtime.run(sample, &mut []), "no output buffers")?;
    same(&runtime.predict(sample)?, want, 0.0, "an error changes the answers after it")
}

/// The last row without its floats.
fn gaps(
    runtime: &dyn Runtime,
    sample: &[TensorView<'_>],
    want: &[TensorBuf],
    rows: usize,
    tolerance: f64,
) -> Result<()> {
    let mut inputs = Vec::with_capacity(sample.len());
    for view in sample {
        let mut input = TensorBuf::new(view.element());
        input.assign(view)?;
        let last = view.data().len() / rows * (rows - 1);
        match view.element() {
            ElementType::F16 => input.values_mut::<f16>()?[last..].fill(f16::NAN),
            ElementType::F32 => input.values_mut::<f32>()?[last..].fill(f32::NAN),
            ElementType::F64 => input.values_mut::<f64>()?[last..].fill(f64::NAN),
            _ => {}
        }
        inputs.push(input);
    }
    let views: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
    match (runtime.predict(&views), runtime.predict(&views)) {
        (Ok(first), Ok(second)) => {
            same(&first, &second, 0.0, "missing numbers are answered now so, now otherwise")?;
            if runtime.capabilities().rows_independent {
                let (first, want) = (cut(&first, 0..rows - 1)?, cut(want, 0..rows - 1)?);
                same(&first, &want, tolerance, "missing numbers of a row change the answers to others")?;
            }
        }
        (Err(_), Err(_)) => {}
        _ => return Err(Error::data("missing numbers are now answered, now refused")),
    }
    same(&runtime.predict(sample)?, want, 0.0, "missing numbers change the answers after them")
}

fn rows_alone(
    runtime: &dyn Runtime,
    sample: &[TensorView<'_>],
    want: &[TensorBuf],
    rows: usize,
    tolerance: f64,
) -> Result<()> {
    for row in 0..rows {
        let alone = sample.iter().map(|view| view.slice_rows(row..row + 1)).collect::<Result<Vec<_>>>()?;
        let got = runtime.predict(&alone)?;
        let what = format!("row {row} alone differs from row {row} in the batch");
        same(&got, &cut(want, row..row + 1)?, tolerance, &what)?;
    }
    Ok(())
}

/// The sample over and over in one call.
fn many_rows(
    runtime: &dyn Runtime,
    sample: &[TensorView<'_>],
    want: &[TensorBuf],
    rows: usize,
    tolerance: f64,
) -> Result<()> {
    const TIMES: usize = 40;
    let mut inputs = Vec::with_capacity(sample.len());
    for view in sample {
        let mut input = TensorBuf::new(view.element());
        input.assign(view)?;
        for _ in 1..TIMES {
            input.append_rows(view)?;
        }
        inputs.push(input);
    }
    let views: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
    let got = runtime.predict(&views)?;
    for time in 0..TIMES {
        let part = cut(&got, time * rows..(time + 1) * rows)?;
        same(&part, want, tolerance, "rows among many differ from the same rows among few")?;
    }
    Ok(())
}

fn cut(outputs: &[TensorBuf], rows: std::ops::Range<usize>) -> Result<Vec<TensorBuf>> {
    let cut = |output: &TensorBuf| {
        let mut part = TensorBuf::new(output.element());
        part.assign(&output.view().slice_rows(rows.clone())?)?;
        Ok(part)
    };
    outputs.iter().map(cut).collect()
}

fn same(got: &[TensorBuf], want: &[TensorBuf], tolerance: f64, what: &str) -> Result<()> {
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let distance = super::auto::distance(&got.view(), &want.view());
        require(distance.is_some_and(|distance| distance <= tolerance), &format!("{what}: output {index}"))?;
    }
    Ok(())
}

fn require(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::data(what)) }
}
