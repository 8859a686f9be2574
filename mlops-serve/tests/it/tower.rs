//! The endpoint behind `tower::Service`.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mlops_core::data::Value;
use mlops_core::{Clock, ManualClock, ModelVersion, RequestId, SystemClock, Timestamp};
use mlops_serve::Overloaded;
use mlops_serve::batch::{BatchRuntime, BatchSettings};
use mlops_serve::endpoint::{Cell, Endpoint, EndpointService, Model, OwnedRequest, Request};
use mlops_serve::runtime::Runtime;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder};

use crate::models::{function, id, model};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn threads(count: usize) -> std::num::NonZeroUsize {
    count.try_into().unwrap()
}

#[test]
fn the_service_answers_as_the_endpoint_does() {
    let endpoint = Arc::new(Endpoint::new("shop", SystemClock::new()));
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |x| -x), 0.5).unwrap();
    let lazy = EndpointService::new(Arc::clone(&endpoint));
    for mut service in [lazy.clone(), lazy.on_threads(threads(2), 10).unwrap()] {
        for number in 0..50_u8 {
            assert!(matches!(
                service.poll_ready(&mut Context::from_waker(Waker::noop())),
                Poll::Ready(Ok(()))
            ));
            let id = RequestId::from_key([number]);
            let request = OwnedRequest::new(id, vec![Cell::Integer(3)]).key([number]).within(Duration::MAX);
            let keyed = block_on(service.call(request)).unwrap();
            let direct = endpoint.score(Request::new(id).key(&[number]), &[Value::Integer(3)]).unwrap();
            assert_eq!((keyed.score, keyed.origin), (direct.score, direct.origin));
        }
        let text = OwnedRequest::new(RequestId::from_key("x"), vec![Cell::from(Value::Text("three"))]);
        assert!(block_on(service.call(text)).is_err());
    }
}

#[test]
fn cells_are_made_of_what_a_request_body_holds() {
    let cells: Vec<Cell> =
        vec![1.5.into(), 2_i64.into(), true.into(), "a".into(), String::from("b").into(), None::<i64>.into()];
    let values: Vec<Value<'_>> = cells.iter().map(Value::from).collect();
    let want = [1.5.into(), 2.into(), true.into(), "a".into(), "b".into(), Value::Missing];
    assert_eq!(values, want);
}

/// A model that waits at `-1` until it is let go, and what it was asked.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
    asked: AtomicUsize,
}

impl Gate {
    fn runtime(self: &Arc<Self>) -> impl Runtime {
        let gate = Arc::clone(self);
        function(1, move |x| {
            gate.asked.fetch_add(1, Ordering::SeqCst);
            if x < 0.0 {
                let mut state = gate.state.lock().unwrap();
                state.0 = true;
                gate.changed.notify_all();
                drop(gate.changed.wait_while(state, |state| !state.1).unwrap());
            }
            x
        })
    }

    /// When somebody waits.
    fn arrival(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !state.0).unwrap());
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

fn endpoint(clock: impl Clock, runtime: Arc<dyn Runtime>) -> Arc<Endpoint> {
    let endpoint = Endpoint::new("shop", clock);
    let model = Model::from_arc(ModelVersion::new("shop", 1), runtime).unwrap();
    endpoint.deploy(Arc::new(model)).unwrap();
    Arc::new(endpoint)
}

fn request(number: u32, x: f64) -> OwnedRequest {
    OwnedRequest::new(id(number), vec![x.into()])
}

#[test]
fn the_timeout_layer_calls_off_what_waits_for_its_batch() {
    let gate = Arc::new(Gate::default());
    let batched =
        BatchRuntime::new(gate.runtime(), BatchSettings::default().parallel(threads(1)), SystemClock::new());
    let batched = Arc::new(batched.unwrap());
    let endpoint = endpoint(SystemClock::new(), Arc::clone(&batched) as Arc<dyn Runtime>);
    let mut service = EndpointService::new(endpoint).on_threads(threads(2), 10).unwrap();
    let blocked = service.call(request(0, -1.0));
    gate.arrival();
    block_on(async {
        tokio::time::pause();
        let mut hasty = ServiceBuilder::new().timeout(Duration::from_secs(5)).service(service.clone());
        let future = hasty.call(request(1, 1.0));
        while batched.waiting() == 0 {
            std::thread::yield_now();
        }
        tokio::time::advance(Duration::from_secs(6)).await;
        let error = future.await.unwrap_err();
        assert!(error.is::<Elapsed>(), "{error}");
        // Its thread is told, and takes the next.
        let late = service.call(request(2, 1.0).within(Duration::from_millis(1))).await.unwrap_err();
        assert!(Overloaded::is_cause_of(&late), "{late}");
    });
    assert_eq!((batched.stats().cancelled, batched.waiting()), (1, 0));
    gate.open();
    assert_eq!(block_on(blocked).unwrap().score, -1.0);
    assert_eq!(gate.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_no_thread_has_begun_is_not_begun_when_nobody_waits_for_it() {
    let gate = Arc::new(Gate::default());
    let endpoint = endpoint(SystemClock::new(), Arc::new(gate.runtime()));
    let mut service = EndpointService::new(Arc::clone(&endpoint)).on_threads(threads(1), 1).unwrap();
    let blocked = service.call(request(0, -1.0));
    gate.arrival();
    let waits = service.call(request(1, 1.0));
    let error = block_on(service.call(request(2, 1.0))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "all 1 threads answer and 1 requests wait, as many as may: try again later"
    );
    assert!(Overloaded::is_cause_of(&error));
    // Its place is free for another.
    drop(waits);
    let waits = service.call(request(3, 3.0));
    drop(service);
    gate.open();
    assert_eq!(block_on(blocked).unwrap().score, -1.0);
    assert_eq!(block_on(waits).unwrap().score, 3.0, "futures outlive their service");
    assert_eq!(gate.asked.load(Ordering::SeqCst), 2);
    assert_eq!(endpoint.take_traffic()[0].traffic.requests, 2);
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("the waker of a host");
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_else() {
    let gate = Arc::new(Gate::default());
    let endpoint = endpoint(SystemClock::new(), Arc::new(gate.runtime()));
    let mut service = EndpointService::new(endpoint).on_threads(threads(1), 10).unwrap();
    let mut blocked = service.call(request(0, -1.0));
    gate.arrival();
    let waker = Waker::from(Arc::new(Panicking));
    assert!(Pin::new(&mut blocked).poll(&mut Context::from_waker(&waker)).is_pending());
    let next = service.call(request(1, 1.0));
    gate.open();
    assert_eq!(block_on(next).unwrap().score, 1.0);
    assert_eq!(block_on(blocked).unwrap().score, -1.0);
}

#[test]
fn a_deadline_counts_from_the_call() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let gate = Arc::new(Gate::default());
    let endpoint = endpoint(Arc::clone(&clock), Arc::new(gate.runtime()));
    let mut service = EndpointService::new(endpoint);
    let future = service.call(request(0, 1.0).within(Duration::from_micros(10)));
    clock.advance(Duration::from_micros(9));
    let late = service.call(request(1, 1.0).within(Duration::from_micros(10)));
    assert_eq!(block_on(future).unwrap().score, 1.0);
    clock.advance(Duration::from_micros(10));
    let error = block_on(late).unwrap_err();
    assert!(error.to_string().starts_with("the deadline passed"), "{error}");
    drop(service.call(request(2, 1.0)));
    assert_eq!(gate.asked.load(Ordering::SeqCst), 1, "a future that is never polled asks for nothing");
}

#[test]
fn polling_again_after_the_answer_is_an_error() {
    let endpoint = endpoint(SystemClock::new(), Arc::new(function(1, |x| x)));
    let mut service = EndpointService::new(endpoint);
    let mut future = service.call(request(0, 1.0));
    block_on(async {
        assert!((&mut future).await.is_ok());
        assert!((&mut future).await.is_err());
    });
}
