//! `validate`: whether a request may be committed on a state, and as what.

use std::collections::BTreeSet;
use std::sync::Arc;

use mlops_core::{Digest, Error, ModelVersion, Result, Timestamp};

use super::record::{KEY_BYTES_MAX, TEXT_BYTES_MAX, check_metrics, check_tag};
use super::{Snapshot, Stamp};
use crate::draft::Terms;
use crate::name::{check_alias, check_model, check_text};
use crate::{Approval, Change, Commit, Draft, Expect, UploadId};

/// What somebody wants to commit: the changes with their expectations, not yet bound to a place in the log.
///
/// A [`Change::Register`] bears version 0: its number is the next one when it is committed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The idempotency key.
    pub operation: String,
    /// The digest of what is asked for.
    pub digest: Digest,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What, in order; later changes see the earlier ones.
    pub changes: Vec<Change>,
}

/// Why a request cannot be committed on a state.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller has to decide anew.
    Error(Error),
    /// The garbage collector may have swept this upload: upload the bytes again, nobody has to decide.
    UploadExpired(Digest),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Snapshot {
    /// The commit that fulfils a request as the next entry of the log.
    ///
    /// # Errors
    /// `Conflict` if an expectation does not hold, `NotFound` if a named thing does not exist, `Invalid` if a
    /// name or a value breaks a rule; [`Refusal::UploadExpired`] if a blob has to be uploaded again.
    pub fn validate(&self, request: &Request, time: Timestamp) -> Result<Commit, Refusal> {
        self.plan(request, time).map(|(commit, _)| commit)
    }

    /// The commit that fulfils a request, and the state after its changes, which [`finish`](Self::finish) makes
    /// whole.
    pub(crate) fn plan(&self, request: &Request, time: Timestamp) -> Result<(Commit, Self), Refusal> {
        check_text("actor", &request.actor, ACTOR_BYTES_MAX)?;
        check_text("reason", &request.reason, TEXT_BYTES_MAX)?;
        check_text("idempotency key", &request.operation, KEY_BYTES_MAX)?;
        if request.changes.is_empty() {
            return Err(Error::invalid("the commit changes nothing: add a change to it").into());
        }
        let mut commit = Commit {
            format: Commit::FORMAT,
            sequence: self.sequence + 1,
            operation: request.operation.clone(),
            request: request.digest,
            previous: self.head,
            time,
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            changes: Vec::with_capacity(request.changes.len()),
            checkpoint: None,
        };
        let mut next = self.clone();
        next.time = time.max(self.time);
        let stamp = next.stamp(&commit);
        let mut reviewed = BTreeSet::new();
        for change in &request.changes {
            let change = next.check(change.clone(), &request.actor)?;
            if let Change::Review { model, version, .. } = &change
                && !reviewed.insert((next.first_name(model).to_owned(), *version))
            {
                return Err(Error::invalid(format!(
                    "{model}/{version} is reviewed twice in one commit: give one verdict"
                ))
                .into());
            }
            next.check_in_force(self, &change)?;
            next.apply_change(&change, &stamp)?;
            commit.changes.push(change);
        }
        Ok((commit, next))
    }

    /// The state after the first changes of a draft, whether or not they are allowed: [`plan`](Self::plan) judges them
    /// with all the others. One that cannot be made, as the review of a version that has no number yet, is left out.
    pub(crate) fn foresee(&self, changes: &[Change], draft: &Draft) -> Self {
        let mut next = self.clone();
        let (sequence, time) = (self.sequence + 1, self.time);
        let by = Arc::new(Stamp { sequence, time, actor: draft.actor.clone(), reason: draft.reason.clone() });
        for change in changes {
            let mut change = change.clone();
            if let Some(name) = change.model_mut()
                && let Some(model) = next.known(name)
            {
                name.clone_from(&model.name);
            }
            let _ = next.apply_change(&change, &by);
        }
        next
    }

    /// Whether what a draft relies on is still so.
    pub(crate) fn check_unchanged(&self, terms: &Terms) -> Result<()> {
        let found = self.known(&terms.model);
        let same = match (&terms.read, found) {
            (None, None) => true,
            (Some(read), Some(found)) => {
                (&read.description, &read.tags, &read.policy)
                    == (&found.description, &found.tags, &found.policy)
            }
            _ => false,
        };
        if same {
            return Ok(());
        }
        if let (None, Some(found)) = (&terms.read, found) {
            let (name, found) = (terms.model.escape_debug(), &found.name);
            let leads = if terms.model == *found { String::new() } else { format!(", called `{found}` now") };
            return Err(Error::conflict(format!(
                "there is a model `{name}` already{leads}: read it, or choose another name"
            )));
        }
        Err(Error::conflict(format!(
            "the policy or the description of model `{}` changed since it was read: read it again and decide again",
            terms.model.escape_debug()
        )))
    }

    /// Whether one change is allowed now, and as what it is recorded.
    fn check(&self, mut change: Change, actor: &str) -> Result<Change, Refusal> {
        if let Change::RenameModel { model, .. } = &change {
            self.check_present_name(model)?;
        }
        if let Some(name) = change.model_mut()
            && let Some(model) = self.known(name)
        {
            // By the name that it has now.
            name.clone_from(&model.name);
            let of_deleted = matches!(
                change,
                Change::RestoreModel { .. } | Change::DeleteModel { .. } | Change::Purge { .. }
            );
            if !of_deleted {
                self.live_model(&model.name)?;
            }
        }
        match &mut change {
            Change::DescribeModel { model, description, tags } => {
                check_model(model)?;
                if !description.is_empty() {
                    check_text("description", description, TEXT_BYTES_MAX)?;
                }
                tags.iter().try_for_each(|(key, value)| check_tag(key, value))?;
            }
            Change::Register(record) => self.check_register(Arc::make_mut(record))?,
            Change::Review { model, version, verdict } => {
                let found = self.live(model, *version)?;
                if *verdict != Approval::Pending {
                    self.model(model)?.policy.check_reviewer(found, actor)?;
                }
            }
            Change::Describe { model, version, description } => {
                self.live(model, *version)?;
                if !description.is_empty() {
                    check_text("description", description, TEXT_BYTES_MAX)?;
                }
            }
            Change::Measure { model, version, metrics } => {
                let found = self.live(model, *version)?;
                check_metrics(metrics)?;
                if let Some(name) = metrics.keys().find(|name| found.record.metrics.contains_key(*name)) {
                    return Err(Error::conflict(format!(
                        "metric `{name}` of {model}/{version} was recorded when it was registered: measure under another name"
                    ))
                    .into());
                }
            }
            Change::MoveStage { model, version, from, to } => {
                let of = self.model(model)?;
                let Some(stages) = &of.policy.stages else {
                    return Err(Error::invalid(format!(
                        "`{model}` has no stages: set them by `Policy::stages` before a version is moved"
                    ))
                    .into());
                };
                let stage = of.stage_of(self.live(model, *version)?);
                if stage != Some(from) {
                    let stage = stage.unwrap_or("none");
                    return Err(Error::conflict(format!(
                        "{model}/{version} is in stage `{stage}`, expected was `{from}`: read it again and decide again"
                    ))
                    .into());
                }
                stages.check_move(from, to)?;
            }
            Change::SetPolicy { model, policy } => {
                check_model(model)?;
                policy.check()?;
                self.check_stages(model, policy)?;
            }
            Change::MoveAlias { model, alias, expect, to, back } => {
                check_alias(alias)?;
                self.check_move(model, alias, *expect, *to, *back)?;
            }
            Change::Tag { model, version, key, value } => {
                self.live(model, *version)?;
                check_tag(key, value.as_deref().unwrap_or_default())?;
            }
            Change::Delete { model, version } => {
                self.live(model, *version)?;
                let of = self.model(model)?;
                if let Some((alias, _)) = of.aliases.iter().find(|(_, alias)| alias.version == Some(*version))
                {
                    return Err(Error::conflict(format!(
                        "{model}/{version} cannot be deleted: {model}@{alias} points at it; move the alias first"
                    ))
                    .into());
                }
            }
            Change::Restore { model, version } => {
                self.deleted(model, *version)?;
            }
            Change::Purge { model, version } => {
                self.deleted(model, *version)?;
            }
            Change::DeleteModel { model } => {
                let of = self.live_model(model)?;
                let pointing = |(name, alias): (&String, &super::Alias)| Some((name.clone(), alias.version?));
                if let Some((alias, version)) = of.aliases.iter().find_map(pointing) {
                    return Err(Error::conflict(format!(
                        "model `{model}` cannot be deleted: {model}@{alias} points at {model}/{version}; remove the alias first"
                    ))
                    .into());
                }
            }
            Change::RestoreModel { model } => {
                if self.model(model)?.deleted.is_none() {
                    return Err(Error::conflict(format!("model `{model}` is not deleted")).into());
                }
            }
            Change::RenameModel { model, to } => self.check_rename(model, to)?,
            Change::Watermark { upload } => {
                if upload.unix_ms() > UploadId::UNIX_MS_MAX - WATERMARK_ROOM_MS {
                    return Err(Error::invalid(format!(
                        "the watermark {upload} leaves no room for uploads after it: set the clock of this machine"
                    ))
                    .into());
                }
                *upload = (*upload).max(self.watermark);
            }
        }
        Ok(change)
    }

    /// Whether whoever renames a model knows what it is called now.
    fn check_present_name(&self, name: &str) -> Result<()> {
        let Some(model) = self.known(name).filter(|model| model.name != name) else { return Ok(()) };
        let renamed = model.former.iter().rev().find(|former| former.name == name);
        let by = renamed.map_or(String::new(), |former| {
            let by = &former.until;
            format!(" by {} ({})", by.actor, by.reason)
        });
        Err(Error::conflict(format!(
            "model `{name}` was renamed{by} and is `{}` now: rename that, if it is still wanted",
            model.name
        )))
    }

    fn check_rename(&self, model: &str, to: &str) -> Result<()> {
        check_model(to)?;
        let of = self.model(model)?;
        match self.known(to) {
            None => Ok(()),
            Some(taken) if taken.name == of.name && to != of.name => Ok(()),
            Some(_) if to == of.name => Err(Error::conflict(format!(
                "model `{to}` has that name already: there is nothing to rename"
            ))),
            Some(taken) => {
                let why = if taken.name == to {
                    "there is".to_owned()
                } else {
                    format!("it leads to `{}`,", taken.name)
                };
                Err(Error::conflict(format!(
                    "model `{model}` cannot be named `{to}`: {why} a model of that name; choose another name"
                )))
            }
        }
    }

    fn check_move(
        &self,
        model: &str,
        alias: &str,
        expect: Expect,
        to: Option<u64>,
        back: bool,
    ) -> Result<()> {
        let now = self.model(model)?.aliases.get(alias).and_then(|alias| alias.version);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => now.is_none(),
            Expect::Version(version) => now == Some(version),
        };
        if !holds {
            let found = now.map_or("nothing".to_owned(), |version| format!("{model}/{version}"));
            let wanted = match expect {
                Expect::Version(version) => format!("{model}/{version}"),
                _ => "nothing".to_owned(),
            };
            let known = self.model(model)?.aliases.contains_key(alias);
            let why =
                if known { "somebody moved it; read it again and decide again" } else { "it never existed" };
            return Err(Error::conflict(format!(
                "{model}@{alias} points at {found}, expected was {wanted}: {why}"
            )));
        }
        if let Some(to) = to {
            self.servable(model, alias, to)?;
            let served = |alias: &super::Alias| alias.moves.iter().any(|step| step.to == Some(to));
            if back && self.model(model)?.aliases.get(alias).is_some_and(served) {
                return Ok(());
            }
            let failed: Vec<_> = self
                .gates(model, alias, to)?
                .into_iter()
                .filter(|gate| !gate.passed)
                .map(|gate| gate.detail)
                .collect();
            if !failed.is_empty() {
                return Err(Error::conflict(format!(
                    "{model}/{to} does not pass the gates of {model}@{alias}: {}",
                    failed.join("; ")
                )));
            }
        } else if now.is_none() {
            return Err(self.no_alias(model, alias));
        }
        Ok(())
    }

    /// Whether an alias may point at a version whatever its gates say: it is neither deleted nor rejected.
    pub(crate) fn servable(&self, model: &str, alias: &str, to: u64) -> Result<()> {
        self.live_model(model)?;
        let version = self.live(model, to)?;
        if version.approval != Approval::Rejected {
            return Ok(());
        }
        let by = version.reviews.iter().find(|review| review.verdict == Approval::Rejected);
        let why = by.map_or(String::new(), |review| format!(" by {}: {}", review.by.actor, review.by.reason));
        Err(Error::conflict(format!(
            "{model}@{alias} cannot point at {model}/{to}, which was rejected{why}; have the review changed first"
        )))
    }

    /// A version that is deleted, or whose model is, but not purged.
    fn deleted(&self, model: &str, version: u64) -> Result<()> {
        let found = self.version(&ModelVersion::new(model, version))?;
        if found.deleted.is_none() && self.model(model)?.deleted.is_none() {
            return Err(Error::conflict(format!("{model}/{version} is not deleted: delete it first")));
        }
        match &found.purged {
            None => Ok(()),
            Some(by) => Err(Error::conflict(format!(
                "{model}/{version} was purged by {} ({}): its files are gone",
                by.actor, by.reason
            ))),
        }
    }

    /// A model that is not deleted.
    fn live_model(&self, name: &str) -> Result<&super::Model> {
        let found = self.model(name)?;
        match &found.deleted {
            None => Ok(found),
            Some(by) => Err(Error::conflict(format!(
                "model `{name}` was deleted by {} ({}): restore it first",
                by.actor, by.reason
            ))),
        }
    }

    /// A version that is not deleted.
    fn live(&self, model: &str, version: u64) -> Result<&super::Version> {
        let found = self.version(&ModelVersion::new(model, version))?;
        if let Some(by) = &found.purged {
            return Err(Error::conflict(format!(
                "{model}/{version} was purged by {} ({}): its files are gone; register them again, as another version",
                by.actor, by.reason
            )));
        }
        match &found.deleted {
            None => Ok(found),
            Some(by) => Err(Error::conflict(format!(
                "{model}/{version} was deleted by {} ({}): restore it first",
                by.actor, by.reason
            ))),
        }
    }
}

const ACTOR_BYTES_MAX: usize = 256;
/// Over thirty years of uploads.
const WATERMARK_ROOM_MS: u64 = 1 << 40;
