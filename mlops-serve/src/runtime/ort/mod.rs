//! Models that ONNX Runtime computes.

mod library;
mod session;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mlops_core::ModelSignature;
use ort::ep::ExecutionProviderDispatch;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};

pub use library::OrtLibrary;
use session::Worker;

use super::{Capabilities, Runtime, SignatureCheck};
use crate::batch::Call;
use crate::tensor::{TensorBuf, TensorView};
use crate::{Error, ErrorKind, Result};

/// How ONNX Runtime loads and runs a model.
#[derive(Clone)]
#[non_exhaustive]
pub struct OrtOptions {
    /// Calls that run at once; each takes a session, whose weights are shared where the kernels allow it.
    /// Default: 1.
    pub sessions: NonZeroUsize,
    /// Threads that one call uses. Default: 1, best for many small calls at once.
    pub threads: NonZeroUsize,
    /// Whether waiting threads spin: faster by some microseconds, and busy all the time. Default: false.
    pub spinning: bool,
    /// Where to compute, in order of preference; operations that none of them can do run on the CPU. Empty: the CPU.
    pub providers: Vec<ExecutionProviderDispatch>,
    /// Whether a provider that is not there is left out, and the CPU computes in the end, instead of an error.
    /// [`Runtime::engine`] names the providers that are there. Default: false.
    pub fallback_to_cpu: bool,
    /// The outputs to compute; `None` stands for all.
    pub outputs: Option<Vec<String>>,
}

impl Default for OrtOptions {
    fn default() -> Self {
        Self {
            sessions: NonZeroUsize::MIN,
            threads: NonZeroUsize::MIN,
            spinning: false,
            providers: Vec::new(),
            fallback_to_cpu: false,
            outputs: None,
        }
    }
}

impl fmt::Debug for OrtOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrtOptions")
            .field("sessions", &self.sessions)
            .field("threads", &self.threads)
            .field("spinning", &self.spinning)
            .field(
                "providers",
                &self.providers.iter().map(ExecutionProviderDispatch::name).collect::<Vec<_>>(),
            )
            .field("fallback_to_cpu", &self.fallback_to_cpu)
            .field("outputs", &self.outputs)
            .finish()
    }
}

impl OrtOptions {
    /// Sets how many calls run at once.
    #[must_use]
    pub fn sessions(mut self, sessions: NonZeroUsize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets how many threads one call uses.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets where to compute.
    #[must_use]
    pub fn providers(mut self, providers: impl IntoIterator<Item = ExecutionProviderDispatch>) -> Self {
        self.providers = providers.into_iter().collect();
        self
    }

    /// Leaves out providers that are not there.
    #[must_use]
    pub fn fallback_to_cpu(mut self) -> Self {
        self.fallback_to_cpu = true;
        self
    }

    /// Computes these outputs alone.
    #[must_use]
    pub fn outputs(mut self, outputs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.outputs = Some(outputs.into_iter().map(Into::into).collect());
        self
    }
}

/// A model that ONNX Runtime computes.
///
/// Calls take a session out of a pool and wait if all are busy. Outputs are written into tensors that a
/// session keeps for the last few batch sizes, and copied from there.
///
/// A row's answer may differ by rounding between batches of different sizes: ONNX Runtime picks its kernels
/// by size. Models in half precision and quantised ones run as they are; one that is quantised dynamically scales
/// by the range of the whole batch, so that its rows are not [independent](Capabilities::rows_independent).
pub struct OrtRuntime {
    check: SignatureCheck,
    engine: String,
    capabilities: Capabilities,
    memory_usage: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

impl OrtRuntime {
    /// Loads a model from the bytes of an ONNX file.
    ///
    /// # Errors
    /// `Data` if the bytes are no model, `Unsupported` if it uses operations or types that are not known.
    pub fn from_bytes(library: &OrtLibrary, bytes: &[u8], options: &OrtOptions) -> Result<Self> {
        Self::from_bytes_with_files(library, bytes, &BTreeMap::new(), options)
    }

    /// Loads a model from the bytes of an ONNX file and of the files beside it that hold its constants, by the names
    /// that it has for them ([`ModelProto::external_files`](mlops_core::onnx::ModelProto::external_files)). The
    /// sessions share these bytes.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and `Data` if a file is missing or too short.
    pub fn from_bytes_with_files(
        library: &OrtLibrary,
        bytes: &[u8],
        files: &BTreeMap<String, Arc<[u8]>>,
        options: &OrtOptions,
    ) -> Result<Self> {
        let shared: usize = files.values().map(|file| file.len()).sum();
        let mut loaded = Self::new(library, options, bytes.len(), |mut builder| {
            for (name, file) in files {
                builder = builder.with_external_initializer_file_in_memory(name, Arc::clone(file))?;
            }
            builder.commit_from_memory(bytes)
        })?;
        loaded.memory_usage = loaded.memory_usage.saturating_add(shared);
        Ok(if super::scales_by_batch(bytes) { loaded.whole_batches() } else { loaded })
    }

    /// Loads a model from an ONNX file, with what it keeps in other files beside it.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and `NotFound` if there is no such file.
    pub fn from_file(library: &OrtLibrary, path: impl AsRef<Path>, options: &OrtOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| {
            Error::not_found(format!("cannot read the model `{}`", path.display())).with_source(error)
        })?;
        let loaded = Self::new(library, options, bytes.len(), |mut builder| builder.commit_from_file(path))?;
        Ok(if super::scales_by_batch(&bytes) { loaded.whole_batches() } else { loaded })
    }

    fn new(
        library: &OrtLibrary,
        options: &OrtOptions,
        size: usize,
        load: impl Fn(SessionBuilder) -> ort::Result<Session>,
    ) -> Result<Self> {
        // Copies of the weights that the kernels rearrange for themselves are shared by the sessions.
        let prepacked = PrepackedWeights::new();
        let session = || -> Result<(Session, Vec<&'static str>)> {
            let (builder, providers) = builder(library, options, &prepacked)?;
            let session = load(builder).map_err(|error| failed("cannot load the ONNX model", error))?;
            Ok((session, providers))
        };
        let (first, mut providers) = session()?;
        let signature = values::signature(&first, options.outputs.as_deref())?;
        let check = SignatureCheck::new(signature)?;
        let mut idle = vec![Worker::new(first, check.signature())?];
        for _ in 1..options.sessions.get() {
            idle.push(Worker::new(session()?.0, check.signature())?);
        }
        let engine = match options.providers.is_empty() {
            true => format!("onnxruntime {}", commit()),
            false => {
                providers.push("CPU");
                format!("onnxruntime {} on {}", commit(), providers.join(", "))
            }
        };
        Ok(Self {
            check,
            engine,
            capabilities: Capabilities::row_function().parallel_calls(options.sessions),
            // The graph and its weights, in each session: an upper bound, since prepacked weights are shared.
            memory_usage: size.saturating_mul(options.sessions.get()),
            pool: Mutex::new(Pool { idle, waiting: 0 }),
            returned: Condvar::new(),
        })
    }

    /// Declares that rows must stay in the call that they came in.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.capabilities = self.capabilities.whole_batches();
        self
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Workers are pushed and popped whole: a panic elsewhere leaves the list as it was.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Pool {
    idle: Vec<Worker>,
    /// Callers that wait for a worker: to wake nobody is a call into the kernel.
    waiting: usize,
}

/// A worker on loan: goes back to the pool when dropped, also by a panic.
struct Loan<'a> {
    worker: Option<Worker>,
    runtime: &'a OrtRuntime,
}

impl<'a> Loan<'a> {
    fn take(runtime: &'a OrtRuntime) -> Self {
        let mut pool = runtime.pool();
        loop {
            if let Some(worker) = pool.idle.pop() {
                return Self { worker: Some(worker), runtime };
            }
            pool.waiting += 1;
            pool = runtime.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
            pool.waiting -= 1;
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            let mut pool = self.runtime.pool();
            pool.idle.push(worker);
            let is_awaited = pool.waiting > 0;
            drop(pool);
            if is_awaited {
                self.runtime.returned.notify_one();
            }
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for OrtRuntime {
    fn engine(&self) -> &str {
        &self.engine
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
        let mut loan = Loan::take(self);
        match &mut loan.worker {
            Some(worker) => worker.run(inputs, outputs),
            None => Err(Error::internal("a loan without a worker")),
        }
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], _: Call<'_>) -> Result<()> {
        self.run(inputs, outputs)
    }
}

impl fmt::Debug for OrtRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrtRuntime")
            .field("engine", &self.engine)
            .field("signature", self.check.signature())
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

fn builder(
    library: &OrtLibrary,
    options: &OrtOptions,
    prepacked: &PrepackedWeights,
) -> Result<(SessionBuilder, Vec<&'static str>)> {
    let build = || {
        Session::builder(library.environment())?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(options.threads.get())?
            .with_inter_threads(1)?
            .with_intra_op_spinning(options.spinning)?
            .with_prepacked_weights(prepacked)
            .map_err(ort::Error::from)
    };
    let built: ort::Result<SessionBuilder> = build();
    let mut builder = built.map_err(|error| failed("ONNX Runtime refuses these options", error))?;
    // One by one: `ort` leaves those out in silence that are not there.
    let mut providers = Vec::new();
    for provider in &options.providers {
        match provider.register(&mut builder) {
            Ok(()) => providers.push(provider.name()),
            Err(_) if options.fallback_to_cpu => {}
            Err(error) => {
                return Err(Error::unsupported(format!(
                    "ONNX Runtime cannot compute by {} here: take a library that has it, or allow                      `OrtOptions::fallback_to_cpu`",
                    provider.name()
                ))
                .with_source(error));
            }
        }
    }
    Ok((builder, providers))
}

/// The commit that the library was built from: it tells no version without a foreign call.
fn commit() -> &'static str {
    let info = ort::info();
    info.split("git-commit-id=").nth(1).and_then(|rest| rest.split([',', ' ']).next()).unwrap_or_default()
}

/// An error of ONNX Runtime in our words.
#[cold]
fn failed(what: &str, error: ort::Error) -> Error {
    use ort::ErrorCode;
    let kind = match error.code() {
        ErrorCode::InvalidArgument => ErrorKind::Invalid,
        ErrorCode::NoSuchFile | ErrorCode::NotFound => ErrorKind::NotFound,
        ErrorCode::NotImplemented => ErrorKind::Unsupported,
        ErrorCode::ExecutionProviderFailure | ErrorCode::DeviceReset => ErrorKind::Unavailable,
        _ => ErrorKind::Data,
    };
    Error::new(kind, what).with_source(error)
}
