//! What an always-valid test answers.

use serde::{Deserialize, Serialize};

use super::interval::{Alternative, Interval};

/// The answer of an always-valid test at one look.
///
/// - `interval` covers the true value at *all* looks together with probability at least `1 - alpha`.
/// - `p_value` falls to alpha or below at *any* look, ever, with probability at most alpha if the null is true;
///   that is the case exactly when the interval excludes the null.
/// - So every look may be acted upon, and stopping when the news is good is allowed.
///
/// Each look stands alone: a later p-value may be larger. Keep the best so far in a [`Running`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The value that fits best, `None` while it cannot be computed.
    pub estimate: Option<f64>,
    /// The values that the outcomes do not contradict.
    pub interval: Interval,
    /// The always-valid p-value: `min(1, exp(-log_e_value))`.
    pub p_value: f64,
    /// The log of the e-value: by what factor a bet against the null has multiplied its stake.
    pub log_e_value: f64,
    /// The null that was tested.
    pub null: f64,
    /// The error probability of the interval.
    pub alpha: f64,
    /// The side that was asked about.
    pub alternative: Alternative,
}

impl Comparison {
    /// Whether the null is rejected at the level of the interval.
    pub fn rejects(&self) -> bool {
        self.p_value <= self.alpha
    }
}

/// The best of all looks so far: the smallest p-value and the intersection of the intervals.
///
/// Both are valid at the same level as a single look, provided that the truth does not change; an interval that
/// becomes empty says that it did (with probability at least `1 - alpha`). Keep one per decision, beside the
/// state and not inside it: looks have an order, and states merge without one.
///
/// ```
/// use mlops_core::experiment::{Arm, MeanDifference, Moments, Running, TwoArm};
///
/// let test = MeanDifference::default();
/// let mut arms = TwoArm::<Moments>::default();
/// let mut running = Running::default();
/// for i in 0..400 {
///     let noise = f64::from(i % 7);
///     arms.record(Arm::Control, noise)?;
///     arms.record(Arm::Treatment, noise + 1.5)?;
///     running.look(&test.compare(&arms)?);
/// }
/// assert!(running.p_value < 0.05);
/// assert!(running.interval.is_some_and(|interval| interval.contains(1.5) && !interval.contains(0.0)));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Running {
    /// How many looks were taken.
    pub looks: u64,
    /// The smallest p-value of any look.
    pub p_value: f64,
    /// What all intervals have in common, `None` if nothing.
    pub interval: Option<Interval>,
}

impl Default for Running {
    fn default() -> Self {
        Self { looks: 0, p_value: 1.0, interval: Some(Interval::ALL) }
    }
}

impl Running {
    /// Takes one look.
    pub fn look(&mut self, comparison: &Comparison) {
        self.looks = self.looks.saturating_add(1);
        self.p_value = self.p_value.min(comparison.p_value);
        self.interval = self.interval.and_then(|interval| interval.intersection(&comparison.interval));
    }
}

/// The p-value of an e-value.
pub(super) fn p_value(log_e_value: f64) -> f64 {
    (-log_e_value).exp().min(1.0)
}
