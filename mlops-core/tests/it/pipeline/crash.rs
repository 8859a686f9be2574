//! A run that is killed anywhere goes on where it was, and ends with the same digests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mlops_core::pipeline::{Context, Pipeline, Request, Step, store};
use mlops_core::run::StepState;
use mlops_core::{Digest, ErrorKind};

use super::Bench;

/// The world outside: what was pushed, by operation id.
type World = Arc<Mutex<BTreeMap<Digest, u32>>>;

fn pipeline(world: &World) -> Pipeline {
    let mut p = Pipeline::new("p");
    let n = p.param("n", 5_u64);
    let rows = p.step(Step::new("read").always(), |n: &u64| Ok((0..*n).collect::<Vec<_>>()), n);
    let (train, test) =
        p.split("split", |rows: &Vec<u64>| Ok((rows[..3].to_vec(), rows[3..].to_vec())), rows);
    let sum = p.step("sum", |rows: &Vec<u64>| Ok(rows.iter().sum::<u64>()), train);
    let max = p.step("max", |rows: &Vec<u64>| Ok(rows.iter().max().copied()), test);
    let good =
        p.step("good", |sum: &u64, max: &Option<u64>| Ok(max.is_some_and(|max| max >= *sum)), (sum, max));
    p.require("gate", good);
    let world = world.clone();
    let push = move |cx: &Context, sum: &u64| {
        *world.lock().unwrap().entry(cx.operation_id()).or_default() += 1;
        Ok(*sum)
    };
    p.step(Step::new("push").always(), push, sum);
    p
}

fn digests(run: &mlops_core::run::Run) -> Vec<(String, Option<Digest>, Vec<Digest>)> {
    let outputs = |step: &mlops_core::run::StepRecord| step.outputs.iter().map(|o| o.digest).collect();
    run.steps.iter().map(|step| (step.name.to_string(), step.key, outputs(step))).collect()
}

/// The result files in the order in which they were written, and the journal.
struct Trace {
    journal: Vec<u8>,
    results: BTreeMap<String, Vec<u8>>,
    committed: Vec<(String, String)>,
}

fn trace(bench: &Bench) -> Trace {
    let journal = fs::read(journal_path(bench)).unwrap();
    let (entries, whole) = store::decode(&journal).unwrap();
    assert_eq!(whole, journal.len());
    let committed = entries.iter().filter_map(|entry| match entry {
        store::Entry::Committed(done) => Some((done.step.clone(), done.result.to_string())),
        _ => None,
    });
    let committed: Vec<_> = committed.collect();
    let read = |id: &String| (id.clone(), fs::read(result_path(bench.folder.path(), id)).unwrap());
    let results = committed.iter().map(|(_, id)| read(id)).collect();
    Trace { journal, results, committed }
}

fn journal_path(bench: &Bench) -> PathBuf {
    bench.folder.path().join("runs/1/journal")
}

fn result_path(root: &Path, id: &str) -> PathBuf {
    root.join("results").join(&id[..2]).join(&id[2..])
}

/// The folder as it is when the process dies with `bytes` bytes of the journal and `results` results.
fn folder_at(trace: &Trace, bytes: usize, results: usize) -> Bench {
    let bench = Bench::new();
    bench.store();
    fs::create_dir_all(bench.folder.path().join("runs/1")).unwrap();
    fs::write(journal_path(&bench), &trace.journal[..bytes]).unwrap();
    for (_, id) in &trace.committed[..results] {
        let path = result_path(bench.folder.path(), id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &trace.results[id]).unwrap();
    }
    bench
}

/// Kills the run with these many bytes of its journal written, resumes it, and compares.
fn kill_at(places: impl Iterator<Item = usize>, wire: impl Fn() -> Pipeline) {
    let whole = Bench::new();
    let good = whole.runner().run(&wire(), "1").unwrap();
    let trace = trace(&whole);
    for bytes in places.take_while(|bytes| *bytes <= trace.journal.len()) {
        let lines = trace.journal[..bytes].iter().filter(|byte| **byte == b'\n').count();
        let committed = lines.saturating_sub(1);
        // The result of a step is there before its line; it may be there without it.
        let ahead = if lines == 0 { 0 } else { (committed + 1).min(trace.committed.len()) };
        for results in BTreeSet::from([committed, ahead]) {
            let bench = folder_at(&trace, bytes, results);
            let done = bench.runner().run(&wire(), "1").unwrap();
            assert_eq!(digests(&done.run), digests(&good.run), "{bytes} bytes, {results} results");
            let rerun: Vec<String> = bench.started.names();
            for (step, _) in &trace.committed[..results] {
                assert!(!rerun.contains(step), "{bytes} bytes, {results} results: `{step}` ran twice");
                let state = done.run.step(step).unwrap().state;
                assert!(matches!(state, StepState::Resumed | StepState::Cached));
            }
            assert_eq!(rerun.len(), trace.committed.len() - results);
            if results < trace.committed.len() {
                assert_eq!(fs::read(journal_path(&bench)).unwrap().last(), Some(&b'\n'));
            }
        }
    }
}

#[test]
fn killed_at_every_byte_of_the_journal() {
    let wire = || {
        let mut p = Pipeline::new("p");
        let read = p.step(Step::new("read").always(), || Ok(7_u64), ());
        p.step("next", |n: &u64| Ok(n + 1), read);
        p
    };
    kill_at(0.., wire);
}

#[test]
fn killed_at_every_boundary_of_a_longer_journal() {
    let world = World::default();
    let whole = Bench::new();
    whole.runner().run(&pipeline(&world), "1").unwrap();
    let journal = fs::read(journal_path(&whole)).unwrap();
    let ends = journal.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place);
    let places: BTreeSet<usize> =
        ends.flat_map(|end| [end.saturating_sub(1), end, end + 1, end + 2]).collect();
    assert_eq!(places.len(), 7 * 4);
    kill_at(places.into_iter(), || pipeline(&world));
}

#[test]
fn a_result_that_is_half_written_is_not_seen() {
    let world = World::default();
    let whole = Bench::new();
    whole.runner().run(&pipeline(&world), "1").unwrap();
    let trace = trace(&whole);
    let draft = &trace.results[&trace.committed[0].1];
    for bytes in (0..=draft.len()).step_by(16) {
        let bench = folder_at(&trace, 0, 0);
        fs::write(bench.folder.path().join("tmp/1-0"), &draft[..bytes]).unwrap();
        bench.runner().run(&pipeline(&world), "1").unwrap();
        assert_eq!(bench.started.take().len(), 6);
    }
}

#[test]
fn an_effect_that_was_cut_off_is_repeated_with_the_same_operation_id() {
    let world = World::default();
    let whole = Bench::new();
    whole.runner().run(&pipeline(&world), "1").unwrap();
    let trace = trace(&whole);
    let last = trace.journal[..trace.journal.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let bench = folder_at(&trace, last, trace.committed.len() - 1);
    bench.runner().run(&pipeline(&world), "1").unwrap();
    assert_eq!(world.lock().unwrap().values().copied().collect::<Vec<_>>(), [2], "one id, told twice");
    bench.runner().run(&pipeline(&world), "2").unwrap();
    assert_eq!(world.lock().unwrap().len(), 2, "another run is another operation");
}

#[test]
fn a_journal_with_a_changed_lost_or_moved_line_is_refused() {
    let world = World::default();
    let whole = Bench::new();
    whole.runner().run(&pipeline(&world), "1").unwrap();
    let trace = trace(&whole);
    let bench = folder_at(&trace, 0, trace.committed.len());
    let refused = |journal: &[u8], what: &str| {
        fs::write(journal_path(&bench), journal).unwrap();
        let error = bench.runner().run(&pipeline(&world), "1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{what}: {error:#}");
        assert_eq!(fs::read(journal_path(&bench)).unwrap(), journal, "{what}: the evidence is kept");
    };
    let end = trace.journal.len() - 1;
    for place in 0..end {
        let mut bad = trace.journal.clone();
        bad[place] ^= 1;
        refused(&bad, &format!("byte {place}"));
    }
    let lines: Vec<&[u8]> = trace.journal.split_inclusive(|byte| *byte == b'\n').collect();
    for gone in 0..lines.len() - 1 {
        let mut rest = lines.clone();
        rest.remove(gone);
        refused(&rest.concat(), &format!("without line {gone}"));
        let mut moved = lines.clone();
        moved.swap(gone, gone + 1);
        refused(&moved.concat(), &format!("line {gone} moved"));
    }
}

#[test]
fn a_run_is_resumed_with_what_it_was_started_with_or_not_at_all() {
    let bench = Bench::new();
    let world = World::default();
    bench.runner().run(&pipeline(&world), "1").unwrap();
    let error = bench.runner().run(&pipeline(&world), Request::new("1").param("n", 6)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another value of `n`"), "{error}");
    let error =
        bench.runner().run(&pipeline(&world), Request::new("1").seed(mlops_core::Seed::new(1))).unwrap_err();
    assert!(error.to_string().contains("seed 0"), "{error}");
    let mut other = pipeline(&world);
    other.step("more", || Ok(1), ());
    let error = bench.runner().run(&other, "1").unwrap_err();
    assert!(error.to_string().contains("another wiring"), "{error}");
}

#[test]
fn two_processes_do_not_execute_one_run() {
    let bench = Bench::new();
    let runner = bench.runner();
    let mut inner = Pipeline::new("p");
    inner.step("a", || Ok(1_u32), ());
    let mut p = Pipeline::new("p");
    p.step("a", move || Ok(runner.run(&inner, "1").unwrap_err().kind()), ());
    let done = bench.runner().run(&p, "1").unwrap();
    assert_eq!(done.run.steps.len(), 1);
    let results: Vec<_> = fs::read_dir(bench.folder.path().join("results")).unwrap().collect();
    assert_eq!(results.len(), 1);
}
