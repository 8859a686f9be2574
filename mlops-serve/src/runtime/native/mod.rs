//! Our own kernels: linear models, trees, small networks, factorisations with top-k.

mod arithmetic;
mod boosted;
mod category;
mod classify;
mod dense;
mod forest;
mod lightgbm;
mod link;
mod onnx;
mod plan;
mod simd;
mod step;
mod top;
mod ubjson;
mod xgboost;

use std::fmt;

use bytes::Bytes;
use mlops_core::ModelSignature;
use mlops_core::onnx::ModelProto;

use super::{Capabilities, Runtime, SignatureCheck};
use crate::batch::Call;
use crate::tensor::{TensorBuf, TensorView};
use crate::{Error, Result};
use boosted::{Boosted, Convert};
use plan::Plan;

/// Features, and elements of a row's intermediate values: more is no model of this kind.
const WIDEST: usize = 1 << 22;

/// A model that our own kernels compute, without a library to load. `benches/RESULTS.md` compares them with
/// ONNX Runtime.
///
/// Forests go to the fastest kernel that takes all their trees. Splits by sets of categories and by equality are no
/// obstacle, unless they are so many that one node for each path to it would make the forest four times as large; then,
/// or with splits on more than some 200 features, all trees are walked node by node, which takes two to three times as
/// long. Answers have the same bits in each kernel.
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
pub struct NativeRuntime {
    check: SignatureCheck,
    model: Model,
}

#[derive(Debug)]
enum Model {
    Plan(Plan),
    Floats(Boosted<f32>),
    Doubles(Boosted<f64>),
}

impl NativeRuntime {
    /// Loads a model of any of the formats below, told by its content.
    ///
    /// # Errors
    /// As [`from_lightgbm`](Self::from_lightgbm) if the first line is `tree`, as
    /// [`from_xgboost`](Self::from_xgboost) if the bytes begin as an object of JSON or UBJSON, else as
    /// [`from_onnx`](Self::from_onnx).
    pub fn from_bytes(bytes: &Bytes) -> Result<Self> {
        let head = bytes.trim_ascii_start();
        if head.starts_with(b"tree\n") || head.starts_with(b"tree\r") {
            let text = std::str::from_utf8(bytes)
                .map_err(|error| Error::data("a LightGBM model that is no UTF-8 text").with_source(error))?;
            Self::from_lightgbm(text)
        } else if head.starts_with(b"{") {
            Self::from_xgboost(head)
        } else {
            Self::from_onnx(bytes)
        }
    }

    /// Loads an ONNX model.
    ///
    /// # Errors
    /// `Data` if the bytes are no ONNX model, `Unsupported` if it uses operations that the kernels do not know:
    /// the message names them.
    pub fn from_onnx(bytes: &Bytes) -> Result<Self> {
        Self::compile(&mlops_core::onnx::read(bytes)?, None)
    }

    /// As [`from_onnx`](Self::from_onnx), of a model that was read already.
    ///
    /// # Errors
    /// As [`from_onnx`](Self::from_onnx).
    pub fn from_model(model: &ModelProto) -> Result<Self> {
        Self::compile(model, None)
    }

    /// Loads an ONNX model that computes these outputs alone, in the order of the model.
    ///
    /// # Errors
    /// As [`from_onnx`](Self::from_onnx), and `Invalid` if the model has no such output.
    pub fn from_onnx_outputs(bytes: &Bytes, outputs: &[String]) -> Result<Self> {
        Self::compile(&mlops_core::onnx::read(bytes)?, Some(outputs))
    }

    /// Gives raw scores, before the function of the objective: `predict(raw_score=True)` of LightGBM,
    /// `predict(output_margin=True)` of XGBoost. For LightGBM's random forests that is the sum of the trees, not
    /// their mean.
    ///
    /// # Errors
    /// `Unsupported` for ONNX models, which say themselves what they give.
    pub fn raw_scores(mut self) -> Result<Self> {
        match &mut self.model {
            Model::Plan(_) => {
                return Err(Error::unsupported("raw scores of an ONNX model: choose among its outputs"));
            }
            Model::Floats(boosted) => boosted.convert = Convert::Identity,
            Model::Doubles(boosted) => {
                boosted.convert = Convert::Identity;
                boosted.forest.sum_alone();
            }
        }
        Ok(self)
    }

    fn compile(model: &ModelProto, outputs: Option<&[String]>) -> Result<Self> {
        let (signature, plan) = onnx::compile(model, outputs)?;
        Ok(Self { check: SignatureCheck::new(signature)?, model: Model::Plan(plan) })
    }

    /// Loads a model that LightGBM saved as text, of version v3 or v4.
    ///
    /// The input is `features`, in 64-bit floats, NaN where a value is missing; the output `score` is what
    /// `Booster.predict` gives. Raw scores, before the objective's function, have the same bits as
    /// LightGBM's.
    ///
    /// # Errors
    /// `Data` if the text is no such model, `Unsupported` for linear leaves and unknown objectives.
    pub fn from_lightgbm(text: &str) -> Result<Self> {
        let model = lightgbm::read(text)?;
        Ok(Self { check: SignatureCheck::new(model.signature())?, model: Model::Doubles(model) })
    }

    /// Loads a model that XGBoost saved as JSON (`model.json`) or UBJSON (`model.ubj`, the default since 2.1).
    ///
    /// The input is `features`, in 32-bit floats, NaN where a value is missing; the output `score` is what
    /// `Booster.predict` gives. A categorical feature is the code of its category in training; unknown ones go where XGBoost
    /// sends them, which is with those that a split does not name.
    ///
    /// # Errors
    /// `Data` if the bytes are no such model, `Unsupported` for boosters other than `gbtree`, several targets and
    /// unknown objectives.
    pub fn from_xgboost(bytes: &[u8]) -> Result<Self> {
        let model = xgboost::read(bytes)?;
        Ok(Self { check: SignatureCheck::new(model.signature())?, model: Model::Floats(model) })
    }
}

impl fmt::Debug for NativeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = match &self.model {
            Model::Plan(_) => "plan",
            Model::Floats(_) => "trees in 32 bits",
            Model::Doubles(_) => "trees in 64 bits",
        };
        f.debug_struct("NativeRuntime")
            .field("signature", self.check.signature())
            .field("kernel", &kernel)
            .finish_non_exhaustive()
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
        let model = match &self.model {
            Model::Plan(plan) => plan.memory_usage(),
            Model::Floats(boosted) => boosted.forest.memory_usage(),
            Model::Doubles(boosted) => boosted.forest.memory_usage(),
        };
        size_of::<Self>() + model
    }

    #[inline]
    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        let rows = self.check.inputs(inputs)?;
        self.check.buffers(outputs)?;
        match &self.model {
            Model::Plan(plan) => plan.run(rows, inputs, outputs),
            Model::Floats(boosted) => boosted.run(rows, inputs, outputs),
            Model::Doubles(boosted) => boosted.run(rows, inputs, outputs),
        }
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], _: Call<'_>) -> Result<()> {
        self.run(inputs, outputs)
    }
}
