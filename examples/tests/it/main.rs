//! Integration tests of the examples: one binary, a module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bad_input;
mod killed;
mod runs;
#[cfg(feature = "ort")]
mod runtimes;

use std::path::Path;

use clap::Parser;
use examples::closed_loop::{Options, Story, Summary, run};
use mlops_core::Result;

/// Runs the loop as its command line would, without a word.
fn closed_loop(state: &Path, arguments: &[&str]) -> Result<Summary> {
    let state = state.to_str().unwrap();
    let line = ["closed_loop", "--state", state].into_iter().chain(arguments.iter().copied());
    run(&Options::parse_from(line), &mut Story::new(&mut |_| {}))
}

/// The summary without what depends on the machine's speed.
fn replayable(mut summary: Summary) -> Summary {
    summary.months.iter_mut().for_each(|month| month.latency_us = 0.0);
    summary
}
