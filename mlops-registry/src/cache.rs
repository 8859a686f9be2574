//! A bounded folder of files that processes share.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mlops_core::{Result, Timestamp};

use crate::blobs::Blobs;
use crate::download::{Turn, digest_of, download, failed, is_at};
use crate::name::PART_PREFIX;
use crate::{FileRecord, UploadId};

/// Files that are locked for reading: nobody removes them while this lives.
pub(crate) type Lease = Arc<Vec<Held>>;

/// A file that is locked for reading.
#[derive(Debug)]
pub(crate) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // To close it is not enough: a child that the host is starting holds it, too, until it runs its own program.
        let _ = self.0.unlock();
    }
}

/// A folder of files by digest, bounded in size, shared by any number of processes.
///
/// A file that is locked for reading is in use; only who can lock it alone may remove it.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// The files of the version of each model that this process fetched last, locked for reading; models by the names
    /// that they were made with.
    held: Arc<Mutex<HashMap<String, Lease>>>,
}

impl Cache {
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| failed("create", folder, error))?;
        Ok(Self { folder: folder.to_owned(), bytes_max, held: Arc::default() })
    }

    /// The place of a file whose bytes were checked just now, fetched if need be, and the lock that keeps it there.
    pub(crate) async fn file(
        &self,
        blobs: &Blobs,
        file: &FileRecord,
        now: Timestamp,
        fresh: UploadId,
    ) -> Result<(PathBuf, Held)> {
        let path = self.folder.join(file.sha256.to_string());
        loop {
            let found = match File::open(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    download(blobs, file, &self.folder, &path, fresh).await?;
                    continue;
                }
                Err(error) => return Err(failed("read", &path, error)),
            };
            let failed = |error| failed("read", &path, error);
            found.lock_shared().map_err(failed)?;
            let found = Held(found);
            // Another process may have removed it before it was locked.
            if !is_at(&found.0, &path).map_err(failed)? {
                continue;
            }
            if digest_of(&found.0).map_err(failed)? == file.sha256 {
                touch(&path, now);
                return Ok((path, found));
            }
            // Another process may have brought it anew.
            let _turn = Turn::wait(&self.folder, &file.sha256)?;
            if is_at(&found.0, &path).map_err(failed)? {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
    }

    /// Keeps the files of the version of a model that was fetched last.
    ///
    /// Gives the lease that keeps them for whoever has the package, whatever is fetched next.
    pub(crate) fn hold(&self, model: &str, files: Vec<Held>) -> Lease {
        let lease: Lease = Arc::new(files);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), lease.clone());
        lease
    }

    /// Removes what was not used for longest until the rest fits; never what some process holds.
    pub(crate) fn evict(&self) -> Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| failed("read", &self.folder, error))? {
            let entry = entry.map_err(|error| failed("read", &self.folder, error))?;
            if !entry.file_name().to_str().is_some_and(is_own) {
                continue;
            }
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((used, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.bytes_max {
                break;
            }
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_err() || !is_at(&file, &path).unwrap_or(false) {
                continue;
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

/// Whether a cache makes files of this name: `<digest>`, and on their way there `.mlops-part-<digest>[-<upload>]`.
/// Whatever else lies in the folder is not the cache's to remove.
fn is_own(name: &str) -> bool {
    let (name, is_part) = match name.strip_prefix(PART_PREFIX) {
        Some(name) => (name, true),
        None => (name, false),
    };
    let Some((digest, rest)) = name.split_at_checked(DIGEST_DIGITS) else { return false };
    let hexadecimal = digest.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    hexadecimal && (rest.is_empty() || is_part && rest.starts_with('-'))
}

/// Notes that a file was used. That it may fail, on a disk that is full, costs an early eviction at most.
fn touch(path: &Path, now: Timestamp) {
    let since = Duration::from_micros(u64::try_from(now.as_micros()).unwrap_or(0));
    let _ = File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + since));
}

const DIGEST_DIGITS: usize = 64;
