//! The difference of the arms' means, combined over steps, against an always-valid bound.

use mlops_core::experiment::mixture::{NormalMixture, Sides};
use mlops_core::experiment::{Moments, TwoArm};

/// The difference challenger minus champion and how far off it may be, to either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) estimate: f64,
    pub(super) radius: f64,
}

/// Too few outcomes for a verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blind {
    /// Those of the champion and of the challenger.
    pub(super) rows: [u64; 2],
    /// How many of each it takes, for this skewness.
    pub(super) rows_min: f64,
    pub(super) skewness: f64,
}

/// Where the bound is tightest: at 1000 outcomes of the challenger beside many of the champion.
const INFORMATION_EXPECTED: f64 = 1000.0;

/// With fewer rows than this times the square of the skewness a sum is too far from normal for a verdict.
const ROWS_A_SQUARED_SKEWNESS: f64 = 5.0;

/// `D = sum h_k d_k / sum h_k` over the steps `k`, with `d_k` the difference of means within a step and
/// `h_k = n m / (n + m)` the information that its `n` and `m` outcomes carry.
///
/// Under equal means `sum h_k d_k` is a sum of increments without drift whose variance is estimated by
/// `sum h_k^2 (s_n^2 / n + s_m^2 / m)`; the bound is the one-sided normal mixture's, which holds above with
/// probability `1 - alpha` at all times together, and likewise below.
///
/// Skewed outcomes have to wait and widen the bound, as in [`MeanDifference`](mlops_core::experiment::MeanDifference):
/// with `g` the larger skewness of the two arms, each arm needs `5 g^2` outcomes, and its standard error counts
/// `1 + g / sqrt(rows)` times. Without that, rare large values in a small arm cry wolf.
///
/// [`Blind`] while an arm has fewer than `outcomes_min` outcomes or those for its skewness, counted where a step has
/// two of each.
///
/// Sources: Robbins, *Statistical methods related to the law of the iterated logarithm*, 1970;
/// Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, *Time-uniform central limit theory and asymptotic
/// confidence sequences*, 2021.
pub(super) fn difference(
    steps: impl Iterator<Item = TwoArm<Moments>> + Clone,
    alpha: f64,
    outcomes_min: u64,
) -> Result<Difference, Blind> {
    let steps = steps.filter(|step| step.control.rows().min(step.treatment.rows()) >= 2);
    let mut arms = TwoArm::<Moments>::default();
    for step in steps.clone() {
        // More rows than can be counted are left out.
        let _: mlops_core::Result<()> = arms.merge(&step);
    }
    let arms = [arms.control, arms.treatment];
    let skewness = arms.iter().filter_map(Moments::skewness).fold(0.0, |most: f64, own| most.max(own.abs()));
    let rows_min = (ROWS_A_SQUARED_SKEWNESS * skewness * skewness).ceil().max(outcomes_min.max(2) as f64);
    let blind = Blind { rows: arms.map(|arm| arm.rows()), rows_min, skewness };
    if blind.rows.iter().any(|rows| (*rows as f64) < rows_min) {
        return Err(blind);
    }
    let wider = arms.map(|arm| (1.0 + skewness / (arm.rows() as f64).sqrt()).powi(2));
    let (mut information, mut sum, mut variance) = (0.0, 0.0, 0.0);
    for TwoArm { control, treatment, .. } in steps {
        let [control_variance, treatment_variance] =
            [control, treatment].map(|arm| arm.sample_variance().unwrap_or(0.0));
        let (n, m) = (control.rows() as f64, treatment.rows() as f64);
        let weight = n * m / (n + m);
        information += weight;
        sum += weight * (treatment.mean().ok_or(blind)? - control.mean().ok_or(blind)?);
        variance += weight * weight * (wider[0] * control_variance / n + wider[1] * treatment_variance / m);
    }
    // In units of the typical variance of one outcome, the sum is a walk of `information` unit steps.
    let unit = variance / information;
    let mixture = NormalMixture::narrowest_at(INFORMATION_EXPECTED, alpha, Sides::One).map_err(|_| blind)?;
    let bound = mixture.bound(information, alpha).map_err(|_| blind)?;
    Ok(Difference { estimate: sum / information, radius: unit.sqrt() * bound / information })
}

#[cfg(test)]
mod tests {
    use mlops_core::experiment::Arm;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        alpha: f64,
        experiments: Vec<Experiment>,
    }

    /// Outcomes with counts of both arms, and what others say of them.
    #[derive(Deserialize)]
    struct Experiment {
        arms: [Vec<(f64, u32)>; 2],
        growthbook: Found,
        spotify: Found,
    }

    #[derive(Deserialize)]
    struct Found {
        difference: f64,
        interval: [f64; 2],
    }

    impl Found {
        fn radius(&self) -> f64 {
            (self.interval[1] - self.interval[0]) / 2.0
        }
    }

    #[test]
    fn differences_and_bounds_agree_with_growthbook_and_spotify() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/serve/experiments.golden.json");
        let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (mut alarms, mut disagreements) = (0, 0);
        for Experiment { arms, growthbook, spotify } in &golden.experiments {
            let mut outcomes = TwoArm::<Moments>::default();
            for (arm, values) in [Arm::Control, Arm::Treatment].into_iter().zip(arms) {
                for (value, count) in values {
                    (0..*count).for_each(|_| outcomes.record(arm, *value).unwrap());
                }
            }
            // Two sides of 5 % each are what the others give as an interval of 90 %.
            let found = difference(std::iter::once(outcomes), golden.alpha / 2.0, 100).unwrap();
            for other in [growthbook, spotify] {
                assert!((found.estimate - other.difference).abs() < 1e-9, "{found:?}");
            }
            // The same theory with another tuning: about as wide, but for what skewed amounts in a small arm cost,
            // which the other does not look at. Looking all the time costs width against one look at a size
            // fixed before.
            let against = |other: &Found| found.radius / other.radius();
            assert!((0.75..1.8).contains(&against(growthbook)), "{}", against(growthbook));
            assert!((1.3..3.3).contains(&against(spotify)), "{}", against(spotify));
            let mine = found.estimate.abs() > found.radius;
            let theirs = growthbook.difference.abs() > growthbook.radius();
            let fixed = spotify.difference.abs() > spotify.radius();
            assert!(!mine || fixed, "an alarm that one look at the end would not give");
            alarms += u32::from(theirs);
            disagreements += u32::from(mine != theirs);
        }
        assert!(alarms >= 10 && disagreements <= 6, "{disagreements} disagreements, {alarms} alarms");
    }
}
