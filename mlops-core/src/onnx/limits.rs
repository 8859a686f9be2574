//! Reading with bounds: how many bytes and nested messages a model may have.

use bytes::Bytes;
use prost::Message;

use super::ModelProto;
use crate::{Error, Result};

/// The largest model that is read.
///
/// ```
/// use mlops_core::onnx::{LinearModel, Limits};
///
/// let bytes = LinearModel::new(vec![0.5; 1000], 0.0).to_bytes()?;
/// let error = Limits { bytes: 1024, ..Limits::default() }.read(&bytes).unwrap_err();
/// assert!(error.to_string().ends_with("bytes: the limit is 1024"));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file. Default: 2 GiB, the limit of protobuf itself.
    pub bytes: usize,
    /// Nodes, attributes, constants and type descriptions together, each of which may take a few hundred
    /// bytes of memory for two bytes of file. Default: 250 000, several times what large networks have.
    pub messages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 31, messages: 250_000 }
    }
}

impl Limits {
    /// Reads a model within these limits. Constants borrow from `bytes` where the format allows it.
    ///
    /// # Errors
    /// `Data` if the bytes are no ONNX model or exceed the limits.
    pub fn read(&self, bytes: &Bytes) -> Result<ModelProto> {
        if bytes.len() > self.bytes {
            let (len, limit) = (bytes.len(), self.bytes);
            return Err(Error::data(format!("an ONNX model of {len} bytes: the limit is {limit}")));
        }
        let mut left = self.messages;
        count(bytes, &MODEL, &mut left).map_err(|fault| match fault {
            Fault::TooMany => {
                let limit = self.messages;
                Error::data(format!("an ONNX model with more than {limit} nested messages: over the limit"))
            }
            Fault::Broken => Error::data("the bytes are no ONNX model: they are truncated or damaged"),
        })?;
        let model = ModelProto::decode(bytes.clone()).map_err(|error| {
            Error::data("the bytes are no ONNX model: they are truncated or damaged").with_source(error)
        })?;
        if model.graph.is_none() {
            return Err(Error::data("the bytes are no ONNX model: they hold no graph"));
        }
        Ok(model)
    }
}

/// The fields of a message that hold messages.
#[derive(Clone, Copy)]
struct Kind(&'static [(u64, &'static Kind)]);

static LEAF: Kind = Kind(&[]);
static SHAPE: Kind = Kind(&[(1, &LEAF)]);
static TENSOR_TYPE: Kind = Kind(&[(2, &SHAPE)]);
static TYPE: Kind = Kind(&[(1, &TENSOR_TYPE), (4, &LEAF), (5, &LEAF)]);
static VALUE_INFO: Kind = Kind(&[(2, &TYPE)]);
static TENSOR: Kind = Kind(&[(13, &LEAF)]);
static ATTRIBUTE: Kind = Kind(&[(5, &TENSOR), (6, &GRAPH)]);
static NODE: Kind = Kind(&[(5, &ATTRIBUTE)]);
static GRAPH: Kind =
    Kind(&[(1, &NODE), (5, &TENSOR), (11, &VALUE_INFO), (12, &VALUE_INFO), (13, &VALUE_INFO)]);
static MODEL: Kind = Kind(&[(7, &GRAPH), (8, &LEAF), (14, &LEAF)]);

enum Fault {
    TooMany,
    Broken,
}

/// Walks the wire format without building anything. Depth is bounded by an explicit stack of slices.
fn count(bytes: &[u8], kind: &'static Kind, left: &mut usize) -> Result<(), Fault> {
    let mut open = vec![(bytes, kind)];
    while let Some((mut bytes, kind)) = open.pop() {
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                }
                1 => skip(&mut bytes, 8)?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Fault::Broken)?;
                    let inner = bytes.get(..length).ok_or(Fault::Broken)?;
                    skip(&mut bytes, length)?;
                    if let Some((_, inside)) = kind.0.iter().find(|(field, _)| *field == key >> 3) {
                        *left = left.checked_sub(1).ok_or(Fault::TooMany)?;
                        open.push((inner, *inside));
                    }
                }
                5 => skip(&mut bytes, 4)?,
                _ => return Err(Fault::Broken),
            }
        }
    }
    Ok(())
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<(), Fault> {
    *bytes = bytes.get(length..).ok_or(Fault::Broken)?;
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Fault::Broken)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Fault::Broken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::onnx::{LinearModel, read};

    /// A message in the field with this tag.
    fn field(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn two_byte_messages_are_limited() {
        let nodes = |count: usize| Bytes::from(field(0x3a, &field(0x0a, &[]).repeat(count)));
        assert_eq!(read(&nodes(1000)).unwrap().graph.unwrap().node.len(), 1000);
        let error = read(&nodes(250_000)).unwrap_err();
        assert!(error.to_string().contains("more than 250000"), "{error}");
    }

    #[test]
    fn deep_nesting_is_an_error() {
        // A graph in an attribute in a node in a graph, and so on.
        let mut bytes = Vec::new();
        for _ in 0..2000 {
            bytes = field(0x0a, &field(0x2a, &field(0x32, &bytes)));
        }
        assert!(read(&field(0x3a, &bytes).into()).is_err());
    }

    proptest! {
        #[test]
        fn damaged_models_never_panic(
            cut in 0_usize..400,
            flips in prop::collection::vec((0_usize..400, any::<u8>()), 0..8),
        ) {
            let mut bytes = LinearModel::new(vec![0.5; 20], 0.1).to_bytes().unwrap().to_vec();
            for (place, value) in flips {
                let length = bytes.len();
                bytes[place % length] ^= value;
            }
            bytes.truncate(cut);
            if let Ok(model) = read(&bytes.into()) {
                let _ = crate::onnx::signature(&model);
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes.into());
        }
    }
}
