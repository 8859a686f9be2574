//! Adjusted p-values for many questions asked at once.
//!
//! Ask twenty true-null questions at .05 and one "discovery" is expected. Each function takes one p-value a
//! question and returns adjusted ones in the same order: reject where the adjusted value is at most alpha.
//!
//! | function | holds | needs |
//! |---|---|---|
//! | [`bonferroni`], [`holm`] | the chance of any false discovery | nothing; Holm always rejects at least as much |
//! | [`benjamini_hochberg`] | the expected share of false among all discoveries | independence or positive dependence |
//! | [`benjamini_yekutieli`] | the same share | nothing |
//!
//! Every function: p-values in [0, 1], NaN and anything outside is an error, ties get equal values, no p-values
//! give no values. Exact, O(n log n). The formulas are those of R's `p.adjust` and statsmodels'
//! `multipletests`.
//!
//! ```
//! use mlops_core::experiment::correction;
//!
//! let adjusted = correction::holm(&[0.01, 0.04, 0.03])?;
//! assert_eq!(adjusted, [0.03, 0.06, 0.06]);
//! # Ok::<(), mlops_core::Error>(())
//! ```

use crate::{Error, Result};

/// Bonferroni: `min(1, n p)`.
///
/// # Errors
/// `Invalid` if a p-value is not within [0, 1].
pub fn bonferroni(p_values: &[f64]) -> Result<Vec<f64>> {
    check(p_values)?;
    let n = p_values.len() as f64;
    Ok(p_values.iter().map(|p| (n * p).min(1.0)).collect())
}

/// Holm's step-down: the i-th smallest times `n - i + 1`, made non-decreasing, at most 1.
///
/// Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
///
/// # Errors
/// `Invalid` if a p-value is not within [0, 1].
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((order.len() - rank) as f64 * p_values[i]).min(1.0);
        adjusted[i] = largest;
    }
    Ok(adjusted)
}

/// Benjamini and Hochberg's step-up: the i-th smallest times `n / i`, made non-decreasing, at most 1.
///
/// Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", 1995.
///
/// # Errors
/// `Invalid` if a p-value is not within [0, 1].
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>> {
    step_up(p_values, 1.0)
}

/// Benjamini and Yekutieli's step-up: as [`benjamini_hochberg`], times `1 + 1/2 + ... + 1/n`.
///
/// Source: Y. Benjamini, D. Yekutieli, "The control of the false discovery rate in multiple testing under
/// dependency", 2001.
///
/// # Errors
/// `Invalid` if a p-value is not within [0, 1].
pub fn benjamini_yekutieli(p_values: &[f64]) -> Result<Vec<f64>> {
    step_up(p_values, (1..=p_values.len()).map(|i| 1.0 / i as f64).sum())
}

fn step_up(p_values: &[f64], factor: f64) -> Result<Vec<f64>> {
    let order = ascending(p_values)?;
    let n = order.len() as f64;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut smallest = 1.0_f64;
    for (rank, &i) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[i] * (n / (rank + 1) as f64) * factor);
        adjusted[i] = smallest;
    }
    Ok(adjusted)
}

fn ascending(p_values: &[f64]) -> Result<Vec<usize>> {
    check(p_values)?;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    Ok(order)
}

fn check(p_values: &[f64]) -> Result<()> {
    match p_values.iter().enumerate().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
        Some((i, p)) => Err(Error::invalid(format!("p-value {p} at index {i} is not within [0, 1]"))),
        None => Ok(()),
    }
}
