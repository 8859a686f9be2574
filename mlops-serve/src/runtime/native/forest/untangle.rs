//! Trees whose nodes have one parent each, made of trees whose nodes have several.

use super::columns::Columns;
use super::compact::NODES_MAX;
use super::spec::{ForestSpec, NodeSpec, Real, Split};

/// A forest may grow to so many times its nodes: the kernel that it is spared takes about half as much more a node.
const GROWTH: usize = 4;

impl<T: Real> ForestSpec<T> {
    /// Copies what several nodes lead to. A split by a set of categories, or by equality, is several comparisons that
    /// lead to the same two places, and the fast kernels want nodes with one parent. Every row takes the same
    /// comparisons to a copy of the same leaf, in trees of the same order: answers keep their bits.
    ///
    /// Leaves the forest as it is where that took too many nodes, or the fast kernels do not take it anyway.
    pub(super) fn untangle(&mut self) {
        let nodes: usize = self.trees.iter().map(Vec::len).sum();
        let mut left = NODES_MAX.min(nodes.saturating_mul(GROWTH));
        if !self.trees.iter().any(|tree| is_tangled(tree)) || Columns::of(self).is_none() {
            return;
        }
        let mut untangled = Vec::new();
        for (place, tree) in self.trees.iter().enumerate() {
            let mut nodes = tree.len();
            if is_tangled(tree) {
                let Some(copy) = copied(tree, left) else { return };
                nodes = copy.len();
                untangled.push((place, copy));
            }
            let Some(rest) = left.checked_sub(nodes) else { return };
            left = rest;
        }
        for (place, tree) in untangled {
            self.trees[place] = tree;
        }
    }
}

fn is_tangled<T: Real>(tree: &[NodeSpec<T>]) -> bool {
    let mut seen = vec![false; tree.len()];
    let mut again = |child: u32| std::mem::replace(&mut seen[child as usize], true);
    tree.iter().any(|node| match node {
        NodeSpec::Leaf { .. } => false,
        NodeSpec::Split(split) => again(split.yes) || again(split.no),
    })
}

/// The tree with a copy of a node for each path to it; `None` beyond so many nodes, of which there are no more than 32
/// bits can name.
fn copied<T: Real>(tree: &[NodeSpec<T>], nodes_max: usize) -> Option<Vec<NodeSpec<T>>> {
    let mut copy = vec![tree[0]];
    let mut place = 0;
    while let Some(node) = copy.get(place).copied() {
        if let NodeSpec::Split(split) = node {
            let (yes, no) = (copy.len() as u32, copy.len() as u32 + 1);
            copy[place] = NodeSpec::Split(Split { yes, no, ..split });
            // What they lead to are places in the tree until it is their turn.
            copy.extend([split.yes, split.no].map(|child| tree[child as usize]));
            if copy.len() > nodes_max {
                return None;
            }
        }
        place += 1;
    }
    Some(copy)
}
