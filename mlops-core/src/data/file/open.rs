//! Tables on the local disk.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scan::cannot_read;
use super::{Format, MAGIC_BYTES, Scan};
use crate::data::{Dataset, TableSchema};
use crate::error::is_lasting;
use crate::{Error, ErrorKind, Result};

impl Scan {
    /// Opens a file whose format its first bytes tell: Parquet, Arrow IPC, else CSV with a header. Only the columns
    /// that the schema names are decoded.
    ///
    /// A folder is the rows of all files in it and below, in the order of their paths, as Spark and others write
    /// them; names that begin with `_` or `.` are passed over.
    /// A column of the schema that a folder below the opened one names is taken from there: `dt=2026-05-01/part-0.parquet`
    /// has `2026-05-01` in each row of `dt`. Escapes such as `%3A` are decoded, `__HIVE_DEFAULT_PARTITION__` is missing,
    /// and a column of the same name in the file makes way. The path that is opened names no column itself: a single file
    /// has its own cells, by whatever path it is reached.
    ///
    /// # Errors
    /// `NotFound` if there is no such file or none in the folder, `Unavailable` if it cannot be read,
    /// `Unsupported` if this build lacks the feature of its format, `Data` if it is empty, damaged or has not the
    /// schema's columns; `Invalid` if folders name all of them; then each batch may fail.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// for (day, rows) in [("2026-05-01", "clicks\n3\n1\n"), ("2026-05-02", "clicks\n2\n")] {
    ///     std::fs::create_dir(folder.join(format!("day={day}")))?;
    ///     std::fs::write(folder.join(format!("day={day}/part-0.csv")), rows)?;
    /// }
    /// # #[cfg(feature = "csv")] {
    /// let schema = TableSchema::new([
    ///     Column::new("day", ColumnKind::Timestamp),
    ///     Column::new("clicks", ColumnKind::Integer),
    /// ])?;
    /// let data = Dataset::open(folder, schema)?;
    /// assert_eq!(data.numbers("clicks")?, [3.0, 1.0, 2.0]);
    /// assert_eq!(data.numbers("day")?[2] - data.numbers("day")?[1], 86_400e6);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let (path, schema) = (path.as_ref(), schema.into());
        if !path.is_dir() {
            return open_columns(path, schema);
        }
        let mut files = Vec::new();
        walk(path, &mut files).map_err(|error| unreadable(path, error))?;
        // In the order of object stores: by the whole text of the path below the folder.
        files.sort_by_cached_key(|file| {
            file.strip_prefix(path).unwrap_or(file).to_string_lossy().replace('\\', "/")
        });
        if files.is_empty() {
            return Err(Error::not_found(format!("there is no table in the folder `{}`", path.display())));
        }
        let (root, part_schema) = (path.to_owned(), Arc::clone(&schema));
        Self::parts(schema, files.into_iter(), move |file| {
            let schema = Arc::clone(&part_schema);
            let folders = file.strip_prefix(&root).ok().and_then(Path::parent).into_iter();
            let folders = folders.flat_map(Path::components).filter_map(|part| part.as_os_str().to_str());
            Self::in_folders(folders, schema, |schema| open_columns(&file, schema))
        })
    }
}

impl Dataset {
    /// Reads a whole file or folder: see [`Scan::open`].
    ///
    /// # Errors
    /// As [`Scan::open`].
    pub fn open(path: impl AsRef<Path>, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        Scan::open(path, schema)?.into_dataset()
    }
}

#[cfg_attr(
    not(any(feature = "csv", feature = "ipc", feature = "parquet")),
    allow(
        unused_variables,
        clippy::bind_instead_of_map,
        clippy::needless_pass_by_value,
        reason = "a build without formats opens no file"
    )
)]
fn open_columns(path: &Path, schema: Arc<TableSchema>) -> Result<Scan> {
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(|error| unreadable(path, error))?;
    let magic = magic(&mut file).map_err(|error| unreadable(path, error))?;
    let scan: Result<Scan> = Format::of(&magic).and_then(|format| match format {
        #[cfg(feature = "csv")]
        Format::Csv => Scan::csv(file, schema),
        #[cfg(feature = "ipc")]
        Format::Ipc => Scan::ipc(io::BufReader::new(file), schema),
        #[cfg(feature = "parquet")]
        Format::Parquet => Scan::parquet(file, schema),
    });
    Ok(scan.map_err(|error| cannot_read(&name, error))?.named(name))
}

fn magic(file: &mut File) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    file.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(magic)
}

/// All files below a folder whose names, and whose folders' names, do not begin with `_` or `.`.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().map(OsStr::as_encoded_bytes).is_some_and(|name| matches!(name[0], b'_' | b'.')) {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cold]
fn unreadable(path: &Path, error: io::Error) -> Error {
    let name = path.display();
    if error.kind() != io::ErrorKind::NotFound {
        let kind = if is_lasting(error.kind()) { ErrorKind::Invalid } else { ErrorKind::Unavailable };
        return Error::new(kind, format!("cannot read `{name}`: is it a file that this user may read?"))
            .with_source(error);
    }
    if path.to_str().is_some_and(|path| path.contains("://")) {
        return Error::not_found(format!(
            "there is no file `{name}`: a URL is opened by `open_url`, with the feature `object-store`"
        ));
    }
    Error::not_found(format!("there is no file `{name}`"))
}

#[cfg(all(test, feature = "csv"))]
mod tests {
    use super::*;
    use crate::data::{Column, ColumnKind};

    #[test]
    fn only_folders_below_the_opened_one_name_columns() {
        let root = tempfile::tempdir().unwrap();
        let exports = root.path().join("version=3");
        fs::create_dir_all(exports.join("part=5")).unwrap();
        let file = exports.join("part=5/run.csv");
        fs::write(&file, "version,part,x\n1,2,9\n").unwrap();
        let schema =
            TableSchema::new(["version", "part", "x"].map(|name| Column::new(name, ColumnKind::Integer)));
        let schema = Arc::new(schema.unwrap());
        let cells = |path: &Path| {
            let data = Dataset::open(path, Arc::clone(&schema)).unwrap();
            ["version", "part", "x"].map(|name| data.numbers(name).unwrap()[0])
        };
        assert_eq!(cells(&file), [1.0, 2.0, 9.0]);
        assert_eq!(cells(&exports.join("part=5")), [1.0, 2.0, 9.0]);
        assert_eq!(cells(&exports), [1.0, 5.0, 9.0]);
        assert_eq!(cells(root.path()), [3.0, 5.0, 9.0]);
    }
}
