//! Benchmarks of pipelines: the cost of running steps that do nothing.
//!
//! The naive way is a chain of boxed functions without keys, cache or record.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mlops_core::SystemClock;
use mlops_core::pipeline::{Handle, Many, Pipeline, Runner, Store};

fn chain(steps: usize) -> Pipeline {
    let mut p = Pipeline::new("chain");
    let mut last: Handle<u64> = p.param("start", 1_u64);
    for step in 0..steps {
        last = p.step(format!("step {step}"), |n: &u64| Ok(n + 1), last);
    }
    p
}

fn fan_out(width: usize, depth: usize) -> Pipeline {
    let mut p = Pipeline::new("fan out");
    let start = p.param("start", 1_u64);
    let mut ends = Vec::new();
    for lane in 0..width {
        let mut last = start;
        for step in 0..depth {
            last = p.step(format!("step {lane} {step}"), |n: &u64| Ok(n + 1), last);
        }
        ends.push(last);
    }
    p.step("sum", |all: &Many<u64>| Ok(all.iter().sum::<u64>()), ends);
    p
}

/// 100 steps that hand 1 KiB on.
fn kilobytes() -> Pipeline {
    let mut p = Pipeline::new("kilobytes");
    let mut last = p.step("first", || Ok(vec![7_u64; 113]), ());
    for step in 1..100 {
        let next = move |row: &[u64]| {
            Ok(row.iter().map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect::<Vec<_>>())
        };
        last = p.step(format!("step {step}"), next, last);
    }
    p
}

fn naive(criterion: &mut Criterion) {
    let steps: Vec<Box<dyn Fn(u64) -> u64>> = (0..100).map(|_| Box::new(|n: u64| n + 1) as _).collect();
    criterion.bench_function("pipeline/chain of 100/boxed functions", |bench| {
        bench.iter(|| steps.iter().fold(black_box(1), |n, step| step(n)));
    });
}

fn in_memory(criterion: &mut Criterion) {
    let runner = Runner::new(SystemClock::new());
    let p = chain(100);
    criterion.bench_function("pipeline/chain of 100/content keys", |bench| {
        bench.iter(|| runner.run(black_box(&p), "1").unwrap());
    });
    criterion.bench_function("pipeline/chain of 100/wire and run", |bench| {
        bench.iter(|| runner.run(&chain(100), "1").unwrap());
    });
    let p = fan_out(10, 10);
    criterion.bench_function("pipeline/fan out 10x10/one thread", |bench| {
        bench.iter(|| runner.run(black_box(&p), "1").unwrap());
    });
    let two = runner.with_threads(2);
    criterion.bench_function("pipeline/fan out 10x10/two threads", |bench| {
        bench.iter(|| two.run(black_box(&p), "1").unwrap());
    });
}

fn cached(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap().without_sync();
    let runner = Runner::new(SystemClock::new()).with_store(store);
    let p = kilobytes();
    runner.run(&p, "first").unwrap();
    criterion.bench_function("pipeline/100 cached results of 1 KiB/verified run", |bench| {
        bench.iter(|| runner.run(black_box(&p), "again").unwrap());
    });
    criterion.bench_function("pipeline/100 cached results of 1 KiB/plan", |bench| {
        bench.iter(|| runner.plan(black_box(&p), "again").unwrap());
    });
}

criterion_group!(benches, naive, in_memory, cached);
criterion_main!(benches);
