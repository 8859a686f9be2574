//! Trees walked from the root, eight trees or rows side by side: for trees of any shape whose nodes have one
//! parent.

use std::collections::VecDeque;

use super::columns::{COLUMNS, Columns};
use super::spec::{ForestSpec, NodeSpec, Real};

/// All nodes of all trees in one list. The children of a node are neighbours, so that a step is an addition;
/// leaves are their own first child, so that a walk that has arrived stays.
#[derive(Debug)]
pub(super) struct Compact<T> {
    nodes: Vec<Node<T>>,
    roots: Vec<u32>,
    /// Steps to the deepest leaf.
    depths: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node<T> {
    threshold: T,
    /// The column, and from bit 8 on the place of the first child.
    places: u32,
}

const PLACE_SHIFT: u32 = 8;
/// The most nodes of a forest.
pub(super) const NODES_MAX: usize = 1 << (32 - PLACE_SHIFT);
/// Walks side by side: enough to hide the time that a load takes.
pub(super) const WALKS: usize = 8;
/// Few walks arrive before so many steps; from then on it is worth looking.
const STEPS_UNSEEN: u32 = 8;

/// What a leaf adds: a range of the weights. Empty for splits.
pub(super) type Ranges = Vec<(u32, u32)>;

impl<T: Real> Compact<T> {
    /// Lays out a forest that was checked, and gives what each node adds; `None` if it has too many nodes, or
    /// nodes with several parents.
    pub(super) fn new(spec: &ForestSpec<T>, columns: &Columns) -> Option<(Self, Ranges)> {
        let count: usize = spec.trees.iter().map(Vec::len).sum();
        if count > NODES_MAX {
            return None;
        }
        let mut compact = Self { nodes: Vec::with_capacity(count), roots: Vec::new(), depths: Vec::new() };
        let mut ranges = Vec::with_capacity(count);
        for tree in &spec.trees {
            let end = compact.nodes.len() + tree.len();
            compact.roots.push(compact.nodes.len() as u32);
            let mut waiting = VecDeque::from([(0, compact.nodes.len(), 0)]);
            compact.reserve(1, &mut ranges);
            let mut deepest = 0;
            while let Some((place, own, depth)) = waiting.pop_front() {
                deepest = depth.max(deepest);
                match tree[place as usize] {
                    NodeSpec::Leaf { first, count } => {
                        compact.nodes[own] = Node { threshold: T::NAN, places: (own as u32) << PLACE_SHIFT };
                        ranges[own] = (first, count);
                    }
                    NodeSpec::Split(split) => {
                        let step = columns.step(&split);
                        let children = compact.nodes.len();
                        if children + 2 > end {
                            return None;
                        }
                        compact.reserve(2, &mut ranges);
                        let places = u32::from(step.column) | (children as u32) << PLACE_SHIFT;
                        compact.nodes[own] = Node { threshold: step.threshold, places };
                        waiting.push_back((step.first, children, depth + 1));
                        waiting.push_back((step.second, children + 1, depth + 1));
                    }
                }
            }
            compact.depths.push(deepest);
        }
        Some((compact, ranges))
    }

    fn reserve(&mut self, count: usize, ranges: &mut Ranges) {
        let own = (self.nodes.len() as u32) << PLACE_SHIFT;
        self.nodes.resize(self.nodes.len() + count, Node { threshold: T::NAN, places: own });
        ranges.resize(self.nodes.len(), (0, 0));
    }

    /// Steps to the deepest leaf of all.
    pub(super) fn depth(&self) -> u32 {
        self.depths.iter().copied().max().unwrap_or_default()
    }

    /// Steps to the deepest leaf of each tree, together.
    pub(super) fn steps(&self) -> usize {
        self.depths.iter().map(|depth| *depth as usize).sum()
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.nodes.len() * size_of::<Node<T>>() + (self.roots.len() + self.depths.len()) * size_of::<u32>()
    }

    /// Calls `add` with the node that each tree ends in, in the order of the trees.
    #[inline(always)]
    pub(super) fn run(&self, x: &[T; COLUMNS], mut add: impl FnMut(u32)) {
        let (roots, lone_roots) = self.roots.as_chunks::<WALKS>();
        let (depths, lone_depths) = self.depths.as_chunks::<WALKS>();
        for (roots, depths) in roots.iter().zip(depths) {
            let deepest = depths.iter().copied().fold(0, u32::max);
            self.arrive(*roots, deepest, [x; WALKS]).into_iter().for_each(&mut add);
        }
        for (root, depth) in lone_roots.iter().zip(lone_depths) {
            self.arrive([*root], *depth, [x]).into_iter().for_each(&mut add);
        }
    }

    /// Calls `add` with the row and the node that it ends in, tree by tree.
    #[inline(always)]
    pub(super) fn run_rows(&self, x: &[[T; COLUMNS]; WALKS], mut add: impl FnMut(usize, u32)) {
        for (root, depth) in self.roots.iter().zip(&self.depths) {
            let leaves = self.arrive([*root; WALKS], *depth, std::array::from_fn(|row| &x[row]));
            leaves.into_iter().enumerate().for_each(|(row, leaf)| add(row, leaf));
        }
    }

    /// The leaves that `N` walks of at most `depth` steps reach.
    #[inline(always)]
    fn arrive<const N: usize>(&self, mut at: [u32; N], depth: u32, x: [&[T; COLUMNS]; N]) -> [u32; N] {
        for _ in 0..depth.min(STEPS_UNSEEN) {
            at = self.step(at, x);
        }
        for _ in (STEPS_UNSEEN..depth).step_by(2) {
            let before = at;
            at = self.step(self.step(at, x), x);
            if at == before {
                break;
            }
        }
        at
    }

    #[inline(always)]
    fn step<const N: usize>(&self, at: [u32; N], x: [&[T; COLUMNS]; N]) -> [u32; N] {
        std::array::from_fn(|lane| {
            let at = at[lane];
            let Node { threshold, places } = self.nodes[at as usize];
            let column = usize::from(places as u8);
            (places >> PLACE_SHIFT) + u32::from(x[lane][column] >= threshold)
        })
    }
}
