//! Two real servers that speak S3 and lose commits: the doctor catches both and says what does not hold.
//! `cargo xtask test` starts them; without it the tests say that they were left out.

use mlops_core::{Result, Severity};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::{Checkup, Report};

use crate::support::{fresh, register, server};

/// A new registry on a server, opened anew at each call.
fn on(endpoint: &str, key: &str) -> impl Fn() -> Result<Registry> + Sync {
    let location = format!("s3://mlops-test/{}", fresh());
    move || {
        let builder = mlops_registry::Registry::builder()
            .option("aws_endpoint", endpoint)
            .option("aws_allow_http", "true")
            .option("aws_region", "us-east-1")
            .option("aws_access_key_id", key)
            .option("aws_secret_access_key", key);
        Registry::open_with(builder, &location)
    }
}

/// What the doctor says of a registry on a server, after a sequence of commits that went well.
fn examine(endpoint: &str, key: &str) -> Report {
    let registry = on(endpoint, key)().unwrap();
    // Nothing shows while nobody races: what is committed is there.
    for content in ["1", "2", "3"] {
        let id = register(&registry, "shop", content).unwrap();
        assert_eq!(registry.read(&id, "model.bin").unwrap(), content);
    }
    let report = registry.doctor(Checkup::default()).unwrap();
    assert_eq!((report.commits, report.files), (3, 3), "{report}");
    report
}

/// In how many of the 60 races something went wrong; it is critical, and the way out is named.
fn races(report: &Report, what: &str) -> u32 {
    let end = format!(" of 60 races {what}; do not keep a registry on it");
    let found = report.findings.iter().find(|finding| finding.what.ends_with(&end));
    let found = found.unwrap_or_else(|| panic!("not said: {what}: {report}"));
    assert_eq!(found.severity, Severity::Critical);
    let count = found.what.strip_suffix(&end).unwrap().strip_prefix("the storage lies: in ").unwrap();
    count.parse().unwrap()
}

const DOUBLED: &str = "two writers were told that they had created the same entry";
const OVERWRITTEN: &str = "an entry that existed was overwritten";

#[test]
fn s3rver_ignores_the_condition_and_is_caught() {
    let Some(endpoint) = server("MLOPS_TEST_S3RVER", "the lying S3 server s3rver") else { return };
    let report = examine(&endpoint, "S3RVER");
    assert!(!report.is_healthy());
    // Whoever comes late overwrites, every time.
    assert_eq!((races(&report, DOUBLED), races(&report, OVERWRITTEN)), (60, 60));
    assert!(!report.measured.unwrap().create_if_absent);
}

/// Its writers overwrite each other's entries. What one of them sees of that is left to chance: another entry than before,
/// half of one, an end that moves while it is read, or answers that no order explains. That it is an error is not.
#[cfg(feature = "conformance")]
#[test]
fn writers_on_s3rver_do_not_get_through() {
    let Some(endpoint) = server("MLOPS_TEST_S3RVER", "the lying S3 server s3rver") else { return };
    let seed = mlops_core::Seed::new(1);
    mlops_registry::conformance::check_history(on(&endpoint, "S3RVER"), 24, seed).unwrap_err();
    // And not since the server is gone.
    register(&on(&endpoint, "S3RVER")().unwrap(), "shop", "1").unwrap();
}

#[test]
fn s3s_fs_looks_then_writes_and_is_caught() {
    let Some(endpoint) = server("MLOPS_TEST_S3S_FS", "the lying S3 server s3s-fs") else { return };
    let report = examine(&endpoint, "test");
    assert!(!report.is_healthy());
    // Right for whoever comes late: only racing writers show it.
    assert!(!report.to_string().contains(OVERWRITTEN), "{report}");
    assert!(races(&report, DOUBLED) > 0);
    assert!(!report.measured.unwrap().create_if_absent);
}
