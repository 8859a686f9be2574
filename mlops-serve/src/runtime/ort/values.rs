//! Between ONNX Runtime's values and ours.

use half::f16;
use mlops_core::{Dimension, ElementType, ModelSignature, TensorSpec};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, Outlet, Tensor, TensorElementType, TensorRef, ValueType};

use super::failed;
use crate::tensor::{Element, TensorBuf, TensorData, TensorView};
use crate::{Error, Result};

/// What a session takes and gives, with the wanted outputs alone.
pub(super) fn signature(session: &Session, wanted: Option<&[String]>) -> Result<ModelSignature> {
    let inputs = session.inputs().iter().map(|input| spec(input, "input")).collect::<Result<Vec<_>>>()?;
    let names = || session.outputs().iter().map(Outlet::name);
    for name in wanted.unwrap_or_default() {
        if !names().any(|output| output == name) {
            let names = names().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(format!("no output `{name}`: the model gives {names}")));
        }
    }
    let outputs = session.outputs().iter();
    let outputs =
        outputs.filter(|output| wanted.is_none_or(|wanted| wanted.iter().any(|name| name == output.name())));
    let mut outputs = outputs.map(|output| spec(output, "output")).collect::<Result<Vec<_>>>()?;
    // Some exporters declare a label for each row as one label: where all inputs have open rows, so has it.
    let rows = inputs.first().and_then(|input| input.shape.first()).cloned();
    if let Some(rows @ Dimension::Symbol(_)) = rows
        && inputs.iter().all(|input| input.shape.first() == Some(&rows))
    {
        for output in &mut outputs {
            if let Some(axis @ Dimension::Fixed(1)) = output.shape.first_mut() {
                *axis = rows.clone();
            }
        }
    }
    Ok(ModelSignature { inputs, outputs })
}

fn spec(outlet: &Outlet, what: &str) -> Result<TensorSpec> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(Error::unsupported(format!(
            "{what} `{name}` is {}, not a tensor: if it is a `ZipMap`, export again with `zipmap=False`",
            outlet.dtype()
        )));
    };
    let element = match ty {
        TensorElementType::Float16 => ElementType::F16,
        TensorElementType::Float32 => ElementType::F32,
        TensorElementType::Float64 => ElementType::F64,
        TensorElementType::Int32 => ElementType::I32,
        TensorElementType::Int64 => ElementType::I64,
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::String => ElementType::Text,
        other => {
            return Err(Error::unsupported(format!(
                "{what} `{name}` has elements of type {other}: cast it inside the model to float, float16, \
                 double, int32, int64, bool or string"
            )));
        }
    };
    let axis = |(index, length): (usize, &i64)| match usize::try_from(*length) {
        Ok(length) => Dimension::Fixed(length),
        Err(_) => Dimension::Symbol(match dimension_symbols.get(index).map(String::as_str) {
            Some(symbol) if !symbol.is_empty() => symbol.into(),
            _ if index == 0 => "batch".into(),
            _ => format!("{name}_{index}"),
        }),
    };
    Ok(TensorSpec { name: name.into(), element, shape: shape.iter().enumerate().map(axis).collect() })
}

/// An input for a session: borrowed, but for texts and truth values.
pub(super) fn input<'a>(name: &str, view: &'a TensorView<'a>) -> Result<SessionInputValue<'a>> {
    let shape: &[usize] = view.shape();
    let value = match view.data() {
        TensorData::F16(values) => TensorRef::from_array_view((shape, values)).map(Into::into),
        TensorData::F32(values) => TensorRef::from_array_view((shape, values)).map(Into::into),
        TensorData::F64(values) => TensorRef::from_array_view((shape, values)).map(Into::into),
        TensorData::I32(values) => TensorRef::from_array_view((shape, values)).map(Into::into),
        TensorData::I64(values) => TensorRef::from_array_view((shape, values)).map(Into::into),
        TensorData::Bool(values) => TensorRef::from_array_view((shape, values)).map(Into::into),
        TensorData::Text(texts) => {
            let texts: Vec<String> = texts.iter().map(str::to_owned).collect();
            Tensor::from_string_array((shape, &texts[..])).map(Into::into)
        }
    };
    value.map_err(|error| failed(&format!("input `{name}` is no tensor for ONNX Runtime"), error))
}

/// A tensor for an output of this shape; `None` for texts.
pub(super) fn preallocated(element: ElementType, shape: &[usize]) -> Option<DynTensor> {
    let element = match element {
        ElementType::F16 => TensorElementType::Float16,
        ElementType::F32 => TensorElementType::Float32,
        ElementType::F64 => TensorElementType::Float64,
        ElementType::I32 => TensorElementType::Int32,
        ElementType::I64 => TensorElementType::Int64,
        ElementType::Bool => TensorElementType::Bool,
        _ => return None,
    };
    DynTensor::new(&ort::memory::Allocator::default(), element, shape).ok()
}

/// Copies an output into the caller's buffer.
pub(super) fn output(spec: &TensorSpec, value: &DynValue, buffer: &mut TensorBuf) -> Result<()> {
    match spec.element {
        ElementType::F16 => copy::<f16>(value, buffer),
        ElementType::F32 => copy::<f32>(value, buffer),
        ElementType::F64 => copy::<f64>(value, buffer),
        ElementType::I32 => copy::<i32>(value, buffer),
        ElementType::I64 => copy::<i64>(value, buffer),
        ElementType::Bool => copy::<bool>(value, buffer),
        _ => {
            let (shape, texts) = value.try_extract_strings().map_err(unreadable)?;
            buffer.reset_text(axes(shape)?.as_slice(), |buffer| {
                texts.iter().for_each(|text| buffer.push(text));
                Ok(())
            })
        }
    }
}

fn copy<T: Element + ort::value::PrimitiveTensorElementType>(
    value: &DynValue,
    buffer: &mut TensorBuf,
) -> Result<()> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(unreadable)?;
    buffer.reset::<T>(axes(shape)?.as_slice())?.copy_from_slice(values);
    Ok(())
}

fn unreadable(error: ort::Error) -> Error {
    failed("an output is not of the type that the model declares", error)
}

/// Axes without an allocation.
struct Axes([usize; crate::tensor::Shape::MAX_RANK], usize);

impl Axes {
    fn as_slice(&self) -> &[usize] {
        &self.0[..self.1]
    }
}

fn axes(shape: &[i64]) -> Result<Axes> {
    let mut axes = Axes([0; crate::tensor::Shape::MAX_RANK], shape.len());
    if shape.len() > axes.0.len() {
        return Err(Error::unsupported(format!("an output of shape {shape:?}: six axes are the limit")));
    }
    for (axis, length) in axes.0.iter_mut().zip(shape) {
        *axis = usize::try_from(*length)
            .map_err(|_| Error::data(format!("an output of the impossible shape {shape:?}")))?;
    }
    Ok(axes)
}
