//! The parts of a time, as numbers.

use jiff::civil::DateTime;

use super::DatePart;
use crate::data::Value;

#[inline]
pub(super) fn encode_date(parts: &[DatePart], cell: Value<'_>, out: &mut [f32]) {
    let Some(time) = utc(cell) else { return out.fill(f32::NAN) };
    out.iter_mut().zip(parts).for_each(|(out, part)| *out = part.of(time).into());
}

/// The time of a cell that holds one.
#[inline]
pub(super) fn utc(cell: Value<'_>) -> Option<DateTime> {
    let Value::Integer(micros) = cell else { return None };
    let time = jiff::Timestamp::from_microsecond(micros).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(time))
}

impl DatePart {
    #[inline]
    pub(super) fn of(self, time: DateTime) -> i16 {
        match self {
            Self::Hour => time.hour().into(),
            Self::Weekday => time.weekday().to_monday_one_offset().into(),
            Self::Day => time.day().into(),
            Self::Month => time.month().into(),
            Self::Year => time.year(),
        }
    }

    /// The index of a missing time: one more than the largest.
    pub(super) fn missing(self) -> i64 {
        match self {
            Self::Hour => 24,
            Self::Weekday => 8,
            Self::Day => 32,
            Self::Month => 13,
            // Years are no indices.
            Self::Year => 0,
        }
    }
}
