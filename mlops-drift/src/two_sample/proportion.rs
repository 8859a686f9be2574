//! Do two proportions differ?

use super::{Alternative, TestResult};
use crate::special::{hypergeometric, normal_sf};
use crate::{Error, Result};

/// The pooled two-proportion z test: `a` of `n` against `b` of `m`.
///
/// * z = (a/n - b/m) / sqrt(p (1-p) (1/n + 1/m)) with p = (a+b)/(n+m); z = 0 if p is 0 or 1.
/// * p-value: asymptotic; believe it when all four expected counts reach 5, else use [`fisher_exact`].
/// * Effect: a/n - b/m. Cost: constant.
///
/// ```
/// use mlops_drift::two_sample::two_proportion_z;
///
/// let result = two_proportion_z((240, 800), (315, 900))?;
/// assert!((result.effect - -0.05).abs() < 1e-15);
/// assert!(result.p_value < 0.05);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if a sample is empty or has more hits than trials.
pub fn two_proportion_z((a, n): (u64, u64), (b, m): (u64, u64)) -> Result<TestResult> {
    check((a, n), (b, m))?;
    let (n_real, m_real) = (n as f64, m as f64);
    let effect = a as f64 / n_real - b as f64 / m_real;
    let pooled = (a as f64 + b as f64) / (n_real + m_real);
    let error = (pooled * (1.0 - pooled) * (1.0 / n_real + 1.0 / m_real)).sqrt();
    let z = if error > 0.0 { effect / error } else { 0.0 };
    Ok(TestResult {
        test: "two_proportion_z".into(),
        statistic: z,
        p_value: (2.0 * normal_sf(z.abs())).min(1.0),
        effect,
        sizes: (n, m),
    })
}

/// Fisher's exact test of `a` of `n` against `b` of `m` (R. Fisher, 1922).
///
/// * Statistic: the sample odds ratio a (m-b) / (b (n-a)); infinite or NaN where that divides by 0.
/// * p-value: exact, given the margins; two-sided, it adds the tables that are no more likely than the one
///   seen. `Less` asks whether a/n is smaller.
/// * Effect: a/n - b/m. Cost: O(min(a + b, n, m)).
///
/// ```
/// use mlops_drift::two_sample::{Alternative, fisher_exact};
///
/// // The lady who tasted tea: 3 of 4 against 1 of 4.
/// let result = fisher_exact((3, 4), (1, 4), Alternative::Greater)?;
/// assert!((result.p_value - 17.0 / 70.0).abs() < 1e-15);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if a sample is empty or has more hits than trials.
pub fn fisher_exact((a, n): (u64, u64), (b, m): (u64, u64), alternative: Alternative) -> Result<TestResult> {
    check((a, n), (b, m))?;
    let hits = a + b;
    let total = n + m;
    let probability = if hits == 0 || hits == total {
        1.0
    } else {
        let at = |x: u64| hypergeometric(x as f64, n as f64, hits as f64, total as f64);
        let (first, last) = (hits.saturating_sub(m), hits.min(n));
        match alternative {
            Alternative::Less => (first..=a).map(at).sum(),
            Alternative::Greater => (a..=last).map(at).sum(),
            Alternative::TwoSided => {
                let limit = at(a) * (1.0 + TIE);
                (first..=last).map(at).filter(|probability| *probability <= limit).sum::<f64>()
            }
        }
    };
    Ok(TestResult {
        test: "fisher_exact".into(),
        statistic: (a as f64 * (m - b) as f64) / (b as f64 * (n - a) as f64),
        p_value: probability.min(1.0),
        effect: a as f64 / n as f64 - b as f64 / m as f64,
        sizes: (n, m),
    })
}

/// Fisher's test while it is cheap, the z test when the counts are large.
pub(crate) fn compare_rates(a: (u64, u64), b: (u64, u64)) -> Result<TestResult> {
    let hits = a.0.saturating_add(b.0);
    let misses = a.1.saturating_add(b.1).saturating_sub(hits);
    if hits.min(misses) <= EXACT_UP_TO {
        fisher_exact(a, b, Alternative::TwoSided)
    } else {
        two_proportion_z(a, b)
    }
}

fn check(first: (u64, u64), second: (u64, u64)) -> Result<()> {
    for (hits, trials) in [first, second] {
        if trials == 0 || hits > trials {
            return Err(Error::invalid(format!("{hits} of {trials} is no proportion")));
        }
    }
    if first.1.checked_add(second.1).is_none() {
        return Err(Error::invalid("the samples have more than 2^64 trials together"));
    }
    Ok(())
}

/// Tables whose probabilities differ by less than this are equally likely.
const TIE: f64 = 1e-7;
/// With fewer hits and fewer misses than this, each is enumerated.
const EXACT_UP_TO: u64 = 1_000;
