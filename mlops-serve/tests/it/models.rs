//! Small models that behave as told.

use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::{ElementType, ModelSignature, ModelVersion, RequestId, TensorSpec};
use mlops_serve::endpoint::Model;
use mlops_serve::runtime::FnRuntime;

pub(crate) fn signature() -> ModelSignature {
    ModelSignature {
        inputs: vec![TensorSpec::batch("features", ElementType::F32, 1)],
        outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
    }
}

/// A version that answers each row with `f` of its only feature.
pub(crate) fn function(version: u64, f: impl Fn(f32) -> f32 + Send + Sync + 'static) -> FnRuntime {
    FnRuntime::new(format!("f{version}"), signature(), move |inputs, outputs| {
        let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
        let features = inputs[0].values::<f32>()?;
        scores.iter_mut().zip(features).for_each(|(score, feature)| *score = f(*feature));
        Ok(())
    })
    .unwrap()
}

pub(crate) fn model(version: u64, f: impl Fn(f32) -> f32 + Send + Sync + 'static) -> Arc<Model> {
    Arc::new(Model::new(ModelVersion::new("shop", version), function(version, f)).unwrap())
}

pub(crate) fn id(number: u32) -> RequestId {
    RequestId::from_key(number.to_le_bytes())
}

pub(crate) fn row() -> [Value<'static>; 1] {
    [Value::Float(1.0)]
}
