//! Count, mean, variance and skewness of a stream of numbers.

use serde::{Deserialize, Serialize};

use super::proportion::Proportion;
use crate::{Error, Result};

/// Count, mean and the sums of squared and cubed deviations: all that a comparison of means needs, and what tells
/// whether the rows are enough for it.
///
/// One number costs one division (Welford); two states merge in constant time (Chan, Golub, LeVeque).
/// Merging in any order or grouping gives the same count bit for bit, and the rest up to rounding (about 1e-15
/// of the spread a merge).
///
/// Values must be finite and at most [`VALUE_MAX`] in size, so that no later cube overflows.
///
/// Sources: B. P. Welford, "Note on a method for calculating corrected sums of squares and products", 1962;
/// T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", 1983; P. Pébay,
/// "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments", 2008.
///
/// ```
/// use mlops_core::experiment::Moments;
///
/// let mut a = Moments::of([1.0, 2.0])?;
/// let b = Moments::of([3.0, 6.0])?;
/// a.merge(&b)?;
/// assert_eq!((a.rows(), a.mean()), (4, Some(3.0)));
/// assert_eq!(a.sample_variance(), Some(14.0 / 3.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Moments {
    rows: u64,
    mean: f64,
    squares: f64,
    cubes: f64,
}

/// The largest size of a value that [`Moments`] takes.
pub const VALUE_MAX: f64 = 1e90;

/// The most rows that a state counts: up to here a count is exact as `f64`.
pub const ROWS_MAX: u64 = 1 << 53;

impl Moments {
    /// The state of no rows.
    pub const fn new() -> Self {
        Self { rows: 0, mean: 0.0, squares: 0.0, cubes: 0.0 }
    }

    /// The state of these values.
    ///
    /// # Errors
    /// `Invalid` if a value is NaN, infinite or above [`VALUE_MAX`] in size.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Result<Self> {
        let mut moments = Self::new();
        values.into_iter().try_for_each(|value| moments.push(value))?;
        Ok(moments)
    }

    /// The state of these sums.
    pub(super) fn of_sums(rows: u64, mean: f64, squares: f64, cubes: f64) -> Result<Self> {
        Self::try_from(Wire { rows, mean, squares, cubes })
    }

    /// Takes one value.
    ///
    /// # Errors
    /// `Invalid` if it is NaN, infinite or above [`VALUE_MAX`] in size; the state is then unchanged.
    #[inline]
    pub fn push(&mut self, value: f64) -> Result<()> {
        // NaN is within no range.
        if !(-VALUE_MAX..=VALUE_MAX).contains(&value) {
            return Err(not_a_value(value));
        }
        let rows_before = self.rows as f64;
        self.rows += 1;
        let gap = value - self.mean;
        let step = gap / self.rows as f64;
        let more = gap * step * rows_before;
        self.mean += step;
        self.cubes += step * (more * (rows_before - 1.0) - 3.0 * self.squares);
        self.squares += more;
        Ok(())
    }

    /// Takes the rows of another state.
    ///
    /// # Errors
    /// `Invalid` if the two together have more than [`ROWS_MAX`] rows; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let rows = rows_together(self.rows, other.rows)?;
        if self.rows == 0 {
            *self = *other;
        } else if other.rows > 0 {
            let (n, m, all) = (self.rows as f64, other.rows as f64, rows as f64);
            let apart = other.mean - self.mean;
            self.mean += apart * (m / all);
            let (n_share, m_share) = (n / all, m / all);
            self.cubes += other.cubes
                + apart * apart * apart * (n * m_share * (n_share - m_share))
                + 3.0 * apart * (n_share * other.squares - m_share * self.squares);
            self.squares += other.squares + apart * apart * (n * m_share);
            self.rows = rows;
        }
        Ok(())
    }

    /// How many values were taken.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The mean, `None` without rows.
    pub fn mean(&self) -> Option<f64> {
        (self.rows > 0).then_some(self.mean)
    }

    /// The unbiased variance (divided by `rows - 1`), `None` below two rows.
    pub fn sample_variance(&self) -> Option<f64> {
        (self.rows > 1).then(|| self.squares / (self.rows - 1) as f64)
    }

    /// How lopsided the values are: the mean cubed deviation over the cube of the standard deviation. 0 for a
    /// symmetric law, 2 for an exponential one, 10 for one success in a hundred. `None` without variance.
    pub fn skewness(&self) -> Option<f64> {
        self.pooled_skewness(&Self::new())
    }

    /// The skewness within two arms together, each around its own mean.
    pub(super) fn pooled_skewness(&self, other: &Self) -> Option<f64> {
        let rows = self.rows as f64 + other.rows as f64;
        let (squares, cubes) = (self.squares + other.squares, self.cubes + other.cubes);
        let deviation = (squares / rows).sqrt();
        (squares > 0.0).then(|| cubes / squares / deviation).filter(|skewness| skewness.is_finite())
    }

    /// The variance of the values themselves (divided by `rows`), `None` without rows.
    pub fn population_variance(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.squares / self.rows as f64)
    }
}

impl From<Proportion> for Moments {
    /// The moments of the zeros and ones that the proportion counts.
    fn from(counts: Proportion) -> Self {
        let (successes, trials) = (counts.successes() as f64, counts.trials() as f64);
        let mean = counts.rate().unwrap_or(0.0);
        let squares = mean * (trials - successes);
        Self { rows: counts.trials(), mean, squares, cubes: squares * (1.0 - 2.0 * mean) }
    }
}

#[derive(Deserialize)]
struct Wire {
    rows: u64,
    mean: f64,
    squares: f64,
    cubes: f64,
}

impl TryFrom<Wire> for Moments {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        let Wire { rows, mean, squares, cubes } = wire;
        let constant = squares == 0.0 && cubes == 0.0;
        let empty = rows == 0 && mean == 0.0 && constant;
        let single = rows == 1 && constant;
        let filled = mean.abs() <= VALUE_MAX && (0.0..f64::INFINITY).contains(&squares) && cubes.is_finite();
        if rows <= ROWS_MAX && filled && (empty || single || rows > 1) {
            return Ok(Self { rows, mean, squares, cubes });
        }
        Err(Error::data(format!("no values have {rows} rows, mean {mean} and squared deviations {squares}")))
    }
}

#[cold]
fn not_a_value(value: f64) -> Error {
    Error::invalid(format!(
        "value {value:?} is not a number of at most {VALUE_MAX:e} in size: drop the row or clip it"
    ))
}

/// The sum of two row counts.
pub(super) fn rows_together(a: u64, b: u64) -> Result<u64> {
    match a.checked_add(b) {
        Some(rows) if rows <= ROWS_MAX => Ok(rows),
        _ => Err(Error::invalid(format!("{a} and {b} rows together pass the limit of {ROWS_MAX}"))),
    }
}
