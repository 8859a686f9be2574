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
cargo xtask test          format, lints, docs, dependency rules, tests with default and all features, loom, benches;
                          fails if a server of the tests cannot be had, unless told --without-servers
cargo xtask loom          the lock protocols in all interleavings, by loom
cargo xtask rules         the dependency rules alone
cargo xtask servers       start the servers of the tests, print where they are, stop them at the end of the input
cargo xtask onnxruntime   fetch the ONNX Runtime library and print where it is

What the tests of real components need is fetched into target/ and kept there.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(true),
        ["test", "--without-servers"] => test(false),
        ["loom"] => interleavings(),
        ["rules"] => dependencies::check(),
        ["servers"] => serve(),
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

fn serve() -> Result<()> {
    let servers = servers::start();
    if servers.is_empty() {
        return Err("no server runs: each says above what it lacks".to_owned());
    }
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
        .map(drop)
        .map_err(|error| format!("cannot read the input: {error}"))
}

fn test(with_servers: bool) -> Result<()> {
    Step::new("format").cargo(&["fmt", "--all", "--check"])?;

    say("dependency rules");
    dependencies::check()?;

    // Before all that takes long: what is missing is told at once.
    let servers = with_servers.then(|| {
        say("servers for the tests with all features");
        servers::start()
    });
    let left_out = servers.iter().flat_map(servers::Servers::left_out).cloned().collect::<Vec<_>>();
    if !left_out.is_empty() {
        return Err(format!(
            "the tests of these servers would be left out:\n- {}\nInstall what they lack, or do without all servers: \
             cargo xtask test --without-servers",
            left_out.join("\n- ")
        ));
    }

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
    let step = Step::new("tests with all features").env("ORT_DYLIB_PATH", &library);
    let environment = servers.iter().flat_map(servers::Servers::environment);
    let step = environment.fold(step, |step, (name, value)| step.env(name, value));
    step.cargo(&["test", "--workspace", "--all-features"])?;
    drop(servers);

    interleavings()?;

    Step::new("benches, once each").cargo(&[
        "test",
        "--package",
        "benches",
        "--benches",
        "--all-features",
    ])?;
    say(if with_servers {
        "all good"
    } else {
        "good, but without servers: the tests of S3, Azure, PostgreSQL and of the stores that lie were left out"
    });
    Ok(())
}

/// Tries all interleavings of the lock protocols. The flag changes every crate: they have a folder of their own.
fn interleavings() -> Result<()> {
    let step = Step::new("interleavings, by loom").env("RUSTFLAGS", "--cfg loom");
    let step = step.env("CARGO_TARGET_DIR", shell::target().join("loom"));
    step.cargo(&["test", "--package", "mlops-serve", "--no-default-features", "--lib", "loom"])
}
