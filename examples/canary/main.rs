//! A challenger on trial, from its registration to its promotion: see `examples/src/canary.rs`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to people")]

use std::process::ExitCode;

fn main() -> ExitCode {
    // It is asked after each step of the service.
    let mut asked = 0;
    let mut killed = |_: &str| {
        asked += 1;
        asked % 397 == 0
    };
    // The second one has its signs wrong.
    for weights in [[0.8, -1.5], [-0.8, 1.5]] {
        println!("a challenger with the weights {weights:?}");
        if let Err(error) = examples::canary::run(weights, &mut killed, &mut |line| println!("  {line}")) {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
