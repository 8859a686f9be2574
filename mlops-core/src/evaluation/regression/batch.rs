//! Regression metrics that need all rows at once.

use serde::{Deserialize, Serialize};

use super::metrics::explained;
use super::{RegressionMetrics, RegressionRow};
use crate::Result;
use crate::evaluation::error::{self, same_length, values};
use crate::evaluation::metric::MetricState;
use crate::evaluation::quantile::{quantile_of_sorted, weighted_quantile};

/// Truths, predictions and, if you like, weights of the same rows: checked once, asked often.
///
/// ```
/// use mlops_core::evaluation::regression::Predicted;
///
/// let rows = Predicted::new(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0])?;
/// assert_eq!(rows.metrics(0.5)?.mae(), Some(0.5));
/// assert_eq!(rows.median_absolute_error(), Some(0.5));
/// assert_eq!(rows.residuals().unwrap().quartiles, [-0.625, -0.25, 0.125]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Predicted<'a> {
    truth: &'a [f64],
    predicted: &'a [f64],
    weights: Option<&'a [f64]>,
}

/// How residuals (truth minus prediction) are distributed; weights do not count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    /// Their mean: above 0 the model predicts too low.
    pub mean: f64,
    /// Their standard deviation, divided by the number of rows.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The quantiles .25, .5 and .75, by linear interpolation.
    pub quartiles: [f64; 3],
    /// The largest.
    pub max: f64,
}

impl<'a> Predicted<'a> {
    /// The rows with these truths and predictions.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a value is not finite or above 1e90 in size.
    pub fn new(truth: &'a [f64], predicted: &'a [f64]) -> Result<Self> {
        same_length("predictions", predicted.len(), truth.len())?;
        values("truth", truth)?;
        values("prediction", predicted)?;
        Ok(Self { truth, predicted, weights: None })
    }

    /// The same rows with weights.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a weight is negative, not finite or above 1e20.
    pub fn weighted(self, weights: &'a [f64]) -> Result<Self> {
        same_length("weights", weights.len(), self.truth.len())?;
        error::weights(weights)?;
        Ok(Self { weights: Some(weights), ..self })
    }

    /// The metrics that also stream.
    ///
    /// # Errors
    /// `Invalid` if the quantile of the pinball loss is not in 0..=1.
    pub fn metrics(&self, quantile: f64) -> Result<RegressionMetrics> {
        let mut metrics = RegressionMetrics::new(quantile)?;
        for (row, (&truth, &predicted)) in self.truth.iter().zip(self.predicted).enumerate() {
            let weight = self.weights.map_or(1.0, |weights| weights[row]);
            metrics.push(&RegressionRow { truth, predicted, weight })?;
        }
        Ok(metrics)
    }

    /// The median of |error|; with weights the averaged weighted median. `None` without rows of weight.
    pub fn median_absolute_error(&self) -> Option<f64> {
        let errors: Vec<f64> = self.errors().map(f64::abs).collect();
        weighted_quantile(&errors, self.weights, 0.5)
    }

    /// The share of the pinball loss of the best constant that the model saves: D2 of the quantile.
    ///
    /// 1 is perfect, 0 as good as the quantile of the truths. A constant truth gives 1 if predicted perfectly,
    /// else 0; `None` with fewer than two rows. The quantile 0.5 gives scikit-learn's `d2_absolute_error_score`.
    ///
    /// # Errors
    /// `Invalid` if the quantile is not in 0..=1.
    pub fn d2_pinball(&self, quantile: f64) -> Result<Option<f64>> {
        let metrics = self.metrics(quantile)?;
        let Some(best) = weighted_quantile(self.truth, self.weights, quantile) else { return Ok(None) };
        let constant = vec![best; self.truth.len()];
        let dumb = Predicted { truth: self.truth, predicted: &constant, weights: self.weights };
        let dumb = dumb.metrics(quantile)?;
        if self.truth.len() < 2 {
            return Ok(None);
        }
        let pair = metrics.pinball_loss().zip(dumb.pinball_loss());
        Ok(pair.map(|(loss, spread)| explained(loss, spread)))
    }

    /// How the residuals are distributed; `None` without rows.
    pub fn residuals(&self) -> Option<Residuals> {
        let mut residuals: Vec<f64> = self.errors().collect();
        residuals.sort_unstable_by(f64::total_cmp);
        let unweighted = Self { weights: None, ..*self }.metrics(0.5).ok()?;
        let quantile = |q| quantile_of_sorted(&residuals, q);
        Some(Residuals {
            mean: unweighted.mean_residual()?,
            std: unweighted.residual_std()?,
            min: quantile(0.0)?,
            quartiles: [quantile(0.25)?, quantile(0.5)?, quantile(0.75)?],
            max: quantile(1.0)?,
        })
    }

    fn errors(&self) -> impl Iterator<Item = f64> {
        self.truth.iter().zip(self.predicted).map(|(truth, predicted)| truth - predicted)
    }
}
