//! How sure is a metric?
//!
//! | for | use |
//! |---|---|
//! | a share of rows | [`proportion_interval`]: Wilson's by default |
//! | the area under the ROC curve | [`Curve::roc_auc_std_error`](super::binary::Curve::roc_auc_std_error), by DeLong |
//! | any statistic of rows at hand | [`Bootstrap`]: percentile, basic, BCa |
//! | any metric of a stream, over shards | [`PoissonBootstrap`]: merges, and gives the same answer for any sharding |
//!
//! All are for one look at a fixed number of rows. For looking again and again see
//! [`experiment`](crate::experiment).

mod bootstrap;
mod poisson;
mod proportion;

pub use bootstrap::{Bootstrap, BootstrapMethod};
pub use poisson::PoissonBootstrap;
pub use proportion::{ProportionMethod, proportion_interval};

use super::error::MetricError;
use crate::experiment::special::normal_quantile;

/// Checks a two-sided confidence.
pub(super) fn confidence_in_range(confidence: f64) -> Result<(), MetricError> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    Err(MetricError::Setting { what: "confidence", value: confidence, want: "above 0 and below 1" })
}

/// How many standard errors a two-sided interval of this confidence reaches to each side.
pub(super) fn normal_reach(confidence: f64) -> f64 {
    normal_quantile(0.5 - confidence / 2.0)
}
