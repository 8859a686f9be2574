//! From an ONNX graph to a plan.

mod attributes;
mod compiler;
mod math;
mod ml;
mod shapes;
mod trees;
mod trees5;
mod vocabulary;

use mlops_core::onnx::proto::{GraphProto, TensorProto, data_type};
use mlops_core::onnx::{ModelProto, signature};
use mlops_core::{Dimension, ElementType, ModelSignature};

use super::WIDEST;
use super::plan::{Matrix, Place, Plan};
use crate::{Error, Result};
use attributes::{attribute, float, float_constant, floats, int, ints, text, texts, utf8};
use compiler::Compiler;

/// Compiles a model. `wanted` names the outputs to compute; `None` stands for all.
pub(super) fn compile(model: &ModelProto, wanted: Option<&[String]>) -> Result<(ModelSignature, Plan)> {
    let mut declared = signature(model)?;
    let graph = model.graph.as_ref().ok_or_else(|| Error::data("the ONNX model holds no graph"))?;
    if let Some(wanted) = wanted {
        let names = || declared.outputs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in wanted {
            if !declared.outputs.iter().any(|spec| spec.name == *name) {
                return Err(Error::invalid(format!("no output `{name}`: the model gives {}", names())));
            }
        }
        declared.outputs.retain(|spec| wanted.contains(&spec.name));
    }
    refuse_reduced(graph, &declared)?;
    let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
    let opset = model.opset_import.iter().find(|opset| standard(&opset.domain)).map(|opset| opset.version);
    // A model of other operations alone need not name the version of the standard ones.
    let opset = opset.unwrap_or(i64::MAX);
    if opset < OPSET_MIN {
        return Err(Error::unsupported(format!(
            "operations of version {opset}: export the model with version {OPSET_MIN} or later"
        )));
    }
    let mut compiler = Compiler::new(graph, &declared, opset)?;
    for node in compiler.needed(graph, &declared) {
        compiler
            .node(node)
            .map_err(|error| error.context(format!("ONNX operation {} `{}`", node.op_type, node.name)))?;
    }
    compiler.finish(declared)
}

/// Computed in 32 bits, a model in half precision would answer otherwise than where it was checked; of quantised
/// ones the kernels know nothing.
fn refuse_reduced(graph: &GraphProto, declared: &ModelSignature) -> Result<()> {
    let specs = declared.inputs.iter().chain(&declared.outputs);
    let mut specs = specs.filter(|spec| spec.element == ElementType::F16).map(|spec| spec.name.as_str());
    let constant = |types: &[i32]| {
        let found = graph.initializer.iter().find(|tensor| types.contains(&tensor.data_type));
        found.map(|tensor| tensor.name.as_str())
    };
    if let Some(name) = specs.next().or_else(|| constant(&[data_type::FLOAT16])) {
        return Err(Error::unsupported(format!(
            "`{name}` holds 16-bit floats, the native runtime computes in 32 bits: load the model with `ort`"
        )));
    }
    if let Some(name) = constant(&[data_type::INT8, data_type::UINT8]) {
        return Err(Error::unsupported(format!(
            "`{name}` holds 8-bit integers, the native runtime computes in 32-bit floats: load the model with `ort` \
             or `tract`"
        )));
    }
    Ok(())
}

/// Before this version, arithmetic had other rules for shapes.
const OPSET_MIN: i64 = 7;

/// What is known about a value of the graph. The first axis of everything that is computed counts the rows.
#[derive(Clone, Debug)]
enum Value<'a> {
    /// Floats; `dims` are the axes after the rows.
    Floats {
        at: Matrix,
        dims: Vec<usize>,
    },
    Integers {
        at: Matrix,
        dims: Vec<usize>,
    },
    /// The index of a label.
    Labels {
        at: Matrix,
        dims: Vec<usize>,
        labels: Vec<String>,
    },
    /// An input of another type, as it came.
    Input {
        input: usize,
        element: ElementType,
        dims: Vec<usize>,
    },
    Constant(&'a TensorProto),
}

fn input<'a>(input: usize, spec: &mlops_core::TensorSpec) -> Result<Value<'a>> {
    let name = &spec.name;
    let dims = spec.shape.iter().skip(1).map(|axis| match axis {
        Dimension::Fixed(length) => Ok(*length),
        Dimension::Symbol(symbol) => Err(Error::unsupported(format!(
            "input `{name}` has the open axis `{symbol}`: the native runtime wants all axes but the first fixed"
        ))),
    });
    let dims = dims.collect::<Result<Vec<_>>>()?;
    if !matches!(spec.shape.first(), Some(Dimension::Symbol(_))) {
        return Err(Error::unsupported(format!(
            "input {spec} has no open first axis: the native runtime counts rows there"
        )));
    }
    let at = Matrix { place: Place::Input(input), width: width(&dims)? };
    Ok(match spec.element {
        ElementType::F32 => Value::Floats { at, dims },
        ElementType::I64 => Value::Integers { at, dims },
        element => Value::Input { input, element, dims },
    })
}

fn width(dims: &[usize]) -> Result<usize> {
    let product = dims.iter().try_fold(1_usize, |product, axis| product.checked_mul(*axis));
    match product {
        Some(0) => Err(Error::data("a value without elements")),
        Some(width) if width <= WIDEST => Ok(width),
        _ => Err(Error::unsupported(format!(
            "a value of shape {dims:?} a row: {WIDEST} elements are the limit"
        ))),
    }
}

fn widen(total: usize, width: usize) -> Result<usize> {
    let total = total.checked_add(width).filter(|total| *total <= WIDEST);
    total.ok_or_else(|| {
        Error::unsupported(format!("intermediate values of more than {WIDEST} elements a row"))
    })
}
