//! What a run is bound to: its parameters, the values that were shown, the results that it took.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlops_core::pipeline::{Approval, Pipeline, Request, Step};
use mlops_core::run::{RunStatus, StepState};
use mlops_core::{ErrorKind, Timestamp};

use super::Bench;

const DAY: Duration = Duration::from_secs(86_400);

/// A pipeline whose training never gives the same model twice, and asks before it pushes one.
fn pipeline(trainings: &Arc<AtomicU64>) -> Pipeline {
    let mut p = Pipeline::new("p");
    let n = p.param("n", 1_u64);
    let trainings = trainings.clone();
    let train = move |n: &u64| Ok(n * 1000 + trainings.fetch_add(1, Ordering::SeqCst));
    let model = p.step(Step::new("train").expires_after(DAY), train, n);
    let yes = p.approval("release", model);
    p.when(yes, |p| p.step(Step::new("push").always(), |model: &u64| Ok(*model), model));
    p
}

fn token(bench: &Bench, run: &str) -> String {
    let RunStatus::Suspended { waiting } = bench.store().run(run).unwrap().status else { panic!() };
    waiting[0].token.clone()
}

fn grant(bench: &Bench, run: &str) {
    let yes = Approval::granted("ana", "", Timestamp::EPOCH);
    bench.store().decide(run, &token(bench, run), &yes).unwrap();
}

#[test]
fn a_run_out_of_the_cache_is_bound_to_its_parameters_too() {
    let (bench, trainings) = (Bench::new(), Arc::default());
    let p = pipeline(&trainings);
    bench.runner().run(&p, "first").unwrap();
    // All that comes before the question is in the cache.
    bench.runner().run(&p, "1").unwrap();
    grant(&bench, "1");
    let error = bench.runner().run(&p, Request::new("1").param("n", 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.to_string().contains("another value of `n`"), "{error}");
    assert_eq!(bench.store().run("1").unwrap().params["n"], 1);
}

#[test]
fn an_answer_counts_for_what_was_shown() {
    let (bench, trainings) = (Bench::new(), Arc::default());
    let p = pipeline(&trainings);
    bench.runner().run(&p, "first").unwrap();
    let shown = bench.runner().run(&p, "1").unwrap().run;
    assert_eq!(shown.step("train").unwrap().state, StepState::Cached);
    grant(&bench, "1");
    // The cached model expires before the answer is acted upon: it is still the one that was shown.
    bench.clock.advance(2 * DAY);
    let done = bench.runner().run(&p, "1").unwrap().run;
    assert_eq!(done.status, RunStatus::Completed);
    assert_eq!(done.step("train").unwrap().outputs, shown.step("train").unwrap().outputs);
    assert_eq!(trainings.load(Ordering::SeqCst), 1);
}

#[test]
fn a_result_that_another_run_replaced_is_not_taken_for_the_committed_one() {
    let (bench, trainings) = (Bench::new(), Arc::default());
    let p = pipeline(&trainings);
    bench.runner().run(&p, "1").unwrap();
    grant(&bench, "1");
    bench.clock.advance(2 * DAY);
    bench.runner().run(&p, "2").unwrap();
    assert_eq!(trainings.load(Ordering::SeqCst), 2, "it had expired");
    let error = bench.runner().run(&p, "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.to_string().contains("replaced by another run's"), "{error}");
    assert_ne!(token(&bench, "2"), operation(&bench), "another model is another question");
}

/// The token of the question of run `1`, from the name of its answer: the answer of run 1 is there alone.
fn operation(bench: &Bench) -> String {
    let answers = fs::read_dir(bench.folder.path().join("runs/1/answers")).unwrap();
    answers.map(|entry| entry.unwrap().file_name().into_string().unwrap()).next().unwrap()
}

#[test]
fn a_result_under_a_wrong_name_is_damage_and_heals() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let a = p.step("a", || Ok(1_u32), ());
    let b = p.step("b", |a: &u32| Ok(a + 1), a);
    let keys =
        |run: &mlops_core::run::Run| ["a", "b"].map(|step| run.step(step).unwrap().key.unwrap().to_string());
    let [a, other] = keys(&bench.runner().run(&p, "1").unwrap().run);
    let path = |key: &str| bench.folder.path().join("results").join(&key[..2]).join(&key[2..]);
    fs::copy(path(&a), path(&other)).unwrap();
    bench.started.take();
    for run in ["1", "2"] {
        let done = bench.runner().run(&p, run).unwrap();
        assert_eq!(*done.get(b).unwrap(), 2);
    }
    assert_eq!(bench.started.take(), [("b".into(), 1)].into(), "computed anew, once");
}

#[test]
fn a_draft_of_another_process_is_left_alone() {
    let bench = Bench::new();
    bench.store();
    // In a container every process may have this id, and counts from 0.
    let drafts: Vec<_> = (0..2000)
        .map(|number| bench.folder.path().join(format!("tmp/{}-{number}", std::process::id())))
        .collect();
    drafts.iter().for_each(|draft| fs::write(draft, "another's").unwrap());
    let mut p = Pipeline::new("p");
    p.step("a", || Ok(1_u32), ());
    bench.runner().run(&p, "1").unwrap();
    assert!(drafts.iter().all(|draft| fs::read(draft).unwrap() == b"another's"));
}

#[test]
fn an_approval_without_a_store_is_refused() {
    let mut p = Pipeline::new("p");
    let a = p.step("a", || Ok(1_u32), ());
    p.approval("sign", a);
    let error = Bench::new().bare().run(&p, "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("approval `sign` needs a store"), "{error}");
}
