//! Models made of models: weighted ensembles and chains. Both are runtimes themselves, so they nest, are
//! batched, isolated and deployed like any other.
//!
//! ```
//! # use mlops_core::{ElementType, ModelSignature, TensorSpec};
//! # use mlops_serve::runtime::FnRuntime;
//! # fn model(factor: f32) -> mlops_serve::Result<FnRuntime> {
//! #     let signature = ModelSignature {
//! #         inputs: vec![TensorSpec::batch("x", ElementType::F32, 1)],
//! #         outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
//! #     };
//! #     FnRuntime::new("times", signature, move |inputs, outputs| {
//! #         let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
//! #         scores.iter_mut().zip(inputs[0].values::<f32>()?).for_each(|(score, x)| *score = factor * x);
//! #         Ok(())
//! #     })
//! # }
//! use mlops_serve::compose::{Chain, Ensemble};
//! use mlops_serve::runtime::{Runtime, RuntimeExt};
//! use mlops_serve::tensor::TensorView;
//!
//! // A quarter of the one and three quarters of the other, then doubled.
//! let members: Vec<(Box<dyn Runtime>, f64)> = vec![(Box::new(model(1.0)?), 1.0), (Box::new(model(5.0)?), 3.0)];
//! let blend = Ensemble::new(members)?;
//! let doubled = Chain::new(vec![Box::new(blend), Box::new(model(2.0)?)])?;
//! let outputs = doubled.predict(&[TensorView::new(&[1.0_f32], [1, 1])?])?;
//! assert_eq!(outputs[0].view().values::<f32>()?, [8.0]);
//! # Ok::<(), mlops_serve::Error>(())
//! ```

mod chain;
mod ensemble;

pub use chain::Chain;
pub use ensemble::Ensemble;

use std::num::NonZeroUsize;

use crate::runtime::{Capabilities, Runtime};

/// What a composition can do: what all its members can.
fn common<'a>(members: impl Iterator<Item = &'a dyn Runtime>) -> Capabilities {
    let (mut independent, mut calls): (bool, Option<NonZeroUsize>) = (true, None);
    for capabilities in members.map(Runtime::capabilities) {
        independent &= capabilities.rows_independent;
        calls = match (calls, capabilities.parallel_calls) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let mut common = Capabilities::row_function();
    common.parallel_calls = calls;
    if independent { common } else { common.whole_batches() }
}
