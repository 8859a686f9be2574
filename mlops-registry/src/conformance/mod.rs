//! What every back end has to pass: run it in the tests of your own.
//!
//! ```
//! use std::sync::Arc;
//! use mlops_registry::blocking::Registry;
//! use mlops_registry::log::{Capabilities, ObjectLog, Reach};
//!
//! let store = Arc::new(object_store::memory::InMemory::new());
//! let log = ObjectLog::new(store.clone(), Capabilities::all(Reach::Process));
//! let open = || Registry::open_parts(mlops_registry::Registry::builder(), Arc::new(log.clone()), store.clone());
//! mlops_registry::conformance::check(open).unwrap();
//! ```

mod history;
mod plain;

use std::sync::Barrier;
use std::time::Duration;

use bytes::Bytes;
use mlops_core::{Error, ErrorKind, Result, Seed};

use crate::blocking::Registry;
use crate::doctor::Checkup;
use crate::log::{Appended, Log};
use crate::{Draft, Expect, NewVersion};

pub use history::check_history;

/// Checks a back end whose registry is empty. Every call of `open` opens the same one anew, as another process
/// would.
///
/// # Errors
/// `Internal` with what does not hold, or the error of a call that has to succeed.
pub fn check(open: impl Fn() -> Result<Registry> + Sync) -> Result<()> {
    let registry = open()?;
    let name = registry.registry().fresh(&registry.state())?.to_string();
    let scratch = registry.registry().log().scratch(&name);
    let checked = check_log(&registry, &*scratch);
    registry.wait(scratch.discard())?;
    checked?;
    holds(registry.wait(scratch.read(1, 1))?.is_empty(), "a discarded log is empty")?;
    check_registry(&open)?;
    check_history(&open, HISTORY_CALLS_EACH, Seed::new(1))?;
    let report = registry.doctor(Checkup { races: 20, ..Checkup::default() })?;
    holds(report.is_healthy(), &format!("the doctor finds nothing: {report}"))
}

fn check_log(registry: &Registry, log: &dyn Log) -> Result<()> {
    let append = |sequence, entry: &str| registry.wait(log.append(sequence, Bytes::from(entry.to_owned())));
    let read = |from, count| registry.wait(log.read(from, count));
    holds(read(1, 10)?.is_empty(), "an empty log has no entries")?;
    holds(registry.wait(log.checkpoint(u64::MAX))?.is_none(), "an empty log has no checkpoint")?;
    holds(append(1, "one")? == Appended::Created, "the first entry is created")?;
    holds(append(1, "other")? == Appended::Taken, "an entry is never created twice")?;
    holds(read(1, 10)? == ["one"], "what was refused was not written")?;
    holds(append(2, "")? == Appended::Created, "an entry may be empty")?;
    let big = "x".repeat(6 << 20);
    holds(append(3, &big)? == Appended::Created, "an entry may be big")?;
    holds(read(1, 2)? == ["one", ""], "no more entries are read than were asked for")?;
    holds(read(3, 10)? == [big.as_str()], "entries are read from any place")?;
    holds(append(5, "gap")? == Appended::Created, "the log does not mind a gap")?;
    holds(read(1, 10)?.len() == 3, "entries are read up to the first gap")?;
    let highest = |above| registry.wait(log.highest(above));
    holds(highest(0)? == Some(5) && highest(4)? == Some(5), "entries beyond a gap are seen")?;
    holds(highest(5)?.is_none(), "there is no entry after the last one")?;
    for sequence in [10, 20, 30] {
        registry.wait(log.save_checkpoint(sequence, Bytes::from(sequence.to_string())))?;
    }
    let checkpoint = |before| registry.wait(log.checkpoint(before));
    let is = |sequence: u64| Some((sequence, Bytes::from(sequence.to_string())));
    holds(checkpoint(u64::MAX)? == is(30), "the newest checkpoint is found")?;
    holds(checkpoint(30)? == is(20), "the checkpoint before it is found")?;
    holds(checkpoint(10)?.is_none(), "no checkpoint is found before the first")?;
    holds(registry.wait(log.sync(1)).is_ok(), "an entry that is there can be made durable")?;
    let own = registry.registry().log();
    holds(registry.wait(own.discard()).is_err(), "only a scratch log is discarded")?;
    holds(registry.wait(log.scratch("inner").read(1, 1))?.is_empty(), "a scratch log is apart")
}

fn check_registry(open: &(impl Fn() -> Result<Registry> + Sync)) -> Result<()> {
    let first = open()?;
    holds(first.snapshot().sequence() == 0, "the registry is empty")?;
    let draft = |key: &str| {
        let big = vec![7_u8; (9 << 20) + 1];
        let version = NewVersion::new("shop").file("small.json", "{}").file("empty", "").file("big.bin", big);
        Draft::new("suite", "test").key(key).register(version)
    };
    let receipt = first.commit(draft("one"))?;
    let id = receipt.version().ok_or_else(|| Error::internal("a registration has no version"))?;
    holds(open()?.commit(draft("one"))?.replayed, "a key is committed once")?;
    holds(open()?.fetch(id)?.read("big.bin")?.len() == (9 << 20) + 1, "big files come back whole")?;
    holds(open()?.read(id, "empty")?.is_empty(), "empty files come back empty")?;

    // Writers that race register different versions, and one of those that promote wins.
    let barrier = Barrier::new(WRITERS);
    let registries = (0..WRITERS).map(|_| open()).collect::<Result<Vec<_>>>()?;
    let outcomes: Vec<Result<(u64, bool)>> = std::thread::scope(|scope| {
        let writers: Vec<_> = registries
            .into_iter()
            .enumerate()
            .map(|(writer, registry)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let version = NewVersion::new("shop").file("model.bin", writer.to_string());
                    let receipt = registry.commit(Draft::new("suite", "race").register(version))?;
                    let id =
                        receipt.version().ok_or_else(|| Error::internal("a registration has no version"))?;
                    let promote = Draft::new("suite", "race").alias("champion", id, Expect::Absent);
                    match registry.commit(promote) {
                        Ok(_) => Ok((id.version, true)),
                        Err(error) if error.kind() == ErrorKind::Conflict => Ok((id.version, false)),
                        Err(error) => Err(error),
                    }
                })
            })
            .collect();
        let gone = || Err(Error::internal("a writer panicked"));
        writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| gone())).collect()
    });
    let mut outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
    outcomes.sort_unstable();
    let numbers: Vec<u64> = outcomes.iter().map(|(number, _)| *number).collect();
    holds(numbers == (2..2 + WRITERS as u64).collect::<Vec<_>>(), "every version has its own number")?;
    let winners: Vec<u64> = outcomes.iter().filter(|(_, won)| *won).map(|(number, _)| *number).collect();
    let champion = open()?.snapshot().alias("shop", "champion").map(|version| version.id().version);
    holds(winners.len() == 1 && champion == Some(winners[0]), "one promotion of many wins")?;

    // What was purged is swept, what is needed stays.
    let other = numbers.iter().find(|number| champion != Some(**number)).copied().unwrap_or_default();
    let gone = mlops_core::ModelVersion::new("shop", other);
    first.commit(Draft::new("suite", "old").delete(&gone).purge(&gone))?;
    holds(first.sweep("suite", "disk", Duration::ZERO)?.uploads >= 1, "purged files are swept")?;
    holds(open()?.fetch(id).is_ok(), "a sweep leaves what is needed")?;

    // A model that is renamed and deleted comes back whole.
    let away = Draft::new("suite", "old").remove_alias("shop", "champion", Expect::Any);
    first.commit(away.rename_model("shop", "store").delete_model("shop"))?;
    first.commit(Draft::new("suite", "new").restore_model("store").alias("champion", id, Expect::Absent))?;
    let state = open()?.snapshot();
    holds(state.alias("shop", "champion").is_some(), "a renamed model is found by its former name")?;
    holds(*open()?.snapshot() == *first.refresh()?, "all see the same state")
}

fn holds(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::internal(format!("the back end does not conform: {what}"))) }
}

const WRITERS: usize = 4;
/// Some seconds of a slow emulator.
const HISTORY_CALLS_EACH: u64 = 24;
