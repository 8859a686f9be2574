//! Confidence intervals of a share.

use serde::{Deserialize, Serialize};

use super::{confidence_in_range, normal_reach};
use crate::Result;
use crate::evaluation::Interval;
use crate::evaluation::error::MetricError;
use crate::experiment::special::beta_quantile;

/// How the interval of a share is made. All follow statsmodels 0.15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProportionMethod {
    /// E. B. Wilson, 1927: good for all shares and numbers of rows.
    #[default]
    Wilson,
    /// A. Agresti, B. A. Coull, 1998: Wilson's centre with the normal width.
    AgrestiCoull,
    /// Quantiles of the posterior under Jeffreys' prior.
    Jeffreys,
    /// C. J. Clopper, E. S. Pearson, 1934: never covers less than promised, often more.
    ClopperPearson,
    /// The normal approximation, after Wald: collapses at shares of 0 and 1.
    Normal,
}

/// The two-sided interval of a share of `successes` out of `trials`, inside 0..=1.
///
/// # Errors
/// `Invalid` if there are no trials or more successes than trials, or the confidence is not above 0 and below 1.
///
/// ```
/// use mlops_core::evaluation::interval::{ProportionMethod, proportion_interval};
///
/// let interval = proportion_interval(3, 20, 0.95, ProportionMethod::Wilson)?;
/// assert!((interval.lower() - 0.052_368_7).abs() < 1e-6 && (interval.upper() - 0.360_418_9).abs() < 1e-6);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn proportion_interval(
    successes: u64,
    trials: u64,
    confidence: f64,
    method: ProportionMethod,
) -> Result<Interval> {
    confidence_in_range(confidence)?;
    if trials == 0 || successes > trials {
        let want = "at least 1, and no fewer than the successes";
        return Err(MetricError::Setting { what: "number of trials", value: trials as f64, want }.into());
    }
    let (hits, rows) = (successes as f64, trials as f64);
    let share = hits / rows;
    let z = normal_reach(confidence);
    let tail = (1.0 - confidence) / 2.0;
    let around = |center: f64, reach: f64| (center - reach, center + reach);
    let (low, high) = match method {
        ProportionMethod::Normal => around(share, z * (share * (1.0 - share) / rows).sqrt()),
        ProportionMethod::Wilson => {
            let scale = 1.0 + z * z / rows;
            let reach = z * (share * (1.0 - share) / rows + z * z / (4.0 * rows * rows)).sqrt();
            around((share + z * z / (2.0 * rows)) / scale, reach / scale)
        }
        ProportionMethod::AgrestiCoull => {
            let more = rows + z * z;
            let center = (hits + z * z / 2.0) / more;
            around(center, z * (center * (1.0 - center) / more).sqrt())
        }
        ProportionMethod::Jeffreys => {
            let (a, b) = (hits + 0.5, rows - hits + 0.5);
            (beta_quantile(tail, a, b), beta_quantile(1.0 - tail, a, b))
        }
        ProportionMethod::ClopperPearson => (
            if successes == 0 { 0.0 } else { beta_quantile(tail, hits, rows - hits + 1.0) },
            if successes == trials { 1.0 } else { beta_quantile(1.0 - tail, hits + 1.0, rows - hits) },
        ),
    };
    Interval::new(low.max(0.0), high.min(1.0))
}
