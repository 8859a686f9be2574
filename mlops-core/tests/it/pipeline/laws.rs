//! What holds for every pipeline.

use mlops_core::Digest;
use mlops_core::pipeline::{Artifact, Blob, Context, Handle, Many, Pipeline, Request, Table, store};
use mlops_core::run::StepState;
use proptest::collection::vec;
use proptest::prelude::*;

use super::Bench;

/// For each step: from which earlier ones it takes values, and how.
type Wiring = Vec<(Vec<prop::sample::Index>, u8)>;

fn wirings() -> impl Strategy<Value = Wiring> {
    vec((vec(any::<prop::sample::Index>(), 0..4), 0..5_u8), 1..20)
}

fn wire(wiring: &Wiring) -> (Pipeline, Vec<Handle<u64>>) {
    let mut p = Pipeline::new("p");
    let mut handles: Vec<Handle<u64>> = vec![p.param("start", 1_u64)];
    for (index, (from, how)) in wiring.iter().enumerate() {
        let from: Vec<Handle<u64>> = from.iter().map(|place| handles[place.index(handles.len())]).collect();
        let name = format!("step {index}");
        let mix =
            |all: &Many<u64>| Ok(all.iter().fold(17_u64, |sum, n| sum.wrapping_mul(31).wrapping_add(*n)));
        let handle = match how {
            0 => p.step(name, |cx: &Context, all: &Many<u64>| Ok(cx.seed().value() ^ all.len() as u64), from),
            1 => {
                let odd = p.step(format!("odd {index}"), |all: &Many<u64>| Ok(all.len() % 2 == 1), &from);
                let first = handles[0];
                p.when(odd, |p| p.step(format!("yes {index}"), mix, &from))
                    .otherwise(|p| p.step(format!("no {index}"), |n: &u64| Ok(n + 1), first))
            }
            2 => {
                let list = p.step(format!("list {index}"), |all: &Many<u64>| Ok(all.clone()), &from);
                let items = p.map(format!("item {index}"), |n: &u64, k: &u64| Ok(n ^ k), list, handles[0]);
                p.step(name, mix, items)
            }
            3 => p.split(name, |all: &Many<u64>| Ok((all.len() as u64, 3_u64)), from).0,
            _ => p.step(name, mix, from),
        };
        handles.push(handle);
    }
    (p, handles)
}

fn outcome(run: &mlops_core::run::Run) -> Vec<(String, bool, Option<Digest>, Vec<Digest>)> {
    let outputs = |step: &mlops_core::run::StepRecord| step.outputs.iter().map(|o| o.digest).collect();
    let skipped = |step: &mlops_core::run::StepRecord| step.state == StepState::Skipped;
    run.steps.iter().map(|step| (step.name.to_string(), skipped(step), step.key, outputs(step))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoders_take_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok((_, whole)) = store::decode(&bytes) {
            prop_assert!(whole <= bytes.len());
        }
        let bytes = bytes::Bytes::from(bytes);
        let _ = store::StoredResult::decode(&bytes);
        let _ = Many::<Blob>::decode(bytes.clone());
        let _ = Many::<Vec<Option<f64>>>::decode(bytes.clone());
        let _ = Table::decode(bytes.clone());
        let _ = mlops_core::data::Dataset::decode(bytes.clone());
        prop_assert_eq!(Blob::decode(bytes.clone()).unwrap().0, bytes);
    }

    #[test]
    fn artifacts_round_trip(lists in vec(vec(any::<Option<i64>>(), 0..5), 0..5), text in any::<String>()) {
        let many = Many::from(lists.clone());
        let mut bytes = Vec::new();
        many.encode(&mut bytes).unwrap();
        prop_assert_eq!(Many::<Vec<Option<i64>>>::decode(bytes.into()).unwrap(), many);
        let mut bytes = Vec::new();
        (lists.clone(), text.clone()).encode(&mut bytes).unwrap();
        prop_assert_eq!(<(Vec<Vec<Option<i64>>>, String)>::decode(bytes.into()).unwrap(), (lists, text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_store_cache_and_resume_change_nothing(wiring in wirings()) {
        let bench = Bench::new();
        let (p, handles) = wire(&wiring);
        let alone = bench.bare().run(&p, "1").unwrap();
        for runner in [bench.bare().with_threads(4), bench.runner(), bench.runner().with_threads(3)] {
            let done = runner.run(&p, "1").unwrap();
            prop_assert_eq!(outcome(&done.run), outcome(&alone.run));
            for handle in &handles {
                prop_assert_eq!(done.get(*handle).ok(), alone.get(*handle).ok());
            }
        }
        bench.started.take();
        let cached = bench.runner().run(&p, "2").unwrap();
        prop_assert_eq!(outcome(&cached.run), outcome(&alone.run));
        prop_assert!(bench.started.take().is_empty());
    }

    #[test]
    fn the_plan_says_what_the_run_then_does(wiring in wirings(), seed in 0..3_u64, start in 0..3_u64) {
        let bench = Bench::new();
        let (p, _) = wire(&wiring);
        bench.runner().run(&p, "1").unwrap();
        bench.started.take();
        let request = Request::new("2").seed(mlops_core::Seed::new(seed)).param("start", start);
        let plan = bench.runner().plan(&p, request.clone()).unwrap();
        bench.runner().run(&p, request).unwrap();
        let started = bench.started.take();
        for step in &plan.steps {
            use mlops_core::pipeline::Planned;
            let ran = started.contains_key(&*step.name);
            match step.decision {
                // A map node itself does not start, its items do.
                Planned::Compute(_) => prop_assert!(ran || step.name.starts_with("item"), "{step:?}"),
                Planned::Unknown { .. } => {}
                _ => prop_assert!(!ran, "{step:?}"),
            }
        }
    }

    #[test]
    fn a_partial_run_gives_what_the_whole_one_gives(wiring in wirings(), place in any::<prop::sample::Index>()) {
        let bench = Bench::new();
        let (p, handles) = wire(&wiring);
        let wanted = handles[place.index(handles.len())];
        let whole = bench.bare().run(&p, "1").unwrap();
        let all = bench.started.take();
        let part = bench.bare().run(&p, Request::new("1").only(wanted)).unwrap();
        prop_assert_eq!(part.get(wanted).unwrap(), whole.get(wanted).unwrap());
        prop_assert!(bench.started.take().keys().all(|step| all.contains_key(step)));
        let value = 99_u64;
        let injected = bench.bare().run(&p, Request::new("1").inject(wanted, value).only(wanted)).unwrap();
        prop_assert_eq!(*injected.get(wanted).unwrap(), value);
        prop_assert!(bench.started.take().is_empty());
    }
}
