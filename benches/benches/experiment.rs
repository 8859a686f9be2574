//! Benchmarks of always-valid statistics: what a look costs, beside the naive way of looking, which goes through
//! all outcomes again.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mlops_core::experiment::sequence::{Betting, Bounded, PredictableMixture, Sequence};
use mlops_core::experiment::{Arm, MeanDifference, Moments, Proportion, RateDifference, TwoArm};

fn outcome(i: usize) -> f64 {
    (i * 2_654_435_761 % 1000) as f64 / 1000.0
}

/// One outcome and one look at the difference of two arms.
fn look(c: &mut Criterion) {
    let mut group = c.benchmark_group("look at two arms");
    let test = MeanDifference::default();
    for rows in [1_000, 100_000] {
        let values: Vec<f64> = (0..rows).map(outcome).collect();
        let moments = Moments::of(values.iter().copied()).unwrap();
        group.bench_function(BenchmarkId::new("moments", rows), |b| {
            let mut arms = TwoArm::new(moments, moments);
            b.iter(|| {
                arms.record(Arm::Treatment, black_box(0.5)).unwrap();
                test.compare(&arms).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("naive: all outcomes again", rows), |b| {
            b.iter(|| {
                let again = || Moments::of(black_box(&values).iter().copied()).unwrap();
                test.compare(&TwoArm::new(again(), again())).unwrap()
            });
        });
        let counts = Proportion::of(rows as u64 / 50, rows as u64).unwrap();
        let arms = TwoArm::new(counts, Proportion::of(rows as u64 / 40, rows as u64).unwrap());
        let exact = RateDifference::default();
        group.bench_function(BenchmarkId::new("exact rates, e-value", rows), |b| {
            b.iter(|| exact.log_e_value(black_box(&arms)).unwrap());
        });
        group.bench_function(BenchmarkId::new("exact rates, interval", rows), |b| {
            b.iter(|| exact.compare(black_box(&arms)).unwrap());
        });
    }
    group.finish();
}

/// One value of a sequence for bounded values.
fn push(c: &mut Criterion) {
    let mut group = c.benchmark_group("push a bounded value");
    let values: Vec<f64> = (0..1024).map(outcome).collect();
    let mut next = values.iter().cycle();
    let mut empirical = PredictableMixture::empirical_bernstein(Bounded::default()).unwrap();
    group
        .bench_function("empirical-Bernstein", |b| b.iter(|| empirical.push(*next.next().unwrap()).unwrap()));
    for steps in [100, 1000] {
        let mut betting = Betting::new(Bounded::default(), steps).unwrap();
        group.bench_function(BenchmarkId::new("betting", steps), |b| {
            b.iter(|| betting.push(*next.next().unwrap()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, look, push);
criterion_main!(benches);
