//! Log loss, Brier score and what follows from them.

use serde::{Deserialize, Serialize};

use super::confusion::ratio;
use crate::evaluation::error::{MetricError, in_range_at, same_length};
use crate::evaluation::{Mean, Sum};
use crate::{Error, Result};

/// The losses of predicted probabilities, with their standard errors.
///
/// Domain: probabilities in 0..=1, weights of 0 and above. Merges up to a few units in the last place.
///
/// ```
/// use mlops_core::evaluation::binary::ProbabilityLosses;
///
/// let mut losses = ProbabilityLosses::default();
/// losses.add(true, 0.8, 1.0);
/// losses.add(false, 0.4, 1.0);
/// assert!((losses.brier().unwrap() - 0.1).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityLosses {
    log: Mean,
    squared: Mean,
    predicted: Sum,
    positive: Sum,
}

impl ProbabilityLosses {
    /// Adds one row. The probability has to be in 0..=1, the weight 0 or above: the callers in this module
    /// check it, and NaN would make every loss NaN.
    #[inline]
    pub fn add(&mut self, label: bool, probability: f64, weight: f64) {
        let of_label = if label { probability } else { 1.0 - probability };
        self.log.add(-of_label.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln(), weight);
        self.squared.add((1.0 - of_label).powi(2), weight);
        self.predicted.add(weight * probability);
        if label {
            self.positive.add(weight);
        }
    }

    /// Adds all rows of another state.
    pub fn merge(&mut self, other: &Self) {
        self.log.merge(&other.log);
        self.squared.merge(&other.squared);
        self.predicted.merge(&other.predicted);
        self.positive.merge(&other.positive);
    }

    /// The mean of -ln(probability given to the true class), in nats: 0 is perfect, ln 2 = 0.693 is a coin.
    ///
    /// Probabilities are clipped to eps..=1-eps with the machine epsilon of f64, so a certain miss costs 36.04.
    pub fn log_loss(&self) -> Option<f64> {
        self.log.value()
    }

    /// The standard error of [`log_loss`](Self::log_loss).
    pub fn log_loss_std_error(&self) -> Option<f64> {
        self.log.std_error()
    }

    /// The mean of (probability - label)^2, from 0, perfect, to 1.
    ///
    /// Source: G. W. Brier, "Verification of forecasts expressed in terms of probability", 1950 (half of his
    /// sum over both classes).
    pub fn brier(&self) -> Option<f64> {
        self.squared.value()
    }

    /// The standard error of [`brier`](Self::brier).
    pub fn brier_std_error(&self) -> Option<f64> {
        self.squared.std_error()
    }

    /// Log loss over the entropy of the base rate: below 1 the model knows more than the base rate.
    ///
    /// `None` if only one class occurs. Source: X. He and others, "Practical lessons from predicting clicks on
    /// ads at Facebook", 2014.
    pub fn normalized_entropy(&self) -> Option<f64> {
        let rate = self.positive.value() / self.log.weight();
        let entropy = -(rate * rate.ln() + (1.0 - rate) * (1.0 - rate).ln());
        if entropy.is_nan() {
            return None;
        }
        ratio(self.log_loss()?, entropy)
    }

    /// Predicted positives over observed ones: above 1 the model promises too much. `None` without positives.
    pub fn calibration_ratio(&self) -> Option<f64> {
        ratio(self.predicted.value(), self.positive.value())
    }
}

/// Log loss in single precision, as scikit-learn computes it for `float32` input: probabilities are clipped by
/// the epsilon of f32, so a certain miss costs 15.94 instead of 36.04.
///
/// # Errors
/// `Invalid` if the lengths differ or there are no rows, `Data` if a probability is NaN or outside 0..=1.
///
/// ```
/// use mlops_core::evaluation::binary::log_loss_f32;
///
/// assert_eq!(log_loss_f32(&[true, false], &[0.0, 1.0])?, 15.942385);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn log_loss_f32(labels: &[bool], probabilities: &[f32]) -> Result<f32> {
    same_length("probabilities", probabilities.len(), labels.len())?;
    let mut sum = Sum::default();
    for (row, (&label, &probability)) in labels.iter().zip(probabilities).enumerate() {
        in_range_at("probability", row, f64::from(probability), 0.0, 1.0)?;
        let of_label = if label { probability } else { 1.0 - probability };
        sum.add(f64::from(-of_label.clamp(f32::EPSILON, 1.0 - f32::EPSILON).ln()));
    }
    if labels.is_empty() {
        return Err(Error::from(MetricError::Setting {
            what: "number of rows",
            value: 0.0,
            want: "at least 1",
        }));
    }
    Ok((sum.value() / labels.len() as f64) as f32)
}
