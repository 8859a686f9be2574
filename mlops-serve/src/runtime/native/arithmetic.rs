//! Sums, differences, products and quotients of rows.

use super::plan::{Matrix, Reader};
use crate::Result;

/// One side of an arithmetic operation.
#[derive(Debug)]
pub(super) enum Operand {
    /// A value; of width 1 it counts for every element of a row.
    Value(Matrix),
    /// A constant row; of width 1 it counts for every element of a row.
    Row(Vec<f32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operand {
    /// The elements, and how rows of the result map to them.
    pub(super) fn resolve<'a>(&'a self, reader: &Reader<'a>, width: usize) -> Result<(&'a [f32], Stride)> {
        Ok(match self {
            Self::Value(value) if value.width == width => (reader.floats(*value)?, Stride::Row),
            Self::Value(value) => (reader.floats(*value)?, Stride::Element),
            Self::Row(row) => (row, Stride::Constant),
        })
    }
}

#[derive(Clone, Copy)]
pub(super) enum Stride {
    /// A row for each row.
    Row,
    /// One element for each row.
    Element,
    /// The same row, or the same element, for all rows.
    Constant,
}

impl Stride {
    #[inline]
    pub(super) fn of(self, values: &[f32], row: usize, width: usize) -> &[f32] {
        match self {
            Self::Row => &values[row * width..(row + 1) * width],
            Self::Element => &values[row..=row],
            Self::Constant => values,
        }
    }
}

impl Arithmetic {
    /// Operands of one element count for every element.
    #[inline]
    pub(super) fn row(self, a: &[f32], b: &[f32], y: &mut [f32]) {
        match self {
            Self::Add => combine(a, b, y, |a, b| a + b),
            Self::Subtract => combine(a, b, y, |a, b| a - b),
            Self::Multiply => combine(a, b, y, |a, b| a * b),
            Self::Divide => combine(a, b, y, |a, b| a / b),
        }
    }
}

#[inline]
fn combine(a: &[f32], b: &[f32], y: &mut [f32], how: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        ([a], b) => y.iter_mut().zip(b.iter().cycle()).for_each(|(y, b)| *y = how(*a, *b)),
        (a, [b]) => y.iter_mut().zip(a).for_each(|(y, a)| *y = how(*a, *b)),
        (a, b) => y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = how(*a, *b)),
    }
}
