//! What comes through the wires between nodes.

use std::sync::Arc;

use super::{Engine, Found, Settled, Value};
use crate::pipeline::handle::Source;
use crate::run::ArtifactRecord;
use crate::{Digest, Digester, Result};

impl Engine<'_> {
    pub(in crate::pipeline) fn slot(&self, slot: usize) -> Found<&Value> {
        if let Some(value) = self.given.get(&slot) {
            return Found::Value(value);
        }
        let (node, place) = self.pipeline.slots[slot];
        match self.settled[node].get() {
            Some(Settled::Done(done)) => done.values.get(place).map_or(Found::Waits, Found::Value),
            Some(Settled::Skipped) => Found::Skipped,
            Some(Settled::Asks(_) | Settled::Waits) | None => Found::Waits,
        }
    }

    pub(in crate::pipeline) fn input(&self, source: &Source) -> Result<Found<Value>> {
        match source {
            Source::One(slot) => Ok(match self.slot(*slot) {
                Found::Value(value) => Found::Value(value.clone()),
                Found::Skipped => Found::Skipped,
                Found::Waits => Found::Waits,
            }),
            Source::Many(slots, gather) => {
                let mut items = Vec::with_capacity(slots.len());
                let mut digests = Vec::with_capacity(slots.len());
                for slot in slots {
                    match self.slot(*slot) {
                        Found::Value(value) => {
                            items.push(value.erased.clone());
                            digests.push(value.digest);
                        }
                        Found::Skipped => return Ok(Found::Skipped),
                        Found::Waits => return Ok(Found::Waits),
                    }
                }
                Ok(Found::Value(Value { erased: gather(&items)?, digest: list_digest(digests.into_iter()) }))
            }
        }
    }

    pub(in crate::pipeline) fn output_name(&self, slot: usize) -> &Arc<str> {
        let (node, place) = self.pipeline.slots[slot];
        &self.pipeline.nodes[node].outputs[place].name
    }

    /// The artifacts that come in through this wire, as far as they are known.
    pub(in crate::pipeline) fn artifacts(&self, source: &Source) -> impl Iterator<Item = ArtifactRecord> {
        source.slots().iter().filter_map(|slot| match self.slot(*slot) {
            Found::Value(value) => {
                Some(ArtifactRecord { name: self.output_name(*slot).clone(), digest: value.digest })
            }
            Found::Skipped | Found::Waits => None,
        })
    }
}

/// The digest of a list that its items decide.
pub(super) fn list_digest(items: impl Iterator<Item = Digest>) -> Digest {
    let mut digester = Digester::new();
    digester.field("list");
    for item in items {
        digester.update(item.as_bytes());
    }
    digester.finish()
}
