//! A suite that checks an implementation of [`Runtime`] against its contract, for the tests of whoever writes
//! one.

use mlops_core::{Dimension, ElementType};

use super::{Runtime, RuntimeExt, SignatureCheck};
use crate::tensor::{TensorBuf, TensorView};
use crate::{Error, ErrorKind, Result};

/// Runs all checks on a runtime, with inputs of at least two rows that it answers.
///
/// Checked are: outputs fit the signature; the same call gives the same bits, into buffers that held anything,
/// from several threads at once; wrong numbers, types, ranks and sizes of inputs and buffers are errors of kind
/// `Invalid` that spoil nothing; no rows are an error; buffers do not grow from call to call; and if the
/// runtime says that rows are independent, each row alone gives what it gives in the batch, up to `tolerance`
/// (relative to numbers above 1, absolute below).
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
    }
    Ok(())
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
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..25).try_for_each(|_| call(&mut runtime.outputs())))).collect();
        for thread in threads {
            thread.join().map_err(|_| Error::data("a call from another thread panics"))??;
        }
        Ok(())
    })
}

fn refuses(runtime: &dyn Runtime, sample: &[TensorView<'_>], want: &[TensorBuf]) -> Result<()> {
    let refused = |inputs: &[TensorView<'_>], what: &str| match runtime.predict(inputs) {
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(()),
        Err(error) => {
            Err(Error::data(format!("{what}: the error is of kind {:?}", error.kind())).with_source(error))
        }
        Ok(_) => Err(Error::data(format!("{what} are answered"))),
    };
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
    require(runtime.run(sample, &mut buffers).is_err(), "too many output buffers are accepted")?;
    require(runtime.run(sample, &mut []).is_err(), "no output buffers are accepted")?;
    same(&runtime.predict(sample)?, want, 0.0, "an error changes the answers after it")
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
        let mut cut = Vec::with_capacity(want.len());
        for buffer in want {
            let mut one = TensorBuf::new(buffer.element());
            one.assign(&buffer.view().slice_rows(row..row + 1)?)?;
            cut.push(one);
        }
        same(&got, &cut, tolerance, &format!("row {row} alone differs from row {row} in the batch"))?;
    }
    Ok(())
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
