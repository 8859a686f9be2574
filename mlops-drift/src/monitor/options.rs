//! What counts as a change worth an alarm.

use serde::{Deserialize, Serialize};

use crate::{Correction, Error, Result};

/// How a window is judged: plain data, so that it can be stored with the window that it judged.
///
/// A column drifts if two things hold: the evidence is strong (its adjusted p-value is at most `alpha`), and
/// the change is large (its population stability index reaches the `psi` band and what its sample sizes
/// alone explain). The first keeps small windows quiet, the second large ones.
///
/// ```
/// use mlops_drift::{Correction, monitor::CheckOptions};
///
/// let strict = CheckOptions { correction: Correction::BenjaminiHochberg, ..CheckOptions::default() };
/// assert_eq!(strict.alpha, 0.01);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckOptions {
    /// The bound on false alarms of one check, in 0..1; what it bounds is said by `correction`.
    pub alpha: f64,
    /// How the p-values of all columns are adjusted. `None` with `alpha` 1 leaves the bands alone to judge:
    /// see [`classic`](Self::classic).
    pub correction: Correction,
    /// How large a population stability index matters.
    pub psi: Bands,
    /// How large a change of the rate of missing or non-finite cells matters, as a difference of rates.
    pub missing_rate: Bands,
}

/// From where on a change is worth a warning, and from where on somebody has to look now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bands {
    /// From here on [`Severity::Warning`](mlops_core::Severity::Warning).
    pub warning: f64,
    /// From here on [`Severity::Critical`](mlops_core::Severity::Critical).
    pub critical: f64,
}

impl Default for CheckOptions {
    /// One false alarm in a hundred checks at most (Holm, 1 %); PSI bands 0.1 and 0.25; missing rates that
    /// change by 2 or 10 points.
    fn default() -> Self {
        Self {
            alpha: 0.01,
            correction: Correction::Holm,
            psi: Bands { warning: 0.1, critical: 0.25 },
            missing_rate: Bands { warning: 0.02, critical: 0.1 },
        }
    }
}

impl CheckOptions {
    /// The industry's fixed bands alone, whatever the sample sizes: PSI 0.1 and 0.25. At 200 rows a window
    /// and ten buckets about every second unchanged column alarms.
    pub fn classic() -> Self {
        Self { alpha: 1.0, correction: Correction::None, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(self.alpha > 0.0 && self.alpha <= 1.0) {
            return Err(Error::invalid(format!(
                "alpha is {}: want a probability above 0 up to 1",
                self.alpha
            )));
        }
        for (name, Bands { warning, critical }) in [("psi", self.psi), ("missing_rate", self.missing_rate)] {
            if !(warning >= 0.0 && critical >= warning) {
                return Err(Error::invalid(format!(
                    "the bands of {name} are {warning} and {critical}: want 0 <= warning <= critical"
                )));
            }
        }
        Ok(())
    }
}
