//! Cron patterns.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Timestamp};

/// A cron pattern: minute, hour, day of month, month, day of week, with an optional field for the second in
/// front, and one for the year behind if there is one for the second too; or a name such as `@daily`. Serialises as its
/// text.
///
/// It is in UTC, or in the time zone that `CRON_TZ=` in front of it names; all but `UTC` need the feature
/// `time-zones`. Where clocks leap over a due time, as in spring, it is due right after the leap; a time that comes
/// twice, as in autumn, is due once. A pattern that is due every so many minutes or hours follows the clock on the
/// wall: it leaves out the hour that does not exist, and takes both that have one name.
///
/// ```
/// use mlops_core::Timestamp;
/// use mlops_core::trigger::Cron;
///
/// let nightly: Cron = "30 2 * * *".parse()?;
/// let noon: Timestamp = "2026-05-01T12:00:00Z".parse()?;
/// assert_eq!(nightly.next_after(noon).unwrap().to_string(), "2026-05-02T02:30:00Z");
/// assert!("30 25 * * *".parse::<Cron>().is_err());
/// # #[cfg(feature = "time-zones")] {
/// let in_berlin: Cron = "CRON_TZ=Europe/Berlin 30 2 * * *".parse()?;
/// assert_eq!(in_berlin.next_after(noon).unwrap().to_string(), "2026-05-02T00:30:00Z");
/// # }
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cron {
    text: String,
    zone: TimeZone,
    cron: Box<croner::Cron>,
}

impl Cron {
    /// The first time after `time` that fits the pattern; none if there is none.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let start = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
        let start = start.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&start, false).ok()?;
        Some(Timestamp::from_micros(next.timestamp().as_microsecond()))
    }
}

impl FromStr for Cron {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (zone, pattern) = match text.strip_prefix("CRON_TZ=").map(|text| text.split_once(' ')) {
            None => (TimeZone::UTC, text),
            Some(Some((name, pattern))) => (zone(name)?, pattern.trim_start()),
            Some(None) => {
                return Err(Error::invalid(format!("`{text}` names a time zone and no cron pattern")));
            }
        };
        let cron: croner::Cron = pattern.parse().map_err(|error: croner::errors::CronError| {
            Error::invalid(format!("`{pattern}` is not a cron pattern like `30 2 * * *`")).with_source(error)
        })?;
        Ok(Self { text: text.to_owned(), zone, cron: Box::new(cron) })
    }
}

#[cfg(feature = "time-zones")]
fn zone(name: &str) -> Result<TimeZone> {
    TimeZone::get(name).map_err(|error| {
        Error::invalid(format!("there is no time zone `{name}`: want a name like `Europe/Berlin`"))
            .with_source(error)
    })
}

#[cfg(not(feature = "time-zones"))]
fn zone(name: &str) -> Result<TimeZone> {
    match name {
        "UTC" => Ok(TimeZone::UTC),
        _ => Err(Error::unsupported(format!(
            "time zone `{name}` is not built in: turn on the feature `time-zones` of mlops-core, or use UTC"
        ))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn due(pattern: &str, from: &str, count: usize) -> Vec<String> {
        let cron: Cron = pattern.parse().unwrap();
        let mut time: Timestamp = from.parse().unwrap();
        let mut next = || {
            time = cron.next_after(time).unwrap();
            time.to_string()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn utc_is_the_zone_of_a_pattern_without_one() {
        let expected = ["2026-03-29T02:30:00Z", "2026-03-30T02:30:00Z"];
        assert_eq!(due("30 2 * * *", "2026-03-28T12:00:00Z", 2), expected);
        assert_eq!(due("CRON_TZ=UTC 30 2 * * *", "2026-03-28T12:00:00Z", 2), expected);
        for (text, message) in [
            ("CRON_TZ=UTC", "names a time zone and no cron pattern"),
            ("CRON_TZ=Atlantis/Centre 0 0 * * *", "time zone `Atlantis/Centre`"),
            ("CRON_TZ=UTC 61 * * * *", "`61 * * * *` is not a cron pattern"),
        ] {
            let error = text.parse::<Cron>().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[cfg(feature = "time-zones")]
    #[test]
    fn a_zone_moves_with_its_summer_time() {
        let berlin = "CRON_TZ=Europe/Berlin 30 2 * * *";
        // 2:30 does not exist on 29 March: it is due when the clock leaps to 3:00.
        assert_eq!(
            due(berlin, "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        // 2:30 comes twice on 25 October: the first one counts.
        assert_eq!(due(berlin, "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let hourly = due("CRON_TZ=Europe/Berlin 0 * * * *", "2026-10-24T23:30:00Z", 4);
        assert_eq!(
            hourly,
            ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"]
        );
        let json = serde_json::to_string(&berlin.parse::<Cron>().unwrap()).unwrap();
        assert_eq!(json, format!("\"{berlin}\""));
        assert_eq!(serde_json::from_str::<Cron>(&json).unwrap(), berlin.parse().unwrap());
    }
}
