//! A state as a checkpoint holds it: what can be told from the rest is left out.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use mlops_core::{Digest, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Alias, BlobUse, DigestMap, FormerName, Model, Move, Operation, Review, Snapshot, Stamp, Version,
};
use crate::{Approval, Policy, UploadId, VersionRecord};

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    sequence: u64,
    head: Digest,
    time: Timestamp,
    watermark: UploadId,
    /// Who did what, each once; the others name them by their places here.
    #[serde(deserialize_with = "shared_all")]
    stamps: Vec<Arc<Stamp>>,
    models: Vec<StoredModel>,
    /// Each operation in hexadecimal digits: the digest of its id, its place in the log, its request.
    operations: String,
}

#[derive(Serialize, Deserialize)]
struct StoredModel {
    name: String,
    description: String,
    tags: BTreeMap<String, String>,
    policy: Policy,
    created: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<(String, usize)>,
    /// If it is not the oldest former one, nor the present one without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<usize>,
    versions: Vec<StoredVersion>,
    aliases: BTreeMap<String, StoredAlias>,
}

#[derive(Serialize, Deserialize)]
struct StoredVersion {
    #[serde(deserialize_with = "shared")]
    record: Arc<VersionRecord>,
    by: usize,
    /// If it is not that of the record any more, as for what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics: Option<BTreeMap<String, f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reviews: Vec<(Approval, usize)>,
    #[serde(default, skip_serializing_if = "is_pending")]
    approval: Approval,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purged: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct StoredAlias {
    version: Option<u64>,
    moves: Vec<(Option<u64>, usize)>,
}

/// As `Arc` reads itself, without a `Box` on the way.
fn shared<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Arc<T>, D::Error> {
    T::deserialize(from).map(Arc::new)
}

fn shared_all<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<Arc<T>>, D::Error> {
    Ok(Vec::<T>::deserialize(from)?.into_iter().map(Arc::new).collect())
}

fn is_pending(approval: &Approval) -> bool {
    *approval == Approval::Pending
}

/// The stamps that were met, by their place in the log.
#[derive(Default)]
struct Stamps {
    all: Vec<Arc<Stamp>>,
    places: HashMap<u64, usize>,
}

impl Stamps {
    fn place(&mut self, stamp: &Arc<Stamp>) -> usize {
        match self.places.get(&stamp.sequence) {
            Some(&place) if self.all[place] == *stamp => place,
            _ => {
                self.all.push(stamp.clone());
                self.places.insert(stamp.sequence, self.all.len() - 1);
                self.all.len() - 1
            }
        }
    }
}

impl Stored {
    pub(super) fn of(state: &Snapshot) -> Self {
        let mut stamps = Stamps::default();
        let models = state.models.values().map(|model| StoredModel::of(model, &mut stamps)).collect();
        let mut operations = String::with_capacity(state.operations.len() * OPERATION_DIGITS);
        for (id, Operation { sequence, request }) in state.operations.iter() {
            // Writing to a string cannot fail.
            let _ = write!(operations, "{id}{sequence:016x}{request}");
        }
        Self {
            sequence: state.sequence,
            head: state.head,
            time: state.time,
            watermark: state.watermark,
            stamps: stamps.all,
            models,
            operations,
        }
    }

    /// The state; `None` if something names what is not there.
    pub(super) fn state(self) -> Option<Snapshot> {
        let mut operations = DigestMap::default();
        for digits in self.operations.as_bytes().chunks(OPERATION_DIGITS) {
            let digits = std::str::from_utf8(digits).ok()?;
            let id = digits.get(..64)?.parse().ok()?;
            let sequence = u64::from_str_radix(digits.get(64..80)?, 16).ok()?;
            operations.insert(id, Operation { sequence, request: digits.get(80..)?.parse().ok()? });
        }
        let mut models = BTreeMap::new();
        let mut blobs = DigestMap::default();
        for model in self.models {
            let model = model.model(&self.stamps)?;
            for version in model.versions.iter().filter(|version| version.purged.is_none()) {
                for file in version.record.files.values() {
                    let files = blobs.get(&file.sha256).map_or(0, |found: &BlobUse| found.files) + 1;
                    blobs.insert(file.sha256, BlobUse { upload: file.upload, files });
                }
            }
            if models.insert(model.name.as_str().into(), Arc::new(model)).is_some() {
                return None;
            }
        }
        Some(Snapshot {
            sequence: self.sequence,
            head: self.head,
            time: self.time,
            watermark: self.watermark,
            former: super::apply::former(&models),
            models,
            blobs,
            operations,
        })
    }
}

impl StoredModel {
    fn of(model: &Model, stamps: &mut Stamps) -> Self {
        let oldest = model.former.first().map_or(&model.name, |former| &former.name);
        Self {
            name: model.name.clone(),
            first_name: (model.first_name != *oldest).then(|| model.first_name.clone()),
            description: model.description.clone(),
            tags: model.tags.clone(),
            policy: model.policy.clone(),
            created: stamps.place(&model.created),
            former: model
                .former
                .iter()
                .map(|former| (former.name.clone(), stamps.place(&former.until)))
                .collect(),
            deleted: model.deleted.as_ref().map(|by| stamps.place(by)),
            versions: model.versions.iter().map(|version| StoredVersion::of(version, stamps)).collect(),
            aliases: model
                .aliases
                .iter()
                .map(|(name, alias)| {
                    let moves = alias.moves.iter().map(|step| (step.to, stamps.place(&step.by))).collect();
                    (name.clone(), StoredAlias { version: alias.version, moves })
                })
                .collect(),
        }
    }

    fn model(self, stamps: &[Arc<Stamp>]) -> Option<Model> {
        let alias = |stored: StoredAlias| {
            let moves =
                stored.moves.into_iter().map(|(to, by)| Some(Move { to, by: stamps.get(by)?.clone() }));
            Some(Alias { version: stored.version, moves: moves.collect::<Option<_>>()? })
        };
        let versions = self.versions.into_iter().map(|version| version.version(stamps).map(Arc::new));
        let aliases = self.aliases.into_iter().map(|(name, stored)| Some((name, alias(stored)?)));
        let oldest = self.former.first().map_or(&self.name, |(name, _)| name);
        let first_name = self.first_name.unwrap_or_else(|| oldest.clone());
        let mut former: Vec<FormerName> = Vec::with_capacity(self.former.len());
        // Earlier builds noted a name each time that it was lost, and the present one if it was lost before.
        for (name, by) in self.former {
            former.retain(|former| former.name != name);
            former.push(FormerName { name, until: stamps.get(by)?.clone() });
        }
        former.retain(|former| former.name != self.name);
        let deleted = match self.deleted {
            None => None,
            Some(by) => Some(stamps.get(by)?.clone()),
        };
        Some(Model {
            versions: versions.collect::<Option<_>>()?,
            aliases: aliases.collect::<Option<_>>()?,
            name: self.name,
            former,
            first_name,
            deleted,
            description: self.description,
            tags: self.tags,
            policy: self.policy,
            created: stamps.get(self.created)?.clone(),
        })
    }
}

impl StoredVersion {
    fn of(version: &Version, stamps: &mut Stamps) -> Self {
        let record = &version.record;
        Self {
            record: record.clone(),
            by: stamps.place(&version.registered),
            description: (version.description != record.description).then(|| version.description.clone()),
            tags: (version.tags != record.tags).then(|| version.tags.clone()),
            metrics: (version.metrics != record.metrics).then(|| version.metrics.clone()),
            stage: version.stage.clone(),
            reviews: version
                .reviews
                .iter()
                .map(|review| (review.verdict, stamps.place(&review.by)))
                .collect(),
            approval: version.approval,
            deleted: version.deleted.as_ref().map(|by| stamps.place(by)),
            purged: version.purged.as_ref().map(|by| stamps.place(by)),
        }
    }

    fn version(self, stamps: &[Arc<Stamp>]) -> Option<Version> {
        let at = |place: usize| stamps.get(place).cloned();
        let maybe = |place: Option<usize>| match place {
            None => Some(None),
            Some(place) => at(place).map(Some),
        };
        let reviews = self.reviews.into_iter().map(|(verdict, by)| Some(Review { verdict, by: at(by)? }));
        Some(Version {
            registered: at(self.by)?,
            description: self.description.unwrap_or_else(|| self.record.description.clone()),
            tags: self.tags.unwrap_or_else(|| self.record.tags.clone()),
            metrics: self.metrics.unwrap_or_else(|| self.record.metrics.clone()),
            stage: self.stage,
            reviews: reviews.collect::<Option<_>>()?,
            approval: self.approval,
            deleted: maybe(self.deleted)?,
            purged: maybe(self.purged)?,
            record: self.record,
        })
    }
}

const OPERATION_DIGITS: usize = 64 + 16 + 64;
