//! Temperature scaling: probabilities made less sure, or more.

use serde::{Deserialize, Serialize};

use super::platt::logistic;
use crate::evaluation::binary::Scored;
use crate::{Error, Result};

/// log-odds of the probability = log-odds of the score / temperature: above 1 it is less sure, below 1 more.
///
/// Scores are probabilities; they are kept 1e-15 away from 0 and 1. Maximum likelihood, by bisection of its slope,
/// to the last bit; cost O(rows) a step, some 60 steps. 0.5 stays 0.5 and the order of scores stays. Apply: a
/// logarithm and an exponential, no allocation. Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration
/// of modern neural networks", 2017.
///
/// ```
/// use mlops_core::evaluation::binary::Scored;
/// use mlops_core::evaluation::calibration::Temperature;
///
/// // Says 0.9 where three of four are right.
/// let (labels, scores) = ([true, true, true, false], [0.9; 4]);
/// let temperature = Temperature::fit(&Scored::new(&labels, &scores)?)?;
/// assert!((temperature.get() - 2.0).abs() < 1e-12);
/// assert!((temperature.probability(0.9) - 0.75).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Temperature(f64);

#[derive(Serialize, Deserialize)]
struct Stored {
    temperature: f64,
}

impl Temperature {
    /// This temperature.
    ///
    /// # Errors
    /// `Invalid` if it is not finite and above 0.
    pub fn new(temperature: f64) -> Result<Self> {
        if temperature > 0.0 && temperature.is_finite() {
            return Ok(Self(temperature));
        }
        Err(Error::invalid(format!("the temperature is {temperature}: want a finite number above 0")))
    }

    /// Fits to rows.
    ///
    /// # Errors
    /// `Data` without rows of weight, if a score is no probability, and if no temperature is the likeliest: the
    /// scores tell the labels apart without a mistake, or no better than a coin.
    pub fn fit(rows: &Scored<'_>) -> Result<Self> {
        let mut is_mistaken = false;
        let mut weights = 0.0;
        for (label, score, weight) in rows.rows().filter(|row| row.2 > 0.0) {
            if !(0.0..=1.0).contains(&score) {
                return Err(Error::data(format!(
                    "score {score} is no probability, which a temperature takes: want 0 to 1, or fit `Platt`"
                )));
            }
            weights += weight;
            is_mistaken |= if label { score < 0.5 } else { score > 0.5 };
        }
        if weights <= 0.0 {
            return Err(Error::data("no rows to fit a calibration to: give labelled rows of weight above 0"));
        }
        // The slope of the loss at this factor of the log-odds rises with the factor.
        let slope = |factor: f64| -> f64 {
            let of_row = |(label, score, weight): (bool, f64, f64)| {
                let odds = log_odds(score);
                weight * odds * (logistic(factor * odds) - f64::from(u8::from(label)))
            };
            rows.rows().filter(|row| row.2 > 0.0).map(of_row).sum()
        };
        // What rounding alone may make of a sum that is 0: the log-odds count half each at this factor.
        let (mut count, mut absolute) = (0.0, 0.0);
        for (_, score, weight) in rows.rows().filter(|row| row.2 > 0.0) {
            count += 1.0;
            absolute += 0.5 * weight * log_odds(score).abs();
        }
        if slope(0.0) >= -f64::EPSILON * (count + ROUNDINGS_OF_ROW) * absolute {
            return Err(Error::data(
                "the scores rank the labels no better than a coin, which no temperature mends: look for labels \
                 that are swapped, or fit `Platt`",
            ));
        }
        let (mut low, mut high) = (0.0, 1.0);
        while slope(high) < 0.0 {
            if !is_mistaken || high > FACTOR_MAX {
                return Err(Error::data(
                    "the scores tell the labels apart without a mistake: the colder the better, without end; fit \
                     on more rows that the model was not trained on",
                ));
            }
            (low, high) = (high, 2.0 * high);
        }
        loop {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                return Self::new(1.0 / high);
            }
            *(if slope(middle) < 0.0 { &mut low } else { &mut high }) = middle;
        }
    }

    /// The temperature.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The probability of the positive class at this score; NaN at NaN.
    pub fn probability(&self, score: f64) -> f64 {
        logistic(log_odds(score) / self.0)
    }
}

fn log_odds(score: f64) -> f64 {
    let probability = score.clamp(CLIP, 1.0 - CLIP);
    (probability / (1.0 - probability)).ln()
}

impl TryFrom<Stored> for Temperature {
    type Error = Error;

    fn try_from(Stored { temperature }: Stored) -> Result<Self> {
        Self::new(temperature)
    }
}

impl From<Temperature> for Stored {
    fn from(Temperature(temperature): Temperature) -> Self {
        Self { temperature }
    }
}

/// Probabilities are kept this far from 0 and 1 before their log-odds are taken.
const CLIP: f64 = 1e-15;
/// About what the steps to one term of a sum round, in units of the machine epsilon.
const ROUNDINGS_OF_ROW: f64 = 8.0;
/// Beyond it, log-odds that are not 0 are as good as infinite.
const FACTOR_MAX: f64 = 1e18;
