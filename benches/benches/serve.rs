//! Benchmarks of the runtimes of `mlops-serve`: our kernels beside ONNX Runtime, and our face of ONNX Runtime
//! beside the bare one.
//!
//! `ORT_DYLIB_PATH` names the ONNX Runtime library; without it that side is left out.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use benches::forests::{leaf_wise, trees};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::onnx::{LinearModel, Link};
use mlops_core::{Dimension, ElementType, ModelSignature, Seed, TensorSpec};
use mlops_serve::runtime::{NativeRuntime, OrtLibrary, OrtOptions, OrtRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorView};
use ort::session::{OutputSelector, RunOptions, Session, builder::GraphOptimizationLevel};
use ort::value::{Tensor, TensorRef};
use rand::RngExt;

const BATCHES: [usize; 4] = [1, 8, 64, 256];

#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "whoever runs the benchmark names the library"
)]
fn library() -> Option<OrtLibrary> {
    let Ok(path) = std::env::var("ORT_DYLIB_PATH") else {
        eprintln!("left out: ORT_DYLIB_PATH does not name an ONNX Runtime library");
        return None;
    };
    Some(OrtLibrary::load(path).expect("ORT_DYLIB_PATH names a library that loads"))
}

fn normal(count: usize) -> Vec<f32> {
    let mut rng = Seed::new(2).rng();
    (0..count).map(|_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0).collect()
}

/// One model with one input and one score: ours, our face of ONNX Runtime, the bare ONNX Runtime.
fn compare(c: &mut Criterion, name: &str, model: &Bytes, width: usize) {
    let native = NativeRuntime::from_onnx(model).expect("the kernels know the model");
    let library = library();
    let mut group = c.benchmark_group(name);
    for rows in BATCHES {
        let features = normal(rows * width);
        let view = TensorView::new(&features, [rows, width]).expect("the shape fits");
        group.throughput(Throughput::Elements(rows as u64));
        let mut outputs = native.outputs();
        group.bench_function(BenchmarkId::new("native", rows), |b| {
            b.iter(|| native.run(black_box(&[view]), &mut outputs).expect("the input fits"));
        });
        let Some(library) = &library else { continue };
        let runtime =
            OrtRuntime::from_bytes(library, model, &OrtOptions::default()).expect("ORT knows the model");
        let mut outputs = runtime.outputs();
        group.bench_function(BenchmarkId::new("ort", rows), |b| {
            b.iter(|| runtime.run(black_box(&[view]), &mut outputs).expect("the input fits"));
        });
        bare(library, model, &mut group, &features, rows);
    }
    group.finish();
}

/// The `ort` crate with a preallocated output: nothing of ours.
fn bare(
    library: &OrtLibrary,
    model: &Bytes,
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    features: &[f32],
    rows: usize,
) {
    let mut session = Session::builder(library.environment())
        .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::All)?))
        .and_then(|builder| Ok(builder.with_intra_threads(1)?))
        .and_then(|mut builder| builder.commit_from_memory(model))
        .expect("ORT knows the model");
    let name = session.outputs()[0].name().to_owned();
    let output = Tensor::<f32>::new(session.allocator(), [rows, 1]).expect("a small tensor");
    let options = RunOptions::new()
        .expect("options are always there")
        .with_outputs(OutputSelector::no_default().with(&name).preallocate(&name, output));
    let shape = [rows, features.len() / rows];
    group.bench_function(BenchmarkId::new("ort_bare", rows), |b| {
        b.iter(|| {
            let input = TensorRef::from_array_view((shape, features)).expect("the shape fits");
            let outputs = session.run_with_options(ort::inputs![input], &options).expect("the input fits");
            black_box(outputs[0].try_extract_tensor::<f32>().expect("scores are floats").1[0])
        });
    });
}

fn models(c: &mut Criterion) {
    compare(c, "serve/trees_200x64", &trees(200, 6, 17), 17);
    compare(c, "serve/leaf_wise_200x31", &leaf_wise(200, 31, 17), 17);
    compare(c, "serve/trees_100x512", &trees(100, 9, 17), 17);
    let coefficients = (0..17).map(|index| f64::from(index) / 10.0).collect();
    let logistic =
        LinearModel::new(coefficients, -1.0).link(Link::Logistic).to_bytes().expect("finite numbers");
    compare(c, "serve/logistic_17", &logistic, 17);
    let mlp = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/serve/mlp.onnx");
    compare(c, "serve/mlp_64_128_32_1", &std::fs::read(mlp).expect("test data is there").into(), 64);
}

/// The models of recommenders, with several inputs: two towers, a DLRM, the ten best of a thousand items.
fn recommenders(c: &mut Criterion) {
    let library = library();
    for name in ["two_tower", "dlrm", "retrieval"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/serve/{name}.onnx"));
        let model: Bytes = std::fs::read(file).expect("test data is there").into();
        let native = NativeRuntime::from_onnx(&model).expect("the kernels know the model");
        let ort = library.as_ref().map(|library| {
            OrtRuntime::from_bytes(library, &model, &OrtOptions::default()).expect("ORT knows the model")
        });
        let mut group = c.benchmark_group(format!("serve/{name}"));
        for rows in BATCHES {
            let inputs = inputs(native.signature(), rows);
            let views: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
            group.throughput(Throughput::Elements(rows as u64));
            let runtimes =
                [("native", Some(&native as &dyn Runtime)), ("ort", ort.as_ref().map(|ort| ort as _))];
            for (engine, runtime) in runtimes {
                let Some(runtime) = runtime else { continue };
                let mut outputs = runtime.outputs();
                group.bench_function(BenchmarkId::new(engine, rows), |b| {
                    b.iter(|| runtime.run(black_box(&views), &mut outputs).expect("the input fits"));
                });
            }
        }
        group.finish();
    }
}

/// Rows of this signature: numbers of a normal distribution, small ids.
fn inputs(signature: &ModelSignature, rows: usize) -> Vec<TensorBuf> {
    let input = |spec: &TensorSpec| {
        let width = |axis: &Dimension| if let Dimension::Fixed(width) = axis { *width } else { rows };
        let shape: Vec<usize> = spec.shape.iter().map(width).collect();
        let mut input = TensorBuf::default();
        if spec.element == ElementType::I64 {
            let ids = input.reset::<i64>(&shape).expect("a small tensor");
            ids.iter_mut().zip(0_i64..).for_each(|(id, place)| *id = place % 7);
        } else {
            let numbers = input.reset::<f32>(&shape).expect("a small tensor");
            numbers.copy_from_slice(&normal(numbers.len()));
        }
        input
    };
    signature.inputs.iter().map(input).collect()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700));
    targets = models, recommenders
}
criterion_main!(benches);
