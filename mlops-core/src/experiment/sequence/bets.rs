//! How much to bet on the next value.

use serde::{Deserialize, Serialize};

use crate::experiment::moments::{ROWS_MAX, rows_together};
use crate::{Error, Result};

/// What the values so far, each within [0, 1], teach about the size of the next bet.
///
/// Mean and variance are regularised by one made-up row at mean 1/2 with variance 1/4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub(super) struct Bets {
    rows: u64,
    sum: f64,
    squares: f64,
}

impl Bets {
    pub(super) fn push(&mut self, value: f64) {
        self.rows += 1;
        self.sum += value;
        let regularised = (0.5 + self.sum) / (self.rows as f64 + 1.0);
        self.squares += (value - regularised).powi(2);
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        self.rows = rows_together(self.rows, other.rows)?;
        self.sum += other.sum;
        self.squares += other.squares;
        Ok(())
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.sum / self.rows as f64)
    }

    /// The bet on the next value that ignores its variance, for `log = ln(1 / level)`.
    pub(super) fn hoeffding(&self, log: f64) -> f64 {
        (8.0 * log / self.schedule()).sqrt().min(1.0)
    }

    /// The bet on the next value that follows the variance.
    pub(super) fn empirical_bernstein(&self, log: f64) -> f64 {
        let variance = (0.25 + self.squares) / (self.rows as f64 + 1.0);
        (2.0 * log / (self.schedule() * variance)).sqrt()
    }

    /// `t ln(1 + t)` for the coming row `t`: bets shrink at the rate that keeps the interval shrinking forever.
    fn schedule(&self) -> f64 {
        let row = self.rows as f64 + 1.0;
        row * row.ln_1p()
    }
}

#[derive(Deserialize)]
struct Wire {
    rows: u64,
    sum: f64,
    squares: f64,
}

impl TryFrom<Wire> for Bets {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        let Wire { rows, sum, squares } = wire;
        let most = rows as f64;
        if rows <= ROWS_MAX && (0.0..=most).contains(&sum) && (0.0..=most).contains(&squares) {
            return Ok(Self { rows, sum, squares });
        }
        Err(Error::data(format!("no {rows} values within [0, 1] have sum {sum} and squares {squares}")))
    }
}
