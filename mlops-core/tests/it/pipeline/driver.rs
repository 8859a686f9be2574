//! Continuous training and the async edge.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use mlops_core::pipeline::{Approval, Context, Pipeline, Request, Step};
use mlops_core::run::RunStatus;
use mlops_core::trigger::{Cause, ContinuousTraining, Hold, Tick, TriggerPolicy};
use mlops_core::{Error, ErrorKind, Event, EventKind, EventSink, Result, Severity, Timestamp};

use super::Bench;

fn policy() -> TriggerPolicy {
    TriggerPolicy {
        new_rows: Some(10),
        events: vec![EventKind::DataDrift],
        cooldown: Duration::from_secs(60),
        retries: 1,
        ..TriggerPolicy::default()
    }
}

fn training(bench: &Bench, p: Pipeline) -> ContinuousTraining {
    ContinuousTraining::new("shop", bench.runner(), p, policy()).unwrap()
}

#[test]
fn an_event_starts_a_run_and_a_restart_remembers() {
    let bench = Bench::new();
    let wire = || {
        let mut p = Pipeline::new("p");
        let why = p.param("why", String::new());
        p.step("train", |why: &str| Ok(why.to_owned()), why);
        p
    };
    let with_cause = |training: ContinuousTraining| {
        training.with_request(|request, causes| request.param("why", causes[0].to_string()))
    };
    let first = with_cause(training(&bench, wire()));
    first.emit(&Event::new(Timestamp::EPOCH, Severity::Warning, EventKind::DataDrift, "feature `x`"));
    drop(first);
    let second = with_cause(training(&bench, wire()));
    let Tick::Ran(done) = second.tick().unwrap() else { panic!() };
    assert_eq!(done.run.id, "shop-000001");
    assert_eq!(done.run.params["why"], "warning data_drift feature `x`");
    second.rows(10).unwrap();
    let Tick::Idle(hold) = second.tick().unwrap() else { panic!() };
    assert_eq!(hold, Hold::Cooldown(Timestamp::from_micros(60_000_000)));
    bench.clock.advance(Duration::from_secs(60));
    let Tick::Ran(done) = second.tick().unwrap() else { panic!() };
    assert_eq!((&*done.run.id, &done.run.params["why"]), ("shop-000002", &"10 new rows".into()));
}

#[test]
fn a_run_out_of_time_goes_on_while_it_gets_further() {
    const HOUR: Duration = Duration::from_secs(3600);
    let wire = |bench: &Bench, hours: [u32; 3]| {
        let mut p = Pipeline::new("p");
        let mut last = p.param("n", 0_u32);
        for (name, hours) in ["read", "fit", "push"].into_iter().zip(hours) {
            let clock = bench.clock.clone();
            let step = move |cx: &Context, n: &u32| {
                for _ in 0..hours {
                    clock.advance(HOUR);
                    cx.checkpoint()?;
                }
                Ok(n + 1)
            };
            last = p.step(name, step, last);
        }
        p
    };
    let limited = |bench: &Bench, p| {
        let training = training(bench, p).with_request(|request, _| request.timeout(HOUR));
        training.start_now("ana").unwrap();
        training
    };
    let status = |training: &ContinuousTraining| match training.tick().unwrap() {
        Tick::Ran(done) => (done.run.id.clone(), done.status().clone()),
        other => panic!("{other:?}"),
    };
    let out_at = |step: &str| RunStatus::TimedOut { step: step.into(), error: None };
    let id = || "shop-000001".to_owned();

    let bench = Bench::new();
    let good = limited(&bench, wire(&bench, [1, 1, 1]));
    assert_eq!(status(&good), (id(), out_at("fit")));
    assert_eq!(status(&good), (id(), out_at("push")));
    assert_eq!(status(&good), (id(), RunStatus::Completed));
    assert!(good.state().active.is_none());

    let bench = Bench::new();
    let slow = limited(&bench, wire(&bench, [1, 9, 1]));
    assert_eq!(status(&slow), (id(), out_at("fit")));
    assert!(slow.state().active.is_some());
    assert_eq!(status(&slow), (id(), out_at("fit")));
    assert!(slow.state().active.is_none(), "it got no further");
    assert!(matches!(slow.tick().unwrap(), Tick::Idle(Hold::NoCause { .. })));
}

#[test]
fn a_suspended_run_goes_on_after_the_answer_even_after_a_restart() {
    let bench = Bench::new();
    let wire = || {
        let mut p = Pipeline::new("p");
        let model = p.step("train", || Ok(1_u32), ());
        p.approval("release", model);
        p.step("push", |model: &u32| Ok(*model), model);
        p
    };
    let first = training(&bench, wire());
    first.start_now("ana").unwrap();
    let Tick::Ran(done) = first.tick().unwrap() else { panic!() };
    let RunStatus::Suspended { waiting } = done.status() else { panic!() };
    assert_eq!(bench.started.names(), ["train"]);
    let yes = Approval::granted("bo", "", Timestamp::EPOCH);
    bench.store().decide("shop-000001", &waiting[0].token, &yes).unwrap();
    drop(first);
    let second = training(&bench, wire());
    let Tick::Ran(done) = second.tick().unwrap() else { panic!() };
    assert_eq!(*done.status(), RunStatus::Completed);
    assert_eq!(bench.started.names(), ["push"]);
    assert!(matches!(second.tick().unwrap(), Tick::Idle(Hold::NoCause { .. })));
}

#[test]
fn an_open_question_is_not_asked_anew_and_can_be_given_up() {
    let bench = Bench::new();
    let wire = || {
        let mut p = Pipeline::new("p");
        let model = p.step("train", || Ok(1_u32), ());
        p.approval("release", model);
        p
    };
    let first = training(&bench, wire());
    first.start_now("ana").unwrap();
    assert!(matches!(first.tick().unwrap(), Tick::Ran(_)));
    for _ in 0..3 {
        assert!(matches!(first.tick().unwrap(), Tick::Idle(Hold::Approval)));
    }
    assert!(first.abandon().unwrap());
    assert!(!first.abandon().unwrap());
    assert!(matches!(first.tick().unwrap(), Tick::Idle(Hold::NoCause { .. })));
    first.start_now("ana").unwrap();
    let Tick::Ran(next) = first.tick().unwrap() else { panic!() };
    assert_eq!(next.run.id, "shop-000002");
}

#[test]
fn a_pipeline_that_changed_while_its_run_was_open_starts_a_new_run() {
    let bench = Bench::new();
    let wire = |version| {
        let mut p = Pipeline::new("p");
        let model = p.step(Step::new("train").version(version), || Ok(1_u32), ());
        p.approval("release", model);
        p
    };
    let before = training(&bench, wire(1));
    before.rows(10).unwrap();
    assert!(matches!(before.tick().unwrap(), Tick::Ran(_)));
    drop(before);
    let after = training(&bench, wire(2));
    let error = after.tick().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("started with another wiring"), "{error}");
    assert_eq!(after.state().causes, [Cause::NewRows(10)]);
    let Tick::Ran(next) = after.tick().unwrap() else { panic!() };
    assert_eq!(next.run.id, "shop-000002");
}

#[test]
fn a_panic_of_the_host_stops_no_later_tick() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step("train", || Ok(1_u32), ());
    let panics = std::sync::atomic::AtomicBool::new(true);
    let training = training(&bench, p).with_request(move |request, _| {
        assert!(!panics.swap(false, std::sync::atomic::Ordering::SeqCst), "once");
        request
    });
    training.start_now("ana").unwrap();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| training.tick())).is_err());
    assert!(matches!(training.tick().unwrap(), Tick::Ran(_)));
}

#[test]
fn a_state_that_was_deleted_does_not_resume_old_runs() {
    let bench = Bench::new();
    let wire = || {
        let mut p = Pipeline::new("p");
        p.step("train", || Ok(1_u32), ());
        p
    };
    let first = training(&bench, wire());
    first.start_now("ana").unwrap();
    first.tick().unwrap();
    std::fs::remove_dir_all(bench.folder.path().join("triggers")).unwrap();
    let second = training(&bench, wire());
    second.start_now("ana").unwrap();
    let Tick::Ran(done) = second.tick().unwrap() else { panic!() };
    assert_eq!(done.run.id, "shop-000002");
    let mut p = Pipeline::new("p");
    p.step("train", || Ok(1_u32), ());
    let error = ContinuousTraining::new("my shop", bench.runner(), p, policy()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

#[test]
fn a_future_that_is_dropped_cancels_its_own_run_alone() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step("a", || Ok(1_u32), ());
    let (p, shutdown) = (Arc::new(p), mlops_core::pipeline::CancelToken::default());
    for run in ["1", "2"] {
        let running = bench.runner().spawn(p.clone(), Request::new(run).cancel_by(&shutdown)).unwrap();
        assert_eq!(*block_on(running).unwrap().status(), RunStatus::Completed);
    }
    assert!(!shutdown.is_cancelled());
    shutdown.cancel();
    let running = bench.bare().spawn(p, Request::new("3").cancel_by(&shutdown)).unwrap();
    assert_eq!(*block_on(running).unwrap().status(), RunStatus::Cancelled);
}

#[test]
fn a_failed_run_comes_back_once_under_a_new_id() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step("read", || Ok(1_u32), ());
    p.step("train", |_: &Context| Err::<u32, _>(Error::data("no labels")), ());
    let training = training(&bench, p);
    training.rows(10).unwrap();
    assert_eq!(training.tick().unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(training.state().causes, [Cause::NewRows(10)]);
    assert!(matches!(training.tick().unwrap(), Tick::Idle(Hold::Cooldown(_))));
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(training.tick().unwrap_err().kind(), ErrorKind::Data);
    assert!(training.state().causes.is_empty());
    assert_eq!(bench.started.take(), [("read".into(), 1), ("train".into(), 2)].into());
    assert_eq!(bench.store().runs().unwrap(), ["shop-000001", "shop-000002"]);
}

#[test]
fn nothing_starts_while_a_run_is_going_on() {
    let bench = Bench::new();
    let (begun, is_begun) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let mut p = Pipeline::new("p");
    let wait = move || -> Result<u32> {
        begun.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        Ok(1)
    };
    p.step("wait", wait, ());
    let training = training(&bench, p);
    training.start_now("ana").unwrap();
    thread::scope(|scope| {
        let run = scope.spawn(|| training.tick().unwrap());
        is_begun.recv().unwrap();
        training.start_now("bo").unwrap();
        assert!(matches!(training.tick().unwrap(), Tick::Idle(Hold::Running)));
        go.send(()).unwrap();
        assert!(matches!(run.join().unwrap(), Tick::Ran(_)));
    });
    assert_eq!(training.state().causes, [Cause::Manual("bo".into())]);
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_run_is_a_future_and_dropping_it_cancels() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let one = p.step("one", || Ok(1_u32), ());
    let p = Arc::new(p);
    let done = block_on(bench.bare().spawn(p.clone(), "1").unwrap()).unwrap();
    assert_eq!(*done.get(one).unwrap(), 1);

    let (tell, told) = std::sync::mpsc::channel();
    let mut p = Pipeline::new("p");
    let until_cancelled = move |cx: &Context| -> Result<u32> {
        tell.send("begun").unwrap();
        while cx.checkpoint().is_ok() {
            thread::yield_now();
        }
        tell.send("cancelled").unwrap();
        cx.checkpoint().map(|()| 1)
    };
    p.step("loop", until_cancelled, ());
    let running = bench.bare().spawn(Arc::new(p), Request::new("1")).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), "begun");
    drop(running);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), "cancelled");
}
