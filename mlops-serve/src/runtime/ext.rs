//! Convenient forms of a call, for everything but the hottest path.

use super::Runtime;
use crate::tensor::{TensorBuf, TensorView};
use crate::{Error, Result};

/// Conveniences that every [`Runtime`] has.
pub trait RuntimeExt: Runtime {
    /// New buffers for the outputs, to be reused from call to call.
    fn outputs(&self) -> Vec<TensorBuf> {
        self.signature().outputs.iter().map(|spec| TensorBuf::new(spec.element)).collect()
    }

    /// Runs into new buffers.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    fn predict(&self, inputs: &[TensorView<'_>]) -> Result<Vec<TensorBuf>> {
        let mut outputs = self.outputs();
        self.run(inputs, &mut outputs)?;
        Ok(outputs)
    }

    /// Brings named inputs into the order of the signature.
    ///
    /// # Errors
    /// `Invalid` if a name is unknown, missing or given twice.
    fn order<'a>(&self, named: &[(&str, TensorView<'a>)]) -> Result<Vec<TensorView<'a>>> {
        let specs = &self.signature().inputs;
        let names = || specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
        for (index, (name, _)) in named.iter().enumerate() {
            if !specs.iter().any(|spec| spec.name == *name) {
                return Err(Error::invalid(format!("no input `{name}`: the model takes {}", names())));
            }
            if named[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::invalid(format!("input `{name}` is given twice")));
            }
        }
        let find = |name: &str| named.iter().find(|(given, _)| *given == name).map(|(_, view)| *view);
        specs
            .iter()
            .map(|spec| find(&spec.name).ok_or_else(|| Error::invalid(format!("input {spec} is missing"))))
            .collect()
    }

    /// Runs named inputs into new buffers.
    ///
    /// # Errors
    /// As [`order`](Self::order) and [`Runtime::run`].
    ///
    /// ```
    /// # use mlops_core::{ElementType, ModelSignature, TensorSpec};
    /// # use mlops_serve::runtime::{FnRuntime, RuntimeExt};
    /// # use mlops_serve::tensor::TensorView;
    /// # let spec = |name| TensorSpec::batch(name, ElementType::F32, 1);
    /// # let signature = ModelSignature { inputs: vec![spec("a"), spec("b")], outputs: vec![spec("a_minus_b")] };
    /// # let model = FnRuntime::new("difference", signature, |inputs, outputs| {
    /// #     let difference = inputs[0].values::<f32>()?[0] - inputs[1].values::<f32>()?[0];
    /// #     outputs[0].reset::<f32>([1, 1])?[0] = difference;
    /// #     Ok(())
    /// # })?;
    /// let (three, five) = ([3.0_f32], [5.0_f32]);
    /// let (three, five) = (TensorView::new(&three, [1, 1])?, TensorView::new(&five, [1, 1])?);
    /// let outputs = model.predict_named(&[("b", three), ("a", five)])?;
    /// assert_eq!(outputs[0].view().values::<f32>()?, [2.0]);
    ///
    /// let error = model.predict_named(&[("b", three), ("c", five)]).unwrap_err();
    /// assert_eq!(error.to_string(), "no input `c`: the model takes a, b");
    /// # Ok::<(), mlops_serve::Error>(())
    /// ```
    fn predict_named(&self, named: &[(&str, TensorView<'_>)]) -> Result<Vec<TensorBuf>> {
        self.predict(&self.order(named)?)
    }
}

impl<R: Runtime + ?Sized> RuntimeExt for R {}
