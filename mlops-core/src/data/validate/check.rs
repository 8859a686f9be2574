//! Rules of the caller's.

use std::fmt;
use std::sync::Arc;

use super::{Broken, Promise, Violation};
use crate::data::{Cells, Value};

/// Counts the rows whose cells in some columns a function says no to.
#[derive(Clone)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) holds: Arc<Holds>,
    pub(super) broken: Option<Broken>,
}

pub(super) type Holds = dyn Fn(&[Value<'_>]) -> bool + Send + Sync;

impl Check {
    /// The columns of the next batch.
    pub(super) fn update(&mut self, columns: &[Cells<'_>], first_row: usize) {
        let mut cells = vec![Value::Missing; columns.len()];
        for row in 0..columns.first().map_or(0, Cells::len) {
            cells.iter_mut().zip(columns).for_each(|(cell, column)| *cell = column.value(row));
            if (self.holds)(&cells) {
                continue;
            }
            match &mut self.broken {
                Some(broken) => broken.count += 1,
                none => {
                    let example = cells.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    *none = Some(Broken { count: 1, first_row: first_row + row, example });
                }
            }
        }
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        Some(self.broken.as_ref()?.violation(&self.columns, Promise::Rule(self.name.clone())))
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, columns, broken, .. } = self;
        f.debug_struct("Check")
            .field("name", name)
            .field("columns", columns)
            .field("broken", broken)
            .finish_non_exhaustive()
    }
}
