//! Learners of other crates, and the ONNX that their models become.

mod boosting;
mod logistic;

use mlops_core::{Error, Result};
use ndarray::Array2;

pub use boosting::{BoostingSettings, train_boosted_trees};
pub use logistic::train_logistic_regression;

fn check(features: &Array2<f32>, labels: &[f64]) -> Result<()> {
    if features.nrows() != labels.len() {
        let rows = features.nrows();
        return Err(Error::data(format!("{rows} rows of features, {} labels", labels.len())));
    }
    let positives = labels.iter().filter(|label| **label == 1.0).count();
    if labels.iter().any(|label| *label != 0.0 && *label != 1.0) {
        return Err(Error::data("a label is neither 0 nor 1"));
    }
    if positives == 0 || positives == labels.len() {
        return Err(Error::data(format!(
            "all {} labels are of one class: a classifier needs both",
            labels.len()
        )));
    }
    Ok(())
}
