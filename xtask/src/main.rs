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
                          fails at once if ONNX Runtime or a server of the tests cannot be had; to do without:
    --without <server>    without that one: moto, azurite, postgres, s3rver, s3s-fs; may be given more than once
    --without-servers     without all of them
cargo xtask loom          the lock protocols in all interleavings, by loom
cargo xtask rules         the dependency rules alone
cargo xtask servers       start the servers of the tests, print where they are, stop them at the end of the input
cargo xtask onnxruntime   fetch the ONNX Runtime library and print where it is

What the tests of real components need is fetched into target/ and kept there.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test", ref flags @ ..] => without(flags).and_then(|without| test(&without)),
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
    let servers = servers::start(&[]);
    if servers.is_empty() {
        return Err("no server runs: each says above what it lacks".to_owned());
    }
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
        .map(drop)
        .map_err(|error| format!("cannot read the input: {error}"))
}

/// The servers that the flags of a test do without.
fn without<'a>(flags: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut without = Vec::new();
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match (*flag, flags.clone().next()) {
            ("--without-servers", _) => without.extend(servers::NAMES),
            ("--without", Some(name)) if servers::NAMES.contains(name) => {
                without.push(*name);
                flags.next();
            }
            ("--without", name) => {
                let name = name.map_or("nothing".to_owned(), |name| format!("`{name}`"));
                return Err(format!("--without {name}: want one of {}", servers::NAMES.join(", ")));
            }
            _ => return Err(format!("unknown flag `{flag}` of a test\n\n{HELP}")),
        }
    }
    Ok(without)
}

fn test(without: &[&str]) -> Result<()> {
    Step::new("format").cargo(&["fmt", "--all", "--check"])?;
    Step::new("format of the fuzz targets").cargo(&[
        "fmt",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--check",
    ])?;

    say("dependency rules");
    dependencies::check()?;

    // Before all that takes long: what is missing is told at once.
    say("ONNX Runtime and the servers for the tests with all features");
    let (library, old_library) = (onnxruntime::library()?, onnxruntime::old_library()?);
    let servers = servers::start(without);
    if !servers.left_out().is_empty() {
        return Err(format!(
            "the tests of these servers would be left out:\n- {}\nInstall what they lack, or do without: cargo xtask \
             test --without <server>, or --without-servers",
            servers.left_out().join("\n- ")
        ));
    }

    let lints = ["--", "-D", "warnings"];
    let clippy = |features: &[&str]| {
        let call = ["clippy", "--workspace", "--all-targets"];
        Step::new("lints").cargo(&[&call, features, &lints].concat())
    };
    clippy(&[])?;
    clippy(&["--all-features"])?;
    // A workspace of their own, since they link with libFuzzer.
    let fuzz = ["clippy", "--manifest-path", "fuzz/Cargo.toml", "--bins"];
    Step::new("lints of the fuzz targets")
        .env("CARGO_TARGET_DIR", shell::target())
        .cargo(&[&fuzz[..], &lints].concat())?;

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

    let step = Step::new("tests with all features").env("ORT_DYLIB_PATH", &library);
    let step = old_library.iter().fold(step, |step, path| step.env("ORT_OLD_DYLIB_PATH", path));
    let environment = servers.environment().iter();
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
    say(&match without {
        [] => "all good".to_owned(),
        _ => format!("good, but the tests of these servers were left out: {}", without.join(", ")),
    });
    Ok(())
}

/// Tries all interleavings of the lock protocols. The flag changes every crate: they have a folder of their own.
fn interleavings() -> Result<()> {
    let step = Step::new("interleavings, by loom").env("RUSTFLAGS", "--cfg loom");
    let step = step.env("CARGO_TARGET_DIR", shell::target().join("loom"));
    step.cargo(&["test", "--package", "mlops-serve", "--no-default-features", "--lib", "loom"])
}
