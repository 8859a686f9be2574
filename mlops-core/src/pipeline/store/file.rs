//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

#[cold]
pub(super) fn failed(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {verb} `{}`", path.display())).with_source(error)
}

/// Makes a folder, if there is none, whose name survives a crash of the machine if that is asked for.
pub(super) fn create_dir(path: &Path, durable: bool) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| failed("make", path, error))?;
    if durable { sync_folder(path) } else { Ok(()) }
}

/// The bytes of a file, or nothing if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Writes a file in one step: readers see the old one or the new one.
pub(super) fn write(tmp: &Path, path: &Path, parts: &[&[u8]], durable: bool) -> Result<()> {
    let draft = draft(tmp, parts, durable)?;
    fs::rename(&draft, path).map_err(|error| failed("write", path, error))?;
    if durable { sync_folder(path) } else { Ok(()) }
}

/// Writes a file that must not exist; false if it does.
pub(super) fn write_new(tmp: &Path, path: &Path, bytes: &[u8], durable: bool) -> Result<bool> {
    if let Some(folder) = path.parent() {
        create_dir(folder, durable)?;
    }
    let draft = draft(tmp, &[bytes], durable)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(|error| failed("remove", &draft, error))?;
    match linked {
        Ok(()) if durable => sync_folder(path).map(|()| true),
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed("write", path, error)),
    }
}

/// Makes the names in the folder of this file survive a crash of the machine.
#[cfg(unix)]
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("sync", folder, error))
}

/// Other systems offer no such call; a rename there is as durable as the file system makes it.
#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> Result<()> {
    Ok(())
}

/// A file with a name that no process uses: in containers that share a folder, all have the same process id.
fn draft(tmp: &Path, parts: &[&[u8]], durable: bool) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (path, mut file) = loop {
        let path = tmp.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        match File::create_new(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("make", &path, error)),
        }
    };
    let mut fill = || {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        if durable { file.sync_data() } else { Ok(()) }
    };
    let filled = fill();
    filled.map_err(|error| {
        // The draft is of no use; the error that made it so is what people must see.
        let _ = fs::remove_file(&path);
        failed("write", &path, error)
    })?;
    Ok(path)
}
