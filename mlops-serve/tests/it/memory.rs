//! One huge call does not hold its memory for ever.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use allocation_counter::measure;
use mlops_core::SystemClock;
use mlops_core::data::Value;
use mlops_serve::batch::{BatchRuntime, BatchSettings};
use mlops_serve::compose::{Chain, Ensemble};
use mlops_serve::endpoint::Endpoint;
use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
use mlops_serve::runtime::{FnRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorView;

use crate::models::{function, id, signature};

/// Rows of a call of 20 MiB, and the most that is kept between calls.
const HUGE: usize = 5 << 20;
const KEPT: usize = 16 << 20;

fn run(runtime: &dyn Runtime, rows: usize) {
    let features = vec![1.0_f32; rows];
    let view = TensorView::new(&features, [rows, 1]).unwrap();
    let outputs = runtime.predict(&[view]).unwrap();
    assert_eq!(outputs[0].view().values::<f32>().unwrap().len(), rows);
}

fn keeps_little(runtime: &dyn Runtime) {
    run(runtime, HUGE);
    (0..1000).for_each(|_| run(runtime, 1));
    assert!(runtime.memory_usage() <= KEPT, "{} bytes", runtime.memory_usage());
}

#[test]
fn runtimes_of_runtimes_let_go_of_a_huge_call() {
    let boxed = |version| Box::new(function(version, |x| x)) as Box<dyn Runtime>;
    keeps_little(&Chain::new(vec![boxed(1), boxed(2)]).unwrap());
    keeps_little(&Ensemble::new(vec![(boxed(1), 1.0), (boxed(2), 1.0)]).unwrap());
    let patient = IsolationSettings::default().time_limit(Duration::from_secs(600));
    keeps_little(&IsolatedRuntime::new(function(1, |x| x), patient).unwrap());
    let small = Chain::new(vec![boxed(1), boxed(2)]).unwrap();
    run(&small, 1000);
    assert!(small.memory_usage() >= 4000, "what is kept is told");
}

#[test]
fn a_batcher_lets_go_of_a_huge_call() {
    let meeting = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&meeting);
    let runtime = FnRuntime::new("meets", signature(), move |inputs, outputs| {
        if inputs[0].rows() == 2 {
            inside.wait();
            inside.wait();
        }
        outputs[0].assign(&inputs[0])
    });
    let settings =
        BatchSettings::default().parallel(1.try_into().unwrap()).rows_max((2 * HUGE).try_into().unwrap());
    let batched = BatchRuntime::new(runtime.unwrap(), settings, SystemClock::new()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| run(&batched, 2));
        meeting.wait();
        scope.spawn(|| run(&batched, HUGE));
        while batched.waiting() == 0 {
            std::thread::yield_now();
        }
        meeting.wait();
    });
    assert_eq!(batched.stats().waited_calls, 1);
    (0..1000).for_each(|_| run(&batched, 1));
    assert!(batched.memory_usage() <= KEPT, "{} bytes", batched.memory_usage());
}

#[test]
fn a_thread_lets_go_of_the_outputs_of_a_huge_call() {
    let wide = FnRuntime::new("wide", signature(), |inputs, outputs| {
        // An engine may use more than it answers with.
        let huge = if inputs[0].values::<f32>()?[0] > 5.0 { HUGE } else { 1 };
        outputs[0].reset::<f32>([huge, 1])?;
        outputs[0].reset::<f32>([inputs[0].rows(), 1])?.fill(0.5);
        Ok(())
    });
    let version = mlops_core::ModelVersion::new("shop", 1);
    let model = mlops_serve::endpoint::Model::new(version, wide.unwrap()).unwrap();
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(Arc::new(model)).unwrap();
    let score = |x: f64| endpoint.score(id(0), &[Value::Float(x)]).unwrap();
    (0..10).for_each(|_| drop(score(1.0)));
    let held = measure(|| {
        score(9.0);
        (0..1000).for_each(|_| drop(score(1.0)));
    });
    assert!(held.bytes_max >= 4 * HUGE as u64);
    assert!(held.bytes_current <= 4 << 20, "{} bytes are held", held.bytes_current);
}

#[cfg(feature = "native")]
#[test]
fn files_that_a_model_does_not_need_are_checked_without_being_held() {
    use std::collections::BTreeMap;

    use mlops_core::onnx::LinearModel;
    use mlops_core::{Digest, ErrorKind, ModelFile, ModelPackage, ModelSignature, ModelVersion};
    use mlops_serve::endpoint::Loader;

    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (folder.path().join("model"), folder.path().join("data"));
    std::fs::write(&model, LinearModel::new(vec![1.0, -1.0], 0.5).to_bytes().unwrap()).unwrap();
    std::fs::write(&data, vec![7; 4 * HUGE]).unwrap();
    let file =
        |path: &std::path::Path| (Digest::of(std::fs::read(path).unwrap()), ModelFile::Path(path.to_owned()));
    let files =
        BTreeMap::from([("model.onnx".to_owned(), file(&model)), ("rows.parquet".to_owned(), file(&data))]);
    let package = ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), files);
    let loader = Loader::auto(SystemClock::new());
    let held = measure(|| drop(loader.load(&package).unwrap()));
    assert!(held.bytes_max < HUGE as u64, "{} bytes", held.bytes_max);

    let damage = |path: &std::path::Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).unwrap();
        let error = loader.load(&package).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        error.to_string()
    };
    assert!(damage(&data).contains("file `rows.parquet` of shop/1 is damaged"));
    assert!(damage(&model).contains("file `model.onnx` of shop/1 is damaged"));
}
