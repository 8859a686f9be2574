//! From scores to probabilities that mean what they say.
//!
//! Fit on rows that the model was not trained on. [`Isotonic`] learns any rising curve and wants some thousand
//! rows; [`Platt`] learns two numbers and is content with a hundred; [`Temperature`] learns one, for scores that are
//! probabilities already. All are plain values; applying one to a score takes nanoseconds and allocates nothing.

mod isotonic;
mod platt;
mod temperature;

pub use isotonic::Isotonic;
pub use platt::Platt;
pub use temperature::Temperature;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Any calibration, as a value that a model version carries: as [`to_json`](Self::to_json) writes it into the file
/// `calibration.json` of its package, it is what `mlops-serve` gives every score through.
///
/// ```
/// use mlops_core::evaluation::calibration::{Calibration, Platt};
///
/// let calibration = Calibration::from(Platt { slope: 1.0, intercept: 0.0 });
/// let json = calibration.to_json()?;
/// assert_eq!(json, br#"{"platt":{"slope":1.0,"intercept":0.0}}"#);
/// assert_eq!(Calibration::from_json(&json)?.probability(0.0), 0.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Calibration {
    /// A rising step curve.
    Isotonic(Isotonic),
    /// A logistic curve.
    Platt(Platt),
    /// The same log-odds, cooler or warmer.
    Temperature(Temperature),
}

impl Calibration {
    /// The probability of the positive class at this score; NaN at NaN.
    pub fn probability(&self, score: f64) -> f64 {
        match self {
            Self::Isotonic(isotonic) => isotonic.probability(score),
            Self::Platt(platt) => platt.probability(score),
            Self::Temperature(temperature) => temperature.probability(score),
        }
    }

    /// Reads a calibration from the JSON that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// `Data` if it is none.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|error| Error::data("the bytes are no calibration in JSON").with_source(error))
    }

    /// The calibration as JSON, for [`from_json`](Self::from_json) and the file of a package.
    ///
    /// # Errors
    /// `Invalid` if a number of it is not finite, which no fitted one has and JSON cannot say.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        if let Self::Platt(Platt { slope, intercept }) = self
            && !(slope.is_finite() && intercept.is_finite())
        {
            return Err(Error::invalid(format!(
                "the curve has the slope {slope} and the intercept {intercept}: want finite numbers"
            )));
        }
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("a calibration cannot be written as JSON").with_source(error))
    }
}

impl From<Isotonic> for Calibration {
    fn from(isotonic: Isotonic) -> Self {
        Self::Isotonic(isotonic)
    }
}

impl From<Platt> for Calibration {
    fn from(platt: Platt) -> Self {
        Self::Platt(platt)
    }
}

impl From<Temperature> for Calibration {
    fn from(temperature: Temperature) -> Self {
        Self::Temperature(temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_json_cannot_say_is_not_written() {
        let temperature = Calibration::from(Temperature::new(1.5).unwrap());
        assert_eq!(Calibration::from_json(&temperature.to_json().unwrap()).unwrap(), temperature);
        let broken = Calibration::from(Platt { slope: f64::NAN, intercept: 0.0 });
        let error = broken.to_json().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("slope NaN"), "{error}");
        assert_eq!(Calibration::from_json(b"{}").unwrap_err().kind(), ErrorKind::Data);
    }
}
