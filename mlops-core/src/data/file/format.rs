//! Which format a file has.

use crate::{Error, Result};

/// How many bytes tell the format.
pub(in crate::data) const MAGIC_BYTES: u64 = 6;

/// The formats of this build.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) enum Format {
    #[cfg(feature = "csv")]
    Csv,
    #[cfg(feature = "ipc")]
    Ipc,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// The format of a file that begins with these [`MAGIC_BYTES`], or with fewer if that is all.
    pub(in crate::data) fn of(magic: &[u8]) -> Result<Self> {
        match magic {
            [] => Err(Error::data("the file is empty: a table has at least a header")),
            [b'P', b'A', b'R', b'1', ..] => {
                #[cfg(feature = "parquet")]
                return Ok(Self::Parquet);
                #[cfg(not(feature = "parquet"))]
                not_built_in("Parquet", "parquet")
            }
            [b'A', b'R', b'R', b'O', b'W', b'1'] => {
                #[cfg(feature = "ipc")]
                return Ok(Self::Ipc);
                #[cfg(not(feature = "ipc"))]
                not_built_in("Arrow IPC", "ipc")
            }
            _ => {
                #[cfg(feature = "csv")]
                return Ok(Self::Csv);
                #[cfg(not(feature = "csv"))]
                not_built_in("CSV", "csv")
            }
        }
    }
}

#[cfg(not(all(feature = "csv", feature = "ipc", feature = "parquet")))]
fn not_built_in(format: &str, feature: &str) -> Result<Format> {
    Err(Error::unsupported(format!(
        "{format} is not built in: turn on the feature `{feature}` of mlops-core"
    )))
}
