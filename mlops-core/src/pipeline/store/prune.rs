//! Making room.

use std::collections::HashSet;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::journal::Entry;
use super::{Store, StoredResult, file};
use crate::run::RunStatus;
use crate::{ErrorKind, Result, Timestamp};

/// What [`Store::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// How many results and unfinished files.
    pub files: usize,
    /// How many bytes they had.
    pub bytes: u64,
}

impl Store {
    /// Removes results that were computed before this time, and unfinished files of killed processes from before it.
    ///
    /// Kept are the last result of each step, and all that a run needs which can still go on: one that is suspended,
    /// failed, cancelled or was interrupted. The records and journals of runs stay. What was removed is computed anew
    /// when it is needed; only a run that ended cannot be run again under its id, if it has an
    /// [`always`](crate::pipeline::Step::always) step. Other processes may use the store meanwhile.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read or written, `Data` if a journal is damaged.
    pub fn prune(&self, before: Timestamp) -> Result<Pruned> {
        let mut kept = self.needed_by_runs()?;
        for pointer in list(&self.root.join("latest"))? {
            kept.extend(file::read(&pointer)?.and_then(|id| String::from_utf8(id).ok()));
        }
        let mut pruned = Pruned::default();
        for folder in list(&self.root.join("results"))? {
            for path in list(&folder)? {
                let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let id = name(&folder).zip(name(&path)).map(|(head, tail)| head + &tail);
                if id.is_none_or(|id| !kept.contains(&id)) && computed_before(&path, before) {
                    pruned.remove(&path)?;
                }
            }
        }
        let before = u64::try_from(before.as_micros()).unwrap_or(0);
        let before = UNIX_EPOCH + Duration::from_micros(before);
        for draft in list(&self.tmp())? {
            let modified = fs::metadata(&draft).and_then(|draft| draft.modified());
            if modified.is_ok_and(|modified| modified < before) {
                pruned.remove(&draft)?;
            }
        }
        Ok(pruned)
    }

    /// The ids of results in the journals of runs that can still go on.
    fn needed_by_runs(&self) -> Result<HashSet<String>> {
        let mut needed = HashSet::new();
        for folder in list(&self.root.join("runs"))? {
            let Some(run) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            let ended = match self.run(run) {
                Ok(record) => matches!(
                    record.status,
                    RunStatus::Completed
                        | RunStatus::Stopped { .. }
                        | RunStatus::Rejected { .. }
                        | RunStatus::Expired { .. }
                ),
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                // None yet, or one that tells nothing.
                Err(_) => false,
            };
            if ended {
                continue;
            }
            needed.extend(self.read_journal(run)?.into_iter().filter_map(|entry| match entry {
                Entry::Committed(done) => Some(done.result.to_string()),
                Entry::Started(_) => None,
            }));
        }
        Ok(needed)
    }
}

impl Pruned {
    fn remove(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::metadata(path).map_or(0, |file| file.len());
        match fs::remove_file(path) {
            Ok(()) => {
                self.files += 1;
                self.bytes += bytes;
                Ok(())
            }
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(file::failed("remove", path, error)),
        }
    }
}

/// A file that does not tell its time is left alone.
fn computed_before(path: &Path, time: Timestamp) -> bool {
    let Ok(file) = fs::File::open(path) else { return false };
    StoredResult::read_header(&mut BufReader::new(file)).is_ok_and(|header| header.created < time)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| file::failed("list", folder, error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(|error| file::failed("list", folder, error))
}
