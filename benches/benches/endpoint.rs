//! Benchmarks of `mlops-serve` around the runtime: endpoint, split, capture, batching.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::{InferenceLog, InferenceRecord, RecordSchema};
use mlops_core::{
    Clock, ElementType, ModelSignature, ModelVersion, RequestId, SystemClock, TensorSpec, Timestamp,
};
use mlops_serve::Split;
use mlops_serve::batch::{BatchRuntime, BatchSettings};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{Endpoint, Model};
use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
use mlops_serve::rollout::{Guardrail, Metric, Plan, Rollout, Traffic};
use mlops_serve::runtime::{Capabilities, Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorView};

/// A model that costs next to nothing, so that what is around it shows.
#[derive(Debug)]
struct First(ModelSignature);

impl First {
    fn new(width: usize) -> Self {
        let inputs = vec![TensorSpec::batch("features", ElementType::F32, width)];
        Self(ModelSignature { inputs, outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)] })
    }
}

impl Runtime for First {
    fn engine(&self) -> &str {
        "first"
    }

    fn signature(&self) -> &ModelSignature {
        &self.0
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::row_function()
    }

    fn memory_usage(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> mlops_serve::Result<()> {
        let rows = inputs[0].rows();
        let width = inputs[0].shape()[1];
        let features = inputs[0].values::<f32>()?;
        let scores = outputs[0].reset::<f32>([rows, 1])?;
        scores.iter_mut().zip(features.chunks_exact(width)).for_each(|(score, row)| *score = row[0]);
        Ok(())
    }
}

fn model(version: u64, width: usize) -> Arc<Model> {
    Arc::new(Model::new(ModelVersion::new("shop", version), First::new(width)).expect("a model"))
}

fn capture(width: usize, sample: f64) -> Arc<Capture> {
    let columns = (0..width).map(|index| Column::new(format!("x{index}"), ColumnKind::Float));
    let schema =
        RecordSchema::new(&TableSchema::new(columns).expect("a schema"), ["score"]).expect("records");
    let settings = CaptureSettings::default().sample(sample).bytes_max(1 << 30);
    Arc::new(Capture::new(schema, settings).expect("a capture"))
}

/// Requests one after the other, each with another id; made before, as a caller has them.
fn ids() -> impl FnMut() -> RequestId {
    let ids: Vec<RequestId> = (0..4096_u64).map(|id| RequestId::from_key(id.to_le_bytes())).collect();
    let mut next = 0;
    move || {
        next = (next + 1) & 4095;
        ids[next]
    }
}

fn endpoint(c: &mut Criterion) {
    let mut group = c.benchmark_group("endpoint");
    let row = [Value::Float(0.5); 8];
    let runtime = First::new(8);
    let mut outputs = runtime.outputs();
    let features = [0.5_f32; 8];
    group.bench_function("runtime alone", |b| {
        b.iter(|| {
            let input = TensorView::new(black_box(&features), [1, 8]).expect("a view");
            runtime.run(&[input], &mut outputs).expect("an answer");
            outputs[0].view().values::<f32>().expect("floats")[0]
        });
    });
    let input = [TensorView::new(&features, [1, 8]).expect("a view")];
    for (name, endpoint) in [
        ("tensors, untimed", Endpoint::new("shop", SystemClock::new()).without_timing()),
        ("tensors, timed", Endpoint::new("shop", SystemClock::new())),
    ] {
        endpoint.deploy(model(1, 8)).expect("deployed");
        let (mut id, mut outputs) = (ids(), Vec::new());
        group.bench_function(name, |b| b.iter(|| endpoint.run(id(), black_box(&input), &mut outputs)));
    }
    let alone = model(1, 8);
    group.bench_function("model: row to score", |b| b.iter(|| alone.score(black_box(&row))));
    let mut cases = vec![
        ("untimed", Endpoint::new("shop", SystemClock::new()).without_timing()),
        ("timed", Endpoint::new("shop", SystemClock::new())),
        ("timed, captured", Endpoint::new("shop", SystemClock::new()).with_capture(capture(8, 1.0))),
    ];
    for (name, endpoint) in &cases {
        endpoint.deploy(Arc::clone(&alone)).expect("deployed");
        let mut id = ids();
        group.bench_function(*name, |b| b.iter(|| endpoint.score(id(), black_box(&row))));
    }
    let (_, split) = cases.remove(0);
    split.challenge(model(2, 8), 0.1).expect("deployed");
    let mut id = ids();
    group.bench_function("untimed, two arms", |b| b.iter(|| split.score(id(), black_box(&row))));
    group.bench_function("swap read", |b| b.iter(|| split.is_ready()));
    group.bench_function("swap call", |b| b.iter(|| split.set_challenger_share(black_box(0.1))));

    let naive = Mutex::new(Arc::clone(&alone));
    group.bench_function("naive: mutex around the model", |b| {
        b.iter(|| naive.lock().expect("unpoisoned").score(black_box(&row)));
    });
    group.finish();
}

fn split(c: &mut Criterion) {
    let mut group = c.benchmark_group("split");
    for arms in [1_usize, 2, 3, 10] {
        let split = Split::new("s", (0..arms).map(|arm| (arm.to_string(), 1.0))).expect("a split");
        let mut id = ids();
        group.bench_function(BenchmarkId::new("arms", arms), |b| {
            b.iter(|| split.assign(&id().as_u128().to_le_bytes()));
        });
    }
    group.finish();
}

fn captures(c: &mut Criterion) {
    let mut group = c.benchmark_group("capture");
    let features = [Value::Float(0.5); 64];
    let record = |id| InferenceRecord {
        id,
        time: Timestamp::EPOCH,
        model: "shop",
        version: 1,
        arm: "champion",
        propensity: 1.0,
        fallback: false,
        decision: None,
        latency_us: 1.0,
        candidates: &[],
        features: &features,
        outputs: &[0.5],
    };
    for (name, sample) in [("sampled in", 1.0), ("sampled out", 0.0)] {
        let capture = capture(64, sample);
        let mut id = ids();
        group.bench_function(BenchmarkId::new(name, "64 numbers"), |b| {
            b.iter_custom(|iterations| {
                let (clock, mut spent_ns) = (SystemClock::new(), 0);
                let mut left = iterations;
                while left > 0 {
                    let burst = left.min(1000);
                    let start_ns = clock.monotonic_ns();
                    (0..burst).for_each(|_| capture.offer(black_box(&record(id()))));
                    spent_ns += clock.monotonic_ns() - start_ns;
                    left -= burst;
                    capture.drain().expect("drained");
                }
                assert_eq!(capture.counts().dropped, 0);
                Duration::from_nanos(spent_ns)
            });
        });
    }
    let schema = capture(64, 1.0).schema().clone();
    let naive = Mutex::new(InferenceLog::new(schema));
    let mut id = ids();
    group.bench_function(BenchmarkId::new("naive: builders under a mutex", "64 numbers"), |b| {
        b.iter(|| {
            let mut log = naive.lock().expect("unpoisoned");
            log.push(black_box(&record(id()))).expect("taken");
            if log.len() == 10_000 {
                drop(log.finish());
            }
        });
    });
    group.finish();
}

/// A model that takes 5.7 us a call and 0.315 us a row.
#[derive(Debug)]
struct Costly(First, SystemClock);

impl Runtime for Costly {
    fn engine(&self) -> &str {
        "costly"
    }

    fn signature(&self) -> &ModelSignature {
        self.0.signature()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::row_function().parallel_calls(std::num::NonZeroUsize::MIN)
    }

    fn memory_usage(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> mlops_serve::Result<()> {
        let end_ns = self.1.monotonic_ns() + 5700 + 315 * inputs[0].rows() as u64;
        self.0.run(inputs, outputs)?;
        while self.1.monotonic_ns() < end_ns {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

/// The time in which 32 threads make `calls` calls together.
fn crowd(calls: u64, run: &(impl Fn(&[TensorView<'_>], &mut [TensorBuf]) + Sync)) -> Duration {
    let clock = SystemClock::new();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let features = [0.5_f32; 8];
                let mut outputs = vec![TensorBuf::default()];
                while next.fetch_add(1, Ordering::Relaxed) < calls {
                    run(&[TensorView::new(&features, [1, 8]).expect("a view")], &mut outputs);
                }
            });
        }
    });
    Duration::from_nanos(clock.monotonic_ns())
}

fn batching(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    let features = [0.5_f32; 8];
    let input = [TensorView::new(&features, [1, 8]).expect("a view")];
    let mut outputs = vec![TensorBuf::default()];
    let raw = First::new(8);
    group.bench_function("idle: runtime alone", |b| b.iter(|| raw.run(black_box(&input), &mut outputs)));
    let batched =
        BatchRuntime::new(First::new(8), BatchSettings::default(), SystemClock::new()).expect("batched");
    group.bench_function("idle: combiner", |b| b.iter(|| batched.run(black_box(&input), &mut outputs)));
    let isolated = IsolatedRuntime::new(First::new(8), IsolationSettings::default()).expect("isolated");
    group.bench_function("idle: isolated thread", |b| {
        b.iter(|| isolated.run(black_box(&input), &mut outputs));
    });
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    let locked = Mutex::new(Costly(First::new(8), SystemClock::new()));
    group.bench_function("32 callers: mutex", |b| {
        b.iter_custom(|calls| {
            crowd(calls, &|inputs, outputs| {
                locked.lock().expect("unpoisoned").run(inputs, outputs).expect("an answer");
            })
        });
    });
    let batched = BatchRuntime::new(
        Costly(First::new(8), SystemClock::new()),
        BatchSettings::default(),
        SystemClock::new(),
    )
    .expect("batched");
    group.bench_function("32 callers: combiner", |b| {
        b.iter_custom(|calls| {
            crowd(calls, &|inputs, outputs| batched.run(inputs, outputs).expect("an answer"))
        });
    });
    group.finish();
}

fn rollout(c: &mut Criterion) {
    let mut group = c.benchmark_group("rollout");
    let plan = Plan::canary([0.1, 0.3, 0.5], 0, u64::MAX)
        .guardrail(Guardrail::FailureRatio { max: 1.0 })
        .guardrail(Guardrail::SlowRate { limit_us: 1000.0, max: 0.05 })
        .guardrail(Metric::new("log_loss").lower_is_better());
    let version = |version| ModelVersion::new("shop", version);
    let mut rollout = Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).expect("a rollout");
    for number in 0..1000_u32 {
        let mut traffic = Traffic { requests: 1, ..Traffic::default() };
        traffic.latencies.record(100_000);
        for (arm, number_of, propensity) in [("champion", 1, 0.9), ("challenger", 2, 0.1)] {
            rollout.add_traffic(&version(number_of), arm, propensity, &traffic);
            rollout
                .add_outcome("log_loss", &version(number_of), arm, propensity, f64::from(number % 7))
                .expect("taken");
        }
    }
    group.bench_function("decide", |b| b.iter(|| rollout.decide(Timestamp::EPOCH)));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = endpoint, split, captures, batching, rollout
}
criterion_main!(benches);
