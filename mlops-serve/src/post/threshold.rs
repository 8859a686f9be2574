//! From scores to decisions.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Says yes from a score on: of a calibrated model from a probability, of others from whatever their scores are.
///
/// A model version carries it as the file `threshold.json`, a number as
/// [`Curve::cheapest`](mlops_core::evaluation::binary::Curve::cheapest) finds it, and the endpoint decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Threshold(f64);

impl Threshold {
    /// Says yes from this score on.
    ///
    /// # Errors
    /// `Invalid` if it is not finite.
    pub fn new(score: f64) -> Result<Self> {
        if score.is_finite() {
            return Ok(Self(score));
        }
        Err(Error::invalid(format!("the threshold is {score}: want a finite number")))
    }

    /// The score from which on it says yes.
    pub fn score(self) -> f64 {
        self.0
    }

    /// Whether this score is a yes. NaN is a no.
    pub fn decides(self, score: f64) -> bool {
        score >= self.0
    }
}

impl TryFrom<f64> for Threshold {
    type Error = Error;

    fn try_from(score: f64) -> Result<Self> {
        Self::new(score)
    }
}

impl From<Threshold> for f64 {
    fn from(threshold: Threshold) -> Self {
        threshold.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_also_from_text() {
        assert!(Threshold::new(f64::NAN).is_err());
        assert!(Threshold::new(f64::INFINITY).is_err());
        assert!(serde_json::from_str::<Threshold>("null").is_err());
        assert_eq!(serde_json::from_str::<Threshold>("0.35").unwrap().score(), 0.35);
        assert!(!Threshold::new(0.0).unwrap().decides(f64::NAN));
        assert!(Threshold::new(0.5).unwrap().decides(0.5));
    }
}
