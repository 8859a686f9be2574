//! Sixteen streams at once.

use std::array::from_fn;
use std::fmt::Debug;

/// How many streams a block holds.
pub(super) const LANES: usize = 16;

/// The level of a drift.
pub(super) const DRIFT: f64 = 2.0;
/// The level of a drift that an earlier update found: the stream was skipped since.
pub(super) const TOLD: f64 = 3.0;

/// One update of a stream: its state, a row of `N` numbers, and the level 0, 1 or 2 that it leads to.
pub trait Step<const N: usize> {
    fn start(&self) -> [f64; N];
    fn step(&self, row: [f64; N], value: f64) -> ([f64; N], f64);
}

/// The same for a block of streams, whatever the length of a row.
pub trait Kernel {
    type Block: Clone + Debug + PartialEq;
    fn fresh(&self) -> Self::Block;
    /// An update of each lane; NaN skips one.
    fn pass(&self, block: &mut Self::Block, values: &[f64; LANES]);
    fn level(block: &Self::Block, lane: usize) -> f64;
    /// The state of a lane, its level last.
    fn row(block: &Self::Block, lane: usize) -> Vec<f64>;
    /// Whether the state had the right length.
    fn set(block: &mut Self::Block, lane: usize, row: &[f64]) -> bool;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Block<const N: usize> {
    columns: [[f64; LANES]; N],
    levels: [f64; LANES],
    /// Whether a stream starts over with the next update.
    drifted: bool,
}

/// A kernel of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Lanes<S, const N: usize>(pub(super) S);

impl<S: Step<N>, const N: usize> Lanes<S, N> {
    /// A block in which a stream starts over or is skipped: one after the other.
    #[cold]
    #[inline(never)]
    fn pass_with_care(&self, block: &mut Block<N>, values: &[f64; LANES]) {
        for (lane, value) in values.iter().enumerate() {
            let over = block.levels[lane] >= DRIFT;
            if value.is_nan() {
                block.levels[lane] = if over { TOLD } else { block.levels[lane] };
                continue;
            }
            let row = if over { self.0.start() } else { from_fn(|column| block.columns[column][lane]) };
            let (row, level) = self.0.step(row, *value);
            block.columns.iter_mut().zip(row).for_each(|(column, number)| column[lane] = number);
            block.levels[lane] = level;
        }
        block.drifted = block.levels.iter().any(|level| *level >= DRIFT);
    }
}

impl<S: Step<N>, const N: usize> Kernel for Lanes<S, N> {
    type Block = Block<N>;

    fn fresh(&self) -> Block<N> {
        let start = self.0.start();
        Block { columns: start.map(|number| [number; LANES]), levels: [0.0; LANES], drifted: false }
    }

    fn pass(&self, block: &mut Block<N>, values: &[f64; LANES]) {
        let skips = values.iter().fold(false, |any, value| any | value.is_nan());
        if block.drifted | skips {
            return self.pass_with_care(block, values);
        }
        // New arrays, so that the compiler sees that they overlap with nothing and computes lanes together.
        let mut columns = [[0.0; LANES]; N];
        let mut levels = [0.0; LANES];
        for lane in 0..LANES {
            let (row, level) = self.0.step(from_fn(|column| block.columns[column][lane]), values[lane]);
            columns.iter_mut().zip(row).for_each(|(column, number)| column[lane] = number);
            levels[lane] = level;
        }
        block.columns = columns;
        block.levels = levels;
        block.drifted = levels.iter().fold(false, |any, level| any | (*level >= DRIFT));
    }

    fn level(block: &Block<N>, lane: usize) -> f64 {
        block.levels[lane]
    }

    fn row(block: &Block<N>, lane: usize) -> Vec<f64> {
        block.columns.iter().map(|column| column[lane]).chain([block.levels[lane]]).collect()
    }

    fn set(block: &mut Block<N>, lane: usize, row: &[f64]) -> bool {
        let Some((level, row)) = row.split_last() else { return false };
        if row.len() != N {
            return false;
        }
        block.columns.iter_mut().zip(row).for_each(|(column, number)| column[lane] = *number);
        block.levels[lane] = *level;
        block.drifted = block.levels.iter().any(|level| *level >= DRIFT);
        true
    }
}
