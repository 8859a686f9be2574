//! Differences of any loss or score, row by row.

use serde::{Deserialize, Serialize};

use super::PairedTest;
use crate::Result;
use crate::evaluation::error::{row_after, value_at};
use crate::evaluation::interval::confidence_in_range;
use crate::evaluation::{Interval, Mean, Metric};
use crate::experiment::special::{student_quantile, student_upper_tail};

/// The mean of the differences of any loss or score, row by row. Merges up to rounding.
///
/// ```
/// use mlops_core::evaluation::paired::PairedMean;
///
/// let mut paired = PairedMean::default();
/// for (candidate, champion) in [(0.9, 0.8), (0.7, 0.65), (0.8, 0.72), (0.6, 0.61)] {
///     paired.add(candidate, champion)?;
/// }
/// let test = paired.t_test().unwrap();
/// assert!((test.difference - 0.055).abs() < 1e-12 && test.p_value > 0.05);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairedMean {
    differences: Mean,
}

impl PairedMean {
    /// Adds the values of both models on one row.
    ///
    /// # Errors
    /// `Data` if the difference is not finite or above 1e90 in size.
    pub fn add(&mut self, candidate: f64, champion: f64) -> Result<()> {
        value_at("difference", row_after(self.differences.weight() as u64), candidate - champion)?;
        self.differences.add(candidate - champion, 1.0);
        Ok(())
    }

    /// Adds all rows of another state.
    pub fn merge(&mut self, other: &Self) {
        self.differences.merge(&other.differences);
    }

    /// The mean difference with its standard error; `None` without rows.
    pub fn metric(&self) -> Option<Metric> {
        Some(Metric::new(self.differences.value()?).with_std_error(self.differences.std_error()))
    }

    /// Student's paired t-test. `None` with fewer than two rows; differences that are all equal give p = 1 if
    /// they are 0, else 0.
    pub fn t_test(&self) -> Option<PairedTest> {
        let (difference, std_error) = (self.differences.value()?, self.differences.std_error()?);
        let freedom = self.differences.weight() - 1.0;
        let p_value = if std_error > 0.0 {
            (2.0 * student_upper_tail((difference / std_error).abs(), freedom)).min(1.0)
        } else {
            f64::from(u8::from(difference == 0.0))
        };
        Some(PairedTest { difference, std_error, p_value })
    }

    /// The interval of the mean difference by Student's t; `None` with fewer than two rows or if the
    /// confidence is not above 0 and below 1.
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        confidence_in_range(confidence).ok()?;
        let test = self.t_test()?;
        let quantile = student_quantile(0.5 - confidence / 2.0, self.differences.weight() - 1.0);
        let reach = quantile * test.std_error;
        Interval::new(test.difference - reach, test.difference + reach).ok()
    }
}
