//! Runtimes that hang, panic and pile up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
use mlops_serve::runtime::RuntimeExt;
use mlops_serve::tensor::TensorView;

use crate::models::function;

fn call(runtime: &IsolatedRuntime, x: f32) -> mlops_serve::Result<f32> {
    let outputs = runtime.predict(&[TensorView::new(&[x], [1, 1])?])?;
    Ok(outputs[0].view().values::<f32>()?[0])
}

fn settings() -> IsolationSettings {
    IsolationSettings::default().time_limit(Duration::from_millis(200))
}

/// Hangs on negative numbers until told, panics on 13.
fn treacherous(settings: IsolationSettings) -> (IsolatedRuntime, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (open, computing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (opened, computed) = (Arc::clone(&open), Arc::clone(&computing));
    let runtime = function(1, move |x| {
        computed.fetch_add(1, Ordering::SeqCst);
        while x < 0.0 && !opened.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(100));
        }
        assert!(x != 13.0, "thirteen");
        computed.fetch_sub(1, Ordering::SeqCst);
        x + 1.0
    });
    (IsolatedRuntime::new(runtime, settings).unwrap(), open, computing)
}

#[test]
fn a_hang_costs_one_call_and_its_thread_comes_back() {
    let (runtime, open, _) = treacherous(settings().threads(1.try_into().unwrap()));
    assert_eq!(call(&runtime, 1.0).unwrap(), 2.0);
    for hung in 1..=3 {
        let error = call(&runtime, -1.0).unwrap_err();
        assert_eq!(error.to_string(), "f1 gave no answer within 200 ms");
        assert_eq!(runtime.hung(), hung);
        assert_eq!(call(&runtime, 1.0).unwrap(), 2.0);
    }
    open.store(true, Ordering::SeqCst);
    while runtime.hung() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(call(&runtime, -1.0).unwrap(), 0.0);
}

#[test]
fn hanging_threads_have_a_limit_and_then_calls_fail_at_once() {
    let hung_max = 2;
    let settings = settings().threads(1.try_into().unwrap()).hung_max(hung_max.try_into().unwrap());
    let (runtime, open, computing) = treacherous(settings);
    for _ in 0..hung_max {
        call(&runtime, -1.0).unwrap_err();
    }
    let error = call(&runtime, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "f1 hangs in 2 threads, as many as may: take it out of service");
    assert_eq!(computing.load(Ordering::SeqCst), hung_max);
    open.store(true, Ordering::SeqCst);
    while runtime.hung() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(call(&runtime, 1.0).unwrap(), 2.0);
}

#[test]
fn good_calls_beside_hanging_ones_do_not_lift_the_limit() {
    let settings = IsolationSettings::default()
        .time_limit(Duration::from_millis(100))
        .threads(2.try_into().unwrap())
        .hung_max(1.try_into().unwrap());
    let (open, computing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (opened, computed) = (Arc::clone(&open), Arc::clone(&computing));
    // Good calls take most of the time limit, so that one of them always holds a thread.
    let runtime = function(1, move |x| {
        if x < 0.0 {
            computed.fetch_add(1, Ordering::SeqCst);
            while !opened.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_micros(100));
            }
        } else {
            std::thread::sleep(Duration::from_millis(10));
        }
        x + 1.0
    });
    let runtime = IsolatedRuntime::new(runtime, settings).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, runtime) = (&stop, &runtime);
        scope.spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let _ = call(runtime, 1.0);
            }
        });
        for _ in 0..6 {
            call(runtime, -1.0).unwrap_err();
        }
        stop.store(true, Ordering::SeqCst);
    });
    // Two threads may hang at once, and no new one is started while one does.
    assert!(computing.load(Ordering::SeqCst) <= 2, "{computing:?} threads hang");
    open.store(true, Ordering::SeqCst);
}

#[test]
fn a_panic_is_an_error_and_the_thread_lives_on() {
    let (runtime, ..) = treacherous(IsolationSettings::default().time_limit(Duration::from_secs(60)));
    for _ in 0..20 {
        assert_eq!(call(&runtime, 13.0).unwrap_err().to_string(), "f1 panicked: thirteen");
        assert_eq!(call(&runtime, 1.0).unwrap(), 2.0);
    }
    assert_eq!(runtime.hung(), 0);
}

#[test]
fn a_bulkhead_turns_away_what_it_cannot_hold() {
    let settings = IsolationSettings::default().threads(2.try_into().unwrap()).waiting_max(1);
    let (runtime, open, computing) = treacherous(settings.time_limit(Duration::from_secs(30)));
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2).map(|_| scope.spawn(|| call(&runtime, -1.0))).collect();
        while computing.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        let waits = scope.spawn(|| call(&runtime, 1.0));
        while runtime.waiting() < 1 {
            std::thread::yield_now();
        }
        let error = call(&runtime, 1.0).unwrap_err().to_string();
        assert_eq!(error, "all 2 threads of f1 are busy: try again later");
        open.store(true, Ordering::SeqCst);
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap().unwrap(), 0.0));
        assert_eq!(waits.join().unwrap().unwrap(), 2.0);
    });
}

#[test]
fn many_callers_get_their_own_answers() {
    let (runtime, ..) = treacherous(IsolationSettings::default().waiting_max(1000));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let runtime = &runtime;
            scope.spawn(move || {
                for number in 0..100 {
                    let x = (thread * 1000 + 20 + number) as f32;
                    assert_eq!(call(runtime, x).unwrap(), x + 1.0);
                }
            });
        }
    });
}
