//! Does the data keep what its schema promises?

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Column, Dataset, Role, Value};
use crate::{Error, Result};

/// What a column breaks, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// The column.
    pub column: String,
    /// The promise that it breaks.
    pub rule: Rule,
    /// In how many rows.
    pub count: usize,
    /// The first such row.
    pub first_row: usize,
    /// The value in it.
    pub example: String,
}

/// A promise of a [`Column`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// Numbers are finite.
    Finite,
    /// Numbers lie in the range.
    Range,
    /// Texts are among the categories.
    Category,
    /// Ids are unique.
    Unique,
}

/// The result of [`Dataset::validate`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// The number of rows looked at.
    pub rows: usize,
    /// The share of missing cells by column, in the order of the schema.
    pub missing: Vec<(String, f64)>,
    /// What was broken; empty if the data is good.
    pub violations: Vec<Violation>,
}

impl ValidationReport {
    /// Whether nothing was broken.
    pub fn is_valid(&self) -> bool {
        self.violations.is_empty()
    }

    /// Nothing if the data is good, else an error that lists what was broken.
    ///
    /// # Errors
    /// `Data` if there is a violation.
    pub fn into_result(self) -> Result<()> {
        if self.is_valid() {
            return Ok(());
        }
        let list: Vec<_> = self.violations.iter().map(ToString::to_string).collect();
        Err(Error::data(format!("the data breaks its schema: {}", list.join("; "))))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            Rule::Finite => "is not finite",
            Rule::Range => "is out of its range",
            Rule::Category => "has an unknown category",
            Rule::Unique => "repeats an id",
        };
        let Self { column, count, first_row, example, .. } = self;
        let rows = if *count == 1 { "row" } else { "rows" };
        write!(f, "column `{column}` {rule} in {count} {rows}, first in row {first_row}: {example}")
    }
}

impl Dataset {
    /// Looks at every cell and reports what breaks the schema. (Types and required cells were checked when
    /// the data set was made.)
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
    /// `Unsupported` if a column has an Arrow type that no [`ColumnKind`](super::ColumnKind) has.
    pub fn validate(&self) -> Result<ValidationReport> {
        let schema = self.schema();
        let mut columns: Vec<_> = schema.columns().iter().map(ColumnCheck::new).collect();
        self.for_each_row(|row, values| {
            columns.iter_mut().zip(values).for_each(|(check, value)| check.see(row, *value));
            Ok(())
        })?;
        let rows = self.rows();
        let share = |count: usize| if rows == 0 { 0.0 } else { count as f64 / rows as f64 };
        let missing = columns.iter().map(|check| (check.column.name.clone(), share(check.missing))).collect();
        let violations = columns.into_iter().flat_map(|check| check.violations).collect();
        Ok(ValidationReport { rows, missing, violations })
    }
}

struct ColumnCheck<'a> {
    column: &'a Column,
    missing: usize,
    seen: HashSet<String>,
    violations: Vec<Violation>,
}

impl<'a> ColumnCheck<'a> {
    fn new(column: &'a Column) -> Self {
        Self { column, missing: 0, seen: HashSet::new(), violations: Vec::new() }
    }

    fn see(&mut self, row: usize, value: Value<'_>) {
        if value.is_missing() {
            self.missing += 1;
            return;
        }
        if let Some(number) = value.as_f64() {
            if !number.is_finite() {
                self.broken(Rule::Finite, row, value);
            } else if self.column.range.is_some_and(|(low, high)| number < low || number > high) {
                self.broken(Rule::Range, row, value);
            }
        }
        if let (Value::Text(text), Some(categories)) = (value, &self.column.categories)
            && !categories.iter().any(|category| category == text)
        {
            self.broken(Rule::Category, row, value);
        }
        if self.column.role == Role::Id && !self.seen.insert(value.to_string()) {
            self.broken(Rule::Unique, row, value);
        }
    }

    fn broken(&mut self, rule: Rule, row: usize, value: Value<'_>) {
        if let Some(violation) = self.violations.iter_mut().find(|violation| violation.rule == rule) {
            violation.count += 1;
            return;
        }
        let column = self.column.name.clone();
        self.violations.push(Violation {
            column,
            rule,
            count: 1,
            first_row: row,
            example: value.to_string(),
        });
    }
}
