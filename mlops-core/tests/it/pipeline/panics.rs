//! Code of the caller's that panics anywhere: the run fails with an error, whatever the threads.

use std::borrow::Cow;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mlops_core::pipeline::{Artifact, Decision, Many, Notice, Observer, Pipeline, Request, Runner};
use mlops_core::{ErrorKind, Result};

use super::Bench;

/// Panics where the text says.
struct Bomb(&'static str);

impl Artifact for Bomb {
    fn format() -> Cow<'static, str> {
        "bomb".into()
    }

    fn encode(&self, out: &mut dyn Write) -> Result<()> {
        assert_ne!(self.0, "encode", "it goes off");
        out.write_all(self.0.as_bytes()).unwrap();
        Ok(())
    }

    fn decode(_: Bytes) -> Result<Self> {
        panic!("it goes off");
    }
}

impl Decision for Bomb {
    fn passed(&self) -> bool {
        assert_ne!(self.0, "passed", "it goes off");
        self.0 != "reason"
    }

    fn reason(&self) -> String {
        panic!("it goes off");
    }
}

fn fails(what: &str, runner: &Runner, p: &Pipeline) {
    let error = runner.run(p, Request::new("1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{what}: {error:?}");
    assert!(format!("{error:#}").contains("it goes off"), "{what}: {error:#}");
}

#[test]
fn a_panic_in_a_type_of_the_caller_fails_the_run() {
    for threads in [1, 3] {
        for bomb in ["encode", "passed", "reason"] {
            let mut p = Pipeline::new("p");
            for place in 0..4 {
                p.step(format!("idle {place}"), || Ok(1_u32), ());
            }
            let decision = p.step("bomb", move || Ok(Bomb(bomb)), ());
            p.when(decision, |p| p.step("inside", || Ok(2_u32), ()));
            p.require("gate", decision);
            let bench = Bench::new();
            fails(bomb, &bench.runner().with_threads(threads), &p);
            fails(bomb, &bench.bare().with_threads(threads), &p);
        }
        let mut p = Pipeline::new("p");
        let items = p.step("items", || Ok((0..20_u32).collect::<Many<u32>>()), ());
        p.map("bomb", |n: &u32| Ok(Bomb(if *n == 7 { "encode" } else { "" })), items, ());
        fails("map", &Bench::new().bare().with_threads(threads), &p);
    }
}

#[test]
fn a_result_whose_decoder_panics_fails_the_run() {
    let bench = Bench::new();
    let mut p = Pipeline::new("p");
    p.step("bomb", || Ok(Bomb("decode")), ());
    bench.runner().run(&p, "0").unwrap();
    for threads in [1, 3] {
        fails("decode", &bench.runner().with_threads(threads), &p);
    }
}

#[test]
fn a_panic_in_an_observer_fails_the_run_and_the_next_one_goes_on() {
    #[derive(Debug)]
    struct Once(&'static str, AtomicBool);
    impl Observer for Once {
        fn observe(&self, _: &str, notice: &Notice<'_>) {
            let hit = match notice {
                Notice::RunStarted { .. } => "start",
                Notice::StepStarted { .. } => "step",
                Notice::StepDone(_) => "done",
                Notice::RunDone(_) => "end",
                _ => "",
            };
            assert!(hit != self.0 || self.1.swap(true, Ordering::SeqCst), "it goes off");
        }
    }
    for when in ["start", "step", "done", "end"] {
        for threads in [1, 3] {
            let bench = Bench::new();
            let mut p = Pipeline::new("p");
            for place in 0..3 {
                p.step(format!("s{place}"), || Ok(1_u32), ());
            }
            let runner =
                bench.runner().with_threads(threads).with_observer(Once(when, AtomicBool::new(false)));
            fails(when, &runner, &p);
            runner.run(&p, "1").unwrap();
        }
    }
}
