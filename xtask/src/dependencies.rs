//! Rules of the dependency graph.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::shell::{Result, output};

/// The library crates; each but the first may depend on the first alone.
pub(crate) const CRATES: [&str; 4] = ["mlops-core", "mlops-drift", "mlops-registry", "mlops-serve"];

/// What a crate with default features must not pull in: an async runtime, heavy formats, native code.
const HEAVY: [&str; 8] =
    ["tokio", "ort", "parquet", "tract-onnx", "rusqlite", "libsqlite3-sys", "reqwest", "cc"];

/// The one exception: `object_store`, on which the registry stands, has tokio among its own dependencies.
const EXCEPTION: (&str, &str) = ("mlops-registry", "tokio");

pub(crate) fn check() -> Result<()> {
    let metadata = output(env!("CARGO"), &["metadata", "--format-version", "1", "--all-features"])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    star(packages)?;
    rust_version(packages)?;
    light()
}

/// Drift, registry and serve depend on core, never on each other, tests included.
fn star(packages: &[Value]) -> Result<()> {
    for package in packages.iter().filter(|package| is_ours(package)) {
        let name = package["name"].as_str().unwrap_or_default();
        let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
        for dependency in dependencies.iter().filter(|dependency| is_ours(dependency)) {
            let dependency = dependency["name"].as_str().unwrap_or_default();
            if dependency != CRATES[0] || name == CRATES[0] {
                return Err(format!(
                    "{name} depends on {dependency}: the crates meet in {} alone",
                    CRATES[0]
                ));
            }
        }
    }
    println!("the crates depend on {} alone", CRATES[0]);
    Ok(())
}

fn is_ours(package: &Value) -> bool {
    package["name"].as_str().is_some_and(|name| CRATES.contains(&name))
}

/// `rust-version` is the highest that a dependency of the default features asks for.
fn rust_version(packages: &[Value]) -> Result<()> {
    let asked: BTreeMap<(&str, &str), &str> = packages
        .iter()
        .filter_map(|package| {
            let name = (package["name"].as_str()?, package["version"].as_str()?);
            Some((name, package["rust_version"].as_str()?))
        })
        .collect();
    let used = default_tree(&CRATES)?;
    let highest = used
        .iter()
        .filter(|(name, _)| !CRATES.contains(&name.as_str()))
        .filter_map(|(name, version)| Some((parse(asked.get(&(name.as_str(), version.as_str()))?), name)))
        .max()
        .ok_or("no dependency tells its rust-version")?;
    let ours = asked.iter().find(|((name, _), _)| *name == CRATES[0]).map(|(_, version)| parse(version));
    let ours = ours.ok_or("the workspace has no rust-version")?;
    if ours != highest.0 {
        let ((major, minor), name) = highest;
        return Err(format!(
            "rust-version is {}.{}, but {name} asks for {major}.{minor}: set it to that in Cargo.toml",
            ours.0, ours.1
        ));
    }
    println!("rust-version {}.{} is what {} asks for", ours.0, ours.1, highest.1);
    Ok(())
}

/// Default features stay light.
fn light() -> Result<()> {
    for name in CRATES {
        let used = default_tree(&[name])?;
        let is_heavy =
            |heavy: &&&str| (name, **heavy) != EXCEPTION && used.iter().any(|(used, _)| used == **heavy);
        if let Some(heavy) = HEAVY.iter().find(is_heavy) {
            return Err(format!("the default features of {name} pull in {heavy}: put it behind a feature"));
        }
        println!("{name} with default features builds {} crates, no heavy one", used.len());
    }
    Ok(())
}

/// Names and versions of all that these crates with default features build.
fn default_tree(crates: &[&str]) -> Result<BTreeSet<(String, String)>> {
    let mut arguments = vec!["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    crates.iter().for_each(|name| arguments.extend(["--package", name]));
    let tree = output(env!("CARGO"), &arguments)?;
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    Ok(tree.lines().filter_map(package).collect())
}

fn parse(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
