//! What the numbers of a column are scaled by, and what stands for those that are missing.

use super::{Missing, Scaling};
use crate::data::Value;
use crate::{Error, Result};

/// The numbers that can be fitted on.
pub(super) fn finite<'a>(cells: impl Iterator<Item = Value<'a>>) -> Vec<f64> {
    cells.filter_map(Value::as_f64).filter(|number| number.is_finite()).collect()
}

impl Scaling {
    /// What is subtracted, and by what is multiplied.
    pub(super) fn fit(self, name: &str, numbers: &[f64]) -> Result<(f64, f64)> {
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        let (min, max) = numbers.iter().fold(ends, |(min, max), x| (min.min(*x), max.max(*x)));
        let (shift, width) = match self {
            Self::None => return Ok((0.0, 1.0)),
            _ if numbers.is_empty() => return Ok((0.0, 0.0)),
            // Rounding makes the deviation of a constant tiny, and not 0.
            Self::Standardise | Self::MinMax if min == max => return Ok((min, 0.0)),
            Self::Standardise => {
                let mean = mean(numbers);
                (mean, deviation(numbers, mean))
            }
            Self::MinMax => (min, max - min),
        };
        let scale = 1.0 / width;
        if width.is_finite() && scale.is_finite() {
            return Ok((shift, scale));
        }
        Err(Error::data(format!(
            "column `{name}` goes from {min:e} to {max:e}, which cannot be scaled: bring it to another unit"
        )))
    }
}

impl Missing {
    pub(super) fn fit(self, name: &str, numbers: &[f64]) -> Result<Option<f64>> {
        let needs_numbers = matches!(self, Self::Mean | Self::Median);
        if needs_numbers && numbers.is_empty() {
            return Err(Error::data(format!(
                "column `{name}` has no finite number to fit on: give its missing cells a fixed value"
            )));
        }
        Ok(match self {
            Self::NaN => None,
            Self::Mean => Some(mean(numbers)),
            Self::Median => Some(median(numbers)),
            Self::Value(value) if value.is_finite() => Some(value),
            Self::Value(value) => {
                return Err(Error::invalid(format!(
                    "column `{name}` would fill missing cells with {value}: want a finite number or `NaN`"
                )));
            }
        })
    }
}

fn mean(numbers: &[f64]) -> f64 {
    // Divided first, so that huge numbers do not overflow the sum; what that rounds off is added after.
    let n = numbers.len() as f64;
    let rough: f64 = numbers.iter().map(|x| x / n).sum();
    let mean = rough + numbers.iter().map(|x| (x - rough) / n).sum::<f64>();
    if mean.is_finite() { mean } else { rough }
}

/// The standard deviation of the population, without overflow or underflow of the squares.
fn deviation(numbers: &[f64], mean: f64) -> f64 {
    let widest = numbers.iter().map(|x| (x - mean).abs()).fold(0.0, f64::max);
    let squares: f64 = numbers.iter().map(|x| ((x - mean) / widest).powi(2)).sum();
    widest * (squares / numbers.len() as f64).sqrt()
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { sorted[middle - 1].midpoint(sorted[middle]) }
}
