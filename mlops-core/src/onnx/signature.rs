//! What a graph takes and gives.

use super::ModelProto;
use super::proto::{GraphProto, TypeProto, ValueInfoProto, data_type};
use crate::{Dimension, ElementType, Error, ModelSignature, Result, TensorSpec};

/// What a model takes and gives, as its file declares it.
///
/// An axis without a length or symbol becomes the symbol `batch` if it is the first, and a symbol of its own
/// otherwise. Shapes of outputs are what the exporter declared: some exporters declare them wrongly.
///
/// # Errors
/// `Unsupported` if an input or output is no tensor of a type that [`ElementType`] names; `Data` if the model
/// has no graph.
pub fn signature(model: &ModelProto) -> Result<ModelSignature> {
    let graph = model.graph.as_ref().ok_or_else(|| Error::data("the ONNX model holds no graph"))?;
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs = graph.input.iter().filter(|input| !constant(&input.name));
    Ok(ModelSignature {
        inputs: inputs.map(|input| spec(graph, input, "input")).collect::<Result<_>>()?,
        outputs: graph.output.iter().map(|output| spec(graph, output, "output")).collect::<Result<_>>()?,
    })
}

fn spec(graph: &GraphProto, value: &ValueInfoProto, what: &str) -> Result<TensorSpec> {
    let name = &value.name;
    let no_tensor = |kind: &str| {
        let producer = graph.node.iter().find(|node| node.output.contains(name));
        let way_out = match producer.map(|node| node.op_type.as_str()) {
            Some("ZipMap") => ": export again with `zipmap=False`",
            _ => ": cut it off the graph, or convert it to a tensor",
        };
        Error::unsupported(format!("{what} `{name}` is {kind}, not a tensor{way_out}"))
    };
    let tensor = match &value.r#type {
        Some(TypeProto { tensor_type: Some(tensor), .. }) => tensor,
        Some(TypeProto { sequence_type: Some(_), .. }) => return Err(no_tensor("a sequence")),
        Some(TypeProto { map_type: Some(_), .. }) => return Err(no_tensor("a map")),
        _ => return Err(no_tensor("of no type")),
    };
    let element = match tensor.elem_type {
        data_type::FLOAT16 => ElementType::F16,
        data_type::FLOAT => ElementType::F32,
        data_type::DOUBLE => ElementType::F64,
        data_type::INT32 => ElementType::I32,
        data_type::INT64 => ElementType::I64,
        data_type::BOOL => ElementType::Bool,
        data_type::STRING => ElementType::Text,
        other => {
            return Err(Error::unsupported(format!(
                "{what} `{name}` has elements of ONNX type {other}: cast it inside the model to float, float16, \
                 double, int32, int64, bool or string"
            )));
        }
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).enumerate();
    let shape = dims.map(|(axis, dim)| match (dim.dim_value, dim.dim_param.as_deref()) {
        (Some(length), _) if length > 0 => usize::try_from(length).map(Dimension::Fixed).map_err(|_| {
            Error::data(format!("{what} `{name}` has an axis of {length}: more than this machine counts"))
        }),
        (_, Some(symbol)) if !symbol.is_empty() => Ok(Dimension::Symbol(symbol.into())),
        _ if axis == 0 => Ok(Dimension::Symbol("batch".into())),
        _ => Ok(Dimension::Symbol(format!("{name}_{axis}"))),
    });
    Ok(TensorSpec { name: name.clone(), element, shape: shape.collect::<Result<_>>()? })
}
