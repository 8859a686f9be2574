//! Questions to a snapshot. None of them does I/O or takes a lock.

use std::sync::Arc;

use mlops_core::{Digest, Error, ModelRef, ModelVersion, Result, Selector, Timestamp};

use super::{Alias, Model, Operation, Snapshot, Version};
use crate::{Change, Expect, FileRecord, UploadId};

/// A point in the past of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// After this entry of the log.
    Sequence(u64),
    /// After the last commit that was made by then. Time as the log sees it never goes back: a commit by a
    /// machine whose clock was slow counts as made when the one before it was made. One by a machine whose clock
    /// was ahead pushes those after it ahead too, until the others catch up: [`doctor`](crate::doctor) tells of
    /// such commits, and `Sequence` does not depend on any clock.
    Time(Timestamp),
}

impl From<Timestamp> for At {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl Snapshot {
    /// How many commits it holds: the place of the last one in the log.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The digest of the last commit. Noted elsewhere, it proves later that nothing before it was altered.
    pub fn head(&self) -> Digest {
        self.head
    }

    /// Uploads before this one may not be referenced anew: the garbage collector may have swept them.
    pub fn watermark(&self) -> UploadId {
        self.watermark
    }

    /// All models by name, the deleted ones too.
    pub fn models(&self) -> impl ExactSizeIterator<Item = &Model> {
        self.models.values().map(|model| &**model)
    }

    /// The models with this text in their name, their description or a tag, whatever the case; by name. Deleted ones are
    /// left out.
    ///
    /// ```
    /// use mlops_registry::{Draft, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// let words = [("team", "Growth")];
    /// registry.commit(Draft::new("ann", "words").describe_model("shop", "Buys or not", words))?;
    /// let names = |text| registry.snapshot().find_models(text).map(|model| model.name.clone()).collect::<Vec<_>>();
    /// assert_eq!([names("BUYS"), names("growth"), names("sho")].concat(), ["shop", "shop", "shop"]);
    /// assert!(names("fraud").is_empty());
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn find_models(&self, text: &str) -> impl Iterator<Item = &Model> {
        let text = text.to_lowercase();
        self.models().filter(|model| model.deleted.is_none()).filter(move |model| {
            let tags = model.tags.iter().flat_map(|(name, value)| [name, value]);
            [&model.name, &model.description]
                .into_iter()
                .chain(tags)
                .any(|found| found.to_lowercase().contains(&text))
        })
    }

    /// The model that has this name or had it before; a deleted one too.
    ///
    /// # Errors
    /// `NotFound`, with some of the names that exist.
    pub fn model(&self, name: &str) -> Result<&Model> {
        self.known(name).map(|model| &**model).ok_or_else(|| {
            let names = listed(self.models.keys());
            Error::not_found(format!("there is no model `{}`: {names}", name.escape_debug()))
        })
    }

    /// The version that an alias points at; `None` if there is no such model or alias.
    ///
    /// Two look-ups, four by a name that the model had before: no I/O, no lock, no allocation.
    pub fn alias(&self, model: &str, alias: &str) -> Option<&Arc<Version>> {
        let model = self.known(model)?;
        let version = model.aliases.get(alias)?.version?;
        model.versions.get(usize::try_from(version).ok()?.checked_sub(1)?)
    }

    /// The version that a reference points at, by the name that its model has now; the registry as a
    /// [`ModelSource`](mlops_core::ModelSource) answers by the name that was asked for. A deleted version is found by its
    /// number, never by an alias.
    ///
    /// # Errors
    /// `NotFound` if there is no such model, alias or version, with those that exist.
    pub fn resolve(&self, model: &ModelRef) -> Result<&Arc<Version>> {
        match &model.selector {
            Selector::Alias(alias) => match self.alias(&model.name, alias) {
                Some(version) => Ok(version),
                None => Err(self.no_alias(&model.name, alias)),
            },
            Selector::Version(version) => self.numbered(&model.name, *version),
        }
    }

    /// This version, deleted or not.
    ///
    /// # Errors
    /// `NotFound` if there is no such model or version.
    pub fn version(&self, id: &ModelVersion) -> Result<&Arc<Version>> {
        self.numbered(&id.name, id.version)
    }

    /// What an alias pointed at back then: "what served at time T". `None` if it pointed at nothing.
    ///
    /// # Errors
    /// `NotFound` if the alias never existed, or the state does not hold that entry of the log: what it says of now is
    /// no answer about later.
    pub fn served_at(&self, model: &str, alias: &str, at: impl Into<At>) -> Result<Option<&Arc<Version>>> {
        let of = self.model(model)?;
        let Some(moves) = of.aliases.get(alias) else { return Err(self.no_alias(model, alias)) };
        let at = at.into();
        self.check_held(at)?;
        moves.version_at(at).map(|version| self.numbered(model, version)).transpose()
    }

    /// The moves that bring aliases back to where they pointed: of one model, or of all that are not deleted.
    ///
    /// Each expects that the alias still points at what this snapshot says.
    ///
    /// # Errors
    /// `NotFound` if there is no such model, or the state does not hold that entry of the log.
    pub fn moves_back(&self, model: Option<&str>, at: impl Into<At>) -> Result<Vec<Change>> {
        let at = at.into();
        self.check_held(at)?;
        let of = match model {
            Some(name) => vec![self.model(name)?],
            None => self.models().filter(|model| model.deleted.is_none()).collect(),
        };
        let moves = of.into_iter().flat_map(|model| {
            model.aliases.iter().filter_map(move |(name, alias)| {
                let to = alias.version_at(at);
                (to != alias.version).then(|| Change::MoveAlias {
                    model: model.name.clone(),
                    alias: name.clone(),
                    expect: Expect::from(alias.version),
                    to,
                    back: true,
                })
            })
        });
        Ok(moves.collect())
    }

    /// Whether a point in the past is one that this state knows.
    fn check_held(&self, at: At) -> Result<()> {
        match at {
            At::Sequence(sequence) if sequence > self.sequence => Err(Error::not_found(format!(
                "this state holds no log entry {sequence}: its last one is {}; name one up to that, or refresh if it is \
                 newer",
                self.sequence
            ))),
            _ => Ok(()),
        }
    }

    /// The model that has this name, or had it.
    pub(super) fn known(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name).or_else(|| self.models.get(self.former.get(name)?))
    }

    /// The name that a model had at first, which never changes; the name itself if there is no such model.
    pub(crate) fn first_name<'a>(&'a self, name: &'a str) -> &'a str {
        match self.known(name) {
            None => name,
            Some(model) => &model.first_name,
        }
    }

    /// A measure of its size that never shrinks.
    pub(crate) fn weight(&self) -> u64 {
        self.sequence + self.models.values().map(|model| model.versions.len() as u64).sum::<u64>()
    }

    pub(crate) fn operation(&self, id: &str) -> Option<Operation> {
        self.operations.get(&Digest::of(id)).copied()
    }

    /// The upload that holds these bytes, if a version refers to it.
    pub(crate) fn upload(&self, sha256: &Digest) -> Option<UploadId> {
        self.blobs.get(sha256).map(|blob| blob.upload)
    }

    #[cold]
    pub(super) fn no_alias(&self, name: &str, alias: &str) -> Error {
        match self.model(name) {
            Err(error) => error,
            Ok(model) => {
                if let Some(by) = &model.deleted {
                    let (actor, reason) = (&by.actor, &by.reason);
                    return Error::not_found(format!(
                        "model `{name}` was deleted by {actor} ({reason}): restore it, and roll its aliases back"
                    ));
                }
                if !model.aliases.is_empty() && model.aliases.values().all(|alias| alias.version.is_none()) {
                    let (alias, were) = (alias.escape_debug(), listed(model.aliases.keys()));
                    let were = were.replacen("there are", "there were", 1);
                    return Error::not_found(format!(
                        "model `{name}` has no alias `{alias}`: none now, {were}"
                    ));
                }
                let alive = model.aliases.iter().filter(|(_, alias)| alias.version.is_some());
                let names = listed(alive.map(|(name, _)| name));
                Error::not_found(format!("model `{name}` has no alias `{}`: {names}", alias.escape_debug()))
            }
        }
    }

    fn numbered(&self, name: &str, version: u64) -> Result<&Arc<Version>> {
        let model = self.model(name)?;
        let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
        index.and_then(|index| model.versions.get(index)).ok_or_else(|| {
            let count = model.versions.len();
            Error::not_found(format!("model `{name}` has no version {version}: it has {count}, from 1"))
        })
    }
}

impl Alias {
    pub(crate) fn version_at(&self, at: At) -> Option<u64> {
        let passed = |by: &super::Stamp| match at {
            At::Sequence(sequence) => by.sequence <= sequence,
            At::Time(time) => by.time <= time,
        };
        let count = self.moves.partition_point(|step| passed(&step.by));
        count.checked_sub(1).and_then(|last| self.moves[last].to)
    }
}

impl Version {
    /// Its name and number.
    pub fn id(&self) -> &ModelVersion {
        &self.record.id
    }

    /// One of its files.
    ///
    /// # Errors
    /// `NotFound`, with some of the names that there are.
    pub fn file(&self, name: &str) -> Result<&FileRecord> {
        self.record.files.get(name).ok_or_else(|| {
            let names = listed(self.record.files.keys());
            Error::not_found(format!("{} has no file `{}`: {names}", self.id(), name.escape_debug()))
        })
    }
}

/// What there is instead: a few names for an error message.
fn listed(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let mut names: Vec<_> = names.take(6).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "there are none yet".to_owned(),
        6 => {
            names[5] = "...".to_owned();
            format!("there are {}", names.join(", "))
        }
        _ => format!("there are {}", names.join(", ")),
    }
}
