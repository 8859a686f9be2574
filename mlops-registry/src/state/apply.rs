//! `apply`: the next state, from a state and a commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlops_core::{Digest, Error, Result};

use super::{Alias, BlobUse, FormerName, Model, Move, Operation, Review, Snapshot, Stamp, Version};
use crate::{Approval, Change, Commit, VersionRecord};

impl Snapshot {
    /// Takes in the next commit of the log, whose entry has this digest.
    ///
    /// Whether a commit is allowed was decided when it was written; here only what would contradict the state
    /// is refused, since only a damaged or forged log holds it. On an error the state is not usable further.
    ///
    /// # Errors
    /// `Data` if the commit does not follow on this state.
    pub fn apply(&mut self, commit: &Commit, digest: Digest) -> Result<()> {
        let at = commit.sequence;
        if at != self.sequence + 1 || commit.previous != self.head {
            return Err(broken(at, "it does not follow on the entry before it: the log was tampered with"));
        }
        self.time = self.time.max(commit.time);
        let stamp = self.stamp(commit);
        for change in &commit.changes {
            self.apply_change(change, &stamp)?;
        }
        self.finish(commit, digest)
    }

    /// Notes that a commit is in the log, after its changes.
    pub(crate) fn finish(&mut self, commit: &Commit, digest: Digest) -> Result<()> {
        let at = commit.sequence;
        let operation = Operation { sequence: at, request: commit.request };
        if self.operations.insert(Digest::of(&commit.operation), operation).is_some() {
            return Err(broken(at, "its operation was committed before"));
        }
        self.sequence = at;
        self.head = digest;
        Ok(())
    }

    pub(super) fn stamp(&self, commit: &Commit) -> Arc<Stamp> {
        Arc::new(Stamp {
            sequence: commit.sequence,
            time: self.time,
            actor: commit.actor.clone(),
            reason: commit.reason.clone(),
        })
    }

    /// One change of a commit.
    pub(super) fn apply_change(&mut self, change: &Change, by: &Arc<Stamp>) -> Result<()> {
        match change {
            Change::DescribeModel { model, description, tags } => {
                let model = self.model_or_new(model, by)?;
                model.description.clone_from(description);
                model.tags.clone_from(tags);
            }
            Change::Register(record) => self.apply_register(record, by)?,
            Change::Review { model, version, verdict } => {
                let policy = self.model_mut(model, by)?.policy.clone();
                let version = self.version_mut(model, *version, by)?;
                version.reviews.retain(|review| review.by.actor != by.actor);
                if *verdict != Approval::Pending {
                    version.reviews.push(Review { verdict: *verdict, by: by.clone() });
                }
                version.approval = policy.approval(version);
            }
            Change::SetPolicy { model, policy } => {
                let model = self.model_or_new(model, by)?;
                model.policy = policy.clone();
                for version in &mut model.versions {
                    let approval = policy.approval(version);
                    if approval != version.approval {
                        Arc::make_mut(version).approval = approval;
                    }
                }
            }
            Change::Describe { model, version, description } => {
                self.version_mut(model, *version, by)?.description.clone_from(description);
            }
            Change::Measure { model, version, metrics } => {
                let measured = metrics.iter().map(|(name, value)| (name.clone(), *value));
                self.version_mut(model, *version, by)?.metrics.extend(measured);
            }
            Change::MoveStage { model, version, to, .. } => {
                self.version_mut(model, *version, by)?.stage = Some(to.clone());
            }
            Change::MoveAlias { model, alias, to, .. } => {
                if let Some(to) = to {
                    self.version_mut(model, *to, by)?;
                }
                let alias: &mut Alias = self.model_mut(model, by)?.aliases.entry(alias.clone()).or_default();
                alias.version = *to;
                alias.moves.push(Move { to: *to, by: by.clone() });
            }
            Change::Tag { model, version, key, value } => {
                let tags = &mut self.version_mut(model, *version, by)?.tags;
                match value {
                    Some(value) => tags.insert(key.clone(), value.clone()),
                    None => tags.remove(key),
                };
            }
            Change::Delete { model, version } => {
                self.version_mut(model, *version, by)?.deleted = Some(by.clone());
            }
            Change::Restore { model, version } => self.version_mut(model, *version, by)?.deleted = None,
            Change::Purge { model, version } => {
                let version = self.version_mut(model, *version, by)?;
                if version.purged.replace(by.clone()).is_some() {
                    return Err(broken(by.sequence, "it purges a version twice"));
                }
                // If it was its model that was deleted, it does not come back with it.
                version.deleted.get_or_insert_with(|| by.clone());
                let files: Vec<_> = version.record.files.values().map(|file| file.sha256).collect();
                for sha256 in files {
                    match self.blobs.get(&sha256) {
                        Some(&BlobUse { upload, files }) if files > 1 => {
                            self.blobs.insert(sha256, BlobUse { upload, files: files - 1 });
                        }
                        _ => self.blobs.remove(&sha256),
                    }
                }
            }
            Change::DeleteModel { model } => self.model_mut(model, by)?.deleted = Some(by.clone()),
            Change::RestoreModel { model } => self.model_mut(model, by)?.deleted = None,
            Change::RenameModel { model, to } => self.apply_rename(model, to, by)?,
            Change::Watermark { upload } => self.watermark = self.watermark.max(*upload),
        }
        Ok(())
    }

    fn apply_register(&mut self, record: &Arc<VersionRecord>, by: &Arc<Stamp>) -> Result<()> {
        for file in record.files.values() {
            let known = self.blobs.get(&file.sha256).copied();
            let known = known.unwrap_or(BlobUse { upload: file.upload, files: 0 });
            if known.upload != file.upload {
                return Err(broken(
                    by.sequence,
                    "it refers to a blob by another upload than the versions before it",
                ));
            }
            self.blobs.insert(file.sha256, BlobUse { files: known.files + 1, ..known });
        }
        let model = self.model_or_new(&record.id.name, by)?;
        if record.id.version != model.versions.len() as u64 + 1 {
            return Err(broken(by.sequence, &format!("{} is not the next version", record.id)));
        }
        model.versions.push(Arc::new(Version {
            record: record.clone(),
            registered: by.clone(),
            description: record.description.clone(),
            tags: record.tags.clone(),
            metrics: record.metrics.clone(),
            stage: model.policy.stages.as_ref().map(|stages| stages.first.clone()),
            reviews: Vec::new(),
            approval: Approval::Pending,
            deleted: None,
            purged: None,
        }));
        Ok(())
    }

    /// Gives a model another name, everywhere in the state.
    fn apply_rename(&mut self, from: &str, to: &str, by: &Arc<Stamp>) -> Result<()> {
        let taken = self.models.contains_key(to) || self.former.get(to).is_some_and(|now| &**now != from);
        let Some(mut renamed) = self.models.remove(from).filter(|_| !taken) else {
            return Err(broken(by.sequence, &format!("model `{}` cannot be renamed", from.escape_debug())));
        };
        let model = Arc::make_mut(&mut renamed);
        model.former.retain(|former| former.name != to);
        let name = std::mem::replace(&mut model.name, to.to_owned());
        model.former.push(FormerName { name, until: by.clone() });
        for version in &mut model.versions {
            let record = &mut Arc::make_mut(version).record;
            to.clone_into(&mut Arc::make_mut(record).id.name);
        }
        self.models.insert(to.into(), renamed);
        for model in self.models.values_mut() {
            let refers = |version: &Arc<Version>| version.record.made_from().any(|id| id.name == from);
            if !model.versions.iter().any(refers) {
                continue;
            }
            for version in Arc::make_mut(model).versions.iter_mut().filter(|version| refers(version)) {
                let record = Arc::make_mut(&mut Arc::make_mut(version).record);
                let named = record.made_from_mut().filter(|id| id.name == from);
                named.for_each(|id| to.clone_into(&mut id.name));
            }
        }
        self.former = former(&self.models);
        Ok(())
    }

    fn model_or_new(&mut self, name: &str, by: &Arc<Stamp>) -> Result<&mut Model> {
        if self.former.contains_key(name) {
            return Err(broken(by.sequence, &format!("`{}` names another model", name.escape_debug())));
        }
        let model = self.models.entry(name.into()).or_insert_with(|| {
            Arc::new(Model {
                name: name.to_owned(),
                former: Vec::new(),
                first_name: name.to_owned(),
                deleted: None,
                description: String::new(),
                tags: Default::default(),
                policy: Default::default(),
                created: by.clone(),
                versions: Vec::new(),
                aliases: Default::default(),
            })
        });
        Ok(Arc::make_mut(model))
    }

    fn model_mut(&mut self, name: &str, by: &Arc<Stamp>) -> Result<&mut Model> {
        match self.models.get_mut(name) {
            Some(model) => Ok(Arc::make_mut(model)),
            None => Err(broken(by.sequence, &format!("there is no model `{}`", name.escape_debug()))),
        }
    }

    fn version_mut(&mut self, name: &str, version: u64, by: &Arc<Stamp>) -> Result<&mut Version> {
        let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
        match index.and_then(|index| self.models.get_mut(name).map(|model| (model, index))) {
            Some((model, index)) if index < model.versions.len() => {
                Ok(Arc::make_mut(&mut Arc::make_mut(model).versions[index]))
            }
            _ => Err(broken(
                by.sequence,
                &format!("there is no version {version} of `{}`", name.escape_debug()),
            )),
        }
    }
}

/// The names that models had before and have no more, with the names that they have now.
pub(super) fn former(models: &BTreeMap<Arc<str>, Arc<Model>>) -> BTreeMap<Arc<str>, Arc<str>> {
    let of = |(name, model): (&Arc<str>, &Arc<Model>)| -> Vec<_> {
        let former = model.former.iter().filter(|former| !models.contains_key(former.name.as_str()));
        former.map(|former| (former.name.as_str().into(), name.clone())).collect()
    };
    models.iter().flat_map(of).collect()
}

fn broken(sequence: u64, why: &str) -> Error {
    Error::data(format!("log entry {sequence} contradicts the log: {why}; restore the log from a backup"))
}
