//! Fresh ids for operations and uploads.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use mlops_core::{Error, Result, Seed, Timestamp};
use rand::rngs::SysRng;
use rand::{Rng as _, TryRng as _};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// The name of one upload of a blob: a ULID, so uploads sort by the time of the machine that made them.
///
/// The garbage collector tells old uploads from new ones by this order. The order decides alone what is
/// swept; what may be referenced is decided by the watermark in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct UploadId(u128);

impl UploadId {
    /// The last millisecond that an id can bear, in the year 10889.
    pub(crate) const UNIX_MS_MAX: u64 = (1 << Ulid::TIME_BITS) - 1;

    /// The first id of a millisecond since the epoch.
    pub const fn floor(unix_ms: u64) -> Self {
        Self(Ulid::from_parts(unix_ms, 0).0)
    }

    /// Milliseconds since the epoch on the clock of the machine that made it.
    pub const fn unix_ms(self) -> u64 {
        Ulid(self.0).timestamp_ms()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Ulid(self.0).array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

impl FromStr for UploadId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Ulid::from_string(text) {
            Ok(id) if id.array_to_str(&mut [0; ulid::ULID_LEN]) == text => Ok(Self(id.0)),
            _ => Err(Error::invalid(format!("`{text}` is not an upload id: want 26 characters of a ULID"))),
        }
    }
}

impl From<UploadId> for String {
    fn from(id: UploadId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for UploadId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Where fresh ids come from.
#[derive(Debug)]
pub(crate) enum Ids {
    /// The machine's entropy: two processes never make the same id.
    System,
    /// A seed, for tests and replays.
    Seeded(Box<Mutex<rand_chacha::ChaCha8Rng>>),
}

impl Ids {
    pub(crate) fn seeded(seed: Seed) -> Self {
        Self::Seeded(Box::new(Mutex::new(seed.derive("mlops-registry ids").rng())))
    }

    /// An id that no other call has given, not before `floor` whatever the clock says.
    pub(crate) fn fresh(&self, now: Timestamp, floor: UploadId) -> Result<UploadId> {
        let chance = match self {
            Self::System => {
                let mut bytes = [0; 16];
                SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
                    Error::unavailable("the operating system gives no random bytes").with_source(error)
                })?;
                u128::from_le_bytes(bytes)
            }
            Self::Seeded(rng) => {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
            }
        };
        let unix_ms = u64::try_from(now.as_micros() / 1000).unwrap_or(0).max(floor.unix_ms() + 1);
        Ok(Self::at(unix_ms, chance))
    }

    fn at(unix_ms: u64, chance: u128) -> UploadId {
        UploadId(Ulid::from_parts(unix_ms.min(UploadId::UNIX_MS_MAX), chance).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_sort_by_time_and_round_trip() {
        let ids = Ids::System;
        let early = ids.fresh(Timestamp::from_micros(1_000_000), UploadId::default()).unwrap();
        let late = ids.fresh(Timestamp::from_micros(2_000_000), UploadId::default()).unwrap();
        assert!(early < late);
        assert_eq!(late.unix_ms(), 2000);
        assert_eq!(late.to_string().parse::<UploadId>().unwrap(), late);
        assert!("0".parse::<UploadId>().is_err());
        assert!(late.to_string().to_lowercase().parse::<UploadId>().is_err());
    }

    #[test]
    fn a_clock_set_back_still_gives_ids_past_the_floor() {
        let floor = UploadId::floor(5_000);
        let id = Ids::seeded(Seed::new(1)).fresh(Timestamp::from_micros(-1), floor).unwrap();
        assert!(id > floor);
    }
}
