//! Joins that see no future: features as they were known, labels once they are due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, UInt64Array};

use super::{Dataset, TableSchema, Value};
use crate::{Error, Result, Timestamp};

/// A join of two tables by entity and time, as a feature store does it.
///
/// The *spine* has a row for each moment that a model was or would have been asked: entity keys and a time.
/// [`features`](Self::features) adds to each row the latest feature row of its entity that was known at that
/// time; [`labels`](Self::labels) adds the first outcome that followed. Columns of the other table keep their
/// names (see [`prefixed`](Self::prefixed)) and may be missing; keys and times are not repeated.
///
/// - **Leakage** A feature row is used only if its time, and the time at which it became known
///   ([`known_at`](Self::known_at)), are not after the time of the spine row.
/// - **Ties** A feature row of the very same time counts, unless [`strictly_before`](Self::strictly_before). Of
///   rows with equal times the one that became known last wins, then the one that comes last.
/// - **Missing** A missing key matches nothing. A missing time is an error: nobody can say whether it leaks.
/// - **Order** The rows of the spine keep their order; neither table needs to be sorted.
/// - **Cost** `O((n + m) log m)`, and one step more for each row that was not known yet.
///
/// Keys are whole numbers, text or truth values; times are timestamps or whole numbers of microseconds.
///
/// ```
/// use std::time::Duration;
///
/// use mlops_core::data::{Column, ColumnKind, Dataset, PointInTime, TableSchema};
///
/// let table = |columns: [(&str, ColumnKind); 3], csv: &str| {
///     let schema = TableSchema::new(columns.map(|(name, kind)| Column::new(name, kind)))?;
///     Dataset::from_csv(csv.as_bytes(), schema)
/// };
/// let (integer, float) = (ColumnKind::Integer, ColumnKind::Float);
/// let visits = table([("user", integer), ("t", integer), ("page", integer)], "user,t,page\n1,50,7\n1,99,8\n2,99,9\n")?;
/// let profile = table([("user", integer), ("t", integer), ("spent", float)], "user,t,spent\n1,40,2.5\n1,60,4\n1,100,9\n")?;
///
/// let joined = PointInTime::new(["user"], "t").features(&visits, &profile, Some(Duration::from_micros(45)))?;
/// let spent = joined.numbers("spent")?;
/// assert_eq!(spent[..2], [2.5, 4.0]);
/// assert!(spent[2].is_nan());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointInTime {
    keys: Vec<String>,
    time: String,
    other_time: Option<String>,
    known_at: Option<String>,
    strictly_before: bool,
    delay: Duration,
    prefix: String,
}

impl PointInTime {
    /// A join by these key columns and this time column, which have the same names in both tables.
    pub fn new(keys: impl IntoIterator<Item = impl Into<String>>, time: impl Into<String>) -> Self {
        Self {
            keys: keys.into_iter().map(Into::into).collect(),
            time: time.into(),
            other_time: None,
            known_at: None,
            strictly_before: false,
            delay: Duration::ZERO,
            prefix: String::new(),
        }
    }

    /// The time column of the feature or label table, if it has another name there.
    #[must_use]
    pub fn other_time(mut self, name: impl Into<String>) -> Self {
        self.other_time = Some(name.into());
        self
    }

    /// The column of the feature or label table that says when its row became known (when it was loaded, not
    /// when it happened). Without it a row counts as known at its own time.
    #[must_use]
    pub fn known_at(mut self, name: impl Into<String>) -> Self {
        self.known_at = Some(name.into());
        self
    }

    /// Refuses feature rows of the very same time: for features that the spine's own event may have changed.
    #[must_use]
    pub fn strictly_before(mut self) -> Self {
        self.strictly_before = true;
        self
    }

    /// How long after they happened outcomes are all known: [`labels`](Self::labels) waits so much longer. Without it,
    /// a row whose horizon has just ended counts as one without an outcome, though its outcome is on the way.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Puts this in front of the names of added columns.
    #[must_use]
    pub fn prefixed(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Each row of the spine with the latest features of its entity that were known then, and no older than
    /// `age_max`; missing where there are none.
    ///
    /// # Errors
    /// `NotFound` if a column is missing, `Invalid` if a key or time column has the wrong kind or not that of the
    /// other table, or an added column has the name of one of the spine, `Data` if a time is missing.
    pub fn features(
        &self,
        spine: &Dataset,
        features: &Dataset,
        age_max: Option<Duration>,
    ) -> Result<Dataset> {
        self.check_kinds(spine, features)?;
        let index = self.index(features)?;
        let rows = self.rows(spine, &self.time, None)?;
        let age_max = age_max.map_or(i64::MAX, micros);
        let found = rows.iter().map(|row| {
            let entity = index.get(row.key.as_ref()?)?;
            let end = entity.partition_point(|other| {
                other.time < row.time || (other.time == row.time && !self.strictly_before)
            });
            let fresh =
                entity[..end].iter().rev().take_while(|other| row.time.saturating_sub(other.time) <= age_max);
            let mut known = fresh
                .filter(|other| other.known < row.time || (other.known == row.time && !self.strictly_before));
            known.next().map(|other| other.place as u64)
        });
        self.joined(spine, features, &found.collect())
    }

    /// The rows of the spine that are old enough to judge, each with the first outcome of its entity from its
    /// time to `horizon` later that was known at `as_of`; missing where there was none. If only positive
    /// outcomes are recorded (clicks, purchases), *missing is a negative*: make it one by
    /// [`fill_null`](Dataset::fill_null), do not drop the row.
    ///
    /// A row is old enough if its horizon, and the [`delay`](Self::delay) of outcomes, ended by `as_of`. Younger rows are left out *even if they have an
    /// outcome already*: outcomes that come early are the positive ones, and keeping them alone would bias the
    /// training set. An outcome at the very time of the row counts, unless
    /// [`strictly_before`](Self::strictly_before).
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn labels(
        &self,
        spine: &Dataset,
        labels: &Dataset,
        horizon: Duration,
        as_of: Timestamp,
    ) -> Result<Dataset> {
        self.check_kinds(spine, labels)?;
        let index = self.index(labels)?;
        let (horizon, as_of) = (micros(horizon), as_of.as_micros());
        let rows = self.rows(spine, &self.time, None)?;
        let delay = micros(self.delay);
        let due = |row: &&Row| row.time.saturating_add(horizon).saturating_add(delay) <= as_of;
        let places: Vec<usize> = rows.iter().filter(due).map(|row| row.place).collect();
        let found = rows.iter().filter(due).map(|row| {
            let entity = index.get(row.key.as_ref()?)?;
            let start = entity.partition_point(|other| {
                other.time < row.time || (other.time == row.time && self.strictly_before)
            });
            let within =
                entity[start..].iter().take_while(|other| other.time.saturating_sub(row.time) <= horizon);
            let mut known = within.filter(|other| other.known <= as_of);
            let first = known.next()?;
            // Of rows with equal times the last one is the correction.
            let last = known.take_while(|other| other.time == first.time).last().unwrap_or(first);
            Some(last.place as u64)
        });
        let found = found.collect();
        self.joined(&spine.take(&places)?, labels, &found)
    }

    /// Keys of different kinds would match nothing, and times of different kinds all or nothing, and say nothing.
    fn check_kinds(&self, spine: &Dataset, other: &Dataset) -> Result<()> {
        if self.keys.is_empty() {
            return Err(Error::invalid("a point-in-time join needs a key column: name the entity"));
        }
        let of_spine = |name: &str| {
            let column = spine.schema().column(name);
            column
                .map(|column| column.kind)
                .map_err(|error| error.context("a column of the join is not in the spine"))
        };
        let of_other = |name: &str| {
            let column = other.schema().column(name);
            column.map(|column| column.kind).map_err(|error| {
                error.context(
                    "a column of the join is not in the joined table: see `other_time` and `known_at`",
                )
            })
        };
        for key in &self.keys {
            let (a, b) = (of_spine(key)?, of_other(key)?);
            if a != b {
                return Err(Error::invalid(format!(
                    "key column `{key}` is {a} in the spine and {b} in the other table"
                )));
            }
        }
        let kind = of_spine(&self.time)?;
        let theirs = self
            .other_time
            .iter()
            .chain(&self.known_at)
            .chain(self.other_time.is_none().then_some(&self.time));
        for name in theirs {
            let other = of_other(name)?;
            if kind != other {
                let time = &self.time;
                return Err(Error::invalid(format!(
                    "time column `{time}` is {kind} in the spine, `{name}` is {other} in the other table: they may count in different units, bring them to one"
                )));
            }
        }
        Ok(())
    }

    /// The rows of each entity, by time, then by when they became known, then by place.
    fn index(&self, other: &Dataset) -> Result<HashMap<Vec<u8>, Vec<Row>>> {
        let time = self.other_time.as_ref().unwrap_or(&self.time);
        let mut entities: HashMap<Vec<u8>, Vec<Row>> = HashMap::new();
        for mut row in self.rows(other, time, self.known_at.as_deref())? {
            if let Some(key) = row.key.take() {
                entities.entry(key).or_default().push(row);
            }
        }
        entities.values_mut().for_each(|rows| rows.sort_by_key(|row| (row.time, row.known, row.place)));
        Ok(entities)
    }

    fn rows(&self, table: &Dataset, time: &str, known_at: Option<&str>) -> Result<Vec<Row>> {
        let schema = table.schema();
        let keys = self.keys.iter().map(|key| schema.index_of(key)).collect::<Result<Vec<_>>>()?;
        let time_index = schema.index_of(time)?;
        let known_index = known_at.map(|name| schema.index_of(name)).transpose()?;
        let mut rows = Vec::with_capacity(table.rows());
        table.for_each_row(|place, values| {
            let time = instant(time, place, values[time_index])?;
            let known = match known_at.zip(known_index) {
                // What became known before it happened is a forecast: it counts from its own time.
                Some((name, index)) => instant(name, place, values[index])?.max(time),
                None => time,
            };
            let mut key = Some(Vec::with_capacity(9 * keys.len()));
            for (index, name) in keys.iter().zip(&self.keys) {
                key = match key {
                    Some(key) => extend(key, name, values[*index])?,
                    None => None,
                };
            }
            rows.push(Row { key, time, known, place });
            Ok(())
        })?;
        Ok(rows)
    }

    /// The spine with the other table's columns at these places.
    fn joined(&self, spine: &Dataset, other: &Dataset, places: &UInt64Array) -> Result<Dataset> {
        let time = self.other_time.as_ref().unwrap_or(&self.time);
        let added = other.schema().columns().iter().filter(|column| {
            column.name != *time
                && self.known_at.as_ref() != Some(&column.name)
                && !self.keys.contains(&column.name)
        });
        let mut columns = spine.schema().columns().to_vec();
        let mut arrays =
            columns.iter().map(|column| spine.column(&column.name)).collect::<Result<Vec<_>>>()?;
        for column in added {
            arrays.push(other.taken(&column.name, places)?);
            let mut column = column.clone();
            column.name = format!("{}{}", self.prefix, column.name);
            column.nullable = true;
            if columns.iter().any(|there| there.name == column.name) {
                let name = &column.name;
                return Err(Error::invalid(format!(
                    "both tables have a column `{name}`: give the added ones a prefix"
                )));
            }
            columns.push(column);
        }
        let schema = Arc::new(TableSchema::new(columns)?);
        let batch = RecordBatch::try_new(schema.to_arrow(), arrays)?;
        Dataset::new(schema, [batch])
    }
}

/// One row of either table; without a key it matches nothing.
struct Row {
    key: Option<Vec<u8>>,
    time: i64,
    known: i64,
    place: usize,
}

fn instant(column: &str, row: usize, value: Value<'_>) -> Result<i64> {
    match value {
        Value::Integer(micros) => Ok(micros),
        Value::Missing => {
            Err(Error::data(format!("column `{column}` has no time in row {row}: drop the row first")))
        }
        other => Err(Error::invalid(format!(
            "column `{column}` has {other} in row {row}: a time is a timestamp or a whole number of microseconds"
        ))),
    }
}

/// The key with one more part; `None` if the part is missing.
fn extend(mut key: Vec<u8>, column: &str, value: Value<'_>) -> Result<Option<Vec<u8>>> {
    match value {
        Value::Missing => return Ok(None),
        Value::Integer(value) => key.extend(value.to_le_bytes()),
        Value::Boolean(value) => key.push(u8::from(value)),
        Value::Text(value) => {
            key.extend((value.len() as u64).to_le_bytes());
            key.extend(value.as_bytes());
        }
        Value::Float(value) => {
            return Err(Error::invalid(format!(
                "key column `{column}` has the number {value}: a key is a whole number, text or truth value"
            )));
        }
    }
    Ok(Some(key))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
