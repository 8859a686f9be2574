//! Cron patterns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Timestamp};

/// A cron pattern in UTC: minute, hour, day of month, month, day of week, with an optional field for the
/// second in front. Serialises as its text.
///
/// ```
/// use mlops_core::Timestamp;
/// use mlops_core::trigger::Cron;
///
/// let nightly: Cron = "30 2 * * *".parse()?;
/// let noon: Timestamp = "2026-05-01T12:00:00Z".parse()?;
/// assert_eq!(nightly.next_after(noon).unwrap().to_string(), "2026-05-02T02:30:00Z");
/// assert!("30 25 * * *".parse::<Cron>().is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cron {
    text: String,
    cron: Box<croner::Cron>,
}

impl Cron {
    /// The first time after `time` that fits the pattern; none if there is none.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let start = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
        let start = start.to_zoned(jiff::tz::TimeZone::UTC);
        let next = self.cron.find_next_occurrence(&start, false).ok()?;
        Some(Timestamp::from_micros(next.timestamp().as_microsecond()))
    }
}

impl FromStr for Cron {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let cron: croner::Cron = text.parse().map_err(|error: croner::errors::CronError| {
            Error::invalid(format!("`{text}` is not a cron pattern like `30 2 * * *`")).with_source(error)
        })?;
        Ok(Self { text: text.to_owned(), cron: Box::new(cron) })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl TryFrom<String> for Cron {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
