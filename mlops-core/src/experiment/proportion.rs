//! Successes among trials.

use serde::{Deserialize, Serialize};

use super::moments::rows_together;
use crate::{Error, Result};

/// Successes among trials: clicks among impressions, errors among requests.
///
/// Two counts, so every merge order gives the same state bit for bit.
///
/// ```
/// use mlops_core::experiment::Proportion;
///
/// let mut clicks = Proportion::of(3, 20)?;
/// clicks.push(true);
/// clicks.merge(&Proportion::of(1, 4)?)?;
/// assert_eq!((clicks.successes(), clicks.trials(), clicks.rate()), (5, 25, Some(0.2)));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Proportion {
    successes: u64,
    trials: u64,
}

impl Proportion {
    /// The state of no trials.
    pub const fn new() -> Self {
        Self { successes: 0, trials: 0 }
    }

    /// That many successes among that many trials.
    ///
    /// # Errors
    /// `Invalid` if there are more successes than trials, or more trials than
    /// [`ROWS_MAX`](super::ROWS_MAX).
    pub fn of(successes: u64, trials: u64) -> Result<Self> {
        if successes > trials {
            return Err(Error::invalid(format!(
                "{successes} successes among {trials} trials: count each success as a trial"
            )));
        }
        rows_together(trials, 0)?;
        Ok(Self { successes, trials })
    }

    /// Takes one trial.
    #[inline]
    pub fn push(&mut self, success: bool) {
        self.trials += 1;
        self.successes += u64::from(success);
    }

    /// Takes the trials of another state.
    ///
    /// # Errors
    /// `Invalid` if the two together pass [`ROWS_MAX`](super::ROWS_MAX) trials; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.trials = rows_together(self.trials, other.trials)?;
        self.successes += other.successes;
        Ok(())
    }

    /// The successes.
    pub const fn successes(&self) -> u64 {
        self.successes
    }

    /// The trials without success.
    pub const fn failures(&self) -> u64 {
        self.trials - self.successes
    }

    /// The trials.
    pub const fn trials(&self) -> u64 {
        self.trials
    }

    /// The share of successes, `None` without trials.
    pub fn rate(&self) -> Option<f64> {
        (self.trials > 0).then(|| self.successes as f64 / self.trials as f64)
    }
}

#[derive(Deserialize)]
struct Wire {
    successes: u64,
    trials: u64,
}

impl TryFrom<Wire> for Proportion {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::of(wire.successes, wire.trials)
    }
}
