//! The steps that plans consist of.

use std::sync::Arc;

use super::arithmetic::{Arithmetic, Operand};
use super::category::Category;
use super::classify::Classify;
use super::dense::Dense;
use super::forest::Forest;
use super::link::Activation;
use super::plan::{Frame, Matrix, Place};
use super::top::{arg_max, top};
use crate::tensor::TensorData;
use crate::{Error, Result};

/// One step: what it computes, and where it puts the result.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) out: Matrix,
}

/// What a step computes. A `Matrix` that an operation holds is what it reads.
#[derive(Debug)]
pub(super) enum Operation {
    Dense {
        x: Matrix,
        dense: Dense,
        then: Activation,
    },
    Forest {
        x: Matrix,
        forest: Box<Forest<f32>>,
        then: Activation,
    },
    Map {
        x: Matrix,
        then: Activation,
    },
    Combine {
        a: Operand,
        b: Operand,
        how: Arithmetic,
    },
    /// Parts side by side, so many times in a row.
    Concat {
        parts: Vec<Matrix>,
        repeat: usize,
    },
    /// The product of two matrices in each row, which share an axis of length `inner`.
    Product {
        a: Matrix,
        b: Matrix,
        inner: usize,
    },
    /// Columns of a row.
    Columns {
        x: Matrix,
        columns: Vec<usize>,
    },
    /// Rows of a table by index.
    Lookup {
        index: Matrix,
        /// What the graph calls the indices: an input's name as a rule.
        name: Box<str>,
        table: Arc<[f32]>,
        row: usize,
    },
    /// Sums of `group` neighbours.
    Sum {
        x: Matrix,
        group: usize,
        mean: bool,
    },
    /// An input of another type as floats.
    Convert {
        input: usize,
    },
    /// Integers as floats.
    ToFloats {
        x: Matrix,
    },
    /// Floats as integers, towards zero.
    ToIntegers {
        x: Matrix,
    },
    /// Class scores to probabilities.
    Classify {
        x: Matrix,
        classify: Classify,
    },
    /// Class scores to the place of the winning class.
    Winner {
        x: Matrix,
        classify: Classify,
    },
    /// Integers by place.
    Names {
        x: Matrix,
        names: Vec<i64>,
    },
    /// The place of the largest element.
    ArgMax {
        x: Matrix,
    },
    /// Ones and zeros for the category of each element.
    OneHot {
        x: Category,
        categories: usize,
        strict: bool,
    },
    /// The category of each element as an integer.
    Category {
        x: Category,
    },
    /// The category of each element as a float.
    CategoryValue {
        x: Category,
        values: Vec<f32>,
        otherwise: f32,
    },
    /// The places of the largest elements of a row, the largest first, equals in their order.
    TopPlaces {
        x: Matrix,
    },
    /// The elements at these places of a row.
    Pick {
        x: Matrix,
        places: Matrix,
    },
}

impl Step {
    pub(super) fn memory_usage(&self) -> usize {
        match &self.operation {
            Operation::Dense { dense, .. } => dense.memory_usage(),
            Operation::Forest { forest, .. } => forest.memory_usage(),
            Operation::Lookup { table, .. } => size_of_val(&table[..]) / Arc::strong_count(table).max(1),
            Operation::CategoryValue { x, values, .. } => x.memory_usage() + size_of_val(&values[..]),
            Operation::OneHot { x, .. } | Operation::Category { x } => x.memory_usage(),
            _ => 0,
        }
    }

    /// The input that is all this step reads, if it can be computed without scratch memory.
    #[inline]
    pub(super) fn lone_input(&self) -> Option<usize> {
        match &self.operation {
            Operation::Dense { x: Matrix { place: Place::Input(input), .. }, .. }
            | Operation::Forest { x: Matrix { place: Place::Input(input), .. }, .. } => Some(*input),
            _ => None,
        }
    }

    /// Computes all rows at once.
    #[inline]
    pub(super) fn run_lone(&self, x: &[f32], y: &mut [f32]) {
        match &self.operation {
            Operation::Dense { dense, then, .. } => {
                dense.run(x, y);
                then.apply(y);
            }
            Operation::Forest { forest, then, .. } => {
                forest.run(x, y);
                then.apply(y);
            }
            _ => {}
        }
    }

    pub(super) fn run(&self, frame: &mut Frame<'_>) -> Result<()> {
        let rows = frame.rows;
        match &self.operation {
            Operation::ToIntegers { x } => {
                let (reader, y) = frame.integers(self.out);
                // `as` saturates; ONNX leaves what does not fit open.
                y.iter_mut().zip(reader.floats(*x)?).for_each(|(y, x)| *y = *x as i64);
            }
            Operation::Winner { x, classify } => {
                let (reader, y) = frame.integers(self.out);
                let scores = reader.floats(*x)?.chunks_exact(x.width);
                y.iter_mut().zip(scores).for_each(|(y, row)| *y = classify.winner(row));
            }
            Operation::Names { x, names } => {
                let (reader, y) = frame.integers(self.out);
                for (y, place) in y.iter_mut().zip(reader.integers(*x)?) {
                    *y = *at(names, *place, "a list of labels")?;
                }
            }
            Operation::ArgMax { x } => {
                let (reader, y) = frame.integers(self.out);
                let rows = reader.floats(*x)?.chunks_exact(x.width);
                y.iter_mut().zip(rows).for_each(|(y, row)| *y = arg_max(row) as i64);
            }
            Operation::Category { x } => {
                let (reader, y) = frame.integers(self.out);
                let mut places = y.iter_mut();
                x.each(&reader, rows * self.out.width, |place| {
                    if let Some(y) = places.next() {
                        *y = place;
                    }
                })?;
            }
            Operation::TopPlaces { x } => {
                let (reader, y) = frame.integers(self.out);
                let values = reader.floats(*x)?.chunks_exact(x.width);
                y.chunks_exact_mut(self.out.width).zip(values).for_each(|(y, row)| top(row, y));
            }
            _ => return self.run_floats(frame),
        }
        Ok(())
    }

    fn run_floats(&self, frame: &mut Frame<'_>) -> Result<()> {
        let rows = frame.rows;
        let width = self.out.width;
        let (reader, y) = frame.floats(self.out);
        match &self.operation {
            Operation::Dense { x, dense, then } => {
                dense.run(reader.floats(*x)?, y);
                then.apply(y);
            }
            Operation::Forest { x, forest, then } => {
                forest.run(reader.floats(*x)?, y);
                then.apply(y);
            }
            Operation::Map { x, then } => {
                y.copy_from_slice(reader.floats(*x)?);
                then.apply(y);
            }
            Operation::Combine { a, b, how } => {
                let (a, a_step) = a.resolve(&reader, width)?;
                let (b, b_step) = b.resolve(&reader, width)?;
                for (row, y) in y.chunks_exact_mut(width).enumerate() {
                    how.row(a_step.of(a, row, width), b_step.of(b, row, width), y);
                }
            }
            Operation::Concat { parts, repeat } => {
                let joined = width / repeat;
                let mut from = 0;
                for part in parts {
                    let length = part.width / repeat;
                    let x = reader.floats(*part)?.chunks_exact(length);
                    for (y, x) in y.chunks_exact_mut(joined).zip(x) {
                        y[from..from + length].copy_from_slice(x);
                    }
                    from += length;
                }
            }
            Operation::Product { a, b, inner } => {
                let (left, right) = (reader.floats(*a)?, reader.floats(*b)?);
                let columns = b.width / inner;
                let rows = left.chunks_exact(a.width).zip(right.chunks_exact(b.width));
                for (y, (a, b)) in y.chunks_exact_mut(width).zip(rows) {
                    product(a, b, *inner, columns, y);
                }
            }
            Operation::Columns { x, columns } => {
                let rows = reader.floats(*x)?.chunks_exact(x.width);
                for (y, x) in y.chunks_exact_mut(width).zip(rows) {
                    y.iter_mut().zip(columns).for_each(|(y, column)| *y = x[*column]);
                }
            }
            Operation::Lookup { index, name, table, row } => {
                let indices = reader.integers(*index)?;
                for (y, index) in y.chunks_exact_mut(*row).zip(indices) {
                    let entries = (table.len() / row) as i64;
                    // ONNX counts negative indices from the end.
                    let place = if *index < 0 { index.saturating_add(entries) } else { *index };
                    if !(0..entries).contains(&place) {
                        return Err(Error::invalid(format!(
                            "`{name}` holds {index}, its table has {entries} entries: ids must be known to the model"
                        )));
                    }
                    let from = place as usize * row;
                    y.copy_from_slice(&table[from..from + row]);
                }
            }
            Operation::Sum { x, group, mean } => {
                let groups = reader.floats(*x)?.chunks_exact(*group);
                let divisor = if *mean { *group as f32 } else { 1.0 };
                y.iter_mut().zip(groups).for_each(|(y, group)| *y = group.iter().sum::<f32>() / divisor);
            }
            Operation::Convert { input } => {
                let (view, range) = reader.input(*input, width);
                match view.data() {
                    TensorData::F64(x) => y.iter_mut().zip(&x[range]).for_each(|(y, x)| *y = *x as f32),
                    TensorData::I32(x) => y.iter_mut().zip(&x[range]).for_each(|(y, x)| *y = *x as f32),
                    TensorData::I64(x) => y.iter_mut().zip(&x[range]).for_each(|(y, x)| *y = *x as f32),
                    TensorData::Bool(x) => {
                        y.iter_mut().zip(&x[range]).for_each(|(y, x)| *y = f32::from(u8::from(*x)));
                    }
                    other => return Err(Error::internal(format!("{} became a number", other.element()))),
                }
            }
            Operation::ToFloats { x } => {
                y.iter_mut().zip(reader.integers(*x)?).for_each(|(y, x)| *y = *x as f32);
            }
            Operation::Classify { x, classify } => {
                let scores = reader.floats(*x)?.chunks_exact(x.width);
                y.chunks_exact_mut(width).zip(scores).for_each(|(y, row)| classify.probabilities(row, y));
            }
            Operation::OneHot { x, categories, strict } => {
                y.fill(0.0);
                let mut ones = y.chunks_exact_mut(*categories);
                let mut unknown = false;
                x.each(&reader, rows * width / categories, |place| {
                    let row = ones.next();
                    match row.and_then(|row| row.get_mut(usize::try_from(place).ok()?)) {
                        Some(y) => *y = 1.0,
                        None => unknown = true,
                    }
                })?;
                if unknown && *strict {
                    return Err(Error::invalid("a category that the model's one-hot encoder does not know"));
                }
            }
            Operation::CategoryValue { x, values, otherwise } => {
                let mut out = y.iter_mut();
                x.each(&reader, rows * width, |place| {
                    if let Some(y) = out.next() {
                        *y = usize::try_from(place)
                            .ok()
                            .and_then(|place| values.get(place))
                            .copied()
                            .unwrap_or(*otherwise);
                    }
                })?;
            }
            Operation::Pick { x, places } => {
                let values = reader.floats(*x)?.chunks_exact(x.width);
                let places = reader.integers(*places)?.chunks_exact(width);
                for ((y, row), places) in y.chunks_exact_mut(width).zip(values).zip(places) {
                    for (y, place) in y.iter_mut().zip(places) {
                        *y = *at(row, *place, "a row")?;
                    }
                }
            }
            other => return Err(Error::internal(format!("no floats from {other:?}"))),
        }
        Ok(())
    }
}

fn at<'a, T>(values: &'a [T], place: i64, what: &str) -> Result<&'a T> {
    let value = usize::try_from(place).ok().and_then(|place| values.get(place));
    value.ok_or_else(|| Error::invalid(format!("place {place} of {what} of {} elements", values.len())))
}

fn product(a: &[f32], b: &[f32], inner: usize, columns: usize, y: &mut [f32]) {
    y.fill(0.0);
    for (y, a) in y.chunks_exact_mut(columns).zip(a.chunks_exact(inner)) {
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            y.iter_mut().zip(b).for_each(|(y, b)| *y += a * b);
        }
    }
}
