//! Tables in object stores.

mod location;
#[cfg(feature = "parquet")]
mod parquet;
mod snapshot;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::file::{Format, cannot_read};
use super::{Dataset, Scan, TableSchema};
use crate::driver::Driver;
use crate::{Error, ErrorKind, Result};
use location::Location;
#[cfg(feature = "ipc")]
use snapshot::RangeReader;
use snapshot::Snapshot;

/// A table in an object store: a folder, Amazon S3, Google Cloud Storage, Azure Blob Storage, a web server, or
/// any other [`ObjectStore`].
///
/// The first bytes tell the format: Parquet, Arrow IPC, else CSV with a header. Rows stream: of Parquet the
/// footer is read and then, row group by row group, the columns that the schema names; of Arrow IPC one batch
/// at a time; of CSV the text as it arrives. All reads of a scan see one version of the object: if it is replaced
/// meanwhile, the scan ends with a `Conflict`.
///
/// A folder, which is a URL that ends in `/`, is the rows of all tables in it and below, in the order of their
/// paths, as Spark and others write them; names that begin with `_` or `.` are passed over. Columns that folders name
/// (`dt=2026-05-01/part-0.parquet`) are taken from there: see [`Scan::open`].
///
/// Each method waits on the calling thread; one more thread, which does the I/O, runs until the last clone and
/// the last scan are dropped. May be called from inside a runtime, where it blocks the worker that calls it:
/// use `tokio::task::spawn_blocking`.
///
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::data::{Column, ColumnKind, StoredTable, TableSchema};
/// use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
///
/// let store = Arc::new(InMemory::new());
/// let path = Path::from("clicks/2026.csv");
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(
/// store.put(&path, "page,clicks\nhome,3\ncart,1\n".into())
/// # )?;
/// # #[cfg(feature = "csv")] {
/// let schema = TableSchema::new([Column::new("clicks", ColumnKind::Integer)])?;
/// let data = StoredTable::new(store, path)?.read(schema)?;
/// assert_eq!(data.numbers("clicks")?, [3.0, 1.0]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StoredTable {
    location: Location,
    driver: Driver,
}

impl StoredTable {
    /// The table at a path of a store of the caller's.
    ///
    /// # Errors
    /// `Unavailable` if no thread can be started.
    pub fn new(store: Arc<dyn ObjectStore>, path: impl Into<Path>) -> Result<Self> {
        let path = path.into();
        let name = format!("{store}/{path}");
        Ok(Self { location: Location { store, path, folder: false, name }, driver: Driver::new()? })
    }

    /// All tables below a path of a store of the caller's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn folder(store: Arc<dyn ObjectStore>, path: impl Into<Path>) -> Result<Self> {
        let mut table = Self::new(store, path)?;
        table.location.folder = true;
        Ok(table)
    }

    /// The table at a URL: `file:///path`, and with the features `aws`, `azure`, `gcp` and `http`
    /// `s3://bucket/path`, `az://container/path`, `gs://bucket/path` and `https://host/path`. At the end `/` makes
    /// it a folder.
    ///
    /// # Errors
    /// `Invalid` if it is no URL of a store, `Unsupported` if this build lacks the feature of its store. Nothing is
    /// read yet.
    pub fn open(url: &str) -> Result<Self> {
        Self::open_opts(url, [("", ""); 0])
    }

    /// The table at a URL, with options of its store, such as `aws_region`, `aws_endpoint` or
    /// `aws_access_key_id`: those of the crate `object_store`. The environment is not read.
    ///
    /// ```
    /// use mlops_core::data::StoredTable;
    ///
    /// let options = [("aws_region", "eu-central-1"), ("skip_signature", "true")];
    /// let table = StoredTable::open_opts("s3://bucket/clicks/2026.parquet", options);
    /// assert_eq!(table.is_ok(), cfg!(feature = "aws"));
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open), and `Invalid` if the store has no such option.
    pub fn open_opts(
        url: &str,
        options: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<Self> {
        let options: Vec<_> = options.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Ok(Self { location: Location::parse(url, &options)?, driver: Driver::new()? })
    }

    /// The rows, batch by batch.
    ///
    /// # Errors
    /// `NotFound` if there is no such object or no table in the folder, `Unavailable` if the store does not answer,
    /// `Unsupported` if the credentials do not allow it or this build lacks the feature of the format, `Data` if the
    /// table is empty, damaged or has not the schema's columns; then each batch may fail, also with a `Conflict`.
    pub fn scan(&self, schema: impl Into<Arc<TableSchema>>) -> Result<Scan> {
        let schema = schema.into();
        if !self.location.folder {
            return self.scan_part(&self.location.path, self.location.name.clone(), schema);
        }
        let parts = self.driver.wait(self.parts())?;
        let (table, part_schema) = (self.clone(), Arc::clone(&schema));
        Scan::parts(schema, parts.into_iter(), move |path| {
            table.scan_part(&path, table.name_of(&path), Arc::clone(&part_schema))
        })
    }

    /// The rows, all in memory.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn read(&self, schema: impl Into<Arc<TableSchema>>) -> Result<Dataset> {
        self.scan(schema)?.into_dataset()
    }

    fn scan_part(&self, path: &Path, name: String, schema: Arc<TableSchema>) -> Result<Scan> {
        let root = self.location.path.as_ref();
        let below = path.as_ref().strip_prefix(root).unwrap_or_default().trim_start_matches('/');
        let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders).split('/');
        Scan::in_folders(folders, schema, |schema| self.scan_object(path, name, schema))
    }

    fn scan_object(&self, path: &Path, name: String, schema: Arc<TableSchema>) -> Result<Scan> {
        let (object, magic) = self.driver.wait(Snapshot::open(&self.location.store, path, &name))?;
        let driver = self.driver.clone();
        let scan: Result<Scan> = Format::of(&magic).and_then(|format| match format {
            #[cfg(feature = "csv")]
            Format::Csv => Scan::csv(driver.wait(object.stream(driver.clone()))?, schema),
            #[cfg(feature = "ipc")]
            Format::Ipc => Scan::ipc(RangeReader::new(object, driver), schema),
            #[cfg(feature = "parquet")]
            Format::Parquet => parquet::scan(object, schema, driver),
        });
        Ok(scan.map_err(|error| cannot_read(&name, error))?.named(name))
    }

    /// The objects of a folder, in order.
    async fn parts(&self) -> Result<Vec<Path>> {
        let Location { store, path, name, .. } = &self.location;
        let found =
            store.list(Some(path)).try_collect::<Vec<_>>().await.map_err(|error| failed(name, error))?;
        let hidden = |part: &Path| {
            let below = part.prefix_match(path).into_iter().flatten();
            below.into_iter().any(|name| name.as_ref().starts_with(['_', '.']))
        };
        let mut parts: Vec<Path> =
            found.into_iter().map(|meta| meta.location).filter(|part| !hidden(part)).collect();
        parts.sort();
        if parts.is_empty() {
            return Err(Error::not_found(format!("there is no table below `{name}`: check the path")));
        }
        Ok(parts)
    }

    fn name_of(&self, part: &Path) -> String {
        let Location { path, name, .. } = &self.location;
        let below = part.as_ref().strip_prefix(path.as_ref()).unwrap_or(part.as_ref());
        format!("{}/{}", name.trim_end_matches('/'), below.trim_start_matches('/'))
    }
}

impl fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredTable").field(&self.location.name).finish()
    }
}

impl Scan {
    /// Opens the table at a URL: see [`StoredTable`], which takes options and stores of the caller's too.
    ///
    /// # Errors
    /// As [`StoredTable::open`] and [`StoredTable::scan`].
    pub fn open_url(url: &str, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        StoredTable::open(url)?.scan(schema)
    }
}

impl Dataset {
    /// Reads the whole table at a URL: see [`StoredTable`].
    ///
    /// # Errors
    /// As [`StoredTable::open`] and [`StoredTable::scan`].
    pub fn open_url(url: &str, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        StoredTable::open(url)?.read(schema)
    }
}

/// What a store's error means for the caller.
#[cold]
fn failed(name: &str, error: object_store::Error) -> Error {
    use object_store::Error as Cause;
    let (kind, way_out) = match &error {
        Cause::NotFound { .. } => (ErrorKind::NotFound, "there is no such object; check the path"),
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
            (ErrorKind::Unsupported, "the credentials do not allow it; give them the right or take others")
        }
        Cause::InvalidPath { .. } => (ErrorKind::Invalid, "the path is wrong"),
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the store cannot do it; copy the table to another store")
        }
        _ => match io_kind(&error) {
            Some(io::ErrorKind::PermissionDenied) => {
                (ErrorKind::Unsupported, "no permission; give this user the right to it")
            }
            Some(io::ErrorKind::IsADirectory) => {
                (ErrorKind::Invalid, "it is a folder; end the path with `/` to read all tables in it")
            }
            _ => (ErrorKind::Unavailable, "the store does not answer; try again later"),
        },
    };
    Error::new(kind, format!("cannot read `{name}`: {way_out}")).with_source(error)
}

fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(found) = found.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        cause = found.source();
    }
    None
}
