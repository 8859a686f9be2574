//! One entry of the log: who changed what, when and why, chained to the entry before it.

use mlops_core::{Digest, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Change;

/// One commit. All of its changes happen or none.
///
/// On storage an entry is two lines of JSON: the commit, and the SHA-256 of the first line. `previous` is the
/// SHA-256 of the first line of the entry before, so an entry that was altered, dropped or swapped shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Commit {
    /// The version of this format.
    pub format: u32,
    /// Its place in the log, from 1.
    pub sequence: u64,
    /// The operation that made it: the caller's idempotency key, or a fresh id.
    pub operation: String,
    /// The digest of what was asked for, which tells a retry from the same key used twice.
    pub request: Digest,
    /// The digest of the entry before, all zeros for the first.
    pub previous: Digest,
    /// When, on the clock of the machine that wrote it. For people: the order of the log decides.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What, in order.
    pub changes: Vec<Change>,
    /// The digest of the state before it, if that was kept as a checkpoint: only such a one is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    sha256: Digest,
}

impl Commit {
    /// The version of the format that this build writes.
    pub const FORMAT: u32 = 1;

    /// The bytes of its entry, and its digest.
    ///
    /// # Errors
    /// `Invalid` if it does not fit into an entry: over 64 MiB.
    pub fn encode(&self) -> Result<(Vec<u8>, Digest)> {
        let unfit = |error| Error::internal("a commit has no JSON form").with_source(error);
        let mut entry = serde_json::to_vec(self).map_err(unfit)?;
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the commit takes {} bytes: the limit is {ENTRY_BYTES_MAX}; split it",
                entry.len()
            )));
        }
        let sha256 = Digest::of(&entry);
        entry.push(b'\n');
        serde_json::to_writer(&mut entry, &Seal { sha256 }).map_err(unfit)?;
        entry.push(b'\n');
        Ok((entry, sha256))
    }

    /// The digest that an entry says it has, without a look at its body.
    pub(crate) fn seal(entry: &[u8]) -> Option<Digest> {
        let cut = entry.iter().position(|&byte| byte == b'\n')?;
        serde_json::from_slice::<Seal>(entry[cut + 1..].strip_suffix(b"\n")?).ok().map(|seal| seal.sha256)
    }

    /// Reads the entry at a place in the log; gives the commit and its digest.
    ///
    /// # Errors
    /// `Data` if the entry was cut off, altered or moved; `Unsupported` if a later version wrote it.
    pub fn decode(sequence: u64, entry: &[u8]) -> Result<(Self, Digest)> {
        let damaged = |why: &str| {
            Error::data(format!(
                "log entry {sequence} is damaged ({why}): restore it from a backup of the registry, nothing after it is read"
            ))
        };
        let Some(cut) = entry.iter().position(|&byte| byte == b'\n') else {
            return Err(damaged("it is cut off"));
        };
        let (body, seal) = (&entry[..cut], &entry[cut + 1..]);
        let seal: Seal = match seal.strip_suffix(b"\n").map(serde_json::from_slice) {
            Some(Ok(seal)) => seal,
            Some(Err(error)) => return Err(damaged("its digest cannot be read").with_source(error)),
            None => return Err(damaged("it is cut off")),
        };
        let sha256 = Digest::of(body);
        if sha256 != seal.sha256 {
            return Err(damaged("its bytes do not have its digest"));
        }
        let commit = match serde_json::from_slice::<Self>(body) {
            Ok(commit) if commit.format == Self::FORMAT => commit,
            read => return Err(unreadable(sequence, body, read.err())),
        };
        if commit.sequence != sequence {
            return Err(damaged(&format!("it belongs at {}", commit.sequence)));
        }
        Ok((commit, sha256))
    }
}

/// Why a body whose digest is right cannot be read.
#[cold]
fn unreadable(sequence: u64, body: &[u8], error: Option<serde_json::Error>) -> Error {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let known = Commit::FORMAT;
    let found = match serde_json::from_slice(body) {
        Ok(Head { format }) if format == known => Error::unsupported(format!(
            "log entry {sequence} holds something that this build does not know: update mlops-registry"
        )),
        Ok(Head { format }) => Error::unsupported(format!(
            "log entry {sequence} has format {format}: this build reads {known}; update mlops-registry"
        )),
        Err(_) => Error::data(format!(
            "log entry {sequence} is damaged (it has no format): restore it from a backup of the registry, nothing after it is read"
        )),
    };
    match error {
        Some(error) => found.with_source(error),
        None => found,
    }
}

const ENTRY_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use mlops_core::ErrorKind;

    fn commit() -> Commit {
        Commit {
            format: Commit::FORMAT,
            sequence: 7,
            operation: "op".into(),
            request: Digest::of(b"request"),
            previous: Digest::of(b"before"),
            time: Timestamp::EPOCH,
            actor: "änne\n".into(),
            reason: "\u{1F680} why".into(),
            changes: vec![Change::Delete { model: "shop".into(), version: 3 }],
            checkpoint: Some(Digest::of(b"state")),
        }
    }

    #[test]
    fn entries_round_trip() {
        let (entry, digest) = commit().encode().unwrap();
        assert_eq!(Commit::decode(7, &entry).unwrap(), (commit(), digest));
    }

    #[test]
    fn every_cut_every_flipped_bit_and_a_wrong_place_show() {
        let (entry, _) = commit().encode().unwrap();
        for cut in 0..entry.len() {
            assert_eq!(Commit::decode(7, &entry[..cut]).unwrap_err().kind(), ErrorKind::Data, "cut at {cut}");
        }
        for index in 0..entry.len() {
            for bit in 0..8 {
                let mut flipped = entry.clone();
                flipped[index] ^= 1 << bit;
                assert_eq!(Commit::decode(7, &flipped).unwrap_err().kind(), ErrorKind::Data, "{index}:{bit}");
            }
        }
        assert!(Commit::decode(8, &entry).unwrap_err().to_string().contains("belongs at 7"));
    }

    #[test]
    fn a_later_format_is_not_called_damage() {
        let later = Commit { format: 2, ..commit() };
        let error = Commit::decode(7, &later.encode().unwrap().0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
