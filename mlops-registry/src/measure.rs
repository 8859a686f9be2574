//! Model files on their way in: read in constant memory, told by their bytes.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use mlops_core::{Digest, Digester, Error, ModelFile, Result};

use crate::{Format, onnx, store};

/// What a file is: its digest, its length, its format.
pub(crate) struct Measured {
    pub(crate) sha256: Digest,
    pub(crate) size_bytes: u64,
    pub(crate) format: Format,
    /// The files that an ONNX model wants beside it.
    pub(crate) external: Vec<String>,
}

trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// Reads a file once; a second time where it may be a protobuf, and then only the headers in it.
pub(crate) fn measure(file: &ModelFile, name: &str) -> Result<Measured> {
    let (mut source, path): (Box<dyn Source + '_>, _) = match file {
        ModelFile::Bytes(bytes) => (Box::new(Cursor::new(bytes)), Path::new("")),
        ModelFile::Path(path) => (Box::new(open(path)?), path),
        _ => return Err(unknown()),
    };
    let (mut digester, mut size_bytes) = (Digester::new(), 0);
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    // Most files are small: no more is made ready than there is to read.
    let length = source.seek(SeekFrom::End(0)).and_then(|length| source.rewind().map(|()| length));
    let length = length.map_err(|error| cannot_read(path, error))?;
    let mut buffer =
        vec![0; usize::try_from(length).map_or(BUFFER_BYTES, |length| length.clamp(1, BUFFER_BYTES))];
    loop {
        let part = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(cannot_read(path, error)),
        };
        digester.update(part);
        size_bytes += part.len() as u64;
        let wanted = Format::SNIFF_BYTES - head.len();
        head.extend_from_slice(&part[..part.len().min(wanted)]);
        tail.extend_from_slice(&part[part.len().saturating_sub(Format::SNIFF_BYTES)..]);
        tail.drain(..tail.len().saturating_sub(Format::SNIFF_BYTES));
    }
    let mut format = Format::sniff(&head, &tail, size_bytes);
    let named_onnx = name.to_ascii_lowercase().ends_with(".onnx") && format != Format::Pickle;
    let mut external = Vec::new();
    // The fields of a protobuf come in any order, so the first bytes of a model may look like anything.
    if format == Format::Onnx || named_onnx || size_bytes <= PROTOBUF_BYTES_MAX {
        match onnx::walk(&mut BufReader::new(source)) {
            Ok(walked) => {
                if walked.is_model && format == Format::Other {
                    format = Format::Onnx;
                }
                external = walked.external;
            }
            Err(error) if format == Format::Onnx || named_onnx => {
                return Err(
                    error.context(format!("file `{name}` is named or looks like an ONNX model and is none"))
                );
            }
            Err(_) => {}
        }
    }
    Ok(Measured { sha256: digester.finish(), size_bytes, format, external })
}

pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| cannot_read(path, error))?;
    if file.metadata().map_err(|error| cannot_read(path, error))?.is_file() {
        return Ok(file);
    }
    Err(Error::invalid(format!("`{}` is not a file", path.display())))
}

#[cold]
pub(crate) fn unknown() -> Error {
    Error::unsupported("this kind of model file cannot be registered: read it into bytes")
}

#[cold]
pub(crate) fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    store::io_failed(&error, &format!("cannot read `{}`", path.display())).with_source(error)
}

const BUFFER_BYTES: usize = 1 << 20;
/// No protobuf reader takes more than 2 GiB.
const PROTOBUF_BYTES_MAX: u64 = 2 << 30;
