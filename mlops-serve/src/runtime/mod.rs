//! What computes a model's answers: one object-safe trait, and its implementations.
//!
//! A [`Runtime`] holds one loaded model. Inputs are [`TensorView`]s in the order of the
//! [signature](Runtime::signature), outputs are [`TensorBuf`]s in the order of the signature.
//!
//! | runtime | for |
//! |---|---|
//! | [`FnRuntime`] | a plain Rust closure |
//! | [`AutoRuntime`] | the fastest of several for each batch size, as measured |
//! | [`NativeRuntime`] (feature `native`) | linear models, trees, small networks, top-k; ONNX, LightGBM, XGBoost |
//! | [`OrtRuntime`] (feature `ort`) | every ONNX model, by Microsoft's ONNX Runtime, loaded when asked for |
//! | [`TractRuntime`] (feature `tract`) | other networks in pure Rust, without a library to load |
//!
//! ```
//! use mlops_core::{ElementType, ModelSignature, TensorSpec};
//! use mlops_serve::runtime::{FnRuntime, Runtime, RuntimeExt};
//! use mlops_serve::tensor::TensorView;
//!
//! let signature = ModelSignature {
//!     inputs: vec![TensorSpec::batch("features", ElementType::F32, 2)],
//!     outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
//! };
//! let model = FnRuntime::new("sum", signature, |inputs, outputs| {
//!     let features = inputs[0].values::<f32>()?;
//!     let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
//!     for (score, row) in scores.iter_mut().zip(features.chunks_exact(2)) {
//!         *score = row[0] + row[1];
//!     }
//!     Ok(())
//! })?;
//!
//! // On the request path: reuse the buffers.
//! let mut outputs = model.outputs();
//! model.run(&[TensorView::new(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?], &mut outputs)?;
//! assert_eq!(outputs[0].view().values::<f32>()?, [3.0, 7.0]);
//!
//! let error = model.predict(&[TensorView::new(&[1.0_f32, 2.0, 3.0], [1, 3])?]).unwrap_err();
//! assert_eq!(error.to_string(), "input `features` wants f32[batch, 2], got shape [1, 3]");
//! # Ok::<(), mlops_serve::Error>(())
//! ```

mod auto;
mod check;
#[cfg(feature = "conformance")]
pub mod conformance;
mod ext;
mod function;
#[cfg(feature = "native")]
mod native;
#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tract")]
mod tract;

use std::fmt;
use std::sync::Arc;

use mlops_core::ModelSignature;

pub use auto::{AutoRuntime, Choice, LeftOut};
pub use check::SignatureCheck;
pub use ext::RuntimeExt;
pub use function::FnRuntime;
#[cfg(feature = "native")]
pub use native::NativeRuntime;
#[cfg(feature = "ort")]
pub use ort::{OrtLibrary, OrtOptions, OrtRuntime};
#[cfg(feature = "tract")]
pub use tract::TractRuntime;

use crate::Result;
use crate::batch::Call;
use crate::tensor::{TensorBuf, TensorView};

/// A loaded model that answers.
///
/// Contract for callers: pass one view for each input of [`signature`](Self::signature) and one buffer for
/// each output, in its order ([`RuntimeExt`] has named and allocating forms). Buffers may hold anything
/// before; after an error, what they hold is not specified. Reuse them: a warm call then allocates nothing
/// of ours. Do not call from an async task if the model is slow: `run` blocks.
///
/// Contract for implementers: check names, types, ranks and sizes of the inputs before computing
/// ([`SignatureCheck`] does it without allocating) and give an error, never a panic. `run` may be called
/// from many threads at once. The same input gives the same output. If [`Capabilities::rows_independent`]
/// is set, a row's answer does not depend on the other rows but for rounding, so that requests may be batched.
/// Do not spawn threads that outlive the runtime; free everything when dropped.
///
/// The feature `conformance` has a suite that checks this contract.
///
/// Errors: `Invalid` if the inputs do not fit the signature, `Unavailable` if memory or another resource ran
/// out, `Data` if the model itself is wrong.
#[diagnostic::on_unimplemented(note = "wrap a closure in `mlops_serve::runtime::FnRuntime`")]
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// What computes, as precisely as it is known: `native`, `onnxruntime 6af1a93`.
    fn engine(&self) -> &str;

    /// What the model takes and gives.
    fn signature(&self) -> &ModelSignature;

    /// What the caller may do with it.
    fn capabilities(&self) -> Capabilities;

    /// Bytes of memory that the loaded model holds: an estimate where the engine does not tell.
    fn memory_usage(&self) -> usize;

    /// Computes the outputs of these inputs.
    ///
    /// # Errors
    /// See the trait.
    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()>;

    /// Computes as [`run`](Self::run) does, as the call asks: until when, in whose name, unless it is called off.
    ///
    /// What computes at once has no queue to order and does not look at the call, which is the default. What wraps
    /// another runtime passes it on.
    ///
    /// # Errors
    /// See the trait; `Unavailable` too if the call cannot be answered in time.
    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], call: Call<'_>) -> Result<()> {
        let _ = call;
        self.run(inputs, outputs)
    }
}

/// What a caller may do with a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether each row (first axis) is answered on its own, so that rows of several requests may be put
    /// into one call and the answers cut apart.
    pub rows_independent: bool,
    /// How many calls make progress at once; further ones wait for their turn inside `run`. `None`: any
    /// number.
    pub parallel_calls: Option<std::num::NonZeroUsize>,
}

impl Capabilities {
    /// Rows are independent and calls never wait for each other: what a pure function of a row has.
    pub fn row_function() -> Self {
        Self { rows_independent: true, parallel_calls: None }
    }

    /// Rows must stay in the call they came in.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.rows_independent = false;
        self
    }

    /// At most this many calls make progress at once.
    #[must_use]
    pub fn parallel_calls(mut self, calls: std::num::NonZeroUsize) -> Self {
        self.parallel_calls = Some(calls);
        self
    }
}

/// Whether an ONNX file quantises what it computes by the range of the whole batch (`DynamicQuantizeLinear` and its
/// kin): then a row's answer depends on the rows beside it, by more than rounding.
#[cfg(any(feature = "ort", feature = "tract"))]
fn scales_by_batch(model: &[u8]) -> bool {
    const OPERATION: &[u8] = b"DynamicQuantize";
    model.windows(OPERATION.len()).any(|window| window == OPERATION)
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<R: Runtime + ?Sized> Runtime for $pointer<R> {
            fn engine(&self) -> &str {
                (**self).engine()
            }

            fn signature(&self) -> &ModelSignature {
                (**self).signature()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn memory_usage(&self) -> usize {
                (**self).memory_usage()
            }

            #[inline]
            fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
                (**self).run(inputs, outputs)
            }

            fn run_call(
                &self,
                inputs: &[TensorView<'_>],
                outputs: &mut [TensorBuf],
                call: Call<'_>,
            ) -> Result<()> {
                (**self).run_call(inputs, outputs, call)
            }
        }
    )*};
}

forward!(Arc, Box);
