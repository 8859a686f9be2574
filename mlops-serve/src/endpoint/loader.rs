//! From a package to a model that may answer: verify, build, check, warm up.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use mlops_core::features::Encoder;
use mlops_core::{
    Dimension, ElementType, Error, ErrorKind, ModelPackage, ModelSignature, Result, TensorSpec,
};

use super::{Golden, Head, Model, Precision};
use crate::post::{Calibration, Threshold};
use crate::runtime::{Runtime, RuntimeExt};
use crate::tensor::{TensorBuf, TensorView};

/// Makes models of packages.
///
/// [`auto`](Self::auto) knows ONNX, LightGBM and XGBoost; [`new`](Self::new) takes a function for anything else.
/// [`load`](Self::load) checks the digest of every file of the package, whatever its size, builds the runtime, adds the
/// encoder ([`ENCODER_FILE`](Self::ENCODER_FILE)), the head ([`HEAD_FILE`](Self::HEAD_FILE)), the
/// calibration ([`CALIBRATION_FILE`](Self::CALIBRATION_FILE)) and the threshold
/// ([`THRESHOLD_FILE`](Self::THRESHOLD_FILE)) if the package has them, warms up, and scores the golden
/// rows ([`Golden::FILE`]). What fails on the way never reaches a caller.
///
/// ```
/// use mlops_serve::endpoint::Loader;
/// use mlops_serve::runtime::FnRuntime;
/// # fn parse(_: &[u8]) -> mlops_serve::Result<FnRuntime> { Err(mlops_serve::Error::data("")) }
///
/// let loader = Loader::new(|package| {
///     let model = parse(&package.read("model.bin")?)?;
///     Ok(Box::new(model))
/// });
/// ```
#[derive(Clone)]
pub struct Loader {
    build: Arc<Build>,
    /// None twice.
    precisions: Vec<Precision>,
    wraps: Vec<Arc<Wrap>>,
    scores: bool,
    /// Whether what is built may have read files past their digests: then all are checked before.
    verifies_first: bool,
}

/// A package while it is loaded.
pub(super) struct Reading<'a> {
    pub(super) package: &'a ModelPackage,
    /// The files that were read and checked.
    read: RefCell<BTreeSet<String>>,
}

impl Reading<'_> {
    pub(super) fn read(&self, name: &str) -> Result<Bytes> {
        let bytes = self.package.read(name)?;
        self.read.borrow_mut().insert(name.to_owned());
        Ok(bytes)
    }

    /// Checks the files that were not read.
    fn verify(&self) -> Result<()> {
        let read = self.read.borrow();
        let unread = self.package.files.keys().filter(|name| !read.contains(*name));
        unread.into_iter().try_for_each(|name| self.package.verify(name))
    }
}

type Wrap = dyn Fn(Box<dyn Runtime>) -> Result<Box<dyn Runtime>> + Send + Sync;
type Build = dyn Fn(&Reading<'_>, &[Precision]) -> Result<Built> + Send + Sync;

/// What a package was built into.
pub(super) struct Built {
    pub(super) runtime: Box<dyn Runtime>,
    /// Why somebody should look at the package, although it answers.
    pub(super) doubt: Option<String>,
}

impl From<Box<dyn Runtime>> for Built {
    fn from(runtime: Box<dyn Runtime>) -> Self {
        Self { runtime, doubt: None }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

/// Calls of each size before a model is ready: engines allocate and compile in their first ones.
const WARM_UP_CALLS: usize = 3;
const WARM_UP_ROWS: [usize; 3] = [1, 8, 64];

impl Loader {
    /// The name of the file in a package that holds the encoder, as [`Encoder::to_json`] writes it. The model
    /// takes its columns in the order of [`Encoder::output_names`], each of several inputs those of its name in
    /// [`Encoder::feeds`].
    pub const ENCODER_FILE: &str = "encoder.json";
    /// The name of the file in a package that holds the [`Head`] as JSON.
    pub const HEAD_FILE: &str = "head.json";
    /// The name of the file in a package that holds the [`Calibration`] as JSON: what
    /// [`mlops_core::evaluation::calibration`] fitted.
    pub const CALIBRATION_FILE: &str = "calibration.json";
    /// The name of the file in a package that holds the [`Threshold`] as JSON, a number: the calibrated score from
    /// which on an [`Answer`](super::Answer) says yes. Each version brings its own, so a challenger may decide
    /// otherwise than the champion.
    pub const THRESHOLD_FILE: &str = "threshold.json";

    /// A loader that builds runtimes with this function.
    pub fn new(build: impl Fn(&ModelPackage) -> Result<Box<dyn Runtime>> + Send + Sync + 'static) -> Self {
        let loader = Self::of_formats(move |reading, precisions| match precisions {
            [Precision::Full] => build(reading.package).map(Built::from),
            _ => Err(Error::invalid(
                "precisions are for `Loader::auto`: the function of this loader reads the files that it wants",
            )),
        });
        Self { verifies_first: true, ..loader }
    }

    pub(super) fn of_formats(
        build: impl Fn(&Reading<'_>, &[Precision]) -> Result<Built> + Send + Sync + 'static,
    ) -> Self {
        Self {
            build: Arc::new(build),
            precisions: vec![Precision::Full],
            wraps: Vec::new(),
            scores: true,
            verifies_first: false,
        }
    }

    /// Takes the model in one of these precisions, for the loaders of [`auto`](Self::auto). By default
    /// [`Full`](Precision::Full) alone, whatever else the package has: a faster answer that differs is the
    /// caller's choice.
    ///
    /// With one precision, the package must have that file, and the golden rows check it as they check any. With
    /// several, the files that the package has are tried in all engines. Those that give the golden rows' scores
    /// within their tolerance are measured, and the fastest is taken for each batch size, the full one unless another is
    /// faster by a tenth. Where the full one is not among them, an endpoint tells of it when it deploys the model
    /// ([`with_events`](super::Endpoint::with_events)). A package without golden rows is refused. Files with 16-bit inputs (without `keep_io_types=True`) work alone: engines to be
    /// chosen from take the same tensors. [`Model::runtime`] says by `{:?}` what was chosen, what was left
    /// out, and why.
    ///
    /// ```
    /// use mlops_core::SystemClock;
    /// use mlops_serve::endpoint::{Loader, Precision};
    ///
    /// // `model.int8.onnx` of the package, and nothing else.
    /// let quantised = Loader::auto(SystemClock::new()).precisions([Precision::Int8]);
    /// // The fastest that the golden rows let through.
    /// let fastest = Loader::auto(SystemClock::new()).precisions([Precision::Full, Precision::Int8]);
    /// ```
    #[must_use]
    pub fn precisions(mut self, precisions: impl IntoIterator<Item = Precision>) -> Self {
        self.precisions.clear();
        for precision in precisions {
            if !self.precisions.contains(&precision) {
                self.precisions.push(precision);
            }
        }
        self
    }

    /// Puts another runtime around each that is built, before it is checked and warmed up: a
    /// [`BatchRuntime`](crate::batch::BatchRuntime) for concurrent callers, an
    /// [`IsolatedRuntime`](crate::isolation::IsolatedRuntime) against models that hang. A loader has these for
    /// whoever uses it, a [`Follower`](super::Follower) and a [`ModelCache`](super::ModelCache) too. Called twice, the
    /// second goes around the first: put batching around time limits, since deadlines and cancellation of calls end at
    /// what computes on other threads. Of the calls that warm a model up, all but the last of a size may be too slow.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mlops_core::SystemClock;
    /// use mlops_serve::batch::{BatchRuntime, BatchSettings};
    /// use mlops_serve::endpoint::Loader;
    /// use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
    ///
    /// // One clock for all, which endpoint and callers share: deadlines are told by it.
    /// let clock = SystemClock::new();
    /// let loader = Loader::auto(clock)
    ///     // A call that hangs costs its caller 50 ms, and the process a thread.
    ///     .wrap(|model| {
    ///         let settings = IsolationSettings::default().time_limit(Duration::from_millis(50));
    ///         Ok(Box::new(IsolatedRuntime::new(model, settings)?))
    ///     })
    ///     // Concurrent callers share a batch, where the model's rows do not depend on each other.
    ///     .wrap(move |model| match model.capabilities().rows_independent {
    ///         true => Ok(Box::new(BatchRuntime::new(model, BatchSettings::default(), clock)?)),
    ///         false => Ok(model),
    ///     });
    /// # drop(loader);
    /// ```
    #[must_use]
    pub fn wrap(
        mut self,
        wrap: impl Fn(Box<dyn Runtime>) -> Result<Box<dyn Runtime>> + Send + Sync + 'static,
    ) -> Self {
        self.wraps.push(Arc::new(wrap));
        self
    }

    /// Asks for no score: for models whose answers are read by [`Model::run`](super::Model::run), a list of
    /// the best items for instance.
    #[must_use]
    pub fn without_score(mut self) -> Self {
        self.scores = false;
        self
    }

    /// The model of a package, ready to answer. Reads files and computes: not for the request path.
    ///
    /// # Errors
    /// `Data` if a file is damaged, or golden rows score otherwise; `Invalid` if encoder, head and model do
    /// not fit, if the package has a signature that is not the runtime's, or if a row of zeros has no clear
    /// score ([`without_score`](Self::without_score)) or fails with `Data` while no golden row shows that
    /// others do not. A model may refuse zeros (`Invalid`) or answer them with NaN. And what the runtime gives. A
    /// panic of the runtime is an error too, after the process's panic hook has printed it.
    pub fn load(&self, package: &ModelPackage) -> Result<Arc<Model>> {
        #[cfg(feature = "telemetry")]
        let _span = tracing::info_span!("model_load", version = %package.id).entered();
        let load = || self.load_unguarded(package);
        let loaded = super::isolate(&package.id, load).map(Arc::new).map_err(|error| {
            // The cause in the message itself: a service that logs no more than that is told what to do.
            Error::new(error.kind(), format!("{} cannot be loaded: {error:#}", package.id))
        });
        #[cfg(feature = "telemetry")]
        crate::telemetry::count_load(&package.id.name, loaded.is_ok());
        loaded
    }

    fn load_unguarded(&self, package: &ModelPackage) -> Result<Model> {
        if self.precisions.is_empty() {
            return Err(Error::invalid("`Loader::precisions` names none: want one at least"));
        }
        let reading = Reading { package, read: RefCell::default() };
        if self.verifies_first {
            stage("verify", || reading.verify())?;
        }
        let build = || {
            let Built { runtime, doubt } = (self.build)(&reading, &self.precisions)?;
            let runtime = self.wraps.iter().try_fold(runtime, |runtime, wrap| wrap(runtime))?;
            let mut model = dressed(package, runtime.into())?;
            model.doubt = doubt;
            Ok(model)
        };
        let model = stage("build", build)?;
        if !self.verifies_first {
            // Large files are read once.
            stage("verify", || reading.verify())?;
        }
        let golden = Golden::of(package)?;
        stage("warm_up", || self.warm_up(&model, golden.is_some())).map_err(settled)?;
        if let Some(golden) = &golden {
            stage("golden", || golden.check(&model)).map_err(settled)?;
        }
        Ok(model)
    }

    pub(super) fn encoder_of(package: &ModelPackage) -> Result<Option<Encoder>> {
        match package.files.contains_key(Self::ENCODER_FILE) {
            true => Encoder::from_json(&package.read(Self::ENCODER_FILE)?).map(Some),
            false => Ok(None),
        }
    }

    /// Runs zeros and empty texts, one row and some: engines prepare for each shape that they see. A model may
    /// refuse them; golden rows decide.
    fn warm_up(&self, model: &Model, is_proved: bool) -> Result<()> {
        let runtime = model.runtime();
        let mut outputs = runtime.outputs();
        for rows in WARM_UP_ROWS {
            let inputs = zeros(runtime.signature(), rows)?;
            let views: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
            let rows = views.first().map_or(1, TensorView::rows);
            for call in 1..=WARM_UP_CALLS {
                match runtime.run(&views, &mut outputs) {
                    Ok(()) if self.scores => model.check_score(&outputs, rows)?,
                    Ok(()) => {}
                    Err(error) => match error.kind() {
                        ErrorKind::Invalid => {}
                        ErrorKind::Data if is_proved => {}
                        // The first calls are the slowest.
                        _ if error.is_retryable() && call < WARM_UP_CALLS => {}
                        ErrorKind::Data => {
                            return Err(Error::invalid(
                                "it fails on a row of zeros, and no golden row shows that it answers others: \
                                 mend it, or add `golden.json`",
                            )
                            .with_source(error));
                        }
                        _ => return Err(error),
                    },
                }
            }
            if !runtime.capabilities().rows_independent {
                break;
            }
        }
        Ok(())
    }
}

/// A model that does not answer in time is wrong with its limit for good: to load it again would only leave more
/// threads that hang.
fn settled(error: Error) -> Error {
    if !error.is_retryable() {
        return error;
    }
    Error::invalid("it does not answer in time: mend it, or raise the limit that its loader sets")
        .with_source(error)
}

/// One stage of a load, a span for who listens.
fn stage<T>(stage: &'static str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    #[cfg(feature = "telemetry")]
    let _span = tracing::info_span!("model_load_stage", stage).entered();
    #[cfg(not(feature = "telemetry"))]
    let _ = stage;
    f()
}

/// A runtime with the encoder, the head, the calibration and the threshold of the package.
pub(super) fn dressed(package: &ModelPackage, runtime: Arc<dyn Runtime>) -> Result<Model> {
    let mut model = Model::from_arc(package.id.clone(), runtime)?;
    check_signature(package, model.runtime().signature())?;
    if let Some(encoder) = Loader::encoder_of(package)? {
        model = model.with_encoder(encoder)?;
    }
    if package.files.contains_key(Loader::HEAD_FILE) {
        let head: Head = serde_json::from_slice(&package.read(Loader::HEAD_FILE)?)
            .map_err(|error| Error::data("the bytes are no head in JSON").with_source(error))?;
        model = model.with_head(&head)?;
    }
    if package.files.contains_key(Loader::CALIBRATION_FILE) {
        model = model.with_calibration(Calibration::from_json(&package.read(Loader::CALIBRATION_FILE)?)?);
    }
    if package.files.contains_key(Loader::THRESHOLD_FILE) {
        let threshold: Threshold = serde_json::from_slice(&package.read(Loader::THRESHOLD_FILE)?)
            .map_err(|error| Error::data("the bytes are no threshold in JSON").with_source(error))?;
        model = model.with_threshold(threshold)?;
    }
    Ok(model)
}

/// Whether the package says of its model what the runtime says. A package without a signature says nothing; one
/// may name more outputs than the runtime gives, and floats of 32 bits where a file in half precision has 16.
fn check_signature(package: &ModelPackage, runtime: &ModelSignature) -> Result<()> {
    let declared = &package.signature;
    let widened = |element| if element == ElementType::F16 { ElementType::F32 } else { element };
    let fits = |one: &TensorSpec, other: &TensorSpec| {
        one.name == other.name
            && widened(one.element) == widened(other.element)
            && one.shape.len() == other.shape.len()
            && one.shape.iter().zip(&other.shape).all(|axes| match axes {
                (Dimension::Fixed(one), Dimension::Fixed(other)) => one == other,
                _ => true,
            })
    };
    let inputs = &declared.inputs;
    let same_inputs = inputs.is_empty()
        || inputs.len() == runtime.inputs.len()
            && inputs.iter().zip(&runtime.inputs).all(|(one, other)| fits(one, other));
    let outputs = &declared.outputs;
    let same_outputs = outputs.is_empty()
        || runtime.outputs.iter().all(|output| outputs.iter().any(|declared| fits(declared, output)));
    if same_inputs && same_outputs {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the package declares {declared}, its model is {runtime}: register the model's signature, or none"
    )))
}

/// Zeros and empty texts in the shape of the signature, with so many rows where it leaves that open.
pub(crate) fn zeros(signature: &ModelSignature, rows: usize) -> Result<Vec<TensorBuf>> {
    let zeros = |spec: &TensorSpec| {
        let length = |(axis, dimension): (usize, &Dimension)| match dimension {
            Dimension::Fixed(length) => *length,
            Dimension::Symbol(_) if axis == 0 => rows,
            Dimension::Symbol(_) => 1,
        };
        let shape: Vec<usize> = spec.shape.iter().enumerate().map(length).collect();
        let mut input = TensorBuf::default();
        match spec.element {
            ElementType::F16 => input.reset::<f16>(&shape)?.fill(f16::ZERO),
            ElementType::F64 => input.reset::<f64>(&shape)?.fill(0.0),
            ElementType::I32 => input.reset::<i32>(&shape)?.fill(0),
            ElementType::I64 => input.reset::<i64>(&shape)?.fill(0),
            ElementType::Bool => input.reset::<bool>(&shape)?.fill(false),
            ElementType::Text => input.reset_text(&shape, |texts| {
                (0..shape.iter().product::<usize>()).for_each(|_| texts.push(""));
                Ok(())
            })?,
            _ => input.reset::<f32>(&shape)?.fill(0.0),
        }
        Ok(input)
    };
    signature.inputs.iter().map(zeros).collect()
}
