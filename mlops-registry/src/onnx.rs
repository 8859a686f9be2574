//! Which files an ONNX model wants beside it, without loading it.

use std::io::{Read, Seek, SeekFrom};

use mlops_core::{Error, Result};

/// The names of the external data files of an ONNX model, in order of their first use.
///
/// Walks the protobuf's headers and skips all tensors: cost grows with the number of nodes, memory does not
/// grow with the weights.
///
/// # Errors
/// `Data` if the bytes are no protobuf, nested over 64 deep or name over 10 000 files.
pub fn external_data(model: &mut (impl Read + Seek)) -> Result<Vec<String>> {
    Ok(walk(model)?.external)
}

/// What a walk over a file finds.
pub(crate) struct Walked {
    /// Whether it has a graph with something in it, as every ONNX model does.
    pub(crate) is_model: bool,
    /// The names of its external files.
    pub(crate) external: Vec<String>,
}

pub(crate) fn walk(model: &mut (impl Read + Seek)) -> Result<Walked> {
    let mut walk = Walk { model, names: Vec::new(), nodes: 0 };
    let end = walk.model.seek(SeekFrom::End(0)).map_err(unreadable)?;
    walk.model.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    walk.message(Message::Model, 0, end, 0)?;
    Ok(Walked { is_model: walk.nodes > 0, external: walk.names })
}

/// The messages of `onnx.proto3` that lead to a tensor.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
    Tensor,
    SparseTensor,
    TrainingInfo,
    Entry,
}

impl Message {
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 20) => Self::TrainingInfo,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Attribute, 6 | 11) | (Self::TrainingInfo, 1 | 2) => Self::Graph,
            (Self::Tensor, 13) => Self::Entry,
            _ => return None,
        })
    }
}

struct Walk<'a, R> {
    model: &'a mut R,
    names: Vec<String>,
    /// How many nodes and tensors there are.
    nodes: u64,
}

impl<R: Read + Seek> Walk<'_, R> {
    fn message(&mut self, kind: Message, start: u64, end: u64, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(malformed("it is nested too deep"));
        }
        self.nodes += u64::from(matches!(kind, Message::Node | Message::Tensor));
        let (mut at, mut key, mut value) = (start, String::new(), String::new());
        while at < end {
            let tag = self.varint(&mut at, end)?;
            if tag >> 3 == 0 {
                return Err(malformed("a field has the number 0"));
            }
            match tag & 7 {
                0 => drop(self.varint(&mut at, end)?),
                1 => at = self.skip(at, 8, end)?,
                5 => at = self.skip(at, 4, end)?,
                2 => {
                    let length = self.varint(&mut at, end)?;
                    let stop = at.checked_add(length).filter(|stop| *stop <= end);
                    let stop = stop.ok_or_else(|| malformed("a field ends after its message"))?;
                    match (kind, tag >> 3) {
                        (Message::Entry, 1) => key = self.text(length)?,
                        (Message::Entry, 2) => value = self.text(length)?,
                        (_, field) => match kind.child(field) {
                            Some(child) => self.message(child, at, stop, depth + 1)?,
                            None => drop(self.skip(at, length, end)?),
                        },
                    }
                    at = stop;
                }
                _ => return Err(malformed("a field has an unknown wire type")),
            }
        }
        if key == "location" && !self.names.contains(&value) {
            if self.names.len() == FILES_MAX {
                return Err(malformed("it names too many files"));
            }
            self.names.push(value);
        }
        Ok(())
    }

    fn varint(&mut self, at: &mut u64, end: u64) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if *at >= end {
                return Err(malformed("it is cut off"));
            }
            let mut byte = [0];
            self.model.read_exact(&mut byte).map_err(unreadable)?;
            *at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number is too long"))
    }

    fn skip(&mut self, at: u64, length: u64, end: u64) -> Result<u64> {
        let stop =
            at.checked_add(length).filter(|stop| *stop <= end).ok_or_else(|| malformed("it is cut off"))?;
        // Relative, so that what is buffered is not thrown away.
        self.model.seek_relative(i64::try_from(length).unwrap_or(i64::MAX)).map_err(unreadable)?;
        Ok(stop)
    }

    fn text(&mut self, length: u64) -> Result<String> {
        if length > TEXT_BYTES_MAX {
            return Err(malformed("the name of an external file is too long"));
        }
        let mut text = String::new();
        let read = self.model.take(length).read_to_string(&mut text).map_err(unreadable)?;
        if read as u64 == length { Ok(text) } else { Err(malformed("it is cut off")) }
    }
}

fn malformed(why: &str) -> Error {
    Error::data(format!("the ONNX model is damaged: {why}"))
}

fn unreadable(error: std::io::Error) -> Error {
    Error::data("the ONNX model cannot be read").with_source(error)
}

const DEPTH_MAX: usize = 64;
const FILES_MAX: usize = 10_000;
const TEXT_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn field(number: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for mut value in [number << 3 | 2, body.len() as u64] {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        }
        bytes.extend_from_slice(body);
        bytes
    }

    /// A model whose only tensor lies in the attribute of a node of a graph inside another node.
    fn nested(location: &str) -> Vec<u8> {
        let entry = |key: &str, value: &str| {
            field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
        };
        let tensor = [field(9, &[0; 300]), entry("location", location), entry("offset", "4096")].concat();
        let inner = field(1, &field(5, &field(5, &tensor)));
        let outer = field(1, &field(5, &field(6, &inner)));
        [vec![0x08, 8], field(2, b"test"), field(7, &outer)].concat()
    }

    #[test]
    fn external_files_are_found_wherever_a_tensor_can_be() {
        assert_eq!(external_data(&mut Cursor::new(nested("w/weights.bin"))).unwrap(), ["w/weights.bin"]);
        assert_eq!(external_data(&mut Cursor::new([0x08, 8, 0x3a, 0])).unwrap(), [""; 0]);
    }

    #[test]
    fn damaged_models_end_in_an_error() {
        let whole = nested("x");
        for cut in 1..whole.len() {
            let _ = external_data(&mut Cursor::new(&whole[..cut]));
        }
        assert!(external_data(&mut Cursor::new([0x3a, 0xff, 0xff, 0x03])).is_err());
        let mut deep = Vec::new();
        for _ in 0..200 {
            deep = field(1, &field(5, &field(6, &deep)));
        }
        assert!(
            external_data(&mut Cursor::new(field(7, &deep))).unwrap_err().to_string().contains("too deep")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes: Vec<u8>) {
            let _ = external_data(&mut Cursor::new(bytes));
        }
    }
}
