//! Branches that rejoin, maps over lists, and what of it runs when some of it is given.

use mlops_core::data::{Column, ColumnKind, Dataset, Split, TableSchema};
use mlops_core::pipeline::{Handle, Many, Pipeline, Request};
use mlops_core::run::{RunStatus, StepState};
use mlops_core::{Error, ErrorKind, Result, Seed};

use super::Bench;

fn trained(p: &mut Pipeline, name: &'static str, auc: f64) -> (Handle<String>, Handle<f64>) {
    p.split(name, move || Ok((name.to_owned(), auc)), ())
}

#[test]
fn tuples_rejoin_value_by_value_under_the_name_they_were_given() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let large = p.param("large", false);
    let (model, (auc, rows)) = p
        .when(large, |p| {
            let (model, auc) = trained(p, "trees", 0.9);
            (model, (auc, p.step("many rows", || Ok(1000_u64), ())))
        })
        .named("chosen")
        .otherwise(|p| {
            let (model, auc) = trained(p, "line", 0.8);
            (model, (auc, p.step("few rows", || Ok(10_u64), ())))
        });
    let end = p.step("end", |m: &String, a: &f64, n: &u64| Ok(format!("{m} {a} {n}")), (model, auc, rows));
    for (large, want) in [(true, "trees 0.9 1000"), (false, "line 0.8 10")] {
        let done =
            bench.runner().run(&p, Request::new(want.replace(' ', "_")).param("large", large)).unwrap();
        assert_eq!(*done.get(end).unwrap(), want);
        let names: Vec<_> = done.run.step("end").unwrap().inputs.iter().map(|i| i.name.to_string()).collect();
        assert_eq!(names, ["chosen.0", "chosen.1.0", "chosen.1.1"]);
    }
    // Each is a value of its own: what is not asked for does not run.
    bench.started.take();
    let done = bench.bare().run(&p, Request::new("1").param("large", true).only(rows)).unwrap();
    assert_eq!(*done.get(rows).unwrap(), 1000);
    assert_eq!(bench.started.names(), ["many rows"]);
}

#[test]
fn joins_are_called_after_their_condition() {
    let mut p = Pipeline::new("p");
    let good = p.step("good", || Ok(true), ());
    let one = |p: &mut Pipeline, name: &str| p.step(name, || Ok(1_u32), ());
    p.scope("part", |p| {
        let fine = p.step("fine", || Ok(true), ());
        p.when(fine, |p| one(p, "a")).otherwise(|p| one(p, "b"));
    });
    p.when(good, |p| one(p, "c")).otherwise(|p| one(p, "d"));
    p.when(good, |p| (one(p, "e"), one(p, "f"))).otherwise(|p| (one(p, "g"), one(p, "h")));
    p.when(good, |p| one(p, "i")).otherwise(|p| one(p, "j"));
    p.check().unwrap();
    let text = p.to_mermaid();
    for name in
        ["part/join of fine", "join of good", "join of good, 2.0", "join of good, 2.1", "join of good, 3"]
    {
        assert!(text.contains(&format!("((\"{name}\"))")), "{name}: {text}");
    }
    p.when(good, |p| one(p, "k")).named("c").otherwise(|p| one(p, "l"));
    assert_eq!(p.check().unwrap_err().kind(), ErrorKind::Invalid, "two nodes are called `c`");
}

#[test]
fn a_gate_in_a_way_holds_back_what_is_behind_it_alone() {
    let mut p = Pipeline::new("p");
    let (yes, good) = (p.param("yes", true), p.param("good", false));
    let (model, report) = p
        .when(yes, |p| {
            let model = p.step("model", || Ok(1_u32), ());
            p.require("gate", good);
            (model, p.step("report", |n: &u32| Ok(n + 1), model))
        })
        .otherwise(|p| (p.step("old", || Ok(2_u32), ()), p.step("old report", || Ok(3_u32), ())));
    let done = Bench::new().bare().run(&p, "1").unwrap();
    assert!(matches!(done.status(), RunStatus::Stopped { .. }));
    assert_eq!(*done.get(model).unwrap(), 1);
    assert_eq!(done.get(report).unwrap_err().kind(), ErrorKind::NotFound);
}

fn rows() -> Result<Dataset> {
    let schema = TableSchema::new([Column::new("x", ColumnKind::Float)])?;
    Dataset::from_csv("x\n1\n2\n3\n4\n5\n6\n".as_bytes(), schema)
}

fn folds(rows: &Dataset) -> Result<Vec<(Dataset, Dataset)>> {
    rows.folds(Split::Random, 3, Seed::new(1))?.collect()
}

fn sums((train, test): &(Dataset, Dataset), column: &str) -> Result<(f64, f64)> {
    let sum = |rows: &Dataset| Ok::<f64, Error>(rows.numbers(column)?.iter().sum());
    Ok((sum(train)?, sum(test)?))
}

#[test]
fn folds_pass_through_a_map_a_cache_and_a_restart() {
    let wire = || {
        let mut p = Pipeline::new("p");
        let column = p.param("column", "x".to_owned());
        let rows = p.step("rows", rows, ());
        let vec = p.step("vec", folds, rows);
        let many = p.step("many", |rows: &Dataset| Ok(folds(rows)?.into_iter().collect::<Many<_>>()), rows);
        let by_vec = p.map("by vec", sums, vec, column);
        let by_many = p.map("by many", sums, many, column);
        (p, by_vec, by_many)
    };
    let bench = Bench::new();
    for (run, threads) in [("1", 1), ("2", 1), ("3", 3)] {
        let (p, by_vec, by_many) = wire();
        let done = bench.runner().with_threads(threads).run(&p, run).unwrap();
        let sums: Vec<_> = done.get(by_vec).unwrap().iter().copied().collect();
        assert!(sums.iter().all(|(train, test)| train + test == 21.0), "{sums:?}");
        assert_eq!(sums.iter().map(|(_, test)| test).sum::<f64>(), 21.0);
        assert_eq!(done.get(by_many).unwrap(), done.get(by_vec).unwrap());
        assert_eq!(done.digest(by_many).unwrap(), done.digest(by_vec).unwrap());
        assert_eq!(bench.started.take().is_empty(), run != "1", "computed once");
    }
}

#[test]
fn what_a_map_gave_can_be_injected_and_misses_nothing() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let items = p.step("items", || Ok(vec![1_u32, 2, 3]), ());
    let squares = p.map("square", |n: &u32| Ok(n * n), items, ());
    let sum = p.step("sum", |all: &Many<u32>| Ok(all.iter().sum::<u32>()), squares);
    let first = bench.runner().run(&p, "1").unwrap();
    bench.started.take();
    let given = Many::clone(&first.get(squares).unwrap());
    let second = bench.runner().run(&p, Request::new("2").inject(squares, given)).unwrap();
    assert_eq!(*second.get(sum).unwrap(), 14);
    assert_eq!(second.digest(squares).unwrap(), first.digest(squares).unwrap());
    assert_eq!(second.run.step("sum").unwrap().state, StepState::Cached);
    assert!(bench.started.take().is_empty());
}

#[test]
fn a_split_runs_only_for_the_parts_that_are_wanted_and_not_given() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    let rows = p.step("rows", || Ok(10_u32), ());
    let (train, test) = p.split("split", |n: &u32| Ok((n - 1, 1_u32)), rows);
    let model = p.step("model", |n: &u32| Ok(n * 100), train);
    let score = p.step("score", |m: &u32, t: &u32| Ok(m + t), (model, test));
    let request = || Request::new("1").inject(train, 5_u32);
    let done = bench.bare().run(&p, request().only(model)).unwrap();
    assert_eq!(*done.get(model).unwrap(), 500);
    assert_eq!(*done.get(train).unwrap(), 5);
    assert_eq!(done.get(test).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.started.names(), ["model"], "nobody wants `test`");
    let split = done.run.step("split").unwrap();
    assert_eq!(
        (split.state, split.outputs.len(), &*split.outputs[0].name),
        (StepState::Injected, 1, "split.0")
    );

    let done = bench.bare().with_threads(2).run(&p, request().only(score)).unwrap();
    assert_eq!(*done.get(score).unwrap(), 501);
    assert_eq!(bench.started.names(), ["model", "rows", "score", "split"]);
    assert_eq!(*done.get(train).unwrap(), 5, "the given part wins");
}
