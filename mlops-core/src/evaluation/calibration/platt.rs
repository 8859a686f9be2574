//! Platt's scaling: a logistic curve through the scores.

use serde::{Deserialize, Serialize};

use crate::evaluation::binary::Scored;
use crate::{Error, Result};

/// probability = 1 / (1 + exp(-(slope * score + intercept))).
///
/// Maximum likelihood with Platt's softened labels ((P + 1) / (P + 2) and 1 / (N + 2) for P positives and N
/// negatives), by Newton's method; the same optimum as scikit-learn's sigmoid calibration, whose `a_` and `b_`
/// are -slope and -intercept. Best on scores before the logistic function. Apply: one exponential, no
/// allocation. Source: J. Platt, "Probabilistic outputs for support vector machines", 1999; H.-T. Lin, C.-J.
/// Lin, R. C. Weng, "A note on Platt's probabilistic outputs for support vector machines", 2007.
///
/// ```
/// use mlops_core::evaluation::binary::Scored;
/// use mlops_core::evaluation::calibration::Platt;
///
/// let labels = [false, false, true, false, true, true];
/// let platt = Platt::fit(&Scored::new(&labels, &[-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])?)?;
/// assert!(platt.slope > 0.0);
/// assert!((platt.probability(0.0) - 0.5).abs() < 1e-9);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// How steep the curve is; above 0 if higher scores mean more positives.
    pub slope: f64,
    /// The log-odds at score 0.
    pub intercept: f64,
}

impl Platt {
    /// Fits to rows.
    ///
    /// # Errors
    /// `Data` without rows of weight, or if the scores are so extreme that no finite curve fits them.
    pub fn fit(rows: &Scored<'_>) -> Result<Self> {
        let (mut positives, mut negatives, mut largest) = (0.0, 0.0, 0.0_f64);
        for (label, score, weight) in rows.rows().filter(|row| row.2 > 0.0) {
            *(if label { &mut positives } else { &mut negatives }) += weight;
            largest = largest.max(score.abs());
        }
        if positives + negatives <= 0.0 {
            return Err(Error::data("no rows to fit a calibration to: give labelled rows of weight above 0"));
        }
        let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
        let target = |label| if label { high } else { low };
        // Scores in -1..=1 keep the two unknowns of one size.
        let unit = if largest > 0.0 { largest } else { 1.0 };
        let loss = |slope: f64, intercept: f64| -> f64 {
            let of_row = |(label, score, weight): (bool, f64, f64)| {
                let odds = slope * (score / unit) + intercept;
                // ln(1 + e^odds) - target * odds, without overflow.
                weight * (odds.max(0.0) + (-odds.abs()).exp().ln_1p() - target(label) * odds)
            };
            rows.rows().map(of_row).sum()
        };
        let (mut slope, mut intercept) = (0.0, ((positives + 1.0) / (negatives + 1.0)).ln());
        let mut best = loss(slope, intercept);
        for _ in 0..STEPS_MAX {
            let (mut gradient, mut curvature) = ([0.0; 2], [RIDGE, 0.0, RIDGE]);
            for (label, score, weight) in rows.rows() {
                let x = score / unit;
                let p = logistic(slope * x + intercept);
                let (pull, bend) = (weight * (p - target(label)), weight * p * (1.0 - p));
                gradient[0] += pull * x;
                gradient[1] += pull;
                curvature[0] += bend * x * x;
                curvature[1] += bend * x;
                curvature[2] += bend;
            }
            let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
            let step = [
                (curvature[2] * gradient[0] - curvature[1] * gradient[1]) / determinant,
                (curvature[0] * gradient[1] - curvature[1] * gradient[0]) / determinant,
            ];
            let mut size = 1.0;
            let mut moved = loss(slope - step[0], intercept - step[1]);
            while (moved > best || moved.is_nan()) && size > STEP_MIN {
                size /= 2.0;
                moved = loss(slope - size * step[0], intercept - size * step[1]);
            }
            if moved > best || moved.is_nan() {
                break;
            }
            (slope, intercept, best) = (slope - size * step[0], intercept - size * step[1], moved);
            let scale = 1.0 + slope.abs().max(intercept.abs());
            if step[0].abs().max(step[1].abs()) < f64::EPSILON * scale {
                break;
            }
        }
        let fitted = Self { slope: slope / unit, intercept };
        if fitted.slope.is_finite() && fitted.intercept.is_finite() {
            return Ok(fitted);
        }
        Err(Error::data(format!("no finite curve fits scores up to {largest}: rescale them")))
    }

    /// The probability of the positive class at this score; NaN at NaN.
    pub fn probability(&self, score: f64) -> f64 {
        // A flat curve is flat at infinite scores too.
        let rise = if self.slope == 0.0 && score.is_infinite() { 0.0 } else { self.slope * score };
        logistic(rise + self.intercept)
    }
}

pub(super) fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

const STEPS_MAX: usize = 100;
const STEP_MIN: f64 = 1e-10;
/// Keeps the curvature invertible where the loss is flat.
const RIDGE: f64 = 1e-12;
