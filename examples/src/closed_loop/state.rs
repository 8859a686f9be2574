//! The state folder: where the loop stands, and where its parts keep theirs.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use mlops_core::data::{Dataset, TableSchema};
use mlops_core::{Digest, Error, ModelVersion, Result};
use mlops_drift::alert::AlertState;
use mlops_drift::detector::{Adwin, AdwinSettings, Ddm, DdmSettings};
use mlops_registry::blocking::Registry;
use mlops_serve::rollout::Rollout;
use serde::{Deserialize, Serialize};

use super::calendar::ShopClock;
use super::summary::Summary;

/// Where the loop stands: written whole at the end of every month.
///
/// A run that is killed plays the month again from its start. All that the month does is a function of this
/// state, so it does the same again; the registry knows each of its commits by a key and makes none twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LoopState {
    version: u32,
    /// What the sessions are: a state goes with its data.
    pub(super) traffic: Digest,
    /// How many commits the registry had when this state began: it tells the runs and commits of this state
    /// from those of an earlier one that was removed.
    pub(super) epoch: u64,
    /// The year, from 1.
    pub(super) year: usize,
    /// The place in the list of months that comes next.
    pub(super) next: usize,
    /// The last year with a drill.
    pub(super) drilled_year: usize,
    /// Whether the summary of the year that ended was written.
    pub(super) reported: bool,
    /// The champion when the next month begins.
    pub(super) champion: ModelVersion,
    /// The champion when the year began.
    pub(super) frozen: ModelVersion,
    /// The rollout under way.
    pub(super) rollout: Option<Rollout>,
    pub(super) watch: Watch,
    pub(super) summary: Summary,
}

/// What watches the champion's errors, and what was told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) adwin: Adwin,
    pub(super) ddm: Ddm,
    pub(super) alerts: AlertState,
}

const VERSION: u32 = 1;

impl LoopState {
    pub(super) fn new(
        traffic: Digest,
        epoch: u64,
        champion: ModelVersion,
        first_month: usize,
        summary: Summary,
    ) -> Result<Self> {
        Ok(Self {
            version: VERSION,
            traffic,
            epoch,
            year: 1,
            drilled_year: 0,
            reported: false,
            next: first_month,
            frozen: champion.clone(),
            champion,
            rollout: None,
            watch: Watch::new()?,
            summary,
        })
    }
}

impl Watch {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            adwin: Adwin::new(AdwinSettings::default())?,
            ddm: Ddm::new(DdmSettings::default())?,
            alerts: AlertState::default(),
        })
    }
}

/// The folder, held by one process at a time.
#[derive(Debug)]
pub(super) struct StateFolder {
    root: PathBuf,
    _lock: File,
}

impl StateFolder {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let name = root.display();
        let unwritable = |error: std::io::Error| {
            Error::unavailable(format!(
                "cannot write the state folder `{name}`: make it writable, free some space, or give another \
                 with --state"
            ))
            .with_source(error)
        };
        fs::create_dir_all(root).map_err(unwritable)?;
        let lock = File::create(root.join("lock")).map_err(unwritable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::unavailable(format!(
                "the state folder `{name}` is in use by another process: wait for it, or give another with --state"
            )),
            TryLockError::Error(error) => unwritable(error),
        })?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    pub(super) fn registry(&self, clock: &ShopClock) -> Result<Registry> {
        let path = self.root.join("registry");
        let path = path.to_str().ok_or_else(|| {
            Error::invalid(format!("the state folder `{}` has a name that is no text", self.root.display()))
        })?;
        Registry::open_with(mlops_registry::Registry::builder().clock(clock.clone()), path)
    }

    pub(super) fn pipeline(&self) -> PathBuf {
        self.root.join("pipeline")
    }

    /// The folder for the captured records of a month, emptied of what a killed run left.
    pub(super) fn fresh_records(&self, year: usize, month: usize) -> Result<PathBuf> {
        let folder = self.root.join("records").join(format!("year-{year}-month-{month:02}"));
        match fs::remove_dir_all(&folder) {
            Ok(()) => Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(folder),
            Err(error) => Err(self.unwritable(&folder, error)),
        }
    }

    /// Keeps the labelled sessions of a month for training.
    pub(super) fn write_sessions(&self, year: usize, month: usize, sessions: &Dataset) -> Result<()> {
        let mut bytes = Vec::new();
        sessions.write_parquet(&mut bytes)?;
        self.write(&self.sessions(year, month), &bytes)
    }

    /// The labelled sessions of a month that was served.
    pub(super) fn read_sessions(&self, year: usize, month: usize, schema: &TableSchema) -> Result<Dataset> {
        Dataset::open(self.sessions(year, month), schema.clone())
    }

    fn sessions(&self, year: usize, month: usize) -> PathBuf {
        self.root.join("sessions").join(format!("year-{year}-month-{month:02}.parquet"))
    }

    pub(super) fn load(&self) -> Result<Option<LoopState>> {
        let path = self.root.join("loop.json");
        let name = path.display();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::unavailable(format!("cannot read `{name}`")).with_source(error));
            }
        };
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let damaged = |error| {
            Error::data(format!(
                "`{name}` is damaged: remove it, and the loop starts a year from the registry's champion"
            ))
            .with_source(error)
        };
        let Head { version } = serde_json::from_slice(&text).map_err(damaged)?;
        if version != VERSION {
            return Err(Error::unsupported(format!(
                "`{name}` has version {version}, this program reads {VERSION}: give another folder with --state"
            )));
        }
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    pub(super) fn save(&self, state: &LoopState) -> Result<()> {
        let text = serde_json::to_vec(state).map_err(|error| {
            Error::internal("the loop's state cannot be written as JSON").with_source(error)
        })?;
        self.write(&self.root.join("loop.json"), &text)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        write_whole(path, bytes).map_err(|error| self.unwritable(path, error))
    }

    fn unwritable(&self, path: &Path, error: std::io::Error) -> Error {
        Error::unavailable(format!(
            "cannot write `{}`: free some space and run again, nothing is lost",
            path.display()
        ))
        .with_source(error)
    }
}

/// Finds out whether a file can be written there, before any work is done for it.
pub(super) fn can_write(path: &Path) -> Result<()> {
    let mut probe = path.as_os_str().to_owned();
    probe.push(".partial");
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| File::create(&probe))
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| {
            let path = path.display();
            Error::unavailable(format!("cannot write `{path}`: give another place with --json"))
                .with_source(error)
        })
}

/// Writes a file so that a reader finds the old bytes or the new, whatever happens on the way.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    // The same name each time: what a kill leaves behind is overwritten by the next try.
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // Windows cannot open folders, and needs no sync of them.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
