//! ONNX models: read with limits, described, written.
//!
//! Training writes a model as ONNX, serving reads it. [`TreeEnsemble`] and [`LinearModel`] write the two kinds
//! that a Rust learner gives; [`read`] takes any ONNX file, and [`signature`] tells what it takes and gives.
//!
//! ```
//! use mlops_core::onnx::{self, LinearModel, Link};
//!
//! let bytes = LinearModel::new(vec![0.5, -2.0], 0.1).link(Link::Logistic).to_bytes()?;
//! let model = onnx::read(&bytes)?;
//! assert_eq!(onnx::signature(&model)?.to_string(), "(features: f32[batch, 2]) -> (score: f32[batch, 1])");
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! Reading is safe against hostile bytes: time and memory are linear in their number (memory at most about
//! twelve times, plus 200 MB for the most nested messages that [`Limits`] allows), and whatever is wrong is an
//! error of kind `Data`.

mod ensemble;
mod external;
mod limits;
mod linear;
pub mod proto;
mod signature;
mod tensor;

pub use ensemble::{Tree, TreeEnsemble, TreeNode};
pub use limits::Limits;
pub use linear::LinearModel;
pub use proto::ModelProto;
pub use signature::signature;

use bytes::Bytes;
use prost::Message;

use crate::{Error, Result};

/// How a score becomes the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Link {
    /// The score is the answer: regression, log-odds.
    #[default]
    Identity,
    /// 1 / (1 + exp(-score)): the answer is a probability.
    Logistic,
}

/// Reads a model with the default [`Limits`].
///
/// # Errors
/// `Data` if the bytes are no ONNX model or exceed the limits.
pub fn read(bytes: &Bytes) -> Result<ModelProto> {
    Limits::default().read(bytes)
}

/// The bytes of a model.
pub fn write(model: &ModelProto) -> Bytes {
    model.encode_to_vec().into()
}

/// A graph in the operator sets that our builders use: `ai.onnx` 13, `ai.onnx.ml` 3, IR 8, which ONNX Runtime
/// reads since 1.10 (2021).
fn model_of(graph: proto::GraphProto) -> ModelProto {
    let opset = |domain: &str, version| proto::OperatorSetIdProto { domain: domain.into(), version };
    ModelProto {
        ir_version: 8,
        producer_name: "mlops".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![opset("", 13), opset("ai.onnx.ml", 3)],
        ..ModelProto::default()
    }
}

/// `name: f32[batch, width]`.
fn rows_of_f32(name: &str, width: usize) -> proto::ValueInfoProto {
    let batch = proto::DimensionProto { dim_param: Some("batch".into()), dim_value: None };
    // A width comes from a vector's length, which is below 2^63.
    let width = proto::DimensionProto { dim_value: Some(width as i64), dim_param: None };
    let shape = proto::TensorShapeProto { dim: vec![batch, width] };
    let tensor = proto::TensorTypeProto { elem_type: proto::data_type::FLOAT, shape: Some(shape) };
    let r#type = proto::TypeProto { tensor_type: Some(tensor), ..Default::default() };
    proto::ValueInfoProto { name: name.into(), r#type: Some(r#type) }
}

fn node(domain: &str, op_type: &str, inputs: &[&str], output: &str) -> proto::NodeProto {
    proto::NodeProto {
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        name: output.into(),
        op_type: op_type.into(),
        domain: domain.into(),
        attribute: Vec::new(),
    }
}

/// `value` as a finite 32-bit float, rounded to nearest.
fn finite_f32(value: f64, what: impl FnOnce() -> String) -> Result<f32> {
    let rounded = value as f32;
    if rounded.is_finite() {
        return Ok(rounded);
    }
    let what = what();
    Err(Error::invalid(format!("{what} is {value}: want a finite number within the range of 32-bit floats")))
}
