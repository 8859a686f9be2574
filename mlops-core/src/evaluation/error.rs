//! What can be wrong with the numbers that a metric is given.

use crate::Error;

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
    #[error("{what} {value} at row {row} is not a finite number: drop or impute the row before")]
    NonFinite {
        /// The column.
        what: &'static str,
        /// Where, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A value lies outside its domain.
    #[error("{what} {value} at row {row} is outside {low}..={high}")]
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
