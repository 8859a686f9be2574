//! The UCI log as a year of traffic.

use std::path::{Path, PathBuf};

use mlops_core::data::{Dataset, Value};
use mlops_core::{Digest, Error, Result};

use super::{MONTHS, Month, Traffic, month_name, schema};

/// The sessions of a file, month by month. Every year has the same traffic.
#[derive(Debug)]
pub struct SessionLog {
    path: PathBuf,
    sessions: Dataset,
    months: Vec<usize>,
}

impl SessionLog {
    /// Reads the file (CSV or Parquet) and checks it.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable` or `Data` as [`Dataset::open`]; `Data` if a value breaks the schema, a
    /// month is unknown, or there are fewer than three months.
    pub fn open(path: &Path) -> Result<Self> {
        let sessions = Dataset::open(path, schema()?)?;
        let name = path.display();
        sessions
            .validate()?
            .into_result()
            .map_err(|error| error.context(format!("`{name}` is no session log")))?;
        let place = sessions.schema().index_of("Month")?;
        let mut months = Vec::new();
        sessions.for_each_row(|row, cells| {
            let number = MONTHS.iter().position(|month| cells[place] == Value::Text(month));
            let number = number.ok_or_else(|| {
                let (known, found) = (MONTHS.join(", "), cells[place]);
                Error::data(format!("unknown month {found} in row {row} of `{name}`: want one of {known}"))
            })?;
            if !months.contains(&(number + 1)) {
                months.push(number + 1);
            }
            Ok(())
        })?;
        months.sort_unstable();
        if months.len() < 3 {
            return Err(Error::data(format!(
                "`{name}` has sessions of {} months: want at least 3, two to train on and one to serve",
                months.len()
            )));
        }
        Ok(Self { path: path.to_owned(), sessions, months })
    }
}

impl Traffic for SessionLog {
    fn describe(&self) -> String {
        format!("the session log {} ({} sessions)", self.path.display(), self.sessions.rows())
    }

    fn fingerprint(&self) -> Digest {
        self.sessions.fingerprint()
    }

    fn months(&self) -> Vec<usize> {
        self.months.clone()
    }

    fn month(&self, _year: usize, number: usize) -> Result<Month> {
        let name = month_name(number)?;
        let place = self.sessions.schema().index_of("Month")?;
        let sessions = self.sessions.filter(|cells| cells[place] == Value::Text(name))?;
        Ok(Month { number, name, sessions })
    }
}
