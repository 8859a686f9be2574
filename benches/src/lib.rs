//! Benchmarks live in `benches/`; this library holds what they share.

pub mod forests;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The variable that names a Python which has the peers' packages.
pub const PYTHON: &str = "PEERS_PYTHON";

/// A script of `peers/` that runs beside a benchmark and times on demand what another tool takes for the same.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script, unless no Python is named.
    ///
    /// # Panics
    /// If the script does not start: a comparison that was asked for is not left out in silence.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "a benchmark is a host")]
    pub fn start(script: &str) -> Option<Self> {
        let Some(python) = std::env::var_os(PYTHON) else {
            let note = format!("{script} is left out: {PYTHON} names no Python that has its packages\n");
            std::io::stderr().write_all(note.as_bytes()).expect("somebody reads");
            return None;
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
        let mut command = Command::new(python);
        let mut child = command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(PYTHON);
        let (ask, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        let mut peer = Self { child, ask, answers };
        assert_eq!(peer.answer(), "ready", "{script}");
        Some(peer)
    }

    /// The time in which it does something so many times.
    ///
    /// # Panics
    /// If it fails.
    pub fn time(&mut self, what: &str, repeats: u64) -> Duration {
        writeln!(self.ask.as_mut().expect("it runs"), "{what} {repeats}").expect("it listens");
        let answer = self.answer();
        Duration::from_nanos(answer.parse().unwrap_or_else(|_| panic!("{what}: {answer:?} is not a time")))
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Without more to be asked it ends, and takes its files along.
        drop(self.ask.take());
        drop(self.child.wait());
    }
}
