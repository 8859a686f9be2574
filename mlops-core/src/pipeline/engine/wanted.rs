//! What a request gives to a pipeline, and what it wants of it.

use std::collections::BTreeMap;

use super::Value;
use super::wire::list_digest;
use crate::pipeline::node::{Node, Work};
use crate::pipeline::pipeline::Pipeline;
use crate::{Digester, Error, Result};

/// The slot of a parameter, and the value that was asked for.
pub(super) fn parameter(pipeline: &Pipeline, name: &str, json: &serde_json::Value) -> Result<(usize, Value)> {
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
    let erased = (param.of_json)(json).map_err(|error| error.context(format!("parameter `{name}`")))?;
    let mut digester = Digester::new();
    (node.outputs[0].codec.encode)(&erased, &mut digester)?;
    Ok((node.first, Value { erased, digest: digester.finish() }))
}

/// The values that are injected, named as the pipeline would name them: the list of a map by the digests of its items.
pub(super) fn injected(
    pipeline: &Pipeline,
    given: &BTreeMap<usize, Value>,
) -> Result<BTreeMap<usize, Value>> {
    let mut given = given.clone();
    for (slot, value) in &mut given {
        let node = &pipeline.nodes[pipeline.slots[*slot].0];
        if let Work::Each(each) = &node.work {
            let digest = |item| {
                let mut digester = Digester::new();
                (each.output.encode)(&item, &mut digester)?;
                Ok(digester.finish())
            };
            let items = (each.results)(&value.erased)?.into_iter().map(digest).collect::<Result<Vec<_>>>()?;
            value.digest = list_digest(items.into_iter());
        }
    }
    Ok(given)
}

/// The nodes that the wanted slots need; without any, those that all last nodes need.
pub(super) fn needed(pipeline: &Pipeline, only: &[usize], given: &BTreeMap<usize, Value>) -> Vec<bool> {
    let nodes = &pipeline.nodes;
    let mut needed = vec![only.is_empty(); nodes.len()];
    if only.is_empty() && given.is_empty() {
        return needed;
    }
    let slots = |node: &Node| {
        let sources = node.sources.iter().flat_map(|source| source.slots().to_vec());
        sources.chain(node.guards.iter().map(|guard| guard.slot)).collect::<Vec<_>>()
    };
    let gates = |node: &Node| node.guards.iter().filter_map(|guard| guard.gate).collect::<Vec<_>>();
    let mut wanted = vec![false; pipeline.slots.len()];
    only.iter().for_each(|slot| wanted[*slot] = true);
    if only.is_empty() {
        for node in nodes {
            let behind = slots(node).into_iter().map(|slot| pipeline.slots[slot].0);
            behind.chain(gates(node)).for_each(|index| needed[index] = false);
        }
    }
    for (index, node) in nodes.iter().enumerate().rev() {
        let places = node.first..node.first + node.outputs.len();
        let is_given = !places.is_empty() && places.clone().all(|slot| given.contains_key(&slot));
        needed[index] |= match is_given {
            true => places.clone().any(|slot| wanted[slot]),
            false => places.clone().any(|slot| wanted[slot] && !given.contains_key(&slot)),
        };
        if needed[index] && !is_given {
            slots(node).into_iter().for_each(|slot| wanted[slot] = true);
            gates(node).into_iter().for_each(|gate| needed[gate] = true);
        }
    }
    needed
}
