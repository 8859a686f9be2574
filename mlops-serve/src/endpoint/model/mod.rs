//! One loaded version: encoder, runtime, and which of its outputs is the score.

mod scoring;

use std::sync::{Arc, Mutex, PoisonError};

use mlops_core::features::Encoder;
use mlops_core::{ElementType, Error, ModelVersion, Result};

use super::fed::Fed;
use super::head::{Head, Score, columns_of};
use super::health::Health;
use super::inputs::Inputs;
use crate::batch::CostCurve;
use crate::post::{Calibration, Threshold};
use crate::runtime::Runtime;

/// One version of a model, loaded: raw rows in, one score a row out.
///
/// A row is encoded by the [`Encoder`] that was fitted with the model: into one matrix of floats, or into what each
/// input is fed with by its name, floats or indices (two towers, DLRM). Floats are of 32 bits (ONNX, XGBoost), of 64
/// (LightGBM's text) or of 16 (ONNX in half precision), indices of 64 or 32. Without an encoder, the inputs take the
/// cells of the row one after the other, in the order of the signature, as many as each is wide: numbers (NaN
/// where a cell is missing), whole numbers, truth values or texts, as each wants them. The score is one column of
/// one output, see [`Head`].
///
/// What does not fit into rows, a list of the best items for instance, goes through [`run`](Self::run).
///
/// ```
/// use mlops_core::{ElementType, ModelSignature, ModelVersion, TensorSpec};
/// use mlops_core::data::Value;
/// use mlops_serve::endpoint::Model;
/// use mlops_serve::runtime::FnRuntime;
///
/// let signature = ModelSignature {
///     inputs: vec![TensorSpec::batch("features", ElementType::F32, 2)],
///     outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
/// };
/// let runtime = FnRuntime::new("sum", signature, |inputs, outputs| {
///     let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
///     let rows = inputs[0].values::<f32>()?.chunks_exact(2);
///     scores.iter_mut().zip(rows).for_each(|(score, row)| *score = row[0] + row[1]);
///     Ok(())
/// })?;
/// let model = Model::new(ModelVersion::new("shop", 1), runtime)?;
/// assert_eq!(model.score(&[Value::Float(1.5), Value::Integer(2)])?, 3.5);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Debug)]
pub struct Model {
    version: ModelVersion,
    runtime: Arc<dyn Runtime>,
    encoder: Option<Fed>,
    calibration: Option<Calibration>,
    threshold: Option<Threshold>,
    inputs: Result<Inputs, String>,
    score: Result<Score, String>,
    pub(super) health: Health,
    /// Why somebody should look at what it was loaded from.
    pub(super) doubt: Option<String>,
    /// What batches of rows take that an endpoint puts together.
    pub(super) cost: Mutex<CostCurve>,
}

impl Model {
    /// This runtime as a version of a model, without an encoder.
    ///
    /// # Errors
    /// `Invalid` if two inputs or outputs of the runtime share a name.
    pub fn new(version: ModelVersion, runtime: impl Runtime) -> Result<Self> {
        Self::from_arc(version, Arc::new(runtime))
    }

    /// As [`new`](Self::new), with a runtime that is shared.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_arc(version: ModelVersion, runtime: Arc<dyn Runtime>) -> Result<Self> {
        crate::runtime::SignatureCheck::new(runtime.signature().clone())?;
        let inputs = Inputs::of(&runtime.signature().inputs);
        let score = Score::of(&runtime.signature().outputs);
        Ok(Self {
            version,
            runtime,
            encoder: None,
            calibration: None,
            threshold: None,
            inputs,
            score,
            health: Health::default(),
            doubt: None,
            cost: Mutex::default(),
        })
    }

    /// The model in the bytes of an ONNX, LightGBM (text) or XGBoost (JSON, UBJSON) file, told by its content, on our
    /// own kernels. [`Loader::auto`](super::Loader::auto) has other runtimes too.
    ///
    /// # Errors
    /// As [`NativeRuntime::from_bytes`](crate::runtime::NativeRuntime::from_bytes).
    ///
    /// ```
    /// use mlops_core::ModelVersion;
    /// use mlops_core::data::Value;
    /// use mlops_core::onnx::{LinearModel, Link};
    /// use mlops_serve::endpoint::Model;
    ///
    /// let bytes = LinearModel::new(vec![1.0, -1.0], 0.0).link(Link::Logistic).to_bytes()?;
    /// let model = Model::from_bytes(ModelVersion::new("shop", 1), &bytes)?;
    /// assert_eq!(model.score(&[Value::Float(2.0), Value::Integer(2)])?, 0.5);
    /// # Ok::<(), mlops_serve::Error>(())
    /// ```
    #[cfg(feature = "native")]
    pub fn from_bytes(version: ModelVersion, bytes: &bytes::Bytes) -> Result<Self> {
        Self::new(version, crate::runtime::NativeRuntime::from_bytes(bytes)?)
    }

    /// As [`from_bytes`](Self::from_bytes), of a file on a local disk. Weights in files beside it are refused: a
    /// [`Loader`](super::Loader) reads those of a package.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and `NotFound` or `Unavailable` if the file cannot be read.
    #[cfg(feature = "native")]
    pub fn from_file(version: ModelVersion, path: impl Into<std::path::PathBuf>) -> Result<Self> {
        Self::from_bytes(version, &mlops_core::ModelFile::Path(path.into()).read()?)
    }

    /// Learns what so many rows took.
    pub(super) fn observe(&self, rows: usize, ns: u64) {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner).observe(rows, ns);
    }

    /// The same model, with another runtime that computes the same.
    pub(super) fn computed_by(&self, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            version: self.version.clone(),
            runtime,
            encoder: self.encoder.clone(),
            calibration: self.calibration.clone(),
            threshold: self.threshold,
            inputs: self.inputs.clone(),
            score: self.score.clone(),
            health: Health::default(),
            doubt: self.doubt.clone(),
            cost: Mutex::default(),
        }
    }

    /// Sets the encoder of the rows.
    ///
    /// # Errors
    /// `Invalid` if an input and what the encoder makes for it differ in name, width or type; `Unsupported` if the
    /// encoder makes one matrix for a model of several inputs, or the model takes no rows.
    pub fn with_encoder(mut self, encoder: Encoder) -> Result<Self> {
        let named = |error: Error| Error::new(error.kind(), format!("{}: {error}", self.version));
        let fed = Fed::new(encoder, self.inputs()?).map_err(named)?;
        self.encoder = Some(fed);
        Ok(self)
    }

    /// Sets which output is the score.
    ///
    /// # Errors
    /// `Invalid` if there is no such output or column, or it holds no numbers.
    pub fn with_head(mut self, head: &Head) -> Result<Self> {
        let Head { output: name, column } = head;
        let specs = &self.runtime.signature().outputs;
        let Some(output) = specs.iter().position(|spec| spec.name == *name) else {
            let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(Error::invalid(format!("no output `{name}`: the model gives {}", names.join(", "))));
        };
        if specs[output].element == ElementType::Text {
            return Err(Error::invalid(format!("output `{name}` holds texts, a score is a number")));
        }
        let spec = &specs[output];
        if let Some(columns) = columns_of(spec).filter(|columns| column >= columns) {
            return Err(Error::invalid(format!(
                "the head names column {column}, output {spec} has {columns}, counted from 0"
            )));
        }
        self.score = Ok(Score { output, column: Some(*column) });
        Ok(self)
    }

    /// Sets the calibration through which every score goes.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    /// Sets the score from which on an endpoint's [`Answer`](super::Answer) says yes, after the calibration.
    ///
    /// # Errors
    /// `Invalid` if the scores are calibrated, so that they are probabilities, and it is none.
    pub fn with_threshold(mut self, threshold: Threshold) -> Result<Self> {
        if self.calibration.is_some() && !(0.0..=1.0).contains(&threshold.score()) {
            return Err(Error::invalid(format!(
                "{} is calibrated, its threshold {} is no probability: want 0 to 1",
                self.version,
                threshold.score()
            )));
        }
        self.threshold = Some(threshold);
        Ok(self)
    }

    /// Which version it is.
    pub fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// What computes.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The encoder of the rows, if there is one.
    pub fn encoder(&self) -> Option<&Encoder> {
        self.encoder.as_ref().map(Fed::encoder)
    }

    /// What every score goes through, if anything.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// The score from which on it says yes, if it decides.
    pub fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// Bytes of memory that the runtime holds.
    pub fn memory_usage(&self) -> usize {
        self.runtime.memory_usage()
    }

    /// How many cells a row has, after the encoder if there is one.
    ///
    /// # Errors
    /// `Unsupported` if the inputs of the model cannot be filled by rows.
    pub fn row_width(&self) -> Result<usize> {
        self.inputs().map(Inputs::width)
    }

    /// How many cells a row has that callers send; none if rows cannot fill the inputs.
    pub(super) fn cells(&self) -> Option<usize> {
        match &self.encoder {
            Some(fed) => Some(fed.encoder().inputs().len()),
            None => self.row_width().ok(),
        }
    }

    fn inputs(&self) -> Result<&Inputs> {
        self.inputs.as_ref().map_err(|reason| self.unsupported(reason))
    }

    #[cold]
    fn unsupported(&self, reason: &str) -> Error {
        Error::unsupported(format!("{} cannot score rows: {reason}; call `run`", self.version))
    }
}
