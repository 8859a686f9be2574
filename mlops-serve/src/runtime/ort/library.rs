//! ONNX Runtime's shared library: loaded once, or an error that says how to get it.

use std::path::Path;
use std::sync::{Mutex, OnceLock};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::{Error, Result};

/// ONNX Runtime, loaded into this process.
///
/// A process loads one library and has one environment. The first successful [`load`](Self::load) decides
/// both; a host that uses the `ort` crate itself hands its environment to
/// [`from_environment`](Self::from_environment) instead.
///
/// The library comes with Python's `onnxruntime` package (`onnxruntime/capi/libonnxruntime.so.X.Y.Z`, 1.18 or
/// later), or with the archives of the project's releases.
///
/// ```
/// use mlops_serve::ErrorKind;
/// use mlops_serve::runtime::OrtLibrary;
///
/// let error = OrtLibrary::load("/nowhere/libonnxruntime.so").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(error.to_string().contains("`pip download onnxruntime`"));
/// ```
#[derive(Clone, Debug)]
pub struct OrtLibrary {
    environment: Environment,
}

/// The environment that `load` made: `ort` gives out only one, and not twice.
static LOADED: OnceLock<OrtLibrary> = OnceLock::new();
/// Two first loads at once must not both try.
static LOADING: Mutex<()> = Mutex::new(());

impl OrtLibrary {
    /// Loads the library at this path, or the one that was loaded before.
    ///
    /// A name without a folder is looked for where the system looks for libraries.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `Unsupported` if it is no ONNX Runtime or too old, `Conflict` if
    /// the host has made an environment of its own.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        if let Some(library) = LOADED.get() {
            return Ok(library.clone());
        }
        // The guarded value is empty: a panic elsewhere leaves nothing half done.
        let _guard = LOADING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(library) = LOADED.get() {
            return Ok(library.clone());
        }
        let path = path.as_ref();
        let shown = path.display();
        let named = path.parent().is_some_and(|folder| folder == Path::new(""));
        let path = if named && !path.exists() {
            path.to_owned()
        } else {
            path.canonicalize().map_err(|error| {
                Error::not_found(format!("there is no ONNX Runtime at `{shown}`: {REMEDY}"))
                    .with_source(error)
            })?
        };
        // Asked through `init_from`, since every other way into `ort` panics without a library.
        let builder = ort::init_from(&path).map_err(|error| {
            Error::unsupported(format!("`{shown}` cannot be loaded as ONNX Runtime: {REMEDY}"))
                .with_source(error)
        })?;
        let environment = builder.with_name("mlops").with_telemetry(false).build().map_err(|error| {
            Error::conflict(
                "the host has an ONNX Runtime environment already: pass it to `OrtLibrary::from_environment`",
            )
            .with_source(error)
        })?;
        // Errors reach the caller as errors; a library does not write to the host's standard error.
        environment.set_log_level(LogLevel::Fatal);
        Ok(LOADED.get_or_init(|| Self { environment }).clone())
    }

    /// Uses the environment that the host made.
    pub fn from_environment(environment: Environment) -> Self {
        Self { environment }
    }

    /// The environment, for sessions of the host's own.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

const REMEDY: &str = "get a library of version 1.18 or later (`pip download onnxruntime`, unzip the wheel) and pass \
                      the path of `onnxruntime/capi/libonnxruntime.so.X.Y.Z`";
