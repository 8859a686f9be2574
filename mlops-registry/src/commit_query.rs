//! Finding commits: who changed what, when and why.

use std::ops::{Bound, RangeBounds};

use mlops_core::{Error, ModelVersion, Result, Timestamp};

use crate::{Change, Commit, Registry, Snapshot};

/// A question for commits, newest first: all that is asked for has to hold; what is asked of a change, for one and the
/// same change of the commit.
///
/// ```
/// use mlops_registry::{CommitQuery, Draft, NewVersion, Policy, blocking::Registry};
///
/// let registry = Registry::open("memory:")?;
/// registry.commit(Draft::new("lead", "house rules").policy("shop", Policy::default().four_eyes()))?;
/// registry.commit(Draft::new("trainer", "nightly").register(NewVersion::new("shop").file("model.bin", "weights")))?;
/// // Who set the rules that are in force?
/// let query = CommitQuery::new().model("shop").kind("set_policy").limit(1);
/// let found = registry.find_commits(&query)?;
/// assert_eq!((found[0].actor.as_str(), found[0].reason.as_str()), ("lead", "house rules"));
/// assert!(registry.find_commits(&CommitQuery::new().actor("eve"))?.is_empty());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CommitQuery {
    model: Option<String>,
    version: Option<u64>,
    alias: Option<String>,
    kind: Option<String>,
    actor: Option<String>,
    time: Option<(Bound<Timestamp>, Bound<Timestamp>)>,
    before: Option<u64>,
    limit: Option<usize>,
}

impl CommitQuery {
    /// All commits.
    pub fn new() -> Self {
        Self::default()
    }

    /// That change this model, by any name that it has or had.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// That change this version, or point an alias at it.
    #[must_use]
    pub fn version(mut self, id: &ModelVersion) -> Self {
        self.version = Some(id.version);
        self.model(&id.name)
    }

    /// That move this alias.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// With a change of this [kind](Change::kind): `register`, `move_alias`, `set_policy`, ...
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Made by this actor.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Made in this span of time, as the clocks of the writers had it.
    #[must_use]
    pub fn time(mut self, range: impl RangeBounds<Timestamp>) -> Self {
        self.time = Some((range.start_bound().cloned(), range.end_bound().cloned()));
        self
    }

    /// Before this place in the log: to go on after the last one that was found.
    #[must_use]
    pub fn before(mut self, sequence: u64) -> Self {
        self.before = Some(sequence);
        self
    }

    /// So many at most, the newest; all, if it is not set. [`before`](Self::before) goes on where they end.
    ///
    /// ```
    /// use mlops_registry::{CommitQuery, Draft, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// for text in ["1", "2", "3", "4", "5"] {
    ///     registry.commit(Draft::new("ann", text).describe_model("shop", text, [("", ""); 0]))?;
    /// }
    /// let mut query = CommitQuery::new().limit(2);
    /// let mut found = Vec::new();
    /// loop {
    ///     let page = registry.find_commits(&query)?;
    ///     let Some(last) = page.last() else { break };
    ///     query = query.before(last.sequence);
    ///     found.extend(page.into_iter().map(|commit| commit.reason));
    /// }
    /// assert_eq!(found, ["5", "4", "3", "2", "1"]);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn limit(mut self, count_max: usize) -> Self {
        self.limit = Some(count_max);
        self
    }

    fn wants(&self, commit: &Commit, state: &Snapshot) -> bool {
        self.actor.as_ref().is_none_or(|actor| *actor == commit.actor)
            && self.time.is_none_or(|range| range.contains(&commit.time))
            && commit.changes.iter().any(|change| self.wants_change(change, state))
    }

    fn wants_change(&self, change: &Change, state: &Snapshot) -> bool {
        let alias = if let Change::MoveAlias { alias, .. } = change { Some(alias) } else { None };
        // In the log a model has the name that it had then.
        let first = |name| state.first_name(name);
        self.kind.as_ref().is_none_or(|kind| kind == change.kind())
            && self.model.as_deref().is_none_or(|model| change.model().map(first) == Some(first(model)))
            && (self.version.is_none() || self.version == change.version())
            && (self.alias.is_none() || self.alias.as_ref() == alias)
    }
}

impl Registry {
    /// The commits that a query asks for, the newest first.
    ///
    /// It reads the log from its end back, until it has as many as are wanted: to the commit that made the model that is
    /// asked for, else to the first. Each page of 256 entries is one round of requests. Without a
    /// [`limit`](CommitQuery::limit) it holds all that it finds, as [`Snapshot::search`] does: set one for a log that may
    /// be long, and go on by [`before`](CommitQuery::before).
    ///
    /// # Errors
    /// `Invalid` if there is no such kind of change, `NotFound` if there is no such model, `Data` if the log is damaged,
    /// `Unavailable` if the storage is out of reach.
    pub async fn find_commits(&self, query: &CommitQuery) -> Result<Vec<Commit>> {
        if let Some(kind) = query.kind.as_deref().filter(|kind| !Change::KINDS.contains(kind)) {
            return Err(Error::invalid(format!(
                "there is no kind of change `{}`: want one of {}",
                kind.escape_debug(),
                Change::KINDS.join(", ")
            )));
        }
        let state = self.refresh().await?;
        let first = match &query.model {
            Some(name) => state.model(name)?.created.sequence,
            None => 1,
        };
        let limit = query.limit.unwrap_or(usize::MAX);
        // The place after the next page.
        let mut end = query.before.unwrap_or(u64::MAX).min(state.sequence() + 1);
        let mut found = Vec::new();
        while end > first && found.len() < limit {
            let from = end.saturating_sub(PAGE).max(first);
            let page = self.history(from, usize::try_from(end - from).unwrap_or(usize::MAX)).await?;
            let wanted = page.into_iter().rev().filter(|commit| query.wants(commit, &state));
            found.extend(wanted.take(limit - found.len()));
            end = from;
        }
        Ok(found)
    }
}

const PAGE: u64 = 256;
