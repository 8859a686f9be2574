//! Isotonic regression: the rising curve closest to the labels.

use serde::{Deserialize, Serialize};

use crate::evaluation::binary::Scored;
use crate::{Error, Result};

/// A rising curve from score to probability, straight between its points and flat beyond them.
///
/// Least squares under the one condition that it never falls, by pooling adjacent violators; rows with equal
/// scores count as one. As scikit-learn's `IsotonicRegression(out_of_bounds="clip")`. Fit: O(n log n). Apply:
/// O(log points), no allocation. Source: B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate
/// multiclass probability estimates", 2002.
///
/// ```
/// use mlops_core::evaluation::binary::Scored;
/// use mlops_core::evaluation::calibration::Isotonic;
///
/// let labels = [false, true, false, true];
/// let curve = Isotonic::fit(&Scored::new(&labels, &[0.1, 0.4, 0.5, 0.9])?)?;
/// assert_eq!(curve.probability(0.45), 0.5);
/// assert_eq!(curve.probability(0.7), 0.75);
/// assert_eq!(curve.probability(-9.0), 0.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Vec<(f64, f64)>")]
pub struct Isotonic {
    /// Score and probability: scores rise, probabilities never fall; at least one point.
    points: Vec<(f64, f64)>,
}

/// Both forms that were ever written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Points(Vec<(f64, f64)>),
    Knots { knots: Vec<(f64, f64)> },
}

impl Isotonic {
    /// Fits to rows.
    ///
    /// # Errors
    /// `Data` without rows of weight.
    pub fn fit(rows: &Scored<'_>) -> Result<Self> {
        let curve = rows.curve();
        /// Neighbouring scores that share one probability.
        struct Block {
            first: f64,
            last: f64,
            positives: f64,
            weight: f64,
        }
        let mut blocks: Vec<Block> = Vec::new();
        for run in curve.runs().iter().rev() {
            let weight = run.positives + run.negatives;
            let mut block = Block { first: run.score, last: run.score, positives: run.positives, weight };
            // A block joins the one before it as long as its share is not higher.
            while let Some(before) = blocks.last() {
                if before.positives * block.weight < block.positives * before.weight {
                    break;
                }
                block.first = before.first;
                block.positives += before.positives;
                block.weight += before.weight;
                blocks.pop();
            }
            blocks.push(block);
        }
        let mut points = Vec::with_capacity(2 * blocks.len());
        for block in &blocks {
            let share = block.positives / block.weight;
            points.push((block.first, share));
            if block.last > block.first {
                points.push((block.last, share));
            }
        }
        if points.is_empty() {
            return Err(Error::data("no rows to fit a calibration to: give labelled rows of weight above 0"));
        }
        Ok(Self { points })
    }

    /// The points of the curve: score and probability.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The probability of the positive class at this score; NaN at NaN.
    pub fn probability(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let above = self.points.partition_point(|point| point.0 <= score);
        match (above.checked_sub(1).map(|below| self.points[below]), self.points.get(above)) {
            (Some((x0, y0)), Some(&(x1, y1))) => {
                // Scores may be so far apart that only half their distance is finite.
                let unit = if (x1 - x0).is_finite() { 1.0 } else { 0.5 };
                let share = (score * unit - x0 * unit) / (x1 * unit - x0 * unit);
                (y0 + (y1 - y0) * share).clamp(y0, y1)
            }
            (Some((_, y)), None) | (None, Some(&(_, y))) => y,
            (None, None) => f64::NAN,
        }
    }
}

impl From<Isotonic> for Vec<(f64, f64)> {
    fn from(isotonic: Isotonic) -> Self {
        isotonic.points
    }
}

impl TryFrom<Stored> for Isotonic {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        match stored {
            Stored::Points(points) | Stored::Knots { knots: points } => points.try_into(),
        }
    }
}

/// A curve of points that come from elsewhere.
impl TryFrom<Vec<(f64, f64)>> for Isotonic {
    type Error = Error;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self> {
        let inside = points.iter().all(|(x, y)| x.is_finite() && (0.0..=1.0).contains(y));
        let rising = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        if points.is_empty() || !inside || !rising {
            return Err(Error::data(
                "not an isotonic curve: want rising finite scores with probabilities that never fall",
            ));
        }
        Ok(Self { points })
    }
}
