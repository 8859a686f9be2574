//! One session of ONNX Runtime with its output tensors.

use mlops_core::ModelSignature;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};

use super::{failed, values};
use crate::tensor::{Shape, TensorBuf, TensorView};
use crate::{Error, Result};

/// A session, and for each of the last few shapes of inputs the tensors that its outputs are written to.
pub(super) struct Worker {
    session: Session,
    signature: ModelSignature,
    /// For shapes that were not seen before.
    fresh: RunOptions<HasSelectedOutputs>,
    /// The most recent last.
    seen: Vec<Seen>,
    /// Whether the shapes of the outputs follow from those of the inputs.
    predictable: bool,
}

struct Seen {
    inputs: Vec<Shape>,
    options: RunOptions<HasSelectedOutputs>,
}

/// Shapes of inputs that output tensors are kept for: a batcher sends all sizes from one row on.
const KEPT: usize = 32;
/// Larger outputs are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl Worker {
    pub(super) fn new(session: Session, signature: &ModelSignature) -> Result<Self> {
        let fresh = options(signature, |_, selector| selector)?;
        Ok(Self { session, signature: signature.clone(), fresh, seen: Vec::new(), predictable: true })
    }

    pub(super) fn run(&mut self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        let specs = &self.signature.inputs;
        // Without a list on the heap for the usual one input.
        if let ([spec], [view]) = (&specs[..], inputs) {
            let value = [values::input(&spec.name, view)?];
            return self.run_values(&value, inputs, outputs);
        }
        let pairs = specs.iter().zip(inputs);
        let values = pairs.map(|(spec, view)| values::input(&spec.name, view)).collect::<Result<Vec<_>>>()?;
        self.run_values(&values, inputs, outputs)
    }

    fn run_values(
        &mut self,
        values: &[SessionInputValue<'_>],
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
    ) -> Result<()> {
        let known = self
            .seen
            .iter()
            .position(|seen| seen.inputs.iter().zip(inputs).all(|(seen, input)| seen == input.shape()));
        if let Some(known) = known {
            self.seen[known..].rotate_left(1);
        }
        if let Some(Seen { options, .. }) = self.seen.last().filter(|_| known.is_some()) {
            // Whatever goes wrong here goes wrong again below, with the reason; unless the outputs' shapes
            // depend on more than the inputs' shapes.
            if let Ok(given) = self.session.run_with_options(values, options) {
                return give(&self.signature, &given, outputs);
            }
            self.seen.pop();
        }
        let given = self.session.run_with_options(values, &self.fresh);
        let given =
            given.map_err(|error| failed("ONNX Runtime cannot run the model on these inputs", error))?;
        give(&self.signature, &given, outputs)?;
        drop(given);
        if known.is_some() {
            self.predictable = false;
        }
        let bytes: usize = outputs.iter().map(TensorBuf::memory_usage).sum();
        if self.predictable && bytes <= KEPT_BYTES_MAX {
            self.keep(inputs, outputs)?;
        }
        Ok(())
    }

    /// Keeps tensors for outputs of these shapes.
    fn keep(&mut self, inputs: &[TensorView<'_>], outputs: &[TensorBuf]) -> Result<()> {
        let shapes: Vec<Shape> = outputs.iter().map(|output| *output.view().shape()).collect();
        let options = options(&self.signature, |index, selector| {
            let spec = &self.signature.outputs[index];
            match values::preallocated(spec.element, &shapes[index]) {
                Some(tensor) => selector.preallocate(&*spec.name, tensor),
                None => selector,
            }
        })?;
        if self.seen.len() == KEPT {
            self.seen.remove(0);
        }
        let inputs = inputs.iter().map(|input| *input.shape()).collect();
        self.seen.push(Seen { inputs, options });
        Ok(())
    }
}

fn options(
    signature: &ModelSignature,
    prepare: impl Fn(usize, OutputSelector) -> OutputSelector,
) -> Result<RunOptions<HasSelectedOutputs>> {
    let mut selector = OutputSelector::no_default();
    for (index, spec) in signature.outputs.iter().enumerate() {
        selector = prepare(index, selector.with(&*spec.name));
    }
    let options = RunOptions::new().map_err(|error| failed("ONNX Runtime gives no run options", error))?;
    Ok(options.with_outputs(selector))
}

fn give(
    signature: &ModelSignature,
    given: &ort::session::SessionOutputs<'_>,
    outputs: &mut [TensorBuf],
) -> Result<()> {
    if given.len() < outputs.len() {
        let (got, want) = (given.len(), outputs.len());
        return Err(Error::data(format!("ONNX Runtime gave {got} outputs of {want}")));
    }
    for (index, (spec, buffer)) in signature.outputs.iter().zip(outputs).enumerate() {
        values::output(spec, &given[index], buffer)?;
    }
    Ok(())
}
