//! Integration tests of the examples: one binary, a module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bad_input;
mod canary;
mod killed;
mod runs;
mod runtimes;

use std::path::{Path, PathBuf};

use clap::Parser;
use examples::closed_loop::{Options, Story, Summary, run};
use examples::shop::{Simulator, Traffic};
use mlops_core::{Result, Seed};

/// Runs the loop as its command line would, without a word.
fn closed_loop(state: &Path, arguments: &[&str]) -> Result<Summary> {
    let state = state.to_str().unwrap();
    let line = ["closed_loop", "--state", state].into_iter().chain(arguments.iter().copied());
    run(&Options::parse_from(line), &mut Story::new(&mut |_| {}))
}

/// Writes months of a simulated shop as CSV, each month's text changed by `edit`.
fn simulated(folder: &Path, months: &[usize], edit: impl Fn(usize, String) -> String) -> PathBuf {
    let shop = Simulator::new(Seed::new(3), 300);
    let mut text = String::new();
    for number in months {
        let mut month = Vec::new();
        shop.month(1, *number).unwrap().sessions.write_csv(&mut month).unwrap();
        let month = edit(*number, String::from_utf8(month).unwrap());
        let rows = month.split_once('\n').unwrap();
        text += if text.is_empty() { &month } else { rows.1 };
    }
    let path = folder.join("sessions.csv");
    std::fs::write(&path, text).unwrap();
    path
}

/// The summary without what depends on the machine's speed.
fn replayable(mut summary: Summary) -> Summary {
    summary.months.iter_mut().for_each(|month| month.latency_us = 0.0);
    summary
}
