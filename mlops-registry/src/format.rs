//! What a file is by its first bytes, never by its name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pickle::is_pickle;

/// The format of a model's file, sniffed from its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// An ONNX model.
    Onnx,
    /// Tensors in the safetensors format.
    Safetensors,
    /// JSON: our own formats, profiles, configurations.
    Json,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
    /// A NumPy array of numbers.
    Numpy,
    /// An HDF5 file.
    Hdf5,
    /// A zip archive without a pickle.
    Zip,
    /// Python's pickle, also inside a zip archive (PyTorch), a NumPy object array or joblib: whoever loads it
    /// runs whatever code it holds. Refused unless it is asked for by name.
    Pickle,
    /// Compressed as a whole (gzip, zlib, bzip2, xz, zstd, LZ4): what it holds cannot be told without unpacking it.
    /// joblib compresses its pickles so. Refused unless it is asked for by name.
    Compressed,
    /// Anything else: plain weights, text.
    #[default]
    Other,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Format {
    /// The format of a file with these first bytes and these last ones, [`SNIFF_BYTES`](Self::SNIFF_BYTES) of
    /// each or the whole file, and this length.
    ///
    /// Cheap and never panics. Sniffing is no sandbox: it tells formats apart, it does not prove that a file is
    /// harmless.
    ///
    /// ```
    /// use mlops_registry::Format;
    ///
    /// let sniff = |bytes: &[u8]| Format::sniff(bytes, bytes, bytes.len() as u64);
    /// assert_eq!(sniff(b"{\"weights\": []}"), Format::Json);
    /// assert_eq!(sniff(b"\x80\x04\x95\x0b\0\0\0\0\0\0\0]\x94(K\x01K\x02e."), Format::Pickle);
    /// assert_eq!(sniff(b"anything"), Format::Other);
    /// ```
    pub fn sniff(head: &[u8], tail: &[u8], size_bytes: u64) -> Self {
        match head {
            [b'P', b'A', b'R', b'1', ..] => Self::Parquet,
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Self::Arrow,
            [0x89, b'H', b'D', b'F', ..] => Self::Hdf5,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
                let header = &head[..head.len().min(256)];
                let object = find(header, b"'|O'") || find(header, b"'O'");
                if object { Self::Pickle } else { Self::Numpy }
            }
            [b'P', b'K', 3 | 5, 4 | 6, ..] => {
                if find(head, b".pkl") || find(tail, b".pkl") {
                    Self::Pickle
                } else {
                    Self::Zip
                }
            }
            _ if is_pickle(head, size_bytes) => Self::Pickle,
            _ if is_compressed(head) => Self::Compressed,
            _ if is_safetensors(head, size_bytes) => Self::Safetensors,
            _ if is_onnx(head) => Self::Onnx,
            _ if head.trim_ascii_start().starts_with(b"{") || head.trim_ascii_start().starts_with(b"[") => {
                Self::Json
            }
            _ => Self::Other,
        }
    }

    /// How many bytes of either end of a file decide.
    pub const SNIFF_BYTES: usize = 64 << 10;
}

/// The magic bytes of compressors. Those of zlib are two bytes that text may start with.
fn is_compressed(head: &[u8]) -> bool {
    match head {
        [0x1f, 0x8b, ..]
        | [0xfd, b'7', b'z', b'X', b'Z', 0, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [0x04, 0x22, 0x4d, 0x18, ..] => true,
        [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] => rest.starts_with(b"1AY&SY"),
        [0x5d, 0, 0, ..] => head.len() > 13,
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            !head.iter().all(|c| c.is_ascii_graphic() || c.is_ascii_whitespace())
        }
        _ => false,
    }
}

/// Eight bytes of length, then a JSON object of that length.
fn is_safetensors(head: &[u8], size_bytes: u64) -> bool {
    let Some((length, rest)) = head.split_first_chunk() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..=100 << 20).contains(&length) && length + 8 <= size_bytes && rest.starts_with(b"{")
}

/// A protobuf message whose first fields are those of a `ModelProto`: the IR version, then names or a graph.
fn is_onnx(head: &[u8]) -> bool {
    let [0x08, version @ 1..=127, rest @ ..] = head else { return false };
    // producer_name (2), producer_version (3), domain (4), doc_string (6), graph (7), opset_import (8): all
    // length-delimited; model_version (5) is a number.
    *version < 64 && matches!(rest, [0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff(bytes: &[u8]) -> Format {
        let end = bytes.len().saturating_sub(Format::SNIFF_BYTES);
        Format::sniff(&bytes[..bytes.len().min(Format::SNIFF_BYTES)], &bytes[end..], bytes.len() as u64)
    }

    #[test]
    fn formats_by_their_first_bytes() {
        let mut safetensors = 2_u64.to_le_bytes().to_vec();
        safetensors.extend(b"{}");
        let cases: &[(&[u8], Format)] = &[
            (b"", Format::Other),
            (b"PAR1....PAR1", Format::Parquet),
            (b"ARROW1\0\0", Format::Arrow),
            (b"\x89HDF\r\n\x1a\n", Format::Hdf5),
            (b"\x93NUMPY\x01\0v\0{'descr': '<f8', }", Format::Numpy),
            (b"\x93NUMPY\x01\0v\0{'descr': '|O', }", Format::Pickle),
            (b"PK\x03\x04....model.json", Format::Zip),
            (b"PK\x03\x04....archive/data.pkl", Format::Pickle),
            (&safetensors, Format::Safetensors),
            (b"\x08\x08\x12\x07pytorch\x3a\x00", Format::Onnx),
            (b"  {\"a\": 1}", Format::Json),
            // What Python 3 writes for `[1, 2]` with protocols 0 to 5, and for `os.system` with protocol 0.
            (b"(lp0\nI1\naI2\na.", Format::Pickle),
            (b"]q\x00(K\x01K\x02e.", Format::Pickle),
            (b"\x80\x02]q\x00(K\x01K\x02e.", Format::Pickle),
            (b"\x80\x03]q\x00(K\x01K\x02e.", Format::Pickle),
            (b"\x80\x05\x95\x09\0\0\0\0\0\0\0]\x94(K\x01K\x02e.", Format::Pickle),
            (b"cos\nsystem\n(Vrm\np0\ntp1\nRp2\n.", Format::Pickle),
            // `joblib.dump(1, f, compress=True)`.
            (b"x\x9ck\xf4\xd6\x03\0\x02\xd5\x01\x02", Format::Compressed),
            (b"\x1f\x8b\x08\0", Format::Compressed),
            (b"x^2 + 1", Format::Other),
            (b"carrots\nare fine.", Format::Other),
            (b"(dear reader)", Format::Other),
        ];
        for (bytes, format) in cases {
            assert_eq!(sniff(bytes), *format, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_pickle_deep_in_a_big_archive_is_found_by_the_directory_at_its_end() {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(1 << 20, b'.');
        bytes.extend(b"PK\x01\x02 archive/data.pkl PK\x05\x06");
        assert_eq!(sniff(&bytes), Format::Pickle);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_have_a_format(head: Vec<u8>, size: u64) {
            Format::sniff(&head, &head, size);
        }
    }
}
