//! What a run leaves in its journal, and what it finds there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Engine;
use crate::pipeline::node::Work;
use crate::pipeline::store::{Committed, Entry, JOURNAL_FORMAT, Journal, Started};
use crate::{Digest, Digester, Error, Result};

pub(super) struct OpenJournal {
    journal: Journal,
    has_start: bool,
}

impl Engine<'_> {
    /// Takes the journal of this run, if there is one, for this run alone.
    pub(in crate::pipeline) fn lock_journal(&mut self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let Some(opened) = Journal::open(&store.journal_path(&self.scope.run)?, false, store.is_durable())?
        else {
            return Ok(());
        };
        let has_start = self.replay(opened.entries)?;
        self.journal = Mutex::new(Some(OpenJournal { journal: opened.journal, has_start }));
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
            changes.push(format!("seed {}", before.seed.value()));
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
        Err(Error::conflict(format!(
            "run `{run}` was started with {changes}: start a run of another id, the cache has what is still valid"
        )))
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

    /// Makes sure that this run alone has its journal, before anything is computed.
    pub(in crate::pipeline) fn begin(&self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let mut guard = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.as_ref().is_some_and(|open| open.has_start) {
            return Ok(());
        }
        let mut journal = match guard.take() {
            Some(open) => open.journal,
            None => {
                let path = store.make_journal_folder(&self.scope.run)?;
                match Journal::open(&path, true, store.is_durable())? {
                    Some(opened) if opened.entries.is_empty() => opened.journal,
                    _ => {
                        let run = &self.scope.run;
                        return Err(Error::conflict(format!("run `{run}` was just started elsewhere")));
                    }
                }
            }
        };
        journal.append(&Entry::Started(self.start()))?;
        *guard = Some(OpenJournal { journal, has_start: true });
        Ok(())
    }

    pub(in crate::pipeline) fn commit(&self, done: Committed) -> Result<()> {
        let mut guard = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.as_mut() {
            Some(open) => open.journal.append(&Entry::Committed(done)),
            None => Ok(()),
        }
    }
}
