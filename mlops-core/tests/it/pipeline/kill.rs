//! Runs whose process is killed with SIGKILL at any moment, over and over: no committed step runs twice, and the
//! last run ends with the digests of one that nobody killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mlops_core::pipeline::{Context, Many, Pipeline, Request, Runner, Step, Store, store};
use mlops_core::run::{Run, StepState};
use mlops_core::{Digest, ManualClock, Seed, Timestamp};
use rand::RngExt as _;

/// Tells a process that is a copy of this test where its run lives, and on how many threads it runs.
const FOLDER: &str = "MLOPS_TEST_PIPELINE_FOLDER";
const THREADS: &str = "MLOPS_TEST_PIPELINE_THREADS";

/// Chains, a map, a branch and effects on the world. Every execution leaves a line in `witness`.
fn pipeline(witness: &Path) -> Pipeline {
    let witness = witness.to_owned();
    let saw = move |cx: &Context, what: &str| {
        let line = format!("{what} {}\n", cx.operation_id());
        let mut file = OpenOptions::new().create(true).append(true).open(&witness).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    let mut p = Pipeline::new("killed");
    let start = p.param("start", 3_u64);
    let mut ends = Vec::new();
    for chain in 0..3_u64 {
        let mut last = start;
        for place in 0..5_u64 {
            let (name, see) = (format!("chain-{chain}-{place}"), saw.clone());
            let named = name.clone();
            let work = move |cx: &Context, n: &u64| {
                see(cx, &named);
                Ok(n * 31 + chain + place)
            };
            let step = Step::new(name);
            last = p.step(if place == 2 { step.always() } else { step }, work, last);
        }
        ends.push(last);
    }
    let parts = p.step("parts", |ends: &Many<u64>| Ok(ends.iter().copied().collect::<Many<u64>>()), ends);
    let see = saw.clone();
    let part = move |cx: &Context, n: &u64| {
        see(cx, &format!("part-of-{n}"));
        Ok(n % 1000)
    };
    let mapped = p.map("part", part, parts, ());
    let see = saw.clone();
    let sum = move |cx: &Context, parts: &Many<u64>| {
        see(cx, "sum");
        Ok(parts.iter().sum::<u64>())
    };
    let sum = p.step("sum", sum, mapped);
    let push = move |cx: &Context, sum: &u64| {
        saw(cx, "push");
        Ok(*sum)
    };
    p.step(Step::new("push").always(), push, sum);
    p
}

fn run(folder: &Path, threads: usize) -> Run {
    let store = Store::open(folder.join("store")).unwrap();
    let runner = Runner::new(ManualClock::new(Timestamp::EPOCH)).with_threads(threads).with_store(store);
    let request = Request::new("1").seed(Seed::new(9));
    runner.run(&pipeline(&folder.join("witness")), request).unwrap().run
}

/// The process that is killed.
#[test]
#[allow(clippy::disallowed_methods, reason = "the parent process tells its copy by the environment")]
fn worker() {
    let (Ok(folder), Ok(threads)) = (std::env::var(FOLDER), std::env::var(THREADS)) else { return };
    println!("begins");
    run(Path::new(&folder), threads.parse().unwrap());
}

/// The lines that steps left, by step: what they were told to be.
fn witnessed(folder: &Path) -> Vec<(String, Digest)> {
    let text = fs::read_to_string(folder.join("witness")).unwrap_or_default();
    let line = |line: &str| {
        let (step, id) = line.split_once(' ').unwrap();
        (step.to_owned(), id.parse().unwrap())
    };
    text.lines().map(line).collect()
}

fn committed(folder: &Path) -> BTreeSet<String> {
    let journal = fs::read(folder.join("store/runs/1/journal")).unwrap_or_default();
    let (entries, _) = store::decode(&journal).unwrap();
    let steps = entries.into_iter().filter_map(|entry| match entry {
        store::Entry::Committed(done) => Some(done.step),
        _ => None,
    });
    steps.collect()
}

fn digests(run: &Run) -> Vec<(String, Option<Digest>, Vec<Digest>)> {
    let outputs = |step: &mlops_core::run::StepRecord| step.outputs.iter().map(|o| o.digest).collect();
    run.steps.iter().map(|step| (step.name.to_string(), step.key, outputs(step))).collect()
}

#[test]
fn killed_at_any_moment_and_resumed() {
    let whole = tempfile::tempdir().unwrap();
    let good = run(whole.path(), 1);
    let steps = witnessed(whole.path()).len();
    assert_eq!(steps, 3 * 5 + 3 + 2);
    let mut rng = Seed::new(4).rng();
    let (mut kills, mut resumed) = (0, 0);
    for round in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let threads = [1, 3][round % 2];
        loop {
            let (done, seen) = (committed(folder.path()), witnessed(folder.path()).len());
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["pipeline::kill::worker", "--exact", "--nocapture", "--test-threads=1"])
                .env(FOLDER, folder.path())
                .env(THREADS, threads.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(lines.any(|line| line.ends_with("begins")));
            std::thread::sleep(Duration::from_micros(rng.random_range(0..25_000)));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            for (step, _) in &witnessed(folder.path())[seen..] {
                assert!(!done.contains(step), "`{step}` was committed and ran again");
            }
            if status.success() {
                break;
            }
            assert_eq!(status.code(), None, "it was killed, it did not fail");
            kills += 1;
        }
        let last = run(folder.path(), 1);
        assert_eq!(digests(&last), digests(&good));
        assert!(last.steps.iter().all(|step| !matches!(step.state, StepState::NotReached)));
        let mut ids: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        for (step, id) in witnessed(folder.path()) {
            ids.entry(step).or_default().insert(id);
        }
        assert!(ids.values().all(|ids| ids.len() == 1), "one operation id a step, whatever life it ran in");
        resumed += usize::from(witnessed(folder.path()).len() > steps);
        if kills >= 40 {
            break;
        }
    }
    assert!(resumed > 0, "no kill ever met a step that was not committed yet");
}
