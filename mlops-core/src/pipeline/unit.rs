//! One execution of one step: found in the journal or the cache, or computed.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::artifact::{Codec, Erased};
use super::context::operation_id;
use super::engine::{Done, Engine, Halt, Value};
use super::handle::Source;
use super::key::{self, KeyFields};
use super::node::{Call, Node, Work};
use super::observer::Notice;
use super::store::{Committed, Header, RESULT_FORMAT, StoredOutput};
use crate::run::{ArtifactRecord, StepRecord, StepState};
use crate::{Digest, Digester, Error, ErrorKind, Result};

pub(super) struct Unit<'a> {
    pub(super) engine: &'a Engine<'a>,
    pub(super) node: &'a Node,
    /// The place of the item, for one of a map.
    pub(super) place: Option<usize>,
    pub(super) call: &'a Call,
    pub(super) inputs: &'a [Value],
}

/// Why a result has to be computed.
#[derive(Debug)]
pub(super) enum Miss {
    /// There is no store.
    NoStore,
    /// The step runs in every run.
    Always,
    /// The cache has nothing under the key.
    Absent,
    /// The cached result is older than the step allows.
    Expired(Duration),
    /// The cached result is damaged.
    Damaged(Error),
}

impl Unit<'_> {
    /// The result, from wherever it can be had.
    pub(super) fn obtain(&self) -> Result<Done, Halt> {
        let caught = catch_unwind(AssertUnwindSafe(|| self.found_or_computed()));
        caught.unwrap_or_else(|panic| {
            let step = self.name();
            Err(Halt::Failed { error: panicked("it", &*panic), step, attempts: 0 })
        })
    }

    fn found_or_computed(&self) -> Result<Done, Halt> {
        let key = self.key();
        match self.find(key)? {
            Ok(done) => {
                let step = self.name();
                if !self.engine.committed.contains_key(&*step) {
                    let outputs = done.values.iter().map(|value| value.digest).collect();
                    let (step, result) = (step.to_string(), self.result_id(key));
                    self.engine.take_from_cache(Committed { step, key, result, outputs });
                }
                Ok(done)
            }
            Err(Miss::NoStore) => self.compute(key),
            Err(miss) => {
                if let Miss::Damaged(error) = &miss {
                    self.engine.scope.notify(&Notice::CacheDamaged { step: &self.name(), error });
                }
                let reason = super::plan::reason(self, miss)?.to_string();
                Ok(Done { reason, ..self.compute(key)? })
            }
        }
    }

    /// The result if it was committed in this run or is in the cache; else why not.
    pub(super) fn find(&self, key: Digest) -> Result<Result<Done, Miss>> {
        let Some(store) = &self.engine.runner.store else { return Ok(Err(Miss::NoStore)) };
        let always = self.node.step.always;
        let committed = match &self.engine.committed {
            none if none.is_empty() => None,
            some => some.get(&*self.name()),
        };
        if committed.is_some_and(|committed| committed.key != key) {
            return Err(self.other_inputs());
        }
        let id = committed.map_or_else(|| self.result_id(key), |committed| committed.result);
        let loaded = store.load(&id).and_then(|found| match found {
            // Done in this run, but not committed.
            Some(result) if result.header.key != key && always && committed.is_none() => {
                Err(self.other_inputs())
            }
            Some(result) if result.header.key != key => {
                Err(Error::data(format!("the file of result {id} holds that of another key")))
            }
            Some(result) => {
                let values = self.decode(&result.header, result.outputs)?;
                Ok(Some((result.header, values)))
            }
            None => Ok(None),
        });
        let (header, values) = match loaded {
            Ok(Some(result)) => result,
            Ok(None) if always && committed.is_some() => {
                let name = self.name();
                return Err(Error::data(format!(
                    "the result of committed step `{name}` is gone: {NOT_TWICE}"
                )));
            }
            Ok(None) => return Ok(Err(if always { Miss::Always } else { Miss::Absent })),
            Err(error) if always && error.kind() != ErrorKind::Conflict => {
                let name = self.name();
                return Err(
                    error.context(format!("the result of committed step `{name}` is lost: {NOT_TWICE}"))
                );
            }
            Err(error) if matches!(error.kind(), ErrorKind::Data | ErrorKind::Unsupported) => {
                return Ok(Err(Miss::Damaged(error)));
            }
            Err(error) => return Err(error),
        };
        if committed.is_some_and(|done| !done.outputs.iter().eq(values.iter().map(|value| &value.digest))) {
            let name = self.name();
            return Err(Error::conflict(format!(
                "the result of committed step `{name}` was replaced by another run's: start a run of another id"
            )));
        }
        let resumed = always || committed.is_some();
        if let Some(limit) = self.node.step.expires_after.filter(|_| !resumed) {
            let age = self.engine.scope.clock.now().saturating_since(header.created);
            if age > limit {
                return Ok(Err(Miss::Expired(age)));
            }
        }
        let reason = if resumed {
            "committed in this run".to_owned()
        } else {
            format!("computed at {}", header.created)
        };
        Ok(Ok(Done {
            key: Some(key),
            reason,
            metrics: header.metrics,
            attempts: header.attempts,
            duration_us: header.duration_us,
            ..Done::with(if resumed { StepState::Resumed } else { StepState::Cached }, values)
        }))
    }

    #[cold]
    fn other_inputs(&self) -> Error {
        let name = self.name();
        Error::conflict(format!(
            "step `{name}` was done in this run for other inputs than it has now: start a run of another id"
        ))
    }

    /// Makes the result last, if there is a store, and names it by its content.
    pub(super) fn keep(&self, mut done: Done, outputs: Vec<Erased>) -> Result<Done> {
        let codecs = self.codecs();
        let Some(store) = &self.engine.runner.store else {
            done.values.reserve_exact(outputs.len());
            for (erased, codec) in outputs.into_iter().zip(codecs) {
                let mut digester = Digester::new();
                (codec.encode)(&erased, &mut digester)?;
                done.values.push(Value { erased, digest: digester.finish() });
            }
            return Ok(done);
        };
        let mut encoded = Vec::with_capacity(outputs.len());
        let mut stored = Vec::with_capacity(outputs.len());
        for (place, (erased, codec)) in outputs.into_iter().zip(codecs).enumerate() {
            let mut bytes = Vec::new();
            (codec.encode)(&erased, &mut bytes)?;
            let digest = Digest::of(&bytes);
            stored.push(StoredOutput { name: self.output_name(place), digest, bytes: bytes.len() });
            encoded.push(bytes);
            done.values.push(Value { erased, digest });
        }
        let key = done.key.unwrap_or_else(|| self.key());
        let header = Header {
            format: RESULT_FORMAT,
            key,
            fields: self.fields(),
            outputs: stored,
            metrics: done.metrics.clone(),
            created: self.engine.scope.clock.now(),
            attempts: done.attempts,
            duration_us: done.duration_us,
        };
        let id = self.result_id(key);
        store.save(&id, &header, &encoded)?;
        let outputs = done.values.iter().map(|value| value.digest).collect();
        self.engine.commit(Committed { step: self.name().to_string(), key, result: id, outputs })?;
        Ok(done)
    }

    fn decode(&self, header: &Header, outputs: Vec<bytes::Bytes>) -> Result<Vec<Value>> {
        let codecs: Vec<Codec> = self.codecs().collect();
        if codecs.len() != outputs.len() || header.outputs.len() != outputs.len() {
            let (want, got) = (codecs.len(), outputs.len());
            return Err(Error::data(format!("the result has {got} outputs, the step gives {want}")));
        }
        let values = codecs.iter().zip(outputs).zip(&header.outputs).map(|((codec, bytes), stored)| {
            Ok(Value { erased: (codec.decode)(bytes)?, digest: stored.digest })
        });
        values.collect()
    }

    /// What this execution is, for a map: that of one item.
    pub(super) fn name(&self) -> Arc<str> {
        match self.place {
            None => self.node.name.clone(),
            Some(place) => format!("{}[{place}]", self.node.name).into(),
        }
    }

    pub(super) fn key(&self) -> Digest {
        let seed = self.node.uses_context.then_some(self.engine.scope.seed);
        // The seed of an item of a map depends on its place.
        let place =
            self.place.filter(|_| self.node.uses_context).map(|place| Digest::of(place.to_le_bytes()));
        let inputs = self.inputs.iter().map(|input| input.digest).chain(place);
        key::key(&self.node.fixed, seed, inputs)
    }

    /// What the key is made of, to compare with an earlier one.
    pub(super) fn fields(&self) -> KeyFields {
        KeyFields {
            pipeline: self.engine.scope.pipeline.clone(),
            step: self.name(),
            code: self.node.code.to_owned(),
            version: self.node.step.version,
            formats: self.node.outputs.iter().map(|output| output.format.clone()).collect(),
            seed: self.node.uses_context.then_some(self.engine.scope.seed),
            inputs: self.artifacts(),
            params: self.short_params(),
        }
    }

    fn short_params(&self) -> BTreeMap<Arc<str>, String> {
        let Engine { pipeline, given, .. } = self.engine;
        let params = self.node.sources.iter().flat_map(Source::slots).filter_map(|slot| {
            let node = &pipeline.nodes[pipeline.slots[*slot].0];
            let Work::Param(param) = &node.work else { return None };
            let value = given.get(slot).map_or(&param.default, |given| &given.erased);
            let text = (param.to_json)(value).ok()?.to_string();
            (text.len() <= 40).then(|| (node.name.clone(), text))
        });
        params.collect()
    }

    /// The record of an item of a map.
    pub(super) fn record(&self, done: &Done) -> StepRecord {
        let mut record = StepRecord::new(self.name(), done.state);
        record.key = done.key;
        record.reason.clone_from(&done.reason);
        record.inputs = self.artifacts();
        let output = |(place, value): (usize, &Value)| ArtifactRecord {
            name: self.output_name(place),
            digest: value.digest,
        };
        record.outputs = done.values.iter().enumerate().map(output).collect();
        record.metrics.clone_from(&done.metrics);
        record.attempts = done.attempts;
        record.duration_us = done.duration_us;
        record
    }

    fn artifacts(&self) -> Vec<ArtifactRecord> {
        let mut sources = self.node.sources.iter();
        let mut artifacts = Vec::with_capacity(self.node.sources.len());
        if self.place.is_some()
            && let (Some(list), Some(item)) = (sources.next(), self.inputs.first())
        {
            let lists = list.slots().iter().map(|slot| self.engine.output_name(*slot).clone());
            artifacts.extend(lists.map(|name| ArtifactRecord { name, digest: item.digest }));
        }
        artifacts.extend(sources.flat_map(|source| self.engine.artifacts(source)));
        artifacts
    }

    fn output_name(&self, place: usize) -> Arc<str> {
        match self.place {
            Some(_) => self.name(),
            None => self.node.outputs[place].name.clone(),
        }
    }

    fn codecs(&self) -> impl Iterator<Item = Codec> {
        let item = match &self.node.work {
            Work::Each(each) => Some(each.output),
            _ => None,
        };
        let whole = if item.is_some() { &[] } else { self.node.outputs.as_slice() };
        item.into_iter().chain(whole.iter().map(|output| output.codec))
    }

    /// Under which name the store keeps the result: that of the run for what every run does anew.
    fn result_id(&self, key: Digest) -> Digest {
        if !self.node.step.always {
            return key;
        }
        operation_id(&self.engine.scope.pipeline, &self.engine.scope.run, &self.name())
    }
}

const NOT_TWICE: &str = "it does not run twice in one run; restore the store or start a run of another id";

#[cold]
pub(super) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("{what} panicked: {}", text.unwrap_or("without a text")))
}
