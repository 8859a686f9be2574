//! What the request path takes from the allocator once it is warm: nothing of ours.

use std::sync::Arc;

use allocation_counter::measure;
use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::onnx::{LinearModel, Link};
use mlops_core::record::RecordSchema;
use mlops_core::{ElementType, ModelSignature, ModelVersion, SystemClock, TensorSpec};
use mlops_serve::batch::{BatchRuntime, BatchSettings};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{Endpoint, Head, Model, Request};
use mlops_serve::runtime::{FnRuntime, NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorView};

use crate::golden::{bytes, inputs};
use crate::models::{id, model};

/// Allocations of a hundred calls, after some to warm up.
fn allocations(mut call: impl FnMut(u32)) -> u64 {
    (0..10).for_each(&mut call);
    measure(|| (10..110).for_each(&mut call)).count_total
}

fn native(name: &str) -> NativeRuntime {
    NativeRuntime::from_onnx(&bytes(&format!("{name}.onnx"))).unwrap()
}

#[test]
fn scoring_a_row_allocates_nothing() {
    let probability = Head { output: "probabilities".into(), column: 1 };
    let logistic = LinearModel::new(vec![0.5; 17], 0.0).link(Link::Logistic).to_bytes().unwrap();
    let models = [
        Model::new(ModelVersion::new("shop", 1), NativeRuntime::from_onnx(&logistic).unwrap()),
        Model::new(ModelVersion::new("shop", 1), native("mlp")),
        Model::new(ModelVersion::new("shop", 1), native("xgboost_regressor")),
        Model::new(ModelVersion::new("shop", 1), native("lightgbm_classifier"))
            .and_then(|model| model.with_head(&probability)),
        Model::from_file(ModelVersion::new("shop", 1), crate::golden::file("lightgbm_regressor.txt")),
    ];
    for model in models {
        let model = Arc::new(model.unwrap());
        let row = vec![Value::Float(0.5); model.row_width().unwrap()];
        let rows = [&row[..]; 20];
        for endpoint in [
            Endpoint::new("shop", SystemClock::new()),
            Endpoint::new("shop", SystemClock::new()).without_timing(),
        ] {
            endpoint.deploy(Arc::clone(&model)).unwrap();
            let count = allocations(|number| {
                endpoint.score(id(number), &row).unwrap();
            });
            assert_eq!(count, 0, "one row of {model:?}");
            let mut scores = Vec::new();
            let count = allocations(|number| {
                scores.clear();
                endpoint.score_rows(id(number), &rows, &mut scores).unwrap();
            });
            assert_eq!(count, 0, "rows of {model:?}");
        }
    }
}

#[test]
fn an_encoder_of_several_inputs_allocates_nothing() {
    for case in [crate::encoded::two_tower(), crate::encoded::dlrm()] {
        let model = Model::new(ModelVersion::new("shop", 1), native(case.name)).unwrap();
        let endpoint = Endpoint::new("shop", SystemClock::new());
        endpoint.deploy(Arc::new(model.with_encoder(case.encoder()).unwrap())).unwrap();
        case.with_rows(|rows| {
            let count = allocations(|number| {
                endpoint.score(id(number), rows[number as usize % rows.len()]).unwrap();
            });
            assert_eq!(count, 0, "one row of {}", case.name);
            let mut scores = Vec::new();
            let count = allocations(|number| {
                scores.clear();
                endpoint.score_rows(id(number), rows, &mut scores).unwrap();
            });
            assert_eq!(count, 0, "rows of {}", case.name);
        });
    }
}

#[test]
fn two_arms_and_tensors_allocate_nothing() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |x| x), 0.5).unwrap();
    let count = allocations(|number| {
        endpoint.score(id(number), &[Value::Float(1.0)]).unwrap();
    });
    assert_eq!(count, 0);

    let runtime = Arc::new(native("two_tower"));
    let tensors = inputs("two_tower", &*runtime);
    let views: Vec<TensorView<'_>> = tensors.iter().map(TensorBuf::view).collect();
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(Arc::new(Model::from_arc(ModelVersion::new("shop", 1), runtime).unwrap())).unwrap();
    let mut outputs = Vec::new();
    let count = allocations(|number| {
        endpoint.run(id(number), &views, &mut outputs).unwrap();
    });
    assert_eq!(count, 0);

    // Requests that are not in the sample cost nothing more.
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let settings = CaptureSettings::default().sample(0.0);
    let capture = Arc::new(Capture::new(RecordSchema::new(&table, ["score"]).unwrap(), settings).unwrap());
    let captured = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
    captured.set_arms(endpoint.arms()).unwrap();
    let count = allocations(|number| {
        captured.run(id(number), &views, &mut outputs).unwrap();
    });
    assert_eq!(count, 0);
    assert!(capture.counts().skipped >= 100);
}

/// Once the buffers have grown to what comes between two drains, a record is copied into memory that is there. After a
/// drain the names of each arm and its model are copied once.
#[test]
fn a_captured_request_allocates_nothing_but_the_names_of_its_arm() {
    let table =
        TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("visitor", ColumnKind::Text)]);
    let capture =
        Capture::new(RecordSchema::new(&table.unwrap(), ["score"]).unwrap(), CaptureSettings::default());
    let capture = Arc::new(capture.unwrap());
    let signature = ModelSignature {
        inputs: vec![
            TensorSpec::batch("x", ElementType::F32, 1),
            TensorSpec::batch("visitor", ElementType::Text, 1),
        ],
        outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
    };
    let runtime = FnRuntime::new("first", signature, |inputs, outputs| {
        let x = inputs[0].values::<f32>()?;
        outputs[0].reset::<f32>([x.len(), 1])?.copy_from_slice(x);
        Ok(())
    });
    let model = Arc::new(Model::new(ModelVersion::new("shop", 1), runtime.unwrap()).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
    endpoint.deploy(model).unwrap();
    let row = [Value::Float(1.0), Value::Text("returning")];
    let burst = || {
        let request = |number| Request::new(id(number)).candidates(&["hat", "scarf"]);
        measure(|| (0..100).for_each(|number| drop(endpoint.score(request(number), &row).unwrap())))
            .count_total
    };
    // Drained memory goes on to another buffer: until each has been this thread's, some of it grows.
    for _ in 0..10 {
        let _ = burst() + burst();
        assert_eq!(capture.drain().unwrap().unwrap().num_rows(), 200);
    }
    assert!(burst() <= 2, "the names");
    assert_eq!(burst(), 0);
    assert_eq!(capture.drain().unwrap().unwrap().num_rows(), 200);
}

#[test]
fn half_precision_behind_an_encoder_allocates_nothing() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(Arc::new(crate::precision::encoded_halves())).unwrap();
    let row = [Value::Float(3.0), Value::Float(7.0)];
    let count = allocations(|number| {
        endpoint.score(id(number), &row).unwrap();
    });
    assert_eq!(count, 0);
    let (rows, mut scores) = ([&row[..]; 20], Vec::new());
    let count = allocations(|number| {
        scores.clear();
        endpoint.score_rows(id(number), &rows, &mut scores).unwrap();
    });
    assert_eq!(count, 0);
}

#[test]
fn an_idle_combiner_allocates_nothing() {
    let batched = BatchRuntime::new(native("mlp"), BatchSettings::default(), SystemClock::new()).unwrap();
    let features = [0.5_f32; 64];
    let view = [TensorView::new(&features, [1, 64]).unwrap()];
    let mut outputs = batched.outputs();
    assert_eq!(allocations(|_| batched.run(&view, &mut outputs).unwrap()), 0);
}

/// The floor is what the `ort` crate itself takes for the same call with a preallocated output.
#[cfg(feature = "ort")]
#[test]
fn onnx_runtime_allocates_one_time_more_than_its_crate_at_most() {
    use mlops_serve::runtime::{OrtOptions, OrtRuntime};
    use ort::session::{OutputSelector, RunOptions, Session};
    use ort::value::{Tensor, TensorRef};

    let Some(library) = crate::ort::library() else { return };
    let file = bytes("mlp.onnx");
    let mut session = Session::builder(library.environment()).unwrap().commit_from_memory(&file).unwrap();
    let name = session.outputs()[0].name().to_owned();
    let output = Tensor::<f32>::new(session.allocator(), [1_usize, 1]).unwrap();
    let selector = OutputSelector::no_default().with(&name).preallocate(&name, output);
    let options = RunOptions::new().unwrap().with_outputs(selector);
    let features = [0.5_f32; 64];
    let floor = allocations(|_| {
        let input = TensorRef::from_array_view(([1_usize, 64], &features[..])).unwrap();
        let outputs = session.run_with_options(ort::inputs![input], &options).unwrap();
        assert_eq!(outputs[0].try_extract_tensor::<f32>().unwrap().1.len(), 1);
    });
    let runtime = OrtRuntime::from_bytes(&library, &file, &OrtOptions::default()).unwrap();
    let view = [TensorView::new(&features, [1, 64]).unwrap()];
    let mut outputs = runtime.outputs();
    let ours = allocations(|_| runtime.run(&view, &mut outputs).unwrap());
    assert!(ours <= floor + 100, "{ours} in a hundred calls, {floor} without us");
}
