//! Does the data keep what its schema promises?

mod check;
mod key;
mod report;
mod tally;
mod validator;

pub use report::{Promise, ValidationReport, Violation};
pub use validator::Validator;

/// How often a promise was broken.
#[derive(Clone, Debug, PartialEq)]
struct Broken {
    count: usize,
    first_row: usize,
    example: String,
}

impl Broken {
    /// What breaks it here or in the rows that follow from row `offset` on.
    fn merge(first: Option<Self>, offset: usize, next: Option<Self>) -> Option<Self> {
        match (first, next) {
            (Some(first), next) => {
                Some(Self { count: first.count + next.map_or(0, |next| next.count), ..first })
            }
            (None, next) => next.map(|next| Self { first_row: next.first_row + offset, ..next }),
        }
    }

    fn violation(&self, columns: &[String], promise: Promise) -> Violation {
        Violation {
            columns: columns.to_vec(),
            promise,
            count: self.count,
            first_row: self.first_row,
            example: self.example.clone(),
        }
    }
}
