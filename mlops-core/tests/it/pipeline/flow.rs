//! Branches, gates, approvals, failures, retries: how a run goes and ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mlops_core::pipeline::{Approval, CancelToken, Context, Many, Pipeline, Request, Retry, Secret, Step};
use mlops_core::run::{RunStatus, StepState};
use mlops_core::{Error, ErrorKind, Result, Seed, Timestamp};

use super::Bench;

#[test]
fn tuples_lists_and_maps_carry_values() {
    let mut p = Pipeline::new("p");
    let n = p.param("n", 4_u64);
    let (even, odd) = p.split("split", |n: &u64| Ok((0..*n).partition::<Vec<_>, _>(|i| i % 2 == 0)), n);
    let sums: Vec<_> = [("even", even), ("odd", odd)]
        .into_iter()
        .map(|(name, part)| p.step(name, |part: &Vec<u64>| Ok(part.iter().sum::<u64>()), part))
        .collect();
    let both = p.step("both", |all: &Many<u64>| Ok(all.iter().copied().collect::<Vec<_>>()), &sums);
    let items = p.step("items", |n: &u64| Ok((0..*n).collect::<Many<u64>>()), n);
    let shifted = p.map("shift", |item: &u64, n: &u64| Ok(item + n), items, n);
    let total = p.step("total", |all: &Many<u64>, n: &u64| Ok(all.iter().sum::<u64>() + n), (shifted, n));
    for threads in [1, 4] {
        let done = Bench::new().bare().with_threads(threads).run(&p, "1").unwrap();
        assert_eq!(*done.get(both).unwrap(), [2, 4]);
        assert_eq!(*done.get(total).unwrap(), 4 + 5 + 6 + 7 + 4);
        assert_eq!(done.run.step("shift[3]").unwrap().state, StepState::Computed);
        assert_eq!(done.run.lineage(&done.digest(sums[1]).unwrap()).len(), 3);
    }
}

#[test]
fn a_picture_shows_steps_values_and_conditions() {
    let mut p = Pipeline::new("p");
    let large = p.param("large", false);
    let model = p.when(large, |p| p.step("a", || Ok(1_u32), ())).otherwise(|p| p.step("b", || Ok(2_u32), ()));
    p.require("gate", large);
    p.approval("release", model);
    let mermaid = p.to_mermaid();
    for line in [
        "n0([\"large\"])",
        "n0 -. yes .-> n1",
        "n0 -. no .-> n2",
        "n1 --> n3",
        "n4{\"gate\"}",
        "n5{{\"release\"}}",
        "n4 -. yes .-> n5",
    ] {
        assert!(mermaid.contains(line), "{line} in {mermaid}");
    }
    assert!(p.to_dot().contains("n0 -> n1 [label=\"yes\", style=dotted];"));
}

#[test]
fn events_tell_what_people_should_hear() {
    use mlops_core::pipeline::EventObserver;
    use mlops_core::{EventLog, Severity};
    use std::sync::Arc;
    let (bench, log) = (Bench::new(), Arc::new(EventLog::default()));
    let mut p = Pipeline::new("p");
    p.step(Step::new("down").retry(Retry::times(1)), || Err::<u32, _>(Error::unavailable("no route")), ());
    let observer = EventObserver::new(log.clone(), bench.clock.clone());
    bench.bare().with_observer(observer).run(&p, "1").unwrap_err();
    let events: Vec<_> =
        log.take().iter().map(|e| (e.severity, e.subject.clone(), e.message.clone())).collect();
    let want = |severity, subject: &str, message: &str| (severity, subject.to_owned(), message.to_owned());
    assert_eq!(
        events,
        [
            want(Severity::Warning, "step `down`", "attempt 1 failed, next in 1s: no route"),
            want(Severity::Critical, "step `down`", "attempt 2 failed, it was the last: no route"),
            want(Severity::Critical, "pipeline `p`", "`down` failed: no route"),
        ]
    );
}

#[test]
fn a_branch_runs_one_way_and_rejoins() {
    let mut p = Pipeline::new("p");
    let large = p.param("large", false);
    let nested = p.param("nested", true);
    let model = p
        .when(large, |p| {
            p.when(nested, |p| p.step("a", || Ok("a".to_owned()), ()))
                .otherwise(|p| p.step("b", || Ok("b".to_owned()), ()))
        })
        .otherwise(|p| p.step("c", || Ok("c".to_owned()), ()));
    let end = p.step("end", |model: &String| Ok(format!("{model}!")), model);
    let bench = Bench::new();
    for (large, nested, want) in [(true, true, "a"), (true, false, "b"), (false, true, "c")] {
        let request = Request::new("1").param("large", large).param("nested", nested);
        let done = bench.bare().run(&p, request).unwrap();
        assert_eq!(*done.get(end).unwrap(), format!("{want}!"));
        assert_eq!(bench.started.names(), [want, "end"]);
        assert_eq!(*done.status(), RunStatus::Completed);
    }
}

#[test]
fn a_gate_stops_what_comes_after_it_alone() {
    let mut p = Pipeline::new("p");
    let good = p.param("good", false);
    let early = p.step("early", || Ok(1_u32), ());
    p.require("gate", good);
    let late = p.step("late", |n: &u32| Ok(n + 1), early);
    let bench = Bench::new();
    let done = bench.bare().run(&p, "1").unwrap();
    let reason = "the condition is false".to_owned();
    assert_eq!(*done.status(), RunStatus::Stopped { step: "gate".into(), reason });
    assert_eq!(*done.get(early).unwrap(), 1);
    assert_eq!(done.get(late).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(done.run.step("late").unwrap().state, StepState::Skipped);
    // The gate holds for a partial run of what lies behind it too.
    let done = bench.bare().run(&p, Request::new("1").only(late)).unwrap();
    assert!(matches!(done.status(), RunStatus::Stopped { .. }));
    let done = bench.bare().run(&p, Request::new("1").param("good", true)).unwrap();
    assert_eq!(*done.get(late).unwrap(), 2);
}

#[test]
fn an_approval_survives_a_restart_and_is_answered_once() {
    let bench = Bench::new();
    let wire = || {
        let mut p = Pipeline::new("p");
        let report = p.step("report", || Ok("auc 0.9".to_owned()), ());
        let answer = p.approval("release", report);
        let released = p.step("released", |a: &Approval| Ok(a.by.clone()), answer);
        (p, released)
    };
    let (p, released) = wire();
    let done = bench.runner().run(&p, "1").unwrap();
    let RunStatus::Suspended { waiting } = done.status() else { panic!("{:?}", done.status()) };
    assert_eq!(waiting.len(), 1);
    assert_eq!(bench.started.names(), ["report"]);
    assert!(done.get(released).is_err());

    let store = bench.store();
    let yes = Approval::granted("ana", "fine", Timestamp::EPOCH);
    let token = &waiting[0].token;
    assert_eq!(store.decide("1", "made up", &yes).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.decide("2", token, &yes).unwrap_err().kind(), ErrorKind::NotFound);
    store.decide("1", token, &yes).unwrap();
    let no = Approval::rejected("bo", "too late", Timestamp::EPOCH);
    assert_eq!(store.decide("1", token, &no).unwrap_err().kind(), ErrorKind::Conflict);

    let (p, released) = wire();
    let done = bench.runner().run(&p, "1").unwrap();
    assert_eq!(*done.get(released).unwrap(), "ana");
    assert_eq!(bench.started.names(), ["released"]);
    assert_eq!(store.decide("1", token, &no).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn a_rejection_ends_the_run_for_good() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.approval("release", ());
    p.step("push", || Ok(1), ());
    let done = bench.runner().run(&p, "1").unwrap();
    let RunStatus::Suspended { waiting } = done.status() else { panic!("{:?}", done.status()) };
    let no = Approval::rejected("bo", "bias", Timestamp::EPOCH);
    bench.store().decide("1", &waiting[0].token, &no).unwrap();
    for _ in 0..2 {
        let done = bench.runner().run(&p, "1").unwrap();
        let (step, by, comment) = ("release".into(), "bo".into(), "bias".into());
        assert_eq!(*done.status(), RunStatus::Rejected { step, by, comment });
    }
    assert_eq!(bench.started.names(), [""; 0]);
}

#[test]
fn retries_have_a_budget_for_each_kind_of_error() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    fn flaky(cx: &Context, fails: &[ErrorKind]) -> Result<u32> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        match fails.get(cx.attempt() as usize - 1) {
            Some(kind) => Err(Error::new(*kind, "flaky")),
            None => Ok(cx.attempt()),
        }
    }
    use ErrorKind::{Conflict, Data, Unavailable};
    let run = |fails: &[ErrorKind]| {
        let bench = Bench::new();
        let mut p = Pipeline::new("p");
        let fails = p.param("fails", fails.to_vec());
        let step = Step::new("flaky").retry(Retry::times(2)).retry_on(Conflict, Retry::times(1));
        let value = p.step(step, flaky, fails);
        CALLS.store(0, Ordering::SeqCst);
        let done = bench.bare().run(&p, "1").map(|done| *done.get(value).unwrap());
        (done.map_err(|error| error.kind()), CALLS.load(Ordering::SeqCst), bench.clock)
    };
    assert_eq!(run(&[]).0, Ok(1));
    assert_eq!(run(&[Unavailable, Unavailable]).0, Ok(3));
    assert_eq!(run(&[Unavailable, Conflict, Unavailable]).0, Ok(4));
    let (result, calls, clock) = run(&[Unavailable; 3]);
    assert_eq!((result, calls), (Err(Unavailable), 3));
    assert_eq!(mlops_core::Clock::now(&clock).as_micros(), 3_000_000, "waits of 1 s and 2 s");
    let (result, calls, _) = run(&[Conflict, Conflict]);
    assert_eq!((result, calls), (Err(Conflict), 2));
    let (result, calls, _) = run(&[Data]);
    assert_eq!((result, calls), (Err(Data), 1));
}

#[test]
fn a_late_result_is_refused() {
    let bench = Bench::new();
    let clock = bench.clock.clone();
    let mut p = Pipeline::new("p");
    let slow = move || {
        clock.advance(Duration::from_secs(2));
        Ok(1_u32)
    };
    p.step(Step::new("slow").timeout(Duration::from_secs(1)), slow, ());
    let error = bench.bare().run(&p, "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(format!("{error:#}").contains("longer than its timeout of 1s"), "{error:#}");

    let clock = bench.clock.clone();
    let mut p = Pipeline::new("p");
    let asks = move |cx: &Context| {
        cx.checkpoint()?;
        clock.advance(Duration::from_secs(2));
        cx.checkpoint().map(|()| 1_u32)
    };
    p.step(Step::new("asks").timeout(Duration::from_secs(1)), asks, ());
    let error = bench.bare().run(&p, "1").unwrap_err();
    assert!(format!("{error:#}").contains("the time of the step is over"), "{error:#}");
}

#[test]
fn a_panic_is_an_error_and_the_run_can_be_resumed() {
    static PANICS: AtomicU32 = AtomicU32::new(1);
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let one = p.step("one", || Ok(1_u32), ());
    let two = p.step(
        "two",
        |n: &u32| if PANICS.load(Ordering::SeqCst) > 0 { panic!("at {n}") } else { Ok(n + 1) },
        one,
    );
    for threads in [1, 3] {
        let error = bench.runner().with_threads(threads).run(&p, "1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(format!("{error:#}"), "step `two` of run `1` failed: it panicked: at 1");
    }
    let record = bench.store().run("1").unwrap();
    assert!(matches!(record.status, RunStatus::Failed { .. }));
    assert_eq!(record.step("two").unwrap().state, StepState::Failed);
    PANICS.store(0, Ordering::SeqCst);
    let done = bench.runner().run(&p, "1").unwrap();
    assert_eq!(*done.get(two).unwrap(), 2);
    assert_eq!(bench.started.take()["one"], 1);
}

#[test]
fn a_cancelled_run_goes_on_when_it_is_run_again() {
    let bench = Bench::new();
    let token = CancelToken::default();
    let mut p = Pipeline::new("p");
    let cancel = token.clone();
    let one = p.step(
        "one",
        move || {
            cancel.cancel();
            Ok(1_u32)
        },
        (),
    );
    let two = p.step("two", |n: &u32| Ok(n + 1), one);
    let done = bench.runner().run(&p, Request::new("1").cancel_by(&token)).unwrap();
    assert_eq!(*done.status(), RunStatus::Cancelled);
    assert_eq!(*done.get(one).unwrap(), 1, "what was done is kept");
    let done = bench.runner().run(&p, "1").unwrap();
    assert_eq!(*done.get(two).unwrap(), 2);
    assert_eq!(bench.started.take(), [("one".into(), 1), ("two".into(), 1)].into());
}

#[test]
fn a_cancellation_wakes_a_run_that_waits_for_a_retry() {
    let token = CancelToken::default();
    let mut p = Pipeline::new("p");
    let retry =
        Retry { wait: Duration::from_secs(600), wait_max: Duration::from_secs(600), ..Retry::times(1) };
    p.step(Step::new("down").retry(retry), || Err::<u32, _>(Error::unavailable("down")), ());
    let runner = mlops_core::pipeline::Runner::new(mlops_core::SystemClock::new());
    let done = std::thread::scope(|scope| {
        let run = scope.spawn(|| runner.run(&p, Request::new("1").cancel_by(&token)));
        std::thread::sleep(Duration::from_millis(20));
        token.cancel();
        run.join().unwrap().unwrap()
    });
    assert_eq!(*done.status(), RunStatus::Cancelled);
}

#[test]
fn the_seed_reaches_steps_by_name() {
    let mut p = Pipeline::new("p");
    let a = p.step("a", |cx: &Context| Ok(cx.seed()), ());
    let b = p.step("b", |cx: &Context| Ok(cx.seed()), ());
    let run = |seed| {
        let done = Bench::new().bare().run(&p, Request::new("1").seed(Seed::new(seed))).unwrap();
        (*done.get(a).unwrap(), *done.get(b).unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert_ne!(run(1).0, run(1).1);
}

#[test]
fn secrets_reach_steps_and_nothing_else() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let length = p.step("use", |cx: &Context| Ok(cx.secret("token")?.expose().len()), ());
    let runner = bench.runner().with_secret("token", Secret::new("hunter2"));
    assert_eq!(*runner.run(&p, "1").unwrap().get(length).unwrap(), 7);
    assert!(!format!("{runner:?}").contains("hunter2"));
    for file in walk(bench.folder.path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", file.display());
    }
    let error = Bench::new().bare().run(&p, "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_map_that_fails_says_at_which_item_and_how_often() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let items = p.step("items", || Ok((0..5_u32).collect::<Many<u32>>()), ());
    let work = |n: &u32| if *n == 3 { Err(Error::unavailable("gone")) } else { Ok(*n) };
    let step = Step::new("square").retry_on(ErrorKind::Unavailable, Retry::times(2));
    p.map(step, work, items, ());
    bench.runner().run(&p, "1").unwrap_err();
    let run = bench.store().run("1").unwrap();
    assert_eq!(run.status, RunStatus::Failed { step: "square[3]".into(), error: "gone".into() });
    assert_eq!(run.step("square").unwrap().state, StepState::Failed);
    let item = run.step("square[3]").unwrap();
    assert_eq!((item.state, item.attempts), (StepState::Failed, 3));
}

/// A map that starts while all threads are busy gets those that come free, and never more than allowed.
#[test]
fn a_map_takes_in_threads_that_come_free() {
    use std::sync::{Condvar, Mutex};
    for threads in [2, 3] {
        // The items wait until as many work at once as are allowed: it ends only if free threads come.
        let meeting = std::sync::Arc::new((Mutex::new((0_usize, 0_usize)), Condvar::new()));
        let mut p = Pipeline::new("p");
        p.step("short", || Ok(1_u32), ());
        let items = p.step("items", move || Ok((0..threads as u32 * 4).collect::<Many<u32>>()), ());
        let theirs = meeting.clone();
        let work = move |n: &u32| {
            let (count, changed) = &*theirs;
            let mut count = count.lock().unwrap();
            count.0 += 1;
            count.1 = count.1.max(count.0);
            changed.notify_all();
            while count.1 < threads {
                count = changed.wait(count).unwrap();
            }
            count.0 -= 1;
            Ok(*n)
        };
        let mapped = p.map("meet", work, items, ());
        p.step("other", || Ok(2_u32), ());
        let done = Bench::new().bare().with_threads(threads).run(&p, "1").unwrap();
        assert_eq!(done.get(mapped).unwrap().len(), threads * 4);
        assert_eq!(meeting.0.lock().unwrap().1, threads);
    }
}

#[test]
fn retries_end_with_their_time_too() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let retry = Retry { wait: Duration::from_secs(60), rate: 1.0, ..Retry::times(100) };
    let retry = Retry { expires_after: Some(Duration::from_secs(200)), ..retry };
    p.step(Step::new("push").retry(retry), || Err::<u32, _>(Error::unavailable("gone")), ());
    bench.bare().run(&p, "1").unwrap_err();
    assert_eq!(bench.started.take(), [("push".into(), 4)].into(), "at 0, 60, 120 and 180 s");
}

#[test]
fn items_of_a_map_are_retried_each_by_itself() {
    let bench = Bench::new();
    let tries = std::sync::Arc::new([const { AtomicU32::new(0) }; 4]);
    let mut p = Pipeline::new("p");
    let items = p.step("items", || Ok((0..4_u32).collect::<Many<u32>>()), ());
    let theirs = tries.clone();
    let work = move |n: &u32| {
        let before = theirs[*n as usize].fetch_add(1, Ordering::SeqCst);
        if before < *n { Err(Error::unavailable("not yet")) } else { Ok(*n) }
    };
    let mapped = p.map(Step::new("late").retry(Retry::times(3)), work, items, ());
    let done = bench.bare().with_threads(3).run(&p, "1").unwrap();
    assert_eq!(done.get(mapped).unwrap().iter().sum::<u32>(), 6);
    assert!(tries.iter().zip(1..).all(|(tries, want)| tries.load(Ordering::SeqCst) == want));
}

#[test]
fn a_cancellation_ends_a_map_on_several_threads_between_its_items() {
    let (bench, cancel) = (Bench::new(), CancelToken::default());
    let done = std::sync::Arc::new(AtomicU32::new(0));
    let mut p = Pipeline::new("p");
    let items = p.step("items", || Ok((0..1000_u32).collect::<Many<u32>>()), ());
    let (count, token) = (done.clone(), cancel.clone());
    let work = move |n: &u32| {
        if count.fetch_add(1, Ordering::SeqCst) == 5 {
            token.cancel();
        }
        Ok(*n)
    };
    let mapped = p.map("slow", work, items, ());
    let run = bench.runner().with_threads(3).run(&p, Request::new("1").cancel_by(&cancel)).unwrap();
    assert_eq!(*run.status(), RunStatus::Cancelled);
    let before = done.load(Ordering::SeqCst);
    assert!((6..=8).contains(&before), "{before}: what was begun is finished, nothing new starts");
    let run = bench.runner().with_threads(3).run(&p, "1").unwrap();
    assert_eq!(run.get(mapped).unwrap().len(), 1000);
    assert_eq!(done.load(Ordering::SeqCst), 1000, "no item ran twice");
}

#[test]
fn a_timeout_holds_for_each_item_on_several_threads() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let items = p.step("items", || Ok((0..6_u32).collect::<Many<u32>>()), ());
    let clock = bench.clock.clone();
    let work = move |cx: &Context, n: &u32| {
        if *n == 3 {
            clock.advance(Duration::from_secs(11));
        }
        cx.checkpoint()?;
        Ok(*n)
    };
    p.map(Step::new("item").timeout(Duration::from_secs(10)), work, items, ());
    let error = bench.bare().with_threads(3).run(&p, "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
