//! Aliases that go back to where they pointed, and those that cannot.

use std::fmt;

use mlops_core::{Error, ModelRef, ModelVersion, Result, Selector};

use crate::draft::Step;
use crate::state::At;
use crate::{Change, Draft, Snapshot};

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
    /// The moves that a step of a draft means which rolls back: one alias, those of a model, or all.
    ///
    /// One alias has to go where it was. Of many those stay that cannot, as things are `after` the steps before.
    pub(crate) fn roll_back(
        &self,
        after: &Self,
        model: Option<&str>,
        alias: Option<&str>,
        at: At,
    ) -> Result<Vec<Change>> {
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
            (false, _) => Ok(moves),
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

    /// The aliases that the roll-backs of a draft left where they were in the commit at this place, and that nothing
    /// else in it moved.
    pub(crate) fn left_by(&self, draft: &Draft, sequence: u64) -> Vec<LeftBehind> {
        let mut left = Vec::new();
        for step in &draft.steps {
            let Step::RollBack { model, alias: None, at } = step else { continue };
            let wanted = |name: &str| {
                model.as_ref().is_none_or(|model| self.first_name(model) == self.first_name(name))
            };
            for model in self.models().filter(|model| model.deleted.is_none() && wanted(&model.name)) {
                for (name, alias) in &model.aliases {
                    let (then, now) = (alias.version_at(*at), alias.version_at(At::Sequence(sequence)));
                    let moved_here = alias.moves.iter().any(|step| step.by.sequence == sequence);
                    if let Some(then) = then.filter(|_| then != now && !moved_here) {
                        // Only what could not go back was not moved, whatever became of it since.
                        left.push(self.left_behind(&model.name, name, then).unwrap_or_else(|| {
                            let version = ModelVersion::new(&model.name, then);
                            let why = format!(
                                "{version} could not serve when the aliases were rolled back, though it can by now; point \
                                 the alias at it if that is wanted"
                            );
                            LeftBehind { why, version, alias: alias_of(&model.name, name) }
                        }));
                    }
                }
            }
        }
        left
    }

    fn left_behind(&self, model: &str, alias: &str, version: u64) -> Option<LeftBehind> {
        let why = self.servable(model, alias, version).err()?;
        let version = ModelVersion::new(model, version);
        Some(LeftBehind { alias: alias_of(model, alias), version, why: why.to_string() })
    }
}

fn alias_of(model: &str, alias: &str) -> ModelRef {
    ModelRef { name: model.to_owned(), selector: Selector::Alias(alias.to_owned()) }
}
