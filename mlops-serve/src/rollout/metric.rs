//! The difference of the arms' means, combined over steps, against an always-valid bound.

use mlops_core::experiment::mixture::{NormalMixture, Sides};
use mlops_core::experiment::{Moments, TwoArm};

/// The difference challenger minus champion and how far off it may be, to either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) estimate: f64,
    pub(super) radius: f64,
}

/// Where the bound is tightest: at 1000 outcomes of the challenger beside many of the champion.
const INFORMATION_EXPECTED: f64 = 1000.0;

/// `D = sum h_k d_k / sum h_k` over the steps `k`, with `d_k` the difference of means within a step and
/// `h_k = n m / (n + m)` the information that its `n` and `m` outcomes carry.
///
/// Under equal means `sum h_k d_k` is a sum of increments without drift whose variance is estimated by
/// `sum h_k^2 (s_n^2 / n + s_m^2 / m)`; the bound is the one-sided normal mixture's, which holds above with
/// probability `1 - alpha` at all times together, and likewise below. `None` while an arm has fewer
/// than `outcomes_min` outcomes or no step has two of each.
///
/// Sources: Robbins, *Statistical methods related to the law of the iterated logarithm*, 1970;
/// Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, *Time-uniform central limit theory and asymptotic
/// confidence sequences*, 2021.
pub(super) fn difference<'a>(
    steps: impl Iterator<Item = &'a TwoArm<Moments>>,
    alpha: f64,
    outcomes_min: u64,
) -> Option<Difference> {
    let (mut rows, mut information, mut sum, mut variance) = ([0_u64; 2], 0.0, 0.0, 0.0);
    for TwoArm { control, treatment, .. } in steps {
        rows[0] += control.rows();
        rows[1] += treatment.rows();
        let (Some(control_variance), Some(treatment_variance)) =
            (control.sample_variance(), treatment.sample_variance())
        else {
            continue;
        };
        let (n, m) = (control.rows() as f64, treatment.rows() as f64);
        let weight = n * m / (n + m);
        information += weight;
        sum += weight * (treatment.mean()? - control.mean()?);
        variance += weight * weight * (control_variance / n + treatment_variance / m);
    }
    if rows.iter().any(|rows| *rows < outcomes_min) || information == 0.0 {
        return None;
    }
    // In units of the typical variance of one outcome, the sum is a walk of `information` unit steps.
    let unit = variance / information;
    let mixture = NormalMixture::narrowest_at(INFORMATION_EXPECTED, alpha, Sides::One).ok()?;
    let bound = mixture.bound(information, alpha).ok()?;
    Some(Difference { estimate: sum / information, radius: unit.sqrt() * bound / information })
}
