//! Ends in time: of a question, and of a whole run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlops_core::pipeline::{Approval, Context, Pipeline, Planned, Request, Retry, Step, Store};
use mlops_core::run::{Run, RunStatus, StepState, Waiting};
use mlops_core::trigger::{ContinuousTraining, Hold, Tick, TriggerPolicy};
use mlops_core::{Clock, Error, ErrorKind, Result, Timestamp};

use super::Bench;

const HOUR: Duration = Duration::from_secs(3600);

/// Asks whether to push, for a day.
fn asking() -> Pipeline {
    let mut p = Pipeline::new("p");
    let model = p.step("train", || Ok(7_u32), ());
    p.approval(Step::new("release?").timeout(24 * HOUR), model);
    p.step("push", |model: &u32| Ok(*model), model);
    p
}

fn question(status: &RunStatus) -> Waiting {
    match status {
        RunStatus::Suspended { waiting } => waiting[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_that_nobody_answers_in_time_ends_the_run_for_good() {
    let (bench, p) = (Bench::new(), asking());
    let asked = question(bench.runner().run(&p, "1").unwrap().status());
    let deadline = Timestamp::EPOCH.saturating_add(24 * HOUR);
    assert_eq!(asked.deadline, Some(deadline));
    // Asking again, in another process, gives no more time; at the deadline it is still open.
    bench.clock.advance(24 * HOUR);
    assert_eq!(question(bench.runner().run(&p, "1").unwrap().status()), asked);
    bench.clock.advance(Duration::from_micros(1));
    let late = Approval::granted("ana", "", bench.runner().clock().now());
    let error = bench.store().decide("1", &asked.token, &late).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("could be answered up to 1970-01-02T00:00:00Z: it is"), "{error}");
    // A plan foresees it, and writes nothing.
    let plan = bench.runner().plan(&p, "1").unwrap();
    assert_eq!(*plan.step("push").unwrap(), Planned::Skip);
    assert!(!bench.folder.path().join("runs/1/answers").exists());

    let expired = RunStatus::Expired { step: "release?".into(), deadline };
    assert_eq!(*bench.runner().run(&p, "1").unwrap().status(), expired);
    let in_time = Approval::granted("ana", "", Timestamp::EPOCH);
    assert_eq!(bench.store().decide("1", &asked.token, &in_time).unwrap_err().kind(), ErrorKind::Conflict);
    // Not even a clock that jumps back opens it again.
    bench.clock.set(Timestamp::EPOCH);
    let done = bench.runner().run(&p, "1").unwrap();
    assert_eq!(*done.status(), expired);
    assert_eq!(done.run.step("push").unwrap().state, StepState::Skipped);
    assert_eq!(bench.started.take(), [("train".into(), 1)].into());
}

#[test]
fn an_answer_in_time_counts_however_late_it_is_read() {
    let (bench, p) = (Bench::new(), asking());
    let asked = question(bench.runner().run(&p, "1").unwrap().status());
    bench.clock.advance(24 * HOUR);
    let answer = Approval::granted("ana", "", bench.runner().clock().now());
    bench.store().decide("1", &asked.token, &answer).unwrap();
    bench.clock.advance(1000 * HOUR);
    assert_eq!(*bench.runner().run(&p, "1").unwrap().status(), RunStatus::Completed);
}

#[test]
fn a_question_stays_open_when_another_branch_fails() {
    let bench = Bench::new();
    let failures = Arc::new(AtomicU64::new(1));
    // The question is asked before the report fails.
    let mut p = Pipeline::new("p");
    let model = p.step("train", || Ok(7_u32), ());
    let broken = failures.clone();
    let good = p.step("good", || Ok(true), ());
    p.when(good, |p| p.approval("release?", model));
    p.step(
        "report",
        move || match broken.load(Ordering::SeqCst) {
            0 => Ok(1_u32),
            _ => Err(Error::invalid("no template")),
        },
        (),
    );
    bench.runner().run(&p, "1").unwrap_err();
    let asked = open_question(&bench);
    assert_eq!(asked.deadline, None);
    bench.store().decide("1", &asked.token, &Approval::granted("ana", "", Timestamp::EPOCH)).unwrap();
    failures.store(0, Ordering::SeqCst);
    assert_eq!(*bench.runner().run(&p, "1").unwrap().status(), RunStatus::Completed);
    let error = bench.store().decide("1", "no such", &Approval::granted("ana", "", Timestamp::EPOCH));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn continuous_training_goes_on_when_a_question_expires() {
    let bench = Bench::new();
    let training =
        ContinuousTraining::new("shop", bench.runner(), asking(), TriggerPolicy::default()).unwrap();
    training.start_now("ann").unwrap();
    let Tick::Ran(ran) = training.tick().unwrap() else { panic!() };
    question(ran.status());
    assert!(matches!(training.tick().unwrap(), Tick::Idle(Hold::Approval)));
    bench.clock.advance(25 * HOUR);
    let Tick::Ran(ran) = training.tick().unwrap() else { panic!() };
    assert!(matches!(ran.status(), RunStatus::Expired { .. }));
    assert!(training.state().active.is_none(), "the next run can start");
}

/// The question that is open, from the store's folder, as a process that was killed leaves it.
fn open_question(bench: &Bench) -> Waiting {
    let asked: Vec<_> = std::fs::read_dir(bench.folder.path().join("runs/1/questions")).unwrap().collect();
    assert_eq!(asked.len(), 1);
    serde_json::from_slice(&std::fs::read(asked[0].as_ref().unwrap().path()).unwrap()).unwrap()
}

#[test]
fn a_question_has_all_its_time_however_long_the_other_steps_take() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let model = p.step("train", || Ok(7_u32), ());
    let good = p.step("good", || Ok(true), ());
    p.when(good, |p| p.approval(Step::new("release?").timeout(HOUR), model));
    let clock = bench.clock.clone();
    let report = move || {
        clock.advance(2 * HOUR);
        Ok(())
    };
    p.step("report", report, ());
    let asked = question(bench.runner().run(&p, "1").unwrap().status());
    assert_eq!(asked.deadline, Some(Timestamp::EPOCH.saturating_add(3 * HOUR)));
    assert_eq!(open_question(&bench), asked);
    bench.clock.advance(HOUR);
    let answer = Approval::granted("ana", "", bench.runner().clock().now());
    bench.store().decide("1", &asked.token, &answer).unwrap();
    assert_eq!(*bench.runner().run(&p, "1").unwrap().status(), RunStatus::Completed);
}

#[test]
fn a_question_is_answered_before_the_run_leaves_a_record() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let model = p.step("train", || Ok(7_u32), ());
    let good = p.step("good", || Ok(true), ());
    p.when(good, |p| p.approval(Step::new("release?").timeout(HOUR), model));
    let (clock, folder) = (bench.clock.clone(), bench.folder.path().to_owned());
    let answer = move || {
        clock.advance(2 * HOUR);
        assert!(!folder.join("runs/1/run.json").exists());
        let asked = std::fs::read_dir(folder.join("runs/1/questions"))?.next().unwrap()?;
        let asked: Waiting = serde_json::from_slice(&std::fs::read(asked.path())?).unwrap();
        assert_eq!(asked.deadline, None);
        let answer = Approval::granted("ana", "", clock.now());
        Store::open(&folder)?.decide("1", &asked.token, &answer)?;
        let again = Store::open(&folder)?.decide("1", &asked.token, &answer).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict);
        let other = Store::open(&folder)?.decide("1", "no such", &answer).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::NotFound);
        Ok(())
    };
    p.step("answer", answer, ());
    let first = bench.runner().run(&p, "1").unwrap();
    assert!(matches!(first.status(), RunStatus::Suspended { .. }), "{}", first.status());
    assert_eq!(*bench.runner().run(&p, "1").unwrap().status(), RunStatus::Completed);
}

/// Three steps of an hour each.
fn hours(bench: &Bench) -> Pipeline {
    let mut p = Pipeline::new("p");
    let hour = |bench: &Bench| {
        let clock = bench.clock.clone();
        move |n: &u32| {
            clock.advance(HOUR);
            Ok(n + 1)
        }
    };
    let n = p.param("n", 0_u32);
    let first = p.step("first", hour(bench), n);
    let second = p.step("second", hour(bench), first);
    p.step("third", hour(bench), second);
    p
}

#[test]
fn a_run_out_of_time_keeps_what_is_done_and_goes_on() {
    let bench = Bench::new();
    let p = hours(&bench);
    let request = || Request::new("1").timeout(HOUR + HOUR / 2);
    let done = bench.runner().run(&p, request()).unwrap();
    assert_eq!(*done.status(), RunStatus::TimedOut { step: "third".into(), error: None });
    assert_eq!(done.status().to_string(), "out of time at `third`");
    assert_eq!(done.run.step("third").unwrap().state, StepState::NotReached);
    assert_eq!(bench.started.names(), ["first", "second"], "a step that started may end");
    assert_eq!(*bench.runner().run(&p, request()).unwrap().status(), RunStatus::Completed);
    assert_eq!(bench.started.names(), ["third"]);
    let limits = [(Duration::ZERO, "second"), (Duration::MAX, "")];
    for (number, (limit, step)) in limits.into_iter().enumerate() {
        let threads = bench.bare().with_threads(2);
        let done = threads.run(&p, Request::new(format!("t{number}")).timeout(limit)).unwrap();
        let want = match step {
            "" => RunStatus::Completed,
            step => RunStatus::TimedOut { step: step.into(), error: None },
        };
        assert_eq!(*done.status(), want);
    }
}

#[test]
fn a_retry_that_would_start_after_the_end_is_not_waited_for() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let down = || Err::<u32, _>(Error::unavailable("no route"));
    p.step(
        Step::new("down").retry(Retry { wait: HOUR, rate: 1.0, wait_max: HOUR, ..Retry::times(9) }),
        down,
        (),
    );
    let before = bench.runner().clock().monotonic_ns();
    let done = bench.bare().run(&p, Request::new("1").timeout(2 * HOUR + HOUR / 2)).unwrap();
    let status = RunStatus::TimedOut { step: "down".into(), error: Some("no route".into()) };
    assert_eq!(*done.status(), status);
    assert_eq!(status.to_string(), "no time left to try `down` again: no route");
    let down = done.run.step("down").unwrap();
    assert_eq!((down.state, down.attempts), (StepState::Failed, 3));
    assert_eq!(Run::from_json(&serde_json::to_vec(&done.run).unwrap()).unwrap().status, status);
    assert_eq!(bench.started.take()["down"], 3);
    let waited = Duration::from_nanos(bench.runner().clock().monotonic_ns() - before);
    assert_eq!(waited, 2 * HOUR);
}

#[test]
fn a_checkpoint_ends_a_step_at_the_end_of_the_run() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let clock = bench.clock.clone();
    let work = move |cx: &Context| -> Result<u32> {
        loop {
            clock.advance(HOUR);
            cx.checkpoint()?;
        }
    };
    p.step("work", work, ());
    let done = bench.bare().run(&p, Request::new("1").timeout(5 * HOUR)).unwrap();
    assert_eq!(*done.status(), RunStatus::TimedOut { step: "work".into(), error: None });
    let work = done.run.step("work").unwrap();
    assert_eq!((work.state, work.attempts), (StepState::Failed, 1));
    // The error of an attempt before is kept, and what the step says about its end does not hide it.
    let mut p = Pipeline::new("p");
    let clock = bench.clock.clone();
    let twice = move |cx: &Context| -> Result<u32> {
        if cx.attempt() == 1 {
            return Err(Error::unavailable("no route"));
        }
        clock.advance(2 * HOUR);
        cx.checkpoint().map_err(|error| error.context("fitting"))?;
        Ok(1)
    };
    p.step(Step::new("twice").retry(Retry::times(3)), twice, ());
    let done = bench.bare().run(&p, Request::new("1").timeout(HOUR)).unwrap();
    let want = RunStatus::TimedOut { step: "twice".into(), error: Some("no route".into()) };
    assert_eq!(*done.status(), want);
}

#[test]
fn an_error_of_its_own_is_one_whenever_it_comes() {
    for kind in [ErrorKind::Invalid, ErrorKind::Unavailable] {
        for timeout in [Duration::MAX, HOUR / 2] {
            let bench = Bench::new();
            let mut p = Pipeline::new("p");
            let clock = bench.clock.clone();
            let wrong = move || {
                clock.advance(HOUR);
                Err::<u32, _>(Error::new(kind, "no such bucket"))
            };
            p.step(Step::new("wrong").timeout(timeout), wrong, ());
            let error = bench.bare().run(&p, Request::new("1").timeout(HOUR / 2)).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(format!("{error:#}").ends_with("failed: no such bucket"), "{error:#}");
        }
    }
}

#[test]
fn waits_have_the_jitter_of_their_run_and_step() {
    let waits = |run: &str| {
        let bench = Bench::new();
        let mut p = Pipeline::new("p");
        let retry = Retry { wait: HOUR, wait_max: HOUR, jitter: 0.5, ..Retry::times(3) };
        p.step(Step::new("down").retry(retry), || Err::<u32, _>(Error::unavailable("no route")), ());
        bench.bare().run(&p, run).unwrap_err();
        Duration::from_nanos(bench.runner().clock().monotonic_ns())
    };
    assert_eq!(waits("1"), waits("1"));
    assert_ne!(waits("1"), waits("2"));
    assert!(waits("1") < 3 * HOUR && waits("1") > 3 * HOUR / 2);
}
