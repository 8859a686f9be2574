//! How long a file of records is.

use serde::{Deserialize, Serialize};

/// When a file is finished and the next one begun: whichever comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ParquetSettings {
    /// Rows in a file. Default 1 000 000.
    pub rows_max: u64,
    /// Seconds from the first row of a file to its end. Default 900.
    pub age_s_max: u64,
}

impl Default for ParquetSettings {
    fn default() -> Self {
        Self { rows_max: 1_000_000, age_s_max: 900 }
    }
}

impl ParquetSettings {
    /// Sets the rows in a file.
    #[must_use]
    pub fn rows_max(mut self, rows: u64) -> Self {
        self.rows_max = rows;
        self
    }

    /// Sets the seconds that a file stays open.
    #[must_use]
    pub fn age_s_max(mut self, seconds: u64) -> Self {
        self.age_s_max = seconds;
        self
    }
}
