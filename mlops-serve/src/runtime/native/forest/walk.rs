//! Trees walked from the root, eight walks side by side: for trees of any shape and size.

use super::spec::{ForestSpec, NodeSpec, Real};

/// All nodes of all trees in one list. Leaves are their own children, so that a walk that has arrived stays.
#[derive(Debug)]
pub(super) struct Walk<T> {
    nodes: Vec<Node<T>>,
    /// For each node what its leaf stands for; 0 for splits.
    payloads: Vec<u32>,
    roots: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node<T> {
    threshold: T,
    /// The top bit says where NaN goes: set for the first child.
    feature: u32,
    /// Where `x < threshold` goes, then where the rest goes. Both are the node itself in a leaf.
    children: [u32; 2],
}

const MISSING_FIRST: u32 = 1 << 31;
/// Walks side by side: enough to hide the time that a load takes.
const WALKS: usize = 8;

impl<T: Real> Walk<T> {
    /// Lays out a forest that was checked. `leaf` gives the payload of a leaf.
    pub(super) fn new(spec: &ForestSpec<T>, mut leaf: impl FnMut(u32, u32) -> u32) -> Self {
        let count = spec.trees.iter().map(Vec::len).sum();
        let mut nodes = Vec::with_capacity(count);
        let mut payloads = vec![0; count];
        let mut roots = Vec::with_capacity(spec.trees.len());
        for tree in &spec.trees {
            let start = nodes.len() as u32;
            roots.push(start);
            for (place, node) in tree.iter().enumerate() {
                let own = start + place as u32;
                nodes.push(match *node {
                    NodeSpec::Leaf { first, count } => {
                        payloads[own as usize] = leaf(first, count);
                        Node { threshold: T::NAN, feature: 0, children: [own; 2] }
                    }
                    NodeSpec::Split(split) => Node {
                        threshold: split.threshold,
                        feature: split.feature | if split.missing_yes { MISSING_FIRST } else { 0 },
                        children: [start + split.yes, start + split.no],
                    },
                });
            }
        }
        Self { nodes, payloads, roots }
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.nodes.len() * size_of::<Node<T>>() + (self.payloads.len() + self.roots.len()) * size_of::<u32>()
    }

    /// Calls `add(row, payload)` for each row and tree; for each row in the order of the trees.
    #[inline]
    pub(super) fn run(&self, x: &[T], features: usize, add: impl FnMut(usize, u32)) {
        if x.iter().any(|x| x.missing()) {
            self.run_rows::<true>(x, features, add);
        } else {
            self.run_rows::<false>(x, features, add);
        }
    }

    /// Without missing values a step has one comparison, not two.
    #[inline]
    fn run_rows<const MISSING: bool>(&self, x: &[T], features: usize, mut add: impl FnMut(usize, u32)) {
        let rows = x.len() / features;
        let whole = rows - rows % WALKS;
        for &root in &self.roots {
            for row in (0..whole).step_by(WALKS) {
                let at: [&[T]; WALKS] =
                    std::array::from_fn(|lane| &x[(row + lane) * features..(row + lane + 1) * features]);
                let leaves = self.arrive::<MISSING, _>([root; WALKS], at);
                for (lane, leaf) in leaves.into_iter().enumerate() {
                    add(row + lane, leaf);
                }
            }
        }
        for row in whole..rows {
            let x = &x[row * features..(row + 1) * features];
            let (groups, rest) = self.roots.as_chunks::<WALKS>();
            for group in groups {
                self.arrive::<MISSING, _>(*group, [x; WALKS]).into_iter().for_each(|leaf| add(row, leaf));
            }
            for root in rest {
                self.arrive::<MISSING, _>([*root], [x]).into_iter().for_each(|leaf| add(row, leaf));
            }
        }
    }

    /// The payloads of the leaves that `N` walks reach. Ends, since the trees have no cycles but the leaves.
    #[inline(always)]
    fn arrive<const MISSING: bool, const N: usize>(&self, mut at: [u32; N], x: [&[T]; N]) -> [u32; N] {
        loop {
            let mut moved = 0;
            for lane in 0..N {
                let node = &self.nodes[at[lane] as usize];
                let value = x[lane][(node.feature & !MISSING_FIRST) as usize];
                let missing = MISSING && value.missing() & (node.feature & MISSING_FIRST == 0);
                let second = (value >= node.threshold) | missing;
                let next = node.children[usize::from(second)];
                moved |= next ^ at[lane];
                at[lane] = next;
            }
            if moved == 0 {
                return at.map(|at| self.payloads[at as usize]);
            }
        }
    }
}
