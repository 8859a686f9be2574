//! The registry as its users see it, on real storage.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod artifacts;
#[cfg(feature = "conformance")]
mod backends;
mod commits;
mod doctor;
mod failures;
mod faults;
mod governance;
mod store;
mod support;
