//! Sixteen streams at once.

use std::array::from_fn;
use std::fmt::Debug;

/// How many streams a block holds.
pub(super) const LANES: usize = 16;

/// The level of a drift.
pub(super) const DRIFT: f64 = 2.0;
/// The level of a drift that an earlier update found: the stream was skipped since.
pub(super) const TOLD: f64 = 3.0;

/// The level of a state that has to be [finished](Step::finish).
pub(super) const UNFINISHED: f64 = 4.0;

/// One update of a stream: its state, a row of `N` numbers, and the level 0, 1 or 2 that it leads to.
pub trait Step<const N: usize> {
    fn start(&self) -> [f64; N];
    fn step(&self, row: [f64; N], value: f64) -> ([f64; N], f64);
    /// What is too rare and slow for all streams to do.
    fn finish(&self, row: [f64; N]) -> ([f64; N], f64) {
        (row, 0.0)
    }
    /// The number behind a warning or a drift, and its limit.
    fn reason(&self, row: [f64; N], is_drift: bool) -> (f64, f64);
    /// The state of version 2, whose rows were other ones, without its level.
    fn upgrade(&self, row: &[f64]) -> Option<[f64; N]> {
        row.try_into().ok()
    }
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
    fn reason(&self, block: &Self::Block, lane: usize) -> (f64, f64);
    /// A row of version 2, its level last.
    fn upgrade(&self, row: &[f64]) -> Option<Vec<f64>>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Block<const N: usize> {
    columns: [[f64; LANES]; N],
    levels: [f64; LANES],
    /// Whether a stream starts over with the next update.
    drifted: bool,
}

impl<const N: usize> Block<N> {
    #[inline(always)]
    fn row(&self, lane: usize) -> [f64; N] {
        from_fn(|column| self.columns[column][lane])
    }

    #[inline(always)]
    fn set(&mut self, lane: usize, row: [f64; N], level: f64) {
        self.columns.iter_mut().zip(row).for_each(|(column, number)| column[lane] = number);
        self.levels[lane] = level;
    }
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
            let row = if over { self.0.start() } else { block.row(lane) };
            let (row, level) = self.0.step(row, *value);
            block.set(lane, row, level);
        }
        self.finish(block);
    }

    /// Finishes the streams that are not.
    #[cold]
    #[inline(never)]
    fn finish(&self, block: &mut Block<N>) {
        for lane in 0..LANES {
            if block.levels[lane] == UNFINISHED {
                let (row, level) = self.0.finish(block.row(lane));
                block.set(lane, row, level);
            }
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

    #[inline(always)]
    fn pass(&self, block: &mut Block<N>, values: &[f64; LANES]) {
        let skips = values.iter().fold(false, |any, value| any | value.is_nan());
        if block.drifted | skips {
            return self.pass_with_care(block, values);
        }
        for (lane, value) in values.iter().enumerate() {
            let (row, level) = self.0.step(block.row(lane), *value);
            block.set(lane, row, level);
        }
        if block.levels.iter().fold(false, |any, level| any | (*level >= DRIFT)) {
            self.finish(block);
        }
    }

    fn level(block: &Block<N>, lane: usize) -> f64 {
        block.levels[lane]
    }

    fn row(block: &Block<N>, lane: usize) -> Vec<f64> {
        block.columns.iter().map(|column| column[lane]).chain([block.levels[lane]]).collect()
    }

    fn set(block: &mut Block<N>, lane: usize, row: &[f64]) -> bool {
        let Some((level, row)) = row.split_last() else { return false };
        let Ok(row) = row.try_into() else { return false };
        block.set(lane, row, *level);
        block.drifted = block.levels.iter().any(|level| *level >= DRIFT);
        true
    }

    fn reason(&self, block: &Block<N>, lane: usize) -> (f64, f64) {
        self.0.reason(block.row(lane), block.levels[lane] == DRIFT)
    }

    fn upgrade(&self, row: &[f64]) -> Option<Vec<f64>> {
        let (level, row) = row.split_last()?;
        Some(self.0.upgrade(row)?.into_iter().chain([*level]).collect())
    }
}
