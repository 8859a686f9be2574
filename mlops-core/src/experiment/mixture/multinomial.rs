//! The Dirichlet mixture for counts.

use crate::experiment::special::{deviance, stirling_error};

/// The log likelihood ratio of counts: shares mixed over a Dirichlet law of this concentration around the null
/// shares, against the null shares themselves. A martingale that starts at 0 while the null holds.
///
/// Written as the deviance of the counts plus small terms, so that nothing cancels at any count.
///
/// Source: M. Lindon, A. Malek, "Anytime-valid inference for multinomial count data", 2022; with two cells it
/// is the beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon, 2021.
pub(in crate::experiment) fn log_multinomial_mixture(
    concentration: f64,
    cells: impl Iterator<Item = (u64, f64)> + Clone,
) -> f64 {
    let total = concentration + cells.clone().map(|(count, _)| count as f64).sum::<f64>();
    let small = |after: f64, before: f64| {
        stirling_error(after) - stirling_error(before) - 0.5 * (after / before).ln()
    };
    let arms = cells.map(|(count, share)| {
        let before = concentration * share;
        let after = before + count as f64;
        deviance(after, total * share) + small(after, before)
    });
    arms.sum::<f64>() - small(total, concentration)
}
