//! An endpoint under change and under faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::RecordSchema;
use mlops_core::{
    BoxFuture, Clock, Digest, Error, ErrorKind, ManualClock, ModelFile, ModelPackage, ModelRef, ModelSource,
    ModelVersion, RequestId, SystemClock, Timestamp,
};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{ArmSpec, Endpoint, Follower, Golden, Loader, Model, ModelCache, Request};
use mlops_serve::rollout::{Guardrail, Plan, Rollout};

use crate::models::{function, model, signature};

fn id(number: u32) -> RequestId {
    RequestId::from_key(number.to_le_bytes())
}

fn row() -> [Value<'static>; 1] {
    [Value::Float(1.0)]
}

#[test]
fn an_endpoint_without_a_model_says_so() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    assert!(!endpoint.is_ready());
    let error = endpoint.score(id(0), &row()).unwrap_err();
    assert_eq!(error.to_string(), "endpoint `shop` has no model yet: deploy one");
    assert!(error.is_retryable());
    for error in [
        endpoint.promote().unwrap_err(),
        endpoint.roll_back().unwrap_err(),
        endpoint.challenge(model(1, |x| x), 0.5).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    endpoint.deploy(model(1, |x| x)).unwrap();
    assert!(endpoint.is_ready());
    endpoint.set_arms(Vec::new()).unwrap();
    assert!(!endpoint.is_ready());
}

#[test]
fn bad_rows_are_the_callers_mistake() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |x| x), 0.5).unwrap();
    for number in 0..20 {
        let error = endpoint.score(id(number), &[]).unwrap_err();
        assert_eq!(error.to_string(), "the row has 0 cells, the model takes 1");
        assert_eq!(endpoint.score(id(number), &[Value::Text("x")]).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(endpoint.take_traffic().is_empty(), "neither a request nor a failure of an arm");
}

#[test]
fn a_bad_challenger_never_stops_answers() {
    type Bad = fn(f32) -> f32;
    let bad: [Bad; 3] = [|_| f32::NAN, |_| panic!("no"), |x| x / 0.0];
    for bad in bad {
        let endpoint = Endpoint::new("shop", SystemClock::new());
        endpoint.deploy(model(1, |x| x + 1.0)).unwrap();
        endpoint.challenge(model(2, bad), 0.5).unwrap();
        let mut fallbacks = 0;
        for number in 0..100 {
            let answer = endpoint.score(id(number), &row()).unwrap();
            assert_eq!((answer.score, answer.origin.version.version), (2.0, 1));
            assert_eq!(answer.origin.fallback, answer.origin.arm == "challenger");
            fallbacks += u64::from(answer.origin.fallback);
        }
        let traffic = endpoint.take_traffic();
        let of = |arm: &str| traffic.iter().find(|traffic| traffic.arm == arm).unwrap().traffic.clone();
        assert_eq!((of("champion").requests, of("champion").failures), (100 - fallbacks, 0));
        assert_eq!((of("challenger").requests, of("challenger").failures), (fallbacks, fallbacks));
        assert!(fallbacks > 20);
        assert_eq!(of("challenger").latencies.count(), fallbacks);
    }
}

#[test]
fn a_bad_champion_is_an_error_that_names_it() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |_| panic!("out of cheese"))).unwrap();
    let error = endpoint.score(id(0), &row()).unwrap_err();
    assert_eq!(error.to_string(), "shop/1 panicked: out of cheese");
    endpoint.deploy(model(2, |_| f32::INFINITY)).unwrap();
    let error = endpoint.score(id(0), &row()).unwrap_err();
    assert_eq!(error.to_string(), "shop/2 answered inf for row 0: want a finite number");
    let failures: Vec<u64> = endpoint.take_traffic().iter().map(|arm| arm.traffic.failures).collect();
    assert_eq!(failures, [1, 1], "each version's own");
}

#[test]
fn keys_stick_to_their_arm_and_a_batch_answers_as_its_rows() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    // The challenger fails on some rows only.
    endpoint.challenge(model(2, |x| if x == 13.0 { f32::NAN } else { -x }), 0.4).unwrap();
    let keys: Vec<[u8; 4]> = (0..200_u32).map(|number| (number % 20).to_le_bytes()).collect();
    let requests: Vec<Request<'_>> =
        (0..200).map(|number| Request::new(id(number)).key(&keys[number as usize])).collect();
    let mut rows: Vec<[Value<'_>; 1]> = (0..200).map(|number| [Value::Float(f64::from(number))]).collect();
    rows[7] = [Value::Text("seven")];
    let rows: Vec<&[Value<'_>]> = rows.iter().map(<[_; 1]>::as_slice).collect();
    let batch = endpoint.score_batch(&requests, &rows).unwrap();
    for ((answer, request), row) in batch.iter().zip(&requests).zip(&rows) {
        match (answer, endpoint.score(*request, row)) {
            (Ok(batched), Ok(single)) => {
                assert_eq!((batched.score, &batched.origin), (single.score, &single.origin));
            }
            (Err(batched), Err(single)) => assert_eq!(batched.to_string(), single.to_string()),
            (batched, single) => panic!("{batched:?} {single:?}"),
        }
    }
    assert_eq!(batch.iter().filter(|answer| answer.is_err()).count(), 1);
    for number in 0..180 {
        if let (Ok(one), Ok(other)) = (&batch[number], &batch[number + 20]) {
            assert_eq!(one.origin.arm, other.origin.arm);
        }
    }
    assert!(endpoint.score_batch(&requests, &rows[1..]).is_err());

    let mut scores = Vec::new();
    let origin = endpoint.score_rows(requests[0], &rows[20..30], &mut scores).unwrap();
    let sign = if origin.arm == "champion" { 1.0 } else { -1.0 };
    assert_eq!(scores, Vec::from_iter((20..30).map(|x| sign * f64::from(x))));
    assert!(endpoint.score_rows(requests[0], &rows[5..10], &mut scores).is_err());
    assert!(endpoint.score_rows(requests[0], &[], &mut scores).is_err());
    assert_eq!(scores.len(), 10);
}

#[test]
fn what_is_answered_is_captured() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    clock.advance(Duration::from_secs(5));
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let capture =
        Arc::new(Capture::new(RecordSchema::new(&table, ["score"]), CaptureSettings::default()).unwrap());
    let endpoint = Endpoint::new("shop", Arc::clone(&clock)).with_capture(Arc::clone(&capture));
    endpoint.deploy(model(1, |x| 2.0 * x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 0.5).unwrap();
    for number in 0..50 {
        endpoint.score(Request::new(id(number)).candidates(&["hat"]), &row()).unwrap();
    }
    let batch = capture.drain().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 50);
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap();
        arrow_cast::display::array_value_to_string(column, row).unwrap()
    };
    for row in 0..50 {
        assert_eq!(text("version", row), "1", "the champion answered for both");
        assert_eq!((text("output.score", row).as_str(), text("feature.x", row).as_str()), ("2.0", "1.0"));
        assert_eq!(text("time", row), "1970-01-01T00:00:05Z");
        assert_eq!(text("propensity", row), "0.5");
        assert_eq!(text("candidates", row), "[hat]");
    }
    let challenged = (0..50).filter(|row| text("arm", *row) == "challenger").count();
    assert!((10..40).contains(&challenged), "{challenged}");
}

#[test]
fn a_rollout_drives_the_arms_and_survives_a_restart() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 0.0).unwrap();
    let plan = Plan::canary([0.1, 0.5], 60, 20).guardrail(Guardrail::FailureRate { max: 0.01 });
    let version = |version| ModelVersion::new("shop", version);
    let mut rollout = Rollout::new(plan, version(1), version(2), clock.now()).unwrap();
    endpoint.apply(&rollout).unwrap();
    let mut asked = 0;
    for number in 0.. {
        endpoint.score(id(number), &row()).unwrap();
        asked += 1;
        for arm in endpoint.take_traffic() {
            assert!(rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic));
        }
        let stored = serde_json::to_vec(&rollout).unwrap();
        rollout = serde_json::from_slice(&stored).unwrap();
        rollout.advance(clock.now());
        endpoint.apply(&rollout).unwrap();
        if endpoint.arms().len() == 1 {
            break;
        }
    }
    // Two or three failures of the tenth that gets the challenger are enough.
    assert!(asked < 200, "{asked}");
    assert_eq!(endpoint.arms()[0].model.version(), &version(1));
    endpoint.apply(&rollout).unwrap();
    endpoint.deploy(model(3, |x| x)).unwrap();
    assert!(endpoint.apply(&rollout).unwrap_err().to_string().contains("is not shop/1"));
}

/// A package of one file that says what to add.
fn package(addend: f32, golden: Option<&Golden>) -> ModelPackage {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, bytes: Vec<u8>| {
        files.insert(name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes.into())));
    };
    add("addend", addend.to_string().into_bytes());
    if let Some(golden) = golden {
        add(Golden::FILE, golden.to_json().unwrap());
    }
    ModelPackage::new(ModelVersion::new("shop", 4), signature(), files)
}

fn loader() -> Loader {
    Loader::new(|package| {
        let bytes = package.read("addend")?;
        let addend: f32 = String::from_utf8_lossy(&bytes).parse().unwrap();
        Ok(Box::new(function(package.id.version, move |x| x + addend)))
    })
}

#[test]
fn loading_verifies_checks_and_names_what_is_wrong() {
    let mut golden = Golden::new(1e-6);
    golden.push(&[Value::Float(1.5)], 2.0);
    golden.push(&[Value::Integer(1)], 1.5);
    let model = loader().load(&package(0.5, Some(&golden))).unwrap();
    assert_eq!(model.score(&row()).unwrap(), 1.5);

    let message = |package: &ModelPackage| format!("{:#}", loader().load(package).unwrap_err());
    assert_eq!(
        message(&package(0.6, Some(&golden))),
        "shop/4 cannot be loaded: shop/4 scores golden row 0 with 2.0999999046325684, training gave 2 (tolerance 0.000001)"
    );
    let mut damaged = package(0.5, None);
    damaged.files.get_mut("addend").unwrap().1 = ModelFile::Bytes("7".into());
    assert!(message(&damaged).contains("file `addend` of shop/4 is damaged"));
    let mut poisoned = package(0.5, None);
    poisoned.files.insert("addend".into(), (Digest::of("x"), ModelFile::Bytes("x".into())));
    assert!(message(&poisoned).contains("shop/4 panicked"), "{}", message(&poisoned));
    let mut wrong = package(0.5, None);
    wrong.files.insert(Loader::ENCODER_FILE.into(), (Digest::of("{}"), ModelFile::Bytes("{}".into())));
    assert!(message(&wrong).contains("no encoder"), "{}", message(&wrong));
    let head = r#"{"output":"score","column":3}"#;
    wrong.files.remove(Loader::ENCODER_FILE);
    wrong.files.insert(Loader::HEAD_FILE.into(), (Digest::of(head), ModelFile::Bytes(head.into())));
    let error = loader().load(&wrong).unwrap().score(&row()).unwrap_err();
    assert!(error.to_string().contains("want a number in column 3 a row"), "{error}");
}

#[test]
fn a_package_brings_its_calibration() {
    let mut package = package(0.5, None);
    let mut add = |text: &'static str| {
        package
            .files
            .insert(Loader::CALIBRATION_FILE.into(), (Digest::of(text), ModelFile::Bytes(text.into())));
        loader().load(&package)
    };
    let model = add(r#"{"isotonic":{"knots":[[0.0,0.0],[3.0,1.0]]}}"#).unwrap();
    assert_eq!(model.score(&row()).unwrap(), 0.5);
    assert!(
        format!("{:#}", add(r#"{"temperature":{"temperature":0}}"#).unwrap_err())
            .contains("temperature is 0")
    );
}

/// A model that counts how many of its kind are alive.
fn counted(version: u64, alive: &Arc<AtomicUsize>) -> Arc<Model> {
    struct Alive(Arc<AtomicUsize>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    alive.fetch_add(1, Ordering::SeqCst);
    let alive = Alive(Arc::clone(alive));
    model(version, move |x| {
        assert!(alive.0.load(Ordering::SeqCst) > 0);
        x + version as f32
    })
}

#[test]
fn ten_thousand_swaps_under_load_fail_no_request_and_leave_nothing_behind() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let alive = Arc::new(AtomicUsize::new(0));
    endpoint.deploy(counted(0, &alive)).unwrap();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut alive_max = 0;
    std::thread::scope(|scope| {
        for thread in 0..3_u32 {
            let (endpoint, stop, answered) = (&endpoint, &stop, &answered);
            scope.spawn(move || {
                let mut number = thread << 24;
                while !stop.load(Ordering::Relaxed) {
                    let answer = endpoint.score(id(number), &row()).unwrap();
                    assert!(!answer.origin.fallback);
                    assert_eq!(answer.score, 1.0 + answer.origin.version.version as f64);
                    answered.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        for swap in 1..=10_000 {
            match swap % 4 {
                0 => endpoint.deploy(counted(swap, &alive)).unwrap(),
                1 => endpoint.challenge(counted(swap, &alive), 0.5).unwrap(),
                2 => endpoint.set_challenger_share(0.9).unwrap(),
                _ => endpoint.promote().unwrap(),
            }
            alive_max = alive_max.max(alive.load(Ordering::SeqCst));
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Two arms, and what three threads may still hold on to.
    assert!(alive_max <= 16, "{alive_max}");
    assert_eq!(endpoint.reap(), 0);
    assert_eq!(alive.load(Ordering::SeqCst), endpoint.arms().len());
    let requests: u64 = endpoint.take_traffic().iter().map(|arm| arm.traffic.requests).sum();
    assert_eq!(requests as usize, answered.load(Ordering::Relaxed), "every request is counted once");
}

#[test]
fn three_arms_share_the_traffic() {
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_salt("spring").without_timing();
    let arms = [("champion", 2.0), ("b", 1.0), ("c", 1.0)].into_iter().zip(1..);
    let arms =
        arms.map(|((name, weight), version)| ArmSpec::new(name, model(version, |x| x), weight)).collect();
    endpoint.set_arms(arms).unwrap();
    for number in 0..4000 {
        let answer = endpoint.score(id(number), &row()).unwrap();
        assert_eq!(answer.latency_us, 0.0);
    }
    for arm in endpoint.take_traffic() {
        let expected = 4000.0 * arm.propensity;
        assert!((arm.traffic.requests as f64 - expected).abs() < 5.0 * expected.sqrt(), "{arm:?}");
        assert_eq!(arm.traffic.latencies.count(), 0);
    }
    let twice = ArmSpec::new("b", model(1, |x| x), 1.0);
    assert!(endpoint.set_arms(vec![twice.clone(), twice]).is_err());
    assert_eq!(endpoint.arms().len(), 3);
}

/// Versions of `shop` by number, and where `shop@champion` points.
#[derive(Debug, Default)]
struct Shelf {
    packages: Mutex<BTreeMap<u64, ModelPackage>>,
    champion: AtomicUsize,
    fetched: AtomicUsize,
}

impl ModelSource for Shelf {
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
        Box::pin(async move {
            match self.champion.load(Ordering::SeqCst) as u64 {
                0 => Err(Error::not_found(format!("no `{model}`"))),
                version => Ok(ModelVersion::new("shop", version)),
            }
        })
    }

    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
        Box::pin(async {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            // Gives way once, as a network would.
            let mut polled = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let packages = self.packages.lock().unwrap();
            packages.get(&version.version).cloned().ok_or_else(|| Error::unavailable("the shelf is away"))
        })
    }
}

impl Shelf {
    fn put(&self, version: u64, addend: f32, golden: Option<&Golden>) {
        let mut package = package(addend, golden);
        package.id.version = version;
        self.packages.lock().unwrap().insert(version, package);
    }
}

#[test]
fn a_follower_deploys_what_the_alias_points_at() {
    let shelf = Arc::new(Shelf::default());
    let source: Arc<dyn ModelSource> = Arc::clone(&shelf) as _;
    let endpoint = Endpoint::new("shop", SystemClock::new());
    assert!(Follower::new(loader(), Arc::clone(&source), "shop/3".parse().unwrap()).is_err());
    let follower = Follower::new(loader(), source, "shop@champion".parse().unwrap()).unwrap();
    let score = || endpoint.score(id(1), &row()).unwrap().score;

    assert_eq!(follower.poll_blocking(&endpoint).unwrap_err().kind(), ErrorKind::NotFound);
    shelf.put(1, 0.5, None);
    shelf.champion.store(1, Ordering::SeqCst);
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), Some(ModelVersion::new("shop", 1)));
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
    assert_eq!(score(), 1.5);

    // A version that does not give its golden scores costs one attempt and changes nothing.
    let mut golden = Golden::new(0.0);
    golden.push(&row(), 9.0);
    shelf.put(2, 0.25, Some(&golden));
    shelf.champion.store(2, Ordering::SeqCst);
    assert_eq!(follower.poll_blocking(&endpoint).unwrap_err().kind(), ErrorKind::Data);
    let fetched = shelf.fetched.load(Ordering::SeqCst);
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
    assert_eq!((shelf.fetched.load(Ordering::SeqCst), score()), (fetched, 1.5));

    // A source that is away is asked again.
    shelf.champion.store(3, Ordering::SeqCst);
    assert!(follower.poll_blocking(&endpoint).unwrap_err().is_retryable());
    shelf.put(3, 2.0, None);
    assert!(follower.poll_blocking(&endpoint).unwrap().is_some());
    assert_eq!(score(), 3.0);
}

#[test]
fn a_follower_in_the_background_ends_with_its_handle() {
    let shelf = Arc::new(Shelf::default());
    let source: Arc<dyn ModelSource> = Arc::clone(&shelf) as _;
    let endpoint = Arc::new(Endpoint::new("shop", SystemClock::new()));
    let follower = Arc::new(Follower::new(loader(), source, "shop@champion".parse().unwrap()).unwrap());
    let failures = Arc::new(AtomicUsize::new(0));
    let failed = Arc::clone(&failures);
    let handle = follower
        .spawn(Arc::clone(&endpoint), Duration::from_micros(200), move |_| {
            failed.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    while failures.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    shelf.put(1, 0.5, None);
    shelf.champion.store(1, Ordering::SeqCst);
    while !endpoint.is_ready() {
        std::thread::yield_now();
    }
    assert!(!handle.is_finished());
    drop(handle);
    assert_eq!(Arc::strong_count(&endpoint), 1);
}

/// A loader of models of 100 bytes each.
fn sized_loader() -> Loader {
    Loader::new(|package| {
        let addend: f32 = String::from_utf8_lossy(&package.read("addend")?).parse().unwrap();
        Ok(Box::new(function(package.id.version, move |x| x + addend).with_memory_usage(100)))
    })
}

#[test]
fn a_cache_keeps_to_its_budget_and_brings_models_back_on_demand() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let shelf = Arc::new(Shelf::default());
    (1..=4).for_each(|version| shelf.put(version, version as f32, None));
    let cache = ModelCache::new(sized_loader(), Arc::clone(&shelf) as _, 250, Arc::clone(&clock));
    let version = |version| ModelVersion::new("shop", version);
    let score = |number| cache.model(&version(number)).unwrap().score(&row()).unwrap();
    assert_eq!((score(1), score(2), score(1)), (2.0, 3.0, 2.0));
    assert_eq!(score(3), 4.0);
    // The second was the least recently used.
    assert!(cache.loaded(&version(2)).is_none() && cache.loaded(&version(1)).is_some());
    let stats = cache.stats();
    assert_eq!((stats.loaded, stats.loaded_bytes, stats.loads, stats.unloads), (2, 200, 3, 1));
    assert_eq!(score(2), 3.0, "it comes back");

    // What is in use stays.
    let held = [cache.model(&version(1)).unwrap(), cache.model(&version(2)).unwrap()];
    let error = cache.model(&version(3)).unwrap_err();
    assert_eq!(error.to_string(), "shop/3 takes 100 bytes: 200 of 250 are in use by other models");
    assert!(error.is_retryable());
    drop(held);
    assert_eq!(score(3), 4.0);

    clock.advance(Duration::from_secs(10));
    cache.loaded(&version(3)).unwrap();
    clock.advance(Duration::from_secs(10));
    assert_eq!(cache.unload_idle(Duration::from_secs(15)), 1);
    assert_eq!(cache.unload_idle(Duration::ZERO), 1);
    assert_eq!(cache.stats().loaded_bytes, 0, "scaled to zero");
    assert_eq!(score(4), 5.0);
}

#[test]
fn concurrent_callers_share_one_load_and_a_bad_version_costs_one() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(1, 1.0, None);
    let mut golden = Golden::new(0.0);
    golden.push(&row(), 9.0);
    shelf.put(2, 0.5, Some(&golden));
    let cache = ModelCache::new(sized_loader(), Arc::clone(&shelf) as _, 1000, SystemClock::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(cache.model(&ModelVersion::new("shop", 1)).is_ok()));
            scope.spawn(|| {
                let error = cache.model(&ModelVersion::new("shop", 2)).unwrap_err();
                assert!(format!("{error:#}").contains("golden row 0"), "{error:#}");
            });
        }
    });
    assert_eq!((cache.stats().loads, shelf.fetched.load(Ordering::SeqCst)), (2, 2));
    let absent = ModelVersion::new("shop", 7);
    assert!(cache.model(&absent).unwrap_err().is_retryable());
    shelf.put(7, 7.0, None);
    assert!(cache.model(&absent).is_ok(), "a source that was away is asked again");
    cache.forget(&ModelVersion::new("shop", 2));
    shelf.put(2, 8.0, Some(&golden));
    assert!(cache.model(&ModelVersion::new("shop", 2)).is_ok());
}

#[test]
fn two_large_models_at_once_stay_within_the_budget() {
    let shelf = Arc::new(Shelf::default());
    // The size of the file is that of the model: 60 of 100 bytes each.
    let addend = "1.".to_owned() + &"0".repeat(58);
    for version in [1, 2] {
        let mut package = package(1.0, None);
        package.id.version = version;
        let bytes = addend.clone().into_bytes();
        package.files.insert("addend".into(), (Digest::of(&bytes), ModelFile::Bytes(bytes.into())));
        shelf.packages.lock().unwrap().insert(version, package);
    }
    let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (loading, may_end) = (Arc::clone(&begun), Arc::clone(&go));
    let loader = Loader::new(move |package| {
        loading.fetch_add(1, Ordering::SeqCst);
        while !may_end.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(Box::new(function(package.id.version, |x| x).with_memory_usage(60)))
    });
    let cache = ModelCache::new(loader, Arc::clone(&shelf) as _, 100, SystemClock::new());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| cache.model(&ModelVersion::new("shop", 1)));
        while begun.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let error = cache.model(&ModelVersion::new("shop", 2)).unwrap_err();
        assert_eq!(error.to_string(), "shop/2 takes 60 bytes: 60 of 100 are in use by other models");
        assert!(error.is_retryable());
        go.store(true, Ordering::SeqCst);
        first.join().unwrap().unwrap();
    });
    assert_eq!(begun.load(Ordering::SeqCst), 1, "the second was never in memory");
    assert!(cache.model(&ModelVersion::new("shop", 2)).is_ok(), "the first is used no more");
}

#[test]
fn a_model_above_the_budget_evicts_nobody_and_an_absent_one_is_asked_for_again() {
    let shelf = Arc::new(Shelf::default());
    (1..=3).for_each(|version| shelf.put(version, version as f32, None));
    let loader = Loader::new(|package| {
        let bytes = if package.id.version == 3 { 1000 } else { 100 };
        Ok(Box::new(function(package.id.version, |x| x).with_memory_usage(bytes)))
    });
    let cache = ModelCache::new(loader, Arc::clone(&shelf) as _, 250, SystemClock::new());
    let version = |version| ModelVersion::new("shop", version);
    cache.model(&version(1)).unwrap();
    cache.model(&version(2)).unwrap();
    let error = cache.model(&version(3)).unwrap_err();
    assert!(error.to_string().contains("more than the 250 that the cache may hold"), "{error}");
    assert_eq!((cache.stats().loaded, cache.stats().unloads), (2, 0));

    #[derive(Debug)]
    struct Later(AtomicUsize);
    impl ModelSource for Later {
        fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
            Box::pin(async { Err(Error::not_found("no alias")) })
        }

        fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
            Box::pin(async move {
                match self.0.fetch_add(1, Ordering::SeqCst) {
                    0 => Err(Error::not_found(format!("{version} is not registered"))),
                    _ => Ok(package(1.0, None)),
                }
            })
        }
    }
    let cache =
        ModelCache::new(sized_loader(), Arc::new(Later(AtomicUsize::new(0))), 250, SystemClock::new());
    assert_eq!(cache.model(&version(4)).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(cache.model(&version(4)).is_ok(), "registered a second later");
}

#[test]
fn a_follower_asks_once_for_a_version_in_quarantine_and_reports_a_panic() {
    let shelf = Arc::new(Shelf::default());
    let health =
        mlops_serve::endpoint::HealthSettings::default().failures_in_row_max(1).tries_max(1).cool_down_us(0);
    let endpoint = Arc::new(Endpoint::new("shop", SystemClock::new()).with_health(health));
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |_| f32::NAN), 1.0).unwrap();
    (0..9).for_each(|number| assert!(endpoint.score(id(number), &row()).is_ok()));
    endpoint.roll_back().unwrap();
    assert_eq!(endpoint.quarantined().len(), 1);

    shelf.put(2, 0.5, None);
    shelf.champion.store(2, Ordering::SeqCst);
    let source: Arc<dyn ModelSource> = Arc::clone(&shelf) as _;
    let follower = Follower::new(loader(), source, "shop@champion".parse().unwrap()).unwrap();
    assert!(follower.poll_blocking(&endpoint).unwrap_err().to_string().contains("quarantine"));
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
    assert_eq!(shelf.fetched.load(Ordering::SeqCst), 1);
    endpoint.release(&ModelVersion::new("shop", 2));
    follower.retry();
    assert!(follower.poll_blocking(&endpoint).unwrap().is_some());

    #[derive(Debug)]
    struct Panics;
    impl ModelSource for Panics {
        fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
            panic!("no runtime")
        }

        fn fetch<'a>(&'a self, _: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
            panic!("no runtime")
        }
    }
    let follower = Follower::new(loader(), Arc::new(Panics), "shop@champion".parse().unwrap()).unwrap();
    let (send, messages) = std::sync::mpsc::channel();
    let handle = Arc::new(follower).spawn(Arc::clone(&endpoint), Duration::from_micros(100), move |error| {
        let _ = send.send(error.to_string());
    });
    let handle = handle.unwrap();
    for _ in 0..2 {
        assert_eq!(messages.recv().unwrap(), "shop@champion panicked: no runtime");
    }
    assert!(!handle.is_finished());
}
