//! What lies beyond a lost or damaged entry, and what has to be restored to reach it.

use mlops_core::{Digest, Result, Severity};

use super::Report;
use crate::Commit;
use crate::blocking::Registry;

/// Entries that have to be restored: a run of numbers, and the digest of the last of them, if the entry after it can be
/// read.
struct Lost {
    first: u64,
    last: u64,
    sha256: Option<Digest>,
}

impl Registry {
    /// Whether to go on reading at an entry that was not there: it has come since. Else a later one tells that it
    /// is gone.
    pub(super) fn is_cut(&self, next: u64, report: &mut Report) -> Result<bool> {
        let Some(later) = self.later(next)? else { return Ok(false) };
        if !self.wait(self.registry().log().read(next, 1))?.is_empty() {
            return Ok(true);
        }
        report.add(
            Severity::Critical,
            format!(
                "log entry {next} is gone, though entry {later} exists: restore it from a backup, and commit nothing before"
            ),
        );
        self.check_beyond(next, report)?;
        Ok(false)
    }

    /// The highest number of an entry beyond one, or any on a storage that cannot list.
    fn later(&self, above: u64) -> Result<Option<u64>> {
        let log = self.registry().log();
        if let Some(highest) = self.wait(log.highest(above))? {
            return Ok(Some(highest));
        }
        for sequence in above.saturating_add(1)..above.saturating_add(GAP_MAX) {
            if !self.wait(log.read(sequence, 1))?.is_empty() {
                return Ok(Some(sequence));
            }
        }
        Ok(None)
    }

    /// Tells what can be read beyond an entry that is lost, and what has to be restored.
    pub(super) fn check_beyond(&self, lost: u64, report: &mut Report) -> Result<()> {
        let log = self.registry().log();
        let mut runs = vec![Lost { first: lost, last: lost, sha256: None }];
        let (mut whole, mut gone) = (0_u64, 0);
        let mut last: Option<Digest> = None;
        let mut next = lost.saturating_add(1);
        let highest = self.later(lost)?.unwrap_or(lost);
        while next <= highest && gone < GONE_MAX {
            let entries = self.wait(log.read(next, ENTRIES_AT_ONCE))?;
            if entries.is_empty() {
                lose(&mut runs, next);
                (last, gone, next) = (None, gone + 1, next + 1);
            }
            for entry in entries {
                match Commit::decode(next, &entry) {
                    Ok((commit, digest)) => {
                        if last != Some(commit.previous) {
                            // The one before is not what this entry was written after, or cannot be read.
                            lose(&mut runs, next - 1);
                            let run = runs.iter_mut().next_back();
                            run.into_iter().for_each(|run| run.sha256 = Some(commit.previous));
                        }
                        (last, whole) = (Some(digest), whole + 1);
                    }
                    Err(_) => {
                        lose(&mut runs, next);
                        last = None;
                    }
                }
                next += 1;
            }
        }
        let runs: Vec<String> = runs.iter().map(Lost::to_string).collect();
        let more = runs.len().saturating_sub(RUNS_SHOWN);
        let mut list = runs[..runs.len() - more].join(", ");
        if more > 0 {
            list = format!("{list}, and {more} more runs of entries");
        }
        if next <= highest {
            list = format!("{list}; nothing was looked at from entry {next} on, to {highest}");
        }
        let what =
            format!("{whole} whole entries lie beyond entry {}: to reach them, restore {list}", lost - 1);
        report.add(Severity::Critical, what);
        Ok(())
    }
}

/// Notes that an entry has to be restored.
fn lose(runs: &mut Vec<Lost>, sequence: u64) {
    match runs.last_mut() {
        Some(run) if run.last >= sequence => {}
        Some(run) if run.last + 1 == sequence && run.sha256.is_none() => run.last = sequence,
        _ => runs.push(Lost { first: sequence, last: sequence, sha256: None }),
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, last, sha256 } = self;
        let (what, whose) = if first == last {
            (format!("entry {first}"), "its")
        } else {
            (format!("entries {first} to {last}"), "the last one's")
        };
        match sha256 {
            Some(sha256) => write!(f, "{what} ({whose} digest is {sha256})"),
            None => write!(f, "{what} (nothing states {whose} digest)"),
        }
    }
}

const ENTRIES_AT_ONCE: usize = 256;
/// How many entries that are gone are asked for one by one.
const GONE_MAX: u64 = 10_000;
/// How far an entry is looked for on a storage that cannot list.
const GAP_MAX: u64 = 16;
const RUNS_SHOWN: usize = 10;
