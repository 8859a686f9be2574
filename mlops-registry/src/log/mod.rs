//! The append-only log: what a back end has to offer.

#[cfg(feature = "postgres")]
mod address;
mod object;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "postgres-tls")]
mod tls;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use mlops_core::{BoxFuture, Result};

pub use object::ObjectLog;
#[cfg(feature = "postgres")]
pub use postgres::PostgresLog;
#[cfg(feature = "postgres")]
pub(crate) use postgres::place as postgres_place;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteLog;

/// An append-only log of entries numbered from 1, on any storage that can create what is absent.
///
/// Contract for callers: entry `n + 1` is appended only when entry `n` was seen by a read since. On anything but
/// [`Appended::Created`] the entry is read back before anything else is done, since an error may hide a success,
/// and [`sync`](Self::sync) is called when it is found.
///
/// Contract for implementers:
/// - [`append`](Self::append) is atomic and durable: of all calls for one number at most one is
///   [`Appended::Created`], readers see the whole entry or none, and what was created survives a crash of the
///   machine. It may answer `Taken` or fail although its own entry was written.
/// - [`read`](Self::read) sees every entry whose `append` returned before it was called.
/// - A checkpoint is a hint. It may be lost, torn or old without harm, since its reader checks it against the
///   log. The newest two are kept, older ones may be removed.
/// - All may be called from many threads and processes. A future that is dropped may still take effect.
///
/// Errors: `Unavailable` for what may pass (a network, a full disk), `Unsupported` for what will not (a
/// read-only store).
pub trait Log: Debug + Send + Sync + 'static {
    /// What the storage promises. [`doctor`](crate::doctor) finds out whether it is true.
    fn capabilities(&self) -> Capabilities;

    /// Writes an entry if none has this number.
    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>>;

    /// The entries from this number on, in order and without gaps, `count_max` at most; none if there is none.
    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>>;

    /// The highest number above this one that an entry has, gaps or not; `None` if there is none, or if the storage
    /// cannot list. Entries beyond a gap were lost on the way to it.
    ///
    /// It is asked once at each opening and twice at each sweep. A cloud lists what lies beyond the number alone, a
    /// database looks it up. A folder's names are all read once: no gap of any length stays unseen.
    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>>;

    /// Makes an entry durable that was found by a read, after its `append` gave no clear success. Stores that show
    /// only what is durable have nothing to do.
    fn sync(&self, _sequence: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Keeps the state after an entry.
    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>>;

    /// A checkpoint before this number with its number, the newest that is known.
    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>>;

    /// A log of its own on the same storage, empty for a name that was not used before: for probes.
    fn scratch(&self, name: &str) -> Arc<dyn Log>;

    /// Removes every entry and checkpoint of a log that came of [`scratch`](Self::scratch).
    ///
    /// Any other log refuses it as `Invalid`.
    fn discard(&self) -> BoxFuture<'_, Result<()>>;
}

/// What a storage promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// It creates an entry if it is absent, atomically. Without it nothing can be committed, only read.
    pub create_if_absent: bool,
    /// Who was told that an entry exists finds it from then on. Without it nothing can be committed, only read.
    pub read_after_write: bool,
    /// What was written survives a crash of the machine.
    pub durable: bool,
    /// Who can share it.
    pub reach: Reach,
}

/// Who can share a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The threads of one process.
    Process,
    /// The processes of one machine.
    Machine,
    /// All machines that reach the storage.
    Network,
}

impl Capabilities {
    /// All promises kept, as far as the storage reaches.
    pub const fn all(reach: Reach) -> Self {
        Self {
            create_if_absent: true,
            read_after_write: true,
            durable: !matches!(reach, Reach::Process),
            reach,
        }
    }

    /// Read-only: a copy, a plain web server.
    pub const fn read_only(reach: Reach) -> Self {
        Self { create_if_absent: false, read_after_write: false, durable: false, reach }
    }
}

/// How many checkpoints a store keeps.
const CHECKPOINTS_KEPT: usize = 2;

/// The start of the names of scratch logs.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const SCRATCH: &str = "scratch/";

#[cold]
fn not_scratch() -> mlops_core::Error {
    mlops_core::Error::invalid("a registry's own log is never discarded: only a scratch log is")
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The entry was written by this call.
    Created,
    /// There is an entry with this number. It may be this call's own.
    Taken,
}
