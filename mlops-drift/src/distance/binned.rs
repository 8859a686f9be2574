//! Distances over buckets.

use crate::{Error, Result};

/// The population stability index: sum of (q - p) ln(q / p), the symmetrised Kullback-Leibler divergence.
///
/// * Range 0..=infinity; infinite if a bucket is empty on one side only: see [`smoothed`].
/// * If nothing differs, (1/n + 1/m) times a chi-squared variable with k - 1 degrees of freedom, nearly
///   (B. Yurdakul, Statistical Properties of Population Stability Index, 2018): at n = m = 200 and 10
///   buckets its mean is 0.09, so the usual bands of 0.1 and 0.25 suit large samples only.
/// * Cost: O(k).
///
/// ```
/// use mlops_drift::distance::psi;
///
/// let index = psi(&[50.0, 50.0], &[25.0, 75.0])?;
/// assert!((index - 0.25 * 3.0f64.ln()).abs() < 1e-15);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn psi(p: &[f64], q: &[f64]) -> Result<f64> {
    sum(p, q, |p, q| if p == q { 0.0 } else { (q - p) * (q / p).ln() })
}

/// The Jensen-Shannon divergence in nats: the mean Kullback-Leibler divergence of p and q from (p + q)/2.
///
/// * Range 0..=ln 2, symmetric, always finite. The divergence, not its root: see
///   [`jensen_shannon_distance_base2`].
/// * If nothing differs, about (1/n + 1/m) / 8 times a chi-squared variable with k - 1 degrees of freedom.
/// * J. Lin, Divergence Measures Based on the Shannon Entropy, 1991. Cost: O(k).
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn jensen_shannon_divergence_nats(p: &[f64], q: &[f64]) -> Result<f64> {
    let half = |a: f64, middle: f64| if a > 0.0 { a * (a / middle).ln() } else { 0.0 };
    let divergence = sum(p, q, |p, q| {
        let middle = 0.5 * (p + q);
        half(p, middle) + half(q, middle)
    })?;
    Ok((0.5 * divergence).clamp(0.0, std::f64::consts::LN_2))
}

/// The Jensen-Shannon distance with logarithms to base 2: the root of the divergence in bits, a metric in
/// 0..=1.
///
/// ```
/// use mlops_drift::distance::jensen_shannon_distance_base2;
///
/// assert_eq!(jensen_shannon_distance_base2(&[1.0, 0.0], &[0.0, 1.0])?, 1.0);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn jensen_shannon_distance_base2(p: &[f64], q: &[f64]) -> Result<f64> {
    Ok((jensen_shannon_divergence_nats(p, q)? / std::f64::consts::LN_2).sqrt())
}

/// The root of the divergence in nats, in 0..=sqrt(ln 2): SciPy's `jensenshannon`.
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn jensen_shannon_distance_nats(p: &[f64], q: &[f64]) -> Result<f64> {
    Ok(jensen_shannon_divergence_nats(p, q)?.sqrt())
}

/// The divergence in bits, in 0..=1: TensorFlow Data Validation's.
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn jensen_shannon_divergence_bits(p: &[f64], q: &[f64]) -> Result<f64> {
    Ok(jensen_shannon_divergence_nats(p, q)? / std::f64::consts::LN_2)
}

/// The Kullback-Leibler divergence of p from q in nats, sum of p ln(p / q): 0..=infinity, not symmetric;
/// infinite if a bucket of p is empty in q (S. Kullback, R. Leibler, 1951).
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn kullback_leibler_nats(p: &[f64], q: &[f64]) -> Result<f64> {
    Ok(sum(p, q, |p, q| if p > 0.0 { p * (p / q).ln() } else { 0.0 })?.max(0.0))
}

/// The Hellinger distance, |sqrt p - sqrt q| / sqrt 2: a metric in 0..=1 (E. Hellinger, 1909).
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn hellinger(p: &[f64], q: &[f64]) -> Result<f64> {
    Ok((0.5 * sum(p, q, |p, q| (p.sqrt() - q.sqrt()).powi(2))?).sqrt().min(1.0))
}

/// The total variation distance, half the sum of |p - q|: the share of values that changed their bucket, in
/// 0..=1.
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn total_variation(p: &[f64], q: &[f64]) -> Result<f64> {
    Ok((0.5 * sum(p, q, |p, q| (p - q).abs())?).min(1.0))
}

/// The largest |p - q|, in 0..=1.
///
/// # Errors
/// `Invalid` if the lists have different lengths or are no weights.
pub fn l_infinity(p: &[f64], q: &[f64]) -> Result<f64> {
    let mut largest = 0.0f64;
    sum(p, q, |p, q| {
        largest = largest.max((p - q).abs());
        0.0
    })?;
    Ok(largest)
}

/// Counts with half an observation added to each bucket (H. Jeffreys, 1946), so that an empty bucket is
/// rare, not impossible: one unseen value among 100 000 then adds next to nothing to [`psi`].
pub fn smoothed(counts: &[u64]) -> Vec<f64> {
    counts.iter().map(|count| *count as f64 + 0.5).collect()
}

fn sum(p: &[f64], q: &[f64], mut term: impl FnMut(f64, f64) -> f64) -> Result<f64> {
    if p.len() != q.len() {
        return Err(Error::invalid(format!("{} buckets cannot be compared with {}", p.len(), q.len())));
    }
    let (p_total, q_total) = (total(p)?, total(q)?);
    Ok(p.iter().zip(q).map(|(p, q)| term(p / p_total, q / q_total)).sum())
}

fn total(weights: &[f64]) -> Result<f64> {
    if let Some(weight) = weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite())) {
        return Err(Error::invalid(format!("{weight} is no weight: want finite numbers from 0")));
    }
    let total: f64 = weights.iter().sum();
    if total > 0.0 && total.is_finite() {
        return Ok(total);
    }
    Err(Error::invalid(format!("weights with the sum {total} are no distribution")))
}
