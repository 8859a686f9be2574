//! A model that is a Rust closure.

use std::fmt;

use mlops_core::ModelSignature;

use super::{Capabilities, Runtime, SignatureCheck};
use crate::Result;
use crate::batch::Call;
use crate::tensor::{TensorBuf, TensorView};

type Function = dyn Fn(&[TensorView<'_>], &mut [TensorBuf]) -> Result<()> + Send + Sync;

/// A model that is a Rust closure: a rule, a lookup, a model of another library.
///
/// The closure sees inputs that fit the signature, and empty outputs. What it writes is checked against the
/// signature too; to write nothing is an error (`Data`).
/// The module's front page has an example.
pub struct FnRuntime {
    name: String,
    check: SignatureCheck,
    capabilities: Capabilities,
    memory_usage: usize,
    function: Box<Function>,
}

impl FnRuntime {
    /// A model that calls `function`. Its rows count as independent and its calls as free of waiting.
    ///
    /// # Errors
    /// As [`SignatureCheck::new`].
    pub fn new(
        name: impl Into<String>,
        signature: ModelSignature,
        function: impl Fn(&[TensorView<'_>], &mut [TensorBuf]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            check: SignatureCheck::new(signature)?,
            capabilities: Capabilities::row_function(),
            memory_usage: 0,
            function: Box::new(function),
        })
    }

    /// Declares what callers may do with the closure.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Declares how many bytes the closure holds.
    #[must_use]
    pub fn with_memory_usage(mut self, bytes: usize) -> Self {
        self.memory_usage = bytes;
        self
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for FnRuntime {
    fn engine(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &ModelSignature {
        self.check.signature()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn memory_usage(&self) -> usize {
        self.memory_usage
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.check.inputs(inputs)?;
        self.check.buffers(outputs)?;
        // What an earlier call left must not pass for the answer of this one.
        outputs.iter_mut().for_each(TensorBuf::clear);
        (self.function)(inputs, outputs)?;
        self.check.outputs(inputs, outputs)
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], _: Call<'_>) -> Result<()> {
        self.run(inputs, outputs)
    }
}

impl fmt::Debug for FnRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnRuntime")
            .field("name", &self.name)
            .field("signature", self.check.signature())
            .finish_non_exhaustive()
    }
}
