//! Purged files are swept, whatever the clock says.

use std::time::Duration;

use mlops_core::{ErrorKind, ManualClock};
use mlops_registry::Draft;
use mlops_registry::blocking::Registry;

use crate::support::{open, refused, register, tree};

#[test]
fn purged_files_are_swept_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let blobs = || tree(folder.path()).into_iter().filter(|path| path.starts_with("blob/")).count();
    let (first, second) =
        (register(&registry, "a", "one").unwrap(), register(&registry, "a", "two").unwrap());
    let same = register(&registry, "b", "two").unwrap();
    let day = Duration::from_secs(86_400);
    let sweep = |grace| registry.sweep("ann", "disk", grace).unwrap();
    assert_eq!(sweep(Duration::ZERO).uploads, 0);
    refused(&registry, Draft::new("ann", "x").purge(&first), "is not deleted: delete it first");
    for id in [&first, &second] {
        registry.commit(Draft::new("ann", "old").delete(id).purge(id)).unwrap();
    }
    refused(&registry, Draft::new("ann", "x").restore(&first), "was purged by ann (old)");
    assert_eq!(sweep(day).uploads, 0, "too young");
    let swept = sweep(Duration::ZERO);
    assert_eq!((swept.uploads, swept.bytes), (1, 3));
    assert_eq!(blobs(), 1, "two is still needed");
    assert_eq!(registry.fetch(&same).unwrap().read("model.bin").unwrap(), "two");
    let error = registry.fetch(&first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("ann purged it (old)"), "{error}");
    assert_eq!(
        registry.state().version(&first).unwrap().registered.actor,
        "trainer",
        "what is recorded stays"
    );
    // What was swept can be registered again.
    let again = register(&registry, "a", "one").unwrap();
    assert_eq!(open(folder.path()).fetch(&again).unwrap().read("model.bin").unwrap(), "one");
}

#[test]
fn a_clock_set_back_a_year_after_a_sweep_stops_nobody() {
    let clock = std::sync::Arc::new(ManualClock::new("2026-05-01T00:00:00Z".parse().unwrap()));
    let registry =
        Registry::open_with(mlops_registry::Registry::builder().clock(clock.clone()), "memory:").unwrap();
    let id = register(&registry, "shop", "1").unwrap();
    registry.commit(Draft::new("ann", "old").delete(&id).purge(&id)).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(registry.sweep("ann", "disk", Duration::ZERO).unwrap().uploads, 1);
    clock.set("2025-05-01T00:00:00Z".parse().unwrap());
    let id = register(&registry, "shop", "1").unwrap();
    assert_eq!(registry.sweep("ann", "disk", Duration::ZERO).unwrap().uploads, 0);
    assert_eq!(registry.fetch(&id).unwrap().read("model.bin").unwrap(), "1");
}
