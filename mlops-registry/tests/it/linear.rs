//! Histories of eight concurrent writers are linearizable: many, where commits are quick. The conformance suite checks
//! one on every back end.

use mlops_core::{Result, Seed};
use mlops_registry::blocking::Registry;
use mlops_registry::conformance::check_history;

fn many(open: impl Fn() -> Result<Registry> + Sync) {
    for seed in 2..8 {
        check_history(&open, 32, Seed::new(seed)).unwrap();
    }
}

#[test]
fn eight_writers_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Registry::open(folder.path().to_str().unwrap());
    many(open);
}

#[cfg(feature = "sqlite")]
#[test]
fn eight_writers_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("sqlite:{}", folder.path().join("registry.db").display());
    many(|| Registry::open(&location));
}

#[cfg(feature = "postgres")]
#[test]
fn eight_writers_on_postgres() {
    let Some(address) = crate::support::server("MLOPS_TEST_POSTGRES", "PostgreSQL") else { return };
    let (folder, name) = (tempfile::tempdir().unwrap(), crate::support::fresh());
    let artifacts = folder.path().to_str().unwrap();
    let open = || {
        let builder = mlops_registry::Registry::builder().artifacts(artifacts).name(&name);
        Registry::open_with(builder, &address)
    };
    many(open);
}
