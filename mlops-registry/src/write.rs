//! Commits: from a draft to an entry of the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use mlops_core::{Digest, Error, Result};

use crate::content::Content;
use crate::draft::Step;
use crate::log::Appended;
use crate::many::at_once;
use crate::prepare::{Prepared, prepare};
use crate::registry::Registry;
use crate::state::{Refusal, Request, checkpoint};
use crate::telemetry::{self, Amount, Call};
use crate::{
    Change, Commit, Draft, FileRecord, LeftBehind, NewVersion, Receipt, Snapshot, UploadId, VersionRecord,
    blobs,
};

impl Registry {
    /// Commits a draft: uploads its files, then adds one entry to the log.
    ///
    /// When it returns, the commit is durable. When it fails with `Unavailable`, the outcome may be unknown:
    /// commit the same draft with the same [`key`](Draft::key) again; for a draft without one, the message tells
    /// the key to take. When it is dropped or the process dies, the commit has happened whole or not at all.
    ///
    /// Bytes that the registry holds already are not uploaded again, unless they are gone or cut off. Of a big file each
    /// part that fails is sent again, in clouds for minutes. If its upload breaks off all the same, the next try begins
    /// that file anew, and finds the big files before it that were whole. Big files go one by one after the small ones:
    /// one that fails takes back its own parts. If the call is dropped or the process dies meanwhile, parts stay in a
    /// bucket until a rule of it removes unfinished uploads.
    ///
    /// # Errors
    /// `Conflict` if an expectation does not hold (read and decide again), `NotFound` if a named thing does not
    /// exist, `Invalid` if a name, a value or the reuse of a key is wrong, `Unsupported` if the storage cannot
    /// be written, `Unavailable` if it is out of reach or full, `Data` if the log is damaged.
    pub async fn commit(&self, draft: Draft) -> Result<Receipt> {
        let outcome = |receipt: &Receipt| if receipt.replayed { "replayed" } else { "committed" };
        let attempts = AtomicU32::new(1);
        let write = self.write(&draft, &attempts);
        telemetry::told(&self.inner, Call::Commit(&draft, &attempts), outcome, write).await
    }

    async fn write(&self, draft: &Draft, attempts: &AtomicU32) -> Result<Receipt> {
        let capabilities = self.inner.log.capabilities();
        if !capabilities.create_if_absent || !capabilities.read_after_write {
            return Err(Error::unsupported(format!(
                "`{}` can only be read: its storage cannot create an entry atomically",
                self.inner.location
            )));
        }
        let prepared = prepare(draft, self).await?;
        let mut state = self.refresh().await?;
        if prepared.records.is_empty() {
            // Nothing to upload: what is wrong with the draft shows when it is planned.
        } else if draft.key.as_ref().is_none_or(|key| state.operation(key).is_none()) {
            self.rehearse(draft, &prepared, &state).await?;
        }
        let operation = match &draft.key {
            Some(key) => key.clone(),
            None => self.fresh(&state)?.to_string(),
        };
        let mut uploads = HashMap::new();
        let mut expired = 0;
        let mut checkpoints = 0;
        loop {
            if let Some(done) = state.operation(&operation) {
                if done.request != prepared.digest {
                    return Err(Error::invalid(format!(
                        "the key `{operation}` was used for other changes at log entry {}: take a new key",
                        done.sequence
                    )));
                }
                // Whoever wrote it may have died before it was durable.
                self.inner.log.sync(done.sequence).await?;
                let (commit, digest) = self.entry(done.sequence).await?;
                let left = self.left_by(draft, &prepared, &commit, digest).await?;
                return Ok(Receipt { commit, replayed: true, left });
            }
            let (changes, left) = self.changes(draft, &prepared, &state, Some(&mut uploads)).await?;
            let request = Request {
                operation: operation.clone(),
                digest: prepared.digest,
                actor: draft.actor.clone(),
                reason: draft.reason.clone(),
                changes,
            };
            let (mut commit, mut next) = match state.plan(&request, self.inner.clock.now()) {
                Ok(planned) => planned,
                Err(Refusal::Error(error)) => return Err(error),
                Err(Refusal::UploadExpired(sha256)) => {
                    expired += 1;
                    if expired == UPLOAD_TRIES_MAX {
                        return Err(Error::unavailable(format!(
                            "the uploads of this commit were swept {expired} times before it was done: sweep with a \
                             longer grace, and commit again"
                        )));
                    }
                    uploads.remove(&sha256);
                    continue;
                }
            };
            // The commit itself weighs one, which `finish` adds.
            let due = checkpoint::is_due(state.weight(), next.weight() + 1);
            // A big state takes a while to encode, in which others may win the place again and again.
            let kept = if due && state.sequence() > 0 && checkpoints < CHECKPOINT_TRIES_MAX {
                checkpoints += 1;
                let (bytes, sha256) = checkpoint::encode(&state)?;
                commit.checkpoint = Some(sha256);
                Some(bytes)
            } else {
                None
            };
            if let Some(digest) = self.append(&commit).await? {
                next.finish(&commit, digest)?;
                let left = next.still_left(left);
                self.publish(next);
                if let Some(bytes) = kept {
                    // It may fail: the log alone holds the truth.
                    let _ = self.inner.log.save_checkpoint(state.sequence(), bytes.into()).await;
                }
                return Ok(Receipt { commit, replayed: false, left });
            }
            attempts.fetch_add(1, Ordering::Relaxed);
            telemetry::add(&self.inner, Amount::RacesLost, 1);
            state = self.refresh().await?;
        }
    }

    async fn entry(&self, sequence: u64) -> Result<(Commit, Digest)> {
        match self.chain(sequence, 1).await?.pop() {
            Some(found) => Ok(found),
            None => Err(Error::data(format!(
                "log entry {sequence} is gone: restore it from a backup of the registry"
            ))),
        }
    }

    /// Whether a draft would be committed on a state, before its files are uploaded.
    async fn rehearse(&self, draft: &Draft, prepared: &Prepared, state: &Snapshot) -> Result<()> {
        let request = Request {
            operation: draft.key.clone().unwrap_or_else(|| "rehearsal".to_owned()),
            digest: prepared.digest,
            actor: draft.actor.clone(),
            reason: draft.reason.clone(),
            changes: self.changes(draft, prepared, state, None).await?.0,
        };
        match state.plan(&request, self.inner.clock.now()) {
            Err(Refusal::Error(error)) => Err(error),
            Ok(_) | Err(Refusal::UploadExpired(_)) => Ok(()),
        }
    }

    /// The changes that a draft means on a state, and what its roll-backs leave behind; uploads the blobs that the
    /// state does not have, if there is a place to note them.
    pub(crate) async fn changes(
        &self,
        draft: &Draft,
        prepared: &Prepared,
        state: &Snapshot,
        mut uploads: Option<&mut HashMap<Digest, UploadId>>,
    ) -> Result<(Vec<Change>, Vec<LeftBehind>)> {
        let mut changes = Vec::with_capacity(draft.steps.len());
        let mut all_left = Vec::new();
        let mut records = prepared.records.iter();
        for step in &draft.steps {
            match step {
                Step::Change(change) => changes.push(change.clone()),
                Step::Watermark(upload) => changes.push(Change::Watermark { upload: *upload }),
                Step::Unchanged(terms) => state.check_unchanged(terms)?,
                Step::RollBack { model, alias, at } => {
                    let after = state.foresee(&changes, draft);
                    let (moves, left) = state.roll_back(&after, model.as_deref(), alias.as_deref(), *at)?;
                    changes.extend(moves);
                    all_left.extend(left);
                }
                Step::Register(version) => {
                    // `prepare` made one record for each of these steps, in this order.
                    let Some(mut record) = records.next().cloned() else { continue };
                    if let Some(uploads) = &mut uploads {
                        self.upload_all(&record, version, state, uploads).await?;
                    }
                    for file in record.files.values_mut() {
                        let made = uploads.as_ref().map(|uploads| uploads[&file.sha256]);
                        file.upload = made.unwrap_or_else(|| state.watermark());
                    }
                    changes.push(Change::Register(Arc::new(record)));
                }
            }
        }
        Ok((changes, all_left))
    }

    /// Sees to it that the bytes of all files of a version are stored, and notes the uploads that hold them.
    async fn upload_all(
        &self,
        record: &VersionRecord,
        version: &NewVersion,
        state: &Snapshot,
        uploads: &mut HashMap<Digest, UploadId>,
    ) -> Result<()> {
        let done = |sha256: &Digest| {
            let known = state.upload(sha256);
            uploads.get(sha256).is_some_and(|made| known.is_none_or(|known| known == *made))
        };
        let mut met = HashSet::new();
        let mut missing = record.files.clone();
        missing.retain(|_, file| met.insert(file.sha256) && !done(&file.sha256));
        let upload = |(name, file): (String, FileRecord)| async move {
            Ok((file.sha256, self.upload(&file, &version.files[&name], state).await?))
        };
        let (big, small): (Vec<_>, Vec<_>) = missing.into_iter().partition(|(_, file)| blobs::is_big(file));
        uploads.extend(at_once(small.into_iter(), upload).await?);
        // One by one: their parts go several at once, so memory stays at some parts, and no other file that fails breaks
        // off an upload in parts.
        for file in big {
            uploads.extend([upload(file).await?]);
        }
        Ok(())
    }

    /// The upload that holds the bytes of a file; makes one if there is none.
    async fn upload(&self, record: &FileRecord, content: &Content, state: &Snapshot) -> Result<UploadId> {
        let blobs = &self.inner.blobs;
        match state.upload(&record.sha256) {
            Some(upload) => {
                let record = FileRecord { upload, ..record.clone() };
                // What was lost is brought back: these are the same bytes, and nobody sweeps what is referred to.
                if blobs.size(&record).await? != Some(record.size_bytes) {
                    self.put(&record, content).await?;
                }
                Ok(upload)
            }
            None => match blobs.find(record, state.watermark()).await? {
                Some(upload) => Ok(upload),
                None => {
                    let upload = self.fresh(state)?;
                    self.put(&FileRecord { upload, ..record.clone() }, content).await?;
                    Ok(upload)
                }
            },
        }
    }

    async fn put(&self, file: &FileRecord, content: &Content) -> Result<()> {
        self.inner.blobs.put(file, content).await?;
        telemetry::add(&self.inner, Amount::BytesUploaded, file.size_bytes);
        Ok(())
    }

    /// Tries to make a commit the next entry; gives its digest. `None` if another one is: look at the new state.
    ///
    /// The place is left only when it is known to be taken by another: an error may hide a success.
    async fn append(&self, commit: &Commit) -> Result<Option<Digest>> {
        let sequence = commit.sequence;
        let (entry, digest) = commit.encode()?;
        // An entry stays for ever: one that does not read back as it is would end the log.
        if !Commit::decode(sequence, &entry).is_ok_and(|(read, _)| read == *commit) {
            return Err(Error::invalid(
                "the commit would not read back as it is written: a number of it is NaN or infinite; look at its \
                 evaluations and at the limits of its gates",
            ));
        }
        let entry = Bytes::from(entry);
        let unknown = |error: Error| {
            if !error.is_retryable() {
                return error;
            }
            error.context(format!(
                "it is unknown whether log entry {sequence} was or will be written: commit again with `.key(\"{}\")`",
                commit.operation.escape_debug()
            ))
        };
        let mut failure = None;
        for _ in 0..APPEND_TRIES_MAX {
            match self.inner.log.append(sequence, entry.clone()).await {
                Ok(Appended::Created) => return Ok(Some(digest)),
                Ok(Appended::Taken) => failure = None,
                Err(error) => failure = Some(error),
            }
            let found = match self.inner.log.read(sequence, 1).await {
                Ok(mut found) => found.pop(),
                Err(error) => return Err(unknown(failure.unwrap_or(error))),
            };
            if let Some(found) = found {
                if found != entry {
                    return Ok(None);
                }
                // It is there although the answer was no clear success: it may not have reached the disk.
                self.inner.log.sync(sequence).await.map_err(unknown)?;
                return Ok(Some(digest));
            }
            if failure.as_ref().is_some_and(|error| !error.is_retryable()) {
                break;
            }
        }
        Err(unknown(failure.unwrap_or_else(|| {
            Error::unavailable(format!(
                "the store says that log entry {sequence} exists but does not show it: it is not consistent"
            ))
        })))
    }
}

const APPEND_TRIES_MAX: usize = 4;
const CHECKPOINT_TRIES_MAX: u32 = 3;
const UPLOAD_TRIES_MAX: u32 = 8;
