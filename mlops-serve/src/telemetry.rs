//! Counters by the facade `metrics` and spans by `tracing`: the host chooses the exporters.
//!
//! Nothing here runs on the request path. An endpoint counts in atomics of its own anyway; call
//! [`Endpoint::publish_metrics`] from a timer, or before a scrape, to hand over what was counted since the call
//! before. The parts that an endpoint does not know publish for themselves, under a name of the host's.
//!
//! | published by | name | labels | what |
//! |---|---|---|---|
//! | [`Endpoint`] | `mlops_serve_requests_total` | `endpoint`, `arm`, `version` | requests that fell into the arm; not those that are `Invalid`, which are their callers' mistakes |
//! | | `mlops_serve_failures_total` | same | those that its model failed, whoever answered |
//! | | `mlops_serve_late_requests_total` | `endpoint` | requests whose deadline had passed before a model could be asked; they count for no arm |
//! | | `mlops_serve_request_seconds` | same | how long they took: a histogram, each in the bin of [`Latencies`] above it |
//! | | `mlops_serve_arm_share_ratio` | same | the arm's share of the traffic now, 0 when it is gone: a gauge |
//! | | `mlops_serve_model_bytes` | same | memory of the arm's model, 0 when it is gone: a gauge |
//! | | `mlops_serve_out_of_service` | same | 1 while its circuit is open, else 0: a gauge |
//! | | `mlops_serve_quarantined_versions` | `endpoint` | versions in quarantine: a gauge |
//! | | `mlops_serve_draining_swaps` | `endpoint` | sets of arms that were swapped out and still answer: a gauge |
//! | | `mlops_serve_shadow_requests_total` | `endpoint`, `version`, `outcome` | what a shadow `scored`, `failed` and `dropped` |
//! | | `mlops_serve_captured_records_total` | `endpoint`, `outcome` | records that were `captured` (drained in a batch), `skipped`, `dropped` and `rejected`: with those that wait, all that were offered |
//! | | `mlops_serve_capture_waiting_records` | `endpoint` | records that wait to be drained: a gauge |
//! | at once | `mlops_serve_events_total` | `endpoint`, `severity` | events, as [`Endpoint::with_events`] lists them |
//! | at once | `mlops_serve_loads_total` | `model`, `outcome` | models `loaded` and `refused` by a [`Loader`](crate::endpoint::Loader) |
//! | [`BatchStats`] | `mlops_serve_batch_calls_total` | `batch`, `outcome` | calls that ran `direct`, `waited`, or were `turned_away`, `too_late`, `cancelled` |
//! | | `mlops_serve_batch_rows` | `batch` | rows of batches: a histogram, each as the power of two below |
//! | | `mlops_serve_batch_wait_seconds` | `batch` | how long calls waited for their batch: a histogram |
//! | | `mlops_serve_batch_cost_seconds` | `batch`, `of` | what a `batch` costs by itself, and what each `row` adds, as learned: gauges |
//! | [`IsolatedRuntime`] | `mlops_serve_isolated_threads_hung` | `runtime` | threads that hang: a gauge |
//! | | `mlops_serve_isolated_calls_waiting` | `runtime` | calls that wait for a thread: a gauge |
//! | [`ModelCache`] | `mlops_serve_cache_models`, `mlops_serve_cache_bytes` | `cache` | what is loaded: gauges |
//! | | `mlops_serve_cache_events_total` | `cache`, `event` | hits (`hit`), loads (`load`) and models unloaded (`unload`) |
//!
//! A load is a span of `tracing` called `model_load` with the field `version`, and in it one called
//! `model_load_stage` for each `stage`: `verify`, `build`, `warm_up`, `golden`. What the endpoint tells its event
//! sink (swaps, drains, circuits, quarantines, refused versions) is an event of the target `mlops_serve` as well,
//! with the fields `endpoint`, `subject` and `message`.
//!
//! ```
//! use mlops_core::SystemClock;
//! use mlops_serve::endpoint::Endpoint;
//!
//! let endpoint = Endpoint::new("shop", SystemClock::new());
//! // From a timer of the host's.
//! endpoint.publish_metrics();
//! ```

use std::collections::BTreeSet;

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use mlops_core::{ModelVersion, Severity};

use crate::Latencies;
use crate::batch::BatchStats;
use crate::endpoint::{ArmStats, Endpoint, ModelCache};
use crate::isolation::IsolatedRuntime;

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What exporters say of each metric, as the table above does.
const DESCRIPTIONS: [(&str, Kind, Unit, &str); 23] = {
    use Kind::{Counter, Gauge, Histogram};
    use Unit::{Bytes, Count, Seconds};
    [
        ("mlops_serve_requests_total", Counter, Count, "Requests that fell into the arm."),
        (
            "mlops_serve_failures_total",
            Counter,
            Count,
            "Requests that the arm's model failed, whoever answered.",
        ),
        ("mlops_serve_late_requests_total", Counter, Count, "Requests too late for any model."),
        ("mlops_serve_request_seconds", Histogram, Seconds, "How long requests took."),
        ("mlops_serve_arm_share_ratio", Gauge, Count, "The arm's share of the traffic."),
        ("mlops_serve_model_bytes", Gauge, Bytes, "Memory of the arm's model."),
        ("mlops_serve_out_of_service", Gauge, Count, "1 while the circuit of the arm's model is open."),
        ("mlops_serve_quarantined_versions", Gauge, Count, "Versions in quarantine."),
        ("mlops_serve_draining_swaps", Gauge, Count, "Sets of arms that were swapped out and still answer."),
        (
            "mlops_serve_shadow_requests_total",
            Counter,
            Count,
            "Requests that shadows saw, by what became of them.",
        ),
        (
            "mlops_serve_captured_records_total",
            Counter,
            Count,
            "Records offered to the capture, by what became of them.",
        ),
        ("mlops_serve_capture_waiting_records", Gauge, Count, "Captured records that wait to be drained."),
        ("mlops_serve_events_total", Counter, Count, "Events of endpoints, by severity."),
        ("mlops_serve_loads_total", Counter, Count, "Models loaded and refused."),
        (
            "mlops_serve_batch_calls_total",
            Counter,
            Count,
            "Calls of batching runtimes, by what became of them.",
        ),
        ("mlops_serve_batch_rows", Histogram, Count, "Rows of batches, as the power of two below."),
        ("mlops_serve_batch_wait_seconds", Histogram, Seconds, "How long calls waited for their batch."),
        (
            "mlops_serve_batch_cost_seconds",
            Gauge,
            Seconds,
            "What a batch and each of its rows cost, as learned.",
        ),
        ("mlops_serve_isolated_threads_hung", Gauge, Count, "Threads of isolated runtimes that hang."),
        (
            "mlops_serve_isolated_calls_waiting",
            Gauge,
            Count,
            "Calls that wait for a thread of an isolated runtime.",
        ),
        ("mlops_serve_cache_models", Gauge, Count, "Models that the cache holds."),
        ("mlops_serve_cache_bytes", Gauge, Bytes, "Memory of the models that the cache holds."),
        ("mlops_serve_cache_events_total", Counter, Count, "Hits, loads and unloads of the cache."),
    ]
};

/// Tells the exporter what each metric is: Prometheus shows it as `# HELP`. Each `publish_metrics` does so too, for
/// an exporter that comes late.
pub fn describe() {
    for (name, kind, unit, help) in DESCRIPTIONS {
        match kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
}

/// What an endpoint keeps between two publications.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Counted since then.
    pub(crate) stats: Vec<ArmStats>,
    /// The arms that have gauges.
    arms: BTreeSet<(String, ModelVersion)>,
}

/// What an arm is now.
pub(crate) struct ArmNow {
    pub(crate) arm: String,
    pub(crate) version: ModelVersion,
    pub(crate) share: f64,
    pub(crate) bytes: usize,
    pub(crate) is_out_of_service: bool,
}

impl Published {
    pub(crate) fn publish(&mut self, endpoint: &str, now: Vec<ArmNow>) {
        for ArmStats { arm, version, traffic, .. } in self.stats.drain(..) {
            let labels = labels(endpoint, &arm, &version);
            counter!("mlops_serve_requests_total", labels.clone()).increment(traffic.requests);
            counter!("mlops_serve_failures_total", labels.clone()).increment(traffic.failures);
            record("mlops_serve_request_seconds", labels, &traffic.latencies);
        }
        let mut gone = std::mem::take(&mut self.arms);
        for ArmNow { arm, version, share, bytes, is_out_of_service } in now {
            show(labels(endpoint, &arm, &version), share, bytes, is_out_of_service);
            gone.remove(&(arm.clone(), version.clone()));
            self.arms.insert((arm, version));
        }
        gone.iter().for_each(|(arm, version)| show(labels(endpoint, arm, version), 0.0, 0, false));
    }
}

fn show(labels: Vec<Label>, share: f64, bytes: usize, is_out_of_service: bool) {
    gauge!("mlops_serve_arm_share_ratio", labels.clone()).set(share);
    gauge!("mlops_serve_model_bytes", labels.clone()).set(bytes as f64);
    gauge!("mlops_serve_out_of_service", labels).set(f64::from(u8::from(is_out_of_service)));
}

fn labels(endpoint: &str, arm: &str, version: &ModelVersion) -> Vec<Label> {
    vec![
        Label::new("endpoint", endpoint.to_owned()),
        Label::new("arm", arm.to_owned()),
        Label::new("version", version.to_string()),
    ]
}

fn record(name: &'static str, labels: Vec<Label>, latencies: &Latencies) {
    let histogram = histogram!(name, labels);
    for (ns, count) in latencies.bins() {
        histogram.record_many(ns as f64 / 1e9, usize::try_from(count).unwrap_or(usize::MAX));
    }
}

impl Endpoint {
    /// Hands over what was counted since the last call, as the [module](crate::telemetry) lists it.
    pub fn publish_metrics(&self) {
        describe();
        let name = self.name().to_owned();
        let (draining, quarantined) = self.publish_arms();
        counter!("mlops_serve_late_requests_total", "endpoint" => name.clone())
            .absolute(self.late_requests());
        gauge!("mlops_serve_draining_swaps", "endpoint" => name.clone()).set(draining as f64);
        gauge!("mlops_serve_quarantined_versions", "endpoint" => name.clone()).set(quarantined as f64);
        for shadow in self.shadows() {
            let (stats, version) = (shadow.stats(), shadow.model().version().to_string());
            for (outcome, count) in
                [("scored", stats.scored), ("failed", stats.failures), ("dropped", stats.dropped)]
            {
                let labels = [
                    Label::new("endpoint", name.clone()),
                    Label::new("version", version.clone()),
                    Label::new("outcome", outcome),
                ];
                counter!("mlops_serve_shadow_requests_total", labels.to_vec()).absolute(count);
            }
        }
        let Some(capture) = self.capture() else { return };
        // A record counts as captured when it is drained: one that waits may still be rejected, and no counter goes back.
        let (counts, drained) = capture.counts_and_drained();
        for (outcome, count) in [
            ("captured", drained),
            ("skipped", counts.skipped),
            ("dropped", counts.dropped),
            ("rejected", counts.rejected),
        ] {
            counter!("mlops_serve_captured_records_total", "endpoint" => name.clone(), "outcome" => outcome)
                .absolute(count);
        }
        gauge!("mlops_serve_capture_waiting_records", "endpoint" => name)
            .set((counts.captured - drained) as f64);
    }
}

impl BatchStats {
    /// Hands over what was counted since `before`, the stats that were published last (`default()` at first), as
    /// the [module](crate::telemetry) lists it.
    pub fn publish_metrics(&self, batch: &str, before: &Self) {
        describe();
        let batch = batch.to_owned();
        for (outcome, count, earlier) in [
            ("direct", self.direct_calls, before.direct_calls),
            ("waited", self.waited_calls, before.waited_calls),
            ("turned_away", self.turned_away, before.turned_away),
            ("too_late", self.too_late, before.too_late),
            ("cancelled", self.cancelled, before.cancelled),
        ] {
            counter!("mlops_serve_batch_calls_total", "batch" => batch.clone(), "outcome" => outcome)
                .increment(count.saturating_sub(earlier));
        }
        let rows = histogram!("mlops_serve_batch_rows", "batch" => batch.clone());
        for (power, count) in (0..).zip(&self.batches_by_rows_log2) {
            let earlier = before.batches_by_rows_log2.get(power as usize).copied().unwrap_or(0);
            let count = usize::try_from(count.saturating_sub(earlier)).unwrap_or(usize::MAX);
            if count > 0 {
                rows.record_many(2_f64.powi(power), count);
            }
        }
        let waits = self.waits.since(&before.waits);
        record("mlops_serve_batch_wait_seconds", vec![Label::new("batch", batch.clone())], &waits);
        for (of, ns) in [("batch", self.batch_ns), ("row", self.row_ns)] {
            gauge!("mlops_serve_batch_cost_seconds", "batch" => batch.clone(), "of" => of).set(ns / 1e9);
        }
    }
}

impl IsolatedRuntime {
    /// Hands over how many threads hang and how many calls wait, as the [module](crate::telemetry) lists it.
    pub fn publish_metrics(&self, runtime: &str) {
        describe();
        gauge!("mlops_serve_isolated_threads_hung", "runtime" => runtime.to_owned()).set(self.hung() as f64);
        gauge!("mlops_serve_isolated_calls_waiting", "runtime" => runtime.to_owned())
            .set(self.waiting() as f64);
    }
}

impl ModelCache {
    /// Hands over what it holds and did, as the [module](crate::telemetry) lists it.
    pub fn publish_metrics(&self, cache: &str) {
        describe();
        let stats = self.stats();
        gauge!("mlops_serve_cache_models", "cache" => cache.to_owned()).set(stats.loaded as f64);
        gauge!("mlops_serve_cache_bytes", "cache" => cache.to_owned()).set(stats.loaded_bytes as f64);
        for (event, count) in [("hit", stats.hits), ("load", stats.loads), ("unload", stats.unloads)] {
            counter!("mlops_serve_cache_events_total", "cache" => cache.to_owned(), "event" => event)
                .absolute(count);
        }
    }
}

/// What an endpoint tells of.
pub(crate) fn trace(endpoint: &str, severity: Severity, subject: &str, message: &str) {
    counter!("mlops_serve_events_total", "endpoint" => endpoint.to_owned(), "severity" => severity.to_string())
        .increment(1);
    match severity {
        Severity::Info => tracing::info!(target: "mlops_serve", endpoint, subject, message),
        Severity::Warning => tracing::warn!(target: "mlops_serve", endpoint, subject, message),
        Severity::Critical => tracing::error!(target: "mlops_serve", endpoint, subject, message),
    }
}

pub(crate) fn count_load(model: &str, is_loaded: bool) {
    let outcome = if is_loaded { "loaded" } else { "refused" };
    counter!("mlops_serve_loads_total", "model" => model.to_owned(), "outcome" => outcome).increment(1);
}
