//! The closed loop: train, gate, register, approve, serve, capture, monitor, alert, retrain, canary, promote or
//! roll back. See `--help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to people")]

use std::process::ExitCode;

use clap::Parser;
use examples::closed_loop::{Options, Story, run};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options, &mut Story::new(&mut |line| println!("{line}"))) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
