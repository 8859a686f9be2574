//! What answers: our own kernels or ONNX Runtime, both from the same ONNX file.

use bytes::Bytes;
use mlops_core::{Error, Result};
use mlops_serve::endpoint::Loader;
use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
#[cfg(feature = "ort")]
use mlops_serve::runtime::{OrtLibrary, OrtOptions, OrtRuntime};
use mlops_serve::tensor::TensorView;
use ndarray::Array2;

use super::options::{Options, RuntimeChoice};
use super::training::MODEL_FILE;

/// How models are loaded in this run.
#[derive(Clone, Debug)]
pub(super) struct Runtimes {
    choice: Choice,
}

#[derive(Clone, Debug)]
enum Choice {
    Native,
    #[cfg(feature = "ort")]
    Ort(OrtLibrary),
}

impl Runtimes {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let choice = match options.runtime {
            RuntimeChoice::Native => Choice::Native,
            RuntimeChoice::Ort => Self::ort(options)?,
        };
        Ok(Self { choice })
    }

    #[cfg(feature = "ort")]
    #[allow(clippy::disallowed_methods, reason = "this is the host, whose environment it is")]
    fn ort(options: &Options) -> Result<Choice> {
        let library =
            options.ort_library.clone().or_else(|| Some(std::env::var_os("ORT_DYLIB_PATH")?.into()));
        let library = library.ok_or_else(|| {
            Error::invalid(
                "`--runtime ort` needs the ONNX Runtime library: give its path with --ort-library or \
                 ORT_DYLIB_PATH (`cargo xtask onnxruntime` fetches it and prints the path)",
            )
        })?;
        Ok(Choice::Ort(OrtLibrary::load(library)?))
    }

    #[cfg(not(feature = "ort"))]
    fn ort(_: &Options) -> Result<Choice> {
        Err(Error::unsupported(
            "this build has no ONNX Runtime: run `cargo run --release --features ort --example closed_loop -- \
             --runtime ort --ort-library FILE` (`cargo xtask onnxruntime` fetches the library and prints FILE)",
        ))
    }

    fn build(&self, onnx: &Bytes) -> Result<Box<dyn Runtime>> {
        Ok(match &self.choice {
            Choice::Native => Box::new(NativeRuntime::from_onnx(onnx)?),
            #[cfg(feature = "ort")]
            Choice::Ort(library) => Box::new(OrtRuntime::from_bytes(library, onnx, &OrtOptions::default())?),
        })
    }

    /// Loads packages for an endpoint.
    pub(super) fn loader(&self) -> Loader {
        let runtimes = self.clone();
        Loader::new(move |package| runtimes.build(&package.read(MODEL_FILE)?))
    }

    /// The scores of encoded rows by a model in ONNX.
    pub(super) fn scores(&self, onnx: &Bytes, features: &Array2<f32>) -> Result<Vec<f32>> {
        let cells = features.as_slice().ok_or_else(|| Error::internal("encoded rows are in pieces"))?;
        let view = TensorView::new(cells, [features.nrows(), features.ncols()])?;
        let outputs = self.build(onnx)?.predict(&[view])?;
        Ok(outputs[0].view().values::<f32>()?.to_vec())
    }
}
