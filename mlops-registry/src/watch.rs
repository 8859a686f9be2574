//! A feed of commits that can be taken up again where it was left.

use mlops_core::{Event, EventKind, Result, Severity};

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
}

impl Registry {
    /// A feed of the commits after a place in the log; 0 is its start.
    pub fn watch(&self, after: u64) -> Watch {
        Watch { registry: self.clone(), position: after }
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
    /// `Data` if the log is damaged, `Unavailable` if the storage is out of reach. The place is kept.
    pub async fn poll(&mut self) -> Result<Vec<Commit>> {
        let commits = self.registry.history(self.position + 1, COMMITS_MAX).await?;
        self.position += commits.len() as u64;
        Ok(commits)
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
                | Change::Measure { model, version, .. }
                | Change::MoveStage { model, version, .. }
                | Change::Delete { model, version }
                | Change::Restore { model, version }
                | Change::Purge { model, version } => format!("{model}/{version}"),
                Change::DescribeModel { model, .. } | Change::SetPolicy { model, .. } => model.clone(),
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
