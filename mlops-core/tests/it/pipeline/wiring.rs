//! What is refused before anything runs.

use mlops_core::ErrorKind;
use mlops_core::pipeline::{Handle, Pipeline, Request};

use super::Bench;

fn refused(p: &Pipeline) -> String {
    let error = Bench::new().bare().run(p, "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[test]
fn an_empty_pipeline() {
    assert_eq!(refused(&Pipeline::new("empty")), "pipeline `empty` is empty: add a step");
}

#[test]
fn two_steps_of_one_name_and_a_step_without_one() {
    let mut p = Pipeline::new("p");
    p.step("a", || Ok(1), ());
    p.step("a", || Ok(2), ());
    p.step("", || Ok(3), ());
    assert_eq!(
        refused(&p),
        "pipeline `p` is wired wrong: two steps are called `a`: rename one, or use a scope; node 2 has no name"
    );
    let mut p = Pipeline::new("p");
    p.scope("left", |p| p.step("a", || Ok(1), ()));
    p.scope("right", |p| p.step("a", || Ok(1), ()));
    p.check().unwrap();
}

#[test]
fn handles_of_another_pipeline() {
    let mut other = Pipeline::new("other");
    let foreign = other.step("a", || Ok(1_u32), ());
    let mut p = Pipeline::new("p");
    let own = p.step("a", || Ok(1_u32), ());
    p.check().unwrap();
    for list in [vec![foreign], vec![own, foreign]] {
        let mut p = Pipeline::new("p");
        p.step("b", |_: &mlops_core::pipeline::Many<u32>| Ok(1), list);
        assert!(refused(&p).contains("step `b` takes a handle of another pipeline"));
    }
    let bench = Bench::new();
    for request in [Request::new("1").only(foreign), Request::new("1").inject(foreign, 3)] {
        assert_eq!(bench.bare().run(&p, request).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let done = bench.bare().run(&p, "1").unwrap();
    assert_eq!(done.get(foreign).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_value_taken_out_of_a_branch_without_a_rejoin() {
    let mut p = Pipeline::new("p");
    let yes = p.param("yes", true);
    let mut leaked: Option<Handle<u32>> = None;
    p.when(yes, |p| leaked = Some(p.step("inside", || Ok(1_u32), ())));
    p.step("outside", |n: &u32| Ok(*n), leaked.unwrap());
    assert!(refused(&p).contains("step `outside` takes `inside` out of a branch"));
}

#[test]
fn conditions_and_ways_of_other_branches_and_pipelines() {
    let mut p = Pipeline::new("p");
    let (yes, other) = (p.param("yes", true), p.param("other", true));
    let mut inner = None;
    p.when(other, |p| inner = Some(p.step("inner", || Ok(true), ())));
    p.when(inner.unwrap(), |p| p.step("behind", || Ok(1_u32), ()));
    assert!(refused(&p).contains("the condition `inner` of step `behind` is in a branch"));

    let mut p = Pipeline::new("p");
    let (yes2, other) = (p.param("yes", true), p.param("other", true));
    let mut foreign: Option<Handle<u32>> = None;
    p.when(other, |p| foreign = Some(p.step("inner", || Ok(1_u32), ())));
    p.when(yes2, |_| foreign.unwrap()).otherwise(|p| p.step("no", || Ok(2_u32), ()));
    assert!(refused(&p).contains("takes `inner` out of a branch"));

    let mut large = Pipeline::new("large");
    let far = (0..9).map(|n| large.param(&format!("n{n}"), true)).last().unwrap();
    let mut p = Pipeline::new("p");
    p.when(far, |p| p.step("a", || Ok(1_u32), ()));
    assert!(refused(&p).contains("the condition of step `a` is of another pipeline"));
    assert!(p.to_mermaid().contains('a') && p.to_dot().contains('a'));
    let _ = yes;
}

#[test]
fn a_gate_in_one_way_of_a_branch_is_fine() {
    let mut p = Pipeline::new("p");
    let yes = p.param("yes", true);
    let good = p.param("good", true);
    let joined = p
        .when(yes, |p| {
            p.require("gate", good);
            p.step("a", || Ok(1_u32), ())
        })
        .otherwise(|p| p.step("b", || Ok(2_u32), ()));
    p.step("after", |n: &u32| Ok(*n), joined);
    let done = Bench::new().bare().run(&p, "1").unwrap();
    assert_eq!(*done.get(joined).unwrap(), 1);
}

#[test]
fn names_that_items_and_parts_have() {
    let mut p = Pipeline::new("p");
    p.step("square[3]", || Ok(1_u32), ());
    assert!(refused(&p).contains("`square[3]` reads like an item of a map"));
    let mut p = Pipeline::new("p");
    p.step("halves.1", || Ok(1_u32), ());
    p.split("halves", || Ok((1_u32, 2_u32)), ());
    assert!(refused(&p).contains("a part of another are called `halves.1`"));
}

#[test]
fn parameters_that_do_not_exist_or_do_not_fit() {
    let mut p = Pipeline::new("p");
    let rounds = p.param("rounds", 10_u32);
    p.step("train", |n: &u32| Ok(*n), rounds);
    let run = |request: Request| format!("{:#}", Bench::new().bare().run(&p, request).unwrap_err());
    assert_eq!(run(Request::new("1").param("depth", 3)), "there is no parameter `depth`: there are rounds");
    assert!(
        run(Request::new("1").param("rounds", "many")).starts_with("parameter `rounds`: \"many\" is not")
    );
    assert!(run(Request::new("1").param("rounds", -1)).starts_with("parameter `rounds`: -1 is not"));
}

#[test]
fn run_ids_that_are_no_file_names() {
    let mut p = Pipeline::new("p");
    p.step("a", || Ok(1), ());
    let bench = Bench::new();
    for id in ["", "..", ".hidden", "a/b", "a\\b", "a b", "\u{e9}", &"x".repeat(129)] {
        assert_eq!(bench.runner().run(&p, id).unwrap_err().kind(), ErrorKind::Invalid, "{id}");
    }
}

#[test]
fn an_input_without_a_value() {
    let mut p = Pipeline::new("p");
    let rows = p.input::<Vec<f64>>("rows");
    let count = p.step("count", |rows: &Vec<f64>| Ok(rows.len()), rows);
    assert_eq!(refused(&p), "input `rows` has no value: inject one");
    let done = Bench::new().bare().run(&p, Request::new("1").inject(rows, vec![1.0; 3])).unwrap();
    assert_eq!(*done.get(count).unwrap(), 3);
}
