//! What a commit can change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlops_core::evaluation::Evaluation;
use mlops_core::{Digest, ModelSignature, ModelVersion};
use serde::{Deserialize, Serialize};

use crate::{Format, Policy, UploadId};

/// One change of the registry, as the log records it.
///
/// Who made it and why stand in the [`Commit`](crate::Commit) around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Describes a model anew, and makes it if it does not exist.
    DescribeModel {
        /// The model.
        model: String,
        /// What it is for.
        description: String,
        /// Words to find it by.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        tags: BTreeMap<String, String>,
    },
    /// Adds a version, and the model if it does not exist.
    Register(Arc<VersionRecord>),
    /// The actor's verdict on a version; it replaces the verdict that the same actor gave before.
    Review {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// The verdict.
        verdict: Approval,
    },
    /// Points an alias at another version, or at none.
    MoveAlias {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// What it has to point at before.
        expect: Expect,
        /// What it points at afterwards; `None` removes it.
        to: Option<u64>,
        /// Whether it is rolled back: to what it pointed at before, which has no gates to pass again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        back: bool,
    },
    /// Sets or removes a tag of a version.
    Tag {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// The tag's name.
        key: String,
        /// Its value; `None` removes it.
        value: Option<String>,
    },
    /// Describes a version anew.
    Describe {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// What it is, for people.
        description: String,
    },
    /// Adds numbers that were measured after a version was registered: drift, bias, quality on later data.
    ///
    /// A number that was recorded with the version cannot be replaced; one that was added later can.
    Measure {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// The numbers by name. All are finite.
        metrics: BTreeMap<String, f64>,
    },
    /// Moves a version to another stage of its model's [`Stages`](crate::Stages).
    MoveStage {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
        /// The stage that it has to be in before.
        from: String,
        /// The stage that it is in afterwards.
        to: String,
    },
    /// Sets the rules of a model, and makes it if it does not exist.
    SetPolicy {
        /// The model.
        model: String,
        /// Its rules from now on.
        policy: Policy,
    },
    /// Hides a version to which no alias points. Its files stay until they are purged.
    Delete {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
    },
    /// Brings a deleted version back.
    Restore {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
    },
    /// Gives up the files of a deleted version for ever. What is recorded of it stays.
    Purge {
        /// The model.
        model: String,
        /// Its version.
        version: u64,
    },
    /// Hides a model no alias of which points at a version. Its versions stay, and their numbers are never given again.
    DeleteModel {
        /// The model.
        model: String,
    },
    /// Brings a deleted model back, its versions as they were.
    RestoreModel {
        /// The model.
        model: String,
    },
    /// Gives a model another name. The ones before lead to it for ever: no other model can take them.
    RenameModel {
        /// The model.
        model: String,
        /// Its name from now on.
        to: String,
    },
    /// Forbids new references to uploads before this one, so that those which nobody refers to can be swept.
    Watermark {
        /// The first upload that may still be referenced anew.
        upload: UploadId,
    },
}

impl Change {
    /// The names of the kinds of changes, as the log has them.
    pub const KINDS: &[&str] = &[
        "register",
        "review",
        "move_alias",
        "move_stage",
        "set_policy",
        "describe_model",
        "tag",
        "describe",
        "measure",
        "delete",
        "restore",
        "purge",
        "delete_model",
        "restore_model",
        "rename_model",
        "watermark",
    ];

    /// What kind of change it is: one of [`KINDS`](Self::KINDS).
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Review { .. } => "review",
            Self::MoveAlias { .. } => "move_alias",
            Self::MoveStage { .. } => "move_stage",
            Self::SetPolicy { .. } => "set_policy",
            Self::DescribeModel { .. } => "describe_model",
            Self::Tag { .. } => "tag",
            Self::Describe { .. } => "describe",
            Self::Measure { .. } => "measure",
            Self::Delete { .. } => "delete",
            Self::Restore { .. } => "restore",
            Self::Purge { .. } => "purge",
            Self::DeleteModel { .. } => "delete_model",
            Self::RestoreModel { .. } => "restore_model",
            Self::RenameModel { .. } => "rename_model",
            Self::Watermark { .. } => "watermark",
        }
    }

    /// The number of the version that it is about: that which it changes, or which an alias is pointed at.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Register(record) => Some(record.id.version),
            Self::MoveAlias { to, .. } => *to,
            Self::Review { version, .. }
            | Self::Tag { version, .. }
            | Self::Describe { version, .. }
            | Self::Measure { version, .. }
            | Self::MoveStage { version, .. }
            | Self::Delete { version, .. }
            | Self::Restore { version, .. }
            | Self::Purge { version, .. } => Some(*version),
            Self::DescribeModel { .. }
            | Self::SetPolicy { .. }
            | Self::DeleteModel { .. }
            | Self::RestoreModel { .. }
            | Self::RenameModel { .. }
            | Self::Watermark { .. } => None,
        }
    }

    /// The model that it changes, if it is about one: in a log by the name that it had before the change.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Register(record) => Some(&record.id.name),
            Self::Watermark { .. } => None,
            Self::DescribeModel { model, .. }
            | Self::Review { model, .. }
            | Self::MoveAlias { model, .. }
            | Self::Tag { model, .. }
            | Self::Describe { model, .. }
            | Self::Measure { model, .. }
            | Self::MoveStage { model, .. }
            | Self::SetPolicy { model, .. }
            | Self::Delete { model, .. }
            | Self::Restore { model, .. }
            | Self::Purge { model, .. }
            | Self::DeleteModel { model }
            | Self::RestoreModel { model }
            | Self::RenameModel { model, .. } => Some(model),
        }
    }

    pub(crate) fn model_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Register(record) => Some(&mut Arc::make_mut(record).id.name),
            Self::Watermark { .. } => None,
            Self::DescribeModel { model, .. }
            | Self::Review { model, .. }
            | Self::MoveAlias { model, .. }
            | Self::Tag { model, .. }
            | Self::Describe { model, .. }
            | Self::Measure { model, .. }
            | Self::MoveStage { model, .. }
            | Self::SetPolicy { model, .. }
            | Self::Delete { model, .. }
            | Self::Restore { model, .. }
            | Self::Purge { model, .. }
            | Self::DeleteModel { model }
            | Self::RestoreModel { model }
            | Self::RenameModel { model, .. } => Some(model),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DescribeModel { model, .. } => write!(f, "describe {model}"),
            Self::Register(record) => write!(f, "register {}", record.id),
            Self::Review { model, version, verdict } => write!(f, "review {model}/{version}: {verdict}"),
            Self::MoveAlias { model, alias, to: Some(to), .. } => {
                write!(f, "point {model}@{alias} at {model}/{to}")
            }
            Self::MoveAlias { model, alias, to: None, .. } => write!(f, "remove {model}@{alias}"),
            Self::Tag { model, version, key, value: Some(value) } => {
                write!(f, "tag {model}/{version}: {key}={value}")
            }
            Self::Tag { model, version, key, value: None } => write!(f, "untag {model}/{version}: {key}"),
            Self::Describe { model, version, .. } => write!(f, "describe {model}/{version}"),
            Self::Measure { model, version, metrics } => {
                write!(f, "measure {model}/{version}:")?;
                metrics.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
            }
            Self::MoveStage { model, version, from, to } => {
                write!(f, "move {model}/{version} from stage {from} to {to}")
            }
            Self::SetPolicy { model, .. } => write!(f, "set the policy of {model}"),
            Self::Purge { model, version } => write!(f, "purge {model}/{version}"),
            Self::DeleteModel { model } => write!(f, "delete model {model}"),
            Self::RestoreModel { model } => write!(f, "restore model {model}"),
            Self::RenameModel { model, to } => write!(f, "rename model {model} to {to}"),
            Self::Watermark { upload } => write!(f, "sweep uploads before {upload}"),
            Self::Delete { model, version } => write!(f, "delete {model}/{version}"),
            Self::Restore { model, version } => write!(f, "restore {model}/{version}"),
        }
    }
}

/// What is recorded of a version when it is registered, for ever.
///
/// In a [`Snapshot`](crate::Snapshot) models are named as they are now, in the log as they were then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionRecord {
    /// Its name and number.
    pub id: ModelVersion,
    /// Its files by relative name.
    pub files: BTreeMap<String, FileRecord>,
    /// What the model takes and gives.
    pub signature: ModelSignature,
    /// What wrote it: `onnx`, `mlops-native`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// Its quality by the name of the metric. All are finite.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The versions that it was made from: a checkpoint, a teacher, the members of an ensemble.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ModelVersion>,
    /// The run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The fingerprints of the data that made it, by role: `train`, `test`, ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Digest>,
    /// The code that made it: a commit or a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where the profile lies that its inputs are compared with: a file of the version or any address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// How it did on rows that it had not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Arc<Evaluation>>,
    /// The version that it is a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<CopyOf>,
}

impl VersionRecord {
    pub(crate) fn made_from_mut(&mut self) -> impl Iterator<Item = &mut ModelVersion> {
        let copied = self.copy_of.iter_mut().filter(|copy| copy.registry.is_none());
        self.parents.iter_mut().chain(copied.map(|copy| &mut copy.version))
    }

    /// The versions of this registry that it was made from: its parents, and what it is a copy of.
    pub fn made_from(&self) -> impl Iterator<Item = &ModelVersion> {
        let copied = self.copy_of.iter().filter(|copy| copy.registry.is_none());
        self.parents.iter().chain(copied.map(|copy| &copy.version))
    }
}

/// A version that another one is a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CopyOf {
    /// The version.
    pub version: ModelVersion,
    /// Where its registry was opened, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
}

impl fmt::Display for CopyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.registry {
            None => self.version.fmt(f),
            Some(registry) => write!(f, "{} of {registry}", self.version),
        }
    }
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileRecord {
    /// The SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its length.
    pub size_bytes: u64,
    /// What its first bytes say it is.
    pub format: Format,
    /// The upload that holds its bytes.
    pub upload: UploadId,
}

/// Whether people let a version go into production.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Nobody has decided yet.
    #[default]
    Pending,
    /// It may.
    Approved,
    /// It may not.
    Rejected,
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What an alias has to point at before it is moved: the "compare" of compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Anything or nothing: the last writer wins.
    Any,
    /// Nothing: the alias does not exist.
    Absent,
    /// This version.
    Version(u64),
}

impl From<Option<u64>> for Expect {
    /// The expectation that an alias still points at what was read.
    fn from(read: Option<u64>) -> Self {
        read.map_or(Self::Absent, Self::Version)
    }
}
