//! What one column breaks.

use std::collections::BTreeMap;

use arrow_array::{Array, ArrayRef};
use arrow_cast::display::array_value_to_string;

use super::{Broken, Promise, Violation};
use crate::Result;
use crate::data::conform::Fitted;
use crate::data::{Cells, Column, Value};

/// Counts the cells of a column that break a promise.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    missing: Option<Broken>,
    broken: BTreeMap<Promise, Broken>,
}

impl Tally {
    pub(super) fn missing(&self) -> usize {
        self.missing.as_ref().map_or(0, |missing| missing.count)
    }

    /// A batch of `rows` rows from row `first_row` on that has not the column, but `others`.
    pub(super) fn absent(&mut self, first_row: usize, rows: usize, others: impl FnOnce() -> String) {
        self.missing = Broken::merge(self.missing.take(), 0, run(first_row, rows, String::new));
        let absent = run(first_row, rows, || format!("the data has {}", others()));
        if let Some(absent) = Broken::merge(self.broken.remove(&Promise::Present), 0, absent) {
            self.broken.insert(Promise::Present, absent);
        }
    }

    /// The cells of the next batch. Gives those that keys can be made of: the column in its kind, with the cells that do not
    /// fit missing.
    pub(super) fn update(
        &mut self,
        column: &Column,
        finite: bool,
        array: &ArrayRef,
        first_row: usize,
    ) -> Result<ArrayRef> {
        let fitted = Fitted::new(column, array).unwrap_or_else(|_| Fitted::none(column, array));
        for row in &fitted.unfit {
            self.broken(Promise::Kind, first_row + row, || {
                array_value_to_string(array, *row)
                    .map_or_else(|_| array.data_type().to_string(), |text| format!("`{text}`"))
            });
        }
        let mut unfit = fitted.unfit.iter().peekable();
        let cells = Cells::new(fitted.array.as_ref())?;
        for row in 0..cells.len() {
            if unfit.next_if_eq(&&row).is_none() {
                self.see(column, finite, first_row + row, cells.value(row));
            }
        }
        fitted.into_fitting()
    }

    fn see(&mut self, column: &Column, finite: bool, row: usize, value: Value<'_>) {
        if value.is_missing() {
            match &mut self.missing {
                Some(missing) => missing.count += 1,
                none => *none = run(row, 1, String::new),
            }
            if !column.nullable {
                self.broken(Promise::Required, row, || value.to_string());
            }
            return;
        }
        if let Some(number) = value.as_f64() {
            if finite && !number.is_finite() {
                self.broken(Promise::Finite, row, || value.to_string());
            } else if column.range.is_some_and(|(low, high)| number < low || number > high) {
                self.broken(Promise::Range, row, || value.to_string());
            }
        }
        if let (Value::Text(text), Some(categories)) = (value, &column.categories)
            && !categories.iter().any(|category| category == text)
        {
            self.broken(Promise::Category, row, || value.to_string());
        }
    }

    fn broken(&mut self, promise: Promise, first_row: usize, example: impl FnOnce() -> String) {
        self.broken.entry(promise).and_modify(|broken| broken.count += 1).or_insert_with(|| Broken {
            count: 1,
            first_row,
            example: example(),
        });
    }

    /// The tally of these rows and of those that follow from row `offset` on.
    pub(super) fn merge(&mut self, offset: usize, next: Self) {
        self.missing = Broken::merge(self.missing.take(), offset, next.missing);
        for (promise, broken) in next.broken {
            if let Some(broken) = Broken::merge(self.broken.remove(&promise), offset, Some(broken)) {
                self.broken.insert(promise, broken);
            }
        }
    }

    /// What was broken, in the order of the promises.
    pub(super) fn violations(
        &self,
        column: &Column,
        rows: usize,
        missing_share_max: f64,
    ) -> impl Iterator<Item = Violation> {
        let columns = [column.name.clone()];
        let too_often = self.missing.as_ref().and_then(|missing| {
            let share = missing.count as f64 / rows as f64;
            let example = format!("{share} of the cells, at most {missing_share_max}");
            let broken = Broken { example, ..missing.clone() };
            (share > missing_share_max).then(|| broken.violation(&columns, Promise::MissingShare))
        });
        let broken: Vec<_> =
            self.broken.iter().map(|(promise, broken)| broken.violation(&columns, promise.clone())).collect();
        broken.into_iter().chain(too_often)
    }
}

/// So many rows one after the other; `None` if there is none.
fn run(first_row: usize, rows: usize, example: impl FnOnce() -> String) -> Option<Broken> {
    (rows > 0).then(|| Broken { count: rows, first_row, example: example() })
}
