//! ONNX graphs in pure Rust, by tract.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use mlops_core::onnx::proto::data_type;
use mlops_core::onnx::{ModelProto, signature};
use mlops_core::{Dimension, ElementType, ModelSignature, TensorSpec};
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, TValue, TVec, Tensor, ToDim,
    TypedRunnableModel, tvec,
};

use super::{Capabilities, Runtime, SignatureCheck};
use crate::batch::Call;
use crate::endpoint::isolate;
use crate::tensor::{Element, TensorBuf, TensorData, TensorView};
use crate::{Error, Result};

/// A model that tract computes: networks and linear models that [`NativeRuntime`](super::NativeRuntime) does
/// not know, without a library to load.
///
/// Models quantised to 8 bits run, with the same bits as ONNX Runtime where we looked. Most in half precision do not: they
/// are refused.
///
/// It took 0.8 to 3.7 times as long as ONNX Runtime for small networks. Trees took hundreds of times as long,
/// and texts as inputs are not covered: both are refused, with what to use instead. Each call allocates.
///
/// ```
/// use mlops_core::onnx::{LinearModel, Link};
/// use mlops_serve::runtime::{Runtime, RuntimeExt, TractRuntime};
/// use mlops_serve::tensor::TensorView;
///
/// let model = LinearModel::new(vec![0.5, -1.0], 0.25).link(Link::Logistic).to_bytes()?;
/// let model = TractRuntime::from_onnx(&model)?;
/// let scores = model.predict(&[TensorView::new(&[2.0_f32, 1.25], [1, 2])?])?;
/// assert_eq!(scores[0].view().values::<f32>()?, [0.5]);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
pub struct TractRuntime {
    check: SignatureCheck,
    plan: Arc<TypedRunnableModel>,
    capabilities: Capabilities,
    memory_usage: usize,
}

impl TractRuntime {
    /// Loads a model from the bytes of an ONNX file.
    ///
    /// # Errors
    /// `Data` if the bytes are no ONNX model, `Unsupported` if tract does not know the model's operations, or
    /// is bad at them.
    pub fn from_onnx(bytes: &Bytes) -> Result<Self> {
        let model = mlops_core::onnx::read(bytes)?;
        refuse_trees(&model)?;
        let declared = signature(&model)?;
        let constants = || model.graph.iter().flat_map(|graph| &graph.initializer);
        let what = match constants().any(|tensor| tensor.data_type == data_type::FLOAT16) {
            true => "tract cannot load the model, which is in half precision",
            false => "tract cannot load the model",
        };
        // It indexes into what a file says in places.
        let mut loaded =
            isolate("tract", || Self::compile(bytes, declared)).map_err(|error| error.context(what))?;
        if super::scales_by_batch(bytes) {
            loaded = loaded.whole_batches();
        }
        Ok(loaded)
    }

    /// Declares that rows must stay in the call that they came in.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.capabilities = self.capabilities.whole_batches();
        self
    }

    fn compile(bytes: &Bytes, mut declared: ModelSignature) -> Result<Self> {
        let unknown = |error: tract_onnx::prelude::TractError| {
            Error::unsupported(format!("{error:#}: load the model with `ort`"))
        };
        // The shapes of outputs that exporters declare are hints.
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_output_types(true);
        let mut model = onnx.model_for_read(&mut &bytes[..]).map_err(unknown)?;
        for (index, spec) in declared.inputs.iter().enumerate() {
            let axis = |axis: &Dimension| match axis {
                Dimension::Fixed(length) => length.to_dim(),
                Dimension::Symbol(symbol) => model.symbols.sym(symbol).to_dim(),
            };
            let shape: TVec<_> = spec.shape.iter().map(axis).collect();
            model
                .set_input_fact(index, InferenceFact::dt_shape(datum_type(spec)?, shape))
                .map_err(unknown)?;
        }
        let model = model.into_optimized().map_err(unknown)?;
        for (index, spec) in declared.outputs.iter_mut().enumerate() {
            let fact = model.output_fact(index).map_err(unknown)?;
            spec.element = element(fact.datum_type).ok_or_else(|| {
                Error::unsupported(format!("output `{}` of type {:?}", spec.name, fact.datum_type))
            })?;
            let axis = |dim: &tract_onnx::prelude::TDim| match dim.as_i64().map(usize::try_from) {
                Some(Ok(length)) => Dimension::Fixed(length),
                _ => Dimension::Symbol(dim.to_string()),
            };
            spec.shape = fact.shape.iter().map(axis).collect();
        }
        Ok(Self {
            check: SignatureCheck::new(declared)?,
            plan: model.into_runnable().map_err(unknown)?,
            capabilities: Capabilities::row_function(),
            memory_usage: bytes.len(),
        })
    }

    fn compute(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        let failed = |error: tract_onnx::prelude::TractError| {
            Error::data(format!("tract cannot run the model on these inputs: {error:#}"))
        };
        let mut values: TVec<TValue> = tvec![];
        for view in inputs {
            values.push(tensor(view).map_err(failed)?.into());
        }
        let given = self.plan.run(values).map_err(failed)?;
        for (value, buffer) in given.iter().zip(outputs) {
            match element(value.datum_type()) {
                Some(ElementType::F16) => copy::<f16>(value, buffer)?,
                Some(ElementType::F32) => copy::<f32>(value, buffer)?,
                Some(ElementType::F64) => copy::<f64>(value, buffer)?,
                Some(ElementType::I32) => copy::<i32>(value, buffer)?,
                Some(ElementType::I64) => copy::<i64>(value, buffer)?,
                Some(ElementType::Bool) => copy::<bool>(value, buffer)?,
                _ => return Err(Error::data(format!("tract gave {value:?}"))),
            }
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for TractRuntime {
    fn engine(&self) -> &str {
        "tract"
    }

    fn signature(&self) -> &ModelSignature {
        self.check.signature()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn memory_usage(&self) -> usize {
        self.memory_usage
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.check.inputs(inputs)?;
        self.check.buffers(outputs)?;
        isolate("tract", || self.compute(inputs, outputs))
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], _: Call<'_>) -> Result<()> {
        self.run(inputs, outputs)
    }
}

impl fmt::Debug for TractRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TractRuntime")
            .field("signature", self.check.signature())
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

fn refuse_trees(model: &ModelProto) -> Result<()> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let mut trees = nodes.filter(|node| node.op_type.starts_with("TreeEnsemble"));
    trees.next().map_or(Ok(()), |node| {
        Err(Error::unsupported(format!(
            "tract takes hundreds of times as long as others for {}: load the model with `NativeRuntime` or `ort`",
            node.op_type
        )))
    })
}

fn datum_type(spec: &TensorSpec) -> Result<DatumType> {
    Ok(match spec.element {
        ElementType::F16 => DatumType::F16,
        ElementType::F32 => DatumType::F32,
        ElementType::F64 => DatumType::F64,
        ElementType::I32 => DatumType::I32,
        ElementType::I64 => DatumType::I64,
        ElementType::Bool => DatumType::Bool,
        _ => {
            return Err(Error::unsupported(format!(
                "tract does not take the texts of input `{}`: load the model with `NativeRuntime` or `ort`",
                spec.name
            )));
        }
    })
}

fn element(datum_type: DatumType) -> Option<ElementType> {
    Some(match datum_type {
        DatumType::F16 => ElementType::F16,
        DatumType::F32 => ElementType::F32,
        DatumType::F64 => ElementType::F64,
        DatumType::I32 => ElementType::I32,
        DatumType::I64 => ElementType::I64,
        DatumType::Bool => ElementType::Bool,
        _ => return None,
    })
}

fn tensor(view: &TensorView<'_>) -> tract_onnx::prelude::TractResult<Tensor> {
    let shape: &[usize] = view.shape();
    match view.data() {
        TensorData::F16(values) => Tensor::from_shape(shape, values),
        TensorData::F32(values) => Tensor::from_shape(shape, values),
        TensorData::F64(values) => Tensor::from_shape(shape, values),
        TensorData::I32(values) => Tensor::from_shape(shape, values),
        TensorData::I64(values) => Tensor::from_shape(shape, values),
        TensorData::Bool(values) => Tensor::from_shape(shape, values),
        // Refused when the model was loaded.
        TensorData::Text(_) => Err(tract_onnx::prelude::TractError::msg("texts")),
    }
}

fn copy<T: Element + tract_onnx::prelude::Datum>(value: &Tensor, buffer: &mut TensorBuf) -> Result<()> {
    let plain = value.try_as_plain_ram().and_then(|plain| plain.as_slice::<T>());
    let values = plain.map_err(|error| Error::data(format!("tract gave an output in pieces: {error:#}")))?;
    buffer.reset::<T>(value.shape())?.copy_from_slice(values);
    Ok(())
}
