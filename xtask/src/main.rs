//! The one command that checks the workspace: `cargo xtask test`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to people")]

mod dependencies;
mod onnxruntime;
mod servers;
mod shell;

use std::process::ExitCode;

use shell::{Result, Step, say};

const HELP: &str = "\
cargo xtask test          format, lints, docs, dependency rules, tests with default and all features, benches
cargo xtask rules         the dependency rules alone
cargo xtask servers       start the servers of the tests, print where they are, stop them at the end of the input
cargo xtask onnxruntime   fetch the ONNX Runtime library and print where it is

What the tests of real components need is fetched into target/ and kept there.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(),
        ["rules"] => dependencies::check(),
        ["servers"] => {
            let _servers = servers::start();
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
                .map(drop)
                .map_err(|error| format!("cannot read the input: {error}"))
        }
        ["onnxruntime"] => onnxruntime::library().map(|library| println!("{}", library.display())),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("unknown arguments {arguments:?}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nxtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<()> {
    Step::new("format").cargo(&["fmt", "--all", "--check"])?;

    say("dependency rules");
    dependencies::check()?;

    let lints = ["--", "-D", "warnings"];
    let clippy = |features: &[&str]| {
        let call = ["clippy", "--workspace", "--all-targets"];
        Step::new("lints").cargo(&[&call, features, &lints].concat())
    };
    clippy(&[])?;
    clippy(&["--all-features"])?;

    Step::new("docs").env("RUSTDOCFLAGS", "-D warnings").cargo(&[
        "doc",
        "--workspace",
        "--all-features",
        "--no-deps",
    ])?;

    // One crate at a time: a build of all would lend each the features of the others.
    for name in dependencies::CRATES {
        Step::new("no features").cargo(&["check", "--package", name, "--no-default-features"])?;
        Step::new("tests with default features").cargo(&["test", "--package", name])?;
    }
    Step::new("tests with default features").cargo(&["test", "--package", "examples"])?;

    say("ONNX Runtime for the tests with all features");
    let library = onnxruntime::library()?;
    say("servers for the tests with all features");
    let servers = servers::start();
    let step = Step::new("tests with all features").env("ORT_DYLIB_PATH", &library);
    let step = servers.environment().iter().fold(step, |step, (name, value)| step.env(name, value));
    step.cargo(&["test", "--workspace", "--all-features"])?;
    drop(servers);

    Step::new("benches, once each").cargo(&[
        "test",
        "--package",
        "benches",
        "--benches",
        "--all-features",
    ])?;
    say("all good");
    Ok(())
}
