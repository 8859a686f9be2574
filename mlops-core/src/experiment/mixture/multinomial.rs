//! The Dirichlet mixture for counts.

use crate::experiment::special::{ln_rising, x_ln_y};

/// The log likelihood ratio of counts: shares mixed over a Dirichlet law of this concentration around the null
/// shares, against the null shares themselves. A martingale that starts at 0 while the null holds.
///
/// Source: M. Lindon, A. Malek, "Anytime-valid inference for multinomial count data", 2022; with two cells it
/// is the beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon, 2021.
pub(in crate::experiment) fn log_multinomial_mixture(
    concentration: f64,
    cells: impl Iterator<Item = (u64, f64)>,
) -> f64 {
    let mut total = 0.0;
    let arms: f64 = cells
        .map(|(count, share)| {
            let count = count as f64;
            total += count;
            ln_rising(concentration * share, count) - x_ln_y(count, share)
        })
        .sum();
    arms - ln_rising(concentration, total)
}
