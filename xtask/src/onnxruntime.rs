//! The ONNX Runtime library, out of its wheel on PyPI.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Result, output, target};

const VERSION: &str = "1.31.1";

/// The path of the library; fetched the first time, then kept in the target folder.
pub(crate) fn library() -> Result<PathBuf> {
    let folder = target().join("onnxruntime").join(VERSION);
    if let Some(library) = find(&folder) {
        return Ok(library);
    }
    eprintln!("fetching onnxruntime {VERSION} from PyPI into {} (about 20 MB)", folder.display());
    // Unpacked beside its place and then renamed, so that a half unpacked one is never taken for whole.
    let partial = target().join("onnxruntime").join("partial");
    let _ = fs::remove_dir_all(&partial);
    let fetched = fetch(&partial).and_then(|()| {
        fs::rename(&partial, &folder).map_err(|error| format!("cannot move it to its place: {error}"))
    });
    fetched.map_err(|error| {
        format!(
            "cannot fetch ONNX Runtime: {error}\nThe tests of the `ort` feature need it. Install python3 with \
             pip and let it reach PyPI, or run `cargo test` for the tests that need nothing."
        )
    })?;
    find(&folder).ok_or_else(|| format!("the wheel in {} holds no ONNX Runtime library", folder.display()))
}

fn fetch(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let place = folder.to_str().ok_or("the target folder's name is no text")?;
    let package = format!("onnxruntime=={VERSION}");
    output("python3", &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, &package])?;
    let wheel = files(folder)
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip downloaded no wheel")?;
    let wheel = wheel.to_str().ok_or("the wheel's name is no text")?;
    output("python3", &["-m", "zipfile", "-e", wheel, place])?;
    fs::remove_file(wheel).map_err(|error| format!("cannot remove {wheel}: {error}"))
}

fn find(folder: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let provider = name.contains("providers");
        let library = name.starts_with("libonnxruntime.so.")
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
            || name == "onnxruntime.dll";
        library && !provider
    };
    files(&folder.join("onnxruntime").join("capi")).into_iter().find(is_library)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
