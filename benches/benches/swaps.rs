//! How slow the slowest answers of an endpoint are, at rest and while its models are swapped.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use benches::forests::trees;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use mlops_core::data::Value;
use mlops_core::{Clock, ModelVersion, RequestId, SystemClock};
use mlops_serve::endpoint::{Endpoint, Model};
use mlops_serve::runtime::NativeRuntime;

const FEATURES: usize = 17;
/// Answers of which one percentile is taken.
const ANSWERS: usize = 20_000;

fn load(version: u64, file: &Bytes) -> Arc<Model> {
    let runtime = NativeRuntime::from_onnx(file).expect("the kernels know the model");
    Arc::new(Model::new(ModelVersion::new("shop", version), runtime).expect("a model"))
}

/// The time that this share of the answers does not exceed.
fn percentile(endpoint: &Endpoint, share: f64) -> Duration {
    let (clock, row) = (SystemClock::new(), [Value::Float(0.5); FEATURES]);
    let mut spent_ns: Vec<u64> = (0..ANSWERS)
        .map(|number| {
            let id = RequestId::from_key(number.to_le_bytes());
            let start_ns = clock.monotonic_ns();
            endpoint.score(id, black_box(&row)).expect("no swap costs an answer");
            clock.monotonic_ns() - start_ns
        })
        .collect();
    let place = ((ANSWERS as f64 * share) as usize).min(ANSWERS - 1);
    Duration::from_nanos(*spent_ns.select_nth_unstable(place).1)
}

/// Ends the swaps, also if an answer panics: the scope would wait for ever.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn swaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("swaps");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    let file = trees(200, 6, FEATURES);
    for (state, swapping) in [("at rest", false), ("while models load and swap", true)] {
        let endpoint = Endpoint::new("shop", SystemClock::new());
        endpoint.deploy(load(1, &file)).expect("deployed");
        let done = AtomicBool::new(!swapping);
        std::thread::scope(|scope| {
            let ends = Ends(&done);
            scope.spawn(|| {
                for version in 2.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    endpoint.deploy(load(version, &file)).expect("deployed");
                }
            });
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                group.bench_function(format!("{name} {state}"), |b| {
                    b.iter_custom(|times| percentile(&endpoint, share) * times as u32);
                });
            }
            drop(ends);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = swaps
}
criterion_main!(benches);
