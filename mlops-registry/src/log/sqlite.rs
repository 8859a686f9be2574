//! The log in a SQLite database.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mlops_core::{BoxFuture, Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use super::{Appended, CHECKPOINTS_KEPT, Capabilities, Log, Reach, SCRATCH, not_scratch};

/// A log in a table of a SQLite database: write-ahead log, every commit forced to the disk.
///
/// Any number of processes of one machine may share the file. SQLite's locks do not work on network file
/// systems: keep it on a local disk.
#[derive(Clone)]
pub struct SqliteLog {
    connection: Arc<Mutex<Connection>>,
    path: Arc<str>,
    registry: String,
    /// Whether the write-ahead log was made big enough by this process.
    roomy: Arc<AtomicBool>,
}

impl SqliteLog {
    /// Opens a database file, and makes it if it does not exist.
    ///
    /// # Errors
    /// `Invalid` if the file is no database, `Unsupported` if it may not be written, `Unavailable` if the disk is
    /// full or the database is locked for longer than 10 s.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_or_make(path.as_ref(), true)
    }

    /// Opens a database file that holds registries, and makes neither the file nor the tables.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and `NotFound` if there is no such file or no registry in it.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let none = |what: &str| {
            let path = path.display();
            Error::not_found(format!("{what} `{path}`: check the path, or open it so that one is made"))
        };
        if !path.is_file() {
            return Err(none("there is no database"));
        }
        let log = Self::open_or_make(path, false)?;
        let tables: i64 = log.run("read", |connection| {
            let of_log = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('mlops_entry', 'mlops_checkpoint')";
            connection.query_row(of_log, [], |row| row.get(0))
        })?;
        if tables < 2 {
            return Err(none("there is no registry in the database"));
        }
        Ok(log)
    }

    fn open_or_make(path: &Path, make: bool) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|_| make) {
            std::fs::create_dir_all(folder).map_err(|error| {
                crate::store::io_failed(&error, &format!("cannot create `{}`", folder.display()))
                    .with_source(error)
            })?;
        }
        let shown: Arc<str> = path.display().to_string().into();
        let open = || {
            let mut flags = OpenFlags::default();
            flags.set(OpenFlags::SQLITE_OPEN_CREATE, make);
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_MAX)?;
            if make {
                // Opening races with other processes that open it too: whoever comes second finds it done. The
                // file keeps the mode.
                connection.pragma_update(None, "journal_mode", "wal")?;
            }
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "wal_autocheckpoint", ROOM_BYTES / 4096)?;
            if !make {
                return Ok(connection);
            }
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS mlops_entry (
                     registry TEXT NOT NULL, sequence INTEGER NOT NULL, entry BLOB NOT NULL,
                     PRIMARY KEY (registry, sequence));
                 CREATE TABLE IF NOT EXISTS mlops_checkpoint (
                     registry TEXT NOT NULL, sequence INTEGER NOT NULL, state BLOB NOT NULL,
                     PRIMARY KEY (registry, sequence));",
            )?;
            Ok(connection)
        };
        let connection = open().map_err(|error| failed("open", &shown, error))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            path: shown,
            registry: "registry".to_owned(),
            roomy: Arc::default(),
        })
    }

    /// The log of another registry in the same database, by its name.
    #[must_use]
    pub fn named(mut self, registry: &str) -> Self {
        registry.clone_into(&mut self.registry);
        self
    }

    /// Makes the write-ahead log as big as it will get, once. A file that grows costs the file system a commit of
    /// its own at each sync; one that is written over does not (2026-11, ext4: 3.0 ms against .12 ms a commit).
    fn make_room(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.roomy.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let wal = format!("{}-wal", self.path);
        if std::fs::metadata(wal).is_ok_and(|found| found.len() >= u64::from(ROOM_BYTES)) {
            return Ok(());
        }
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             INSERT OR REPLACE INTO mlops_checkpoint (registry, sequence, state) VALUES ('{SCRATCH}room', 0, zeroblob({ROOM_BYTES}));
             COMMIT;
             DELETE FROM mlops_checkpoint WHERE registry = '{SCRATCH}room';"
        ))?;
        // Writers start over at the front of the file, unless a reader is at it: then a later one does.
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T>(&self, verb: &str, call: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        call(&self.lock()).map_err(|error| failed(verb, &self.path, error))
    }
}

impl Log for SqliteLog {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Reach::Machine)
    }

    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>> {
        Box::pin(async move {
            let created = self.run("write", |connection| {
                self.make_room(connection)?;
                let mut insert = connection.prepare(
                    "INSERT INTO mlops_entry (registry, sequence, entry) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?;
                insert.execute(params![self.registry, number(sequence), &entry[..]])
            })?;
            Ok(if created == 1 { Appended::Created } else { Appended::Taken })
        })
    }

    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(async move {
            let rows = self.run("read", |connection| {
                let mut select = connection.prepare(
                    "SELECT sequence, entry FROM mlops_entry WHERE registry = ?1 AND sequence >= ?2
                     ORDER BY sequence LIMIT ?3",
                )?;
                let limit = i64::try_from(count_max).unwrap_or(i64::MAX);
                let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
                select
                    .query_map(params![self.registry, number(from), limit], row)?
                    .collect::<Result<Vec<_>, _>>()
            })?;
            let in_order =
                rows.into_iter().zip(number(from)..).take_while(|((found, _), want)| found == want);
            Ok(in_order.map(|((_, entry), _)| Bytes::from(entry)).collect())
        })
    }

    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(async move {
            let found: Option<i64> = self.run("read", |connection| {
                let mut select = connection
                    .prepare("SELECT max(sequence) FROM mlops_entry WHERE registry = ?1 AND sequence > ?2")?;
                select.query_row(params![self.registry, number(above)], |row| row.get(0))
            })?;
            Ok(found.map(i64::unsigned_abs))
        })
    }

    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.run("write", |connection| {
                let mut insert = connection.prepare(
                    "INSERT OR REPLACE INTO mlops_checkpoint (registry, sequence, state) VALUES (?1, ?2, ?3)",
                )?;
                insert.execute(params![self.registry, number(sequence), &state[..]])?;
                let kept = i64::try_from(CHECKPOINTS_KEPT).unwrap_or(i64::MAX);
                connection.execute(
                    "DELETE FROM mlops_checkpoint WHERE registry = ?1 AND sequence < ?2 AND sequence NOT IN (
                         SELECT sequence FROM mlops_checkpoint WHERE registry = ?1 AND sequence <= ?2
                         ORDER BY sequence DESC LIMIT ?3)",
                    params![self.registry, number(sequence), kept],
                )
            })?;
            Ok(())
        })
    }

    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>> {
        Box::pin(async move {
            let found = self.run("read", |connection| {
                let mut select = connection.prepare(
                    "SELECT sequence, state FROM mlops_checkpoint WHERE registry = ?1 AND sequence < ?2
                     ORDER BY sequence DESC LIMIT 1",
                )?;
                let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
                select.query_row(params![self.registry, number(before)], row).optional()
            })?;
            Ok(found.map(|(sequence, state)| (sequence.unsigned_abs(), state.into())))
        })
    }

    fn scratch(&self, name: &str) -> Arc<dyn Log> {
        Arc::new(self.clone().named(&format!("{SCRATCH}{name}")))
    }

    fn discard(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if !self.registry.starts_with(SCRATCH) {
                return Err(not_scratch());
            }
            self.run("write", |connection| {
                connection.execute("DELETE FROM mlops_entry WHERE registry = ?1", [&self.registry])?;
                connection.execute("DELETE FROM mlops_checkpoint WHERE registry = ?1", [&self.registry])
            })?;
            Ok(())
        })
    }
}

impl std::fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLog").field("path", &self.path).finish_non_exhaustive()
    }
}

/// SQLite's integers are signed; no log gets that long.
fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

#[cold]
fn failed(verb: &str, path: &str, error: rusqlite::Error) -> Error {
    let (kind, way_out) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::Unavailable, "the disk is full; free some space and run again")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Unavailable, "another process holds it for too long; try again later")
        }
        Some(
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) => (
            ErrorKind::Unsupported,
            "it may not be written; give this user the right to it and to its folder",
        ),
        Some(ErrorCode::CannotOpen) => {
            (ErrorKind::Unsupported, "it cannot be opened; look at its path and at the rights to its folder")
        }
        Some(ErrorCode::NotADatabase) => {
            (ErrorKind::Invalid, "it is no SQLite database; choose another file")
        }
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Data, "it is damaged; restore it from a backup"),
        _ => (ErrorKind::Unavailable, "the database does not answer as it should; look at the cause"),
    };
    Error::new(kind, format!("cannot {verb} `{path}`: {way_out}")).with_source(error)
}

const BUSY_MAX: Duration = Duration::from_secs(10);
/// 256 pages.
const ROOM_BYTES: u32 = 1 << 20;
