//! Both faces of the registry keep the contract of a model source, on every storage that needs no server.

use mlops_core::ModelRef;
use mlops_core::conformance::check_model_source;
use mlops_core::driver::Driver;
use mlops_registry::{Draft, Expect, blocking};

use super::support::{open, register};

/// Two versions, of which the alias names the first.
fn fill(registry: &blocking::Registry) -> [ModelRef; 2] {
    let first = register(registry, "shop", "one").unwrap();
    register(registry, "shop", "two").unwrap();
    registry.commit(Draft::new("ann", "good").alias("champion", &first, Expect::Absent)).unwrap();
    ["shop@champion", "shop/2"].map(|reference| reference.parse().unwrap())
}

#[test]
fn a_registry_is_a_model_source() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("registry").to_str().unwrap().to_owned();
    let mut locations = vec![location, "memory:".to_owned()];
    if cfg!(feature = "sqlite") {
        locations.push(format!("sqlite:{}", folder.path().join("registry.db").display()));
    }
    let driver = Driver::new().unwrap();
    for location in locations {
        let blocking = open(location.as_ref());
        for known in fill(&blocking) {
            driver.wait(check_model_source(&blocking, &known)).unwrap();
            driver.wait(check_model_source(blocking.registry(), &known)).unwrap();
        }
    }
}

/// The suite sees what is wrong: it is no proof of what the registry does not know.
#[test]
fn a_reference_that_is_not_known_is_no_model_source() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    fill(&registry);
    let driver = Driver::new().unwrap();
    for unknown in ["shop@nobody", "shop/3", "fraud@champion"] {
        let known: ModelRef = unknown.parse().unwrap();
        assert!(driver.wait(check_model_source(&registry, &known)).is_err(), "{unknown}");
    }
}
