//! Writers that are killed with SIGKILL anywhere, over and over: nothing is lost, doubled or left dangling.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mlops_core::{ModelVersion, Seed};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::Checkup;
use mlops_registry::{Draft, Expect, NewVersion};
use rand::RngExt as _;

/// Tells a process that is a copy of this test what to write to.
const VARIABLE: &str = "MLOPS_TEST_CRASH_WRITER";

/// The writer: goes on where the log says that it was, registers and promotes by turns, and says what is done.
#[test]
#[allow(clippy::disallowed_methods, reason = "the parent process tells its copy by the environment")]
fn writer() {
    let Ok(location) = std::env::var(VARIABLE) else { return };
    let registry = Registry::open(&location).unwrap();
    let state = registry.snapshot();
    let start = state.model("shop").map_or(0, |model| model.versions.len() as u64);
    // The last promotion may have been killed: it is tried again first, under its own key.
    for number in start.max(1).. {
        if number > start {
            let version = NewVersion::new("shop").file("model.bin", format!("weights {number}"));
            let draft = Draft::new("writer", "next").key(format!("register {number}")).register(version);
            registry.commit(draft).unwrap();
            println!("registered {number}");
        }
        let promote = Draft::new("writer", "next").key(format!("promote {number}"));
        registry.commit(promote.alias("champion", &ModelVersion::new("shop", number), Expect::Any)).unwrap();
        println!("promoted {number}");
    }
}

fn kill_again_and_again(location: &str, kills: u32, seed: u64) {
    let mut rng = Seed::new(seed).rng();
    let mut acknowledged = 0_u64;
    for _ in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, location)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Let it do something, then kill it at any moment of the next steps.
        let first = lines.find(|line| line.starts_with("registered") || line.starts_with("promoted"));
        std::thread::sleep(Duration::from_micros(rng.random_range(0..12_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in first.into_iter().chain(lines) {
            if let Some(number) = line.strip_prefix("registered ") {
                acknowledged = acknowledged.max(number.parse().unwrap());
            }
        }
    }
    let registry = Registry::open(location).unwrap();
    let state = registry.snapshot();
    let model = state.model("shop").unwrap();
    assert!(acknowledged > 0);
    assert!(model.versions.len() as u64 >= acknowledged, "lost: {} of {acknowledged}", model.versions.len());
    for (version, number) in model.versions.iter().zip(1_u64..) {
        let bytes = registry.read(version.id(), "model.bin").unwrap();
        assert_eq!(bytes, format!("weights {number}"), "each number was registered once, in order");
    }
    let champion = &model.aliases["champion"];
    let moves: Vec<u64> = champion.moves.iter().map(|step| step.to.unwrap()).collect();
    assert_eq!(moves, (1..=moves.len() as u64).collect::<Vec<_>>(), "each promotion happened once, in order");
    assert!(model.versions.len() - moves.len() <= 1);
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = registry.doctor(checkup).unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[test]
fn kills_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    kill_again_and_again(path(folder.path()), 100, 1);
}

#[cfg(feature = "sqlite")]
#[test]
fn kills_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    kill_again_and_again(&format!("sqlite:{}/registry.db", path(folder.path())), 100, 2);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
