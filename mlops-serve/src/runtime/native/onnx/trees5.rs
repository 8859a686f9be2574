//! The tree operation of `ai.onnx.ml` from version 5 on: `TreeEnsemble`.

use mlops_core::onnx::proto::{NodeProto, TensorProto, data_type};

use super::trees::place;
use super::{Compiler, attribute, int, ints};
use crate::runtime::native::forest::{Comparison, Forest, ForestSpec, NodeSpec, Split};
use crate::runtime::native::link::Activation;
use crate::runtime::native::step::Operation;
use crate::{Error, Result};

impl<'a> Compiler<'a> {
    pub(super) fn tree_ensemble(&mut self, node: &'a NodeProto) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        let [features] = dims[..] else {
            return Err(Error::unsupported(format!("trees over rows of shape {dims:?}: want vectors")));
        };
        let targets = usize::try_from(int(node, "n_targets", 1)).unwrap_or(0);
        let nodes = Nodes::new(node)?;
        let mut trees = Vec::with_capacity(nodes.roots.len());
        let mut taken = vec![false; nodes.modes.len()];
        for root in nodes.roots {
            trees.push(nodes.tree(*root, &mut taken)?);
        }
        let divisor = match int(node, "aggregate_function", 1) {
            0 => Some(trees.len() as f32),
            1 => None,
            other => {
                return Err(Error::unsupported(format!(
                    "the aggregate {other} of trees: want 0 (average) or 1 (sum)"
                )));
            }
        };
        match int(node, "post_transform", 0) {
            0 => {}
            other => {
                return Err(Error::unsupported(format!("the transform {other} after trees: want 0 (none)")));
            }
        }
        let weights = nodes.targets.iter().zip(&nodes.weights);
        let weights = weights.map(|(target, weight)| Ok((place(*target, "target")?, *weight)));
        let weights = weights.collect::<Result<_>>()?;
        let base = Vec::new();
        let forest =
            Forest::new(ForestSpec { features, targets, trees, weights, base, base_first: false, divisor })?;
        let operation = Operation::Forest { x, forest: Box::new(forest), then: Activation::Identity };
        self.give_floats(node, operation, &[targets])
    }
}

/// The columns that describe the nodes and the leaves of all trees.
struct Nodes<'a> {
    roots: &'a [i64],
    modes: Vec<u8>,
    feature: &'a [i64],
    split: Vec<f32>,
    yes: &'a [i64],
    yes_is_leaf: &'a [i64],
    no: &'a [i64],
    no_is_leaf: &'a [i64],
    missing_yes: &'a [i64],
    /// For each node, the set that it tests membership of.
    sets: Vec<Vec<f32>>,
    targets: &'a [i64],
    weights: Vec<f32>,
}

const MEMBER: u8 = 6;

impl<'a> Nodes<'a> {
    fn new(node: &'a NodeProto) -> Result<Self> {
        let modes = bytes(node, "nodes_modes")?;
        let count = modes.len();
        let sets = sets(&modes, floats(node, "membership_values")?)?;
        let nodes = Self {
            roots: ints(node, "tree_roots"),
            modes,
            feature: ints(node, "nodes_featureids"),
            split: floats(node, "nodes_splits")?,
            yes: ints(node, "nodes_truenodeids"),
            yes_is_leaf: ints(node, "nodes_trueleafs"),
            no: ints(node, "nodes_falsenodeids"),
            no_is_leaf: ints(node, "nodes_falseleafs"),
            missing_yes: ints(node, "nodes_missing_value_tracks_true"),
            sets,
            targets: ints(node, "leaf_targetids"),
            weights: floats(node, "leaf_weights")?,
        };
        let lengths = [
            ("nodes_featureids", nodes.feature.len()),
            ("nodes_splits", nodes.split.len()),
            ("nodes_truenodeids", nodes.yes.len()),
            ("nodes_trueleafs", nodes.yes_is_leaf.len()),
            ("nodes_falsenodeids", nodes.no.len()),
            ("nodes_falseleafs", nodes.no_is_leaf.len()),
        ];
        for (name, length) in lengths {
            if length != count {
                return Err(Error::data(format!("`{name}` has {length} entries for {count} nodes")));
            }
        }
        let flags = nodes.missing_yes.len();
        if flags != 0 && flags != count {
            return Err(Error::data(format!(
                "`nodes_missing_value_tracks_true` has {flags} entries for {count} nodes"
            )));
        }
        if nodes.targets.len() != nodes.weights.len() {
            let (targets, weights) = (nodes.targets.len(), nodes.weights.len());
            return Err(Error::data(format!("{targets} targets for {weights} leaf weights")));
        }
        Ok(nodes)
    }

    /// The tree below a node. No node may be in two trees, or at two places of one.
    fn tree(&self, root: i64, taken: &mut [bool]) -> Result<Vec<NodeSpec<f32>>> {
        let inner = |number: i64| {
            let place = usize::try_from(number).ok().filter(|place| *place < self.modes.len());
            place.ok_or_else(|| {
                Error::data(format!("there is no node {number}: there are {}", self.modes.len()))
            })
        };
        let mut tree = vec![NodeSpec::Leaf { first: 0, count: 0 }];
        // Nodes to come, with their places in the tree.
        let mut open = vec![(inner(root)?, 0)];
        while let Some((node, own)) = open.pop() {
            if std::mem::replace(&mut taken[node], true) {
                return Err(Error::data(format!("node {node} has two parents")));
            }
            let mut child = |is_leaf: i64, number: i64| {
                let at = tree.len();
                tree.push(NodeSpec::Leaf { first: 0, count: 1 });
                if is_leaf == 0 {
                    open.push((inner(number)?, at));
                } else {
                    tree[at] = NodeSpec::Leaf { first: place(number, "leaf")?, count: 1 };
                }
                place(at as i64, "node")
            };
            let (yes, no) = (
                child(self.yes_is_leaf[node], self.yes[node])?,
                child(self.no_is_leaf[node], self.no[node])?,
            );
            let comparison = match self.modes[node] {
                0 => Some(Comparison::LessOrEqual),
                1 => Some(Comparison::Less),
                2 => Some(Comparison::GreaterOrEqual),
                3 => Some(Comparison::Greater),
                4 => Some(Comparison::Equal),
                5 => Some(Comparison::NotEqual),
                MEMBER => None,
                other => return Err(Error::unsupported(format!("the comparison {other} of a tree"))),
            };
            let split = Split {
                feature: place(self.feature[node], "feature")?,
                threshold: self.split[node],
                yes,
                no,
                // NaN is unequal to everything.
                missing_yes: comparison == Some(Comparison::NotEqual)
                    || self.missing_yes.get(node).is_some_and(|flag| *flag != 0),
            };
            match comparison {
                Some(comparison) => ForestSpec::split(&mut tree, own, comparison, split)?,
                None => {
                    let set = self.sets[node].iter();
                    let edges: Vec<f32> = set.flat_map(|member| [*member, member.next_up()]).collect();
                    ForestSpec::split_by_ranges(&mut tree, own, split, &edges)?;
                }
            }
        }
        Ok(tree)
    }
}

/// The sets of the nodes that test membership, which NaN ends, in the order of the nodes.
fn sets(modes: &[u8], values: Vec<f32>) -> Result<Vec<Vec<f32>>> {
    let mut values = values.into_iter();
    let sets = modes.iter().map(|mode| match *mode {
        MEMBER => {
            let mut set: Vec<f32> = values.by_ref().take_while(|value| !value.is_nan()).collect();
            if set.is_empty() {
                return Err(Error::data("a tree tests membership of an empty set"));
            }
            if let Some(infinite) = set.iter().find(|member| member.is_infinite()) {
                return Err(Error::unsupported(format!("a tree tests membership of {infinite}")));
            }
            set.sort_by(f32::total_cmp);
            set.dedup_by(|a, b| a == b);
            Ok(set)
        }
        _ => Ok(Vec::new()),
    });
    let sets = sets.collect::<Result<_>>()?;
    match values.next() {
        None => Ok(sets),
        Some(value) => Err(Error::data(format!("the member {value} of sets of a tree belongs to no node"))),
    }
}

fn tensor<'a>(node: &'a NodeProto, name: &str) -> Option<&'a TensorProto> {
    attribute(node, name).and_then(|attribute| attribute.t.as_ref())
}

fn floats(node: &NodeProto, name: &str) -> Result<Vec<f32>> {
    match tensor(node, name) {
        None => Ok(Vec::new()),
        Some(tensor) if matches!(tensor.data_type, data_type::DOUBLE | data_type::FLOAT16) => Err(
            Error::unsupported(format!("`{name}` is not in 32 bits: export the model with 32-bit floats")),
        ),
        Some(tensor) => tensor.to_f32(),
    }
}

fn bytes(node: &NodeProto, name: &str) -> Result<Vec<u8>> {
    match tensor(node, name) {
        Some(tensor) if tensor.data_type == data_type::UINT8 && tensor.data_location == 0 => {
            let listed = tensor.int32_data.iter().map(|mode| u8::try_from(*mode).unwrap_or(u8::MAX));
            Ok(if tensor.raw_data.is_empty() { listed.collect() } else { tensor.raw_data.to_vec() })
        }
        _ => Err(Error::data(format!("`{name}` is no tensor of bytes"))),
    }
}
