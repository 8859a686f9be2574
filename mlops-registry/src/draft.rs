//! What a caller asks for: a commit in the making.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mlops_core::{Digest, Error, ModelFile, ModelSignature, ModelVersion, Result};

use crate::state::At;
use crate::store::io_failed;
use crate::{Approval, Change, Commit, Expect, Policy};

/// A commit in the making: who, why, and changes that will happen all or none.
///
/// ```
/// use mlops_registry::{Draft, Expect, NewVersion};
/// use mlops_core::ModelVersion;
///
/// let candidate = Draft::new("trainer", "retrained on the rows of May")
///     .key("loop/2026-05/register")
///     .register(NewVersion::new("shop").file("model.bin", "weights").metric("auc", 0.93));
/// let promotion = Draft::new("ann", "beats the champion by 2 points")
///     .approve(&ModelVersion::new("shop", 2))
///     .alias("champion", &ModelVersion::new("shop", 2), Expect::Version(1));
/// # let _ = (candidate, promotion);
/// ```
#[derive(Clone, Debug)]
pub struct Draft {
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) key: Option<String>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Change(Change),
    Register(Box<NewVersion>),
    RollBack { model: Option<String>, at: At },
}

impl Draft {
    /// A commit without changes: who makes it, and why.
    pub fn new(actor: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { actor: actor.into(), reason: reason.into(), key: None, steps: Vec::new() }
    }

    /// Names the operation, so that it happens once however often it is tried.
    ///
    /// A commit with a key that was committed before changes nothing and gives the receipt of the first time:
    /// after a timeout, a lost answer or a kill, just commit again. The key is remembered for ever. The same
    /// key with other changes is refused. Without a key every call is an operation of its own; retries inside
    /// the call are still exactly-once.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a version, and the model if it does not exist. Its number stands in the receipt.
    #[must_use]
    pub fn register(mut self, version: NewVersion) -> Self {
        self.steps.push(Step::Register(Box::new(version)));
        self
    }

    /// Points an alias at a version of the same model, if it still points at what is expected.
    ///
    /// Several in one draft move together: an ensemble, the two arms of an A/B test.
    #[must_use]
    pub fn alias(self, alias: impl Into<String>, to: &ModelVersion, expect: impl Into<Expect>) -> Self {
        let (model, expect) = (to.name.clone(), expect.into());
        self.change(Change::MoveAlias { model, alias: alias.into(), expect, to: Some(to.version) })
    }

    /// Removes an alias. Its history stays.
    #[must_use]
    pub fn remove_alias(
        self,
        model: impl Into<String>,
        alias: impl Into<String>,
        expect: impl Into<Expect>,
    ) -> Self {
        self.change(Change::MoveAlias {
            model: model.into(),
            alias: alias.into(),
            expect: expect.into(),
            to: None,
        })
    }

    /// Gives the actor's verdict on a version; the reason of the draft explains it.
    #[must_use]
    pub fn review(self, version: &ModelVersion, verdict: Approval) -> Self {
        self.change(Change::Review { model: version.name.clone(), version: version.version, verdict })
    }

    /// Approves a version. Unless the model's policy demands approval, an alias may also point at a version that
    /// nobody has reviewed; only a rejected one is refused.
    #[must_use]
    pub fn approve(self, version: &ModelVersion) -> Self {
        self.review(version, Approval::Approved)
    }

    /// Rejects a version. No alias can be pointed at it until the verdict changes.
    #[must_use]
    pub fn reject(self, version: &ModelVersion) -> Self {
        self.review(version, Approval::Rejected)
    }

    /// Points all aliases of a model where they pointed back then: at a [`Timestamp`](mlops_core::Timestamp), or
    /// after a commit, as in `.roll_back("shop", At::Sequence(2))`.
    #[must_use]
    pub fn roll_back(mut self, model: impl Into<String>, at: impl Into<At>) -> Self {
        self.steps.push(Step::RollBack { model: Some(model.into()), at: at.into() });
        self
    }

    /// Points all aliases of all models where they pointed back then.
    #[must_use]
    pub fn roll_back_all(mut self, at: impl Into<At>) -> Self {
        self.steps.push(Step::RollBack { model: None, at: at.into() });
        self
    }

    /// Sets a tag of a version.
    #[must_use]
    pub fn tag(self, version: &ModelVersion, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (model, version) = (version.name.clone(), version.version);
        self.change(Change::Tag { model, version, key: name.into(), value: Some(value.into()) })
    }

    /// Adds a number that was measured after the version was registered.
    #[must_use]
    pub fn measure(self, version: &ModelVersion, name: impl Into<String>, value: f64) -> Self {
        let (model, version) = (version.name.clone(), version.version);
        self.change(Change::Measure { model, version, metrics: [(name.into(), value)].into() })
    }

    /// Hides a version to which no alias points.
    #[must_use]
    pub fn delete(self, version: &ModelVersion) -> Self {
        self.change(Change::Delete { model: version.name.clone(), version: version.version })
    }

    /// Brings a deleted version back.
    #[must_use]
    pub fn restore(self, version: &ModelVersion) -> Self {
        self.change(Change::Restore { model: version.name.clone(), version: version.version })
    }

    /// Gives up the files of a deleted version for ever; a [`sweep`](crate::Registry::sweep) removes them.
    #[must_use]
    pub fn purge(self, version: &ModelVersion) -> Self {
        self.change(Change::Purge { model: version.name.clone(), version: version.version })
    }

    /// Sets the rules of a model, and makes it if it does not exist.
    #[must_use]
    pub fn policy(self, model: impl Into<String>, policy: Policy) -> Self {
        self.change(Change::SetPolicy { model: model.into(), policy })
    }

    /// Adds any other change.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.steps.push(Step::Change(change));
        self
    }
}

/// A version to be registered: its files and what is known of it.
///
/// ```
/// use mlops_core::{Digest, ElementType, ModelSignature, TensorSpec};
/// use mlops_registry::NewVersion;
///
/// let version = NewVersion::new("shop")
///     .file("model.bin", &b"weights"[..])
///     .file_at("baseline.json", "state/baseline.json")
///     .signature(ModelSignature {
///         inputs: vec![TensorSpec::batch("features", ElementType::F32, 17)],
///         outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
///     })
///     .metric("auc", 0.93)
///     .data("train", Digest::of("the rows"))
///     .run("2026-05")
///     .baseline("baseline.json");
/// # let _ = version;
/// ```
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub(crate) model: String,
    pub(crate) files: BTreeMap<String, ModelFile>,
    pub(crate) signature: ModelSignature,
    pub(crate) framework: Option<String>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) description: String,
    pub(crate) parents: Vec<ModelVersion>,
    pub(crate) run: Option<String>,
    pub(crate) data: BTreeMap<String, Digest>,
    pub(crate) code: Option<String>,
    pub(crate) baseline: Option<String>,
    pub(crate) pickle: bool,
}

impl NewVersion {
    /// The next version of a model, of which nothing is known yet.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            files: BTreeMap::new(),
            signature: ModelSignature::default(),
            framework: None,
            metrics: BTreeMap::new(),
            tags: BTreeMap::new(),
            description: String::new(),
            parents: Vec::new(),
            run: None,
            data: BTreeMap::new(),
            code: None,
            baseline: None,
            pickle: false,
        }
    }

    /// A file from memory.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.files.insert(name.into(), ModelFile::Bytes(bytes.into()));
        self
    }

    /// A file from a local disk. It is read when the draft is committed and must not change meanwhile.
    #[must_use]
    pub fn file_at(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.files.insert(name.into(), ModelFile::Path(path.into()));
        self
    }

    /// All files of a folder, by their names relative to it.
    ///
    /// # Errors
    /// `Invalid` if it holds a link, something that is no file, or a name that is not UTF-8; `NotFound` or
    /// `Unavailable` if it cannot be read.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        let mut left = vec![(String::new(), folder.as_ref().to_owned())];
        while let Some((prefix, folder)) = left.pop() {
            let cannot =
                |error| io_failed(&error, &format!("cannot read `{}`", folder.display())).with_source(error);
            for entry in std::fs::read_dir(&folder).map_err(cannot)? {
                let entry = entry.map_err(cannot)?;
                let path = entry.path();
                let refuse =
                    |why| Error::invalid(format!("`{}` cannot be registered: {why}", path.display()));
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| refuse("its name is not UTF-8"))?;
                let name = format!("{prefix}{name}");
                // The type of the entry itself: a link is not followed.
                let kind = entry.file_type().map_err(cannot)?;
                if kind.is_dir() {
                    left.push((format!("{name}/"), path));
                } else if kind.is_file() {
                    self.files.insert(name, ModelFile::Path(path));
                } else {
                    return Err(refuse("it is a link or no file; copy what it points at"));
                }
            }
        }
        Ok(self)
    }

    /// Lets files in that run code when they are loaded: Python's pickle.
    #[must_use]
    pub fn allow_pickle(mut self) -> Self {
        self.pickle = true;
        self
    }

    /// What the model takes and gives.
    #[must_use]
    pub fn signature(mut self, signature: ModelSignature) -> Self {
        self.signature = signature;
        self
    }

    /// What wrote it: `onnx`, `mlops-native`, ...
    #[must_use]
    pub fn framework(mut self, framework: impl Into<String>) -> Self {
        self.framework = Some(framework.into());
        self
    }

    /// One number of its quality. It has to be finite.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }

    /// A word to find it by.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// What it is, for people.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// A version that it was made from.
    #[must_use]
    pub fn parent(mut self, parent: ModelVersion) -> Self {
        self.parents.push(parent);
        self
    }

    /// The run that made it.
    #[must_use]
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// The fingerprint of data that made it, by role: `train`, `test`, ...
    #[must_use]
    pub fn data(mut self, role: impl Into<String>, fingerprint: Digest) -> Self {
        self.data.insert(role.into(), fingerprint);
        self
    }

    /// The code that made it: a commit or a digest.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Where the profile lies that its inputs are compared with: a file of the version or any address.
    #[must_use]
    pub fn baseline(mut self, baseline: impl Into<String>) -> Self {
        self.baseline = Some(baseline.into());
        self
    }
}

/// What came of a draft.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Receipt {
    /// The commit in the log.
    pub commit: Commit,
    /// Whether the operation had been committed before, so that this call changed nothing.
    pub replayed: bool,
}

impl Receipt {
    /// The versions that it registered, in order.
    pub fn versions(&self) -> impl Iterator<Item = &ModelVersion> {
        self.commit.changes.iter().filter_map(|change| match change {
            Change::Register(record) => Some(&record.id),
            _ => None,
        })
    }

    /// The first version that it registered.
    pub fn version(&self) -> Option<&ModelVersion> {
        self.versions().next()
    }
}
