//! Tests on counts in the same buckets.

use super::TestResult;
use crate::special::chi_squared_sf;
use crate::{Error, Result};

/// Pearson's chi-squared test of homogeneity: do two lists of counts come from one distribution? (K. Pearson,
/// On the Criterion..., 1900.)
///
/// * Both lists are samples: neither is taken for the truth.
/// * p-value: asymptotic with k - 1 degrees of freedom, k the buckets that are not empty in both; believe it
///   when most expected counts reach 5. No continuity correction. One bucket gives 0 and p = 1.
/// * Effect: Cramer's V, in 0..=1. Cost: O(k).
///
/// ```
/// use mlops_drift::two_sample::chi_squared;
///
/// // A reference of 1000 against a window of 500.
/// let result = chi_squared(&[500, 300, 200], &[240, 160, 100])?;
/// assert!(result.p_value > 0.5);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if the lists have different lengths; `Data` if one sums to 0.
pub fn chi_squared(a: &[u64], b: &[u64]) -> Result<TestResult> {
    contingency("chi_squared", a, b, |seen, expected| (seen - expected) * (seen - expected) / expected)
}

/// The likelihood-ratio (G) test of homogeneity: as [`chi_squared`], with 2 sum O ln(O / E) (S. Wilks, 1938).
///
/// # Errors
/// `Invalid` if the lists have different lengths; `Data` if one sums to 0.
pub fn g_test(a: &[u64], b: &[u64]) -> Result<TestResult> {
    contingency(
        "g_test",
        a,
        b,
        |seen, expected| if seen > 0.0 { 2.0 * seen * (seen / expected).ln() } else { 0.0 },
    )
}

fn contingency(test: &str, a: &[u64], b: &[u64], term: impl Fn(f64, f64) -> f64) -> Result<TestResult> {
    if a.len() != b.len() {
        return Err(Error::invalid(format!("{} buckets cannot be compared with {}", a.len(), b.len())));
    }
    let total = |counts: &[u64]| counts.iter().map(|count| *count as f64).sum::<f64>();
    let (n, m) = (total(a), total(b));
    if n == 0.0 || m == 0.0 {
        return Err(Error::data(format!("{test} needs counts on both sides, got totals {n} and {m}")));
    }
    let (mut statistic, mut buckets) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (*a as f64, *b as f64);
        if a + b > 0.0 {
            buckets += 1.0;
            statistic += term(a, (a + b) * (n / (n + m))) + term(b, (a + b) * (m / (n + m)));
        }
    }
    // Rounding may leave the sum of a perfect fit just below 0.
    let statistic = f64::max(statistic, 0.0);
    let p_value = if buckets > 1.0 { chi_squared_sf(statistic, buckets - 1.0) } else { 1.0 };
    let effect = (statistic / (n + m)).sqrt();
    Ok(TestResult { test: test.into(), statistic, p_value, effect, sizes: (n as u64, m as u64) })
}
