//! Finds out what a storage really promises and whether anything is damaged, and repairs what can be.
//!
//! ```
//! use mlops_registry::doctor::Checkup;
//! use mlops_registry::{Draft, NewVersion, blocking::Registry};
//!
//! let registry = Registry::open("memory:")?;
//! registry.commit(Draft::new("ann", "first").register(NewVersion::new("shop").file("model.bin", "weights")))?;
//! let report = registry.doctor(Checkup::default())?;
//! assert!(report.is_healthy(), "{report}");
//! assert_eq!((report.commits, report.files), (1, 1));
//! # Ok::<(), mlops_core::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Barrier;

use bytes::Bytes;
use mlops_core::{Digest, Error, ErrorKind, ModelFile, Result, Severity};

use crate::blocking::Registry;
use crate::log::{Appended, Log};
use crate::state::checkpoint;
use crate::{Commit, FileRecord, Snapshot};

/// What to look at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Checkup {
    /// How many races to hold on a scratch log, to see whether the storage keeps its promises. A store that
    /// loses one race in ten is caught by 60 races but for a chance of 2 in 1000.
    pub races: u32,
    /// How many writers race.
    pub writers: u32,
    /// Whether to read every byte of every file.
    pub digests: bool,
    /// Whether to repair what can be repaired.
    pub repair: bool,
}

impl Default for Checkup {
    /// 60 races of 4 writers, all digests, no repairs.
    fn default() -> Self {
        Self { races: 60, writers: 4, digests: true, repair: false }
    }
}

impl Checkup {
    /// Looks and repairs.
    #[must_use]
    pub fn repair(mut self) -> Self {
        self.repair = true;
        self
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// How many commits of the log are whole.
    pub commits: u64,
    /// How many different files were looked at.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// `Critical` if something is lost or may be, `Warning` if it costs time or space, `Info` otherwise.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// Whether it was repaired.
    pub repaired: bool,
}

impl Report {
    /// Whether nothing is wrong that is more than information and was not repaired.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.repaired || finding.severity == Severity::Info)
    }

    fn add(&mut self, severity: Severity, what: impl Into<String>) -> &mut Finding {
        self.findings.push(Finding { severity, what: what.into(), repaired: false });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commits, {} files, {} bytes", self.commits, self.files, self.bytes)?;
        for Finding { severity, what, repaired } in &self.findings {
            write!(f, "\n{severity}: {what}{}", if *repaired { " (repaired)" } else { "" })?;
        }
        Ok(())
    }
}

impl Registry {
    /// Examines the registry and its storage.
    ///
    /// Races writers on a scratch log; walks the whole log and its chain; compares the state in use with what
    /// the log adds up to; reads every file. With `repair` it writes a lost checkpoint anew and brings damaged
    /// files back from another whole upload of the same bytes. What cannot be repaired is said.
    ///
    /// # Errors
    /// `Unavailable` if the storage is out of reach. Damage is no error but a finding.
    pub fn doctor(&self, checkup: Checkup) -> Result<Report> {
        let mut report = Report::default();
        if checkup.races > 0 {
            self.probe(checkup, &mut report)?;
        }
        let state = self.walk(&mut report)?;
        self.check_state(&state, checkup, &mut report)?;
        self.check_files(&state, checkup, &mut report)?;
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }

    /// Whether the storage keeps what its capabilities promise.
    fn probe(&self, checkup: Checkup, report: &mut Report) -> Result<()> {
        let capabilities = self.registry().log().capabilities();
        if !capabilities.create_if_absent || !capabilities.read_after_write {
            report.add(Severity::Info, "the storage says that it can only be read");
            return Ok(());
        }
        let name = self.registry().fresh(&self.state())?.to_string();
        let scratch = self.registry().log().scratch(&name);
        let raced = self.race(&*scratch, checkup, report);
        let discarded = self.wait(scratch.discard());
        raced?;
        if let Err(error) = discarded {
            report.add(
                Severity::Warning,
                format!("the scratch log of the probe could not be removed: {error:#}"),
            );
        }
        Ok(())
    }

    fn race(&self, log: &dyn Log, checkup: Checkup, report: &mut Report) -> Result<()> {
        let writers = checkup.writers.max(2);
        let (mut doubled, mut lost, mut torn, mut overwritten) = (0, 0, 0, 0);
        for sequence in 1..=u64::from(checkup.races) {
            let entry = |writer: u32| Bytes::from(format!("{sequence} {writer} ").repeat(400));
            let barrier = Barrier::new(writers as usize);
            let answers: Vec<Result<Appended>> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..writers)
                    .map(|writer| {
                        let barrier = &barrier;
                        scope.spawn(move || {
                            barrier.wait();
                            self.wait(log.append(sequence, entry(writer)))
                        })
                    })
                    .collect();
                let gone = || Err(Error::internal("a thread of the probe panicked"));
                racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| gone())).collect()
            });
            if let Some(Err(error)) = answers
                .iter()
                .find(|answer| answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported))
            {
                report.add(Severity::Critical, format!("the storage cannot be written: {error:#}"));
                return Ok(());
            }
            let winners: Vec<u32> = (0..)
                .zip(&answers)
                .filter(|(_, answer)| matches!(answer, Ok(Appended::Created)))
                .map(|(w, _)| w)
                .collect();
            doubled += u32::from(winners.len() > 1);
            let read = || Ok::<_, Error>(self.wait(log.read(sequence, 1))?.pop());
            match read()? {
                None => lost += 1,
                Some(found) => {
                    torn += u32::from((0..writers).all(|writer| entry(writer) != found));
                    lost += u32::from(winners.len() == 1 && entry(winners[0]) != found);
                    // Whoever comes late is turned away, and what is there stays.
                    let late = self.wait(log.append(sequence, entry(writers)));
                    overwritten +=
                        u32::from(matches!(late, Ok(Appended::Created)) || read()?.as_ref() != Some(&found));
                }
            }
        }
        let races = checkup.races;
        for (count, what) in [
            (doubled, "two writers were told that they had created the same entry"),
            (lost, "an entry that was created was not there afterwards"),
            (torn, "an entry was a mixture or a part of what was written"),
            (overwritten, "an entry that existed was overwritten"),
        ] {
            if count > 0 {
                report.add(
                    Severity::Critical,
                    format!(
                        "the storage lies: in {count} of {races} races {what}; do not keep a registry on it"
                    ),
                );
            }
        }
        Ok(())
    }

    /// The state that the log adds up to, as far as it is whole.
    fn walk(&self, report: &mut Report) -> Result<Snapshot> {
        let log = self.registry().log();
        let mut state = Snapshot::default();
        loop {
            let entries = self.wait(log.read(state.sequence() + 1, 256))?;
            if entries.is_empty() {
                break;
            }
            let start = state.clone();
            let apply = |state: &mut Snapshot, entry: &Bytes| {
                let (commit, digest) = Commit::decode(state.sequence() + 1, entry)?;
                state.apply(&commit, digest)
            };
            for (index, entry) in entries.iter().enumerate() {
                if let Err(error) = apply(&mut state, entry) {
                    report.add(Severity::Critical, format!("{error:#}"));
                    // An error may leave a state half changed: go back to the last whole one.
                    state = start;
                    return entries[..index]
                        .iter()
                        .try_for_each(|entry| apply(&mut state, entry))
                        .map(|()| state);
                }
                report.commits += 1;
            }
        }
        for ahead in 2..=GAP_MAX {
            let sequence = state.sequence() + ahead;
            if !self.wait(log.read(sequence, 1))?.is_empty() {
                report.add(
                    Severity::Critical,
                    format!(
                        "log entry {} is gone, though entry {sequence} exists: restore it from a backup, and commit nothing before",
                        state.sequence() + 1
                    ),
                );
                break;
            }
        }
        Ok(state)
    }

    fn check_state(&self, state: &Snapshot, checkup: Checkup, report: &mut Report) -> Result<()> {
        let used = self.snapshot();
        if used.sequence() > state.sequence() {
            report.add(
                Severity::Critical,
                format!(
                    "this process saw {} commits, the log has {} whole ones: it was cut off or damaged behind our back",
                    used.sequence(),
                    state.sequence()
                ),
            );
            return Ok(());
        }
        if used.sequence() == state.sequence() && *used != *state {
            report.add(
                Severity::Critical,
                "the state in use is not what the log adds up to: a checkpoint was forged; remove the checkpoints and open again",
            );
        }
        let log = self.registry().log();
        let Some((sequence, bytes)) = self.wait(log.checkpoint(u64::MAX))? else { return Ok(()) };
        if sequence > state.sequence() {
            report.add(
                Severity::Critical,
                format!(
                    "there is a checkpoint after {sequence} commits, but the log has {} whole ones: entries are lost; restore them from a backup",
                    state.sequence()
                ),
            );
        } else if checkpoint::decode(sequence, &bytes).is_none() {
            let finding = report.add(
                Severity::Warning,
                format!("checkpoint {sequence} is torn, altered or of another format: opening takes longer"),
            );
            if checkup.repair {
                self.wait(log.save_checkpoint(state.sequence(), checkpoint::encode(state)?.into()))?;
                finding.repaired = true;
            }
        }
        Ok(())
    }

    fn check_files(&self, state: &Snapshot, checkup: Checkup, report: &mut Report) -> Result<()> {
        let blobs = self.registry().blobs();
        let mut uploads: BTreeMap<Digest, BTreeMap<_, u64>> = BTreeMap::new();
        for (sha256, upload, size_bytes) in self.wait(blobs.list())? {
            uploads.entry(sha256).or_default().insert(upload, size_bytes);
        }
        let mut seen = BTreeSet::new();
        let versions =
            || state.models().flat_map(|model| &model.versions).filter(|version| version.purged.is_none());
        for version in versions() {
            for (name, file) in &version.record.files {
                if !seen.insert(file.sha256) {
                    continue;
                }
                report.files += 1;
                report.bytes += file.size_bytes;
                let size = uploads.get(&file.sha256).and_then(|uploads| uploads.get(&file.upload));
                let fault = match size {
                    None => Some("it is gone".to_owned()),
                    Some(size) if *size != file.size_bytes => Some(format!("it has {size} bytes")),
                    Some(_) if checkup.digests => {
                        self.wait(blobs.fault(file))?.map(|error| error.to_string())
                    }
                    Some(_) => None,
                };
                let Some(fault) = fault else { continue };
                let repaired = checkup.repair && self.restore(file, uploads.get(&file.sha256))?;
                let id = version.id();
                let way_out = if repaired {
                    ""
                } else {
                    "; register the same bytes again or restore them from a backup"
                };
                report
                    .add(Severity::Critical, format!("file `{name}` of {id} is damaged ({fault}){way_out}"))
                    .repaired = repaired;
            }
        }
        let orphans = uploads
            .iter()
            .flat_map(|(sha256, uploads)| uploads.iter().map(move |(id, size)| (sha256, id, size)));
        let orphans: Vec<u64> = orphans
            .filter(|(sha256, id, _)| state.upload(sha256) != Some(**id))
            .map(|(_, _, size)| *size)
            .collect();
        if !orphans.is_empty() {
            let (count, bytes) = (orphans.len(), orphans.iter().sum::<u64>());
            report.add(
                Severity::Info,
                format!("{count} uploads with {bytes} bytes belong to no version: sweep them"),
            );
        }
        Ok(())
    }

    /// Brings a damaged file back from another whole upload of the same bytes.
    fn restore(&self, file: &FileRecord, uploads: Option<&BTreeMap<crate::UploadId, u64>>) -> Result<bool> {
        let blobs = self.registry().blobs();
        for upload in uploads.into_iter().flat_map(BTreeMap::keys).filter(|upload| **upload != file.upload) {
            let other = FileRecord { upload: *upload, ..file.clone() };
            if let Ok(bytes) = self.wait(blobs.get(&other)) {
                self.wait(blobs.put(file.sha256, file.upload, &ModelFile::Bytes(bytes)))?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How far after the end of the log an entry is looked for: its own gap hides it from every reader.
const GAP_MAX: u64 = 16;
