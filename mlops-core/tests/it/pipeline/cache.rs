//! What is taken from the cache, what is not, and how it is explained.

use std::time::Duration;

use mlops_core::pipeline::{Context, Many, Pipeline, Planned, Reason, Request, Step};
use mlops_core::run::StepState;
use mlops_core::{Clock, ErrorKind, Seed, Timestamp};

use super::Bench;

/// rows -> (train, test) -> model -> score.
fn pipeline(version: u32) -> Pipeline {
    let mut p = Pipeline::new("p");
    let n = p.param("n", 10_u32);
    let rounds = p.param("rounds", 3_u32);
    let rows = p.step("read", |n: &u32| Ok((0..*n).collect::<Vec<_>>()), n);
    let (train, test) =
        p.split("split", |rows: &Vec<u32>| Ok((rows[..8].to_vec(), rows[8..10].to_vec())), rows);
    let train_model = |rows: &Vec<u32>, rounds: &u32| Ok(rows.iter().sum::<u32>() * rounds);
    let model = p.step(Step::new("train").version(version), train_model, (train, rounds));
    p.step("score", |model: &u32, test: &Vec<u32>| Ok(model % test.len() as u32), (model, test));
    p
}

#[test]
fn a_second_run_computes_nothing_and_gives_the_same() {
    let bench = Bench::new();
    let first = bench.runner().run(&pipeline(1), "1").unwrap();
    assert_eq!(bench.started.names(), ["read", "score", "split", "train"]);
    let second = bench.runner().run(&pipeline(1), "2").unwrap();
    assert_eq!(bench.started.names(), [""; 0]);
    for (a, b) in first.run.steps.iter().zip(&second.run.steps) {
        assert_eq!((&a.outputs, a.key), (&b.outputs, b.key));
    }
    assert_eq!(second.run.step("train").unwrap().state, StepState::Cached);
}

#[test]
fn the_plan_names_the_field_that_differs() {
    let bench = Bench::new();
    let runner = bench.runner();
    let plan = runner.plan(&pipeline(1), "1").unwrap();
    assert_eq!(*plan.step("read").unwrap(), Planned::Compute(Reason::Never));
    assert_eq!(*plan.step("score").unwrap(), Planned::Unknown { after: "train".into() });
    runner.run(&pipeline(1), "1").unwrap();
    for step in runner.plan(&pipeline(1), "2").unwrap().steps {
        assert!(matches!(step.decision, Planned::Hit | Planned::Given), "{step:?}");
    }

    let explain = |p: &Pipeline, request: Request, step: &str| {
        runner.plan(p, request).unwrap().step(step).unwrap().to_string()
    };
    assert_eq!(explain(&pipeline(2), "2".into(), "train"), "compute: version 1 -> 2");
    let rounds = explain(&pipeline(1), Request::new("2").param("rounds", 4), "train");
    assert_eq!(rounds, "compute: input `rounds` 3 -> 4");
    assert_eq!(
        explain(&pipeline(1), Request::new("2").param("n", 11), "split"),
        "unknown: depends on what `read` gives"
    );
    assert!(bench.started.take().len() == 4, "a plan runs nothing");
    assert!(bench.store().run("2").is_err(), "and writes nothing");
}

#[test]
fn an_unchanged_output_cuts_the_rest_off() {
    let bench = Bench::new();
    bench.runner().run(&pipeline(1), "1").unwrap();
    bench.started.take();
    // One row more is read, but neither part of the split sees it.
    bench.runner().run(&pipeline(1), Request::new("2").param("n", 11)).unwrap();
    assert_eq!(bench.started.names(), ["read", "split"]);
}

#[test]
fn a_map_computes_new_items_alone() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let n = p.param("n", 3_u32);
    let items = p.step("items", |n: &u32| Ok((0..*n).collect::<Many<u32>>()), n);
    let square = p.map("square", |item: &u32| Ok(item * item), items, ());
    bench.runner().run(&p, "1").unwrap();
    bench.started.take();
    let request = Request::new("2").param("n", 5);
    let done = bench.runner().run(&p, request.clone()).unwrap();
    assert_eq!(bench.started.names(), ["items", "square[3]", "square[4]"]);
    assert_eq!(done.get(square).unwrap().iter().sum::<u32>(), 30);
    let plan = bench.runner().plan(&p, Request::new("3").param("n", 5)).unwrap();
    assert_eq!(*plan.step("square[4]").unwrap(), Planned::Hit);
}

#[test]
fn a_step_that_always_runs_runs_once_in_each_run() {
    let bench = Bench::new();
    let clock = bench.clock.clone();
    let mut p = Pipeline::new("p");
    let now = p.step(Step::new("now").always(), move || Ok(clock.now()), ());
    let second = p.step("second", |now: &Timestamp| Ok(now.as_micros() / 1_000_000), now);
    let run = |id: &str| *bench.runner().run(&p, id).unwrap().get(second).unwrap();
    assert_eq!(run("1"), 0);
    assert_eq!(bench.started.names(), ["now", "second"]);
    assert_eq!(run("2"), 0);
    assert_eq!(bench.started.names(), ["now"], "the same time, so the rest is a hit");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(run("1"), 0, "a run that is done keeps its values");
    assert_eq!(run("3"), 1);
}

#[test]
fn the_seed_counts_for_steps_that_may_use_it() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step("fixed", || Ok(1_u32), ());
    p.step("random", |cx: &Context| Ok(cx.seed().value()), ());
    bench.runner().run(&p, "1").unwrap();
    bench.started.take();
    bench.runner().run(&p, Request::new("2").seed(Seed::new(9))).unwrap();
    assert_eq!(bench.started.names(), ["random"]);
    let plan = bench.runner().plan(&p, Request::new("3").seed(Seed::new(8))).unwrap();
    assert_eq!(plan.step("random").unwrap().to_string(), "compute: seed 9 -> 8");
}

#[test]
fn results_expire_by_a_clock_that_may_jump() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step(Step::new("daily").expires_after(Duration::from_secs(10)), || Ok(1_u32), ());
    let runs = |id: &str| {
        bench.runner().run(&p, id).unwrap();
        bench.started.take().len()
    };
    assert_eq!(runs("1"), 1);
    bench.clock.set(Timestamp::from_micros(10_000_000));
    assert_eq!(runs("2"), 0);
    bench.clock.set(Timestamp::from_micros(-1_000_000_000));
    assert_eq!(runs("3"), 0, "a clock set back makes nothing older");
    bench.clock.set(Timestamp::from_micros(10_000_001));
    let plan = bench.runner().plan(&p, "4").unwrap();
    assert!(matches!(plan.step("daily").unwrap(), Planned::Compute(Reason::Expired(_))));
    assert_eq!(runs("4"), 1);
    bench.clock.set(Timestamp::from_micros(i64::MAX));
    assert_eq!(runs("4"), 0, "what a run committed does not expire in it");
}

#[test]
fn metrics_come_back_with_a_cached_result() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let work = |cx: &Context| {
        cx.metric("auc", 0.9);
        cx.metric("lift", f64::NAN);
        cx.metric("loss", f64::NEG_INFINITY);
        Ok(1_u32)
    };
    p.step("evaluate", work, ());
    for id in ["1", "2"] {
        bench.runner().run(&p, id).unwrap();
        let run = bench.store().run(id).unwrap();
        let metrics = run.metrics();
        assert_eq!((metrics["auc"], metrics["loss"]), (0.9, f64::NEG_INFINITY));
        assert!(metrics["lift"].is_nan());
    }
    assert_eq!(bench.started.take().len(), 1);
}

#[test]
fn a_tampered_cache_is_seen_and_computed_again() {
    let (bench, p) = (Bench::new(), pipeline(1));
    let good = bench.runner().run(&p, "1").unwrap();
    let files = results(&bench);
    assert_eq!(files.len(), 4);
    for (round, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1 << (place % 8);
            std::fs::write(file, &bad).unwrap();
            let plan = bench.runner().plan(&p, "other").unwrap();
            let damaged = |step: &&mlops_core::pipeline::PlannedStep| {
                matches!(step.decision, Planned::Compute(Reason::Damaged(_)))
            };
            assert_eq!(
                plan.steps.iter().filter(damaged).count(),
                1,
                "byte {place} of {}: {plan}",
                file.display()
            );
        }
        for bad in [&b""[..], &bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat()] {
            std::fs::write(file, bad).unwrap();
            bench.started.take();
            let again = bench.runner().run(&p, format!("again-{round}-{}", bad.len())).unwrap();
            assert_eq!(bench.started.take().len(), 1);
            for (a, b) in good.run.steps.iter().zip(&again.run.steps) {
                assert_eq!(a.outputs, b.outputs);
            }
        }
    }
}

#[test]
fn a_damaged_result_of_a_step_that_always_runs_is_an_error_in_its_run() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step(Step::new("push").always(), || Ok(1_u32), ());
    bench.runner().run(&p, "1").unwrap();
    let file = &results(&bench)[0];
    std::fs::write(file, "rubbish").unwrap();
    assert_eq!(bench.runner().run(&p, "1").unwrap_err().kind(), ErrorKind::Data);
    std::fs::remove_file(file).unwrap();
    assert_eq!(bench.runner().run(&p, "1").unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(bench.started.take()["push"], 1);
    bench.runner().run(&p, "2").unwrap();
}

fn results(bench: &Bench) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(bench.folder.path().join("results")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn the_record_of_a_run_says_why_each_step_was_computed_or_not() {
    let bench = Bench::new();
    let wire = |version, rounds: u32| {
        let mut p = Pipeline::new("p");
        let rounds = p.param("rounds", rounds);
        let read = p.step(Step::new("read").always(), || Ok(1_u32), ());
        let train = Step::new("train").version(version);
        p.step(train, |read: &u32, rounds: &u32| Ok(read + rounds), (read, rounds));
        p
    };
    let reasons = |p: &Pipeline, run: &str| {
        let run = bench.runner().run(p, run).unwrap().run;
        ["read", "train"].map(|step| run.step(step).unwrap().reason.clone())
    };
    assert_eq!(reasons(&wire(1, 5), "1"), ["it runs in every run", "it has never run"]);
    assert_eq!(reasons(&wire(1, 5), "1"), ["committed in this run", "committed in this run"]);
    assert_eq!(reasons(&wire(1, 5), "2"), ["it runs in every run", "computed at 1970-01-01T00:00:00Z"]);
    assert_eq!(reasons(&wire(2, 5), "3"), ["it runs in every run", "version 1 -> 2"]);
    let [_, changed] = reasons(&wire(2, 6), "4");
    assert!(changed.starts_with("input `rounds` "), "{changed}");
}

#[test]
fn old_results_are_pruned_and_what_a_run_needs_is_kept() {
    let bench = Bench::new();
    let wire = || {
        let mut p = Pipeline::new("p");
        let n = p.param("n", 1_u32);
        let read = p.step(Step::new("read").always(), |n: &u32| Ok(*n), n);
        let train = p.step("train", |n: &u32| Ok(vec![*n; 1000]), read);
        p.approval("release", train);
        p.step("after", |model: &Vec<u32>| Ok(model.len()), train);
        p
    };
    let run = |id: &str, n: u32| bench.runner().run(&wire(), Request::new(id).param("n", n)).unwrap().run;
    let answer = |id: &str| {
        let mlops_core::run::RunStatus::Suspended { waiting } = bench.store().run(id).unwrap().status else {
            panic!()
        };
        let yes = mlops_core::pipeline::Approval::granted("ana", "", Timestamp::EPOCH);
        bench.store().decide(id, &waiting[0].token, &yes).unwrap();
    };
    for (id, n) in [("ended", 1), ("open", 2), ("last", 3)] {
        run(id, n);
    }
    answer("ended");
    run("ended", 1);
    std::fs::write(bench.folder.path().join("tmp/99-0"), "draft").unwrap();
    let day = Duration::from_secs(86_400);
    let now = bench.clock.now();
    assert_eq!(bench.store().prune(now).unwrap().files, 0, "nothing is older");
    bench.clock.advance(day);
    // Two results of the run that ended; the third is the last one of its step. The draft has the disk's own time.
    let pruned = bench.store().prune(bench.clock.now()).unwrap();
    assert_eq!(pruned.files, 2, "{pruned:?}");
    assert!(pruned.bytes > 1000);
    assert_eq!(bench.store().prune(bench.clock.now()).unwrap().files, 0);
    bench.started.take();
    answer("open");
    run("open", 2);
    assert_eq!(bench.started.names(), ["after"], "all before the question was kept");
    run("again", 1);
    assert_eq!(bench.started.names(), ["read", "train"]);
    let far = Timestamp::from_micros(4_000_000_000_000_000);
    assert!(bench.store().prune(far).unwrap().files >= 1, "and the draft");
    assert!(!bench.folder.path().join("tmp/99-0").exists());
}
