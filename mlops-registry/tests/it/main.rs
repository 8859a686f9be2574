//! The registry as its users see it, on real storage.
#![allow(clippy::print_stdout, reason = "a test says what it left out")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod artifacts;
#[cfg(feature = "conformance")]
mod backends;
mod commits;
mod crash;
mod doctor;
mod failures;
mod faults;
mod formats;
mod governance;
mod linear;
mod model;
mod store;
mod support;
