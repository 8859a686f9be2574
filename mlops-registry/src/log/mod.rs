//! The append-only log: what a back end has to offer.

mod object;

use std::fmt::Debug;

use bytes::Bytes;
use mlops_core::{BoxFuture, Result};

pub use object::ObjectLog;

/// An append-only log of entries numbered from 1, on any storage that can create what is absent.
///
/// Contract for callers: entry `n + 1` is appended only when entry `n` is known to exist. On anything but
/// [`Appended::Created`] the entry is read back before anything else is done, since an error may hide a success.
///
/// Contract for implementers:
/// - [`append`](Self::append) is atomic and durable: of all calls for one number at most one is
///   [`Appended::Created`], readers see the whole entry or none, and what was created survives a crash of the
///   machine. It may answer `Taken` or fail although its own entry was written.
/// - [`read`](Self::read) sees every entry whose `append` returned before it was called.
/// - A checkpoint is a hint. It may be lost, torn or old without harm, since its reader checks its digest.
/// - All may be called from many threads and processes. A future that is dropped may still take effect.
///
/// Errors: `Unavailable` for what may pass (a network, a full disk), `Unsupported` for what will not (a
/// read-only store).
pub trait Log: Debug + Send + Sync + 'static {
    /// Writes an entry if none has this number.
    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>>;

    /// The entries from this number on, in order and without gaps, `count_max` at most; none if there is none.
    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>>;

    /// Keeps the state after an entry.
    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>>;

    /// A checkpoint before this number with its number, the newest that is known.
    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>>;
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The entry was written by this call.
    Created,
    /// There is an entry with this number. It may be this call's own.
    Taken,
}
