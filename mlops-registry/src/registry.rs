//! The registry: a log, the blobs, and the state that the log adds up to.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use mlops_core::{Clock, Digest, Error, Result};

use crate::blobs::Blobs;
use crate::builder::{Builder, Limits};
use crate::cache::Cache;
use crate::ids::Ids;
use crate::log::Log;
use crate::state::checkpoint;
use crate::telemetry::{self, Amount, Call};
use crate::{Commit, Snapshot, UploadId};

/// A registry of models on a storage of the caller's choice. Clones share one state.
///
/// Readers and writers of any number of processes work on one registry at once; the storage is all that they
/// share. Every commit is linearizable: it happens at one point between call and return, and whoever refreshes
/// after that sees it.
///
/// With a folder or memory as storage the futures need no runtime: any executor drives them. See
/// [`blocking`](crate::blocking) for a face without futures.
///
/// Not all work gives way to other tasks of the executor. [`commit`](Self::commit) reads and hashes local files within
/// a poll, `fetch` with a [`cache`](Builder::cache) and [`fetch_to`](Self::fetch_to) hash and write them there, about
/// a second for each GB and more on a slow disk; a fetch into a cache waits for the lock of another process on a file;
/// SQLite waits up to ten seconds for another writer; a folder is read and written in the poll. A service that answers
/// others on the same executor calls these from a thread of its own: `spawn_blocking` with the
/// [blocking face](crate::blocking::Registry), which takes the runtime that it finds. [`state`](Self::state) and all
/// questions to a [`Snapshot`] never wait.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) location: String,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) blobs: Blobs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Ids,
    pub(crate) cache: Option<Cache>,
    pub(crate) limits: Limits,
    pub(crate) snapshot: ArcSwap<Snapshot>,
}

impl Registry {
    /// Opens the registry at a location, and makes an empty one if there is none: a folder, a database file. A
    /// path that was mistyped is an empty registry.
    ///
    /// A path or `file:///path` is a folder, written through to the disk (feature `local`); `memory:` is a new
    /// registry that dies with the process; `s3://bucket/prefix`, `gs://bucket/prefix` and
    /// `az://container/prefix` are clouds (features `aws`, `gcp`, `azure`); `sqlite:path` is a database file
    /// (feature `sqlite`), from the root as `sqlite:/path` or `sqlite:///path`; `postgres://user@host/database` a
    /// database (feature `postgres`, with [`Builder::artifacts`]).
    ///
    /// It reads the newest checkpoint and the entries after it. The names of a folder's entries are all read too, to
    /// see that none is lost. What a damaged log still holds and what has to be restored tells [`Builder::doctor`],
    /// which needs no registry that opens.
    ///
    /// # Errors
    /// `Invalid` if the location is none, `Unsupported` if it needs another feature or right, `Data` if the log
    /// is damaged or an entry is lost before later ones, `Unavailable` if the storage is out of reach.
    pub async fn open(location: &str) -> Result<Self> {
        Self::builder().open(location).await
    }

    /// What a registry is opened with: a clock, a seed, options of the store.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The state as it was last seen: no I/O, no lock, no allocation.
    ///
    /// It grows by [`refresh`](Self::refresh) and by commits of this process. Drop the guard soon; for a state
    /// that is kept, take [`snapshot`](Self::snapshot).
    pub fn state(&self) -> Guard<Arc<Snapshot>> {
        self.inner.snapshot.load()
    }

    /// The state as it was last seen, to keep: consistent in itself, whatever others commit meanwhile.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }

    /// Reads what others committed. Every commit that returned before this call is seen.
    ///
    /// It reads on from the last known entry. That an entry beyond was lost is seen by opening and by
    /// [`sweep`](Self::sweep), which list the log.
    ///
    /// # Errors
    /// `Data` if the log is damaged or no longer holds what this process read, `Unavailable` if the storage is out
    /// of reach.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>> {
        telemetry::told(&self.inner, Call::Refresh, telemetry::ok, self.read_on()).await
    }

    async fn read_on(&self) -> Result<Arc<Snapshot>> {
        let seen = self.snapshot();
        // The last known entry is looked at too: a log that was restored from a backup would be forked.
        let known = usize::from(seen.sequence() > 0);
        let mut entries =
            self.inner.log.read(seen.sequence() + 1 - known as u64, READ_ENTRIES_MAX + known).await?;
        if known > 0 && entries.first().and_then(|entry| Commit::seal(entry)) != Some(seen.head()) {
            return Err(Error::data(format!(
                "log entry {} is not the one that this process read: the log was cut off, altered or restored from a \
                 backup; open the registry again and let its doctor look at it",
                seen.sequence()
            )));
        }
        entries.drain(..known);
        if entries.is_empty() {
            return Ok(seen);
        }
        let mut state = Snapshot::clone(&seen);
        loop {
            for entry in &entries {
                let (commit, digest) = Commit::decode(state.sequence() + 1, entry)?;
                state.apply(&commit, digest)?;
            }
            if entries.len() < READ_ENTRIES_MAX {
                telemetry::add(&self.inner, Amount::CommitsRead, state.sequence() - seen.sequence());
                return Ok(self.publish(state));
            }
            entries = self.inner.log.read(state.sequence() + 1, READ_ENTRIES_MAX).await?;
        }
    }

    /// Reads what others committed, and sees to it that the log ends where it seems to: that no entry is lost before
    /// later ones.
    pub(crate) async fn refresh_whole(&self) -> Result<Arc<Snapshot>> {
        let state = self.refresh().await?;
        let Some(highest) = self.inner.log.highest(state.sequence()).await? else { return Ok(state) };
        // Others may have committed meanwhile; all entries up to that one were there when it was seen.
        let state = self.refresh().await?;
        if state.sequence() >= highest {
            return Ok(state);
        }
        Err(hole(state.sequence() + 1, highest))
    }

    /// The commits from a place in the log on, `count_max` at most: who changed what, when and why.
    ///
    /// Each is checked against its neighbours and against the state in use. A log that was forged from some entry
    /// to its end is found by a process that read it before, by [`doctor`](crate::doctor), and by whoever noted
    /// [`Snapshot::head`] elsewhere.
    ///
    /// # Errors
    /// `Data` if the log is damaged or was altered, `Unavailable` if the storage is out of reach.
    pub async fn history(&self, from: u64, count_max: usize) -> Result<Vec<Commit>> {
        Ok(self.chain(from, count_max).await?.into_iter().map(|(commit, _)| commit).collect())
    }

    /// The commits from a place on with their digests, checked as a chain.
    pub(crate) async fn chain(&self, from: u64, count_max: usize) -> Result<Vec<(Commit, Digest)>> {
        let from = from.max(1);
        let state = self.snapshot();
        // One more, which proves the last one.
        let entries = self.inner.log.read(from, count_max.saturating_add(1)).await?;
        let mut commits: Vec<(Commit, Digest)> = Vec::with_capacity(entries.len());
        for (entry, sequence) in entries.iter().zip(from..) {
            let (commit, digest) = Commit::decode(sequence, entry)?;
            let before = match commits.last() {
                Some((_, digest)) => Some(*digest),
                None if sequence == 1 => Some(Snapshot::default().head()),
                None => None,
            };
            let follows = before.is_none_or(|before| before == commit.previous)
                && (sequence != state.sequence() || digest == state.head())
                && (sequence != state.sequence() + 1 || commit.previous == state.head());
            if !follows {
                return Err(Error::data(format!(
                    "log entry {sequence} is not what its neighbours or this process know: the log was tampered with; \
                     restore it from a backup"
                )));
            }
            commits.push((commit, digest));
        }
        let next = from.saturating_add(commits.len() as u64);
        if commits.len() <= count_max && next <= state.sequence() {
            return Err(Error::data(format!(
                "log entry {next} is gone, which this process read: restore the log from a backup"
            )));
        }
        commits.truncate(count_max);
        Ok(commits)
    }

    /// The log that it stands on.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub(crate) fn fresh(&self, state: &Snapshot) -> Result<UploadId> {
        self.inner.ids.fresh(self.inner.clock.now(), state.watermark())
    }

    /// Publishes a state unless a later one is there; gives the later of the two.
    pub(crate) fn publish(&self, state: Snapshot) -> Arc<Snapshot> {
        let state = Arc::new(state);
        let seen = self
            .inner
            .snapshot
            .rcu(|seen| if seen.sequence() < state.sequence() { state.clone() } else { seen.clone() });
        telemetry::known(&self.inner, || self.state().sequence());
        if seen.sequence() < state.sequence() { state } else { seen }
    }

    /// The state after an entry of the log, which is read anew from a checkpoint on.
    pub(crate) async fn state_at(&self, sequence: u64) -> Result<Snapshot> {
        let mut state = self.checkpoint(sequence.saturating_add(1)).await?.unwrap_or_default();
        while state.sequence() < sequence {
            let next = state.sequence() + 1;
            let wanted = usize::try_from(sequence - state.sequence()).unwrap_or(READ_ENTRIES_MAX);
            let entries = self.inner.log.read(next, wanted.min(READ_ENTRIES_MAX)).await?;
            if entries.is_empty() {
                return Err(hole(next, sequence));
            }
            for entry in &entries {
                let (commit, digest) = Commit::decode(state.sequence() + 1, entry)?;
                state.apply(&commit, digest)?;
            }
        }
        Ok(state)
    }

    /// The newest checkpoint before a number whose digest the log states in the entry after it.
    ///
    /// One that was forged, or is of another log from before a backup was restored, has another digest.
    pub(crate) async fn checkpoint(&self, mut before: u64) -> Result<Option<Snapshot>> {
        while let Some((sequence, bytes)) = self.inner.log.checkpoint(before).await? {
            before = sequence;
            let Some((state, sha256)) = checkpoint::decode(sequence, &bytes) else { continue };
            let Some(next) = sequence.checked_add(1) else { continue };
            let Some(entry) = self.inner.log.read(next, 1).await?.pop() else { continue };
            // What is wrong with an entry is told when the log is read.
            if let Ok((commit, _)) = Commit::decode(next, &entry)
                && (commit.checkpoint, commit.previous) == (Some(sha256), state.head())
            {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { location, log, .. } = &*self.inner;
        let sequence = self.state().sequence();
        f.debug_struct("Registry")
            .field("location", location)
            .field("log", log)
            .field("sequence", &sequence)
            .finish()
    }
}

#[cold]
fn hole(sequence: u64, later: u64) -> Error {
    Error::data(format!(
        "log entry {sequence} is gone, though entry {later} exists: restore it from a backup of the registry, and commit \
         and sweep nothing before"
    ))
}

const READ_ENTRIES_MAX: usize = 256;
