//! Folders that earlier builds wrote: they are read, resumed and answered as on the day they were written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema, Value};
use mlops_core::features::{DatePart, Encoder, EncoderSpec, Missing, Scaling, Transform};
use mlops_core::pipeline::{Approval, Context, Many, Pipeline, Planned, Request, Runner, Step, Store, store};
use mlops_core::run::{Run, RunStatus, StepState};
use mlops_core::trigger::{Cause, ContinuousTraining, Tick, TriggerPolicy};
use mlops_core::{Digester, ErrorKind, ManualClock, Result, Seed, Timestamp};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/pipeline")
}

// The paths of these functions are part of the cache keys: keep them.

fn read(n: &u64) -> Result<Vec<f64>> {
    Ok((0..*n).map(|n| n as f64 / 3.0).collect())
}

fn halves(rows: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (left, right) = rows.split_at(rows.len() / 2);
    Ok((left.to_vec(), right.to_vec()))
}

fn mean(cx: &Context, rows: &[f64]) -> Result<f64> {
    let mean = rows.iter().sum::<f64>() / rows.len() as f64;
    cx.metric("mean", mean);
    cx.metric("nothing", f64::NAN);
    Ok(mean)
}

fn folds(mean: &f64) -> Result<Many<(String, f64)>> {
    Ok((0..3).map(|fold| (format!("fold {fold}"), mean * f64::from(fold))).collect())
}

fn score(fold: &(String, f64)) -> Result<f64> {
    Ok(fold.1)
}

fn good(score: &Many<f64>, left: &f64) -> Result<bool> {
    Ok(score.iter().any(|score| score > left))
}

fn push(cx: &Context, left: &f64) -> Result<String> {
    Ok(format!("{left} as {}", cx.operation_id()))
}

fn pipeline() -> Pipeline {
    let mut p = Pipeline::new("old");
    let n = p.param("n", 6_u64);
    let rows = p.step(Step::new("read").always(), read, n);
    let (left, right) = p.split("halves", halves, rows);
    let left = p.step(Step::new("left").version(3), mean, left);
    let right = p.step("right", mean, right);
    let folds = p.step("folds", folds, right);
    let scores = p.map("score", score, folds, ());
    let good = p.step("good", good, (scores, left));
    p.require("gate", good);
    p.approval("sign", (good, left));
    p.step(Step::new("push").always(), push, left);
    p
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_790_000_000_000_000)))
}

fn runner(folder: &Path) -> Runner {
    Runner::new(clock()).with_store(Store::open(folder).unwrap().without_sync())
}

fn request(id: &str) -> Request {
    Request::new(id).seed(Seed::new(11))
}

fn policy() -> TriggerPolicy {
    TriggerPolicy { new_rows: Some(1000), cooldown: Duration::from_secs(60), ..TriggerPolicy::default() }
}

fn training(runner: Runner) -> ContinuousTraining {
    let mut p = Pipeline::new("trained");
    p.step("train", || Ok(1_u32), ());
    ContinuousTraining::new("shop", runner, p, policy()).unwrap()
}

fn rows() -> Dataset {
    let schema = TableSchema::new([
        Column::new("value", ColumnKind::Float),
        Column::new("visitor", ColumnKind::Text),
        Column::new("clicks", ColumnKind::Integer),
        Column::new("time", ColumnKind::Timestamp),
    ]);
    let csv = "value,visitor,clicks,time\n0.1,new,3,2026-05-01T12:00:00Z\n,returning,5,2026-05-02T13:30:00Z\n\
               7.25,new,,2026-05-03T00:00:00Z\n";
    Dataset::from_csv(csv.as_bytes(), schema.unwrap()).unwrap()
}

fn encoder() -> Encoder {
    let spec = EncoderSpec::new([
        ("value", Transform::standardise()),
        ("value", Transform::Bucketise { edges: vec![0.5, 2.0], missing: Missing::NaN }),
        ("visitor", Transform::one_hot(10)),
        ("clicks", Transform::Numeric { scaling: Scaling::MinMax, missing: Missing::Mean }),
        ("time", Transform::DateParts { parts: vec![DatePart::Weekday] }),
    ]);
    Encoder::fit(&spec, &rows()).unwrap()
}

/// Wrote `testdata/pipeline/format-1`, once.
#[test]
#[ignore = "a fixture is written once, by the first build of its format"]
fn write_format_1() {
    let folder = testdata().join("format-1");
    fs::create_dir_all(&folder).unwrap();
    let done = runner(&folder).run(&pipeline(), request("1")).unwrap();
    assert!(matches!(done.status(), RunStatus::Suspended { .. }));
    runner(&folder).run(&pipeline(), request("2")).unwrap();
    answer(&Store::open(&folder).unwrap(), "2");
    let training = training(runner(&folder));
    training.rows(700).unwrap();
    training.start_now("ann").unwrap();
    fs::write(folder.join("encoder.json"), encoder().to_json().unwrap()).unwrap();
}

fn answer(store: &Store, run: &str) {
    let RunStatus::Suspended { waiting } = store.run(run).unwrap().status else { panic!() };
    store.decide(run, &waiting[0].token, &Approval::granted("ann", "fine", Timestamp::EPOCH)).unwrap();
}

/// A copy that may be written to.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn format_1_is_resumed_cached_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    copy(&testdata().join("format-1"), folder.path());
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.runs().unwrap(), ["1", "2"]);
    let before = store.run("1").unwrap();
    assert!(before.metrics()["nothing"].is_nan());
    assert_eq!(before.metrics()["mean"].to_bits(), (4.0_f64 / 3.0).to_bits());

    // Nothing of the suspended run is computed again; its answer finishes it.
    let same = |run: &Run| {
        run.steps.iter().map(|step| (step.name.clone(), step.outputs.clone())).collect::<Vec<_>>()
    };
    let resumed = runner(folder.path()).run(&pipeline(), request("1")).unwrap().run;
    assert_eq!(same(&resumed), same(&before));
    for step in resumed.steps.iter().filter(|step| step.key.is_some()) {
        assert_eq!(step.state, StepState::Resumed, "{}", step.name);
    }
    answer(&store, "1");
    assert_eq!(*runner(folder.path()).run(&pipeline(), request("1")).unwrap().status(), RunStatus::Completed);
    assert_eq!(*runner(folder.path()).run(&pipeline(), request("2")).unwrap().status(), RunStatus::Completed);

    // Its results serve new runs, and its inputs explain a miss.
    let plan = runner(folder.path()).plan(&pipeline(), request("3")).unwrap();
    assert!(matches!(plan.step("left").unwrap(), Planned::Unknown { .. }), "`read` runs always");
    let third = runner(folder.path()).run(&pipeline(), request("3")).unwrap().run;
    for name in ["halves", "left", "right", "folds", "score[2]", "good"] {
        assert_eq!(third.step(name).unwrap().state, StepState::Cached, "{name}");
    }

    // What continuous training knew starts its run.
    let training = training(runner(folder.path()));
    let state = training.state();
    assert!(state.causes.iter().any(|cause| matches!(cause, Cause::Manual(by) if by == "ann")), "{state:?}");
    let Tick::Ran(ran) = training.tick().unwrap() else { panic!() };
    assert_eq!(ran.run.id, "shop-000001");

    let stored = Encoder::from_json(&fs::read(folder.path().join("encoder.json")).unwrap()).unwrap();
    assert_eq!(stored, encoder());
    let mut row = vec![0.0; stored.width()];
    let cells = [Value::Float(7.25), Value::Text("returning"), Value::Integer(4), Value::Integer(0)];
    stored.encode_row(&cells, &mut row).unwrap();
    assert_eq!(row, [1.0, 2.0, 0.0, 1.0, 0.5, 4.0]);
}

/// What a later build wrote is refused by name, not taken for damage.
#[test]
fn a_later_format_is_unsupported() {
    let later = |json: &[u8]| {
        let text = String::from_utf8(json.to_vec()).unwrap();
        assert!(text.contains("\"format\": 1") || text.contains("\"format\":1"), "{text}");
        text.replace("\"format\": 1", "\"format\": 99").replace("\"format\":1", "\"format\":99")
    };
    let folder = tempfile::tempdir().unwrap();
    copy(&testdata().join("format-1"), folder.path());
    let record = folder.path().join("runs/1/run.json");
    let json = later(&fs::read(&record).unwrap());
    assert_eq!(Run::from_json(json.as_bytes()).unwrap_err().kind(), ErrorKind::Unsupported);
    for entry in fs::read_dir(folder.path().join("triggers")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(&path, later(&fs::read(&path).unwrap())).unwrap();
    }
    let mut p = Pipeline::new("trained");
    p.step("train", || Ok(1_u32), ());
    let refused = ContinuousTraining::new("shop", runner(folder.path()), p, policy()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused:?}");
    let entry = "{\"entry\":\"began\",\"format\":99}";
    let mut sum = Digester::new();
    sum.field("");
    sum.update(entry);
    let line = format!("{} {entry}\n", &sum.finish().to_string()[..16]);
    assert_eq!(store::decode(line.as_bytes()).unwrap_err().kind(), ErrorKind::Unsupported);
}
