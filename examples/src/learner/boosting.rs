//! Gradient-boosted trees by `forust-ml`.

use forust_ml::data::Matrix;
use forust_ml::gradientbooster::GradientBooster;
use forust_ml::tree::Tree as ForustTree;
use mlops_core::onnx::{Link, Tree, TreeEnsemble, TreeNode};
use mlops_core::{Error, Result, Seed};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// How trees are grown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoostingSettings {
    /// The number of trees, from 1.
    pub trees: usize,
    /// How much of each tree's answer counts, above 0 up to 1.
    pub learning_rate: f32,
    /// The longest path from the root, from 1.
    pub depth_max: usize,
    /// The sum of hessians that a leaf needs at least.
    pub leaf_weight_min: f32,
    /// The share of rows that each tree sees, above 0 up to 1.
    pub subsample: f32,
}

impl Default for BoostingSettings {
    fn default() -> Self {
        Self { trees: 120, learning_rate: 0.06, depth_max: 4, leaf_weight_min: 2.0, subsample: 0.8 }
    }
}

/// Fits trees to truth values (0 or 1): the answer is the probability of 1. NaN is a missing value.
///
/// One thread, so that the same rows and seed give the same trees.
///
/// # Errors
/// `Data` if the rows and labels do not fit together or have one class only.
pub fn train_boosted_trees(
    features: &Array2<f32>,
    labels: &[f64],
    settings: &BoostingSettings,
    seed: Seed,
) -> Result<TreeEnsemble> {
    super::check(features, labels)?;
    // forust wants columns one after the other.
    let columns: Vec<f64> = features.t().iter().map(|value| f64::from(*value)).collect();
    let matrix = Matrix::new(&columns, features.nrows(), features.ncols());
    let mut booster = GradientBooster::default()
        .set_iterations(settings.trees)
        .set_learning_rate(settings.learning_rate)
        .set_max_depth(settings.depth_max)
        .set_max_leaves(1 << settings.depth_max.min(16))
        .set_min_leaf_weight(settings.leaf_weight_min)
        .set_subsample(settings.subsample)
        .set_seed(seed.value())
        .set_parallel(false);
    booster
        .fit_unweighted(&matrix, labels, None)
        .map_err(|error| Error::data("the trees cannot be trained").with_source(error))?;
    let trees = booster.trees.iter().map(convert).collect();
    Ok(TreeEnsemble::new(features.ncols(), trees).base_score(booster.base_score).link(Link::Logistic))
}

fn convert(tree: &ForustTree) -> Tree {
    let nodes = tree.nodes.iter().map(|node| {
        if node.is_leaf {
            return TreeNode::Leaf { value: f64::from(node.weight_value) };
        }
        TreeNode::Split {
            feature: node.split_feature,
            threshold: node.split_value,
            below: node.left_child,
            not_below: node.right_child,
            missing: node.missing_node,
        }
    });
    Tree::new(nodes.collect())
}
