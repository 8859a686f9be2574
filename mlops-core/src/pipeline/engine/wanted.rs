//! What a request gives to a pipeline, and what it wants of it.

use std::collections::BTreeMap;

use crate::pipeline::node::{Node, Work};
use crate::pipeline::pipeline::Pipeline;
use crate::pipeline::request::Injected;
use crate::{Digester, Error, Result};

/// The slot of a parameter, and the value that was asked for.
pub(super) fn parameter(
    pipeline: &Pipeline,
    name: &str,
    json: &serde_json::Value,
) -> Result<(usize, Injected)> {
    let params = || {
        pipeline.nodes.iter().filter_map(|node| match &node.work {
            Work::Param(param) => Some((node, param)),
            _ => None,
        })
    };
    let Some((node, param)) = params().find(|(node, _)| &*node.name == name) else {
        let known: Vec<_> = params().map(|(node, _)| &*node.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Error::invalid(format!("there is no parameter `{name}`: there are {known}")));
    };
    let value = (param.of_json)(json).map_err(|error| error.context(format!("parameter `{name}`")))?;
    let mut digester = Digester::new();
    (node.outputs[0].codec.encode)(&value, &mut digester)?;
    Ok((node.first, Injected { value, digest: digester.finish() }))
}

/// The nodes that the wanted slots need; without any, those that all last nodes need.
pub(super) fn needed(pipeline: &Pipeline, only: &[usize], given: &BTreeMap<usize, Injected>) -> Vec<bool> {
    let nodes = &pipeline.nodes;
    let mut needed = vec![only.is_empty(); nodes.len()];
    if only.is_empty() && given.is_empty() {
        return needed;
    }
    let upstream = |node: &Node| {
        let sources = node.sources.iter().flat_map(|source| source.slots().to_vec());
        let guards = node.guards.iter().flat_map(|guard| [Some(guard.slot), None]);
        let gates = node.guards.iter().filter_map(|guard| guard.gate);
        let slots: Vec<usize> = sources.chain(guards.flatten()).collect();
        slots.into_iter().map(|slot| pipeline.slots[slot].0).chain(gates).collect::<Vec<_>>()
    };
    if only.is_empty() {
        for node in nodes {
            for index in upstream(node) {
                needed[index] = false;
            }
        }
    }
    for slot in only {
        needed[pipeline.slots[*slot].0] = true;
    }
    for (index, node) in nodes.iter().enumerate().rev() {
        let mut places = node.first..node.first + node.outputs.len();
        let is_given = !places.is_empty() && places.all(|slot| given.contains_key(&slot));
        if needed[index] && !is_given {
            for from in upstream(node) {
                needed[from] = true;
            }
        }
    }
    needed
}
