//! Forests that nobody trained.

use bytes::Bytes;
use mlops_core::Seed;
use mlops_core::onnx::{Tree, TreeEnsemble, TreeNode};
use rand::RngExt;

/// Trees of `depth` levels without gaps, over features of a standard normal distribution.
///
/// # Panics
/// If a forest has no feature.
#[must_use]
pub fn trees(count: usize, depth: u32, features: usize) -> Bytes {
    let mut rng = Seed::new(1).rng();
    let trees = (0..count).map(|_| {
        let splits = (1 << depth) - 1;
        let nodes = (0..2 * splits + 1).map(|place| match place < splits {
            true => TreeNode::Split {
                feature: rng.random_range(0..features),
                threshold: rng.random_range(-1.2..1.2),
                below: 2 * place + 1,
                not_below: 2 * place + 2,
                missing: 2 * place + 1,
            },
            false => TreeNode::Leaf { value: rng.random_range(-0.1..0.1) },
        });
        Tree::new(nodes.collect())
    });
    TreeEnsemble::new(features, trees.collect()).to_bytes().expect("the trees are trees")
}

/// Trees grown leaf by leaf, as LightGBM grows them: about twice as deep as they would be without gaps.
///
/// # Panics
/// If a forest has no feature.
#[must_use]
pub fn leaf_wise(count: usize, leaves: usize, features: usize) -> Bytes {
    let mut rng = Seed::new(1).rng();
    let trees = (0..count).map(|_| {
        let mut nodes = vec![TreeNode::Leaf { value: 0.0 }];
        let mut open = vec![0];
        for _ in 1..leaves {
            let place = open.swap_remove(rng.random_range(0..open.len()));
            let below = nodes.len();
            nodes[place] = TreeNode::Split {
                feature: rng.random_range(0..features),
                threshold: rng.random_range(-1.2..1.2),
                below,
                not_below: below + 1,
                missing: below,
            };
            nodes.extend([below, below + 1].map(|_| TreeNode::Leaf { value: rng.random_range(-0.1..0.1) }));
            open.extend([below, below + 1]);
        }
        Tree::new(nodes)
    });
    TreeEnsemble::new(features, trees.collect()).to_bytes().expect("the trees are trees")
}
