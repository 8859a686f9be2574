//! Benchmarks of `mlops-drift`.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::Seed;
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_drift::Sample;
use mlops_drift::binning::{Binning, count};
use mlops_drift::detector::*;
use mlops_drift::distance::{psi, smoothed};
use mlops_drift::gap_count::{GapCounts, Reference};
use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions};
use mlops_drift::special::kstwo_sf;
use mlops_drift::two_sample::kolmogorov_smirnov;
use rand::RngExt;

fn uniforms(n: usize) -> Vec<f64> {
    let mut random = Seed::new(n as u64).rng();
    (0..n).map(|_| random.random()).collect()
}

fn errors(n: usize) -> Vec<f64> {
    uniforms(n).into_iter().map(|u| f64::from(u8::from(u < 0.1))).collect()
}

fn detectors(c: &mut Criterion) {
    let stream = errors(10_000);
    let mut group = c.benchmark_group("detector, an update");
    group.throughput(Throughput::Elements(stream.len() as u64));
    let adwin = |clock| Adwin::new(AdwinSettings { clock, ..AdwinSettings::default() }).unwrap();
    let all: Vec<(&str, AnyDetector)> = vec![
        ("adwin clock 32", adwin(32).into()),
        ("adwin clock 1", adwin(1).into()),
        ("cusum", Cusum::new(CusumSettings::default()).unwrap().into()),
        ("ddm", Ddm::new(DdmSettings::default()).unwrap().into()),
        ("ecdd", Ecdd::new(EcddSettings::default()).unwrap().into()),
        ("eddm", Eddm::new(EddmSettings::default()).unwrap().into()),
        ("fhddm", Fhddm::new(FhddmSettings::default()).unwrap().into()),
        ("gma", Gma::new(GmaSettings::default()).unwrap().into()),
        ("hddm_a", HddmA::new(HddmASettings::default()).unwrap().into()),
        ("hddm_w", HddmW::new(HddmWSettings::default()).unwrap().into()),
        ("kswin", Kswin::new(KswinSettings::default()).unwrap().into()),
        ("page_hinkley", PageHinkley::new(PageHinkleySettings::default()).unwrap().into()),
        ("rddm", Rddm::new(RddmSettings::default()).unwrap().into()),
        ("stepd", Stepd::new(StepdSettings::default()).unwrap().into()),
    ];
    for (name, detector) in all {
        let mut detector = detector;
        group.bench_function(name, |b| {
            b.iter(|| stream.iter().filter(|value| detector.update(**value).unwrap().is_drift()).count());
        });
    }
    group.finish();

    let streams = 10_000;
    let mut group = c.benchmark_group("ddm over 10000 streams, an update of one");
    group.throughput(Throughput::Elements(streams));
    let rows: Vec<Vec<f64>> =
        (0..16).map(|row| errors(streams as usize + row)[..streams as usize].to_vec()).collect();
    let mut bank = DdmBank::new(DdmSettings::default(), streams as usize).unwrap();
    let mut next = rows.iter().cycle();
    group.bench_function("bank", |b| b.iter(|| bank.update(next.next().unwrap()).unwrap()));
    let mut singles = vec![Ddm::new(DdmSettings::default()).unwrap(); streams as usize];
    group.bench_function("naive: a list of detectors", |b| {
        b.iter(|| {
            for (single, value) in singles.iter_mut().zip(next.next().unwrap()) {
                single.update(*value).unwrap();
            }
        });
    });
    group.finish();
}

fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("ks of n and n values");
    for n in [1_000, 100_000, 1_000_000] {
        let (a, b) = (uniforms(n), uniforms(n + 1));
        group.bench_function(format!("{n}"), |bencher| {
            bencher.iter(|| {
                let (a, b) =
                    (Sample::new(a.iter().copied()).unwrap(), Sample::new(b.iter().copied()).unwrap());
                kolmogorov_smirnov(&a, &b).unwrap()
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("kstwo_sf");
    for (d, n) in [(0.1, 100u64), (0.165, 140), (0.02, 5_000), (0.003, 500_000)] {
        group.bench_function(format!("n {n}"), |b| b.iter(|| kstwo_sf(black_box(d), black_box(n))));
    }
    group.finish();

    let mut group = c.benchmark_group("gap count, a value");
    let live = uniforms(100_000);
    group.throughput(Throughput::Elements(live.len() as u64));
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        let reference = Reference::new(&Sample::new(uniforms(size)).unwrap()).unwrap();
        let mut counts = GapCounts::new(&reference);
        group.bench_function(format!("reference {size}"), |b| {
            b.iter(|| live.iter().for_each(|value| counts.update(&reference, *value).unwrap()));
        });
    }
    group.finish();

    let million = uniforms(1_000_000);
    let reference = Reference::new(&Sample::new(uniforms(10_000)).unwrap()).unwrap();
    let edges = Binning::Quantile(10).edges(&reference).unwrap();
    let was = smoothed(&count(&edges, &uniforms(10_000)).unwrap());
    c.bench_function("psi of 1e6 values, deciles", |b| {
        b.iter(|| psi(&was, &smoothed(&count(&edges, &million).unwrap())).unwrap());
    });

    let names: Vec<String> = (0..20).map(|k| format!("x{k}")).collect();
    let schema = TableSchema::new(names.iter().map(|name| Column::new(name, ColumnKind::Float))).unwrap();
    let table = |rows: usize| {
        let columns = names.iter().enumerate().map(|(k, name)| {
            let array: ArrayRef = Arc::new(Float64Array::from(uniforms(rows + k)));
            (name.as_str(), array.slice(0, rows))
        });
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let baseline = Baseline::fit(&schema, &[table(10_000)], BaselineOptions::default()).unwrap();
    let live = [table(1_000_000)];
    c.bench_function("check 1e6 rows x 20 columns against 1e4", |b| {
        b.iter(|| baseline.check(&live, &CheckOptions::default()).unwrap());
    });
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = detectors, batch }
criterion_main!(benches);
