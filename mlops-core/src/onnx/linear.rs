//! Writes linear and logistic models.

use bytes::Bytes;

use super::proto::{GraphProto, TensorProto};
use super::{Link, ModelProto, finite_f32, model_of, node, rows_of_f32, write};
use crate::{Error, Result};

/// A linear model: `link(intercept + sum of coefficient * feature)`.
///
/// Written as `Gemm`, followed by `Sigmoid` for [`Link::Logistic`], in 32-bit floats. The input is called
/// `features`, of shape `[batch, number of coefficients]`; the output `score`, of shape `[batch, 1]`. With
/// [`Link::Logistic`] the score is the probability of the positive class.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct LinearModel {
    /// One for each feature, in order.
    pub coefficients: Vec<f64>,
    /// Added to every score.
    pub intercept: f64,
    /// How the score becomes the answer.
    pub link: Link,
}

impl LinearModel {
    /// A model with these coefficients and [`Link::Identity`].
    pub fn new(coefficients: Vec<f64>, intercept: f64) -> Self {
        Self { coefficients, intercept, link: Link::Identity }
    }

    /// Sets how the score becomes the answer.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// The model as ONNX.
    ///
    /// # Errors
    /// `Invalid` if there is no coefficient, or one is not finite as a 32-bit float.
    pub fn to_model(&self) -> Result<ModelProto> {
        let width = self.coefficients.len();
        if width == 0 {
            return Err(Error::invalid("a linear model without coefficients"));
        }
        let weights = (self.coefficients.iter().enumerate())
            .map(|(index, value)| finite_f32(*value, || format!("coefficient {index}")))
            .collect::<Result<Vec<_>>>()?;
        let bias = finite_f32(self.intercept, || "the intercept".into())?;
        let gemm = |output| node("", "Gemm", &["features", "weights", "bias"], output);
        let node = match self.link {
            Link::Identity => vec![gemm("score")],
            Link::Logistic => vec![gemm("linear"), node("", "Sigmoid", &["linear"], "score")],
        };
        Ok(model_of(GraphProto {
            name: "linear".into(),
            node,
            initializer: vec![
                TensorProto::of_f32("weights", &[width, 1], &weights)?,
                TensorProto::of_f32("bias", &[1], &[bias])?,
            ],
            input: vec![rows_of_f32("features", width)],
            output: vec![rows_of_f32("score", 1)],
            ..GraphProto::default()
        }))
    }

    /// The model as the bytes of an ONNX file.
    ///
    /// # Errors
    /// As [`to_model`](Self::to_model).
    pub fn to_bytes(&self) -> Result<Bytes> {
        Ok(write(&self.to_model()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::read;

    #[test]
    fn what_is_written_is_read() {
        let model = LinearModel::new(vec![0.5, -2.0], 0.25).link(Link::Logistic).to_model().unwrap();
        assert_eq!(read(&write(&model)).unwrap(), model);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for wrong in [f64::NAN, f64::INFINITY, 1e300] {
            let error = LinearModel::new(vec![0.5, wrong], 0.0).to_bytes().unwrap_err();
            assert!(error.to_string().starts_with("coefficient 1 is"), "{error}");
            assert!(LinearModel::new(vec![0.5], wrong).to_bytes().is_err());
        }
        assert!(LinearModel::new(vec![], 0.0).to_bytes().is_err());
    }
}
