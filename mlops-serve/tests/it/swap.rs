//! Versions that come and go under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use mlops_core::SystemClock;
use mlops_serve::endpoint::{Endpoint, Model};

use crate::models::{id, model, row};

/// One of those that are alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A model that counts how many of its kind are alive.
fn counted(version: u64, alive: &Arc<AtomicUsize>) -> Arc<Model> {
    let alive = Alive::new(alive);
    model(version, move |x| {
        assert!(alive.count() > 0);
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
fn a_change_that_changes_nothing_drops_what_is_drained() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let alive = Arc::new(AtomicUsize::new(0));
    let (asked, release) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (ask, wait) = (Arc::clone(&asked), Arc::clone(&release));
    let token = Alive::new(&alive);
    let slow = model(1, move |x| {
        ask.wait();
        wait.wait();
        x + token.count() as f32
    });
    endpoint.deploy(slow).unwrap();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| endpoint.score(id(1), &row()).unwrap().score);
        asked.wait();
        endpoint.deploy(model(2, |x| x)).unwrap();
        endpoint.set_arms(endpoint.arms()).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 1, "a request is in it");
        release.wait();
        assert_eq!(request.join().unwrap(), 2.0);
    });
    endpoint.set_arms(endpoint.arms()).unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn calls_that_need_a_challenger_name_the_call_that_gives_one() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model(1, |x| x)).unwrap();
    for error in [endpoint.set_challenger_share(0.5).unwrap_err(), endpoint.promote().unwrap_err()] {
        assert_eq!(
            error.to_string(),
            "endpoint `shop` has no arm `challenger`: give one to `challenge` first"
        );
    }
    assert_eq!(endpoint.arms().len(), 1);
}
