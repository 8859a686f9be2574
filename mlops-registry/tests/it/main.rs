//! The registry as its users see it, on real storage.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod allocations;
mod artifacts;
#[cfg(feature = "conformance")]
mod backends;
mod commits;
mod copies;
mod crash;
mod disk;
mod doctor;
mod failures;
mod fault_scenarios;
mod faults;
mod faulty;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod faulty_log;
mod faulty_store;
mod follow;
mod formats;
mod governance;
mod guards;
#[cfg(feature = "aws")]
mod liars;
#[cfg(feature = "conformance")]
mod linear;
mod model;
mod model_readers;
mod model_source;
mod models;
mod races;
mod renames;
mod roll_backs;
mod store;
mod support;
mod sweeps;
mod tamper;
#[cfg(feature = "telemetry")]
mod telemetry;
mod told;

#[cfg(not(feature = "conformance"))]
#[test]
#[cfg_attr(
    not(feature = "conformance"),
    ignore = "SQLite, PostgreSQL, S3 and Azure are left out: `cargo xtask test` brings them"
)]
fn real_servers() {
    panic!("they need all features and running servers: `cargo xtask test` has both");
}
