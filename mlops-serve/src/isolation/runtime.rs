//! A runtime whose calls have a time limit.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::{Error, ModelSignature, Result};
use serde::{Deserialize, Serialize};

use super::pool::{Pool, Tensors};
use crate::batch::Call;
use crate::runtime::{Capabilities, Runtime, SignatureCheck};
use crate::spares::{Held, Spares};
use crate::tensor::{TensorBuf, TensorView};

/// How a runtime is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct IsolationSettings {
    /// The most calls that compute at once (bulkhead), a thread each. Default 2.
    pub threads: NonZeroUsize,
    /// The most calls that wait for a thread; further ones are turned away at once. Default 64.
    pub waiting_max: usize,
    /// While so many threads hang, no new one is started: there are never more threads than `threads` and
    /// this together, less one. When none is left, every call fails at once. Default 8.
    pub hung_max: NonZeroUsize,
    /// The most time from the call to the answer, waiting included. Default 1 s.
    pub time_limit: Duration,
}

impl Default for IsolationSettings {
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN.saturating_add(1),
            waiting_max: 64,
            hung_max: NonZeroUsize::MIN.saturating_add(7),
            time_limit: Duration::from_secs(1),
        }
    }
}

impl IsolationSettings {
    /// Sets the most calls that compute at once.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the most calls that wait for a thread.
    #[must_use]
    pub fn waiting_max(mut self, calls: usize) -> Self {
        self.waiting_max = calls;
        self
    }

    /// Sets how many threads may hang before no new one is started.
    #[must_use]
    pub fn hung_max(mut self, threads: NonZeroUsize) -> Self {
        self.hung_max = threads;
        self
    }

    /// Sets the most time from the call to the answer.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }
}

/// A runtime that computes on threads of its own, for a limited time. See the [module](super).
///
/// Threads are started when they are needed. Dropping it ends them; one that hangs ends when it comes back,
/// and holds on to the model until then.
#[derive(Debug)]
pub struct IsolatedRuntime {
    runtime: Arc<dyn Runtime>,
    check: SignatureCheck,
    pool: Arc<Pool>,
    time_limit: Duration,
    /// Tensors between calls.
    spares: Spares<Tensors>,
}

/// More tensors than this are given back to the allocator.
const SPARES_MAX: usize = 16;

impl IsolatedRuntime {
    /// Keeps this runtime apart.
    ///
    /// # Errors
    /// `Invalid` if the time limit is zero, or as [`SignatureCheck::new`].
    pub fn new(runtime: impl Runtime, settings: IsolationSettings) -> Result<Self> {
        let IsolationSettings { threads, waiting_max, hung_max, time_limit } = settings;
        if time_limit.is_zero() {
            return Err(Error::invalid("a time limit of zero lets no call through: allow some microseconds"));
        }
        let check = SignatureCheck::new(runtime.signature().clone())?;
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let pool = Pool::new(Arc::clone(&runtime), threads.get(), hung_max.get(), waiting_max);
        Ok(Self { runtime, check, pool, time_limit, spares: Spares::new(SPARES_MAX) })
    }

    /// The number of threads that hang at the moment.
    pub fn hung(&self) -> usize {
        self.pool.hung()
    }

    /// The number of calls that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

impl Held for Tensors {
    fn held_bytes(&self) -> usize {
        self.inputs.held_bytes() + self.outputs.held_bytes()
    }
}

impl Drop for IsolatedRuntime {
    fn drop(&mut self) {
        self.pool.close();
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for IsolatedRuntime {
    fn engine(&self) -> &str {
        self.runtime.engine()
    }

    fn signature(&self) -> &ModelSignature {
        self.runtime.signature()
    }

    fn capabilities(&self) -> Capabilities {
        self.runtime.capabilities()
    }

    fn memory_usage(&self) -> usize {
        self.runtime.memory_usage() + self.spares.memory_usage()
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.check.inputs(inputs)?;
        self.check.buffers(outputs)?;
        let mut tensors = self.spares.take();
        tensors.inputs.resize_with(inputs.len(), TensorBuf::default);
        tensors.outputs.resize_with(outputs.len(), TensorBuf::default);
        for (own, input) in tensors.inputs.iter_mut().zip(inputs) {
            own.assign(input)?;
        }
        let mut tensors = self.pool.call(tensors, self.time_limit)?;
        // As many as the caller's, by the check above.
        outputs.swap_with_slice(&mut tensors.outputs);
        self.spares.give_back(tensors);
        Ok(())
    }

    /// By its own limit alone: a thread that takes longer than a caller is willing to wait does not hang yet.
    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], _: Call<'_>) -> Result<()> {
        self.run(inputs, outputs)
    }
}
