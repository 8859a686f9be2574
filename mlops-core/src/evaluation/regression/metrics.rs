//! Regression metrics over a stream of rows.

use serde::{Deserialize, Serialize};

use crate::evaluation::binary::ratio;
use crate::evaluation::error::{MetricError, row_after, stored_size, value_at, weight_at};
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};
use crate::evaluation::{Mean, Sum};
use crate::{Error, Result};

/// One row: what came true, what was predicted, how much it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionRow {
    /// The true value.
    pub truth: f64,
    /// The predicted value.
    pub predicted: f64,
    /// How much the row counts, 0 or above.
    pub weight: f64,
}

impl RegressionRow {
    /// A row of weight 1.
    pub fn new(truth: f64, predicted: f64) -> Self {
        Self { truth, predicted, weight: 1.0 }
    }
}

/// Regression metrics as a value that streams, merges and serialises.
///
/// Gives, where defined: `mse`, `rmse`, `mae`, `max_error`, `mape`, `smape`, `wape`, `msle`, `r2`,
/// `explained_variance`, `pinball_loss`, `mean_residual`, `residual_std`; standard errors for the means. Merging
/// agrees up to rounding. Every metric is `None` without rows of weight. Values are at most 1e90 in size, so that
/// no square overflows.
///
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::regression::{RegressionMetrics, RegressionRow};
///
/// let mut metrics = RegressionMetrics::new(0.5)?;
/// for (truth, predicted) in [(3.0, 2.5), (-0.5, 0.0), (2.0, 2.0), (7.0, 8.0)] {
///     metrics.push(&RegressionRow::new(truth, predicted))?;
/// }
/// assert_eq!(metrics.mse(), Some(0.375));
/// assert!((metrics.r2().unwrap() - 0.948_608_137).abs() < 1e-9);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct RegressionMetrics {
    version: Version<1>,
    quantile: f64,
    rows: u64,
    absolute: Mean,
    squared: Mean,
    relative: Mean,
    symmetric: Mean,
    pinball: Mean,
    /// Absent once a value was -1 or less.
    log_squared: Option<Mean>,
    magnitude: Sum,
    largest: f64,
    truth: Mean,
    residual: Mean,
}

impl RegressionMetrics {
    /// No rows yet; `quantile` is that of the pinball loss, 0.5 for the median.
    ///
    /// # Errors
    /// `Invalid` if the quantile is not in 0..=1.
    pub fn new(quantile: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&quantile) {
            return Err(MetricError::Setting { what: "quantile", value: quantile, want: "0 to 1" }.into());
        }
        Ok(Self {
            version: Version,
            quantile,
            rows: 0,
            absolute: Mean::default(),
            squared: Mean::default(),
            relative: Mean::default(),
            symmetric: Mean::default(),
            pinball: Mean::default(),
            log_squared: Some(Mean::default()),
            magnitude: Sum::default(),
            largest: 0.0,
            truth: Mean::default(),
            residual: Mean::default(),
        })
    }

    /// The mean squared error.
    pub fn mse(&self) -> Option<f64> {
        self.squared.value()
    }

    /// The root of the mean squared error, in units of the truth.
    pub fn rmse(&self) -> Option<f64> {
        self.mse().map(f64::sqrt)
    }

    /// The mean absolute error, in units of the truth.
    pub fn mae(&self) -> Option<f64> {
        self.absolute.value()
    }

    /// The largest absolute error of a row of weight.
    pub fn max_error(&self) -> Option<f64> {
        self.mae().map(|_| self.largest)
    }

    /// The mean of |error| / max(|truth|, eps), as a fraction. A truth of 0 makes it astronomically large, as in
    /// scikit-learn: prefer [`wape`](Self::wape) or [`smape`](Self::smape) for such data.
    pub fn mape(&self) -> Option<f64> {
        self.relative.value()
    }

    /// The mean of 2 |error| / (|truth| + |prediction|), 0/0 counting 0: from 0 to 2.
    pub fn smape(&self) -> Option<f64> {
        self.symmetric.value()
    }

    /// The sum of |error| over the sum of |truth|; `None` if every truth is 0.
    pub fn wape(&self) -> Option<f64> {
        ratio(self.absolute.total(), self.magnitude.value())
    }

    /// The mean squared error of ln(1 + value); `None` if a value was -1 or less.
    pub fn msle(&self) -> Option<f64> {
        self.log_squared.as_ref()?.value()
    }

    /// The share of the variance that is explained: 1 - sum of squared errors / sum of squared deviations.
    ///
    /// 1 is perfect, 0 is as good as the mean, below is worse. A constant truth gives 1 if predicted perfectly,
    /// else 0; `None` with fewer than two rows.
    pub fn r2(&self) -> Option<f64> {
        if self.rows < 2 {
            return None;
        }
        self.mse().map(|_| explained(self.squared.total(), self.truth.squares()))
    }

    /// As [`r2`](Self::r2), but a constant error costs nothing: 1 - var(residual) / var(truth).
    pub fn explained_variance(&self) -> Option<f64> {
        self.mse().map(|_| explained(self.residual.squares(), self.truth.squares()))
    }

    /// The mean quantile loss: quantile times what was missing, 1 - quantile times what was too much.
    ///
    /// Source: R. Koenker, G. Bassett, "Regression quantiles", 1978.
    pub fn pinball_loss(&self) -> Option<f64> {
        self.pinball.value()
    }

    /// The mean of truth minus prediction: above 0 the model predicts too low.
    pub fn mean_residual(&self) -> Option<f64> {
        self.residual.value()
    }

    /// The standard deviation of the residuals around their mean.
    pub fn residual_std(&self) -> Option<f64> {
        self.residual.value().map(|_| (self.residual.squares() / self.residual.weight()).sqrt())
    }
}

/// Metrics as they were stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    version: Version<1>,
    quantile: f64,
    rows: u64,
    absolute: Mean,
    squared: Mean,
    relative: Mean,
    symmetric: Mean,
    pinball: Mean,
    log_squared: Option<Mean>,
    magnitude: Sum,
    #[serde(deserialize_with = "stored_size")]
    largest: f64,
    truth: Mean,
    residual: Mean,
}

impl TryFrom<Stored> for RegressionMetrics {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, quantile, rows, magnitude, largest, log_squared, truth, residual, .. } = stored;
        let Stored { absolute, squared, relative, symmetric, pinball, .. } = stored;
        Self::new(quantile)?;
        let weight = truth.weight();
        let means = [&absolute, &squared, &relative, &symmetric, &pinball, &residual];
        let torn = means.iter().any(|mean| mean.weight() != weight) || !magnitude.value().is_finite();
        if torn || (rows == 0 && weight > 0.0) {
            return Err(Error::data(format!(
                "the sums of {rows} rows do not fit together: the state is torn"
            )));
        }
        Ok(Self {
            version,
            quantile,
            rows,
            absolute,
            squared,
            relative,
            symmetric,
            pinball,
            log_squared,
            magnitude,
            largest,
            truth,
            residual,
        })
    }
}

impl MetricState for RegressionMetrics {
    type Row = RegressionRow;

    fn push(&mut self, &RegressionRow { truth, predicted, weight }: &RegressionRow) -> Result<()> {
        let row = row_after(self.rows);
        value_at("truth", row, truth)?;
        value_at("prediction", row, predicted)?;
        weight_at(row, weight)?;
        self.rows = self.rows.saturating_add(1);
        if weight == 0.0 {
            return Ok(());
        }
        let residual = truth - predicted;
        let error = residual.abs();
        self.absolute.add(error, weight);
        self.squared.add(residual * residual, weight);
        self.relative.add(error / truth.abs().max(f64::EPSILON), weight);
        self.symmetric.add(ratio(2.0 * error, truth.abs() + predicted.abs()).unwrap_or(0.0), weight);
        let slope = if residual >= 0.0 { self.quantile } else { 1.0 - self.quantile };
        self.pinball.add(slope * error, weight);
        if truth <= -1.0 || predicted <= -1.0 {
            self.log_squared = None;
        }
        if let Some(log_squared) = &mut self.log_squared {
            log_squared.add((truth.ln_1p() - predicted.ln_1p()).powi(2), weight);
        }
        self.magnitude.add(weight * truth.abs());
        self.largest = self.largest.max(error);
        self.truth.add(truth, weight);
        self.residual.add(residual, weight);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.quantile != other.quantile {
            return Err(MetricError::Incompatible { what: "regression metrics" }.into());
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.absolute.merge(&other.absolute);
        self.squared.merge(&other.squared);
        self.relative.merge(&other.relative);
        self.symmetric.merge(&other.symmetric);
        self.pinball.merge(&other.pinball);
        self.log_squared = match (self.log_squared, &other.log_squared) {
            (Some(mut mean), Some(other)) => {
                mean.merge(other);
                Some(mean)
            }
            _ => None,
        };
        self.magnitude.merge(&other.magnitude);
        self.largest = self.largest.max(other.largest);
        self.truth.merge(&other.truth);
        self.residual.merge(&other.residual);
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for (name, mean) in [
            ("mse", &self.squared),
            ("mae", &self.absolute),
            ("mape", &self.relative),
            ("smape", &self.symmetric),
            ("pinball_loss", &self.pinball),
            ("mean_residual", &self.residual),
        ] {
            insert(&mut metrics, name, mean.value(), mean.std_error());
        }
        // The delta method: a root moves half as much as what is under it, relative to its size.
        let of_root = self.rmse().zip(self.squared.std_error()).map(|(root, error)| error / (2.0 * root));
        insert(&mut metrics, "rmse", self.rmse(), of_root);
        for (name, value) in [
            ("max_error", self.max_error()),
            ("wape", self.wape()),
            ("msle", self.msle()),
            ("r2", self.r2()),
            ("explained_variance", self.explained_variance()),
            ("residual_std", self.residual_std()),
        ] {
            insert(&mut metrics, name, value, None);
        }
        metrics
    }
}

/// 1 - loss / spread; a perfect prediction is 1 and an imperfect one of a constant 0.
pub(super) fn explained(loss: f64, spread: f64) -> f64 {
    match (loss == 0.0, spread == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => 1.0 - loss / spread,
    }
}
