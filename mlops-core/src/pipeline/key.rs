//! Cache keys: what makes two executions of a step the same, and what made them differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::run::ArtifactRecord;
use crate::{Digest, Digester, Seed};

/// Everything that a cache key is made of. Time, paths and the id of the run are no part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyFields {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The step.
    pub step: Arc<str>,
    /// The path of the function.
    pub code: String,
    /// The version that was given to it.
    pub version: u32,
    /// The formats of its outputs.
    pub formats: Vec<String>,
    /// The seed of the run, if the step takes the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// The artifacts that it takes; parameters too.
    pub inputs: Vec<ArtifactRecord>,
    /// The parameters among them that are short, as JSON, for people: their digests count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<Arc<str>, String>,
}

/// The part of the key that the wiring alone decides, computed once per pipeline.
pub(super) fn fixed_part(pipeline: &str, step: &str, code: &str, version: u32, formats: &[String]) -> Digest {
    let mut digester = Digester::new();
    for field in [pipeline, step, code] {
        digester.field(field);
    }
    digester.update(version.to_le_bytes());
    for format in formats {
        digester.field(format);
    }
    digester.finish()
}

/// The whole key.
pub(super) fn key(fixed: &Digest, seed: Option<Seed>, inputs: impl Iterator<Item = Digest>) -> Digest {
    let mut digester = Digester::new();
    digester.update(fixed.as_bytes());
    if let Some(seed) = seed {
        digester.update(seed.value().to_le_bytes());
    }
    for input in inputs {
        digester.update(input.as_bytes());
    }
    digester.finish()
}

impl KeyFields {
    /// What changed from `before` to `self`, a sentence each, for people.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.code != before.code {
            changes.push(format!("function `{}` -> `{}`", before.code, self.code));
        }
        if self.version != before.version {
            changes.push(format!("version {} -> {}", before.version, self.version));
        }
        if self.formats != before.formats {
            changes.push(format!("output {} -> {}", before.formats.join(", "), self.formats.join(", ")));
        }
        if self.seed != before.seed {
            let show = |seed: Option<Seed>| seed.map_or("none".to_owned(), |seed| seed.value().to_string());
            changes.push(format!("seed {} -> {}", show(before.seed), show(self.seed)));
        }
        let (was, is) = (&before.inputs, &self.inputs);
        for index in 0..was.len().max(is.len()) {
            changes.extend(match (was.get(index), is.get(index)) {
                (Some(was), Some(is)) if was.digest != is.digest => {
                    let (from, to) = match (before.params.get(&was.name), self.params.get(&is.name)) {
                        (Some(from), Some(to)) => (from.clone(), to.clone()),
                        _ => (was.digest.short(), is.digest.short()),
                    };
                    Some(format!("input `{}` {from} -> {to}", is.name))
                }
                (None, Some(is)) => Some(format!("input `{}` is new", is.name)),
                (Some(was), None) => Some(format!("input `{}` is gone", was.name)),
                _ => None,
            });
        }
        changes
    }
}
