//! The rank test of two samples.

use serde::{Deserialize, Serialize};

use crate::experiment::interval::Alternative;
use crate::experiment::special::normal_upper_tail;
use crate::{Error, Result};

/// The answer of [`mann_whitney`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankAnswer {
    /// Of all pairs of a row of each arm, those where the control's is larger, a tie counting half.
    pub u: f64,
    /// The chance that a row of the treatment exceeds one of the control, a tie counting half: .5 is no effect.
    pub superiority: f64,
    /// The chance of a `u` at least as far off if both arms follow one law.
    pub p_value: f64,
}

/// The Mann-Whitney test (Wilcoxon's rank sum) of two samples, for *one* look: are outcomes of the treatment
/// larger than those of the control?
///
/// `z = (|u - nm/2| - 1/2) / sd`, `sd` corrected for ties. It asks about ranks and not about means, so that one
/// huge value weighs no more than a large one; for revenue, where the huge values are the point, ask about the mean.
/// Asymptotic: trust it from 8 rows an arm. If all values are equal the p-value is 1. O(n log n), and it needs all
/// values at once.
///
/// Source: H. B. Mann, D. R. Whitney, "On a test of whether one of two random variables is stochastically larger
/// than the other", 1947; the numbers are those of scipy's `mannwhitneyu(method="asymptotic")`.
///
/// # Errors
/// `Data` if an arm has no rows or a value is NaN.
///
/// ```
/// use mlops_core::experiment::Alternative;
/// use mlops_core::experiment::fixed::mann_whitney;
///
/// let (before, after) = ([12.0, 15.0, 11.0, 19.0, 14.0], [9.0, 8.0, 12.0, 7.0, 10.0]);
/// let answer = mann_whitney(&before, &after, Alternative::Less)?;
/// assert!(answer.superiority < 0.1 && answer.p_value < 0.02);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn mann_whitney(control: &[f64], treatment: &[f64], alternative: Alternative) -> Result<RankAnswer> {
    if control.is_empty() || treatment.is_empty() {
        return Err(Error::data("an arm has no rows: a rank test needs one in each"));
    }
    let arms =
        control.iter().map(|&value| (value, true)).chain(treatment.iter().map(|&value| (value, false)));
    let mut rows: Vec<(f64, bool)> = arms.collect();
    if rows.iter().any(|row| row.0.is_nan()) {
        return Err(Error::data("a value is NaN: drop its row first"));
    }
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (nc, nt) = (control.len() as f64, treatment.len() as f64);
    let (mut u, mut treated_below, mut ties) = (0.0, 0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let size = tied.len() as f64;
        let controls = tied.iter().filter(|row| row.1).count() as f64;
        u += controls * (treated_below + 0.5 * (size - controls));
        treated_below += size - controls;
        ties += size * (size * size - 1.0);
    }
    let n = nc + nt;
    let variance = nc * nt / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    // How far the treatment is above, in pairs.
    let above = 0.5 * nc * nt - u;
    let toward = match alternative {
        Alternative::TwoSided => above.abs(),
        Alternative::Greater => above,
        Alternative::Less => -above,
    };
    let p_value = if variance > 0.0 {
        let tail = normal_upper_tail((toward - 0.5) / variance.sqrt());
        if alternative == Alternative::TwoSided { (2.0 * tail).min(1.0) } else { tail }
    } else {
        1.0
    };
    Ok(RankAnswer { u, superiority: 1.0 - u / (nc * nt), p_value })
}
