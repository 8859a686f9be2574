//! Two sequences side by side.

use super::{Bounded, Sequence};
use crate::experiment::comparison::{Comparison, p_value};
use crate::experiment::interval::{Alternative, Interval};
use crate::experiment::settings::{check_alpha, check_finite};
use crate::experiment::two_arm::TwoArm;
use crate::{Error, Result};

/// The evidence against `mean(treatment) - mean(control) = null`, and the differences that two sequences do not
/// contradict, under any allocation.
///
/// The levels add: two sequences at alpha .025 give a difference at .05. A difference is contradicted if every pair of
/// means that has it is contradicted by one of the arms at its own level. So the e-value is, over the pairs, the least of
/// `max(w_c e_c, w_t e_t)`, with the arms' shares `w` of alpha: never above the mean of two e-values, which is one.
/// What is evidence for above in one arm grows as the other's falls along the pairs, so the least is found by halving.
///
/// **Valid** at all looks together, as each arm is. **Cost** some sixty looks at the evidence of both.
///
/// ```
/// use mlops_core::experiment::sequence::{Betting, Bounded, Sequence, difference};
/// use mlops_core::experiment::{Arm, TwoArm};
///
/// let arm = Betting::new(Bounded { alpha: 0.025, ..Default::default() }, 100)?;
/// let mut arms = TwoArm::new(arm.clone(), arm);
/// for i in 0..600 {
///     arms.control.push(f64::from(u8::from(i % 5 == 0)))?;
///     arms.treatment.push(f64::from(u8::from(i % 5 < 3)))?;
/// }
/// let answer = difference(&arms, 0.0)?;
/// assert!(answer.p_value < 1e-6 && answer.interval.lower() > 0.2);
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Invalid` if an arm is one-sided, the levels add up to 1 or above, or no two means within the ranges differ by `null`.
pub fn difference<S: Sequence>(arms: &TwoArm<S>, null: f64) -> Result<Comparison> {
    check_finite("null", null)?;
    let (of_control, of_treatment) = (*arms.control.settings(), *arms.treatment.settings());
    let alpha = of_control.alpha + of_treatment.alpha;
    check_alpha(alpha)?;
    if [of_control, of_treatment].iter().any(|arm| arm.alternative != Alternative::TwoSided) {
        return Err(Error::invalid("a difference needs two-sided sequences: set their alternative"));
    }
    // The means of the control whose treatment lies in its range.
    let low = of_control.low.max(of_treatment.low - null);
    let high = of_control.high.min(of_treatment.high - null);
    if low > high {
        return Err(Error::invalid(format!(
            "no mean within [{}, {}] is {null} more than one within [{}, {}]",
            of_treatment.low, of_treatment.high, of_control.low, of_control.high
        )));
    }
    let log_share = |arm: &Bounded| (arm.alpha / alpha).ln();
    // Evidence that falls along the pairs, and evidence that grows.
    let evidence = |mean: f64| -> Result<[f64; 2]> {
        let control = arms.control.evidence(mean)?;
        let treatment = (mean + null).clamp(of_treatment.low, of_treatment.high);
        let treatment = arms.treatment.evidence(treatment)?;
        Ok([0, 1].map(|side| {
            (control[side] + log_share(&of_control)).max(treatment[side] + log_share(&of_treatment))
        }))
    };
    let (mut left, mut right) = (low, high);
    let (mut least, tolerance) = (f64::INFINITY, 4.0 * f64::EPSILON * (high - low));
    for mean in [low, high] {
        let [falling, growing] = evidence(mean)?;
        least = least.min(falling.max(growing));
    }
    while right - left > tolerance {
        let middle = left + (right - left) / 2.0;
        if middle <= left || middle >= right {
            break;
        }
        let [falling, growing] = evidence(middle)?;
        least = least.min(falling.max(growing));
        if growing < falling { left = middle } else { right = middle }
    }
    // Each arm spends half of its alpha on each side.
    let log_e_value = least - std::f64::consts::LN_2;
    let (control, treatment) = (arms.control.compare(low)?, arms.treatment.compare(of_treatment.low)?);
    let means = control.estimate.zip(treatment.estimate);
    let (control, treatment) = (control.interval, treatment.interval);
    Ok(Comparison {
        estimate: means.map(|(control, treatment)| treatment - control),
        interval: Interval::spanning(
            treatment.lower() - control.upper(),
            treatment.upper() - control.lower(),
        ),
        p_value: p_value(log_e_value),
        log_e_value,
        null,
        alpha,
        alternative: Alternative::TwoSided,
    })
}
