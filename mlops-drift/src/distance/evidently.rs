//! The conventions of Evidently, for reports that have to agree with its own.

use serde::{Deserialize, Serialize};

use super::samples::scaled;
use crate::special::chi_squared_sf;
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

/// Evidently's chi-squared p-value: Pearson's test of goodness of fit, which takes the reference for the truth, so that
/// it alarms in 32 % of unchanged windows of 1000 rows against a reference of 1000 at a level of 5 %, and always if one
/// category is new. [`chi_squared`](crate::two_sample::chi_squared) is the test of two samples.
///
/// # Errors
/// `Invalid` if the lists have different lengths; `Data` if one sums to 0.
pub fn chi_squared_p_as_evidently(reference: &[u64], current: &[u64]) -> Result<f64> {
    goodness_of_fit(reference, current, |seen, expected| (seen - expected).powi(2) / expected)
}

/// Evidently's G test, likewise: see [`g_test`](crate::two_sample::g_test) for that of two samples.
///
/// # Errors
/// `Invalid` if the lists have different lengths; `Data` if one sums to 0.
pub fn g_test_p_as_evidently(reference: &[u64], current: &[u64]) -> Result<f64> {
    let term = |seen: f64, expected: f64| if seen > 0.0 { 2.0 * seen * (seen / expected).ln() } else { 0.0 };
    goodness_of_fit(reference, current, term)
}

fn goodness_of_fit(reference: &[u64], current: &[u64], term: impl Fn(f64, f64) -> f64) -> Result<f64> {
    if reference.len() != current.len() {
        return Err(Error::invalid(format!(
            "{} buckets cannot be compared with {}",
            reference.len(),
            current.len()
        )));
    }
    let total = |counts: &[u64]| counts.iter().map(|count| *count as f64).sum::<f64>();
    let (n, m) = (total(reference), total(current));
    if n == 0.0 || m == 0.0 {
        return Err(Error::data(format!("cannot compare {n} reference values with {m} values")));
    }
    let pairs = reference.iter().zip(current).filter(|(was, is)| **was + **is > 0);
    let terms = pairs.map(|(was, is)| term(*is as f64, *was as f64 * (m / n)));
    let (mut statistic, mut buckets) = (0.0, 0.0);
    for term in terms {
        statistic += term;
        buckets += 1.0;
    }
    Ok(if buckets > 1.0 { chi_squared_sf(statistic, buckets - 1.0) } else { 1.0 })
}

/// The method that Evidently takes for a column by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidentlyMethod {
    /// Kolmogorov-Smirnov, p < 0.05.
    KolmogorovSmirnov,
    /// [`chi_squared_p_as_evidently`], p < 0.05.
    ChiSquared,
    /// [`two_proportion_z`](crate::two_sample::two_proportion_z), p < 0.05.
    TwoProportionZ,
    /// [`wasserstein_normed_as_evidently`], at least 0.1.
    WassersteinNormed,
    /// [`jensen_shannon_distance_nats`](super::jensen_shannon_distance_nats), at least 0.1.
    JensenShannon,
}

impl EvidentlyMethod {
    /// Its choice for a column of numbers or of categories, from the rows of the reference and the distinct values of
    /// reference and current together.
    ///
    /// ```
    /// use mlops_drift::distance::EvidentlyMethod;
    ///
    /// assert_eq!(EvidentlyMethod::choose(true, 500, 400), EvidentlyMethod::KolmogorovSmirnov);
    /// assert_eq!(EvidentlyMethod::choose(true, 5000, 400), EvidentlyMethod::WassersteinNormed);
    /// ```
    pub fn choose(numeric: bool, reference_rows: u64, distinct: usize) -> Self {
        match (numeric && distinct > 5, reference_rows <= 1_000) {
            (true, true) => Self::KolmogorovSmirnov,
            (true, false) => Self::WassersteinNormed,
            (false, false) => Self::JensenShannon,
            (false, true) if distinct <= 2 => Self::TwoProportionZ,
            (false, true) => Self::ChiSquared,
        }
    }
}
