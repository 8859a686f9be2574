//! What a caller asks for: a commit in the making.

use std::collections::BTreeMap;

use mlops_core::ModelVersion;

use crate::state::At;
use crate::{Approval, Change, Commit, Expect, LeftBehind, Model, NewVersion, Policy, UploadId};

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
    RollBack { model: Option<String>, alias: Option<String>, at: At },
    Unchanged(Box<Terms>),
    Watermark(UploadId),
}

/// What a draft relies on: a model as it was read, or that there is none.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) model: String,
    pub(crate) read: Option<Model>,
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
        let alias = alias.into();
        self.change(Change::MoveAlias { model, alias, expect, to: Some(to.version), back: false })
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
            back: false,
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

    /// Rejects a version. No alias can be pointed at it until the verdict changes; one that points at it already
    /// stays: move it in the same commit, by [`alias`](Self::alias) or [`remove_alias`](Self::remove_alias).
    #[must_use]
    pub fn reject(self, version: &ModelVersion) -> Self {
        self.review(version, Approval::Rejected)
    }

    /// Points one alias of a model where it pointed back then, past its gates; if it did not exist then, it is removed.
    #[must_use]
    pub fn roll_back_alias(
        mut self,
        model: impl Into<String>,
        alias: impl Into<String>,
        at: impl Into<At>,
    ) -> Self {
        let (model, alias) = (Some(model.into()), Some(alias.into()));
        self.steps.push(Step::RollBack { model, alias, at: at.into() });
        self
    }

    /// Points all aliases of a model where they pointed back then, past their gates, and removes those that were made
    /// since: at a [`Timestamp`](mlops_core::Timestamp), or
    /// after a commit, as in `.roll_back("shop", At::Sequence(2))`. Those that cannot go back stay, see
    /// [`roll_back_all`](Self::roll_back_all).
    #[must_use]
    pub fn roll_back(mut self, model: impl Into<String>, at: impl Into<At>) -> Self {
        self.steps.push(Step::RollBack { model: Some(model.into()), alias: None, at: at.into() });
        self
    }

    /// Points all aliases of all models where they pointed back then, past their gates. Models that are deleted are
    /// left out; one that this draft restores needs a [`roll_back`](Self::roll_back) of its own.
    ///
    /// In an incident one call does what can be done: an alias stays where it is if the version that it pointed at
    /// then is deleted, purged or rejected by now, and [`Receipt::left`] lists it. Steps of this draft that come before
    /// it count: restore a version before, or reject it before.
    ///
    /// ```
    /// use mlops_registry::{At, Draft, Expect, NewVersion, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// for (model, file) in [("shop", "1"), ("fraud", "1"), ("shop", "2"), ("fraud", "2")] {
    ///     let receipt = registry.commit(Draft::new("t", "x").register(NewVersion::new(model).file("m", file)))?;
    ///     let id = receipt.version().unwrap();
    ///     registry.commit(Draft::new("ann", "go").alias("champion", id, Expect::Any))?;
    /// }
    /// registry.commit(Draft::new("bob", "it leaks").reject(&mlops_core::ModelVersion::new("fraud", 1)))?;
    /// let receipt = registry.commit(Draft::new("bob", "incident").roll_back_all(At::Sequence(4)))?;
    /// assert_eq!(registry.state().alias("shop", "champion").unwrap().id().version, 1);
    /// assert_eq!(receipt.left[0].alias.to_string(), "fraud@champion");
    /// assert!(receipt.left[0].why.contains("it leaks"));
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn roll_back_all(mut self, at: impl Into<At>) -> Self {
        self.steps.push(Step::RollBack { model: None, alias: None, at: at.into() });
        self
    }

    /// Sets a tag of a version.
    #[must_use]
    pub fn tag(self, version: &ModelVersion, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (model, version) = (version.name.clone(), version.version);
        self.change(Change::Tag { model, version, key: name.into(), value: Some(value.into()) })
    }

    /// Removes a tag of a version.
    #[must_use]
    pub fn remove_tag(self, version: &ModelVersion, name: impl Into<String>) -> Self {
        let (model, version) = (version.name.clone(), version.version);
        self.change(Change::Tag { model, version, key: name.into(), value: None })
    }

    /// Describes a version anew, for people.
    #[must_use]
    pub fn describe(self, version: &ModelVersion, description: impl Into<String>) -> Self {
        let (model, version) = (version.name.clone(), version.version);
        self.change(Change::Describe { model, version, description: description.into() })
    }

    /// Says what a model is for and sets its tags, and makes it if it does not exist. They replace the ones before as
    /// a whole, see [`unchanged`](Self::unchanged).
    #[must_use]
    pub fn describe_model<K: Into<String>, V: Into<String>>(
        self,
        model: impl Into<String>,
        description: impl Into<String>,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let tags = tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.change(Change::DescribeModel { model: model.into(), description: description.into(), tags })
    }

    /// Moves a version to another stage of its model's [`Stages`](crate::Stages), if it is in the one expected.
    #[must_use]
    pub fn stage(self, version: &ModelVersion, from: impl Into<String>, to: impl Into<String>) -> Self {
        let (model, version) = (version.name.clone(), version.version);
        self.change(Change::MoveStage { model, version, from: from.into(), to: to.into() })
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

    /// Gives up the files of a version for ever that is deleted, or whose model is; a [`sweep`](crate::Registry::sweep) removes them.
    #[must_use]
    pub fn purge(self, version: &ModelVersion) -> Self {
        self.change(Change::Purge { model: version.name.clone(), version: version.version })
    }

    /// Hides a model no alias of which points at a version: remove its aliases first, or in the same draft.
    ///
    /// Nothing can be changed in it until it is restored. Its name stays taken, and its versions are found by their
    /// numbers, as deleted ones are: what served stays true. Its files stay too, until its versions are
    /// [purged](Self::purge).
    ///
    /// Builds that do not know how models are deleted, restored or renamed stop at the entry of the log that does it,
    /// with `Unsupported`: update all processes of a registry first.
    ///
    /// ```
    /// use mlops_registry::{At, Draft, Expect, NewVersion, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// let receipt = registry.commit(Draft::new("ann", "1").register(NewVersion::new("shop").file("model.bin", "1")))?;
    /// let id = receipt.version().unwrap();
    /// registry.commit(Draft::new("ann", "go").alias("champion", id, Expect::Absent))?;
    /// let delete = Draft::new("ann", "the shop is closed").delete_model("shop");
    /// assert!(registry.commit(delete).unwrap_err().to_string().contains("shop@champion points at shop/1"));
    /// let delete = Draft::new("ann", "the shop is closed").remove_alias("shop", "champion", Expect::Version(1));
    /// registry.commit(delete.delete_model("shop"))?;
    /// assert_eq!(registry.state().served_at("shop", "champion", At::Sequence(2))?.unwrap().id(), id);
    /// registry.commit(Draft::new("ann", "it opens again").restore_model("shop"))?;
    /// let receipt = registry.commit(Draft::new("ann", "2").register(NewVersion::new("shop").file("model.bin", "2")))?;
    /// assert_eq!(receipt.version().unwrap().to_string(), "shop/2");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn delete_model(self, model: impl Into<String>) -> Self {
        self.change(Change::DeleteModel { model: model.into() })
    }

    /// Brings a deleted model back, its versions as they were; it stops older builds as
    /// [`delete_model`](Self::delete_model) does. Aliases that pointed somewhere are brought back by
    /// [`roll_back`](Self::roll_back), in the same draft if wanted.
    #[must_use]
    pub fn restore_model(self, model: impl Into<String>) -> Self {
        self.change(Change::RestoreModel { model: model.into() })
    }

    /// Gives a model another name.
    ///
    /// The names before lead to it for ever, in questions as in drafts: `shop@champion` in the settings of a service
    /// and the nightly job that registers to `shop` go on. So no other model can take them; the model itself can take
    /// one back. A state names models as they are now, in versions, parents and lineage; the log keeps what was
    /// written. A service that asks for `shop@champion` gets `shop/1` as before, and a trial of it goes on.
    ///
    /// It is a `Conflict` if the model has another name by now: of two who rename it, the second decides anew. As
    /// [`delete_model`](Self::delete_model), it stops builds that do not know of it.
    ///
    /// ```
    /// use mlops_registry::{Draft, NewVersion, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// registry.commit(Draft::new("ann", "1").register(NewVersion::new("shop").file("model.bin", "1")))?;
    /// registry.commit(Draft::new("ann", "two shops now").rename_model("shop", "shop-eu"))?;
    /// let receipt = registry.commit(Draft::new("job", "2").register(NewVersion::new("shop").file("model.bin", "2")))?;
    /// assert_eq!(receipt.version().unwrap().to_string(), "shop-eu/2");
    /// assert_eq!(registry.state().resolve(&"shop/1".parse()?)?.id().to_string(), "shop-eu/1");
    /// assert_eq!(registry.state().model("shop-eu")?.former[0].name, "shop");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn rename_model(self, model: impl Into<String>, to: impl Into<String>) -> Self {
        self.change(Change::RenameModel { model: model.into(), to: to.into() })
    }

    /// Sets the rules of a model, and makes it if it does not exist. They replace the ones before as a whole: name
    /// what was read by [`unchanged`](Self::unchanged), or another's change is lost.
    ///
    /// Reviews and moves that come after it in the draft are a `Conflict`, those of roll-backs too, unless this draft
    /// makes the model or the rules are those in force: no commit is judged by rules that it brings along. So is a
    /// registration, if the stages differ. Commit new rules by themselves. Stages that versions are in, deleted ones
    /// too, have to be named by the new rules.
    #[must_use]
    pub fn policy(self, model: impl Into<String>, policy: Policy) -> Self {
        self.change(Change::SetPolicy { model: model.into(), policy })
    }

    /// Commits only if the policy, the description and the tags of a model are what was read; else it is a
    /// `Conflict`.
    ///
    /// ```
    /// use mlops_registry::{Draft, Gate, Policy, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// registry.commit(Draft::new("lead", "rules").absent("shop").policy("shop", Policy::default()))?;
    /// let state = registry.snapshot();
    /// let model = state.model("shop")?;
    /// let mut policy = model.policy.clone();
    /// policy.gates.entry("champion".into()).or_default().push(Gate::Approved);
    /// let draft = Draft::new("lead", "four eyes").unchanged(model).policy("shop", policy);
    /// registry.commit(draft.clone())?;
    /// // Whoever read the policy before that has to look again.
    /// assert!(registry.commit(draft).unwrap_err().to_string().contains("changed since it was read"));
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn unchanged(mut self, model: &Model) -> Self {
        // What else the model holds is compared by nobody.
        let read = Model { versions: Vec::new(), aliases: BTreeMap::new(), ..model.clone() };
        self.steps.push(Step::Unchanged(Box::new(Terms { model: model.name.clone(), read: Some(read) })));
        self
    }

    /// Commits only if there is no such model yet; else it is a `Conflict`.
    #[must_use]
    pub fn absent(mut self, model: impl Into<String>) -> Self {
        self.steps.push(Step::Unchanged(Box::new(Terms { model: model.into(), read: None })));
        self
    }

    pub(crate) fn watermark(mut self, upload: UploadId) -> Self {
        self.steps.push(Step::Watermark(upload));
        self
    }

    /// Adds any other change. Versions are added by [`register`](Self::register).
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.steps.push(Step::Change(change));
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
    /// The aliases that [`Draft::roll_back`] and [`Draft::roll_back_all`] left where they were, and that no other step
    /// moved, since what they pointed at then was deleted, purged or rejected: decide about each. Also those whose
    /// version a later step let serve again. Another try with the same [`key`](Draft::key) is told the same, whatever
    /// was committed since.
    pub left: Vec<LeftBehind>,
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
