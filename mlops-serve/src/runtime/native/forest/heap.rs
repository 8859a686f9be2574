//! Shallow trees, sixteen rows at a time: every comparison of a tree is made for all rows, and their results
//! are selected from the leaves up. No step depends on where a row is, so all is done by vector instructions.

use super::columns::{COLUMNS, Columns};
use super::spec::{ForestSpec, NodeSpec, Real};
use crate::runtime::native::simd::dispatch;
#[cfg(target_arch = "x86_64")]
use crate::runtime::native::simd::{Level, level};

/// Rows in a tile: a vector of AVX-512.
pub(super) const TILE: usize = 16;
/// Deeper trees have more comparisons than the instructions are worth.
const DEPTH_MAX: u32 = 6;

/// Trees of one depth without gaps: shallower branches are filled up with copies of their leaf.
#[derive(Debug)]
pub(in crate::runtime::native) struct Heap<T> {
    /// Nodes of a tree in the order of a heap; the first is left out.
    nodes: Vec<Node<T>>,
    /// Leaves of a tree, from the first child of everything on.
    leaves: Vec<T>,
    depth: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node<T> {
    threshold: T,
    column: u8,
}

impl<T: Real> Heap<T> {
    /// Lays out a forest whose nodes have one parent each and whose leaves have one weight for the only target;
    /// `None` if it gains nothing.
    pub(super) fn new(spec: &ForestSpec<T>, columns: &Columns, depth: u32) -> Option<Self> {
        if !T::TILES || !has_wide_vectors() {
            return None;
        }
        let size = 1_usize << depth.clamp(1, 31);
        let nodes: usize = spec.trees.iter().map(Vec::len).sum();
        // Half of the nodes are leaves: at most four times as many.
        if depth > DEPTH_MAX || spec.trees.len() * size > 2 * nodes {
            return None;
        }
        let unused = Node { threshold: T::NAN, column: 0 };
        let mut heap = Self { nodes: Vec::new(), leaves: Vec::new(), depth: depth.max(1) };
        for tree in &spec.trees {
            let (nodes, leaves) = (heap.nodes.len(), heap.leaves.len());
            heap.nodes.resize(nodes + size, unused);
            heap.leaves.resize(leaves + size, T::default());
            let mut waiting = vec![(0_u32, 1_usize)];
            while let Some((place, own)) = waiting.pop() {
                let children = match tree[place as usize] {
                    NodeSpec::Leaf { first, .. } if own >= size => {
                        heap.leaves[leaves + own - size] = spec.weights[first as usize].1;
                        continue;
                    }
                    NodeSpec::Leaf { .. } => [place; 2],
                    NodeSpec::Split(split) => {
                        let step = columns.step(&split);
                        heap.nodes[nodes + own] = Node { threshold: step.threshold, column: step.column };
                        [step.first, step.second]
                    }
                };
                waiting.extend([(children[0], 2 * own), (children[1], 2 * own + 1)]);
            }
        }
        Some(heap)
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.nodes.len() * size_of::<Node<T>>() + self.leaves.len() * size_of::<T>()
    }

    /// Adds what the trees give for whole tiles of rows.
    #[inline(never)]
    pub(super) fn sum(&self, columns: &Columns, x: &[T], features: usize, y: &mut [T]) {
        let mut cells = [[T::default(); TILE]; COLUMNS];
        for (x, y) in x.chunks_exact(TILE * features).zip(y.as_chunks_mut::<TILE>().0) {
            for (lane, row) in x.chunks_exact(features).enumerate() {
                columns.pick(row, |column, value| cells[column][lane] = value);
            }
            T::add_tile(self, &cells, y);
        }
    }

    #[inline(always)]
    fn run(&self, x: &[[T; TILE]; COLUMNS], y: &mut [T; TILE]) {
        match self.depth {
            1 => self.run_trees::<2>(x, y),
            2 => self.run_trees::<4>(x, y),
            3 => self.run_trees::<8>(x, y),
            4 => self.run_trees::<16>(x, y),
            5 => self.run_trees::<32>(x, y),
            _ => self.run_trees::<64>(x, y),
        }
    }

    #[inline(always)]
    fn run_trees<const SIZE: usize>(&self, x: &[[T; TILE]; COLUMNS], y: &mut [T; TILE]) {
        let trees = self.nodes.as_chunks::<SIZE>().0.iter().zip(self.leaves.as_chunks::<SIZE>().0);
        for (nodes, leaves) in trees {
            let tree = Tree { nodes, leaves, x };
            // By name, not by a value of function type: calls of such values are not compiled into the loop.
            let sums = match SIZE {
                2 => level1(&tree, 1),
                4 => level2(&tree, 1),
                8 => level3(&tree, 1),
                16 => level4(&tree, 1),
                32 => level5(&tree, 1),
                _ => level6(&tree, 1),
            };
            for lane in 0..TILE {
                y[lane] += sums[lane];
            }
        }
    }
}

dispatch! {
    /// Adds what the trees give for each row of a tile.
    pub(super) fn run_tile(heap: &Heap<f32>, x: &[[f32; TILE]; COLUMNS], y: &mut [f32; TILE]) = tile
}

#[inline(always)]
fn tile<const FUSED: bool>(heap: &Heap<f32>, x: &[[f32; TILE]; COLUMNS], y: &mut [f32; TILE]) {
    heap.run(x, y);
}

/// Without them a walk is faster.
fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return level() != Level::Portable;
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

struct Tree<'a, T, const SIZE: usize> {
    nodes: &'a [Node<T>; SIZE],
    leaves: &'a [T; SIZE],
    x: &'a [[T; TILE]; COLUMNS],
}

impl<T: Real, const SIZE: usize> Tree<'_, T, SIZE> {
    /// For each row what the node gives, from what its children give.
    #[inline(always)]
    fn select(&self, node: usize, first: [T; TILE], second: [T; TILE]) -> [T; TILE] {
        // The sizes are powers of two: the mask changes nothing, and takes the place of a check.
        let Node { threshold, column } = self.nodes[node & (SIZE - 1)];
        let cells = &self.x[usize::from(column)];
        let mut chosen = [T::default(); TILE];
        for lane in 0..TILE {
            chosen[lane] = if cells[lane] >= threshold { second[lane] } else { first[lane] };
        }
        chosen
    }
}

/// A node whose children are leaves.
#[inline(always)]
fn level1<T: Real, const SIZE: usize>(tree: &Tree<'_, T, SIZE>, node: usize) -> [T; TILE] {
    let leaf = |child: usize| [tree.leaves[(2 * node + child) & (SIZE - 1)]; TILE];
    tree.select(node, leaf(0), leaf(1))
}

macro_rules! levels {
    ($($level:ident over $below:ident),*) => {$(
        #[inline(always)]
        fn $level<T: Real, const SIZE: usize>(tree: &Tree<'_, T, SIZE>, node: usize) -> [T; TILE] {
            tree.select(node, $below(tree, 2 * node), $below(tree, 2 * node + 1))
        }
    )*};
}

levels!(level2 over level1, level3 over level2, level4 over level3, level5 over level4, level6 over level5);
