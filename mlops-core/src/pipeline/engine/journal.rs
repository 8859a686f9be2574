//! What a run leaves in its journal, and what it finds there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Engine;
use crate::pipeline::node::Work;
use crate::pipeline::store::{Committed, Entry, JOURNAL_FORMAT, Journal, Started};
use crate::{Digest, Digester, Error, Result};

/// What tells a run that was started otherwise from one that is executed elsewhere: both are a `Conflict`.
#[derive(Debug, thiserror::Error)]
#[error("its journal says so")]
pub(crate) struct StartedOtherwise;

impl Engine<'_> {
    /// Takes the journal of this run for this run alone, and notes in a new one what it starts with.
    pub(in crate::pipeline) fn open_journal(&mut self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let opened = Journal::open(&store.make_journal_folder(&self.scope.run)?, store.is_durable())?;
        let mut journal = opened.journal;
        if !self.replay(opened.entries)? {
            journal.append(&[Entry::Started(self.start())], false)?;
        }
        self.journal = Mutex::new(Some(journal));
        Ok(())
    }

    /// Reads the journal of this run, if there is one, and leaves it as it is.
    pub(in crate::pipeline) fn read_journal(&mut self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let entries = store.read_journal(&self.scope.run)?;
        self.replay(entries).map(drop)
    }

    fn replay(&mut self, entries: Vec<Entry>) -> Result<bool> {
        let mut has_start = false;
        for entry in entries {
            match entry {
                Entry::Started(before) => {
                    self.check_start(&before)?;
                    has_start = true;
                }
                Entry::Committed(done) => {
                    self.committed.insert(done.step.clone(), done);
                }
            }
        }
        Ok(has_start)
    }

    fn check_start(&self, before: &Started) -> Result<()> {
        let now = self.start();
        let mut changes = Vec::new();
        if (&before.pipeline, before.wiring) != (&now.pipeline, now.wiring) {
            changes.push("another wiring".to_owned());
        }
        if before.seed != now.seed {
            changes.push(format!("seed {}, not {}", before.seed.value(), now.seed.value()));
        }
        for (name, digest) in &before.given {
            if now.given.get(name) != Some(digest) {
                changes.push(format!("another value of `{name}`"));
            }
        }
        changes.extend(
            now.given
                .keys()
                .filter(|name| !before.given.contains_key(*name))
                .map(|n| format!("no value of `{n}`")),
        );
        if changes.is_empty() {
            return Ok(());
        }
        let (run, changes) = (&self.scope.run, changes.join(", "));
        let message = format!(
            "run `{run}` was started with {changes}: start a run of another id, the cache has what is still valid"
        );
        Err(Error::conflict(message).with_source(StartedOtherwise))
    }

    fn start(&self) -> Started {
        let mut wiring = Digester::new();
        for node in &self.pipeline.nodes {
            wiring.update(node.fixed.as_bytes());
            wiring.update([u8::from(node.step.always)]);
            for source in &node.sources {
                for slot in source.slots() {
                    wiring.update((*slot as u64).to_le_bytes());
                }
                wiring.update(u64::MAX.to_le_bytes());
            }
            for guard in &*node.guards {
                wiring.update((guard.slot as u64).to_le_bytes());
                wiring.update([u8::from(guard.wanted)]);
            }
        }
        let mut given: BTreeMap<String, Digest> = BTreeMap::new();
        for node in &self.pipeline.nodes {
            if let Work::Param(param) = &node.work {
                given.insert(node.name.to_string(), param.digest);
            }
        }
        for (slot, value) in &self.given {
            given.insert(self.output_name(*slot).to_string(), value.digest);
        }
        Started {
            format: JOURNAL_FORMAT,
            pipeline: self.pipeline.name.to_string(),
            wiring: wiring.finish(),
            given,
            seed: self.scope.seed,
            time: self.started,
        }
    }

    /// Notes that a step's result came from the cache. It is in the journal before anything that is computed from
    /// it, so that a resumed run goes on from the very same values.
    pub(in crate::pipeline) fn take_from_cache(&self, hit: Committed) {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner).push(hit);
    }

    /// Writes what came from the cache since the last time.
    pub(in crate::pipeline) fn commit_hits(&self, sync: bool) -> Result<()> {
        let mut guard = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(journal) = guard.as_mut() else { return Ok(()) };
        let hits = std::mem::take(&mut *self.hits.lock().unwrap_or_else(PoisonError::into_inner));
        if hits.is_empty() && !sync {
            return Ok(());
        }
        journal.append(&hits.into_iter().map(Entry::Committed).collect::<Vec<_>>(), sync)
    }

    /// Notes that a step was computed; when this returns, it does not run again in this run.
    pub(in crate::pipeline) fn commit(&self, done: Committed) -> Result<()> {
        let mut guard = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.as_mut() {
            Some(journal) => journal.append(&[Entry::Committed(done)], true),
            None => Ok(()),
        }
    }
}
