//! Mean and spread in one pass, without cancellation.

use serde::{Deserialize, Serialize};

/// Weighted mean and sum of squared deviations.
///
/// Welford's update and Chan's merge: stable where the mean is large against the spread, exactly zero spread
/// for constant values. Merging agrees up to rounding. Source: T. F. Chan, G. H. Golub, R. J. LeVeque,
/// "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    pub(crate) weight: f64,
    pub(crate) mean: f64,
    pub(crate) squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64, weight: f64) {
        self.merge(&Self { weight, mean: value, squares: 0.0 });
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.weight <= 0.0 {
            return;
        }
        let weight = self.weight + other.weight;
        let gap = other.mean - self.mean;
        let share = other.weight / weight;
        self.squares += other.squares + gap * gap * (self.weight * share);
        self.mean += gap * share;
        self.weight = weight;
    }

    /// The mean square deviation, divided by the weight.
    pub(crate) fn variance(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.squares / self.weight)
    }
}
