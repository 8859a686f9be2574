//! Real disks at their limits: full, read-only, forbidden, huge files, many versions, what kills leave behind.
//!
//! Some need a file system or a user of their own: a copy of this test runs there. Where the machine does not allow
//! that, the test says so on standard error, and fails if `MLOPS_TEST_DISK_REQUIRED` is set.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mlops_core::{ErrorKind, ModelVersion};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::Checkup;
use mlops_registry::{Draft, Expect, NewVersion, Query};

use crate::support::{open, register, tree};

const SCENARIO: &str = "MLOPS_TEST_DISK";
const PLACE: &str = "MLOPS_TEST_DISK_PLACE";

/// What the copies of this test do.
#[test]
#[allow(clippy::disallowed_methods, reason = "the parent process tells its copy by the environment")]
fn copy() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let place = std::env::var(PLACE).unwrap();
    match scenario.as_str() {
        "full" => full(&place),
        "read-only" => read_only(&place, "the file system is read-only; use another one"),
        "forbidden" => forbidden(&place),
        size => in_and_out(&place, size.parse().unwrap()),
    }
    println!("scenario done");
}

/// Set, it makes a failure of what the machine does not allow: for checks that must not be left out.
const REQUIRED: &str = "MLOPS_TEST_DISK_REQUIRED";

/// Runs a copy of this test by a shell script whose last words start it; `None` if the machine does not allow it.
#[allow(
    clippy::disallowed_methods,
    reason = "whoever starts the tests says by the environment what must run"
)]
fn run(script: &str, scenario: &str, place: &Path) -> Option<String> {
    let exe = std::env::current_exe().unwrap();
    let start = "exec \"$0\" disk::copy --exact --nocapture";
    let script = format!("{script} && echo allowed && {start}");
    let mut command = match script.strip_prefix("unshare ") {
        Some(script) => {
            let mut command = Command::new("unshare");
            command.args(["-rm", "sh", "-c", script]);
            command
        }
        None => {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command
        }
    };
    let output = command.arg(exe).arg(place).env(SCENARIO, scenario).env(PLACE, place).output();
    let text = output.as_ref().map_or(String::new(), |output| {
        String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
    });
    if text.contains("allowed") {
        assert!(text.contains("scenario done"), "{scenario}: {text}");
        return Some(text);
    }
    let required = std::env::var(REQUIRED).is_ok_and(|value| !value.is_empty() && value != "0");
    assert!(
        !required,
        "`{scenario}` did not run, though {REQUIRED} is set: this machine does not allow it ({})",
        text.trim()
    );
    let why = format!("left out: `{scenario}`, since this machine does not allow it ({})\n", text.trim());
    std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes()).unwrap();
    None
}

fn no_races() -> Checkup {
    let mut checkup = Checkup::default();
    checkup.races = 0;
    checkup
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run("unshare mount -t tmpfs -o size=4m none \"$1\"", "full", folder.path());
}

fn full(place: &str) {
    for location in locations(place) {
        let registry = Registry::open(&location).unwrap();
        let first = register(&registry, "shop", "weights").unwrap();
        registry.commit(Draft::new("ann", "go").alias("champion", &first, Expect::Absent)).unwrap();
        let mut registered = Vec::new();
        let error = loop {
            let content = vec![registered.len() as u8; 300 << 10];
            let version = NewVersion::new("shop").file("model.bin", content);
            match registry.commit(Draft::new("t", "x").register(version)) {
                Ok(receipt) => registered.push(receipt.version().unwrap().clone()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(format!("{error:#}").contains("the disk is full; free some space"), "{error:#}");
        // What was promised is there, for this process and for another.
        for registry in [registry.clone(), Registry::open(&location).unwrap()] {
            assert_eq!(registry.refresh().unwrap().alias("shop", "champion").unwrap().id(), &first);
            assert_eq!(registry.read(&first, "model.bin").unwrap(), "weights");
            for (id, byte) in registered.iter().zip(0..) {
                assert_eq!(registry.read(id, "model.bin").unwrap()[0], byte);
            }
        }
        let report = registry.doctor(no_races()).unwrap();
        assert!(report.is_healthy(), "{report}");
        // A purge needs some space itself. When there is, it goes on.
        let old = registered.pop().unwrap();
        let purge = Draft::new("ann", "disk").delete(&old).purge(&old);
        if registry.commit(purge).is_ok() {
            registry.sweep("ann", "disk", Duration::ZERO).unwrap();
            register(&registry, "shop", "next").unwrap();
        }
        drop(registry);
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
}

fn locations(place: &str) -> Vec<String> {
    let mut locations = vec![format!("{place}/registry")];
    if cfg!(feature = "sqlite") {
        locations.push(format!("sqlite:{place}/registry.db"));
    }
    locations
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_disk_is_read() {
    let folder = tempfile::tempdir().unwrap();
    register(&open(&folder.path().join("registry")), "shop", "weights").unwrap();
    run("unshare mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"", "read-only", folder.path());
}

fn read_only(place: &str, way_out: &str) {
    let registry = Registry::open(&format!("{place}/registry")).unwrap();
    let id = ModelVersion::new("shop", 1);
    assert_eq!(registry.read(&id, "model.bin").unwrap(), "weights");
    assert_eq!(registry.history(1, 10).unwrap().len(), 1);
    for error in [
        register(&registry, "shop", "other").unwrap_err(),
        registry.commit(Draft::new("ann", "x").tag(&id, "a", "b")).unwrap_err(),
        Registry::open(&format!("{place}/new")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.to_string().contains(way_out), "{error}");
    }
    let report = registry.doctor(no_races()).unwrap();
    assert!(report.is_healthy(), "{report}");
    if cfg!(feature = "sqlite") {
        let error = Registry::open(&format!("sqlite:{place}/registry.db")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
}

/// As a user who is not root, since nothing is forbidden to root.
#[cfg(target_os = "linux")]
#[test]
fn a_forbidden_folder_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    register(&open(&folder.path().join("registry")), "shop", "weights").unwrap();
    fs::create_dir(folder.path().join("secret")).unwrap();
    let mode = |path: &str, mode| {
        fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    // The test itself may lie where others cannot read.
    let exe = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    for (path, bits) in
        [("registry", 0o555), ("registry/log", 0o555), ("registry/blob", 0o555), ("secret", 0)]
    {
        mode(path, bits);
    }
    mode("", 0o755);
    let user = "cd / && set -- \"$1/test\" disk::copy --exact --nocapture; if [ \"$(id -u)\" = 0 ]; then \
                set -- setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; fi; echo allowed && exec \"$@\"";
    run(user, "forbidden", folder.path());
    mode("", 0o755);
    for path in ["secret", "registry", "registry/log", "registry/blob"] {
        mode(path, 0o755);
    }
}

fn forbidden(place: &str) {
    read_only(place, "no permission; give this user the right to it");
    let error = Registry::open(&format!("{place}/secret/registry")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("no permission"), "{error}");
}

/// 300 MB here; the 10 GB of the next test take a minute and 20 GB of disk.
#[cfg(target_os = "linux")]
#[test]
fn big_files_take_little_memory() {
    stream("300000001");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes 20 GB: run it by name"]
fn ten_gigabytes_take_little_memory() {
    stream("10000000001");
}

#[cfg(target_os = "linux")]
fn stream(size_bytes: &str) {
    let folder = tempfile::tempdir().unwrap();
    let text = run("true", size_bytes, folder.path()).unwrap();
    let peak: u64 = text.lines().find_map(|line| line.strip_prefix("peak kB ")).unwrap().parse().unwrap();
    assert!(peak < 120_000, "{peak} kB");
}

fn in_and_out(place: &str, size_bytes: u64) {
    // Holes: the source takes no space.
    let source = Path::new(place).join("source");
    let file = fs::File::create(&source).unwrap();
    file.set_len(size_bytes).unwrap();
    let cache = Path::new(place).join("cache");
    let builder = mlops_registry::Registry::builder().cache(&cache, 2 * size_bytes);
    let registry = Registry::open_with(builder, &format!("{place}/registry")).unwrap();
    let version = NewVersion::new("shop").file_at("weights.bin", &source);
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    assert_eq!(registry.snapshot().version(&id).unwrap().record.files["weights.bin"].size_bytes, size_bytes);
    registry.fetch(&id).unwrap();
    let cached = cache.join(&tree(&cache)[0]);
    assert_eq!(fs::metadata(cached).unwrap().len(), size_bytes);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let line = format!("peak kB {}\n", peak.trim().trim_end_matches(" kB"));
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
}

#[test]
fn half_written_files_of_killed_writers_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let id = register(&registry, "shop", "1").unwrap();
    // What a kill leaves in the middle of an upload and of an append: the store's own files, which it does not list.
    let blob = folder.path().join("blob").join(mlops_core::Digest::of("big").to_string());
    fs::create_dir_all(&blob).unwrap();
    let dead =
        [blob.join("01ARZ3NDEKTSV4RRFFQ69G5FAV#1"), folder.path().join("log/00000000000000000002.json#3")];
    let alive = blob.join("01ARZ3NDEKTSV4RRFFQ69G5FAV#2");
    for path in dead.iter().chain([&alive]) {
        fs::write(path, vec![0; 1000]).unwrap();
    }
    for path in &dead {
        let now = fs::metadata(path).unwrap().modified().unwrap();
        let old = now.checked_sub(Duration::from_secs(2 * 3600)).unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let day = Duration::from_secs(86_400);
    assert_eq!(registry.sweep("ann", "disk", day).unwrap().staged_bytes, 0, "too young");
    assert_eq!(registry.sweep("ann", "disk", Duration::ZERO).unwrap().staged_bytes, 2000);
    assert!(dead.iter().all(|path| !path.exists()) && alive.exists());
    // An upload that is under way for real is named so and is spared; it can be finished.
    assert_eq!(registry.read(&id, "model.bin").unwrap(), "1");
    // A blob that is swept takes its folder along.
    registry.commit(Draft::new("ann", "old").delete(&id).purge(&id)).unwrap();
    registry.sweep("ann", "disk", Duration::ZERO).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path().join("blob")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn ten_thousand_versions() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    for commit in 0..100 {
        let draft = (0..100).fold(Draft::new("t", "many"), |draft, model| {
            let version = NewVersion::new(format!("team/model-{model}"))
                .file("model.bin", format!("weights {}", commit % 10))
                .metric("auc", f64::from(commit) / 100.0)
                .tag("market", if commit == 7 { "eu" } else { "us" });
            draft.register(version)
        });
        registry.commit(draft).unwrap();
    }
    let again = open(folder.path());
    let state = again.snapshot();
    assert_eq!(*state, *registry.snapshot());
    assert_eq!(state.search(&Query::new()).len(), 10_000);
    assert_eq!(state.search(&Query::new().tag("market", "eu")).len(), 100);
    assert_eq!(state.search(&Query::new().metric("auc", 0.99..).best_first("auc", true)).len(), 100);
    assert_eq!(again.history(1, 1000).unwrap().len(), 100);
    let checkpoints = tree(&folder.path().join("checkpoint"));
    assert!(checkpoints.len() == 3 && checkpoints[2] == "newest", "two and their pointer: {checkpoints:?}");
    let newest: u64 = fs::read_to_string(folder.path().join("checkpoint/newest")).unwrap().parse().unwrap();
    assert!((90..=100).contains(&newest), "little of the log is left to read: {newest}");
    let report = again.doctor(no_races()).unwrap();
    assert!(report.is_healthy(), "{report}");
}
