//! Trees of any shape with few leaves, sixteen rows at a time: a row has a bit for each leaf, and every
//! comparison takes away those leaves that it rules out. The first that is left is the one (QuickScorer).
//!
//! Source: Lucchese, Nardini, Orlando, Perego, Tonellotto and Venturini, *QuickScorer: a fast algorithm to rank
//! documents with additive ensembles of regression trees*, 2015.

use super::columns::{COLUMNS, Columns};
use super::spec::{ForestSpec, NodeSpec, Real};
use super::tiles::TILE;

/// A set of leaves: 32 or 64 of them.
pub(in crate::runtime::native) trait Leaves: Copy {
    const COUNT: usize;
    const ALL: Self;
    fn without(leaves: std::ops::Range<usize>) -> Self;
    /// Those that are also in `others`, if `rule` holds.
    fn keep(self, rule: bool, others: Self) -> Self;
    fn first(self) -> usize;
}

macro_rules! leaves {
    ($($word:ty),*) => {$(
        impl Leaves for $word {
            const COUNT: usize = <$word>::BITS as usize;
            const ALL: Self = <$word>::MAX;

            fn without(leaves: std::ops::Range<usize>) -> Self {
                leaves.fold(Self::ALL, |left, leaf| left & !(1 << leaf))
            }

            #[inline(always)]
            fn keep(self, rule: bool, others: Self) -> Self {
                // All ones where the rule does not hold: vectors have no branches.
                self & (others | Self::from(rule).wrapping_sub(1))
            }

            #[inline(always)]
            fn first(self) -> usize {
                self.trailing_zeros() as usize
            }
        }
    )*};
}

leaves!(u32, u64);

#[derive(Debug)]
pub(in crate::runtime::native) struct Bits<T, W> {
    /// The splits of all trees; each tree ends with a node without a column.
    nodes: Vec<Node<T, W>>,
    /// `W::COUNT` of each tree, from the first child of everything on.
    leaves: Vec<T>,
}

#[derive(Clone, Copy, Debug)]
struct Node<T, W> {
    threshold: T,
    column: u32,
    /// The leaves that are left if the row goes to the second child.
    left: W,
}

/// The column of the node that ends a tree.
const END: u32 = COLUMNS as u32;

impl<T: Real, W: Leaves> Bits<T, W> {
    /// Lays out a forest whose nodes have one parent each and whose leaves have one weight for the only target;
    /// `None` if trees have too many leaves, or so few that most room is wasted.
    pub(super) fn new(spec: &ForestSpec<T>, columns: &Columns) -> Option<Self> {
        let nodes: usize = spec.trees.iter().map(Vec::len).sum();
        if spec.trees.iter().any(|tree| tree.len() > 2 * W::COUNT - 1)
            || spec.trees.len() * W::COUNT > 2 * nodes
        {
            return None;
        }
        let mut bits = Self { nodes: Vec::new(), leaves: Vec::new() };
        for tree in &spec.trees {
            let start = bits.leaves.len();
            bits.add(spec, tree, 0, columns, start);
            bits.leaves.resize(start + W::COUNT, T::default());
            bits.nodes.push(Node { threshold: T::NAN, column: END, left: W::ALL });
        }
        Some(bits)
    }

    /// Appends a node and all below it. Trees have at most 64 leaves: that deep it goes.
    fn add(
        &mut self,
        spec: &ForestSpec<T>,
        tree: &[NodeSpec<T>],
        place: u32,
        columns: &Columns,
        start: usize,
    ) {
        match tree[place as usize] {
            NodeSpec::Leaf { first, .. } => self.leaves.push(spec.weights[first as usize].1),
            NodeSpec::Split(split) => {
                let step = columns.step(&split);
                let first = self.leaves.len() - start;
                self.add(spec, tree, step.first, columns, start);
                let left = W::without(first..self.leaves.len() - start);
                let column = u32::from(step.column);
                self.nodes.push(Node { threshold: step.threshold, column, left });
                self.add(spec, tree, step.second, columns, start);
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.nodes.len() * size_of::<Node<T, W>>() + self.leaves.len() * size_of::<T>()
    }

    #[inline(always)]
    pub(super) fn run<const COUNT: usize>(&self, x: &[[T; TILE]; COLUMNS], y: &mut [T; TILE]) {
        let mut nodes = self.nodes.iter();
        for leaves in self.leaves.as_chunks::<COUNT>().0 {
            let mut alive = [W::ALL; TILE];
            // A loop that may end anywhere is not turned inside out by the compiler: rows side by side, not nodes.
            for node in nodes.by_ref() {
                let Ok(column) = u8::try_from(node.column) else { break };
                let cells = &x[usize::from(column)];
                for lane in 0..TILE {
                    alive[lane] = alive[lane].keep(cells[lane] >= node.threshold, node.left);
                }
            }
            for lane in 0..TILE {
                // Counts are powers of two: the mask changes nothing, and takes the place of a check.
                y[lane] += leaves[alive[lane].first() & (COUNT - 1)];
            }
        }
    }
}
