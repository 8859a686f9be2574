//! A feed of commits that can be taken up again where it was left.

use mlops_core::{Digest, Error, Event, EventKind, Result, Severity};

use crate::{Change, Commit, Registry};

/// A reader of the log that remembers its place.
///
/// Nothing is lost and nothing is delivered out of order, since the log itself is the queue: keep
/// [`position`](Self::position) where the work is recorded, and go on there after a crash.
///
/// ```
/// use mlops_registry::{Draft, NewVersion, blocking::Registry};
///
/// let registry = Registry::open("memory:")?;
/// let mut watch = registry.watch(0);
/// registry.commit(Draft::new("ann", "first").register(NewVersion::new("shop").file("model.bin", "weights")))?;
/// let commits = registry.poll(&mut watch)?;
/// assert_eq!(commits[0].events()[0].to_string(), "info registry shop/1: register shop/1, actor=ann, reason=first");
/// assert_eq!(watch.position(), 1);
/// assert!(registry.poll(&mut watch)?.is_empty());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    registry: Registry,
    position: u64,
    /// The digest of the last commit that was delivered.
    last: Option<Digest>,
}

impl Registry {
    /// A feed of the commits after a place in the log; 0 is its start.
    pub fn watch(&self, after: u64) -> Watch {
        Watch { registry: self.clone(), position: after, last: None }
    }
}

impl Watch {
    /// The last commit that was delivered.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The commits since, some hundreds at most; none if there are none. How often to ask is up to the caller.
    ///
    /// # Errors
    /// `Data` if the log is damaged, or ends before the place of this watch: it was cut off or restored from a
    /// backup. `Unavailable` if the storage is out of reach. The place is kept.
    pub async fn poll(&mut self) -> Result<Vec<Commit>> {
        // The last one that was delivered is read again: what comes has to follow on it.
        let known = usize::from(self.position > 0);
        let from = self.position - known as u64 + 1;
        let mut commits = self.registry.chain(from, COMMITS_MAX + known).await?;
        if known > 0 {
            let last = commits.first().map(|(_, digest)| *digest);
            if last.is_none() || self.last.is_some_and(|known| Some(known) != last) {
                return Err(Error::data(format!(
                    "the log does not hold the entry {} that this watch goes on after: it was cut off, altered or \
                     restored from a backup; look at it with its doctor, and watch from an earlier place",
                    self.position
                )));
            }
            self.last = last;
        }
        let mut new = Vec::with_capacity(commits.len());
        for (commit, digest) in commits.drain(..).skip(known) {
            self.position = commit.sequence;
            self.last = Some(digest);
            new.push(commit);
        }
        Ok(new)
    }
}

impl Commit {
    /// What it changed, as events: one for each change.
    pub fn events(&self) -> Vec<Event> {
        let event = |change: &Change| {
            let subject = match change {
                Change::Register(record) => record.id.to_string(),
                Change::MoveAlias { model, alias, .. } => format!("{model}@{alias}"),
                Change::Review { model, version, .. }
                | Change::Tag { model, version, .. }
                | Change::Describe { model, version, .. }
                | Change::Measure { model, version, .. }
                | Change::MoveStage { model, version, .. }
                | Change::Delete { model, version }
                | Change::Restore { model, version }
                | Change::Purge { model, version } => format!("{model}/{version}"),
                Change::DescribeModel { model, .. }
                | Change::SetPolicy { model, .. }
                | Change::DeleteModel { model }
                | Change::RestoreModel { model }
                | Change::RenameModel { model, .. } => model.clone(),
                Change::Watermark { .. } => "uploads".to_owned(),
            };
            Event::new(self.time, Severity::Info, EventKind::Registry, subject)
                .message(change.to_string())
                .detail("actor", &self.actor)
                .detail("reason", &self.reason)
        };
        self.changes.iter().map(event).collect()
    }
}

const COMMITS_MAX: usize = 256;
