//! What one execution of a step gave, as a file.
//!
//! A line with the SHA-256 of the header, a line with the header in JSON, then the bytes of the outputs, one
//! after the other. The header holds the digest of each output, so every byte of the file is checked.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::key::KeyFields;
use crate::{Digest, Error, Result, Timestamp};

/// What is known of a result besides its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of this format.
    pub format: u32,
    /// The cache key.
    pub key: Digest,
    /// What it was computed from.
    pub fields: KeyFields,
    /// What it is.
    pub outputs: Vec<StoredOutput>,
    /// The metrics that the step reported.
    #[serde(with = "crate::run::metrics")]
    pub metrics: BTreeMap<String, f64>,
    /// When the computation ended.
    pub created: Timestamp,
    /// How many attempts it took.
    pub attempts: u32,
    /// How long it took.
    pub duration_us: u64,
}

/// One output of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOutput {
    /// Its name.
    pub name: Arc<str>,
    /// Its digest.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: usize,
}

/// A result that was read and checked.
#[derive(Clone, Debug)]
pub struct StoredResult {
    /// What is known of it.
    pub header: Header,
    /// Its outputs.
    pub outputs: Vec<Bytes>,
}

pub(in super::super) const FORMAT: u32 = 1;

impl Header {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::internal("a result header does not go into JSON").with_source(error))?;
        let mut head = Digest::of(&json).to_string().into_bytes();
        head.push(b'\n');
        head.extend_from_slice(&json);
        head.push(b'\n');
        Ok(head)
    }
}

impl StoredResult {
    /// Reads the header alone, and checks it.
    pub(super) fn read_header(file: &mut impl BufRead) -> Result<Header> {
        let cut = || Error::data("the file is cut short");
        let mut line = || {
            let mut line = Vec::new();
            file.read_until(b'\n', &mut line).map_err(|error| cut().with_source(error))?;
            if line.pop() == Some(b'\n') { Ok(line) } else { Err(cut()) }
        };
        let (checksum, json) = (line()?, line()?);
        if Digest::of(&json).to_string().as_bytes() != checksum {
            return Err(Error::data("the header does not have its checksum"));
        }
        Self::header(&json)
    }

    /// Reads a result file and checks every byte of it.
    ///
    /// # Errors
    /// `Data` if a byte was changed, lost or added, `Unsupported` if a newer build wrote it.
    pub fn decode(file: &Bytes) -> Result<Self> {
        let cut = || Error::data("the file is cut short");
        let line = |from: usize| {
            let rest = file.get(from..).ok_or_else(cut)?;
            let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut)?;
            Ok::<_, Error>(from..from + length)
        };
        let checksum = line(0)?;
        let json = line(checksum.end + 1)?;
        let mut start = json.end + 1;
        if Digest::of(&file[json.clone()]).to_string().as_bytes() != &file[checksum] {
            return Err(Error::data("the header does not have its checksum"));
        }
        let header = Self::header(&file[json])?;
        let mut outputs = Vec::with_capacity(header.outputs.len());
        for output in &header.outputs {
            let end = start.checked_add(output.bytes).filter(|end| *end <= file.len()).ok_or_else(cut)?;
            let bytes = file.slice(start..end);
            let found = Digest::of(&bytes);
            if found != output.digest {
                let (name, want) = (&output.name, output.digest);
                return Err(Error::data(format!("`{name}` has digest {found}, committed was {want}")));
            }
            outputs.push(bytes);
            start = end;
        }
        if start != file.len() {
            return Err(Error::data(format!("{} bytes are left over", file.len() - start)));
        }
        Ok(Self { header, outputs })
    }

    fn header(json: &[u8]) -> Result<Header> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let wrong = |error| Error::data("the header is not one of a result").with_source(error);
        let header = serde_json::from_slice::<Header>(json);
        let format = match &header {
            Ok(header) => header.format,
            Err(_) => serde_json::from_slice::<Head>(json).map_err(wrong)?.format,
        };
        if format > FORMAT {
            return Err(Error::unsupported(format!(
                "result format {format}: this build reads up to {FORMAT}"
            )));
        }
        header.map_err(wrong)
    }
}
