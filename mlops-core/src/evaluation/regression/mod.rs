//! Numbers predicted against numbers that came true.
//!
//! [`RegressionMetrics`] streams and merges; [`Predicted`] checks a batch and adds what needs all rows at once:
//! medians, quantiles of the residuals, D2. Conventions are those of scikit-learn 1.9. A residual is truth minus
//! prediction.

mod batch;
mod metrics;

pub use batch::{Predicted, Residuals};
pub use metrics::{RegressionMetrics, RegressionRow};
