//! Integration tests of `mlops-drift`: one binary, a module a subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod batch;
mod claims;
mod monitor;
mod oracle;
mod peers;
mod properties;
mod small;
mod stored;
mod streaming;
mod traces;
