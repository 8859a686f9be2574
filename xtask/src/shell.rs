//! Running commands, and saying so.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// A result whose error is a message for people.
pub(crate) type Result<T, E = String> = std::result::Result<T, E>;

/// Prints what happens next.
pub(crate) fn say(what: &str) {
    println!("\n== {what}");
}

/// The top folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}

/// The folder that builds write to; what is fetched is kept there too.
#[allow(clippy::disallowed_methods, reason = "cargo tells its tools by the environment")]
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// One step of a check.
pub(crate) struct Step {
    name: &'static str,
    environment: Vec<(String, std::ffi::OsString)>,
}

impl Step {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, environment: Vec::new() }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs cargo, showing its output.
    pub(crate) fn cargo(self, arguments: &[&str]) -> Result<()> {
        say(&format!("{}: cargo {}", self.name, arguments.join(" ")));
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).envs(self.environment).current_dir(workspace());
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(format!("{} failed: cargo {} ended with {status}", self.name, arguments.join(" ")))
            }
            Err(error) => Err(format!("cannot run cargo: {error}")),
        }
    }
}

/// The standard output of a command that must succeed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let call = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(workspace())
        .output()
        .map_err(|error| format!("cannot run `{}`: {error}; is {program} installed?", call()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` ended with {}:\n{}", call(), output.status, complaint.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` printed no text", call()))
}
