//! Looks at every cell.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};

use super::check::Check;
use super::key::Key;
use super::tally::Tally;
use super::{Broken, Promise, ValidationReport, Violation};
use crate::data::conform::find;
use crate::data::{Cells, Dataset, Role, Scan, TableSchema, Value};
use crate::{Error, Result};

/// Looks at every cell of a table that comes in batches, and counts what breaks the schema and further rules.
///
/// It takes batches as they are, *before* they are brought to the schema: so cells of the wrong kind, missing columns and
/// missing required cells are counted too, where [`Dataset::new`] stops at the first. Columns of the role
/// [`Id`](Role::Id) have to be unique.
///
/// Validators of parts of a table merge: the report is that of the whole, also if the parts were looked at in parallel.
///
/// **Cost** one pass; memory for the keys of ids and of [`unique`](Self::unique), nothing else that grows with the rows.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Scan, TableSchema, Validator};
///
/// let schema = TableSchema::new([
///     Column::new("user", ColumnKind::Integer),
///     Column::new("day", ColumnKind::Integer),
///     Column::new("rate", ColumnKind::Float).range(0.0, 1.0).required(),
/// ])?;
/// let mut validator = Validator::new(schema.clone()).unique(["user", "day"])?.rows(1..=1_000_000);
/// let csv = "user,day,rate\n1,1,0.5\n1,2,lots\n1,1,\n2,1,1.5\n";
/// validator.update_from(Scan::csv(csv.as_bytes(), schema)?)?;
/// let found: Vec<String> = validator.report().violations.iter().map(ToString::to_string).collect();
/// assert_eq!(found, [
///     "column `rate` is of another kind in 1 row, first in row 1: `lots`",
///     "column `rate` is missing in 1 row, first in row 2: missing",
///     "column `rate` is out of its range in 1 row, first in row 3: 1.5",
///     "the key `user`, `day` repeats a key in 1 row, first in row 2: 1, 1",
/// ]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Validator {
    schema: Arc<TableSchema>,
    limits: Limits,
    rows: usize,
    columns: Vec<Tally>,
    keys: Vec<Key>,
    checks: Vec<Check>,
}

/// What is asked for beyond the schema; by column, in its order.
#[derive(Clone, Debug, PartialEq)]
struct Limits {
    rows: RangeInclusive<usize>,
    missing_share_max: Vec<f64>,
    finite: Vec<bool>,
}

impl Validator {
    /// A validator that has seen no row yet.
    pub fn new(schema: impl Into<Arc<TableSchema>>) -> Self {
        let schema = schema.into();
        let columns = schema.columns().len();
        let keys = schema.with_role(Role::Id).map(|column| Key::new(vec![column.name.clone()])).collect();
        Self {
            limits: Limits {
                rows: 0..=usize::MAX,
                missing_share_max: vec![1.0; columns],
                finite: vec![true; columns],
            },
            rows: 0,
            columns: vec![Tally::default(); columns],
            keys,
            checks: Vec::new(),
            schema,
        }
    }

    /// No two rows have the same cells in all of these columns. Rows with a missing one are passed over: make the columns
    /// [`required`](crate::data::Column::required) if that is wrong.
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column, `Invalid` if none is named.
    pub fn unique(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let columns = self.places(columns, "a key")?;
        self.keys.push(Key::new(columns));
        Ok(self)
    }

    /// A rule of your own, which is asked where a batch has all of these columns: `holds` says of the cells of these columns, in this order, whether the row is right. A cell
    /// that is missing, or is not of its column's kind, is [`Missing`](Value::Missing). Rules of one name are taken for the
    /// same when validators [merge](Self::merge).
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Scan, TableSchema, Validator, Value};
    ///
    /// let schema = TableSchema::new([
    ///     Column::new("shown", ColumnKind::Integer),
    ///     Column::new("clicked", ColumnKind::Integer),
    /// ])?;
    /// let shown_first = |cells: &[Value<'_>]| match cells {
    ///     [Value::Integer(shown), Value::Integer(clicked)] => clicked <= shown,
    ///     _ => true,
    /// };
    /// let mut validator =
    ///     Validator::new(schema.clone()).rule("shown before clicked", ["shown", "clicked"], shown_first)?;
    /// validator.update_from(Scan::csv("shown,clicked\n3,1\n0,2\n".as_bytes(), schema)?)?;
    /// assert_eq!(
    ///     validator.report().violations[0].to_string(),
    ///     "the row of `shown`, `clicked` breaks the rule `shown before clicked` in 1 row, first in row 1: 0, 2",
    /// );
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column, `Invalid` if none is named, or there is a rule of this name.
    pub fn rule(
        mut self,
        name: impl Into<String>,
        columns: impl IntoIterator<Item = impl Into<String>>,
        holds: impl Fn(&[Value<'_>]) -> bool + Send + Sync + 'static,
    ) -> Result<Self> {
        let (name, columns) = (name.into(), self.places(columns, "a rule")?);
        if self.checks.iter().any(|check| check.name == name) {
            return Err(Error::invalid(format!("two rules are called `{name}`: rename one")));
        }
        self.checks.push(Check { name, columns, holds: Arc::new(holds), broken: None });
        Ok(self)
    }

    /// Names of columns that the schema has.
    fn places(
        &self,
        columns: impl IntoIterator<Item = impl Into<String>>,
        what: &str,
    ) -> Result<Vec<String>> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        if columns.is_empty() {
            return Err(Error::invalid(format!("{what} needs at least one column")));
        }
        columns.iter().try_for_each(|name| self.schema.index_of(name).map(drop))?;
        Ok(columns)
    }

    /// The table has so many rows.
    #[must_use]
    pub fn rows(mut self, allowed: RangeInclusive<usize>) -> Self {
        self.limits.rows = allowed;
        self
    }

    /// At most this share of the column's cells is missing.
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column, `Invalid` unless the share is in 0..=1.
    pub fn missing_share_max(mut self, column: &str, share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::invalid(format!(
                "column `{column}` has the missing share {share}: want 0 to 1"
            )));
        }
        let place = self.schema.index_of(column)?;
        self.limits.missing_share_max[place] = share;
        Ok(self)
    }

    /// Numbers of the column may be NaN or infinite; infinite ones still have to lie in the range.
    ///
    /// # Errors
    /// `NotFound` if the schema has no such column.
    pub fn allow_non_finite(mut self, column: &str) -> Result<Self> {
        let place = self.schema.index_of(column)?;
        self.limits.finite[place] = false;
        Ok(self)
    }

    /// Looks at the next rows, of any types.
    ///
    /// # Errors
    /// `Data` if two columns have one name.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let arrays = find(&self.schema, batch)?;
        let mut fitted: Vec<Option<ArrayRef>> = Vec::with_capacity(arrays.len());
        for (place, array) in arrays.into_iter().enumerate() {
            let (column, tally) = (&self.schema.columns()[place], &mut self.columns[place]);
            fitted.push(match array {
                Some(array) => Some(tally.update(column, self.limits.finite[place], array, self.rows)?),
                None => {
                    tally.absent(self.rows, batch.num_rows(), || {
                        let fields = batch.schema_ref().fields().iter();
                        fields.map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
                    });
                    None
                }
            });
        }
        // Nothing if the batch lacks one of the columns, which is counted already.
        let cells = |columns: &[String]| -> Result<Option<Vec<Cells<'_>>>> {
            let arrays = columns.iter().map(|name| Ok(fitted[self.schema.index_of(name)?].as_ref()));
            let arrays = arrays.collect::<Result<Option<Vec<_>>>>()?;
            arrays
                .map(|arrays| arrays.into_iter().map(|array| Cells::new(array.as_ref())).collect())
                .transpose()
        };
        for key in &mut self.keys {
            if let Some(cells) = cells(&key.columns)? {
                key.update(&cells, self.rows);
            }
        }
        for check in &mut self.checks {
            if let Some(cells) = cells(&check.columns)? {
                check.update(&cells, self.rows);
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Looks at all rows of a scan, as they are in its files. (A file that lacks a column is refused when it is opened: the
    /// error names all that it lacks.)
    ///
    /// # Errors
    /// As [`update`](Self::update), and if the scan cannot be read.
    pub fn update_from(&mut self, scan: Scan) -> Result<()> {
        scan.into_raw().try_for_each(|batch| self.update(&batch?))
    }

    /// Takes what was found in the rows that follow.
    ///
    /// # Errors
    /// `Invalid` if the other has another schema or other rules.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let names = |keys: &[Key]| keys.iter().map(|key| key.columns.clone()).collect::<Vec<_>>();
        let rules = |checks: &[Check]| {
            checks.iter().map(|check| (check.name.clone(), check.columns.clone())).collect::<Vec<_>>()
        };
        if (&self.schema, &self.limits, names(&self.keys), rules(&self.checks))
            != (&other.schema, &other.limits, names(&other.keys), rules(&other.checks))
        {
            return Err(Error::invalid("validators of different schemas or rules do not merge"));
        }
        let offset = self.rows;
        self.rows += other.rows;
        self.columns.iter_mut().zip(other.columns).for_each(|(tally, next)| tally.merge(offset, next));
        self.keys.iter_mut().zip(other.keys).for_each(|(key, next)| key.merge(offset, next));
        for (check, next) in self.checks.iter_mut().zip(other.checks) {
            check.broken = Broken::merge(check.broken.take(), offset, next.broken);
        }
        Ok(())
    }

    /// What was found so far.
    pub fn report(&self) -> ValidationReport {
        let rows = self.rows;
        let columns = || self.schema.columns().iter().zip(&self.columns);
        let share = |tally: &Tally| if rows == 0 { 0.0 } else { tally.missing() as f64 / rows as f64 };
        let missing = columns().map(|(column, tally)| (column.name.clone(), share(tally))).collect();
        let by_column = columns()
            .zip(&self.limits.missing_share_max)
            .flat_map(|((column, tally), share)| tally.violations(column, rows, *share));
        let (low, high) = (self.limits.rows.start(), self.limits.rows.end());
        let count = (!self.limits.rows.contains(&rows)).then(|| Violation {
            columns: Vec::new(),
            promise: Promise::Rows,
            count: rows,
            first_row: 0,
            example: format!("{rows} rows, not {low} to {high}"),
        });
        let violations = by_column.chain(self.keys.iter().filter_map(Key::violation));
        let violations =
            violations.chain(self.checks.iter().filter_map(Check::violation)).chain(count).collect();
        ValidationReport { rows, missing, violations }
    }
}

impl Dataset {
    /// Looks at every cell and reports what breaks the schema: see [`Validator`], which has further rules and takes tables
    /// that are too broken to be a data set. A table without rows breaks nothing: [`Validator::rows`] asks for some.
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema};
    ///
    /// let schema = TableSchema::new([Column::new("rate", ColumnKind::Float).range(0.0, 1.0)])?;
    /// let report = Dataset::from_csv("rate\n0.5\n1.5\n".as_bytes(), schema)?.validate()?;
    /// assert_eq!(
    ///     report.into_result().unwrap_err().to_string(),
    ///     "the data breaks its schema: column `rate` is out of its range in 1 row, first in row 1: 1.5",
    /// );
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// None that a data set can give; those of [`Validator::update`].
    pub fn validate(&self) -> Result<ValidationReport> {
        let mut validator = Validator::new(Arc::clone(self.schema()));
        self.batches().iter().try_for_each(|batch| validator.update(batch))?;
        Ok(validator.report())
    }
}
