//! The whole log, and whether what else claims to be its sum is.

use std::time::Duration;

use bytes::Bytes;
use mlops_core::{Digest, ErrorKind, Result, Severity, Timestamp};

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
        'log: loop {
            let next = state.sequence() + 1;
            let entries = match self.wait(log.read(next, ENTRIES_AT_ONCE)) {
                Ok(entries) => entries,
                Err(error) if report.commits == 0 && error.kind() == ErrorKind::Unavailable => {
                    return Err(error);
                }
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
                let read = Commit::decode(state.sequence() + 1, entry);
                let checkpoint = checkpoints.iter().find(|(sequence, _)| *sequence == state.sequence());
                if let (Ok((commit, _)), Some((_, bytes))) = (&read, checkpoint) {
                    self.check_checkpoint(bytes, &state, commit, checkup, report)?;
                }
                let taken = read.and_then(|(commit, digest)| take(&mut state, &mut clocks, &commit, digest));
                if let Err(error) = taken {
                    report.add(Severity::Critical, format!("{error:#}"));
                    // An error may leave a state half changed: go back to the last whole one.
                    state = start;
                    for entry in &entries[..index] {
                        let (commit, digest) = Commit::decode(state.sequence() + 1, entry)?;
                        take(&mut state, &mut clocks, &commit, digest)?;
                    }
                    self.check_beyond(state.sequence() + 1, report)?;
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
            }
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

    /// Compares a checkpoint with the state at its place and with what the next commit says of it.
    fn check_checkpoint(
        &self,
        bytes: &Bytes,
        state: &Snapshot,
        next: &Commit,
        checkup: Checkup,
        report: &mut Report,
    ) -> Result<()> {
        let sequence = state.sequence();
        let found = checkpoint::decode(sequence, bytes);
        let believed = found.as_ref().is_some_and(|(_, sha256)| next.checkpoint == Some(*sha256));
        let finding = match (&found, next.checkpoint) {
            (Some((found, _)), _) if believed && found == state => return Ok(()),
            (Some(_), _) if believed => report.add(
                Severity::Critical,
                format!(
                    "checkpoint {sequence} is not what the log adds up to, though entry {} states its digest: `{}` \
                     forged it, or had a broken build; who opened the registry by it is misled",
                    next.sequence, next.actor.escape_debug()
                ),
            ),
            (_, None) => {
                report.add(
                    Severity::Info,
                    format!("checkpoint {sequence} is not stated in the log: nobody uses it, opening takes longer"),
                );
                return Ok(());
            }
            _ => report.add(
                Severity::Warning,
                format!(
                    "checkpoint {sequence} is torn, altered, forged, or belongs to another log: nobody uses it, \
                     opening takes longer"
                ),
            ),
        };
        if checkup.repair {
            let (bytes, sha256) = checkpoint::encode(state)?;
            self.wait(self.registry().log().save_checkpoint(sequence, bytes.into()))?;
            // One that misled is at least no longer believed.
            finding.repaired = believed || next.checkpoint == Some(sha256);
        }
        Ok(())
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
        } else if let Some(sequence) = checkpoint.filter(|sequence| *sequence >= found) {
            report.add(
                Severity::Critical,
                format!(
                    "there is a checkpoint after {sequence} commits, which is made by the next one, but the log has {found} \
                     whole ones: entries are lost; restore them from a backup"
                ),
            );
        }
    }
}

/// Adds one commit to the state.
fn take(state: &mut Snapshot, clocks: &mut Clocks, commit: &Commit, digest: Digest) -> Result<()> {
    state.apply(commit, digest)?;
    if commit.time >= clocks.latest.0 {
        *clocks = Clocks { latest: (commit.time, commit.sequence), behind: 0 };
    } else if commit.time.saturating_add(DAY) < clocks.latest.0 {
        clocks.behind += 1;
    }
    Ok(())
}

const ENTRIES_AT_ONCE: usize = 256;
const DAY: Duration = Duration::from_secs(86_400);
