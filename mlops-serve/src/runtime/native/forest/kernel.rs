//! Which kernel finds the leaves of a forest.

use super::columns::{COLUMNS, Columns};
use super::compact::{Compact, Ranges, WALKS};
use super::heap::{Heap, TILE};
use super::panels::Panels;
use super::spec::{ForestSpec, Real};
use super::walk::Walk;

/// All kernels give each row the same leaves, and add them in the order of the trees: their sums have the
/// same bits.
#[derive(Debug)]
pub(super) enum Kernel<T> {
    /// Trees of up to 64 leaves, on not too many columns; with tiles for many rows of shallow trees.
    Panels { panels: Panels<T>, columns: Columns, tiles: Option<Heap<T>> },
    /// Nodes with one parent each and few columns, as learners make them.
    Compact { columns: Columns, trees: Compact<T> },
    /// Anything: hundreds of features, and sets of categories that would take too many nodes with one parent.
    Walk(Walk<T>),
}

impl<T: Real> Kernel<T> {
    /// The kernel for a forest that was checked, and what its leaves add. `one`: one weight each.
    pub(super) fn new(spec: &ForestSpec<T>, one: bool) -> (Self, Ranges) {
        let compact = Columns::of(spec).and_then(|columns| {
            let (trees, ranges) = Compact::new(spec, &columns)?;
            let (kernel, ranges) = match Panels::new(spec, &columns, trees.steps()) {
                Some((panels, ranges)) => {
                    let tiles = if one { Heap::new(spec, &columns, trees.depth()) } else { None };
                    (Self::Panels { panels, columns, tiles }, ranges)
                }
                None => (Self::Compact { columns, trees }, ranges),
            };
            Some((kernel, ranges))
        });
        compact.unwrap_or_else(|| {
            let mut ranges = Vec::new();
            let walk = Walk::new(spec, |first, count| {
                ranges.push((first, count));
                ranges.len() as u32 - 1
            });
            (Self::Walk(walk), ranges)
        })
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            Self::Panels { panels, columns, tiles } => {
                panels.memory_usage() + columns.memory_usage() + tiles.as_ref().map_or(0, Heap::memory_usage)
            }
            Self::Compact { columns, trees } => columns.memory_usage() + trees.memory_usage(),
            Self::Walk(walk) => walk.memory_usage(),
        }
    }

    /// Adds the values of the leaves that each row ends in.
    #[inline]
    pub(super) fn sum(&self, x: &[T], features: usize, values: &[T], y: &mut [T]) {
        match self {
            Self::Panels { panels, columns, tiles } => {
                let (mut x, mut y) = (x, y);
                if let Some(tiles) = tiles {
                    let whole = y.len() - y.len() % TILE;
                    let (x_tiles, y_tiles);
                    (x_tiles, x) = x.split_at(whole * features);
                    (y_tiles, y) = y.split_at_mut(whole);
                    tiles.sum(columns, x_tiles, features, y_tiles);
                }
                panels.sum(x, features, values, y);
            }
            Self::Compact { columns, trees } => {
                let (groups, lone) = y.as_chunks_mut::<WALKS>();
                let (x_groups, x_lone) = x.split_at(groups.len() * WALKS * features);
                let mut cells = [[T::default(); COLUMNS]; WALKS];
                for (x, y) in x_groups.chunks_exact(WALKS * features).zip(groups) {
                    for (row, cells) in x.chunks_exact(features).zip(&mut cells) {
                        columns.pick(row, |column, value| cells[column] = value);
                    }
                    trees.run_rows(&cells, |row, leaf| y[row] += values[leaf as usize]);
                }
                for (row, y) in x_lone.chunks_exact(features).zip(lone) {
                    columns.pick(row, |column, value| cells[0][column] = value);
                    let mut sum = *y;
                    trees.run(&cells[0], |leaf| sum += values[leaf as usize]);
                    *y = sum;
                }
            }
            Self::Walk(walk) => walk.run(x, features, |row, leaf| y[row] += values[leaf as usize]),
        }
    }

    /// Calls `add(row, leaf)` for each row and tree; for each row in the order of the trees.
    #[inline]
    pub(super) fn each(&self, x: &[T], features: usize, mut add: impl FnMut(usize, u32)) {
        match self {
            Self::Panels { panels, .. } => panels.each(x, features, add),
            Self::Compact { columns, trees } => {
                let mut cells = [T::default(); COLUMNS];
                for (index, row) in x.chunks_exact(features).enumerate() {
                    columns.pick(row, |column, value| cells[column] = value);
                    trees.run(&cells, |leaf| add(index, leaf));
                }
            }
            Self::Walk(walk) => walk.run(x, features, add),
        }
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::Seed;
    use rand::{Rng, RngExt};

    use super::*;
    use crate::runtime::native::forest::{Comparison, Forest, NodeSpec, Split};

    const FEATURES: usize = 9;

    /// A tree with so many leaves, grown leaf by leaf, or level by level.
    fn tree(
        rng: &mut impl Rng,
        leaves: usize,
        by_level: bool,
        weights: &mut Vec<(u32, f32)>,
    ) -> Vec<NodeSpec<f32>> {
        let mut open = std::collections::VecDeque::from([0]);
        let mut tree = vec![NodeSpec::Leaf { first: 0, count: 0 }];
        for _ in 1..leaves {
            let which = if by_level { 0 } else { rng.random_range(0..open.len()) };
            let place = open.remove(which).unwrap();
            let threshold = match rng.random_range(0..12) {
                0 => f32::NAN,
                1 => f32::NEG_INFINITY,
                2 => 0.0,
                _ => rng.random_range(-1.0..1.0),
            };
            let child = tree.len() as u32;
            let (yes, no) = if rng.random_bool(0.5) { (child, child + 1) } else { (child + 1, child) };
            let (feature, missing_yes) = (rng.random_range(0..FEATURES as u32), rng.random_bool(0.5));
            tree[place] = NodeSpec::Split(Split { feature, threshold, yes, no, missing_yes });
            tree.extend([NodeSpec::Leaf { first: 0, count: 0 }; 2]);
            open.extend([child as usize, child as usize + 1]);
        }
        for place in open {
            tree[place] = NodeSpec::Leaf { first: weights.len() as u32, count: 1 };
            weights.push((0, rng.random_range(-1.0..1.0)));
        }
        tree
    }

    fn spec(trees: Vec<Vec<NodeSpec<f32>>>, weights: Vec<(u32, f32)>) -> ForestSpec<f32> {
        let base = vec![0.125];
        ForestSpec { features: FEATURES, targets: 1, trees, weights, base, base_first: true, divisor: None }
    }

    fn wide(spec: &ForestSpec<f32>) -> ForestSpec<f64> {
        let split = |split: &Split<f32>| Split {
            feature: split.feature,
            threshold: f64::from(split.threshold),
            yes: split.yes,
            no: split.no,
            missing_yes: split.missing_yes,
        };
        let node = |node: &NodeSpec<f32>| match node {
            NodeSpec::Leaf { first, count } => NodeSpec::Leaf { first: *first, count: *count },
            NodeSpec::Split(found) => NodeSpec::Split(split(found)),
        };
        ForestSpec {
            features: spec.features,
            targets: 1,
            trees: spec.trees.iter().map(|tree| tree.iter().map(node).collect()).collect(),
            weights: spec.weights.iter().map(|(target, weight)| (*target, f64::from(*weight))).collect(),
            base: spec.base.iter().map(|base| f64::from(*base)).collect(),
            base_first: true,
            divisor: None,
        }
    }

    /// By the definition.
    fn score<T: Real>(spec: &ForestSpec<T>, row: &[T]) -> T {
        let mut sum = spec.base[0];
        for tree in &spec.trees {
            let mut at = 0;
            let first = loop {
                match tree[at as usize] {
                    NodeSpec::Leaf { first, .. } => break first,
                    NodeSpec::Split(split) => {
                        let x = row[split.feature as usize];
                        let no = if x.missing() { !split.missing_yes } else { x >= split.threshold };
                        at = if no { split.no } else { split.yes };
                    }
                }
            };
            sum += spec.weights[first as usize].1;
        }
        sum
    }

    fn cell(rng: &mut impl Rng) -> f32 {
        match rng.random_range(0..20) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            3 => -0.0,
            _ => rng.random_range(-1.0..1.0),
        }
    }

    fn agree(rng: &mut impl Rng, spec: ForestSpec<f32>, kernel: Option<&str>) {
        let wide_spec = wide(&spec);
        let x: Vec<f32> = (0..50 * FEATURES).map(|_| cell(rng)).collect();
        let wide_x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let want: Vec<u32> = x.chunks_exact(FEATURES).map(|row| score(&spec, row).to_bits()).collect();
        let wide_want: Vec<u64> =
            wide_x.chunks_exact(FEATURES).map(|row| score(&wide_spec, row).to_bits()).collect();
        let forest = Forest::new(spec).unwrap();
        let wide_forest = Forest::new(wide_spec).unwrap();
        let found = match &forest.kernel {
            Kernel::Panels { .. } => "panels",
            Kernel::Compact { .. } => "compact",
            Kernel::Walk(_) => "walk",
        };
        assert!(kernel.is_none_or(|kernel| kernel == found), "{found}");
        for rows in [1, 2, 7, 8, 15, 16, 17, 32, 50] {
            let (mut y, mut wide_y) = (vec![0.0; rows], vec![0.0; rows]);
            forest.run(&x[..rows * FEATURES], &mut y);
            wide_forest.run(&wide_x[..rows * FEATURES], &mut wide_y);
            assert!(y.iter().map(|y| y.to_bits()).eq(want[..rows].iter().copied()), "{found} {rows}");
            assert!(
                wide_y.iter().map(|y| y.to_bits()).eq(wide_want[..rows].iter().copied()),
                "{found} {rows}"
            );
        }
    }

    #[test]
    fn every_kernel_gives_the_bits_of_the_definition() {
        let mut rng = Seed::new(3).rng();
        for (leaves, by_level, kernel) in [
            (1, true, "panels"),
            (2, true, "compact"),
            (13, true, "panels"),
            (64, true, "panels"),
            (65, true, "compact"),
            (90, true, "compact"),
            (31, false, "panels"),
            (33, false, "panels"),
            (63, false, "panels"),
            (80, false, "compact"),
            (300, false, "compact"),
        ] {
            for count in [1, 8, 21, 300] {
                let mut weights = Vec::new();
                let trees =
                    (0..count).map(|_| tree(&mut rng, leaves, by_level, &mut weights)).collect::<Vec<_>>();
                // Few trees are walked in less time than it takes to look their comparisons up.
                let kernel = (count == 300).then_some(kernel);
                agree(&mut rng, spec(trees, weights), kernel);
            }
        }
    }

    #[test]
    fn nodes_with_several_parents_are_walked() {
        let mut rng = Seed::new(4).rng();
        let mut weights = Vec::new();
        let mut trees = vec![tree(&mut rng, 40, false, &mut weights)];
        // A chain in which both ways lead to the next node: 2^60 paths.
        let mut chain: Vec<NodeSpec<f32>> = (0..60)
            .map(|place| {
                let (yes, no) = (place + 1, place + 1);
                NodeSpec::Split(Split { feature: 1, threshold: 0.0, yes, no, missing_yes: true })
            })
            .collect();
        chain.push(NodeSpec::Leaf { first: 0, count: 1 });
        trees.push(chain);
        agree(&mut rng, spec(trees, weights), Some("walk"));
    }

    /// Trees as sets of categories and equality make them, of which a few are in a forest of others.
    #[test]
    fn a_few_trees_with_sets_leave_the_forest_its_fast_kernel() {
        let mut rng = Seed::new(5).rng();
        for (leaves, every, kernel) in
            [(12, 20, "panels"), (31, 20, "panels"), (100, 20, "compact"), (12, 1, "panels")]
        {
            let mut weights = Vec::new();
            let mut trees = (0..300).map(|_| tree(&mut rng, leaves, false, &mut weights)).collect::<Vec<_>>();
            for tree in trees.iter_mut().step_by(every) {
                // The last splits, of which there are enough.
                let splits = (0..tree.len()).rev().filter(|place| matches!(tree[*place], NodeSpec::Split(_)));
                let places: Vec<usize> = splits.take(3).collect();
                for (turn, place) in places.into_iter().enumerate() {
                    let NodeSpec::Split(split) = tree[place] else { continue };
                    let split = Split { threshold: 0.0, ..split };
                    match turn {
                        0 => ForestSpec::split(tree, place, Comparison::Equal, split).unwrap(),
                        1 => ForestSpec::split(tree, place, Comparison::NotEqual, split).unwrap(),
                        _ => ForestSpec::split_by_ranges(tree, place, split, &[-0.6, -0.2, 0.0, 0.3, 0.7])
                            .unwrap(),
                    }
                }
            }
            agree(&mut rng, spec(trees, weights), Some(kernel));
        }
    }
}
