//! Files of versions on a local disk: downloads that resume, and a bounded cache that processes share.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;
use mlops_core::{Digest, Digester, Error, Result, Timestamp};

use crate::blobs::Blobs;
use crate::store::io_failed;
use crate::{FileRecord, UploadId};

/// A folder of files by digest, bounded in size, shared by any number of processes.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
}

impl Cache {
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| failed("create", folder, error))?;
        Ok(Self { folder: folder.to_owned(), bytes_max })
    }

    /// The place of a file whose bytes were checked just now; fetches it if need be.
    pub(crate) async fn file(
        &self,
        blobs: &Blobs,
        file: &FileRecord,
        now: Timestamp,
        fresh: UploadId,
    ) -> Result<PathBuf> {
        let path = self.folder.join(file.sha256.to_string());
        match digest(&path) {
            Ok(Some(found)) if found == file.sha256 => {
                touch(&path, now);
                return Ok(path);
            }
            Ok(Some(_)) => fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?,
            Ok(None) => {}
            Err(error) => return Err(failed("read", &path, error)),
        }
        download(blobs, file, &path, fresh).await?;
        touch(&path, now);
        Ok(path)
    }

    /// Removes what was not used for longest until the rest fits; never what is to be kept.
    pub(crate) fn evict(&self, keep: &[Digest]) -> Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| failed("read", &self.folder, error))? {
            let entry = entry.map_err(|error| failed("read", &self.folder, error))?;
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            let kept =
                name.to_str().and_then(|name| name.parse().ok()).is_some_and(|digest| keep.contains(&digest));
            if metadata.is_file() {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((kept, used, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, _, bytes, _)| bytes).sum();
        for (kept, _, bytes, path) in files {
            if kept || total <= self.bytes_max {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => total -= bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => total -= bytes,
                Err(error) => return Err(failed("remove", &path, error)),
            }
        }
        Ok(())
    }
}

/// Brings the bytes of a file to a place that shows them only when their digest was checked.
///
/// They gather in `<place>.part`; the next try goes on where this one ended. A second process that is at it at
/// the same time gathers its own.
pub(crate) async fn download(blobs: &Blobs, file: &FileRecord, place: &Path, fresh: UploadId) -> Result<()> {
    let part_path = with_suffix(place, ".part");
    let open = |path: &Path| {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        file.map_err(|error| failed("write", path, error))
    };
    let (mut part_path, mut part) = (part_path.clone(), open(&part_path)?);
    if part.try_lock().is_err() {
        part_path = with_suffix(place, &format!(".{fresh}.part"));
        part = open(&part_path)?;
    }
    let failed = |error| failed("write", &part_path, error);
    let mut digester = Digester::new();
    let mut length = part.metadata().map_err(failed)?.len();
    if length > file.size_bytes {
        part.set_len(0).map_err(failed)?;
        length = 0;
    }
    io::copy(&mut BufReader::new(&part).take(length), &mut digester).map_err(failed)?;
    part.seek(io::SeekFrom::Start(length)).map_err(failed)?;
    if length < file.size_bytes {
        let mut stream = std::pin::pin!(blobs.stream(file, length).await?);
        while let Some(bytes) = stream.try_next().await? {
            digester.update(&bytes);
            part.write_all(&bytes).map_err(failed)?;
        }
    }
    let found = digester.finish();
    if found != file.sha256 {
        // What was gathered is of no use to a next try.
        fs::remove_file(&part_path).map_err(failed)?;
        return Err(Error::data(format!(
            "the bytes for `{}` have digest {}, registered was {}: fetch again, and if it stays so restore them from a backup",
            place.display(),
            found.short(),
            file.sha256.short()
        )));
    }
    part.sync_all().map_err(failed)?;
    fs::rename(&part_path, place).map_err(failed)
}

/// The digest of a local file; `None` if there is none.
fn digest(path: &Path) -> io::Result<Option<Digest>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut digester = Digester::new();
    io::copy(&mut BufReader::with_capacity(1 << 20, file), &mut digester)?;
    Ok(Some(digester.finish()))
}

/// Notes that a file was used. That it may fail, on a disk that is full, costs an early eviction at most.
fn touch(path: &Path, now: Timestamp) {
    let since = Duration::from_micros(u64::try_from(now.as_micros()).unwrap_or(0));
    let _ = File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + since));
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cold]
fn failed(verb: &str, path: &Path, error: io::Error) -> Error {
    io_failed(&error, &format!("cannot {verb} `{}`", path.display())).with_source(error)
}

/// Makes the folders of a relative name below a folder, and gives the place; no link is followed on the way.
pub(crate) fn place(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut place = folder.to_owned();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        place.push(part);
        if place.is_symlink() {
            return Err(Error::invalid(format!(
                "`{}` is a link: files of a model are not written through links; remove it",
                place.display()
            )));
        }
        if parts.peek().is_some() && !place.is_dir() {
            fs::create_dir(&place).map_err(|error| failed("create", &place, error))?;
        }
    }
    Ok(place)
}
