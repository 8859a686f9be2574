//! A model that is asked everything and heard by nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mlops_core::experiment::Moments;
use mlops_core::record::InferenceRecord;
use mlops_core::{Clock, Error, RequestId, Result};

use super::{Model, isolate};
use crate::capture::{Buffer, Buffers, Capture};
use crate::latency::Latencies;
use crate::{Background, SHADOW};

/// Scores what an endpoint answered, later and elsewhere, and compares.
///
/// The request path copies the request into a bounded buffer, or counts it as dropped; it never waits and
/// never fails because of a shadow. [`work`](Self::work) scores what waits: call it from a thread of the
/// host, or let [`spawn`](Self::spawn) do so. What a shadow answers is captured in arm `shadow`.
///
/// ```
/// # use std::sync::Arc;
/// # use mlops_core::data::Value;
/// # use mlops_core::{ElementType, ModelSignature, ModelVersion, RequestId, SystemClock, TensorSpec};
/// # use mlops_serve::endpoint::{Endpoint, Model, Shadow};
/// # use mlops_serve::runtime::FnRuntime;
/// # fn model(version: u64, factor: f32) -> mlops_serve::Result<Arc<Model>> {
/// #     let signature = ModelSignature {
/// #         inputs: vec![TensorSpec::batch("features", ElementType::F32, 1)],
/// #         outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
/// #     };
/// #     let runtime = FnRuntime::new("times", signature, move |inputs, outputs| {
/// #         let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
/// #         scores.iter_mut().zip(inputs[0].values::<f32>()?).for_each(|(y, x)| *y = factor * x);
/// #         Ok(())
/// #     })?;
/// #     Ok(Arc::new(Model::new(ModelVersion::new("shop", version), runtime)?))
/// # }
/// let endpoint = Endpoint::new("shop", SystemClock::new());
/// endpoint.deploy(model(1, 1.0)?)?;
/// let shadow = Arc::new(Shadow::new(model(2, 3.0)?, SystemClock::new()));
/// endpoint.set_shadows(vec![Arc::clone(&shadow)])?;
///
/// assert_eq!(endpoint.score(RequestId::from_key("visit-1"), &[Value::Float(5.0)])?.score, 5.0);
/// shadow.work();
/// assert_eq!(shadow.stats().difference.mean(), Some(10.0));
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Debug)]
pub struct Shadow {
    model: Arc<Model>,
    clock: Box<dyn Clock>,
    capture: Option<Arc<Capture>>,
    queue: Buffers,
    dropped: AtomicU64,
    /// Held by who works, with the buffer that is worked on.
    work: Mutex<Buffer>,
    stats: Mutex<ShadowStats>,
}

/// What a shadow did so far.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ShadowStats {
    /// Requests that it scored.
    pub scored: u64,
    /// Requests on which it failed.
    pub failures: u64,
    /// Requests that it did not see, because its buffers were full or in use.
    pub dropped: u64,
    /// Its score less the one that was answered.
    pub difference: Moments,
    /// How long it took.
    pub latencies: Latencies,
}

/// Memory for requests that wait, unless told otherwise.
const BYTES_MAX: usize = 16 << 20;

impl Shadow {
    /// A shadow with this model.
    pub fn new(model: Arc<Model>, clock: impl Clock) -> Self {
        Self {
            model,
            clock: Box::new(clock),
            capture: None,
            queue: Buffers::new(BYTES_MAX),
            dropped: AtomicU64::new(0),
            work: Mutex::default(),
            stats: Mutex::default(),
        }
    }

    /// Captures what it answers, in arm [`SHADOW`], under the ids of the requests.
    ///
    /// Give it a capture of its own. In the endpoint's capture each request has two records then:
    /// [`labelled_rows`](mlops_core::record::labelled_rows) leaves the shadow's out, but a drift monitor or an
    /// evaluation of the outputs must be given batches without them:
    ///
    /// ```
    /// # use arrow_array::{BooleanArray, RecordBatch, StringArray};
    /// # use mlops_serve::SHADOW;
    /// # fn heard(batch: &RecordBatch) -> Option<BooleanArray> {
    /// let arms = batch.column_by_name("arm")?.as_any().downcast_ref::<StringArray>()?;
    /// let heard: BooleanArray = arms.iter().map(|arm| Some(arm != Some(SHADOW))).collect();
    /// // Then `arrow_select::filter::filter_record_batch(batch, &heard)`.
    /// # Some(heard)
    /// # }
    /// ```
    #[must_use]
    pub fn with_capture(mut self, capture: Arc<Capture>) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Sets the most memory that requests take while they wait, in bytes. Default 16 MiB. It is cut into eight
    /// buffers, so that threads do not wait for each other: one request takes an eighth at most, or is dropped.
    #[must_use]
    pub fn with_bytes_max(mut self, bytes: usize) -> Self {
        self.queue = Buffers::new(bytes);
        self
    }

    /// What answers.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What it did so far.
    pub fn stats(&self) -> ShadowStats {
        ShadowStats { dropped: self.dropped.load(Ordering::Relaxed), ..self.sums().clone() }
    }

    /// Scores what waits. One thread at a time works; a second one waits for it.
    pub fn work(&self) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue.drain(&mut work, |record, in_sample| self.score(record, in_sample));
    }

    /// Works in a thread of its own, which ends when the handle is dropped.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no thread.
    pub fn spawn(self: &Arc<Self>, interval: Duration) -> Result<Background> {
        let shadow = Arc::clone(self);
        Background::spawn("mlops-shadow", interval, move || shadow.work())
    }

    /// Takes in a request that was answered. Never waits.
    pub(super) fn offer(&self, request: RequestId, record: &InferenceRecord<'_>) {
        let in_sample = self.capture.as_ref().is_some_and(|capture| capture.is_in_sample(request));
        if !self.queue.push(record, in_sample) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sums(&self) -> MutexGuard<'_, ShadowStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn score(&self, record: &InferenceRecord<'_>, in_sample: bool) {
        let start_ns = self.clock.monotonic_ns();
        let scored = isolate(self.model.version(), || self.model.score(record.features));
        let ns = self.clock.monotonic_ns().saturating_sub(start_ns);
        let mut stats = self.sums();
        let Ok(score) = scored else {
            stats.failures += 1;
            return;
        };
        stats.scored += 1;
        stats.latencies.record(ns);
        if let [answered, ..] = record.outputs {
            // Both are finite; a difference too large to be one is left out.
            let _: Result<(), Error> = stats.difference.push(score - answered);
        }
        drop(stats);
        if let Some(capture) = &self.capture {
            let version = self.model.version();
            let answered = InferenceRecord {
                time: self.clock.now(),
                model: &version.name,
                version: version.version,
                arm: SHADOW,
                propensity: 1.0,
                fallback: false,
                decision: self.model.threshold().map(|threshold| threshold.decides(score)),
                latency_us: ns as f64 / 1e3,
                outputs: &[score],
                ..*record
            };
            capture.offer_if(in_sample, &answered);
        }
    }
}
