//! The tree operations of `ai.onnx.ml` up to version 4: `TreeEnsembleRegressor` and `TreeEnsembleClassifier`.

use mlops_core::onnx::proto::NodeProto;

use super::ml::names;
use super::{Compiler, floats, int, ints, text};
use crate::runtime::native::classify::{Classify, Rule};
use crate::runtime::native::forest::{Comparison, Forest, ForestSpec, NodeSpec, Split};
use crate::runtime::native::link::Activation;
use crate::runtime::native::plan::Matrix;
use crate::runtime::native::step::Operation;
use crate::{Error, Result};

impl<'a> Compiler<'a> {
    pub(super) fn tree_regressor(&mut self, node: &'a NodeProto) -> Result<()> {
        let targets = usize::try_from(int(node, "n_targets", 1)).unwrap_or(0);
        let ids = ["target_treeids", "target_nodeids", "target_ids"].map(|name| ints(node, name));
        let (weights, base) = (floats(node, "target_weights"), floats(node, "base_values"));
        let (x, mut spec) = self.forest(node, targets, ids, weights, base)?;
        spec.divisor = match text(node, "aggregate_function", "SUM")? {
            "SUM" => None,
            "AVERAGE" => Some(spec.trees.len() as f32),
            other => return Err(Error::unsupported(format!("the aggregate `{other}` of trees"))),
        };
        // ONNX Runtime leaves a lone score as it is, whatever the attribute says.
        match text(node, "post_transform", "NONE")? {
            "NONE" => {}
            other => return Err(Error::unsupported(format!("the transform `{other}` after a regression"))),
        }
        let forest = Box::new(Forest::new(spec)?);
        self.give_floats(node, Operation::Forest { x, forest, then: Activation::Identity }, &[targets])
    }

    pub(super) fn tree_classifier(&mut self, node: &'a NodeProto) -> Result<()> {
        let names = names(node, "classlabels_int64s", "classlabels_strings")?;
        let classes = names.len();
        let class_ids = ints(node, "class_ids");
        let weights = floats(node, "class_weights");
        let transform = match text(node, "post_transform", "NONE")? {
            "NONE" => Activation::Identity,
            "LOGISTIC" => Activation::LogisticMl,
            "SOFTMAX" => Activation::Softmax(classes),
            other => return Err(Error::unsupported(format!("the transform `{other}`"))),
        };
        let lone = class_ids.iter().all(|id| Some(id) == class_ids.first());
        let (targets, rule) = match (classes, lone, class_ids.first()) {
            (2, true, Some(0)) if weights.iter().all(|weight| *weight >= 0.0) => (1, Rule::Probability),
            (2, true, Some(0)) => (1, Rule::Margin),
            (2, true, _) => return Err(Error::unsupported("scores for the second of two classes alone")),
            (2, false, _) => (2, Rule::Second),
            _ => (classes, Rule::Largest),
        };
        let ids = [ints(node, "class_treeids"), ints(node, "class_nodeids"), class_ids];
        let base = floats(node, "base_values");
        // ONNX Runtime computes something of its own where there are two.
        if classes == 2 && base.len() > 1 || rule == Rule::Second && !base.is_empty() {
            return Err(Error::unsupported(format!("{} base values for two classes", base.len())));
        }
        let (x, spec) = self.forest(node, targets, ids, weights, base)?;
        let forest = Box::new(Forest::new(spec)?);
        let (scores, _) =
            self.floats(Operation::Forest { x, forest, then: Activation::Identity }, &[targets])?;
        self.classify(node, scores, Classify { classes, transform, rule }, names)
    }

    /// The trees of an ensemble. `ids` are the tree, the node and the target of each weight.
    fn forest(
        &mut self,
        node: &'a NodeProto,
        targets: usize,
        ids: [&[i64]; 3],
        weights: &[f32],
        base: &[f32],
    ) -> Result<(Matrix, ForestSpec<f32>)> {
        let (x, dims) = self.float_value(node, 0)?;
        let [features] = dims[..] else {
            return Err(Error::unsupported(format!("trees over rows of shape {dims:?}: want vectors")));
        };
        let doubles = [
            "nodes_values_as_tensor",
            "nodes_hitrates_as_tensor",
            "target_weights_as_tensor",
            "class_weights_as_tensor",
            "base_values_as_tensor",
        ];
        if doubles.iter().any(|name| super::attribute(node, name).is_some()) {
            return Err(Error::unsupported("trees in 64 bits: export the model with 32-bit floats"));
        }
        let nodes = Nodes::new(node)?;
        let trees = nodes.trees(ids, weights)?;
        if !base.is_empty() && base.len() != targets {
            let bases = base.len();
            return Err(Error::unsupported(format!("{bases} base values for {targets} scores")));
        }
        let (base, (trees, weights)) = (base.to_vec(), trees);
        Ok((x, ForestSpec { features, targets, trees, weights, base, base_first: false, divisor: None }))
    }
}

/// The columns that describe the nodes of an ensemble.
struct Nodes<'a> {
    tree: &'a [i64],
    node: &'a [i64],
    feature: &'a [i64],
    value: &'a [f32],
    yes: &'a [i64],
    no: &'a [i64],
    missing_yes: &'a [i64],
    modes: Vec<&'a str>,
}

type Trees = (Vec<Vec<NodeSpec<f32>>>, Vec<(u32, f32)>);

impl<'a> Nodes<'a> {
    fn new(node: &'a NodeProto) -> Result<Self> {
        let modes = super::attribute(node, "nodes_modes").map_or(&[][..], |attribute| &attribute.strings);
        let nodes = Self {
            tree: ints(node, "nodes_treeids"),
            node: ints(node, "nodes_nodeids"),
            feature: ints(node, "nodes_featureids"),
            value: floats(node, "nodes_values"),
            yes: ints(node, "nodes_truenodeids"),
            no: ints(node, "nodes_falsenodeids"),
            missing_yes: ints(node, "nodes_missing_value_tracks_true"),
            modes: modes.iter().map(|mode| super::utf8(mode)).collect::<Result<_>>()?,
        };
        let count = nodes.tree.len();
        let lengths = [
            ("nodes_nodeids", nodes.node.len()),
            ("nodes_featureids", nodes.feature.len()),
            ("nodes_values", nodes.value.len()),
            ("nodes_truenodeids", nodes.yes.len()),
            ("nodes_falsenodeids", nodes.no.len()),
            ("nodes_modes", nodes.modes.len()),
        ];
        for (name, length) in lengths {
            if length != count {
                return Err(Error::data(format!("`{name}` has {length} entries for {count} nodes")));
            }
        }
        if !nodes.missing_yes.is_empty() && nodes.missing_yes.len() != count {
            let length = nodes.missing_yes.len();
            return Err(Error::data(format!(
                "`nodes_missing_value_tracks_true` has {length} entries for {count} nodes"
            )));
        }
        Ok(nodes)
    }

    /// The trees in the order in which the file starts them, with the weights of their leaves.
    fn trees(&self, [tree_ids, node_ids, targets]: [&[i64]; 3], weights: &[f32]) -> Result<Trees> {
        let entries = weights.len();
        for length in [tree_ids.len(), node_ids.len(), targets.len()] {
            if length != entries {
                return Err(Error::data(format!("{length} places for {entries} leaf weights")));
            }
        }
        // Weights by leaf, in the order of the file.
        let mut order: Vec<usize> = (0..entries).collect();
        order.sort_by_key(|entry| (tree_ids[*entry], node_ids[*entry]));
        let flat = order
            .iter()
            .map(|entry| Ok((place(targets[*entry], "target")?, weights[*entry])))
            .collect::<Result<Vec<_>>>()?;
        let leaf = |tree: i64, node: i64| {
            let key = (tree, node);
            let first = order.partition_point(|entry| (tree_ids[*entry], node_ids[*entry]) < key);
            let end = order.partition_point(|entry| (tree_ids[*entry], node_ids[*entry]) <= key);
            (first, end - first)
        };

        let mut trees = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut start = 0;
        while start < self.tree.len() {
            let id = self.tree[start];
            let length = self.tree[start..].iter().take_while(|tree| **tree == id).count();
            let range = start..start + length;
            places.clear();
            for (place, index) in range.clone().enumerate() {
                if places.insert(self.node[index], place).is_some() {
                    return Err(Error::data(format!("node {} of tree {id} occurs twice", self.node[index])));
                }
            }
            trees.push(self.tree(id, range, &places, &leaf)?);
            start += length;
        }
        Ok((trees, flat))
    }

    fn tree(
        &self,
        id: i64,
        range: std::ops::Range<usize>,
        places: &std::collections::HashMap<i64, usize>,
        leaf: &impl Fn(i64, i64) -> (usize, usize),
    ) -> Result<Vec<NodeSpec<f32>>> {
        let mut tree = vec![NodeSpec::Leaf { first: 0, count: 0 }; range.len()];
        for (own, index) in range.enumerate() {
            let comparison = match self.modes[index] {
                "LEAF" => {
                    let (first, count) = leaf(id, self.node[index]);
                    tree[own] = NodeSpec::Leaf {
                        first: place(first as i64, "leaf")?,
                        count: place(count as i64, "leaf")?,
                    };
                    continue;
                }
                "BRANCH_LT" => Comparison::Less,
                "BRANCH_LEQ" => Comparison::LessOrEqual,
                "BRANCH_GT" => Comparison::Greater,
                "BRANCH_GTE" => Comparison::GreaterOrEqual,
                "BRANCH_EQ" => Comparison::Equal,
                "BRANCH_NEQ" => Comparison::NotEqual,
                other => return Err(Error::unsupported(format!("the comparison `{other}` of a tree"))),
            };
            let child = |node: i64| {
                let place = places.get(&node).map(|place| *place as u32);
                place.ok_or_else(|| {
                    Error::data(format!(
                        "node {} of tree {id} has the child {node}, which is not there",
                        self.node[index]
                    ))
                })
            };
            let split = Split {
                feature: place(self.feature[index], "feature")?,
                threshold: self.value[index],
                yes: child(self.yes[index])?,
                no: child(self.no[index])?,
                // NaN is unequal to everything.
                missing_yes: comparison == Comparison::NotEqual
                    || self.missing_yes.get(index).is_some_and(|flag| *flag != 0),
            };
            ForestSpec::split(&mut tree, own, comparison, split)?;
        }
        Ok(tree)
    }
}

pub(super) fn place(number: i64, what: &str) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::data(format!("the {what} {number}: want 0 to 2^32")))
}
