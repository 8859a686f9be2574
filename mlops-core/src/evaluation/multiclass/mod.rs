//! More than two classes: decisions in a matrix, probabilities row by row.
//!
//! Classes are numbers from 0. Conventions are those of scikit-learn 1.9: averages run over the classes that
//! occur as a label or a prediction, and a share whose denominator is zero counts 0.

mod matrix;
mod metrics;
mod scored;

pub use matrix::{Average, ConfusionMatrix, PrecisionRecall};
pub use metrics::{MulticlassMetrics, MulticlassRow};
pub use scored::ScoredClasses;
