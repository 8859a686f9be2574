//! What the business sees: rates and revenue, with honest standard errors.
//!
//! Impressions of one user depend on each other. A rate over impressions is therefore a ratio of two sums over
//! users, and its standard error comes from the delta method over users, not from the number of impressions.

use serde::{Deserialize, Serialize};

use super::error::{in_range_at, row_after, value_at};
use super::metric::{Metric, MetricState, Metrics, Version};
use crate::experiment::VALUE_MAX;
use crate::{Error, Result};

/// The ratio of two sums over users, with the delta method's standard error. Merges up to rounding.
///
/// Value: sum(x) / sum(y). Standard error: sqrt((var x - 2 r cov + r^2 var y) / n) / mean y, with sample
/// variances over the n users. Asymptotic: for a few dozen users and above. Source: A. Deng, U. Knoblich,
/// J. Lu, "Applying the delta method in metric analytics", 2018.
///
/// ```
/// use mlops_core::evaluation::business::Ratio;
///
/// let mut clicks_per_view = Ratio::default();
/// for (clicks, views) in [(1.0, 10.0), (0.0, 4.0), (3.0, 12.0), (1.0, 14.0)] {
///     clicks_per_view.add(clicks, views)?;
/// }
/// assert_eq!(clicks_per_view.value(), Some(0.125));
/// assert!(clicks_per_view.std_error().unwrap() > 0.04);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Ratio {
    version: Version<1>,
    users: u64,
    mean: [f64; 2],
    /// Sums of squared deviations of x and of y, and of their product.
    spread: [f64; 3],
}

impl Ratio {
    /// Adds one user.
    ///
    /// # Errors
    /// `Data` if a value is not finite or above 1e90 in size.
    pub fn add(&mut self, numerator: f64, denominator: f64) -> Result<()> {
        let row = row_after(self.users);
        value_at("numerator", row, numerator)?;
        value_at("denominator", row, denominator)?;
        self.merge(&Self { version: Version, users: 1, mean: [numerator, denominator], spread: [0.0; 3] });
        Ok(())
    }

    /// Adds all users of another ratio.
    pub fn merge(&mut self, other: &Self) {
        if other.users == 0 {
            return;
        }
        let users = self.users.saturating_add(other.users);
        let share = other.users as f64 / users as f64;
        let [x, y] = [other.mean[0] - self.mean[0], other.mean[1] - self.mean[1]];
        let factor = self.users as f64 * share;
        for (spread, (more, product)) in
            self.spread.iter_mut().zip(other.spread.iter().zip([x * x, y * y, x * y]))
        {
            *spread += more + product * factor;
        }
        self.mean = [self.mean[0] + x * share, self.mean[1] + y * share];
        self.users = users;
    }

    /// The ratio; `None` if the denominators add up to 0.
    pub fn value(&self) -> Option<f64> {
        (self.mean[1] != 0.0).then(|| self.mean[0] / self.mean[1]).filter(|ratio| ratio.is_finite())
    }

    /// The standard error; `None` with fewer than two users, or beyond the range of `f64`.
    pub fn std_error(&self) -> Option<f64> {
        let ratio = self.value()?;
        let users = self.users as f64;
        let [x, y, both] = self.spread.map(|spread| spread / (users - 1.0));
        // Rounding may leave a little less than nothing; a ratio of extremes may overflow.
        let variance = x - 2.0 * ratio * both + ratio * ratio * y;
        let std_error = (if variance < 0.0 { 0.0 } else { variance } / users).sqrt() / self.mean[1].abs();
        (self.users > 1 && std_error.is_finite()).then_some(std_error)
    }

    fn metric(&self) -> Option<Metric> {
        Some(Metric::new(self.value()?).with_std_error(self.std_error()))
    }
}

/// A ratio as it was stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    version: Version<1>,
    users: u64,
    mean: [f64; 2],
    spread: [f64; 3],
}

impl TryFrom<Stored> for Ratio {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, users, mean, spread } = stored;
        let empty = users > 0 || (mean == [0.0; 2] && spread == [0.0; 3]);
        let known = mean.iter().all(|mean| mean.abs() <= VALUE_MAX) && spread.iter().all(|s| s.is_finite());
        if empty && known && spread[0] >= 0.0 && spread[1] >= 0.0 {
            return Ok(Self { version, users, mean, spread });
        }
        Err(Error::data(format!("no {users} users have means {mean:?} and deviations {spread:?}")))
    }
}

/// What one user did in the time that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UserOutcome {
    /// How often something was shown.
    pub impressions: u64,
    /// How many of these were clicked.
    pub clicks: u64,
    /// How many clicks led to a purchase.
    pub conversions: u64,
    /// What was earned, in units of money.
    pub revenue: f64,
}

/// Rates and revenue over a stream of users: `click_through_rate` (clicks / impressions), `conversion_rate`
/// (conversions / clicks), `revenue_per_user`, `revenue_per_impression`, each with its standard error.
///
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::business::{BusinessMetrics, UserOutcome};
///
/// let mut metrics = BusinessMetrics::default();
/// metrics.push(&UserOutcome { impressions: 10, clicks: 2, conversions: 1, revenue: 30.0 })?;
/// metrics.push(&UserOutcome { impressions: 6, clicks: 0, conversions: 0, revenue: 0.0 })?;
/// assert_eq!(metrics.metrics()["click_through_rate"].value, 0.125);
/// assert_eq!(metrics.metrics()["revenue_per_user"].value, 15.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BusinessMetrics {
    version: Version<1>,
    users: u64,
    click_through: Ratio,
    conversion: Ratio,
    revenue_per_user: Ratio,
    revenue_per_impression: Ratio,
}

impl MetricState for BusinessMetrics {
    type Row = UserOutcome;

    /// # Errors
    /// `Data` if there are more clicks than impressions or more conversions than clicks, or the revenue is not
    /// finite or above 1e90. Refunds may make it negative.
    fn push(&mut self, user: &UserOutcome) -> Result<()> {
        let row = row_after(self.users);
        let [impressions, clicks, conversions] =
            [user.impressions, user.clicks, user.conversions].map(|count| count as f64);
        in_range_at("clicks", row, clicks, 0.0, impressions)?;
        in_range_at("conversions", row, conversions, 0.0, clicks)?;
        value_at("revenue", row, user.revenue)?;
        self.users = self.users.saturating_add(1);
        self.click_through.add(clicks, impressions)?;
        self.conversion.add(conversions, clicks)?;
        self.revenue_per_user.add(user.revenue, 1.0)?;
        self.revenue_per_impression.add(user.revenue, impressions)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.users = self.users.saturating_add(other.users);
        self.click_through.merge(&other.click_through);
        self.conversion.merge(&other.conversion);
        self.revenue_per_user.merge(&other.revenue_per_user);
        self.revenue_per_impression.merge(&other.revenue_per_impression);
        Ok(())
    }

    /// The number of users.
    fn rows(&self) -> u64 {
        self.users
    }

    fn metrics(&self) -> Metrics {
        let all = [
            ("click_through_rate", &self.click_through),
            ("conversion_rate", &self.conversion),
            ("revenue_per_user", &self.revenue_per_user),
            ("revenue_per_impression", &self.revenue_per_impression),
        ];
        all.into_iter().filter_map(|(name, ratio)| Some((name.to_owned(), ratio.metric()?))).collect()
    }
}
