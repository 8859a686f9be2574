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

mod beyond;
mod files;
mod probe;
mod walk;

use std::fmt;

use futures_util::FutureExt as _;
use mlops_core::{Error, Result, Severity};

use crate::blocking::Registry;
use crate::log::Capabilities;
use crate::telemetry::{self, Call};

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
    /// What the storage was seen to give, if races were held: whether it creates what is absent and shows what was
    /// written. Whether it is durable and who can share it no race can tell: that is as it promises.
    pub measured: Option<Capabilities>,
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

impl crate::Registry {
    /// Examines the registry and its storage, see [`blocking::Registry::doctor`](Registry::doctor): on a thread of its
    /// own, which goes on to its end when the future is dropped.
    ///
    /// # Errors
    /// As there, and `Unavailable` if the system gives no thread.
    pub async fn doctor(&self, checkup: Checkup) -> Result<Report> {
        let registry = Registry::of(self.clone())?;
        let (task, report) = async move { registry.doctor(checkup) }.remote_handle();
        std::thread::Builder::new()
            .name("mlops-registry doctor".to_owned())
            .spawn(move || task.now_or_never())
            .map_err(|error| {
                Error::unavailable("cannot start a thread for the doctor of the registry").with_source(error)
            })?;
        report.await
    }
}

impl Registry {
    /// Examines the registry and its storage, while others may use it.
    ///
    /// Races writers on a scratch log; walks the whole log and its chain; compares the state in use and the
    /// checkpoints with what the log adds up to; reads every file. With `repair` it writes bad checkpoints anew and
    /// brings damaged files back from another whole upload of the same bytes. What cannot be repaired is said.
    ///
    /// # Errors
    /// `Unavailable` if the storage is out of reach. Damage is no error but a finding.
    pub fn doctor(&self, checkup: Checkup) -> Result<Report> {
        let outcome = |report: &Report| if report.is_healthy() { "healthy" } else { "unhealthy" };
        telemetry::told_now(&self.registry().inner, Call::Doctor, outcome, || self.examine(checkup))
    }

    fn examine(&self, checkup: Checkup) -> Result<Report> {
        let mut report = Report::default();
        if checkup.races > 0 {
            self.probe(checkup, &mut report)?;
        }
        let state = self.walk(checkup, &mut report)?;
        if self.state().sequence() == 0 {
            // Nothing was read before: what the walk proved spares the check of the files a second walk.
            self.registry().publish(state.clone());
        }
        self.check_files(&state, checkup, &mut report);
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }
}
