//! The attributes of operations.

use mlops_core::onnx::proto::{AttributeProto, NodeProto, TensorProto, data_type};

use crate::{Error, Result};

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f)
}

pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

pub(super) fn floats<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(node, name).map_or(&[], |attribute| &attribute.floats)
}

pub(super) fn text<'a>(node: &'a NodeProto, name: &str, default: &'a str) -> Result<&'a str> {
    attribute(node, name).map_or(Ok(default), |attribute| utf8(&attribute.s))
}

pub(super) fn texts(node: &NodeProto, name: &str) -> Result<Vec<String>> {
    let strings = attribute(node, name).map_or(&[][..], |attribute| &attribute.strings);
    strings.iter().map(|text| utf8(text).map(str::to_owned)).collect()
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::data("a text is not UTF-8").with_source(error))
}

/// A constant of floats, whichever number type it is stored in.
pub(super) fn float_constant(tensor: &TensorProto) -> Result<Vec<f32>> {
    match tensor.data_type {
        data_type::INT64 => Ok(tensor.to_i64()?.into_iter().map(|value| value as f32).collect()),
        data_type::DOUBLE => Ok(tensor.to_f64()?.into_iter().map(|value| value as f32).collect()),
        _ => tensor.to_f32(),
    }
}
