//! Log loss, Brier score and what follows from them.

use serde::{Deserialize, Serialize};

use super::confusion::ratio;
use crate::evaluation::error::{MetricError, in_range_at, row_after, same_length, stored_size, weight_at};
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
/// losses.add(true, 0.8, 1.0)?;
/// losses.add(false, 0.4, 1.0)?;
/// assert!((losses.brier().unwrap() - 0.1).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityLosses {
    log: Mean,
    squared: Mean,
    predicted: Sum,
    #[serde(deserialize_with = "stored_size")]
    positive: f64,
}

impl ProbabilityLosses {
    /// Adds one row.
    ///
    /// # Errors
    /// `Data` if the probability is not in 0..=1, or the weight negative, not finite or above 1e20.
    #[inline]
    pub fn add(&mut self, label: bool, probability: f64, weight: f64) -> Result<()> {
        let row = row_after(self.log.weight() as u64);
        in_range_at("probability", row, probability, 0.0, 1.0)?;
        weight_at(row, weight)?;
        self.take(label, probability, weight);
        Ok(())
    }

    /// Adds one row that was checked.
    #[inline]
    pub(super) fn take(&mut self, label: bool, probability: f64, weight: f64) {
        self.log.add(log_loss_of(label, probability), weight);
        self.squared.add(squared_error(label, probability), weight);
        self.predicted.add(weight * probability);
        self.positive += if label { weight } else { 0.0 };
    }

    /// Adds rows of weight 1 that were checked, block by block.
    pub(super) fn extend(&mut self, labels: &[bool], probabilities: &[f64]) {
        let mut losses = [0.0; BLOCK];
        for (labels, probabilities) in labels.chunks(BLOCK).zip(probabilities.chunks(BLOCK)) {
            let losses = &mut losses[..labels.len()];
            let rows = || labels.iter().zip(probabilities);
            losses.iter_mut().zip(rows()).for_each(|(loss, (&label, &p))| *loss = log_loss_of(label, p));
            self.log.extend(losses);
            losses.iter_mut().zip(rows()).for_each(|(loss, (&label, &p))| *loss = squared_error(label, p));
            self.squared.extend(losses);
            self.predicted.add(probabilities.iter().sum());
            self.positive += labels.iter().filter(|&&label| label).count() as f64;
        }
    }

    /// Adds all rows of another state.
    pub fn merge(&mut self, other: &Self) {
        self.log.merge(&other.log);
        self.squared.merge(&other.squared);
        self.predicted.merge(&other.predicted);
        self.positive += other.positive;
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
        let rate = self.positive / self.log.weight();
        let entropy = -(rate * rate.ln() + (1.0 - rate) * (1.0 - rate).ln());
        if entropy.is_nan() {
            return None;
        }
        ratio(self.log_loss()?, entropy)
    }

    /// Predicted positives over observed ones: above 1 the model promises too much. `None` without positives.
    pub fn calibration_ratio(&self) -> Option<f64> {
        ratio(self.predicted.value(), self.positive)
    }
}

#[inline]
fn log_loss_of(label: bool, probability: f64) -> f64 {
    let of_label = if label { probability } else { 1.0 - probability };
    -of_label.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

#[inline]
fn squared_error(label: bool, probability: f64) -> f64 {
    let error = if label { 1.0 - probability } else { probability };
    error * error
}

const BLOCK: usize = 256;

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
