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

/// More than one part of a multi-part upload.
const BIG: usize = 9 << 20;

/// What the version of this number holds: every fifth one is uploaded in parts.
fn content(number: u64) -> Vec<u8> {
    let mut content = format!("weights {number}").into_bytes();
    if number.is_multiple_of(5) {
        content.resize(BIG, 0);
    }
    content
}

/// The writer: goes on where the log says that it was, registers and promotes by turns, gives up an old version and
/// sweeps at times, and says what is done.
#[test]
#[allow(clippy::disallowed_methods, reason = "the parent process tells its copy by the environment")]
fn writer() {
    let Ok(location) = std::env::var(VARIABLE) else { return };
    // The test harness has begun a line.
    println!();
    let registry = Registry::open(&location).unwrap();
    let state = registry.snapshot();
    let start = state.model("shop").map_or(0, |model| model.versions.len() as u64);
    let draft = |what: &str, number: u64| Draft::new("writer", "next").key(format!("{what} {number}"));
    // The last promotion may have been killed: it is tried again first, under its own key.
    for number in start.max(1).. {
        if number > start {
            let version = NewVersion::new("shop").file("model.bin", content(number));
            registry.commit(draft("register", number).register(version)).unwrap();
            println!("registered {number}");
        }
        let id = ModelVersion::new("shop", number);
        registry.commit(draft("promote", number).alias("champion", &id, Expect::Any)).unwrap();
        println!("promoted {number}");
        if number % 5 == 3 && number > 5 {
            let old = ModelVersion::new("shop", number - 5);
            registry.commit(draft("purge", old.version).delete(&old).purge(&old)).unwrap();
            println!("purged {}", old.version);
            registry.sweep("writer", "space", Duration::ZERO).unwrap();
        }
    }
}

/// The highest numbers that the writers said were done.
#[derive(Debug, Default)]
struct Acknowledged {
    registered: u64,
    promoted: u64,
    purged: u64,
}

impl Acknowledged {
    /// Whether the line says that something is done.
    fn note(&mut self, line: &str) -> bool {
        let mut is_told = false;
        for (what, highest) in [
            ("registered ", &mut self.registered),
            ("promoted ", &mut self.promoted),
            ("purged ", &mut self.purged),
        ] {
            if let Some(number) = line.strip_prefix(what) {
                *highest = (*highest).max(number.parse().unwrap());
                is_told = true;
            }
        }
        is_told
    }

    /// Whether the log holds all of it, each once and in order, before any writer could do it again.
    fn check(&self, registry: &Registry) {
        let state = registry.snapshot();
        let model = state.model("shop").unwrap();
        let versions = model.versions.len() as u64;
        assert!(versions >= self.registered, "{versions} versions, {self:?}");
        let moves: Vec<u64> = model
            .aliases
            .get("champion")
            .map_or(Vec::new(), |alias| alias.moves.iter().flat_map(|step| step.to).collect());
        assert_eq!(
            moves,
            (1..=moves.len() as u64).collect::<Vec<_>>(),
            "each promotion happened once, in order"
        );
        assert!(moves.len() as u64 >= self.promoted, "{} promotions, {self:?}", moves.len());
        assert!(versions - moves.len() as u64 <= 1);
        for version in &model.versions {
            let number = version.id().version;
            if version.purged.is_none() {
                assert!(number % 5 != 3 || number > self.purged, "version {number} is back, {self:?}");
            }
        }
        // What came last is whole.
        for version in model.versions.iter().rev().filter(|version| version.purged.is_none()).take(2) {
            whole(registry, version.id());
        }
    }
}

fn whole(registry: &Registry, id: &ModelVersion) {
    let bytes = registry.read(id, "model.bin").unwrap();
    assert!(bytes == content(id.version), "{id} holds what was registered as it, once");
}

fn kill_again_and_again(location: &str, kills: u32, seed: u64) {
    let mut rng = Seed::new(seed).rng();
    let mut acknowledged = Acknowledged::default();
    for _ in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, location)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // What the last one may have left undone and one step more, so that each gets on; then it is killed at any
        // moment of the next steps.
        let wanted = rng.random_range(2..=4);
        let told = lines.by_ref().filter(|line| acknowledged.note(line)).take(wanted).count();
        assert_eq!(told, wanted, "a writer ended by itself");
        std::thread::sleep(Duration::from_micros(rng.random_range(0..12_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // A last line may be cut off.
        for line in lines {
            acknowledged.note(&line);
        }
        acknowledged.check(&Registry::open(location).unwrap());
    }
    assert!(
        acknowledged.registered > 10 && acknowledged.promoted > 10 && acknowledged.purged > 0,
        "{acknowledged:?}"
    );
    let registry = Registry::open(location).unwrap();
    let state = registry.snapshot();
    for version in state.model("shop").unwrap().versions.iter().filter(|version| version.purged.is_none()) {
        whole(&registry, version.id());
    }
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
