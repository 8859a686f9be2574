//! One huge call does not hold its memory for ever.

use std::sync::{Arc, Barrier};

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

/// Rows of a call of 32 MiB, and the most that is kept between calls.
const HUGE: usize = 8 << 20;
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
    keeps_little(&IsolatedRuntime::new(function(1, |x| x), IsolationSettings::default()).unwrap());
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
