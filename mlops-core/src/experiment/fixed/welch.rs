//! Welch's test of two means.

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::experiment::interval::{Alternative, Interval};
use crate::experiment::settings::{check_alpha, check_finite};
use crate::experiment::special::{student_quantile, student_upper_tail};
use crate::experiment::two_arm::{Outcomes, TwoArm};
use crate::{Error, Result};

/// Welch's t-test of `mean(treatment) - mean(control)`, whose arms may differ in variance and size.
///
/// `t = (D - null) / sqrt(s2c/nc + s2t/nt)`, referred to Student's law with Welch and Satterthwaite's degrees of
/// freedom. Exact for normal outcomes up to that approximation, asymptotic for others. Needs two rows an arm and
/// some variance. Constant time.
///
/// Sources: B. L. Welch, "The generalization of Student's problem when several different population variances
/// are involved", 1947; the numbers are those of scipy's `ttest_ind(equal_var=False)`.
///
/// ```
/// use mlops_core::experiment::fixed::Welch;
/// use mlops_core::experiment::{Moments, TwoArm};
///
/// let arms = TwoArm::new(Moments::of([4.1, 3.9, 4.4, 4.0])?, Moments::of([5.0, 5.4, 4.8, 5.1])?);
/// assert!(Welch::default().compare(&arms)?.p_value < 0.01);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Welch {
    /// The error probability of the interval, within (0, 1). Default .05.
    pub alpha: f64,
    /// The side that counts. Default two-sided.
    pub alternative: Alternative,
    /// The difference to test against. Default 0.
    pub null: f64,
}

impl Default for Welch {
    fn default() -> Self {
        Self { alpha: 0.05, alternative: Alternative::TwoSided, null: 0.0 }
    }
}

impl Welch {
    /// Tests the outcomes.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range. `Data` if an arm has fewer than two rows or both are constant.
    pub fn compare<S: Outcomes>(&self, arms: &TwoArm<S>) -> Result<Answer> {
        check_alpha(self.alpha)?;
        check_finite("null", self.null)?;
        let (control, treatment) = (arms.control.moments(), arms.treatment.moments());
        let (Some(c), Some(t)) = (control.sample_variance(), treatment.sample_variance()) else {
            let (c, t) = (control.rows(), treatment.rows());
            return Err(Error::data(format!(
                "arms of {c} and {t} rows: a test of means needs two rows in each"
            )));
        };
        let (nc, nt) = (control.rows() as f64, treatment.rows() as f64);
        let (c, t) = (c / nc, t / nt);
        if c + t == 0.0 {
            return Err(Error::data("both arms are constant: a test of means needs some variance"));
        }
        // Shares, so that no square overflows.
        let (share_c, share_t) = (c / (c + t), t / (c + t));
        let degrees = 1.0 / (share_c * share_c / (nc - 1.0) + share_t * share_t / (nt - 1.0));
        let estimate = treatment.mean().unwrap_or(0.0) - control.mean().unwrap_or(0.0);
        let std_error = (c + t).sqrt();
        let statistic = (estimate - self.null) / std_error;
        let radius = student_quantile(self.alternative.tail(self.alpha), degrees) * std_error;
        Ok(Answer {
            estimate,
            interval: Interval::around(estimate, radius, self.alternative),
            statistic,
            degrees_of_freedom: Some(degrees),
            p_value: self.alternative.p_value(statistic, |t| student_upper_tail(t, degrees)),
            alpha: self.alpha,
            alternative: self.alternative,
        })
    }
}
