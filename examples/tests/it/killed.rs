//! The loop is killed with SIGKILL wherever it happens to be, and started again until it is done.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mlops_core::Seed;
use rand::RngExt;

use crate::{closed_loop, replayable};

const STATE: &str = "CLOSED_LOOP_TEST_STATE";
const SESSIONS: [&str; 2] = ["--sessions", "250"];

/// Not a test on its own: what the killed process runs.
#[test]
#[allow(clippy::disallowed_methods, reason = "the parent tells its child where to work")]
fn child() {
    if let Ok(state) = std::env::var(STATE) {
        closed_loop(Path::new(&state), &SESSIONS).unwrap();
    }
}

#[test]
fn killed_anywhere_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let expected = closed_loop(&whole, &SESSIONS).unwrap();

    let mut rng = Seed::new(7).rng();
    let mut kills = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child"])
            .env(STATE, &killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(rng.random_range(20..500)));
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None if kills < 25 => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
            None => {
                assert!(child.wait().unwrap().success());
                break;
            }
        }
    }
    assert!(kills > 0, "the loop was done before the first kill");

    // The state of a finished year is the state of an unbroken run: another year from either is the same.
    let read = |state: &Path| {
        let text = std::fs::read(state.join("loop.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
        replayable(serde_json::from_value(state["summary"].clone()).unwrap())
    };
    assert_eq!(read(&killed), replayable(expected));
    let log = |state: &Path| {
        let registry =
            mlops_registry::blocking::Registry::open(state.join("registry").to_str().unwrap()).unwrap();
        let commits = registry.history(1, usize::MAX).unwrap();
        commits.into_iter().map(|commit| (commit.actor, commit.reason, commit.time)).collect::<Vec<_>>()
    };
    assert_eq!(log(&killed), log(&whole));
}
