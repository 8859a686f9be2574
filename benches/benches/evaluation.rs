//! Benchmarks of `mlops_core::evaluation`, each beside the naive way. `peers/evaluation.py` times the same sizes
//! in Python.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mlops_core::Seed;
use mlops_core::evaluation::MetricState;
use mlops_core::evaluation::bias::{Contingency, Gap};
use mlops_core::evaluation::binary::{
    BinaryMetrics, BinaryRow, BinarySettings, ScoreHistogram, ScoreMemory, Scored,
};
use mlops_core::evaluation::calibration::Isotonic;
use mlops_core::evaluation::interval::{Bootstrap, BootstrapMethod};
use mlops_core::evaluation::ranking::{Conventions, Ranking, ndcg_rows};
use ndarray::Array2;
use rand::RngExt;

const ROWS: usize = 1_000_000;

fn rows() -> (Vec<bool>, Vec<f64>) {
    let mut rng = Seed::new(1).rng();
    let row = |_| {
        let label = rng.random::<f64>() < 0.3;
        (label, 0.3 * f64::from(u8::from(label)) + 0.7 * rng.random::<f64>())
    };
    (0..ROWS).map(row).unzip()
}

fn area(c: &mut Criterion) {
    let (labels, scores) = rows();
    let mut group = c.benchmark_group("roc_auc_1e6");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function("exact", |b| b.iter(|| Scored::new(&labels, &scores).unwrap().roc_auc()));
    group.bench_function("histogram_65536", |b| {
        b.iter(|| {
            let mut histogram = ScoreHistogram::probabilities(65_536).unwrap();
            histogram.extend(&labels, &scores).unwrap();
            (histogram.roc_auc(), histogram.roc_auc_error())
        });
    });
    group.bench_function("naive_sort_of_pairs", |b| {
        b.iter(|| {
            let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (mut below, mut won, mut positives) = (0.0, 0.0, 0.0);
            for tied in rows.chunk_by(|a, b| a.0 == b.0) {
                let hits = tied.iter().filter(|row| row.1).count() as f64;
                let misses = tied.len() as f64 - hits;
                won += hits * (below + misses / 2.0);
                below += misses;
                positives += hits;
            }
            won / (positives * below)
        });
    });
    group.finish();
}

fn stream(c: &mut Criterion) {
    let (labels, scores) = rows();
    let mut group = c.benchmark_group("binary_1e6");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function("log_loss", |b| {
        b.iter(|| Scored::new(&labels, &scores).unwrap().losses().unwrap().log_loss());
    });
    group.bench_function("all_metrics_one_pass", |b| {
        b.iter(|| {
            let scores_kept = ScoreMemory::Histogram { bins: 65_536 };
            let settings = BinarySettings { scores: scores_kept, ..BinarySettings::default() };
            let mut metrics = BinaryMetrics::new(settings).unwrap();
            for (&label, &score) in labels.iter().zip(&scores) {
                metrics.push(&BinaryRow::new(label, score)).unwrap();
            }
            metrics.metrics().len()
        });
    });
    group.finish();
}

fn ndcg(c: &mut Criterion) {
    let (queries, items) = (100_000, 100);
    let mut rng = Seed::new(2).rng();
    let relevance = Array2::from_shape_simple_fn((queries, items), || f64::from(rng.random_range(0_u8..4)));
    let scores = Array2::from_shape_simple_fn((queries, items), || rng.random::<f64>());
    let mut group = c.benchmark_group("ndcg_at_10_1e5x100");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(300));
    for (name, conventions) in [("averaged_ties", Conventions::sklearn()), ("as_given", Conventions::ranx())]
    {
        group.bench_function(name, |b| {
            b.iter(|| ndcg_rows(&relevance.view(), &scores.view(), 10, conventions).unwrap());
        });
    }
    group.bench_function("naive_sort_each", |b| {
        b.iter(|| {
            let pairs = relevance.rows().into_iter().zip(scores.rows());
            let ndcg = pairs.map(|(relevance, scores)| {
                let (relevance, scores) = (relevance.to_slice().unwrap(), scores.to_slice().unwrap());
                Ranking::from_scores(relevance, scores, Conventions::ranx()).unwrap().ndcg(Some(10))
            });
            ndcg.sum::<f64>()
        });
    });
    group.finish();
}

fn bias(c: &mut Criterion) {
    let mut rng = Seed::new(3).rng();
    let facets: Vec<u32> = (0..ROWS).map(|_| rng.random_range(0..5)).collect();
    let groups: Vec<u32> = (0..ROWS).map(|_| rng.random_range(0..4)).collect();
    let labels: Vec<bool> = (0..ROWS).map(|_| rng.random()).collect();
    let predictions: Vec<bool> = (0..ROWS).map(|_| rng.random()).collect();
    let names = ["a", "b", "c", "d", "e"];
    let mut group = c.benchmark_group("bias_1e6");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function("every_metric_of_five_facets", |b| {
        b.iter(|| {
            let mut table = Contingency::grouped(names, ["p", "q", "r", "s"]).unwrap();
            table.extend(&facets, Some(&groups), &labels, &predictions).unwrap();
            let clarify: usize = names.iter().map(|name| table.bias(name).unwrap().metrics().len()).sum();
            (clarify, table.gaps().metrics(), table.gaps().equalized_odds_ratio(Gap::ToOverall))
        });
    });
    group.bench_function("naive_one_difference_of_five_facets", |b| {
        b.iter(|| {
            let rate = |facet: u32| {
                let rows = facets.iter().zip(&predictions).filter(|row| *row.0 == facet);
                let (mut hits, mut all) = (0.0, 0.0);
                rows.for_each(|row| {
                    hits += f64::from(u8::from(*row.1));
                    all += 1.0;
                });
                hits / all
            };
            let rates: Vec<f64> = (0..5).map(rate).collect();
            rates.iter().copied().fold(0.0, f64::max) - rates.iter().copied().fold(1.0, f64::min)
        });
    });
    group.finish();
}

fn resample(c: &mut Criterion) {
    let (_, scores) = rows();
    let values = &scores[..100_000];
    let mean = |rows: &[usize]| Some(rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64);
    let mut group = c.benchmark_group("bootstrap_1e5x200");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    let bootstrap = Bootstrap::new(Seed::new(4)).resamples(200).method(BootstrapMethod::Percentile);
    group.bench_function("percentile_mean", |b| b.iter(|| bootstrap.metric(values.len(), mean).unwrap()));
    group.finish();
}

fn calibrate(c: &mut Criterion) {
    let (labels, scores) = rows();
    let curve = Isotonic::fit(&Scored::new(&labels[..20_000], &scores[..20_000]).unwrap()).unwrap();
    c.bench_function("isotonic_one_score", |b| b.iter(|| curve.probability(black_box(0.4321))));
}

criterion_group!(benches, area, stream, ndcg, bias, resample, calibrate);
criterion_main!(benches);
