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
    let (mut statistic, mut buckets, mut squares) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (*a as f64, *b as f64);
        if a + b > 0.0 {
            buckets += 1.0;
            let expected = ((a + b) * (n / (n + m)), (a + b) * (m / (n + m)));
            statistic += term(a, expected.0) + term(b, expected.1);
            squares += (a - expected.0).powi(2) / expected.0 + (b - expected.1).powi(2) / expected.1;
        }
    }
    // Rounding may leave the sum of a perfect fit just below 0.
    let statistic = f64::max(statistic, 0.0);
    let p_value = if buckets > 1.0 { chi_squared_sf(statistic, buckets - 1.0) } else { 1.0 };
    // Cramer's V is that of Pearson's statistic in both tests.
    let effect = (squares / (n + m)).sqrt().min(1.0);
    Ok(TestResult { test: test.into(), statistic, p_value, effect, sizes: (n as u64, m as u64) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SciPy 1.17.1: chi2_contingency([[10, 20, 30], [6, 9, 17]], correction=False), the same with
    /// lambda_="log-likelihood", and association("cramer").
    #[test]
    fn as_scipy() {
        let (a, b) = ([10, 20, 30], [6, 9, 17]);
        let (pearson, g) = (chi_squared(&a, &b).unwrap(), g_test(&a, &b).unwrap());
        for (result, statistic, p_value) in [(&pearson, CHI_SQUARED.0, CHI_SQUARED.1), (&g, G.0, G.1)] {
            assert!((result.statistic - statistic).abs() < 1e-12 * statistic, "{result:?}");
            assert!((result.p_value - p_value).abs() < 1e-12, "{result:?}");
            assert!((result.effect - CRAMER).abs() < 1e-12, "{result:?}");
        }
        assert_eq!(g_test(&[10, 0], &[0, 10]).unwrap().effect, 1.0);
        assert_eq!(chi_squared(&[5, 0], &[7, 0]).unwrap().p_value, 1.0);
        assert!(chi_squared(&[5], &[0]).is_err() && g_test(&[1, 2], &[1]).is_err());
    }

    const CHI_SQUARED: (f64, f64) = (0.271_574_651_504_035_04, 0.873_028_283_380_073);
    const G: (f64, f64) = (0.274_026_542_024_660_6, 0.871_958_654_281_272_1);
    const CRAMER: f64 = 0.054_331_375_704_222_92;
}
