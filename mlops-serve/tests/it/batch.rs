//! Batching under concurrency, deadlines and faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{
    Clock, ElementType, Error, ErrorKind, ManualClock, ModelSignature, ModelVersion, RequestId, SystemClock,
    TensorSpec, Timestamp,
};
use mlops_serve::Overloaded;
use mlops_serve::batch::{BatchRuntime, BatchSettings, Call, Cancel};
use mlops_serve::endpoint::{Endpoint, Model, Request};
use mlops_serve::runtime::{Capabilities, FnRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorView;

use crate::models::function;

fn settings() -> BatchSettings {
    BatchSettings::default().parallel(1.try_into().unwrap())
}

fn call(runtime: &BatchRuntime, x: f32, call: Call<'_>) -> mlops_serve::Result<f32> {
    let mut outputs = runtime.outputs();
    runtime.run_call(&[TensorView::new(&[x], [1, 1])?], &mut outputs, call)?;
    Ok(outputs[0].view().values::<f32>()?[0])
}

/// Blocks computations while it is closed.
#[derive(Debug, Default)]
struct Gate(Mutex<(bool, usize)>, Condvar);

impl Gate {
    fn pass(&self) {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        self.1.notify_all();
        drop(self.1.wait_while(state, |state| !state.0).unwrap());
    }

    fn open(&self) {
        self.0.lock().unwrap().0 = true;
        self.1.notify_all();
    }

    fn wait_for_arrival(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |state| state.1 == 0).unwrap());
    }
}

/// Runs `f` while one call keeps the runtime busy, and lets that one go afterwards or when `f` says so.
fn while_busy(settings: BatchSettings, clock: impl Clock, f: impl FnOnce(&BatchRuntime, &Gate)) {
    let gate = Arc::new(Gate::default());
    let inner = Arc::clone(&gate);
    let runtime = function(1, move |x| {
        if x < 0.0 {
            inner.pass();
        }
        x + 1.0
    });
    let runtime = BatchRuntime::new(runtime, settings, clock).unwrap();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| call(&runtime, -1.0, Call::default()));
        gate.wait_for_arrival();
        f(&runtime, &gate);
        gate.open();
        assert_eq!(blocked.join().unwrap().unwrap(), 0.0);
    });
}

fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

#[test]
fn concurrent_callers_get_their_own_answers() {
    let signature = ModelSignature {
        inputs: vec![
            TensorSpec::batch("x", ElementType::F32, 2),
            TensorSpec::batch("name", ElementType::Text, 1),
        ],
        outputs: vec![
            TensorSpec::batch("sum", ElementType::F64, 1),
            TensorSpec::batch("echo", ElementType::Text, 1),
        ],
    };
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let runtime = FnRuntime::new("sum", signature, move |inputs, outputs| {
        counted.fetch_add(1, Ordering::Relaxed);
        let rows = inputs[0].rows();
        let sums = outputs[0].reset::<f64>([rows, 1])?;
        let pairs = inputs[0].values::<f32>()?.chunks_exact(2);
        sums.iter_mut().zip(pairs).for_each(|(sum, pair)| *sum = f64::from(pair[0] + pair[1]));
        let names = inputs[1].text()?;
        // Long enough for others to queue.
        (0..2000).for_each(|_| std::hint::spin_loop());
        outputs[1].reset_text([rows, 1], |texts| {
            names.iter().for_each(|name| texts.push(name));
            Ok(())
        })
    })
    .unwrap();
    let runtime = BatchRuntime::new(runtime, settings(), SystemClock::new()).unwrap();
    let (threads, calls) = (8, 200);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let runtime = &runtime;
            scope.spawn(move || {
                let mut outputs = runtime.outputs();
                for number in 0..calls {
                    let rows = 1 + number % 3;
                    let x: Vec<f32> = (0..2 * rows).map(|i| (thread * 1000 + number + i) as f32).collect();
                    let names: Vec<String> =
                        (0..rows).map(|row| format!("{thread}-{number}-{row}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let inputs = [
                        TensorView::new(&x, [rows, 2]).unwrap(),
                        TensorView::new(names.as_slice(), [rows, 1]).unwrap(),
                    ];
                    runtime.run(&inputs, &mut outputs).unwrap();
                    let want: Vec<f64> = x.chunks(2).map(|pair| f64::from(pair[0] + pair[1])).collect();
                    assert_eq!(outputs[0].view().values::<f64>().unwrap(), want);
                    let echo = outputs[1].view();
                    assert_eq!(echo.text().unwrap().iter().collect::<Vec<_>>(), names);
                }
            });
        }
    });
    let stats = runtime.stats();
    assert_eq!(stats.direct_calls + stats.waited_calls, threads as u64 * calls as u64);
    assert_eq!(stats.direct_calls + stats.batches, runs.load(Ordering::Relaxed) as u64);
    assert_eq!(stats.waits.count(), stats.waited_calls);
    assert!(stats.waited_calls > stats.batches, "somebody was taken along: {stats:?}");
    assert_eq!(runtime.waiting(), 0);
}

#[test]
fn all_that_wait_go_in_one_batch() {
    while_busy(settings(), SystemClock::new(), |runtime, gate| {
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..5)
                .map(|x| scope.spawn(move || call(runtime, x as f32, Call::default()).unwrap()))
                .collect();
            wait_until(|| runtime.waiting() == 5);
            gate.open();
            let answers: Vec<f32> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
            assert_eq!(answers, [1.0, 2.0, 3.0, 4.0, 5.0]);
        });
        let stats = runtime.stats();
        assert_eq!((stats.batches, stats.waited_calls), (1, 5));
        assert_eq!(stats.batches_by_rows_log2[2], 1);
    });
}

#[test]
fn a_bad_row_costs_its_own_call_alone() {
    let gate = Arc::new(Gate::default());
    let inner = Arc::clone(&gate);
    let runtime = function(1, move |x| {
        if x < 0.0 {
            inner.pass();
        }
        assert!(x != 13.0, "thirteen");
        x
    });
    let runtime = BatchRuntime::new(runtime, settings(), SystemClock::new()).unwrap();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| call(&runtime, -1.0, Call::default()));
        gate.wait_for_arrival();
        let callers: Vec<_> = (0..4)
            .map(|index| {
                let runtime = &runtime;
                let x = [1.0, 13.0, 2.0, 3.0][index];
                let caller = scope.spawn(move || call(runtime, x, Call::default()));
                wait_until(|| runtime.waiting() == index + 1);
                caller
            })
            .collect();
        gate.open();
        blocked.join().unwrap().unwrap();
        let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert_eq!(answers[1].as_ref().unwrap_err().to_string(), "f1 panicked: thirteen");
        for (index, want) in [(0, 1.0), (2, 2.0), (3, 3.0)] {
            assert_eq!(*answers[index].as_ref().unwrap(), want);
        }
    });
    assert_eq!(call(&runtime, 5.0, Call::default()).unwrap(), 5.0, "the place is free again");
}

#[test]
fn a_batch_that_no_row_is_to_blame_for_is_not_asked_again_row_by_row() {
    for overloaded in [false, true] {
        let gate = Arc::new(Gate::default());
        let (inner, runs) = (Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&runs);
        let runtime =
            FnRuntime::new("slow", function(1, |x| x).signature().clone(), move |inputs, outputs| {
                counted.fetch_add(1, Ordering::SeqCst);
                if inputs[0].values::<f32>()? == [-1.0] {
                    inner.pass();
                    outputs[0].reset::<f32>([1, 1])?.fill(0.0);
                    return Ok(());
                }
                let why = "the model took too long";
                Err(if overloaded { Overloaded::error(why) } else { Error::unavailable(why) })
            })
            .unwrap();
        let runtime = BatchRuntime::new(runtime, settings(), SystemClock::new()).unwrap();
        std::thread::scope(|scope| {
            let runtime = &runtime;
            let blocked = scope.spawn(|| call(runtime, -1.0, Call::default()));
            gate.wait_for_arrival();
            let callers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| call(runtime, 1.0, Call::default()))).collect();
            wait_until(|| runtime.waiting() == 4);
            gate.open();
            blocked.join().unwrap().unwrap();
            for caller in callers {
                let error = caller.join().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains("the model took too long"), "{error}");
                assert_eq!(Overloaded::is_cause_of(&error), overloaded);
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 2, "one call that blocks, one batch");
    }
}

#[test]
fn too_many_waiting_calls_are_turned_away() {
    while_busy(settings().waiting_max(0), SystemClock::new(), |runtime, _| {
        let error = call(runtime, 1.0, Call::default()).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(runtime.stats().turned_away, 1);
        // A call as large as a batch does not wait.
        let rows = vec![1.0_f32; 256];
        let outputs = runtime.predict(&[TensorView::new(&rows, [256, 1]).unwrap()]).unwrap();
        assert_eq!(outputs[0].view().rows(), 256);
    });
}

#[test]
fn deadlines_turn_away_and_end_waiting() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let timed = Arc::clone(&clock);
    let gate = Arc::new(Gate::default());
    let inner = Arc::clone(&gate);
    let runtime = function(1, move |x| {
        if x < 0.0 {
            inner.pass();
        }
        timed.advance(Duration::from_micros(100));
        x
    });
    let runtime = BatchRuntime::new(runtime, settings(), Arc::clone(&clock)).unwrap();
    // Learns that a row takes 100 us.
    (0..20).for_each(|_| assert_eq!(call(&runtime, 1.0, Call::default()).unwrap(), 1.0));
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| call(&runtime, -1.0, Call::default()));
        gate.wait_for_arrival();
        let soon = Call::default().deadline_ns(clock.monotonic_ns() + 50_000);
        let error = call(&runtime, 1.0, soon).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an answer would take about 100 us behind 0 calls, the deadline leaves 50 us"
        );
        let later = Call::default().deadline_ns(clock.monotonic_ns() + 5_000_000);
        let error = call(&runtime, 1.0, later).unwrap_err();
        assert_eq!(error.to_string(), "the deadline passed while the call waited");
        gate.open();
        blocked.join().unwrap().unwrap();
    });
    let stats = runtime.stats();
    assert_eq!((stats.turned_away, stats.too_late, runtime.waiting()), (1, 1, 0));
}

#[test]
fn a_call_can_be_called_off_while_it_waits() {
    while_busy(settings(), SystemClock::new(), |runtime, _| {
        let cancel = Cancel::default();
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| call(runtime, 1.0, Call::default().cancel(&cancel)));
            wait_until(|| runtime.waiting() == 1);
            cancel.cancel();
            let error = caller.join().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "the call was called off while it waited");
        });
        assert!(call(runtime, 1.0, Call::default().cancel(&cancel)).is_err(), "it stays called off");
        assert_eq!((runtime.stats().cancelled, runtime.waiting()), (2, 0));
    });
}

/// What a request asks of the batcher behind its endpoint.
#[test]
fn requests_have_deadlines_and_can_be_called_off() {
    let gate = Arc::new(Gate::default());
    let inner = Arc::clone(&gate);
    let runtime = function(1, move |x| {
        if x < 0.0 {
            inner.pass();
        }
        x + 1.0
    });
    let runtime = Arc::new(BatchRuntime::new(runtime, settings(), SystemClock::new()).unwrap());
    let shared: Arc<dyn Runtime> = runtime.clone();
    let model = Arc::new(Model::from_arc(ModelVersion::new("shop", 1), shared).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(Arc::clone(&model)).unwrap();
    let safe = Endpoint::new("safe", SystemClock::new()).with_default_score(0.25).unwrap();
    safe.deploy(model).unwrap();
    let request = |id| Request::new(RequestId::from_u128(id));
    let row = [Value::Float(1.0)];
    let soon = Call::default().within(Duration::from_millis(5));
    let cancel = Cancel::default();
    let call = Call::default().cancel(&cancel);
    assert_eq!(endpoint.score(request(0).call(&soon), &row).unwrap().score, 2.0);
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| endpoint.score(request(1), &[Value::Float(-1.0)]));
        gate.wait_for_arrival();
        let error = endpoint.score(request(2).call(&soon), &row).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(endpoint.score_rows(request(3).call(&soon), &[&row], &mut Vec::new()).is_err());
        let input = [TensorView::new(&[1.0_f32], [1, 1]).unwrap()];
        assert!(endpoint.run(request(4).call(&soon), &input, &mut Vec::new()).is_err());
        let answer = safe.score(request(5).call(&soon), &row).unwrap();
        assert!(answer.origin.fallback && answer.score == 0.25, "shed to the default score");

        let waits = scope.spawn(|| safe.score(request(6).call(&call), &row));
        wait_until(|| runtime.waiting() == 1);
        cancel.cancel();
        let error = waits.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the call was called off while it waited");
        gate.open();
        assert_eq!(blocked.join().unwrap().unwrap().score, 0.0);
    });
    let traffic = safe.take_traffic().remove(0).traffic;
    assert_eq!((traffic.requests, traffic.failures), (1, 1), "who called off is counted nowhere");
    let traffic = endpoint.take_traffic().remove(0).traffic;
    assert_eq!((traffic.requests, traffic.failures), (5, 3));
}

#[test]
fn models_whose_rows_depend_on_each_other_are_refused() {
    let whole = function(1, |x| x).with_capabilities(Capabilities::row_function().whole_batches());
    let error = BatchRuntime::new(whole, settings(), SystemClock::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let mut signature = function(1, |x| x).signature().clone();
    signature.outputs[0].shape.swap(0, 1);
    let crooked = FnRuntime::new("crooked", signature, |_, _| Ok(())).unwrap();
    let error = BatchRuntime::new(crooked, settings(), SystemClock::new()).unwrap_err();
    assert!(error.to_string().contains("`score: f32[1, batch]`"), "{error}");
}

#[test]
fn deadlines_hold_for_calls_that_run_at_once_and_for_large_ones() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    clock.advance(Duration::from_micros(10));
    let time = Arc::clone(&clock);
    let runtime = function(1, move |x| {
        time.advance(Duration::from_micros(5));
        x + 1.0
    });
    let runtime =
        BatchRuntime::new(runtime, settings().rows_max(4.try_into().unwrap()), Arc::clone(&clock)).unwrap();
    let past = call(&runtime, 1.0, Call::default().deadline_ns(0)).unwrap_err();
    assert!(past.is_retryable() && Overloaded::is_cause_of(&past), "{past}");
    // Nothing is known of the cost yet.
    let deadline_ns = |us: u64| clock.monotonic_ns() + 1000 * us;
    assert!(call(&runtime, 1.0, Call::default().deadline_ns(deadline_ns(100))).is_ok());
    (0..20).for_each(|_| assert!(call(&runtime, 1.0, Call::default()).is_ok()));
    assert!(call(&runtime, 1.0, Call::default().deadline_ns(deadline_ns(10))).is_ok());
    let error = call(&runtime, 1.0, Call::default().deadline_ns(deadline_ns(3))).unwrap_err();
    assert_eq!(error.to_string(), "an answer would take about 5 us, the deadline leaves 3 us");
    assert_eq!(runtime.stats().turned_away, 2);

    while_busy(settings().rows_max(2.try_into().unwrap()), SystemClock::new(), |runtime, _| {
        let mut outputs = runtime.outputs();
        let rows = TensorView::new(&[1.0_f32, 2.0, 3.0], [3, 1]).unwrap();
        let error = runtime.run_call(&[rows], &mut outputs, Call::default().deadline_ns(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(runtime.run_call(&[rows], &mut outputs, Call::default()).is_ok());
    });
}
