//! Files of versions on their way to a local disk: downloads that resume.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use mlops_core::{Digest, Digester, Error, Result};

use crate::blobs::Blobs;
use crate::name::PART_PREFIX;
use crate::store::io_failed;
use crate::{FileRecord, UploadId};

/// Brings the bytes of a file to a place below a folder that shows them only when their digest was checked.
///
/// They gather in the folder as `.mlops-part-<digest>`; the next try goes on where this one ended. A second process
/// that is at it at the same time gathers its own.
pub(crate) async fn download(
    blobs: &Blobs,
    file: &FileRecord,
    folder: &Path,
    place: &Path,
    fresh: UploadId,
) -> Result<()> {
    if digest(place).map_err(|error| failed("read", place, error))? == Some(file.sha256) {
        return Ok(());
    }
    let shared = folder.join(format!("{PART_PREFIX}{}", file.sha256));
    let (path, mut part) = match claim(&shared)? {
        Some(part) => (shared, part),
        None => {
            let own = folder.join(format!("{PART_PREFIX}{}-{fresh}", file.sha256));
            let part = claim(&own)?.ok_or_else(|| {
                Error::unavailable(format!("another process holds `{}`: try again", own.display()))
            })?;
            (own, part)
        }
    };
    let mut found = fill(blobs, file, &path, &mut part).await?;
    if found.resumed && found.digest != file.sha256 {
        // What was there were other bytes, or they did not reach the disk before a power cut.
        part.set_len(0).map_err(|error| failed("write", &path, error))?;
        found = fill(blobs, file, &path, &mut part).await?;
    }
    if found.digest != file.sha256 {
        fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
        return Err(Error::data(format!(
            "the bytes for `{}` have digest {}, registered was {}: bring them back by `Registry::mend`",
            place.display(),
            found.digest.short(),
            file.sha256.short()
        )));
    }
    part.sync_all().map_err(|error| failed("write", &path, error))?;
    publish(&path, place, folder, file)?;
    sync_folder(place).map_err(|error| failed("write", place, error))
}

/// Shows a part under its name, unless another process did so meanwhile: what it shows may be in use already.
fn publish(part: &Path, place: &Path, folder: &Path, file: &FileRecord) -> Result<()> {
    let _turn = Turn::wait(folder, &file.sha256)?;
    let cannot = |error| failed("write", place, error);
    let is_as_long = fs::metadata(place).is_ok_and(|found| found.len() == file.size_bytes);
    if is_as_long && digest(place).map_err(cannot)? == Some(file.sha256) {
        return fs::remove_file(part).map_err(|error| failed("remove", part, error));
    }
    fs::rename(part, place).map_err(cannot)
}

/// The right to show or remove the file of a digest, which one process has at a time. No network call is made with it.
pub(crate) struct Turn {
    path: PathBuf,
    _lock: File,
}

impl Turn {
    pub(crate) fn wait(folder: &Path, sha256: &Digest) -> Result<Self> {
        let path = folder.join(format!("{PART_PREFIX}{sha256}-turn"));
        let lock = open_locked(&path, File::lock)?.ok_or_else(|| {
            Error::unsupported(format!(
                "`{}` cannot be locked: take a folder whose files can",
                path.display()
            ))
        })?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever waits for it sees that it is gone once it has the lock. One that stays is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

struct Filled {
    digest: Digest,
    /// Whether some bytes had been there before.
    resumed: bool,
}

/// Adds to a part what it lacks.
async fn fill(blobs: &Blobs, file: &FileRecord, path: &Path, part: &mut File) -> Result<Filled> {
    let failed = |error| failed("write", path, error);
    let mut digester = Digester::new();
    let mut length = part.metadata().map_err(failed)?.len();
    if length > file.size_bytes {
        part.set_len(0).map_err(failed)?;
        length = 0;
    }
    part.rewind().map_err(failed)?;
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, &*part), &mut digester).map_err(failed)?;
    part.seek(io::SeekFrom::Start(length)).map_err(failed)?;
    if length < file.size_bytes {
        let mut stream = std::pin::pin!(blobs.stream(file, length).await?);
        while let Some(bytes) = stream.try_next().await? {
            digester.update(&bytes);
            part.write_all(&bytes).map_err(failed)?;
        }
    }
    Ok(Filled { digest: digester.finish(), resumed: length > 0 })
}

/// Opens a part for this process alone, and makes it if there is none; `None` if another process has it.
fn claim(path: &Path) -> Result<Option<File>> {
    open_locked(path, |part| part.try_lock().map_err(io::Error::from))
}

/// Opens a file of the folder, made if there is none, and locks it; `None` if it cannot be locked.
fn open_locked(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<Option<File>> {
    let cannot = |error| failed("write", path, error);
    loop {
        let mut options = OpenOptions::new();
        let part = match options.read(true).write(true).create_new(true).open(path) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::symlink_metadata(path) {
                    Ok(found) if is_plain(&found) => {}
                    Ok(_) => return Err(is_link(path)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(cannot(error)),
                }
                match OpenOptions::new().read(true).write(true).open(path) {
                    Ok(part) => part,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(cannot(error)),
                }
            }
            Err(error) => return Err(cannot(error)),
        };
        if lock(&part).is_err() {
            return Ok(None);
        }
        // Before it was locked, another process may have published it under its name, or put a link there.
        if is_at(&part, path).map_err(cannot)? {
            return Ok(Some(part));
        }
    }
}

/// Whether an open file is what lies at a path, and no link.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(is_plain(&found) && is_same(&file.metadata()?, &found))
}

#[cfg(unix)]
fn is_plain(found: &fs::Metadata) -> bool {
    found.is_file() && std::os::unix::fs::MetadataExt::nlink(found) == 1
}

#[cfg(not(unix))]
fn is_plain(found: &fs::Metadata) -> bool {
    found.is_file()
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere an open file cannot be renamed or removed.
#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

/// Removes the parts in a folder that nobody works on: of versions that nobody fetches there any more.
pub(crate) fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_part = entry.file_name().to_str().is_some_and(|name| name.starts_with(PART_PREFIX));
        // Whoever opens it meanwhile sees that it is gone once it has the lock.
        if is_part && let Ok(Some(_claimed)) = claim(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The digest of a local file; `None` if there is none.
pub(crate) fn digest(path: &Path) -> io::Result<Option<Digest>> {
    match File::open(path) {
        Ok(file) => digest_of(&file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The digest of an open file from where it stands.
pub(crate) fn digest_of(file: &File) -> io::Result<Digest> {
    let mut digester = Digester::new();
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, file), &mut digester)?;
    Ok(digester.finish())
}

/// Forces the name of a file to the disk.
fn sync_folder(place: &Path) -> io::Result<()> {
    match place.parent() {
        // Only Unix can open a folder for that.
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Makes the folders of a relative name below a folder, and gives the place; no link is followed on the way.
pub(crate) fn place(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut place = folder.to_owned();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        place.push(part);
        if place.is_symlink() {
            return Err(is_link(&place));
        }
        if parts.peek().is_some() && !place.is_dir() {
            fs::create_dir(&place).map_err(|error| failed("create", &place, error))?;
        }
    }
    Ok(place)
}

#[cold]
fn is_link(path: &Path) -> Error {
    Error::invalid(format!(
        "`{}` is a link: files of a model are not written through links; remove it",
        path.display()
    ))
}

#[cold]
pub(crate) fn failed(verb: &str, path: &Path, error: io::Error) -> Error {
    io_failed(&error, &format!("cannot {verb} `{}`", path.display())).with_source(error)
}

const BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn what_another_shows_already_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (part, place) = (folder.path().join("part"), folder.path().join("place"));
        let file = FileRecord {
            sha256: Digest::of("bytes"),
            size_bytes: 5,
            format: Format::Other,
            upload: UploadId::default(),
        };
        let show = |bytes: &str| {
            fs::write(&part, bytes).unwrap();
            publish(&part, &place, folder.path(), &file).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "neither a part nor a turn stays");
        };
        show("bytes");
        let held = File::open(&place).unwrap();
        held.lock_shared().unwrap();
        show("bytes");
        assert!(is_at(&held, &place).unwrap(), "whoever has it keeps it");
        // Other bytes are.
        for other in ["other", "longer"] {
            fs::write(&place, other).unwrap();
            show("bytes");
            assert_eq!(fs::read(&place).unwrap(), b"bytes");
        }
    }
}
