//! Whether a storage keeps what it promises: writers race on a scratch log.

use std::sync::Barrier;

use bytes::Bytes;
use mlops_core::{Error, ErrorKind, Result, Severity};

use super::{Checkup, Report};
use crate::blocking::Registry;
use crate::log::{Appended, Capabilities, Log};

impl Registry {
    /// Whether the storage keeps what its capabilities promise.
    pub(super) fn probe(&self, checkup: Checkup, report: &mut Report) -> Result<()> {
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
        let promised = log.capabilities();
        report.measured = Some(Capabilities {
            create_if_absent: promised.create_if_absent && doubled + torn + overwritten == 0,
            read_after_write: promised.read_after_write && lost == 0,
            ..promised
        });
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
}
