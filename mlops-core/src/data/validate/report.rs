//! What was found.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What the data breaks, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// The column, or those of a key; none if it is about the whole table.
    pub columns: Vec<String>,
    /// The promise that is broken.
    pub promise: Promise,
    /// In how many rows.
    pub count: usize,
    /// The first such row.
    pub first_row: usize,
    /// What is there instead.
    pub example: String,
}

/// A promise of a [`Column`](crate::data::Column) or of a [`Validator`](super::Validator).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Promise {
    /// The column is there.
    Present,
    /// Cells are of the column's kind.
    Kind,
    /// Cells are not missing.
    Required,
    /// Numbers are finite.
    Finite,
    /// Numbers lie in the range.
    Range,
    /// Texts are among the categories.
    Category,
    /// No more than a share of the cells is missing.
    MissingShare,
    /// Ids and keys are unique.
    Unique,
    /// The rule of this name holds, which a [`Validator`](super::Validator::rule) was given.
    Rule(String),
    /// There are as many rows as there should be.
    Rows,
}

/// The result of a [`Validator`](super::Validator).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// The number of rows looked at.
    pub rows: usize,
    /// The share of missing cells by column, in the order of the schema.
    pub missing: Vec<(String, f64)>,
    /// What was broken: by column in the order of the schema, then keys, rules, and the number of rows. Empty if the data is
    /// good.
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
        let breaks = match &self.promise {
            Promise::Present => "is not there",
            Promise::Kind => "is of another kind",
            Promise::Required => "is missing",
            Promise::Finite => "is not finite",
            Promise::Range => "is out of its range",
            Promise::Category => "has an unknown category",
            Promise::MissingShare => "is missing too often,",
            Promise::Unique if self.columns.len() > 1 => "repeats a key",
            Promise::Unique => "repeats an id",
            Promise::Rule(name) => &format!("breaks the rule `{name}`"),
            Promise::Rows => return write!(f, "the table has {}", self.example),
        };
        let names: Vec<_> = self.columns.iter().map(|name| format!("`{name}`")).collect();
        let column = match (&self.promise, names.len()) {
            (_, 1) => "column",
            (Promise::Rule(_), _) => "the row of",
            _ => "the key",
        };
        let names = names.join(", ");
        let Self { count, first_row, example, .. } = self;
        let rows = if *count == 1 { "row" } else { "rows" };
        write!(f, "{column} {names} {breaks} in {count} {rows}, first in row {first_row}: {example}")
    }
}
