//! Trees as the decoders hand them over, checked before a kernel is built from them.

use std::fmt;

use super::columns::COLUMNS;
use super::heap::{Heap, TILE, run_tile};
use super::panels::{self, Panel};
use crate::{Error, Result};

/// The numbers that features, thresholds and leaves are held in.
pub(in crate::runtime::native) trait Real:
    Copy
    + Default
    + PartialOrd
    + fmt::Debug
    + std::ops::AddAssign
    + std::ops::DivAssign
    + std::ops::Sub<Output = Self>
    + std::ops::Neg<Output = Self>
    + Send
    + Sync
    + 'static
{
    const NAN: Self;
    const NEG_INFINITY: Self;
    /// Whether there is a kernel for tiles of rows.
    const TILES: bool;
    /// Adds what the trees give for each row of a tile, if there is such a kernel.
    fn add_tile(heap: &Heap<Self>, x: &[[Self; TILE]; COLUMNS], y: &mut [Self; TILE]);
    /// Takes away the leaves that the comparisons of a panel rule out, row by row.
    fn narrow(panel: &Panel<Self, u32>, x: &[Self], features: usize, left: &mut [panels::Left<u32>]);
    /// The same with sets of 64 leaves.
    fn narrow_wide(panel: &Panel<Self, u64>, x: &[Self], features: usize, left: &mut [panels::Left<u64>]);
    fn missing(self) -> bool;
    fn successor(self) -> Self;
    fn infinite(self) -> bool;
    fn exp(self) -> Self;
    fn logistic(self, slope: f64) -> Self;
    fn soft_plus(self) -> Self;
    fn signed_square(self) -> Self;
    fn step(self) -> Self;
}

macro_rules! real {
    ($($real:ty: $narrow:ident, $narrow_wide:ident, $tile:expr;)*) => {$(
        impl Real for $real {
            const NAN: Self = <$real>::NAN;
            const NEG_INFINITY: Self = <$real>::NEG_INFINITY;
            const TILES: bool = $tile.is_some();

            #[inline]
            fn add_tile(heap: &Heap<Self>, x: &[[Self; TILE]; COLUMNS], y: &mut [Self; TILE]) {
                const TILE_KERNEL: Option<TileKernel<$real>> = $tile;
                if let Some(kernel) = TILE_KERNEL {
                    kernel(heap, x, y);
                }
            }

            #[inline]
            fn narrow(panel: &Panel<Self, u32>, x: &[Self], features: usize, left: &mut [panels::Left<u32>]) {
                panels::$narrow(panel, x, features, left);
            }

            #[inline]
            fn narrow_wide(panel: &Panel<Self, u64>, x: &[Self], features: usize, left: &mut [panels::Left<u64>]) {
                panels::$narrow_wide(panel, x, features, left);
            }

            #[inline(always)]
            fn missing(self) -> bool {
                self.is_nan()
            }

            fn successor(self) -> Self {
                self.next_up()
            }

            fn infinite(self) -> bool {
                self == <$real>::INFINITY
            }

            fn exp(self) -> Self {
                <$real>::exp(self)
            }

            fn logistic(self, slope: f64) -> Self {
                1.0 / (1.0 + <$real>::exp(-(slope as $real) * self))
            }

            fn soft_plus(self) -> Self {
                <$real>::exp(self).ln_1p()
            }

            fn signed_square(self) -> Self {
                self * self.abs()
            }

            fn step(self) -> Self {
                if self > 0.0 { 1.0 } else { 0.0 }
            }
        }
    )*};
}

type TileKernel<T> = fn(&Heap<T>, &[[T; TILE]; COLUMNS], &mut [T; TILE]);

// Tiles of twice as wide numbers take twice as many vectors: no gain.
real! {
    f32: narrow_f32, narrow_wide_f32, Some(run_tile as TileKernel<f32>);
    f64: narrow_f64, narrow_wide_f64, None::<TileKernel<f64>>;
}

/// A sum of trees with one or more targets.
#[derive(Debug)]
pub(in crate::runtime::native) struct ForestSpec<T> {
    pub(in crate::runtime::native) features: usize,
    pub(in crate::runtime::native) targets: usize,
    pub(in crate::runtime::native) trees: Vec<Vec<NodeSpec<T>>>,
    /// What leaves add: target and weight.
    pub(in crate::runtime::native) weights: Vec<(u32, T)>,
    /// Added to each target after the trees; empty for nothing.
    pub(in crate::runtime::native) base: Vec<T>,
    /// Whether the base is what the sum starts from, rather than what is added at its end.
    pub(in crate::runtime::native) base_first: bool,
    /// What the sum of the trees is divided by, before the base is added.
    pub(in crate::runtime::native) divisor: Option<T>,
}

/// A node of a tree. Children are places in the tree's list, whose first node is the root.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime::native) enum NodeSpec<T> {
    /// Adds the weights in this range.
    Leaf {
        first: u32,
        count: u32,
    },
    Split(Split<T>),
}

/// Goes to `no` if `x >= threshold`, and to `yes` otherwise; NaN goes where `missing_yes` says. A threshold
/// that is NaN sends every number to `yes`.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime::native) struct Split<T> {
    pub(in crate::runtime::native) feature: u32,
    pub(in crate::runtime::native) threshold: T,
    pub(in crate::runtime::native) yes: u32,
    pub(in crate::runtime::native) no: u32,
    pub(in crate::runtime::native) missing_yes: bool,
}

/// How a format compares a feature with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime::native) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

impl<T: Real> ForestSpec<T> {
    /// Appends a split to `tree` at `place`, as one or two nodes of the one form that kernels know.
    ///
    /// The second node that equality needs goes to the end of the tree.
    pub(in crate::runtime::native) fn split(
        tree: &mut Vec<NodeSpec<T>>,
        place: usize,
        comparison: Comparison,
        split: Split<T>,
    ) -> Result<()> {
        let threshold = split.threshold;
        if threshold.missing() {
            return Err(Error::data(format!("node {place} of a tree compares with NaN")));
        }
        // x <= t is x < successor(t); x <= infinity holds for every number.
        let inclusive = if threshold.infinite() { T::NAN } else { threshold.successor() };
        let swapped = Split { yes: split.no, no: split.yes, missing_yes: !split.missing_yes, ..split };
        let node = match comparison {
            Comparison::Less => split,
            Comparison::LessOrEqual => Split { threshold: inclusive, ..split },
            Comparison::GreaterOrEqual => swapped,
            Comparison::Greater => Split { threshold: inclusive, ..swapped },
            Comparison::Equal | Comparison::NotEqual => {
                let (equal, unequal) = match comparison {
                    Comparison::Equal => (split.yes, split.no),
                    _ => (split.no, split.yes),
                };
                // Below: unequal. Not below, and not above: equal.
                let second = u32::try_from(tree.len()).map_err(|_| Error::data("a tree of 2^32 nodes"))?;
                let missing_equal = split.missing_yes == (comparison == Comparison::Equal);
                tree.push(NodeSpec::Split(Split {
                    threshold: inclusive,
                    yes: equal,
                    no: unequal,
                    missing_yes: missing_equal,
                    ..split
                }));
                Split { yes: unequal, no: second, missing_yes: !missing_equal, ..split }
            }
        };
        tree[place] = NodeSpec::Split(node);
        Ok(())
    }

    /// Checks every place, and that no path of a tree returns to a node.
    pub(super) fn check(&self) -> Result<()> {
        for (index, tree) in self.trees.iter().enumerate() {
            self.check_tree(index, tree)?;
        }
        match self.base.len() {
            0 => Ok(()),
            bases if bases == self.targets => Ok(()),
            bases => Err(Error::data(format!("{bases} base values for {} targets", self.targets))),
        }
    }

    fn check_tree(&self, index: usize, tree: &[NodeSpec<T>]) -> Result<()> {
        let wrong = |place: usize, what: String| Error::data(format!("node {place} of tree {index} {what}"));
        if tree.is_empty() {
            return Err(Error::data(format!("tree {index} has no nodes")));
        }
        for (place, node) in tree.iter().enumerate() {
            match *node {
                NodeSpec::Leaf { first, count } => {
                    let range = first as usize..first as usize + count as usize;
                    let weights =
                        self.weights.get(range).ok_or_else(|| wrong(place, "has no weight".into()))?;
                    if let Some((target, _)) =
                        weights.iter().find(|(target, _)| *target as usize >= self.targets)
                    {
                        let targets = self.targets;
                        return Err(wrong(place, format!("adds to target {target}: there are {targets}")));
                    }
                }
                NodeSpec::Split(split) => {
                    if split.feature as usize >= self.features {
                        let (feature, features) = (split.feature, self.features);
                        return Err(wrong(
                            place,
                            format!("splits on feature {feature}: there are {features}"),
                        ));
                    }
                    for child in [split.yes, split.no] {
                        if child as usize >= tree.len() {
                            let nodes = tree.len();
                            return Err(wrong(
                                place,
                                format!("has the child {child}: there are {nodes} nodes"),
                            ));
                        }
                    }
                }
            }
        }
        // Depth first, with the nodes of the current path marked.
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            OnPath,
            Done,
        }
        let mut marks = vec![Mark::New; tree.len()];
        let mut path = vec![(0_usize, 0_u8)];
        while let Some((place, stage)) = path.last_mut() {
            let place = *place;
            let child = match (tree[place], *stage) {
                (NodeSpec::Split(split), 0) => Some(split.yes),
                (NodeSpec::Split(split), 1) => Some(split.no),
                _ => None,
            };
            *stage += 1;
            match child.map(|child| (child as usize, marks[child as usize])) {
                None => {
                    marks[place] = Mark::Done;
                    path.pop();
                }
                Some((_, Mark::OnPath)) => return Err(wrong(place, "is its own ancestor".into())),
                Some((_, Mark::Done)) => {}
                Some((child, Mark::New)) => {
                    marks[place] = Mark::OnPath;
                    marks[child] = Mark::OnPath;
                    path.push((child, 0));
                }
            }
        }
        Ok(())
    }
}
