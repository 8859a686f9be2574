//! What the tests share.

use std::path::Path;

use mlops_core::{ModelVersion, Result};
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
