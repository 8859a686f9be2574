//! Which keys come twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;

use super::{Broken, Promise, Violation};
use crate::data::{Cells, Value};

/// Counts the rows whose cells in some columns were there before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) columns: Vec<String>,
    /// Each key with its first row. Texts are in quotes, so that two keys never read alike.
    seen: HashMap<Box<str>, usize>,
    repeated: Option<Broken>,
}

impl Key {
    pub(super) fn new(columns: Vec<String>) -> Self {
        Self { columns, seen: HashMap::new(), repeated: None }
    }

    /// The key's columns of the next batch; a row with a missing cell has no key.
    pub(super) fn update(&mut self, columns: &[Cells<'_>], first_row: usize) {
        let rows = columns.first().map_or(0, Cells::len);
        let mut text = String::new();
        for row in 0..rows {
            if columns.iter().any(|column| column.value(row).is_missing()) {
                continue;
            }
            text.clear();
            for (place, column) in columns.iter().enumerate() {
                let comma = if place == 0 { "" } else { ", " };
                // Writing to a `String` never fails.
                let _ = match column.value(row) {
                    Value::Text(cell) => write!(text, "{comma}{cell:?}"),
                    cell => write!(text, "{comma}{cell}"),
                };
            }
            let row = first_row + row;
            if !self.seen.contains_key(text.as_str()) {
                self.seen.insert(text.as_str().into(), row);
            } else if let Some(repeated) = &mut self.repeated {
                repeated.count += 1;
            } else {
                self.repeated = Some(Broken { count: 1, first_row: row, example: text.clone() });
            }
        }
    }

    /// The keys of these rows and of those that follow from row `offset` on.
    pub(super) fn merge(&mut self, offset: usize, next: Self) {
        // A key of both is repeated where it is first in the other's rows.
        let mut shared: Option<Broken> = None;
        for (key, row) in next.seen {
            match self.seen.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(offset + row)),
                Entry::Occupied(entry) => {
                    let count = shared.as_ref().map_or(0, |shared| shared.count) + 1;
                    let earlier = shared.take().filter(|shared| shared.first_row < row);
                    let first = earlier.unwrap_or_else(|| Broken {
                        count,
                        first_row: row,
                        example: entry.key().to_string(),
                    });
                    shared = Some(Broken { count, ..first });
                }
            }
        }
        let next = match (shared, next.repeated) {
            (Some(a), Some(b)) => {
                let count = a.count + b.count;
                Some(Broken { count, ..if a.first_row < b.first_row { a } else { b } })
            }
            (a, b) => a.or(b),
        };
        self.repeated = Broken::merge(self.repeated.take(), offset, next);
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        Some(self.repeated.as_ref()?.violation(&self.columns, Promise::Unique))
    }
}
