//! How many rows does it take?

use serde::{Deserialize, Serialize};

use crate::experiment::interval::Alternative;
use crate::experiment::settings::{check_alpha, check_finite, check_open};
use crate::experiment::special::{normal_quantile, normal_upper_tail};
use crate::{Error, Result};

/// Rows an arm, as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedRows {
    /// Rows of the control.
    pub control: u64,
    /// Rows of the treatment.
    pub treatment: u64,
}

/// Power and sample size of a test of two means.
///
/// The normal approximation: with `d` the effect over its standard error, the power is `Q(z - d)`, two-sided
/// `Q(z - d) + Q(z + d)`. Some rows too optimistic below about 30 an arm. For a one-sided alternative the effect is
/// meant on its side. The numbers are those of statsmodels' `NormalIndPower`.
///
/// ```
/// use mlops_core::experiment::fixed::MeanPower;
///
/// // Two milliseconds of a latency whose standard deviation is ten.
/// let plan = MeanPower { sd_control: 10.0, sd_treatment: 10.0, ..Default::default() };
/// let rows = plan.rows(2.0, 0.8)?;
/// assert_eq!((rows.control, rows.treatment), (393, 393));
/// assert!(plan.power(2.0, 393.0)? >= 0.8);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanPower {
    /// The level of the test, within (0, 1). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// The standard deviation of the outcome in the control, positive. Default 1.
    pub sd_control: f64,
    /// The standard deviation of the outcome in the treatment, positive. Default 1.
    pub sd_treatment: f64,
    /// Rows of the treatment for each row of the control, positive. Default 1.
    pub ratio: f64,
}

impl Default for MeanPower {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            alternative: Alternative::TwoSided,
            sd_control: 1.0,
            sd_treatment: 1.0,
            ratio: 1.0,
        }
    }
}

impl MeanPower {
    /// The chance that the test sees a difference of `effect` with this many rows in the control.
    ///
    /// # Errors
    /// `Invalid` if a setting or an argument is outside its range.
    pub fn power(&self, effect: f64, rows_control: f64) -> Result<f64> {
        check_finite("effect", effect)?;
        check_open("rows of the control", rows_control, 0.0, f64::INFINITY)?;
        let sd = self.sd_of_difference()?;
        Ok(power(self.alpha, self.alternative, effect.abs() / sd * rows_control.sqrt(), 1.0))
    }

    /// The fewest rows with which the test sees a difference of `effect` with probability `power`.
    ///
    /// # Errors
    /// `Invalid` if the effect is 0, the power is not above alpha and below 1, a setting is outside its range,
    /// or the rows pass [`ROWS_MAX`](crate::experiment::ROWS_MAX).
    pub fn rows(&self, effect: f64, power: f64) -> Result<PlannedRows> {
        check_finite("effect", effect)?;
        let sd = self.sd_of_difference()?;
        least_rows(self.alpha, power, self.ratio, |rows| {
            self::power(self.alpha, self.alternative, effect.abs() / sd * rows.sqrt(), 1.0)
        })
    }

    /// The standard deviation of the difference, times the square root of the control's rows.
    fn sd_of_difference(&self) -> Result<f64> {
        check_alpha(self.alpha)?;
        check_open("sd_control", self.sd_control, 0.0, f64::INFINITY)?;
        check_open("sd_treatment", self.sd_treatment, 0.0, f64::INFINITY)?;
        check_open("ratio", self.ratio, 0.0, f64::INFINITY)?;
        Ok(self.sd_control.hypot(self.sd_treatment / self.ratio.sqrt()))
    }
}

/// Power and sample size of the pooled z-test of two proportions.
///
/// As [`MeanPower`], with the pooled variance under the null and each arm's own under the alternative. The numbers
/// are those of statsmodels' `power_proportions_2indep`.
///
/// ```
/// use mlops_core::experiment::fixed::RatePower;
///
/// // From 5 % to 6 % of clicks.
/// let rows = RatePower::default().rows(0.05, 0.06, 0.8)?;
/// assert_eq!(rows.control, 8158);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RatePower {
    /// The level of the test, within (0, 1). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// Rows of the treatment for each row of the control, positive. Default 1.
    pub ratio: f64,
}

impl Default for RatePower {
    fn default() -> Self {
        Self { alpha: 0.05, alternative: Alternative::TwoSided, ratio: 1.0 }
    }
}

impl RatePower {
    /// The chance that the test tells the two rates apart with this many rows in the control.
    ///
    /// # Errors
    /// `Invalid` if a setting or an argument is outside its range; rates are within (0, 1).
    pub fn power(&self, control: f64, treatment: f64, rows_control: f64) -> Result<f64> {
        check_open("rows of the control", rows_control, 0.0, f64::INFINITY)?;
        let (distance, shrink) = self.distance(control, treatment)?;
        Ok(power(self.alpha, self.alternative, distance * rows_control.sqrt(), shrink))
    }

    /// The fewest rows with which the test tells the two rates apart with probability `power`.
    ///
    /// # Errors
    /// As [`MeanPower::rows`].
    pub fn rows(&self, control: f64, treatment: f64, power: f64) -> Result<PlannedRows> {
        let (distance, shrink) = self.distance(control, treatment)?;
        least_rows(self.alpha, power, self.ratio, |rows| {
            self::power(self.alpha, self.alternative, distance * rows.sqrt(), shrink)
        })
    }

    /// The difference in standard deviations of the alternative, and those of the null over them.
    fn distance(&self, control: f64, treatment: f64) -> Result<(f64, f64)> {
        check_alpha(self.alpha)?;
        check_open("ratio", self.ratio, 0.0, f64::INFINITY)?;
        check_open("the rate of the control", control, 0.0, 1.0)?;
        check_open("the rate of the treatment", treatment, 0.0, 1.0)?;
        let pooled = (control + self.ratio * treatment) / (1.0 + self.ratio);
        let null = pooled * (1.0 - pooled) * (1.0 + 1.0 / self.ratio);
        let alternative = control * (1.0 - control) + treatment * (1.0 - treatment) / self.ratio;
        Ok(((treatment - control).abs() / alternative.sqrt(), (null / alternative).sqrt()))
    }
}

/// The power at an effect of `distance` standard errors, where those of the null are `shrink` times as large.
fn power(alpha: f64, alternative: Alternative, distance: f64, shrink: f64) -> f64 {
    let z = normal_quantile(alternative.tail(alpha)) * shrink;
    let near = normal_upper_tail(z - distance);
    if alternative == Alternative::TwoSided { near + normal_upper_tail(z + distance) } else { near }
}

fn least_rows(alpha: f64, power: f64, ratio: f64, at: impl Fn(f64) -> f64) -> Result<PlannedRows> {
    check_open("power", power, alpha, 1.0)?;
    let most = crate::experiment::ROWS_MAX as f64;
    if at(most / ratio.max(1.0)) < power {
        return Err(Error::invalid(format!(
            "no test of {most:e} rows has power {power}: ask for a larger effect"
        )));
    }
    let (mut low, mut high) = (0.0, most);
    while high - low > 1.0 {
        let middle = ((low + high) * 0.5_f64).floor();
        if at(middle) < power {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(PlannedRows { control: high as u64, treatment: (high * ratio).ceil() as u64 })
}
