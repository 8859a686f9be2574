//! Pipelines from the outside.

mod bound;
mod cache;
mod crash;
mod deadline;
mod driver;
mod flow;
mod formats;
mod kill;
mod laws;
mod panics;
mod rejoin;
#[cfg(feature = "telemetry")]
mod telemetry;
mod wiring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mlops_core::pipeline::{Notice, Observer, Runner, Store};
use mlops_core::{ManualClock, Timestamp};

/// Counts how often each step was started.
#[derive(Debug, Default)]
struct Started(Mutex<BTreeMap<String, u32>>);

impl Observer for Started {
    fn observe(&self, _: &str, notice: &Notice<'_>) {
        if let Notice::StepStarted { step, .. } = notice {
            *self.0.lock().unwrap().entry((*step).to_owned()).or_default() += 1;
        }
    }
}

impl Started {
    /// The counts since the last call.
    fn take(&self) -> BTreeMap<String, u32> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn names(&self) -> Vec<String> {
        self.take().into_keys().collect()
    }
}

/// A runner with a store in a new folder, and the counts of its steps.
struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    started: Arc<Started>,
}

impl Bench {
    fn new() -> Self {
        // Hundreds of folders are made and thrown away: in memory, where there is such a file system.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self {
            folder: folder.unwrap(),
            clock: Arc::new(ManualClock::new(Timestamp::EPOCH)),
            started: Arc::default(),
        }
    }

    fn store(&self) -> Store {
        Store::open(self.folder.path()).unwrap().without_sync()
    }

    fn runner(&self) -> Runner {
        self.bare().with_store(self.store())
    }

    /// Without a store.
    fn bare(&self) -> Runner {
        let clock = self.clock.clone();
        Runner::new(self.clock.clone())
            .with_observer(self.started.clone())
            .with_sleep(move |wait| clock.advance(wait))
    }
}
