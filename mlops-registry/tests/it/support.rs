//! What the tests share.

use std::path::Path;

use mlops_core::{ErrorKind, ModelVersion, Result};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, NewVersion};

pub(crate) fn open(folder: &Path) -> Registry {
    Registry::open(folder.to_str().unwrap()).unwrap()
}

/// Registers a version with one small file.
pub(crate) fn register(registry: &Registry, model: &str, content: &str) -> Result<ModelVersion> {
    let version = NewVersion::new(model).file("model.bin", content.to_owned());
    let receipt = registry.commit(Draft::new("trainer", "test").register(version))?;
    Ok(receipt.version().unwrap().clone())
}

/// A draft that conflicts with the state, and says so.
pub(crate) fn refused(registry: &Registry, draft: Draft, part: &str) {
    let error = registry.commit(draft).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

/// A draft that breaks a rule, and says so.
pub(crate) fn invalid(registry: &Registry, draft: Draft, part: &str) {
    let error = registry.commit(draft).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

/// The files below a folder, relative to it.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// A value that tells a test where its server is.
#[cfg(any(feature = "aws", feature = "azure", feature = "postgres"))]
#[allow(clippy::disallowed_methods, reason = "`cargo xtask test` tells the tests by the environment")]
pub(crate) fn server(name: &str, what: &str) -> Option<String> {
    let found = std::env::var(name).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        // Not by a macro, whose output a passing test keeps to itself.
        let why = format!("left out: {what}, since {name} is not set (`cargo xtask test` sets it)");
        std::io::Write::write_all(&mut std::io::stderr(), format!("{why}\n").as_bytes()).unwrap();
    }
    found
}

/// A name that no earlier run used.
#[cfg(any(feature = "aws", feature = "azure", feature = "postgres"))]
pub(crate) fn fresh() -> String {
    tempfile::tempdir()
        .unwrap()
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .trim_start_matches('.')
        .to_lowercase()
}
