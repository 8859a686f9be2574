//! From scores to probabilities, and from probabilities to decisions.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// A monotone map from a score to a probability, fitted on held-out rows.
///
/// Sources: Platt, *Probabilistic outputs for support vector machines*, 1999; Guo, Pleiss, Sun and
/// Weinberger, *On calibration of modern neural networks*, 2017; Zadrozny and Elkan, *Transforming classifier
/// scores into accurate multiclass probability estimates*, 2002.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Calibration(Form);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Platt { slope: f64, intercept: f64 },
    Temperature { temperature: f64 },
    Isotonic { knots: Vec<(f64, f64)> },
}

/// Probabilities are kept this far from 0 and 1 before their log-odds are taken.
const CLIP: f64 = 1e-15;

impl Calibration {
    /// `1 / (1 + exp(-(slope * score + intercept)))`.
    ///
    /// # Errors
    /// `Invalid` if the slope is not above 0 or the intercept not finite.
    pub fn platt(slope: f64, intercept: f64) -> Result<Self> {
        Form::Platt { slope, intercept }.try_into()
    }

    /// The log-odds of a probability divided by `temperature`: above 1 makes it less sure.
    ///
    /// # Errors
    /// `Invalid` if the temperature is not above 0.
    pub fn temperature(temperature: f64) -> Result<Self> {
        Form::Temperature { temperature }.try_into()
    }

    /// Linear between knots `(score, probability)`, constant beyond the first and the last.
    ///
    /// # Errors
    /// `Invalid` if there is no knot, scores do not rise, or probabilities fall or leave [0, 1].
    pub fn isotonic(knots: Vec<(f64, f64)>) -> Result<Self> {
        Form::Isotonic { knots }.try_into()
    }

    /// The probability of a score; NaN gives NaN. Does not allocate; `O(log knots)`.
    pub fn apply(&self, score: f64) -> f64 {
        match &self.0 {
            Form::Platt { slope, intercept } => sigmoid(slope * score + intercept),
            Form::Temperature { temperature } => {
                let probability = score.clamp(CLIP, 1.0 - CLIP);
                sigmoid((probability / (1.0 - probability)).ln() / temperature)
            }
            Form::Isotonic { knots } => interpolate(knots, score),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn interpolate(knots: &[(f64, f64)], score: f64) -> f64 {
    if score.is_nan() {
        return score;
    }
    let next = knots.partition_point(|(knot, _)| *knot <= score);
    match (next.checked_sub(1).map(|before| knots[before]), knots.get(next).copied()) {
        (None, Some((_, probability))) | (Some((_, probability)), None) => probability,
        (Some((low, from)), Some((high, to))) => {
            // Halved, so that the distance of two huge knots stays finite.
            let share = (score / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
            (from + share * (to - from)).clamp(from, to)
        }
        // There is at least one knot.
        (None, None) => f64::NAN,
    }
}

impl TryFrom<Form> for Calibration {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        let above_zero = |what: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::invalid(format!("the {what} is {value}: want a finite number above 0"))),
        };
        match &form {
            Form::Platt { slope, intercept } => {
                above_zero("slope of a calibration", *slope)?;
                if !intercept.is_finite() {
                    return Err(Error::invalid(format!("the intercept of a calibration is {intercept}")));
                }
            }
            Form::Temperature { temperature } => above_zero("temperature", *temperature)?,
            Form::Isotonic { knots } => {
                if knots.is_empty() {
                    return Err(Error::invalid("an isotonic calibration needs at least one knot"));
                }
                let inside = |(score, probability): &(f64, f64)| {
                    score.is_finite() && (0.0..=1.0).contains(probability)
                };
                let rises = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
                if !(knots.iter().all(inside) && knots.windows(2).all(rises)) {
                    return Err(Error::invalid(
                        "the knots of an isotonic calibration must rise, with probabilities in [0, 1]",
                    ));
                }
            }
        }
        Ok(Self(form))
    }
}

impl From<Calibration> for Form {
    fn from(calibration: Calibration) -> Self {
        calibration.0
    }
}

/// Says yes from a probability on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Threshold(f64);

impl Threshold {
    /// Says yes from this probability on.
    ///
    /// # Errors
    /// `Invalid` if it is not within [0, 1].
    pub fn new(probability: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&probability) {
            return Ok(Self(probability));
        }
        Err(Error::invalid(format!("threshold {probability} is no probability: want 0 to 1")))
    }

    /// Whether this probability is a yes. NaN is a no.
    pub fn decides(self, probability: f64) -> bool {
        probability >= self.0
    }
}

impl TryFrom<f64> for Threshold {
    type Error = Error;

    fn try_from(probability: f64) -> Result<Self> {
        Self::new(probability)
    }
}

impl From<Threshold> for f64 {
    fn from(threshold: Threshold) -> Self {
        threshold.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knots_are_met_and_the_ends_are_flat() {
        let calibration = Calibration::isotonic(vec![(-1.0, 0.1), (0.0, 0.2), (2.0, 0.8)]).unwrap();
        for (score, want) in
            [(-9.0, 0.1), (-1.0, 0.1), (-0.5, 0.15), (0.0, 0.2), (1.0, 0.5), (2.0, 0.8), (9.0, 0.8)]
        {
            assert!((calibration.apply(score) - want).abs() < 1e-15, "{score}");
        }
        let huge = Calibration::isotonic(vec![(f64::MIN, 0.0), (f64::MAX, 1.0)]).unwrap();
        assert!((huge.apply(0.0) - 0.5).abs() < 1e-15);
        assert!(calibration.apply(f64::NAN).is_nan());
    }

    #[test]
    fn nonsense_is_refused_also_from_text() {
        assert!(Calibration::platt(-1.0, 0.0).is_err());
        assert!(Calibration::platt(1.0, f64::NAN).is_err());
        assert!(Calibration::temperature(0.0).is_err());
        for knots in [vec![], vec![(0.0, 0.5), (0.0, 0.6)], vec![(0.0, 0.5), (1.0, 0.4)], vec![(0.0, 1.5)]] {
            assert!(Calibration::isotonic(knots).is_err());
        }
        assert!(serde_json::from_str::<Calibration>(r#"{"temperature":{"temperature":-2.0}}"#).is_err());
        assert!(serde_json::from_str::<Threshold>("1.5").is_err());
        assert!(!Threshold::new(0.0).unwrap().decides(f64::NAN));
    }

    proptest! {
        #[test]
        fn the_order_of_scores_is_kept(a in 0.0_f64..1.0, b in 0.0_f64..1.0, slope in 0.1_f64..9.0) {
            let (low, high) = (a.min(b), a.max(b));
            let knots = vec![(0.2, 0.1), (0.5, 0.1), (0.7, 0.9)];
            for calibration in [
                Calibration::platt(slope, -1.0).unwrap(),
                Calibration::temperature(slope).unwrap(),
                Calibration::isotonic(knots).unwrap(),
            ] {
                prop_assert!(calibration.apply(low) <= calibration.apply(high));
                prop_assert!((0.0..=1.0).contains(&calibration.apply(a)));
                let back: Calibration = serde_json::from_str(&serde_json::to_string(&calibration).unwrap()).unwrap();
                prop_assert_eq!(back, calibration);
            }
        }
    }
}
