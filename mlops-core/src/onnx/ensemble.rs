//! Writes ensembles of decision trees.

use bytes::Bytes;

use super::proto::{AttributeProto, GraphProto};
use super::{Link, ModelProto, finite_f32, model_of, node, rows_of_f32, write};
use crate::{Error, Result};

/// A sum of regression trees: `link(base score + sum of the reached leaves)`.
///
/// Fill it from any learner; the thresholds are 64-bit, as most learners hold them. Written as
/// `TreeEnsembleRegressor`, followed by `Sigmoid` for [`Link::Logistic`]. The input is called `features`, of
/// shape `[batch, features]`, in 32-bit floats; the output `score`, of shape `[batch, 1]`.
///
/// Precision: a threshold is rounded up to the next 32-bit float, so that every 32-bit feature goes the way
/// that it goes in 64 bits. Leaves are rounded to nearest: a score of T trees differs from the 64-bit sum by
/// about T times 6e-8 of its largest term.
///
/// ```
/// use mlops_core::onnx::{Link, Tree, TreeEnsemble, TreeNode};
///
/// // Page values below 1.5, or unknown, hardly ever lead to a sale.
/// let stump = Tree::new(vec![
///     TreeNode::Split { feature: 0, threshold: 1.5, below: 1, not_below: 2, missing: 1 },
///     TreeNode::Leaf { value: -2.0 },
///     TreeNode::Leaf { value: 1.0 },
/// ]);
/// let model = TreeEnsemble::new(3, vec![stump]).base_score(0.25).link(Link::Logistic);
/// assert_eq!(model.score(&[0.0, 0.0, 0.0]), -1.75);
/// let bytes = model.to_bytes()?;
/// # assert!(!bytes.is_empty());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct TreeEnsemble {
    /// How many features a row has.
    pub features: usize,
    /// The trees.
    pub trees: Vec<Tree>,
    /// Added to every score.
    pub base_score: f64,
    /// How the score becomes the answer.
    pub link: Link,
}

/// A binary tree, or ternary where missing values have a branch of their own.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Tree {
    /// Its nodes; the first is the root.
    pub nodes: Vec<TreeNode>,
}

/// A node of a tree. Children are places in [`Tree::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeNode {
    /// A row that comes here gets this value.
    Leaf {
        /// The value.
        value: f64,
    },
    /// A row goes on to one of the children.
    Split {
        /// The feature that decides, counted from 0.
        feature: usize,
        /// What it is compared with; NaN is an error, infinities are allowed.
        threshold: f64,
        /// Where a row goes whose feature is below the threshold.
        below: usize,
        /// Where a row goes whose feature is at the threshold or above.
        not_below: usize,
        /// Where a row goes whose feature is NaN: one of the other two, or a third child.
        missing: usize,
    },
}

impl Tree {
    /// A tree with these nodes; the first is the root.
    pub fn new(nodes: Vec<TreeNode>) -> Self {
        Self { nodes }
    }
}

impl TreeEnsemble {
    /// An ensemble of these trees, with base score 0 and [`Link::Identity`].
    pub fn new(features: usize, trees: Vec<Tree>) -> Self {
        Self { features, trees, base_score: 0.0, link: Link::Identity }
    }

    /// Sets what is added to every score.
    #[must_use]
    pub fn base_score(mut self, base_score: f64) -> Self {
        self.base_score = base_score;
        self
    }

    /// Sets how the score becomes the answer.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// The score of a row before the link, in 64 bits: what the written model should give. NaN for an
    /// ensemble that [`to_model`](Self::to_model) refuses, or a row that is too short.
    pub fn score(&self, row: &[f64]) -> f64 {
        self.trees.iter().fold(self.base_score, |sum, tree| sum + tree.leaf(row).unwrap_or(f64::NAN))
    }

    /// The model as ONNX.
    ///
    /// # Errors
    /// `Invalid` if there is no tree, a tree is empty or no tree (a child is missing, shared or its own
    /// ancestor), a feature is out of range, a threshold is NaN, or a leaf is not finite as a 32-bit float.
    pub fn to_model(&self) -> Result<ModelProto> {
        if self.trees.is_empty() {
            return Err(Error::invalid("a tree ensemble without trees"));
        }
        let mut columns = Columns::default();
        for (index, tree) in self.trees.iter().enumerate() {
            columns.push_tree(self, index, tree)?;
        }
        let base_score = finite_f32(self.base_score, || "the base score".into())?;
        let ensemble = |output| {
            let mut ensemble = node("ai.onnx.ml", "TreeEnsembleRegressor", &["features"], output);
            ensemble.attribute = columns.into_attributes(base_score);
            ensemble
        };
        let node = match self.link {
            Link::Identity => vec![ensemble("score")],
            Link::Logistic => vec![ensemble("log_odds"), node("", "Sigmoid", &["log_odds"], "score")],
        };
        Ok(model_of(GraphProto {
            name: "tree_ensemble".into(),
            node,
            input: vec![rows_of_f32("features", self.features)],
            output: vec![rows_of_f32("score", 1)],
            ..GraphProto::default()
        }))
    }

    /// The model as the bytes of an ONNX file.
    ///
    /// # Errors
    /// As [`to_model`](Self::to_model).
    pub fn to_bytes(&self) -> Result<Bytes> {
        Ok(write(&self.to_model()?))
    }
}

impl Tree {
    /// The leaf that a row reaches; `None` if the tree is no tree or the row is too short.
    fn leaf(&self, row: &[f64]) -> Option<f64> {
        let mut place = 0;
        // A path without a cycle visits each node at most once.
        for _ in 0..self.nodes.len() {
            match *self.nodes.get(place)? {
                TreeNode::Leaf { value } => return Some(value),
                TreeNode::Split { feature, threshold, below, not_below, missing } => {
                    let value = *row.get(feature)?;
                    place = if value.is_nan() {
                        missing
                    } else if value < threshold {
                        below
                    } else {
                        not_below
                    };
                }
            }
        }
        None
    }
}

/// The attributes of `TreeEnsembleRegressor`: one entry a node, one entry a leaf.
#[derive(Default)]
struct Columns {
    tree: Vec<i64>,
    node: Vec<i64>,
    feature: Vec<i64>,
    mode: Vec<&'static str>,
    value: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing_yes: Vec<i64>,
    leaf_tree: Vec<i64>,
    leaf_node: Vec<i64>,
    leaf_weight: Vec<f32>,
}

impl Columns {
    fn push_tree(&mut self, ensemble: &TreeEnsemble, index: usize, tree: &Tree) -> Result<()> {
        let nodes = &tree.nodes;
        if nodes.is_empty() {
            return Err(Error::invalid(format!("tree {index} has no nodes")));
        }
        // Every node but the root has exactly one parent and is reached from the root.
        let mut seen = vec![false; nodes.len()];
        let mut open = vec![0];
        while let Some(place) = open.pop() {
            let wrong = |what: &str| Error::invalid(format!("node {place} of tree {index} {what}"));
            if std::mem::replace(&mut seen[place], true) {
                return Err(wrong("is the child of two nodes, or of itself"));
            }
            let TreeNode::Split { feature, below, not_below, missing, threshold } = nodes[place] else {
                continue;
            };
            if feature >= ensemble.features {
                let features = ensemble.features;
                return Err(wrong(&format!("splits on feature {feature}: there are {features}")));
            }
            if threshold.is_nan() {
                return Err(wrong("has the threshold NaN"));
            }
            let third = Some(missing).filter(|missing| *missing != below && *missing != not_below);
            for child in [Some(below), Some(not_below), third].into_iter().flatten() {
                if child >= nodes.len() {
                    return Err(wrong(&format!("has the child {child}: the tree has {} nodes", nodes.len())));
                }
                open.push(child);
            }
        }
        if let Some(place) = seen.iter().position(|seen| !seen) {
            return Err(Error::invalid(format!("node {place} of tree {index} is no node's child")));
        }

        // A third child for missing values takes a node of its own, before the split: `x <= inf` is true for
        // every number and false for NaN. Such nodes come after the tree's own; the root keeps place 0.
        let mut extra = nodes.len();
        for (place, node) in nodes.iter().enumerate() {
            match *node {
                TreeNode::Leaf { value } => {
                    let weight = finite_f32(value, || format!("leaf {place} of tree {index}"))?;
                    self.push_node(index, place, 0, "LEAF", 0.0, [0, 0], false);
                    self.leaf_tree.push(index as i64);
                    self.leaf_node.push(place as i64);
                    self.leaf_weight.push(weight);
                }
                TreeNode::Split { feature, threshold, below, not_below, missing } => {
                    let threshold = round_up(threshold);
                    let children = [below, not_below];
                    if children.contains(&missing) {
                        let yes = missing == below;
                        self.push_node(index, place, feature, "BRANCH_LT", threshold, children, yes);
                    } else {
                        self.push_node(
                            index,
                            place,
                            feature,
                            "BRANCH_LEQ",
                            f32::INFINITY,
                            [extra, missing],
                            false,
                        );
                        self.push_node(index, extra, feature, "BRANCH_LT", threshold, children, false);
                        extra += 1;
                    }
                }
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one for each column of the format")]
    fn push_node(
        &mut self,
        tree: usize,
        node: usize,
        feature: usize,
        mode: &'static str,
        value: f32,
        [yes, no]: [usize; 2],
        missing_yes: bool,
    ) {
        self.tree.push(tree as i64);
        self.node.push(node as i64);
        self.feature.push(feature as i64);
        self.mode.push(mode);
        self.value.push(value);
        self.yes.push(yes as i64);
        self.no.push(no as i64);
        self.missing_yes.push(missing_yes.into());
    }

    fn into_attributes(self, base_score: f32) -> Vec<AttributeProto> {
        let leaves = self.leaf_weight.len();
        vec![
            AttributeProto::of_text("aggregate_function", "SUM"),
            AttributeProto::of_floats("base_values", vec![base_score]),
            AttributeProto::of_int("n_targets", 1),
            AttributeProto::of_text("post_transform", "NONE"),
            AttributeProto::of_ints("nodes_treeids", self.tree),
            AttributeProto::of_ints("nodes_nodeids", self.node),
            AttributeProto::of_ints("nodes_featureids", self.feature),
            AttributeProto::of_texts("nodes_modes", self.mode),
            AttributeProto::of_floats("nodes_values", self.value),
            AttributeProto::of_ints("nodes_truenodeids", self.yes),
            AttributeProto::of_ints("nodes_falsenodeids", self.no),
            AttributeProto::of_ints("nodes_missing_value_tracks_true", self.missing_yes),
            AttributeProto::of_ints("target_treeids", self.leaf_tree),
            AttributeProto::of_ints("target_nodeids", self.leaf_node),
            AttributeProto::of_ints("target_ids", vec![0; leaves]),
            AttributeProto::of_floats("target_weights", self.leaf_weight),
        ]
    }
}

/// The smallest 32-bit float that is not below `threshold`: for every 32-bit `x`, `x < threshold` in 64 bits
/// if and only if `x < round_up(threshold)` in 32.
fn round_up(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) < threshold { nearest.next_up() } else { nearest }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stump(below: usize, not_below: usize, missing: usize) -> Vec<TreeNode> {
        let leaf = |value| TreeNode::Leaf { value };
        let split = TreeNode::Split { feature: 0, threshold: 0.1, below, not_below, missing };
        vec![split, leaf(-1.0), leaf(1.0), leaf(0.5)]
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let refuse = |nodes: Vec<TreeNode>, part: &str| {
            let error = TreeEnsemble::new(1, vec![Tree::new(nodes)]).to_bytes().unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        refuse(vec![], "tree 0 has no nodes");
        refuse(stump(1, 1, 1), "child of two nodes");
        refuse(stump(0, 2, 0), "or of itself");
        refuse(stump(1, 9, 1), "has the child 9: the tree has 4 nodes");
        refuse(stump(1, 2, 1), "node 3 of tree 0 is no node's child");
        let split =
            |feature, threshold| TreeNode::Split { feature, threshold, below: 1, not_below: 2, missing: 1 };
        let leaves = [TreeNode::Leaf { value: 0.0 }; 2];
        refuse([vec![split(1, 0.0)], leaves.to_vec()].concat(), "splits on feature 1: there are 1");
        refuse([vec![split(0, f64::NAN)], leaves.to_vec()].concat(), "threshold NaN");
        refuse(vec![TreeNode::Leaf { value: f64::INFINITY }], "leaf 0 of tree 0 is inf");
        assert!(TreeEnsemble::new(1, vec![]).to_bytes().is_err());
    }

    #[test]
    fn a_third_branch_takes_a_node_of_its_own() {
        let ensemble = TreeEnsemble::new(1, vec![Tree::new(stump(1, 2, 3))]);
        assert_eq!([f64::NAN, 0.0, 0.1].map(|x| ensemble.score(&[x])), [0.5, -1.0, 1.0]);
        let model = ensemble.to_model().unwrap();
        let node = &model.graph.unwrap().node[0];
        let ints = |name: &str| node.attribute.iter().find(|a| a.name == name).unwrap().ints.clone();
        assert_eq!(ints("nodes_nodeids"), [0, 4, 1, 2, 3]);
        assert_eq!(ints("nodes_truenodeids"), [4, 1, 0, 0, 0]);
        assert_eq!(ints("nodes_falsenodeids"), [3, 2, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn rounding_up_changes_no_decision(threshold in any::<f64>(), x in any::<f32>(), steps in -2_i32..=2) {
            prop_assume!(!threshold.is_nan());
            let rounded = round_up(threshold);
            // Far away, and right at the threshold.
            let mut near = rounded;
            for _ in 0..steps.abs() {
                near = if steps < 0 { near.next_down() } else { near.next_up() };
            }
            for x in [x, near] {
                prop_assert_eq!(f64::from(x) < threshold, x < rounded, "{} {}", x, threshold);
            }
        }
    }
}
