//! Many models in little memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mlops_core::{
    BoxFuture, Digest, Error, ErrorKind, ManualClock, ModelFile, ModelPackage, ModelRef, ModelSource,
    ModelVersion, SystemClock, Timestamp,
};
use mlops_serve::endpoint::{Endpoint, Golden, Loader, ModelCache};

use crate::models::{function, id, row};
use crate::shelf::{Shelf, package};

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
fn endpoints_of_models_on_demand_scale_to_zero_and_come_back() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let shelf = Arc::new(Shelf::default());
    (1..=3).for_each(|version| shelf.put(version, version as f32, None));
    // Room for two of three.
    let cache = Arc::new(ModelCache::new(sized_loader(), Arc::clone(&shelf) as _, 250, Arc::clone(&clock)));
    let endpoints: Vec<Endpoint> = (1..=3)
        .map(|version| {
            let endpoint = Endpoint::new(format!("shop {version}"), SystemClock::new());
            endpoint.deploy(cache.on_demand(&ModelVersion::new("shop", version)).unwrap()).unwrap();
            endpoint
        })
        .collect();
    for round in 0..3_u64 {
        for (place, endpoint) in endpoints.iter().enumerate() {
            let answer = endpoint.score(id(round as u32), &row()).unwrap();
            assert_eq!((answer.score, answer.origin.fallback), (2.0 + place as f64, false));
            assert!(cache.stats().loaded_bytes <= 250);
        }
    }
    let bytes = |endpoint: &Endpoint| endpoint.arms()[0].model.memory_usage();
    assert_eq!(endpoints.iter().map(bytes).collect::<Vec<_>>(), [0, 100, 100]);
    clock.advance(Duration::from_secs(10));
    // Who asks how much memory it takes does not keep it.
    assert_eq!(endpoints.iter().map(bytes).sum::<usize>(), 200);
    assert_eq!(cache.unload_idle(Duration::from_secs(10)), 2);
    assert_eq!(cache.stats().loaded_bytes, 0, "scaled to zero");
    assert_eq!(endpoints[1].score(id(9), &row()).unwrap().score, 3.0);
    assert_eq!(cache.stats().loaded, 1);

    // In use by others: turned away, and the model is not to blame.
    let held = [1, 3].map(|version| cache.model(&ModelVersion::new("shop", version)).unwrap());
    for number in 0..9 {
        let error = endpoints[1].score(id(number), &row()).unwrap_err();
        assert!(mlops_serve::Overloaded::is_cause_of(&error), "{error:#}");
    }
    drop(held);
    assert_eq!(endpoints[1].score(id(10), &row()).unwrap().score, 3.0);
}
