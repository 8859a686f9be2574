//! A state as bytes, sealed so that a torn or altered one shows.

use mlops_core::{Digest, Error, Result};
use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::stored::Stored;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    sequence: u64,
    sha256: Digest,
}

/// The bytes of a checkpoint: a line with the digest of the rest, then the state.
pub(crate) fn encode(state: &Snapshot) -> Result<Vec<u8>> {
    let unfit = |error| Error::internal("a state has no JSON form").with_source(error);
    let body = serde_json::to_vec(&Stored::of(state)).map_err(unfit)?;
    let head = Head { format: FORMAT, sequence: state.sequence, sha256: Digest::of(&body) };
    let mut bytes = serde_json::to_vec(&head).map_err(unfit)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The state of a checkpoint; `None` if it is torn, altered, of another place or of another format. The log
/// has it all, so a checkpoint that cannot be used is passed over.
pub(crate) fn decode(sequence: u64, bytes: &[u8]) -> Option<Snapshot> {
    let cut = bytes.iter().position(|&byte| byte == b'\n')?;
    let (head, body) = (&bytes[..cut], &bytes[cut + 1..]);
    let head: Head = serde_json::from_slice(head).ok()?;
    if head.sequence != sequence || head.sha256 != Digest::of(body) {
        return None;
    }
    let state: Snapshot = match head.format {
        1 => serde_json::from_slice(body).ok()?,
        FORMAT => serde_json::from_slice::<Stored>(body).ok()?.state()?,
        _ => return None,
    };
    (state.sequence == sequence).then_some(state)
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
        encode(self)
    }

    /// The state in the checkpoint after so many commits, of any format since the first; `None` if it is torn,
    /// altered or of a later format. Whether the log bears it out is for the reader to find.
    pub fn from_checkpoint(sequence: u64, bytes: &[u8]) -> Option<Self> {
        decode(sequence, bytes)
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

/// Format 1 was the state as it is in memory.
const FORMAT: u32 = 2;
const STEP_MIN: u64 = 64;
