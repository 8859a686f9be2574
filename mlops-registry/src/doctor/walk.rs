//! The whole log, and whether what else claims to be its sum is.

use std::time::Duration;

use bytes::Bytes;
use mlops_core::{Result, Severity, Timestamp};

use super::{Checkup, Report};
use crate::blocking::Registry;
use crate::state::checkpoint;
use crate::{Commit, Snapshot};

/// The clocks of the commits: the latest time so far, and what came after it with an earlier one.
struct Clocks {
    latest: (Timestamp, u64),
    behind: u64,
}

impl Registry {
    /// The state that the log adds up to, as far as it is whole.
    pub(super) fn walk(&self, checkup: Checkup, report: &mut Report) -> Result<Snapshot> {
        let log = self.registry().log();
        // What is compared with the log is taken before the log is read, which others go on to write.
        let used = self.snapshot();
        let mut checkpoints = Vec::new();
        while let Some((sequence, bytes)) =
            self.wait(log.checkpoint(checkpoints.last().map_or(u64::MAX, |(sequence, _)| *sequence)))?
        {
            checkpoints.push((sequence, bytes));
        }
        let mut state = Snapshot::default();
        let mut clocks = Clocks { latest: (Timestamp::from_micros(i64::MIN), 0), behind: 0 };
        let mut repaired = false;
        'log: loop {
            let next = state.sequence() + 1;
            let entries = match self.wait(log.read(next, ENTRIES_AT_ONCE)) {
                Ok(entries) => entries,
                Err(error) if report.commits == 0 => return Err(error),
                Err(error) => {
                    report.add(Severity::Critical, format!("log entry {next} cannot be read: {error:#}"));
                    break;
                }
            };
            if entries.is_empty() && !self.is_cut(next, report)? {
                break;
            }
            if entries.is_empty() {
                continue;
            }
            let start = state.clone();
            for (index, entry) in entries.iter().enumerate() {
                if let Err(error) = take(&mut state, &mut clocks, entry) {
                    report.add(Severity::Critical, format!("{error:#}"));
                    // An error may leave a state half changed: go back to the last whole one.
                    state = start;
                    entries[..index].iter().try_for_each(|entry| take(&mut state, &mut clocks, entry))?;
                    break 'log;
                }
                report.commits += 1;
                if used.sequence() == state.sequence() && *used != state {
                    report.add(
                        Severity::Critical,
                        format!(
                            "the state in use after {} commits is not what the log adds up to: a checkpoint or the log \
                             was forged; open again once the checkpoints are repaired",
                            state.sequence()
                        ),
                    );
                }
                if let Some((sequence, bytes)) = checkpoints.iter().find(|(at, _)| *at == state.sequence()) {
                    repaired |= self.check_checkpoint(*sequence, bytes, &state, checkup, report)?;
                }
            }
        }
        if repaired {
            self.wait(log.save_checkpoint(state.sequence(), checkpoint::encode(&state)?.into()))?;
        }
        self.check_end(&state, &used, checkpoints.first().map(|(sequence, _)| *sequence), report);
        if clocks.behind > 0 {
            let (time, sequence) = clocks.latest;
            report.add(
                Severity::Info,
                format!(
                    "commit {sequence} bears the time {time}, and {} commits after it an earlier one by over a day: a \
                     clock was wrong; ask what served by `At::Sequence` around there",
                    clocks.behind
                ),
            );
        }
        Ok(state)
    }

    /// Compares a checkpoint with the state at its place; tells whether it was written anew.
    fn check_checkpoint(
        &self,
        sequence: u64,
        bytes: &[u8],
        state: &Snapshot,
        checkup: Checkup,
        report: &mut Report,
    ) -> Result<bool> {
        let finding = match checkpoint::decode(sequence, bytes) {
            Some(found) if found == *state => return Ok(false),
            Some(_) => report.add(
                Severity::Critical,
                format!(
                    "checkpoint {sequence} is not what the log adds up to: it was forged, or belongs to another log; \
                     who opened the registry by it is misled"
                ),
            ),
            None => report.add(
                Severity::Warning,
                format!("checkpoint {sequence} is torn, altered or of another format: opening takes longer"),
            ),
        };
        if checkup.repair {
            let bytes = checkpoint::encode(state)?;
            self.wait(self.registry().log().save_checkpoint(sequence, bytes.into()))?;
            finding.repaired = true;
        }
        Ok(checkup.repair)
    }

    /// Whether to go on reading at an entry that was not there: it has come since. Else a later one tells that it
    /// is gone.
    fn is_cut(&self, next: u64, report: &mut Report) -> Result<bool> {
        let log = self.registry().log();
        for ahead in 1..GAP_MAX {
            let sequence = next + ahead;
            if self.wait(log.read(sequence, 1))?.is_empty() {
                continue;
            }
            if !self.wait(log.read(next, 1))?.is_empty() {
                return Ok(true);
            }
            report.add(
                Severity::Critical,
                format!(
                    "log entry {next} is gone, though entry {sequence} exists: restore it from a backup, and commit nothing before"
                ),
            );
            break;
        }
        Ok(false)
    }

    fn check_end(&self, state: &Snapshot, used: &Snapshot, checkpoint: Option<u64>, report: &mut Report) {
        let found = state.sequence();
        if used.sequence() > found {
            report.add(
                Severity::Critical,
                format!(
                    "this process saw {} commits, the log has {found} whole ones: it was cut off or damaged behind our back",
                    used.sequence()
                ),
            );
        } else if let Some(sequence) = checkpoint.filter(|sequence| *sequence > found) {
            report.add(
                Severity::Critical,
                format!(
                    "there is a checkpoint after {sequence} commits, but the log has {found} whole ones: entries are lost; restore them from a backup"
                ),
            );
        }
    }
}

/// Adds one entry to the state.
fn take(state: &mut Snapshot, clocks: &mut Clocks, entry: &Bytes) -> Result<()> {
    let (commit, digest) = Commit::decode(state.sequence() + 1, entry)?;
    state.apply(&commit, digest)?;
    if commit.time >= clocks.latest.0 {
        *clocks = Clocks { latest: (commit.time, commit.sequence), behind: 0 };
    } else if commit.time.saturating_add(DAY) < clocks.latest.0 {
        clocks.behind += 1;
    }
    Ok(())
}

const ENTRIES_AT_ONCE: usize = 256;
const DAY: Duration = Duration::from_secs(86_400);
/// How far after the end of the log an entry is looked for: its own gap hides it from every reader.
const GAP_MAX: u64 = 16;
