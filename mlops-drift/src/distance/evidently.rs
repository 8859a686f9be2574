//! The conventions of Evidently, for reports that have to agree with its own.

use super::samples::scaled;
use crate::{Error, Result, Sample};

/// Evidently's shares of counts: an empty bucket gets 0.0001, or a millionth of the least share where that is
/// not above 0.0001; the others keep theirs, so that the sum exceeds 1.
///
/// Its Kullback-Leibler divergence is [`kullback_leibler_nats`](super::kullback_leibler_nats) of two of these.
///
/// # Errors
/// `Data` if the counts sum to 0.
pub fn filled_shares(counts: &[u64]) -> Result<Vec<f64>> {
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    if total == 0.0 {
        return Err(Error::data("no counts: shares are undefined"));
    }
    let least =
        counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / total).fold(1.0, f64::min);
    let fill = if least <= 1e-4 { least / 1e6 } else { 1e-4 };
    Ok(counts.iter().map(|count| if *count == 0 { fill } else { *count as f64 / total }).collect())
}

/// Evidently's population stability index of two lists of counts: [`psi`](super::psi) of [`filled_shares`]
/// without normalising them. A bucket of share 0.1 that empties adds 0.69.
///
/// # Errors
/// `Invalid` if the lists have different lengths; `Data` if one sums to 0.
pub fn psi_as_evidently(reference: &[u64], current: &[u64]) -> Result<f64> {
    if reference.len() != current.len() {
        return Err(Error::invalid(format!(
            "{} buckets cannot be compared with {}",
            reference.len(),
            current.len()
        )));
    }
    let (p, q) = (filled_shares(reference)?, filled_shares(current)?);
    Ok(p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

/// Evidently's normed Wasserstein distance: [`wasserstein`](super::wasserstein) over the standard deviation of the
/// reference, or over 0.001 if that is larger, so that it is not free of units for data of small spread.
///
/// # Errors
/// `Data` if a value is infinite.
pub fn wasserstein_normed_as_evidently(reference: &Sample, current: &Sample) -> Result<f64> {
    let (distance, deviation, scale) = scaled(reference, current)?;
    Ok(distance / deviation.max(0.001 * scale))
}
