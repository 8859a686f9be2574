//! An endpoint that follows an alias.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mlops_core::{
    BoxFuture, Error, ErrorKind, ModelPackage, ModelRef, ModelSource, ModelVersion, SystemClock,
};
use mlops_serve::batch::{BatchRuntime, BatchSettings};
use mlops_serve::endpoint::{ArmSpec, Endpoint, Follower, Golden, Loader, ModelCache};
use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};

use crate::models::{function, id, model, row};
use crate::shelf::{Shelf, loader};

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
fn a_follower_offers_a_version_as_challenger_once() {
    let shelf = Arc::new(Shelf::default());
    (1..=3).for_each(|version| shelf.put(version, version as f32, None));
    let source: Arc<dyn ModelSource> = Arc::clone(&shelf) as _;
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let follower = || Follower::new(loader(), Arc::clone(&source), "shop@champion".parse().unwrap()).unwrap();
    assert!(follower().as_challenger(1.5).is_err());
    let follower = follower().as_challenger(0.25).unwrap();
    let poll = |version| {
        shelf.champion.store(version, Ordering::SeqCst);
        let found = follower.poll_blocking(&endpoint).unwrap();
        let arms: Vec<_> =
            endpoint.arms().iter().map(|arm| (arm.model.version().version, arm.weight)).collect();
        (found.map(|version| version.version), arms)
    };
    assert_eq!(poll(1), (Some(1), vec![(1, 1.0)]), "the first is the champion");
    assert_eq!(poll(2), (Some(2), vec![(1, 0.75), (2, 0.25)]));
    endpoint.roll_back().unwrap();
    assert_eq!(poll(2), (None, vec![(1, 1.0)]), "not again");
    assert_eq!(poll(3), (Some(3), vec![(1, 0.75), (3, 0.25)]));
    endpoint.roll_back().unwrap();
    assert_eq!(poll(2), (None, vec![(1, 1.0)]), "nor after another was offered");
    endpoint.challenge(model(3, |x| x), 0.25).unwrap();
    endpoint.promote().unwrap();
    assert_eq!(poll(3), (None, vec![(3, 1.0)]));
    follower.retry();
    assert_eq!(poll(2), (Some(2), vec![(3, 0.75), (2, 0.25)]));
}

#[test]
fn a_challenger_waits_until_the_trial_of_another_is_over() {
    let shelf = Arc::new(Shelf::default());
    (1..=3).for_each(|version| shelf.put(version, version as f32, None));
    let source: Arc<dyn ModelSource> = Arc::clone(&shelf) as _;
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let follower = Follower::new(loader(), source, "shop@challenger".parse().unwrap()).unwrap();
    let follower = follower.as_challenger(0.25).unwrap();
    let poll = |version| {
        shelf.champion.store(version, Ordering::SeqCst);
        follower.poll_blocking(&endpoint)
    };
    let challenger = || endpoint.arms().get(1).map(|arm| arm.model.version().version);
    assert_eq!(poll(0).unwrap_err().kind(), ErrorKind::NotFound, "the endpoint has no model either");
    assert_eq!(poll(1).unwrap(), Some(ModelVersion::new("shop", 1)));
    assert_eq!(poll(0).unwrap(), None, "no challenger is no error");
    assert_eq!(poll(2).unwrap(), Some(ModelVersion::new("shop", 2)));
    assert_eq!(poll(3).unwrap(), None);
    assert_eq!(challenger(), Some(2), "not in the middle of its trial");
    endpoint.roll_back().unwrap();
    assert_eq!(poll(3).unwrap(), Some(ModelVersion::new("shop", 3)));
    assert_eq!(challenger(), Some(3));
}

#[test]
fn a_challenger_waits_until_an_experiment_is_over() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(9, 9.0, None);
    shelf.champion.store(9, Ordering::SeqCst);
    let source: Arc<dyn ModelSource> = Arc::clone(&shelf) as _;
    let endpoint = Arc::new(Endpoint::new("shop", SystemClock::new()));
    let arms = || {
        let arm = |(name, version)| ArmSpec::new(name, model(version, |x| x), 1.0);
        [("champion", 1), ("b", 2), ("c", 3)].map(arm).to_vec()
    };
    let answering =
        || -> Vec<u64> { endpoint.arms().iter().map(|arm| arm.model.version().version).collect() };
    let alias = || "shop@challenger".parse().unwrap();
    endpoint.set_arms(arms()).unwrap();
    let follower = Follower::new(loader(), Arc::clone(&source), alias()).unwrap();
    assert_eq!(follower.as_challenger(0.5).unwrap().poll_blocking(&endpoint).unwrap(), None);
    assert_eq!((answering(), shelf.fetched.load(Ordering::SeqCst)), (vec![1, 2, 3], 0));

    // The experiment begins while the follower loads.
    endpoint.roll_back().unwrap();
    let begins = Arc::clone(&endpoint);
    let slow = Loader::new(move |package| {
        begins.set_arms(arms())?;
        Ok(Box::new(function(package.id.version, |x| x)))
    });
    let follower = Follower::new(slow, source, alias()).unwrap().as_challenger(0.5).unwrap();
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
    assert_eq!(answering(), [1, 2, 3]);
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

#[test]
fn what_a_follower_loads_is_wrapped_as_its_loader_says() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(1, 1.0, None);
    shelf.champion.store(1, Ordering::SeqCst);
    let (open, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (opened, clock) = (Arc::clone(&open), SystemClock::new());
    let loader = Loader::new(move |package| {
        let (calls, opened) = (Arc::clone(&calls), Arc::clone(&opened));
        Ok(Box::new(function(package.id.version, move |x| {
            // Slow in its first call, as engines are; and for good on 13.
            let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
            while (is_first || x == 13.0) && !opened.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            x + 1.0
        })))
    });
    let loader = loader
        .wrap(|model| {
            let settings = IsolationSettings::default().time_limit(Duration::from_millis(200));
            Ok(Box::new(IsolatedRuntime::new(model, settings)?))
        })
        .wrap(move |model| Ok(Box::new(BatchRuntime::new(model, BatchSettings::default(), clock)?)));
    let endpoint = Endpoint::new("shop", clock);
    let follower = Follower::new(loader, shelf, "shop@champion".parse().unwrap()).unwrap();
    follower.poll_blocking(&endpoint).unwrap().unwrap();
    let runtime = format!("{:?}", endpoint.arms()[0].model.runtime());
    assert!(runtime.contains("BatchRuntime") && runtime.contains("IsolatedRuntime"), "{runtime}");

    let score = |x: f64| endpoint.score(id(1), &[x.into()]);
    assert_eq!(score(1.0).unwrap().score, 2.0);
    let error = score(13.0).unwrap_err();
    assert!(error.is_retryable() && format!("{error:#}").contains("no answer within 200 ms"), "{error:#}");
    assert_eq!(score(2.0).unwrap().score, 3.0, "it cost that request alone");
    open.store(true, Ordering::SeqCst);
}

#[test]
fn a_follower_keeps_what_it_follows_within_the_budget_of_a_cache() {
    let shelf = Arc::new(Shelf::default());
    (1..=2).for_each(|version| shelf.put(version, version as f32, None));
    shelf.champion.store(1, Ordering::SeqCst);
    let cache = ModelCache::new(loader(), Arc::clone(&shelf) as _, 1 << 20, SystemClock::new());
    let cache = Arc::new(cache);
    assert!(Follower::on_demand(Arc::clone(&cache), "shop/3".parse().unwrap()).is_err());
    let follower = Follower::on_demand(Arc::clone(&cache), "shop@champion".parse().unwrap()).unwrap();
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let score = || endpoint.score(id(1), &row()).unwrap().score;
    follower.poll_blocking(&endpoint).unwrap().unwrap();
    assert_eq!(score(), 2.0);
    assert_eq!(cache.unload_idle(Duration::ZERO), 1, "nobody asks");
    assert_eq!(score(), 2.0, "and it is back");

    // A version that is wrong costs one load, until it is asked to be tried again.
    let mut golden = Golden::new(0.0);
    golden.push(&row(), 9.0);
    shelf.put(3, 0.5, Some(&golden));
    shelf.champion.store(3, Ordering::SeqCst);
    assert_eq!(follower.poll_blocking(&endpoint).unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
    shelf.put(3, 8.0, Some(&golden));
    follower.retry();
    assert_eq!(follower.poll_blocking(&endpoint).unwrap(), Some(ModelVersion::new("shop", 3)));
    assert_eq!(score(), 9.0);
}

#[test]
fn a_model_that_hangs_costs_one_load() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(1, 1.0, None);
    shelf.champion.store(1, Ordering::SeqCst);
    let (open, builds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (opened, built) = (Arc::clone(&open), Arc::clone(&builds));
    let loader = Loader::new(move |package| {
        built.fetch_add(1, Ordering::SeqCst);
        let opened = Arc::clone(&opened);
        Ok(Box::new(function(package.id.version, move |x| {
            while !opened.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            x
        })))
    });
    let loader = loader.wrap(|model| {
        let settings = IsolationSettings::default().time_limit(Duration::from_millis(20));
        Ok(Box::new(IsolatedRuntime::new(model, settings)?))
    });
    let source: Arc<dyn ModelSource> = shelf;
    let cache = ModelCache::new(loader.clone(), Arc::clone(&source), 1 << 20, SystemClock::new());
    let followers = [
        Follower::new(loader, source, "shop@champion".parse().unwrap()).unwrap(),
        Follower::on_demand(Arc::new(cache), "shop@champion".parse().unwrap()).unwrap(),
    ];
    for (loads, follower) in (1..).zip(followers) {
        let endpoint = Endpoint::new("shop", SystemClock::new());
        let error = follower.poll_blocking(&endpoint).unwrap_err();
        assert!(error.to_string().contains("does not answer in time"), "{error:#}");
        assert_eq!(follower.poll_blocking(&endpoint).unwrap(), None);
        assert_eq!(builds.load(Ordering::SeqCst), loads);
    }
    open.store(true, Ordering::SeqCst);
}
