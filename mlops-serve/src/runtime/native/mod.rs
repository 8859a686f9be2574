//! Our own kernels: linear models, trees, small networks, factorisations with top-k.

mod classify;
mod dense;
mod forest;
mod link;
mod onnx;
mod plan;
mod simd;
mod step;

use bytes::Bytes;
use mlops_core::ModelSignature;

use super::{Capabilities, Runtime, SignatureCheck};
use crate::Result;
use crate::tensor::{TensorBuf, TensorView};
use plan::Plan;

/// A model that our own kernels compute: several times as fast as ONNX Runtime for the models that they know.
///
/// ```
/// use mlops_core::onnx::{LinearModel, Link};
/// use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
/// use mlops_serve::tensor::TensorView;
///
/// let bytes = LinearModel::new(vec![1.0, -1.0], 0.0).link(Link::Logistic).to_bytes()?;
/// let model = NativeRuntime::from_onnx(&bytes)?;
/// let outputs = model.predict(&[TensorView::new(&[2.0_f32, 2.0], [1, 2])?])?;
/// assert_eq!(outputs[0].view().values::<f32>()?, [0.5]);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Debug)]
pub struct NativeRuntime {
    check: SignatureCheck,
    plan: Plan,
}

impl NativeRuntime {
    /// Loads an ONNX model.
    ///
    /// # Errors
    /// `Data` if the bytes are no ONNX model, `Unsupported` if it uses operations that the kernels do not know:
    /// the message names them.
    pub fn from_onnx(bytes: &Bytes) -> Result<Self> {
        Self::compile(bytes, None)
    }

    /// Loads an ONNX model that computes these outputs alone, in the order of the model.
    ///
    /// # Errors
    /// As [`from_onnx`](Self::from_onnx), and `Invalid` if the model has no such output.
    pub fn from_onnx_outputs(bytes: &Bytes, outputs: &[String]) -> Result<Self> {
        Self::compile(bytes, Some(outputs))
    }

    fn compile(bytes: &Bytes, outputs: Option<&[String]>) -> Result<Self> {
        let model = mlops_core::onnx::read(bytes)?;
        let (signature, plan) = onnx::compile(&model, outputs)?;
        Ok(Self { check: SignatureCheck::new(signature)?, plan })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for NativeRuntime {
    fn engine(&self) -> &str {
        "native"
    }

    fn signature(&self) -> &ModelSignature {
        self.check.signature()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::row_function()
    }

    fn memory_usage(&self) -> usize {
        size_of::<Self>() + self.plan.memory_usage()
    }

    #[inline]
    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        let rows = self.check.inputs(inputs)?;
        self.check.buffers(outputs)?;
        self.plan.run(rows, inputs, outputs)
    }
}
