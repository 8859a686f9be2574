//! All faults at once, for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_core::record::RecordSchema;
use mlops_core::{Digest, Error, ModelFile, ModelPackage, ModelVersion, SystemClock};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{Endpoint, Loader, Model};
use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
use mlops_serve::runtime::FnRuntime;

use crate::models::{function, id, model, row, signature};

/// A package whose only file is not where it should be.
fn missing_file() -> ModelPackage {
    let file = (Digest::of(""), ModelFile::Path("/nowhere/model.onnx".into()));
    let files = [("model.onnx".to_owned(), file)].into_iter().collect();
    ModelPackage::new(ModelVersion::new("shop", 7), signature(), files)
}

/// Every fault there is, from many threads, while versions come and go: panics, NaN, wrong shapes, errors of two
/// kinds, slow and hanging models, and files that are missing.
#[test]
fn a_soak_with_faults_loses_no_answer_and_keeps_its_memory() {
    let rounds = 210;
    let limit =
        IsolationSettings::default().time_limit(Duration::from_millis(2)).hung_max(2.try_into().unwrap());
    let release = Arc::new(AtomicBool::new(false));
    let bad = |round: u64| -> Arc<Model> {
        let version = ModelVersion::new("shop", 1000 + round);
        let wrong = |result: fn() -> Result<(), Error>, rows: usize| {
            FnRuntime::new("wrong", signature(), move |_, outputs| {
                outputs[0].reset::<f32>([rows, 1])?.fill(0.0);
                result()
            })
        };
        let runtime = match round % 7 {
            0 => Model::new(version, function(round, |_| panic!("soak"))),
            1 => Model::new(version, function(round, |_| f32::NAN)),
            2 => Model::new(version, wrong(|| Ok(()), 3).unwrap()),
            3 => Model::new(version, wrong(|| Err(Error::unavailable("away")), 1).unwrap()),
            4 => Model::new(version, wrong(|| Err(Error::data("broken")), 1).unwrap()),
            5 => {
                let slow = function(round, |x| {
                    std::thread::sleep(Duration::from_micros(300));
                    x
                });
                Model::new(version, slow)
            }
            _ => {
                let release = Arc::clone(&release);
                let hangs = function(round, move |x| {
                    while !release.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    x
                });
                Model::new(version, IsolatedRuntime::new(hangs, limit).unwrap())
            }
        };
        Arc::new(runtime.unwrap())
    };
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let settings = CaptureSettings::default().bytes_max(1 << 20);
    let capture = Arc::new(Capture::new(RecordSchema::new(&table, ["score"]).unwrap(), settings).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
    endpoint.deploy(model(0, |x| x)).unwrap();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let held = AtomicI64::new(0);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for thread in 0..3_u32 {
            let (endpoint, stop, answered, held) = (&endpoint, &stop, &answered, &held);
            scope.spawn(move || {
                let mut number = thread << 24;
                let memory = measure(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let answer = endpoint.score(id(number), &row());
                        assert_eq!(answer.map(|answer| answer.score).ok(), Some(1.0), "an answer was lost");
                        answered.fetch_add(1, Ordering::Relaxed);
                        number += 1;
                    }
                });
                held.fetch_add(memory.bytes_current, Ordering::Relaxed);
            });
        }
        let missing = missing_file();
        let memory = measure(|| {
            for round in 0..rounds {
                assert!(Loader::new(|_| Err(Error::internal("never asked"))).load(&missing).is_err());
                let before = answered.load(Ordering::Relaxed);
                endpoint.challenge(bad(round), 0.5).unwrap();
                while answered.load(Ordering::Relaxed) < before + 50 {
                    std::thread::yield_now();
                }
                capture.drain().unwrap();
                if round % 2 == 0 { endpoint.roll_back() } else { endpoint.deploy(model(round, |x| x)) }
                    .unwrap();
            }
        });
        held.fetch_add(memory.bytes_current, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
    });
    let _ = std::panic::take_hook();
    release.store(true, Ordering::SeqCst);
    assert_eq!(endpoint.reap(), 0, "nothing but the arms is left");
    // Buffers of the capture, and sums of the arms: what a few rounds take, not what all of them took.
    let held = held.into_inner();
    assert!(held < 6 << 20, "{held} bytes were not given back");
    capture.drain().unwrap();
    let counts = capture.counts();
    assert_eq!((counts.captured + counts.dropped) as usize, answered.load(Ordering::Relaxed));
    let traffic = endpoint.take_traffic();
    let requests: u64 = traffic.iter().map(|arm| arm.traffic.requests).sum();
    assert_eq!(requests as usize, answered.load(Ordering::Relaxed));
    let failures = |arm: &str| -> u64 {
        traffic.iter().filter(|traffic| traffic.arm == arm).map(|traffic| traffic.traffic.failures).sum()
    };
    assert_eq!(failures("champion"), 0);
    assert!(failures("challenger") > rounds);
}
