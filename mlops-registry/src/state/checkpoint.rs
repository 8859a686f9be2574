//! A state as bytes, sealed so that a torn or altered one shows.

use mlops_core::{Digest, Error, Result};
use serde::{Deserialize, Serialize};

use super::stored::Stored;
use super::{Model, Snapshot};

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    sequence: u64,
    sha256: Digest,
}

/// The bytes of a checkpoint, a line with the digest of the rest and then the state, and that digest. Equal states
/// have equal bytes.
pub(crate) fn encode(state: &Snapshot) -> Result<(Vec<u8>, Digest)> {
    let unfit = |error| Error::internal("a state has no JSON form").with_source(error);
    let body = serde_json::to_vec(&Stored::of(state)).map_err(unfit)?;
    let sha256 = Digest::of(&body);
    let format = if state.models().any(is_of_3) { FORMAT } else { FORMAT_READ_BY_MORE };
    let mut bytes = serde_json::to_vec(&Head { format, sequence: state.sequence, sha256 }).map_err(unfit)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&body);
    Ok((bytes, sha256))
}

/// The state of a checkpoint and its digest; `None` if it is torn, altered, of another place or of another format.
/// The log has it all, so a checkpoint that cannot be used is passed over.
pub(crate) fn decode(sequence: u64, bytes: &[u8]) -> Option<(Snapshot, Digest)> {
    let cut = bytes.iter().position(|&byte| byte == b'\n')?;
    let (head, body) = (&bytes[..cut], &bytes[cut + 1..]);
    let head: Head = serde_json::from_slice(head).ok()?;
    if ![FORMAT_READ_BY_MORE, FORMAT].contains(&head.format)
        || (head.sequence, head.sha256) != (sequence, Digest::of(body))
    {
        return None;
    }
    // Whether it is text is asked once, not string by string.
    let state = serde_json::from_str::<Stored>(std::str::from_utf8(body).ok()?).ok()?.state()?;
    (state.sequence == sequence).then_some((state, head.sha256))
}

impl Snapshot {
    /// The bytes that a log keeps as its checkpoint after this state.
    ///
    /// # Errors
    /// `Internal` if a recorded value has no JSON form.
    ///
    /// ```
    /// use mlops_registry::Snapshot;
    ///
    /// let state = Snapshot::default();
    /// let bytes = state.to_checkpoint()?;
    /// assert_eq!(Snapshot::from_checkpoint(0, &bytes), Some(state));
    /// assert_eq!(Snapshot::from_checkpoint(0, &bytes[1..]), None);
    /// # Ok::<(), mlops_registry::Error>(())
    /// ```
    pub fn to_checkpoint(&self) -> Result<Vec<u8>> {
        encode(self).map(|(bytes, _)| bytes)
    }

    /// The state in the checkpoint after so many commits; `None` if it is torn, altered or of another format. Whether
    /// the log states its digest is for the reader to find.
    pub fn from_checkpoint(sequence: u64, bytes: &[u8]) -> Option<Self> {
        decode(sequence, bytes).map(|(state, _)| state)
    }
}

/// Whether a checkpoint is due when a state grew from one weight to another: every 64 at first, then whenever it
/// grew by a sixteenth. So all that is ever written is a multiple of the log, and little of the log is left to
/// read. Each writer answers from the log alone: of many, one saves it.
pub(crate) fn is_due(before: u64, after: u64) -> bool {
    let mut place = STEP_MIN;
    while place <= before {
        place += (place / 16).max(STEP_MIN);
    }
    place <= after
}

/// Whether builds that know format 2 would lose something of a model.
fn is_of_3(model: &Model) -> bool {
    model.deleted.is_some() || !model.former.is_empty()
}

const FORMAT: u32 = 3;
/// The same without deleted and renamed models. Format 1, which no log states the digest of, is passed over.
const FORMAT_READ_BY_MORE: u32 = 2;
const STEP_MIN: u64 = 64;
