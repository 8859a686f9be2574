//! The registry's state: what the log adds up to. Pure values, no I/O.

mod apply;
pub(crate) mod checkpoint;
mod digests;
mod governed;
mod query;
mod record;
mod stored;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use mlops_core::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Approval, Policy, UploadId, VersionRecord};

use digests::DigestMap;
pub use query::At;
pub use validate::{Refusal, Request};

/// The registry as of one commit: immutable, shared by all readers, consistent in itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    sequence: u64,
    head: Digest,
    /// The highest time that any commit bore: time as the log sees it, which never goes back.
    time: Timestamp,
    /// No upload before it may be referenced anew.
    watermark: UploadId,
    models: BTreeMap<Arc<str>, Arc<Model>>,
    /// The names that models had before, with the names that they have now.
    former: BTreeMap<Arc<str>, Arc<str>>,
    /// How many files of versions refer to each blob, and which upload holds it.
    blobs: DigestMap<BlobUse>,
    /// By the digests of their ids.
    operations: DigestMap<Operation>,
}

/// One registered model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The names that it had before and has no more, the one that it lost first comes first. They lead to it for ever.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerName>,
    /// The name that it was made with: by it requests are told apart, whatever the model is called when they are made.
    #[serde(skip)]
    pub(crate) first_name: String,
    /// The commit that deleted it, if it is deleted: then nothing in it can be changed, no alias of it points at a
    /// version, and its versions are found by their numbers alone.
    pub deleted: Option<Arc<Stamp>>,
    /// What it is for.
    pub description: String,
    /// Words to find it by.
    pub tags: BTreeMap<String, String>,
    /// The rules for its versions and aliases.
    pub policy: Policy,
    /// The commit that made it.
    pub created: Arc<Stamp>,
    /// Its versions in order, from 1, the deleted ones too.
    pub versions: Vec<Arc<Version>>,
    /// Its aliases, also those that point at nothing any more.
    pub aliases: BTreeMap<String, Alias>,
}

/// A name that a model had.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FormerName {
    /// The name.
    pub name: String,
    /// The last commit that gave it another one.
    pub until: Arc<Stamp>,
}

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Version {
    /// What was recorded when it was registered.
    pub record: Arc<VersionRecord>,
    /// The commit that registered it.
    pub registered: Arc<Stamp>,
    /// What it is, for people: as recorded, or as it was described since.
    pub description: String,
    /// Its tags now: those of the record and what was changed since.
    pub tags: BTreeMap<String, String>,
    /// Its numbers now: those of the record and what was measured since.
    pub metrics: BTreeMap<String, f64>,
    /// The stage that it is in, if its model had stages when it was registered or it was moved since; see
    /// [`Model::stage_of`].
    pub stage: Option<String>,
    /// The verdicts in order, one for each reviewer.
    pub reviews: Vec<Review>,
    /// What the verdicts add up to.
    pub approval: Approval,
    /// The commit that deleted it, if it is deleted.
    pub deleted: Option<Arc<Stamp>>,
    /// The commit that gave up its files, if they are gone.
    pub purged: Option<Arc<Stamp>>,
}

/// One alias of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Alias {
    /// The version that it points at.
    pub version: Option<u64>,
    /// Where it pointed, oldest first.
    pub moves: Vec<Move>,
}

/// One move of an alias.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Move {
    /// What it pointed at from then on.
    pub to: Option<u64>,
    /// The commit that moved it.
    pub by: Arc<Stamp>,
}

/// One reviewer's verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Review {
    /// The verdict.
    pub verdict: Approval,
    /// The commit that brought it: its actor is the reviewer, its reason the explanation.
    pub by: Arc<Stamp>,
}

/// The commit that did something: where in the log, when, who, why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stamp {
    /// Its place in the log.
    pub sequence: u64,
    /// When, as the log sees it: never before an earlier commit.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// Where the bytes of a digest lie, and how many files need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlobUse {
    upload: UploadId,
    files: u64,
}

/// An operation that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) sequence: u64,
    pub(crate) request: Digest,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            sequence: 0,
            head: Digest::from_bytes([0; 32]),
            time: Timestamp::from_micros(i64::MIN),
            watermark: UploadId::default(),
            models: BTreeMap::new(),
            former: BTreeMap::new(),
            blobs: DigestMap::default(),
            operations: DigestMap::default(),
        }
    }
}
