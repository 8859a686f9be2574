//! The ONNX Runtime library, out of its wheel on PyPI.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Result, output, target};

/// A wheel that holds the library.
struct Wheel {
    package: &'static str,
    version: &'static str,
    /// The folder of the library in it.
    folder: &'static str,
    options: &'static [&'static str],
}

const CURRENT: Wheel =
    Wheel { package: "onnxruntime", version: "1.31.1", folder: "onnxruntime/capi", options: &[] };

/// With a library of 1.14: the wheels of `onnxruntime` itself from that time have none of its own. It asks for no Python,
/// unlike what lies beside it.
const OLD: Wheel = Wheel {
    package: "piper-phonemize",
    version: "1.1.0",
    folder: "piper_phonemize.libs",
    options: &["--only-binary=:all:", "--python-version", "3.11"],
};

/// The path of the library; fetched the first time, then kept in the target folder.
pub(crate) fn library() -> Result<PathBuf> {
    CURRENT.library()
}

/// The path of a library that is too old for us, where there is one for this system.
pub(crate) fn old_library() -> Result<Option<PathBuf>> {
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) { OLD.library().map(Some) } else { Ok(None) }
}

impl Wheel {
    fn library(&self) -> Result<PathBuf> {
        let Self { package, version, .. } = self;
        let folder = target().join(package).join(version);
        if let Some(library) = self.find(&folder) {
            return Ok(library);
        }
        eprintln!("fetching {package} {version} from PyPI into {} (about 20 MB)", folder.display());
        // Unpacked beside its place and then renamed, so that a half unpacked one is never taken for whole.
        let partial = target().join(package).join("partial");
        let _ = fs::remove_dir_all(&partial);
        let fetched = self.fetch(&partial).and_then(|()| {
            fs::rename(&partial, &folder).map_err(|error| format!("cannot move it to its place: {error}"))
        });
        fetched.map_err(|error| {
            format!(
                "cannot fetch ONNX Runtime: {error}\nThe tests of the `ort` feature need it. Install python3 with \
                 pip and let it reach PyPI, or run `cargo test` for the tests that need nothing."
            )
        })?;
        self.find(&folder)
            .ok_or_else(|| format!("the wheel in {} holds no ONNX Runtime library", folder.display()))
    }

    fn fetch(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let place = folder.to_str().ok_or("the target folder's name is no text")?;
        let package = format!("{}=={}", self.package, self.version);
        let call = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, &package];
        output("python3", &[&call, self.options].concat())?;
        let wheel = files(folder)
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or("pip downloaded no wheel")?;
        let wheel = wheel.to_str().ok_or("the wheel's name is no text")?;
        output("python3", &["-m", "zipfile", "-e", wheel, place])?;
        fs::remove_file(wheel).map_err(|error| format!("cannot remove {wheel}: {error}"))
    }

    fn find(&self, folder: &Path) -> Option<PathBuf> {
        let is_library = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let provider = name.contains("providers");
            let library = (name.starts_with("libonnxruntime") && name.contains(".so."))
                || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
                || name == "onnxruntime.dll";
            library && !provider
        };
        files(&folder.join(self.folder)).into_iter().find(is_library)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
