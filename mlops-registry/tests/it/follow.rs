//! A feed that is stopped, and one whose callback panics.

use std::sync::mpsc;
use std::time::Duration;

use mlops_core::ErrorKind;
use mlops_registry::blocking::Registry;

use crate::support::register;

const OFTEN: Duration = Duration::from_millis(1);

#[test]
fn a_callback_that_panics_is_told() {
    let registry = Registry::open("memory:").unwrap();
    register(&registry, "shop", "1").unwrap();
    let follower = registry.feed(0, OFTEN, |commit| panic!("no room for {}", commit.sequence)).unwrap();
    while follower.failures() == 0 {
        std::thread::yield_now();
    }
    let error = follower.take_error().unwrap();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("has ended (no room for 1)"), "{error}");
}

#[test]
fn a_drop_stops_a_feed_between_two_commits_of_a_backlog() {
    let registry = Registry::open("memory:").unwrap();
    for content in ["1", "2"] {
        register(&registry, "shop", content).unwrap();
    }
    let (give, given) = mpsc::channel::<mlops_registry::Follower>();
    let (seen, sees) = mpsc::channel();
    let follower = registry
        .feed(0, OFTEN, move |commit| {
            // Its own thread may drop it too.
            drop(given.recv());
            seen.send(commit.sequence).unwrap();
        })
        .unwrap();
    give.send(follower).unwrap();
    assert_eq!(sees.recv(), Ok(1));
    assert_eq!(sees.recv(), Err(mpsc::RecvError));
}
