//! A registry as plain lists keep it, one call at a time: what the real one is held against.

use std::collections::{BTreeMap, BTreeSet};

use mlops_core::ModelVersion;
use rand::{Rng, RngExt as _};

use crate::{Draft, Expect, NewVersion, Snapshot};

/// The models of histories by their present names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plain(BTreeMap<String, Model>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// All that it ever had.
    names: BTreeSet<String>,
    deleted: bool,
    /// Whether each is deleted, and its tag.
    versions: Vec<(bool, Option<String>)>,
    champion: Option<u64>,
}

/// What a writer asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Register { model: String },
    Move { model: String, expect: Option<u64>, to: Option<u64> },
    Tag { model: String, version: u64, value: String },
    Delete { model: String, version: u64 },
    Restore { model: String, version: u64 },
    DeleteModel { model: String },
    RestoreModel { model: String },
    RenameModel { model: String, to: String },
}

impl Action {
    /// Mostly one that the state allows.
    pub(super) fn random(state: &Plain, rng: &mut impl Rng) -> Self {
        // Few models, so that writers meet, and names enough to rename them.
        let [model, to] = [MODELS, NAMES].map(|count| format!("{PREFIX}{}", rng.random_range(0..count)));
        let present = state.0.keys().nth(rng.random_range(0..MODELS));
        let model = present.filter(|_| rng.random_bool(0.8)).cloned().unwrap_or(model);
        let known = state.known(&model).map(|(_, model)| model);
        let champion = known.and_then(|known| known.champion);
        let version = rng.random_range(1..=known.map_or(1, |known| known.versions.len() as u64 + 1).min(6));
        match rng.random_range(0..20) {
            0..4 => Self::Register { model },
            4..8 => Self::Move { model, expect: champion, to: Some(version) },
            8..11 => Self::Move { model, expect: champion, to: None },
            11..13 => Self::Tag { model, version, value: version.to_string() },
            13..15 => Self::Delete { model, version },
            15 => Self::Restore { model, version },
            16 => Self::DeleteModel { model },
            17 => Self::RestoreModel { model },
            _ => Self::RenameModel { model, to },
        }
    }

    pub(super) fn draft(&self, content: &str) -> Draft {
        let draft = Draft::new("suite", "history");
        match self.clone() {
            Self::Register { model } => draft.register(NewVersion::new(model).file("m", content.to_owned())),
            Self::Move { model, expect, to: Some(to) } => {
                draft.alias("champion", &ModelVersion::new(model, to), Expect::from(expect))
            }
            Self::Move { model, expect, to: None } => {
                draft.remove_alias(model, "champion", Expect::from(expect))
            }
            Self::Tag { model, version, value } => {
                draft.tag(&ModelVersion::new(model, version), "tag", value)
            }
            Self::Delete { model, version } => draft.delete(&ModelVersion::new(model, version)),
            Self::Restore { model, version } => draft.restore(&ModelVersion::new(model, version)),
            Self::DeleteModel { model } => draft.delete_model(model),
            Self::RestoreModel { model } => draft.restore_model(model),
            Self::RenameModel { model, to } => draft.rename_model(model, to),
        }
    }

    fn model(&self) -> &str {
        match self {
            Self::Register { model }
            | Self::Move { model, .. }
            | Self::Tag { model, .. }
            | Self::Delete { model, .. }
            | Self::Restore { model, .. }
            | Self::DeleteModel { model }
            | Self::RestoreModel { model }
            | Self::RenameModel { model, .. } => model,
        }
    }
}

impl Plain {
    /// The models of histories in a real state.
    pub(super) fn of(state: &Snapshot) -> Self {
        let of = |model: &crate::Model| {
            let former = model.former.iter().map(|former| former.name.clone());
            let version = |version: &std::sync::Arc<crate::Version>| {
                (version.deleted.is_some(), version.tags.get("tag").cloned())
            };
            let plain = Model {
                names: former.chain([model.name.clone()]).collect(),
                deleted: model.deleted.is_some(),
                versions: model.versions.iter().map(version).collect(),
                champion: model.aliases.get("champion").and_then(|alias| alias.version),
            };
            (model.name.clone(), plain)
        };
        Self(state.models().filter(|model| model.name.starts_with(PREFIX)).map(of).collect())
    }

    fn known(&self, name: &str) -> Option<(&String, &Model)> {
        self.0.iter().find(|(_, model)| model.names.contains(name))
    }

    /// Does it, and gives the version that it registers; `None` if it is refused, and then the state is of no use.
    pub(super) fn apply(&mut self, action: &Action) -> Option<Option<ModelVersion>> {
        let known = self.known(action.model()).map(|(name, _)| name.clone());
        if let Action::Register { model } = action {
            let name = known.unwrap_or_else(|| model.clone());
            let found = self.0.entry(name.clone()).or_default();
            found.names.insert(name.clone());
            found.versions.push((false, None));
            return (!found.deleted).then(|| Some(ModelVersion::new(name, found.versions.len() as u64)));
        }
        let name = known?;
        if let Action::RenameModel { model, to } = action {
            // Whoever renames it knows its present name, and no other has or had the new one.
            let free = self.known(to).is_none_or(|(taken, _)| *taken == name);
            let mut renamed = self.0.remove(&name)?;
            renamed.names.insert(to.clone());
            let allowed = *model == name && *to != name && free && !renamed.deleted;
            self.0.insert(to.clone(), renamed);
            return allowed.then_some(None);
        }
        let model = self.0.get_mut(&name)?;
        let restores = matches!(action, Action::RestoreModel { .. });
        if model.deleted != restores {
            return None;
        }
        let place = |version: u64| usize::try_from(version).ok()?.checked_sub(1);
        match action {
            Action::Register { .. } | Action::RenameModel { .. } => return None,
            Action::Move { expect, to, .. } => {
                let alive = |to: &u64| place(*to).and_then(|place| model.versions.get(place));
                let exists = to.as_ref().is_none_or(|to| alive(to).is_some_and(|(deleted, _)| !deleted));
                if model.champion != *expect || !exists || (to.is_none() && expect.is_none()) {
                    return None;
                }
                model.champion = *to;
            }
            Action::Tag { version, value, .. } => {
                let version = model.versions.get_mut(place(*version)?).filter(|(deleted, _)| !deleted)?;
                version.1 = Some(value.clone());
            }
            Action::Delete { version, .. } => {
                let points = model.champion == Some(*version);
                let version = model.versions.get_mut(place(*version)?);
                version.filter(|(deleted, _)| !deleted && !points)?.0 = true;
            }
            Action::Restore { version, .. } => {
                model.versions.get_mut(place(*version)?).filter(|(deleted, _)| *deleted)?.0 = false;
            }
            Action::DeleteModel { .. } if model.champion.is_some() => return None,
            Action::DeleteModel { .. } => model.deleted = true,
            Action::RestoreModel { .. } => model.deleted = false,
        }
        Some(None)
    }
}

const PREFIX: &str = "history-";
const MODELS: usize = 3;
const NAMES: usize = 16;
