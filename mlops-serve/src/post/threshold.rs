//! From probabilities to decisions.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

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
    use super::*;

    #[test]
    fn nonsense_is_refused_also_from_text() {
        assert!(Threshold::new(f64::NAN).is_err());
        assert!(serde_json::from_str::<Threshold>("1.5").is_err());
        assert!(!Threshold::new(0.0).unwrap().decides(f64::NAN));
    }
}
