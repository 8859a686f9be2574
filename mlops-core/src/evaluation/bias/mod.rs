//! Does the data or the model treat groups differently?
//!
//! One pass over the rows fills a [`Contingency`] of facet, group, label and prediction; every metric is read
//! off its counts. [`Contingency::bias`] gives SageMaker Clarify's pre- and post-training metrics for one facet
//! against all others, [`Contingency::gaps`] fairlearn's gaps over all facets. [`flip_test`] needs the features
//! too and stands alone.
//!
//! Words: a *facet* is a value of the sensitive feature. *d* is the facet that may be disadvantaged, *a* all
//! other rows. A *group* is a value of a further feature that the conditional metrics (CDDL, CDDPL) hold fixed.
//! The *positive* label is the wanted outcome.

mod clarify;
mod contingency;
mod flip;
mod gaps;

pub use clarify::{Bias, LabelDivergence, label_divergence};
pub use contingency::{BiasRow, Contingency};
pub use flip::flip_test;
pub use gaps::{Gap, Gaps};
