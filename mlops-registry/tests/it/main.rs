//! The registry as its users see it, on real storage.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod artifacts;
mod commits;
mod failures;
mod governance;
mod support;
