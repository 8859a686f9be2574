//! Limits from the reference's own chunks.

use crate::{Error, Result};

/// NannyML's limits on a statistic: the mean of its values on the chunks of the reference, less and plus so many
/// standard deviations (n), kept within a range.
///
/// Believe it with ten chunks or more, as large as the windows that will be judged: a larger window varies less, a
/// smaller one more. Under no change about 3 in 1000 windows lie beyond three deviations if the statistic is nearly
/// normal; distances near 0 are not, so count on more.
///
/// ```
/// use mlops_drift::distance::chunk_limits;
///
/// let (low, high) = chunk_limits(&[0.10, 0.12, 0.11, 0.09, 0.13], 3.0, (0.0, 1.0))?;
/// assert!((low - 0.0676).abs() < 1e-4 && (high - 0.1524).abs() < 1e-4);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Data` if there are fewer than two values or one is not finite; `Invalid` if `deviations` is not above 0 or the
/// range is empty.
pub fn chunk_limits(values: &[f64], deviations: f64, (low, high): (f64, f64)) -> Result<(f64, f64)> {
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::data(format!("{value} of a chunk is not finite: leave that chunk out")));
    }
    if values.len() < 2 {
        return Err(Error::data(format!("limits need the values of two chunks, got {}", values.len())));
    }
    if !(deviations > 0.0 && deviations.is_finite() && low < high) {
        return Err(Error::invalid(format!(
            "{deviations} deviations within {low} to {high} are out of range: want above 0, and a range"
        )));
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    let reach = deviations * variance.sqrt();
    Ok(((mean - reach).clamp(low, high), (mean + reach).clamp(low, high)))
}
