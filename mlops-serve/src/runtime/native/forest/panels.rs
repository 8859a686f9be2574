//! Trees with few leaves, without a walk: a row has a bit for each leaf, and every comparison takes away those
//! leaves that it rules out. The first that is left is the one (QuickScorer).
//!
//! The comparisons of a column are sorted by their threshold, so that those that hold for a cell come first. What
//! the first 16, 32, 48, ... of them leave over of all trees is kept: a cell costs one such table and at most 15
//! single comparisons, where a walk has a step that waits for the step before.
//!
//! Source: Lucchese, Nardini, Orlando, Perego, Tonellotto and Venturini, *QuickScorer: a fast algorithm to rank
//! documents with additive ensembles of regression trees*, 2015. The tables are ours.

use super::columns::Columns;
use super::compact::Ranges;
use super::spec::{ForestSpec, NodeSpec, Real};
use crate::runtime::native::simd::dispatch;

/// Trees of a panel: places in it have 8 bits, and need no check of their bounds.
const TREES: usize = 256;
/// Comparisons of a block: after so many there is a table.
const BLOCK: usize = 16;
/// Rows that are scored side by side, so that their sums do not wait for each other.
const ROWS: usize = 8;
/// Larger tables are slower than a walk: they do not stay in the caches.
const BYTES_MAX: usize = 4 << 20;

/// A set of leaves of one tree: 32 or 64 of them.
pub(in crate::runtime::native) trait Leaves: Copy {
    const COUNT: usize;
    const ALL: Self;
    fn without(leaves: std::ops::Range<usize>) -> Self;
    fn and(self, other: Self) -> Self;
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
            fn and(self, other: Self) -> Self {
                self & other
            }

            #[inline(always)]
            fn first(self) -> usize {
                self.trailing_zeros() as usize
            }
        }
    )*};
}

leaves!(u32, u64);

/// A forest in panels of up to 256 trees.
#[derive(Debug)]
pub(super) enum Panels<T> {
    /// No tree has more than 32 leaves.
    Narrow(Vec<Panel<T, u32>>),
    /// No tree has more than 64 leaves.
    Wide(Vec<Panel<T, u64>>),
}

#[derive(Debug)]
pub(in crate::runtime::native) struct Panel<T, W> {
    trees: usize,
    columns: Vec<Column<T, W>>,
}

/// The comparisons with one column.
#[derive(Debug)]
struct Column<T, W> {
    feature: usize,
    is_negated: bool,
    /// The last threshold of each whole block.
    ends: Vec<T>,
    /// By block, with NaN where the last one has gaps.
    thresholds: Vec<[T; BLOCK]>,
    /// The tree of each comparison.
    trees: Vec<[u8; BLOCK]>,
    /// The leaves that are left of that tree where the comparison holds.
    masks: Vec<[W; BLOCK]>,
    /// For each block the leaves that are left of every tree after the blocks before.
    tables: Vec<W>,
}

/// The leaves that are left of each tree of a panel for one row.
pub(in crate::runtime::native) type Left<W> = [W; TREES];

impl<T: Real> Panels<T> {
    /// Lays out a forest whose nodes have one parent each, and gives what each leaf adds; `None` if trees have
    /// too many leaves, or a walk is faster.
    pub(super) fn new(spec: &ForestSpec<T>, columns: &Columns, steps: usize) -> Option<(Self, Ranges)> {
        let largest = spec.trees.iter().map(Vec::len).max()?;
        if largest < 2 * u32::COUNT {
            let (panels, ranges) = layout::<T, u32>(spec, columns, steps)?;
            Some((Self::Narrow(panels), ranges))
        } else if largest < 2 * u64::COUNT {
            let (panels, ranges) = layout::<T, u64>(spec, columns, steps)?;
            Some((Self::Wide(panels), ranges))
        } else {
            None
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            Self::Narrow(panels) => panels.iter().map(Panel::memory_usage).sum(),
            Self::Wide(panels) => panels.iter().map(Panel::memory_usage).sum(),
        }
    }

    /// Adds to each row the values of the leaves that it ends in.
    pub(super) fn sum(&self, x: &[T], features: usize, values: &[T], y: &mut [T]) {
        match self {
            Self::Narrow(panels) => sum(panels, x, features, values, y, T::narrow),
            Self::Wide(panels) => sum(panels, x, features, values, y, T::narrow_wide),
        }
    }

    /// Calls `add(row, leaf)` for each row and tree; for each row in the order of the trees.
    pub(super) fn each(&self, x: &[T], features: usize, add: impl FnMut(usize, u32)) {
        match self {
            Self::Narrow(panels) => each(panels, x, features, add, T::narrow),
            Self::Wide(panels) => each(panels, x, features, add, T::narrow_wide),
        }
    }
}

fn sum<T: Real, W: Leaves>(
    panels: &[Panel<T, W>],
    x: &[T],
    features: usize,
    values: &[T],
    y: &mut [T],
    narrow: impl Fn(&Panel<T, W>, &[T], usize, &mut [Left<W>]),
) {
    let mut rest = values;
    for panel in panels {
        let (values, further) = rest.split_at(panel.trees * W::COUNT);
        rest = further;
        let (groups, lone) = y.as_chunks_mut::<ROWS>();
        let (x_groups, x_lone) = x.split_at(groups.len() * ROWS * features);
        for (x, y) in x_groups.chunks_exact(ROWS * features).zip(groups) {
            let mut left = [[W::ALL; TREES]; ROWS];
            narrow(panel, x, features, &mut left);
            for (tree, values) in values.chunks_exact(W::COUNT).enumerate() {
                for row in 0..ROWS {
                    // Counts are powers of two: the mask changes nothing, and takes the place of a check.
                    y[row] += values[left[row][tree % TREES].first() & (W::COUNT - 1)];
                }
            }
        }
        for (x, y) in x_lone.chunks_exact(features).zip(lone) {
            let mut left = [[W::ALL; TREES]];
            narrow(panel, x, features, &mut left);
            let mut sum = *y;
            for (left, values) in left[0].iter().zip(values.chunks_exact(W::COUNT)) {
                sum += values[left.first() & (W::COUNT - 1)];
            }
            *y = sum;
        }
    }
}

fn each<T: Real, W: Leaves>(
    panels: &[Panel<T, W>],
    x: &[T],
    features: usize,
    mut add: impl FnMut(usize, u32),
    narrow: impl Fn(&Panel<T, W>, &[T], usize, &mut [Left<W>]),
) {
    for (row, x) in x.chunks_exact(features).enumerate() {
        let mut start = 0;
        for panel in panels {
            let mut left = [[W::ALL; TREES]];
            narrow(panel, x, features, &mut left);
            for left in &left[0][..panel.trees] {
                add(row, (start + left.first()) as u32);
                start += W::COUNT;
            }
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $kernel:ident: $real:ty, $word:ty;)*) => {$(
        dispatch! {
            /// Takes away the leaves that the comparisons of a panel rule out, row by row.
            pub(super) fn $name(
                panel: &Panel<$real, $word>,
                x: &[$real],
                features: usize,
                left: &mut [Left<$word>],
            ) = $kernel
        }

        #[inline(always)]
        fn $kernel<const FUSED: bool>(
            panel: &Panel<$real, $word>,
            x: &[$real],
            features: usize,
            left: &mut [Left<$word>],
        ) {
            panel.narrow(x, features, left);
        }
    )*};
}

kernels! {
    narrow_f32, kernel_f32: f32, u32;
    narrow_wide_f32, kernel_wide_f32: f32, u64;
    narrow_f64, kernel_f64: f64, u32;
    narrow_wide_f64, kernel_wide_f64: f64, u64;
}

impl<T: Real, W: Leaves> Panel<T, W> {
    #[inline(always)]
    fn narrow(&self, x: &[T], features: usize, left: &mut [Left<W>]) {
        for column in &self.columns {
            for (x, left) in x.chunks_exact(features).zip(&mut *left) {
                let cell = x[column.feature];
                column.narrow(if column.is_negated { -cell } else { cell }, self.trees, left);
            }
        }
    }
}

impl<T: Real, W: Leaves> Column<T, W> {
    #[inline(always)]
    fn narrow(&self, cell: T, trees: usize, left: &mut Left<W>) {
        let block = self.ends.iter().map(|end| u32::from(cell >= *end)).sum::<u32>() as usize;
        if block > 0 {
            let table = &self.tables[block * trees..][..trees];
            left[..trees].iter_mut().zip(table).for_each(|(left, mask)| *left = left.and(*mask));
        }
        let held = self.thresholds[block].iter().map(|threshold| u32::from(cell >= *threshold)).sum::<u32>();
        let (trees, masks) = (&self.trees[block], &self.masks[block]);
        for (tree, mask) in trees.iter().zip(masks).take(held as usize) {
            let left = &mut left[usize::from(*tree)];
            *left = left.and(*mask);
        }
    }

    /// From comparisons in any order.
    fn new((feature, is_negated): (u32, bool), mut all: Vec<(T, u8, W)>, trees: usize) -> Self {
        // Nothing is as large as NaN: such comparisons never hold.
        all.retain(|(threshold, ..)| !threshold.missing());
        all.sort_by(|(a, ..), (b, ..)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let blocks = all.len() / BLOCK + 1;
        let mut column = Self {
            feature: feature as usize,
            is_negated,
            ends: Vec::with_capacity(blocks - 1),
            thresholds: vec![[T::NAN; BLOCK]; blocks],
            trees: vec![[0; BLOCK]; blocks],
            masks: vec![[W::ALL; BLOCK]; blocks],
            tables: Vec::with_capacity(blocks * trees),
        };
        let mut left = vec![W::ALL; trees];
        column.tables.extend(&left);
        for (place, (threshold, tree, mask)) in all.into_iter().enumerate() {
            let (block, place) = (place / BLOCK, place % BLOCK);
            column.thresholds[block][place] = threshold;
            column.trees[block][place] = tree;
            column.masks[block][place] = mask;
            let left_of = &mut left[usize::from(tree)];
            *left_of = left_of.and(mask);
            if place == BLOCK - 1 {
                column.ends.push(threshold);
                column.tables.extend(&left);
            }
        }
        column
    }
}

impl<T, W> Panel<T, W> {
    fn memory_usage(&self) -> usize {
        let of = |column: &Column<T, W>| {
            let blocks = column.thresholds.len();
            column.ends.len() * size_of::<T>()
                + blocks * BLOCK * (size_of::<T>() + 1 + size_of::<W>())
                + column.tables.len() * size_of::<W>()
        };
        self.columns.iter().map(|column| size_of::<Column<T, W>>() + of(column)).sum()
    }
}

/// Panels, and what each leaf adds: `W::COUNT` ranges for each tree. `steps`: those of a walk through all trees.
fn layout<T: Real, W: Leaves>(
    spec: &ForestSpec<T>,
    columns: &Columns,
    steps: usize,
) -> Option<(Vec<Panel<T, W>>, Ranges)> {
    let splits = spec.trees.iter().map(|tree| tree.len() / 2).sum::<usize>();
    let trees = spec.trees.len();
    let panels = trees.div_ceil(TREES);
    // What a row costs, in cycles or so: a table takes 32 bytes a cycle, a comparison one, a step of a walk three.
    let table = if splits / columns.len().max(1) < BLOCK { 0 } else { trees * size_of::<W>() / 32 };
    let row = columns.len() * (table + panels * BLOCK);
    let bytes = splits / BLOCK * trees.min(TREES) * size_of::<W>();
    if row > 3 * steps || bytes > BYTES_MAX {
        return None;
    }
    let mut ranges = Vec::with_capacity(trees * W::COUNT);
    let panel = |trees: &[Vec<NodeSpec<T>>]| {
        let mut comparisons: Vec<Vec<(T, u8, W)>> = (0..columns.len()).map(|_| Vec::new()).collect();
        for (number, tree) in (0_u8..=u8::MAX).zip(trees) {
            let start = ranges.len();
            let mut tree = Tree { nodes: tree, columns, number, start, comparisons: &mut comparisons };
            tree.add(0, &mut ranges)?;
            ranges.resize(start + W::COUNT, (0, 0));
        }
        let columns = columns.features().zip(comparisons);
        let columns = columns.filter(|(_, comparisons)| !comparisons.is_empty());
        let columns = columns.map(|(feature, all)| Column::new(feature, all, trees.len())).collect();
        Some(Panel { trees: trees.len(), columns })
    };
    let panels = spec.trees.chunks(TREES).map(panel).collect::<Option<_>>()?;
    Some((panels, ranges))
}

struct Tree<'a, T, W> {
    nodes: &'a [NodeSpec<T>],
    columns: &'a Columns,
    number: u8,
    /// The place of its first leaf.
    start: usize,
    comparisons: &'a mut [Vec<(T, u8, W)>],
}

impl<T: Real, W: Leaves> Tree<'_, T, W> {
    /// Adds a node and all below it. Trees have at most 64 leaves: that deep it goes. `None` if there are more,
    /// by nodes with several parents.
    fn add(&mut self, place: u32, ranges: &mut Ranges) -> Option<()> {
        match self.nodes[place as usize] {
            NodeSpec::Leaf { first, count } if ranges.len() < self.start + W::COUNT => {
                ranges.push((first, count));
                Some(())
            }
            NodeSpec::Leaf { .. } => None,
            NodeSpec::Split(split) => {
                let step = self.columns.step(&split);
                let first = ranges.len() - self.start;
                self.add(step.first, ranges)?;
                let mask = W::without(first..ranges.len() - self.start);
                self.comparisons[usize::from(step.column)].push((step.threshold, self.number, mask));
                self.add(step.second, ranges)
            }
        }
    }
}
