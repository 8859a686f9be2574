//! Aliases that go back to where they pointed, and those that cannot.

use std::fmt;

use mlops_core::{Digest, Error, ModelRef, ModelVersion, Result, Selector};

use crate::draft::Step;
use crate::prepare::Prepared;
use crate::registry::Registry;
use crate::state::At;
use crate::{Change, Commit, Draft, Snapshot};

/// An alias that a roll-back of many left where it was, since what it pointed at then cannot serve any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// The alias.
    pub alias: ModelRef,
    /// What it pointed at then.
    pub version: ModelVersion,
    /// Why it cannot point there again.
    pub why: String,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stays where it is: {}", self.alias, self.why)
    }
}

impl Snapshot {
    /// The moves that a step of a draft means which rolls back, one alias, those of a model, or all, and what it leaves
    /// behind.
    ///
    /// One alias has to go where it was. Of many those stay that cannot, as things are `after` the steps before.
    pub(crate) fn roll_back(
        &self,
        after: &Self,
        model: Option<&str>,
        alias: Option<&str>,
        at: At,
    ) -> Result<(Vec<Change>, Vec<LeftBehind>)> {
        if let (Some(model), Some(alias)) = (model, alias) {
            // `NotFound` if it never existed.
            self.served_at(model, alias, at)?;
        }
        let mut left = Vec::new();
        let mut moves = Vec::new();
        for change in self.moves_back(model, at)? {
            let Change::MoveAlias { model, alias: of, to, .. } = &change else { continue };
            match (alias, to) {
                (Some(alias), _) if alias != of => continue,
                (None, Some(to)) => {
                    if let Some(found) = after.left_behind(model, of, *to) {
                        left.push(found);
                        continue;
                    }
                }
                _ => {}
            }
            moves.push(change);
        }
        match (moves.is_empty(), left.first()) {
            (false, _) => Ok((moves, left)),
            (true, None) => {
                Err(Error::invalid("there is nothing to roll back: every alias points where it pointed then"))
            }
            (true, Some(first)) => {
                let more = left.len() - 1;
                let more = if more == 0 { String::new() } else { format!("; {more} more cannot either") };
                Err(Error::conflict(format!("no alias can be rolled back: {first}{more}")))
            }
        }
    }

    /// What is left behind still in this state, which the commit of the roll-backs made: its last entry.
    pub(crate) fn still_left(&self, left: Vec<LeftBehind>) -> Vec<LeftBehind> {
        let still = |LeftBehind { alias, version, .. }: LeftBehind| {
            let Selector::Alias(alias) = &alias.selector else { return None };
            let model = self.model(&version.name).ok().filter(|model| model.deleted.is_none())?;
            let last = model.aliases.get(alias)?.moves.last()?;
            if last.by.sequence == self.sequence() {
                return None;
            }
            let found = self.left_behind(&model.name, alias, version.version);
            Some(found.unwrap_or_else(|| {
                let version = ModelVersion::new(&model.name, version.version);
                let why = format!(
                    "{version} could not serve when the aliases were rolled back, though it can after the commit; point \
                     the alias at it if that is wanted"
                );
                LeftBehind { why, version, alias: alias_of(&model.name, alias) }
            }))
        };
        left.into_iter().filter_map(still).collect()
    }

    fn left_behind(&self, model: &str, alias: &str, version: u64) -> Option<LeftBehind> {
        let why = self.servable(model, alias, version).err()?;
        let version = ModelVersion::new(model, version);
        Some(LeftBehind { alias: alias_of(model, alias), version, why: why.to_string() })
    }
}

impl Registry {
    /// What the roll-backs of a draft left behind when it was committed, whatever came after it: told from the state
    /// that it met, as then.
    pub(crate) async fn left_by(
        &self,
        draft: &Draft,
        prepared: &Prepared,
        commit: &Commit,
        digest: Digest,
    ) -> Result<Vec<LeftBehind>> {
        if !draft.steps.iter().any(|step| matches!(step, Step::RollBack { alias: None, .. })) {
            return Ok(Vec::new());
        }
        let mut state = self.state_at(commit.sequence - 1).await?;
        // Earlier builds left nothing behind, and committed some drafts that are refused now.
        let left = self.changes(draft, prepared, &state, None).await.map_or(Vec::new(), |(_, left)| left);
        state.apply(commit, digest)?;
        Ok(state.still_left(left))
    }
}

fn alias_of(model: &str, alias: &str) -> ModelRef {
    ModelRef { name: model.to_owned(), selector: Selector::Alias(alias.to_owned()) }
}
