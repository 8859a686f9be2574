//! What people read when something is wrong: the culprit, and the way out.

use std::time::Duration;

use mlops_core::data::{Column, ColumnKind, Dataset, PointInTime, Split, TableSchema};
use mlops_core::evaluation::{Evaluation, Metric};
use mlops_core::pipeline::{Pipeline, Request, Runner, Store};
use mlops_core::trigger::{ContinuousTraining, Hold, TriggerPolicy};
use mlops_core::{Error, ErrorKind, ManualClock, Result, Seed, Timestamp};

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::EPOCH)
}

fn table(header: &str, row: &str) -> Result<Dataset> {
    let columns = header.split(',').map(|name| Column::new(name, ColumnKind::Integer));
    Dataset::from_csv(format!("{header}\n{row}\n").as_bytes(), TableSchema::new(columns)?)
}

#[test]
fn metrics_that_are_not_there() {
    let some = Evaluation::new(7).with("roc_auc", Metric::new(0.9)).with("profit", Metric::new(1.0));
    let cut = Evaluation::new(7).with("ndcg@10", Metric::new(0.9)).with("roc_auc", Metric::new(0.9));
    let says = |evaluation: &Evaluation, name| evaluation.metric(name, None).unwrap_err().to_string();
    let undefined = "it is undefined on these 7 rows (of one class only?), or was not measured";
    for (name, reason) in [
        ("mcc", undefined),
        ("auc", "is `roc_auc` meant?"),
        ("profits", "is `profit` meant?"),
        ("joy", "there are profit, roc_auc"),
    ] {
        assert_eq!(says(&some, name), format!("no metric `{name}`: {reason}"));
    }
    assert_eq!(says(&cut, "ndcg@20"), "no metric `ndcg@20`: is `ndcg@10` meant?");
    assert_eq!(says(&cut, "precision@20"), format!("no metric `precision@20`: {undefined}"));
    assert_eq!(says(&Evaluation::new(0), "roc_auc"), "no metric `roc_auc`: there are no rows");
}

#[test]
fn runs_that_did_not_reach_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let runner = Runner::new(clock()).with_store(Store::open(folder.path()).unwrap().without_sync());
    let mut p = Pipeline::new("p");
    let one = p.step("one", || Ok(1_u32), ());
    p.approval("release?", one);
    let two = p.step("two", |n: &u32| Ok(n + 1), one);
    let done = runner.run(&p, "r1").unwrap();
    let says = done.get(two).unwrap_err().to_string();
    assert_eq!(says, "run `r1` did not reach this value: it is waiting for approval `release?`");
    let error = runner.run(&p, Request::new("r1").seed(Seed::new(8))).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "run `r1` was started with seed 0, not 8: start a run of another id, the cache has what is still valid: its \
         journal says so"
    );
}

#[test]
fn tables_that_lack_a_column() {
    let (spine, other) = (table("user,t", "1,5").unwrap(), table("user,at,x", "1,5,2").unwrap());
    let join = PointInTime::new(["user"], "t");
    let error = join.features(&spine, &other, None).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "a column of the join is not in the joined table: see `other_time` and `known_at`: no column `t`: the columns \
         are user, at, x"
    );
    let error = PointInTime::new(["usr"], "t").features(&spine, &other, None).unwrap_err();
    assert!(format!("{error:#}").starts_with("a column of the join is not in the spine: no column `usr`"));
    let schema = TableSchema::new([Column::new("a", ColumnKind::Integer)]).unwrap();
    let error = Dataset::from_csv("a;b\n1;2\n".as_bytes(), schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("set the `CsvFormat::delimiter`"), "{error}");
    let few = spine.folds(Split::Random, 1, Seed::new(1)).err().unwrap();
    assert_eq!(few.to_string(), "1 fold leaves nothing to train or test on: want at least 2");
}

#[test]
fn names_and_waits_of_continuous_training() {
    let mut p = Pipeline::new("p");
    p.step("one", || Ok(1_u32), ());
    let policy = TriggerPolicy { cooldown: Duration::from_secs(60), ..TriggerPolicy::default() };
    let error = ContinuousTraining::new("my shop", Runner::new(clock()), p, policy).unwrap_err();
    assert_eq!(error.to_string(), "`my shop` cannot be the name of a continuous training");
    assert_eq!(Hold::Approval.to_string(), "a run waits for approval");
    let until = Timestamp::from_micros(60_000_000);
    assert!(Hold::Cooldown(until).to_string().ends_with("may start at 1970-01-01T00:01:00Z"));
}

#[test]
fn errors_of_files_have_kinds() {
    use std::io::ErrorKind as Io;
    for (io, kind) in [
        (Io::NotFound, ErrorKind::NotFound),
        (Io::UnexpectedEof, ErrorKind::Data),
        (Io::PermissionDenied, ErrorKind::Invalid),
        (Io::ConnectionReset, ErrorKind::Unavailable),
    ] {
        let error = Error::from(std::io::Error::from(io));
        assert_eq!(error.kind(), kind);
        assert!(std::error::Error::source(&error).is_some());
    }
}
