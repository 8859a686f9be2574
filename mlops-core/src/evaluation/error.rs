//! What can be wrong with the numbers that a metric is given.

use crate::Error;
use crate::experiment::VALUE_MAX;

/// Why a metric refused its input. Converts into [`Error`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Two columns of the same rows differ in length.
    #[error("{given} {what} for {expected} rows: give one for each row")]
    Length {
        /// The column that does not fit.
        what: &'static str,
        /// Its length.
        given: usize,
        /// The number of rows.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what} {value} at row {row} is not a finite number: drop the row or impute the value first")]
    NonFinite {
        /// The column.
        what: &'static str,
        /// Where, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A value lies outside its domain.
    #[error("{what} {} at row {row} is outside {}..={}", short(*value), short(*low), short(*high))]
    Range {
        /// The column.
        what: &'static str,
        /// Where, from 0.
        row: usize,
        /// The value.
        value: f64,
        /// The smallest value allowed.
        low: f64,
        /// The largest value allowed.
        high: f64,
    },
    /// A setting makes no sense.
    #[error("{what} is {value}: want {want}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The value given.
        value: f64,
        /// What would do.
        want: &'static str,
    },
    /// Two states were built with different settings.
    #[error("cannot merge {what}: the two were built with different settings")]
    Incompatible {
        /// The kind of state.
        what: &'static str,
    },
}

impl From<MetricError> for Error {
    fn from(error: MetricError) -> Self {
        match error {
            MetricError::NonFinite { .. } | MetricError::Range { .. } => Self::data(error.to_string()),
            _ => Self::invalid(error.to_string()),
        }
    }
}

/// Checks that a column has one value for each row.
pub(crate) fn same_length(what: &'static str, given: usize, expected: usize) -> Result<(), MetricError> {
    if given == expected { Ok(()) } else { Err(MetricError::Length { what, given, expected }) }
}

/// Checks that every value is finite and inside `low..=high`.
pub(crate) fn in_range(what: &'static str, values: &[f64], low: f64, high: f64) -> Result<(), MetricError> {
    // The common case is one branch-free pass; the place of a fault is looked for only when there is one. NaN
    // is on neither side, and the limits are finite.
    if values.iter().filter(|&&value| !(value >= low && value <= high)).count() == 0 {
        return Ok(());
    }
    values.iter().enumerate().try_for_each(|(row, &value)| in_range_at(what, row, value, low, high))
}

/// Checks one value.
pub(crate) fn in_range_at(
    what: &'static str,
    row: usize,
    value: f64,
    low: f64,
    high: f64,
) -> Result<(), MetricError> {
    if !value.is_finite() {
        Err(MetricError::NonFinite { what, row, value })
    } else if value < low || value > high {
        Err(MetricError::Range { what, row, value, low, high })
    } else {
        Ok(())
    }
}

/// Checks that every value is finite.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<(), MetricError> {
    in_range(what, values, f64::MIN, f64::MAX)
}

/// The largest weight of a row: with values up to [`VALUE_MAX`] no weighted square overflows.
pub(crate) const WEIGHT_MAX: f64 = 1e20;

/// Checks one number that will be squared.
pub(crate) fn value_at(what: &'static str, row: usize, value: f64) -> Result<(), MetricError> {
    in_range_at(what, row, value, -VALUE_MAX, VALUE_MAX)
}

/// Checks numbers that will be squared.
pub(crate) fn values(what: &'static str, values: &[f64]) -> Result<(), MetricError> {
    in_range(what, values, -VALUE_MAX, VALUE_MAX)
}

/// Checks the weight of one row.
pub(crate) fn weight_at(row: usize, weight: f64) -> Result<(), MetricError> {
    in_range_at("weight", row, weight, 0.0, WEIGHT_MAX)
}

/// Checks the weights of all rows.
pub(crate) fn weights(weights: &[f64]) -> Result<(), MetricError> {
    in_range("weight", weights, 0.0, WEIGHT_MAX)
}

/// The number of the row that comes after so many.
pub(crate) fn row_after(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// Numbers of many digits with an exponent.
fn short(value: f64) -> String {
    if value.abs() >= 1e16 { format!("{value:e}") } else { value.to_string() }
}

/// Reads a stored weight, count or size: 0 or above and finite.
pub(crate) fn stored_size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let size = <f64 as serde::Deserialize>::deserialize(deserializer)?;
    if (0.0..f64::INFINITY).contains(&size) {
        return Ok(size);
    }
    Err(serde::de::Error::custom(format!("{size} is no size: want a finite number of 0 or above")))
}
