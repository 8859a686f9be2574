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

/// Any calibration, as a value that a model version carries: written as JSON into the file `calibration.json` of its
/// package, it is what `mlops-serve` gives every score through.
///
/// ```
/// use mlops_core::evaluation::calibration::{Calibration, Platt};
///
/// let calibration = Calibration::from(Platt { slope: 1.0, intercept: 0.0 });
/// let text = serde_json::to_string(&calibration)?;
/// assert_eq!(text, r#"{"platt":{"slope":1.0,"intercept":0.0}}"#);
/// assert_eq!(serde_json::from_str::<Calibration>(&text)?.probability(0.0), 0.5);
/// # Ok::<(), serde_json::Error>(())
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
