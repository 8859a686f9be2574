//! Logistic regression by `smartcore`.

use mlops_core::onnx::{LinearModel, Link};
use mlops_core::{Error, Result};
use ndarray::Array2;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

/// Fits a line in the log-odds to truth values (0 or 1) with an L2 penalty of `alpha`.
///
/// Wants features of like scale, without NaN.
///
/// # Errors
/// `Data` if the rows and labels do not fit together, have one class only, or hold a NaN.
pub fn train_logistic_regression(features: &Array2<f32>, labels: &[f64], alpha: f64) -> Result<LinearModel> {
    super::check(features, labels)?;
    if let Some(((row, column), value)) = features.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::data(format!(
            "feature {column} of row {row} is {value}: logistic regression wants finite numbers, so fill \
             missing cells when encoding"
        )));
    }
    let fail = |error| Error::data("the logistic regression cannot be trained").with_source(error);
    let cells: Vec<f64> = features.iter().map(|value| f64::from(*value)).collect();
    let matrix = DenseMatrix::new(features.nrows(), features.ncols(), cells, false).map_err(fail)?;
    let classes: Vec<u32> = labels.iter().map(|label| u32::from(*label > 0.5)).collect();
    let parameters = LogisticRegressionParameters::default().with_alpha(alpha);
    let model = LogisticRegression::fit(&matrix, &classes, parameters).map_err(fail)?;
    let coefficients = model.coefficients().iterator(0).copied().collect();
    Ok(LinearModel::new(coefficients, *model.intercept().get((0, 0))).link(Link::Logistic))
}
