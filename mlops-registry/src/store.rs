//! Object stores: where they are, and what their errors mean.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mlops_core::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, memory::InMemory};

use crate::cloud;
use crate::log::Reach;

/// A store, and where it is.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) reach: Reach,
    /// Its folder, if it is on a local disk.
    pub(crate) folder: Option<PathBuf>,
}

/// The store at a location: `memory:`, a path or `file://`, `s3://`, `gs://`, `az://`.
///
/// A folder is made, unless it has to exist.
pub(crate) fn open(location: &str, options: &[(String, String)], existing: bool) -> Result<Place> {
    match scheme(location) {
        Some(("memory", "")) => {
            no_options(location, options)?;
            Ok(Place { store: Arc::new(InMemory::new()), reach: Reach::Process, folder: None })
        }
        None | Some(("file", _)) => folder(location, options, existing),
        Some((scheme, _)) => {
            let store = cloud::open(scheme, location, options).unwrap_or_else(|| Err(unknown(location)))?;
            Ok(Place { store, reach: Reach::Network, folder: None })
        }
    }
}

/// The scheme of a URL and what follows its colon; a drive letter is none.
pub(crate) fn scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let letters =
        scheme.len() > 1 && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    letters.then_some((scheme, rest))
}

/// The path that a location without a scheme or with `file:` names.
#[cfg(feature = "local")]
pub(crate) fn local_path(location: &str) -> Result<&str> {
    let Some(path) = location.strip_prefix("file:") else { return Ok(location) };
    let Some(absolute) = path.strip_prefix("//") else { return Ok(path) };
    let refuse = |why: &str| {
        let shown = shown(location);
        Err(Error::invalid(format!("`{shown}` {why}: want `file:///path`, or the path alone")))
    };
    if !absolute.starts_with('/') {
        return refuse("names a host");
    }
    if absolute.contains('%') {
        return refuse("has a `%`, which is not decoded");
    }
    Ok(absolute)
}

#[cfg(feature = "local")]
fn folder(location: &str, options: &[(String, String)], existing: bool) -> Result<Place> {
    no_options(location, options)?;
    let path = local_path(location)?;
    if path.is_empty() {
        return Err(Error::invalid(
            "the registry's location is empty: want a folder or a URL such as `s3://bucket/prefix`",
        ));
    }
    let cannot = |error: io::Error| {
        let what = format!("cannot open the registry's folder `{}`", shown(path));
        io_failed(&error, &what).with_source(error)
    };
    if !existing {
        std::fs::create_dir_all(path).map_err(cannot)?;
    } else if !std::path::Path::new(path).is_dir() {
        return Err(Error::not_found(format!(
            "there is no folder `{}`: check the location, or open it without `Builder::existing` to make one",
            shown(path)
        )));
    }
    let store = object_store::local::LocalFileSystem::new_with_prefix(path)
        .map_err(|error| failed("open", &Path::default(), error))?
        .with_fsync(true)
        .with_automatic_cleanup(true);
    let folder = Some(std::fs::canonicalize(path).map_err(cannot)?);
    Ok(Place { store: Arc::new(store), reach: Reach::Machine, folder })
}

#[cfg(not(feature = "local"))]
fn folder(location: &str, _options: &[(String, String)], _existing: bool) -> Result<Place> {
    Err(Error::unsupported(format!(
        "`{}` is a folder: build mlops-registry with its feature `local`",
        shown(location)
    )))
}

/// A location as messages show it: of a URL, whether or not it parses, nothing that may be secret.
pub(crate) fn shown(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once(':') else { return location.to_owned() };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    let host = plain.trim_start_matches('/').split('/').next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit());
    // A password may hold any sign, as `/` or `?`; where its `@` is missing it looks like a port.
    if rest.contains('@') || host.split_once(':').is_some_and(|(_, port)| !is_port(port)) {
        format!("{scheme}:...")
    } else if plain == rest {
        location.to_owned()
    } else {
        format!("{scheme}:{plain}?...")
    }
}

fn no_options(location: &str, options: &[(String, String)]) -> Result<()> {
    match options.first() {
        None => Ok(()),
        Some((key, _)) => Err(Error::invalid(format!("`{}` takes no options, got `{key}`", shown(location)))),
    }
}

fn unknown(location: &str) -> Error {
    Error::invalid(format!(
        "`{}` is no registry: want a folder, `memory:`, `sqlite:path`, `postgres://user@host/database`, \
         `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`",
        shown(location)
    ))
}

/// What a store's error means for the caller.
#[cold]
pub(crate) fn failed(verb: &str, path: &Path, error: object_store::Error) -> Error {
    let what = format!("cannot {verb} `{path}` of the registry");
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(found) = found.downcast_ref::<io::Error>()
            && is_of_disk(found.kind())
        {
            return io_failed(found, &what).with_source(error);
        }
        cause = found.source();
    }
    use object_store::Error as Cause;
    let (kind, way_out) = match &error {
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
            (ErrorKind::Unsupported, "the credentials do not allow it; give them the right or take others")
        }
        Cause::NotFound { .. } => (ErrorKind::Data, "it is gone; restore it from a backup"),
        Cause::InvalidPath { .. } => (ErrorKind::Invalid, "fix its location"),
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the store cannot do it; use another store")
        }
        _ => (ErrorKind::Unavailable, "the store does not answer; try again later"),
    };
    Error::new(kind, format!("{what}: {way_out}")).with_source(error)
}

/// Whether it is a disk that fails, and not a network or something that is not there.
fn is_of_disk(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::FileTooLarge
            | Kind::NotADirectory
            | Kind::IsADirectory
    )
}

/// What an error of the file system means for the caller.
#[cold]
pub(crate) fn io_failed(error: &io::Error, what: &str) -> Error {
    let (kind, way_out) = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::Unsupported, "no permission; give this user the right to it")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::Unsupported, "the file system is read-only; use another one")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, "the disk is full; free some space and run again")
        }
        io::ErrorKind::FileTooLarge => (
            ErrorKind::Unavailable,
            "the file is over the limit of this process or file system; raise it and run again",
        ),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            (ErrorKind::Invalid, "a file stands where a folder is needed; choose another place")
        }
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
            (ErrorKind::Invalid, "a folder stands where a file is needed; choose another place")
        }
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "it does not exist"),
        _ => (ErrorKind::Unavailable, "the disk does not answer as it should; look at the cause"),
    };
    Error::new(kind, format!("{what}: {way_out}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_shows_what_may_be_secret() {
        for (location, want) in [
            ("s3://bucket/models", "s3://bucket/models"),
            ("http://localhost:9000/models", "http://localhost:9000/models"),
            ("s3://bucket/models?sig=hunter2", "s3://bucket/models?..."),
            ("s3://bucket/models#hunter2", "s3://bucket/models?..."),
            ("postgre://ann:hunter2@host/db", "postgre:..."),
            ("postgre://ann:hun/ter2@host/db", "postgre:..."),
            ("postgre://ann:hun?ter2@host/db", "postgre:..."),
            ("postgre:ann:hunter2@host/db", "postgre:..."),
            ("postgre://ann:hunter2/db", "postgre:..."),
            ("ftp", "ftp"),
        ] {
            assert_eq!(shown(location), want);
            let Err(error) = open(&location.replace("s3:", "s4:"), &[], true) else { panic!("{location}") };
            assert!(!format!("{error:#}{error:?}").contains("ter2"), "{location}: {error:#}");
        }
    }

    #[test]
    fn what_resembles_an_address_shows_no_secret_either() {
        use crate::builder::Builder;
        use futures_util::FutureExt as _;
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("registry.db").display());
        if cfg!(feature = "sqlite") {
            Builder::new().open(&database).now_or_never().unwrap().unwrap();
        }
        for scheme in ["sqlite", "my_pg", "file", "memory"] {
            for rest in ["//ann:hunter2@host/db", "//ann:hunter2/db", "//ann@hunter2", "//host/%?key=hunter2"]
            {
                let location = format!("{scheme}:{rest}");
                let builder = || Builder::new().existing();
                for (builder, location) in [
                    (builder(), &*location),
                    (builder().option("x", "y"), &*location),
                    (builder().artifacts(&location), &*database),
                ] {
                    let shown = format!("{builder:?}");
                    let error = builder.open(location).now_or_never().unwrap().unwrap_err();
                    let told = format!("{shown} {error:#} {error:?}");
                    assert!(!told.contains("hunter2"), "{told}");
                }
            }
        }
    }
}
