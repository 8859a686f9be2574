//! How the cells of a row become the inputs of a model.

use half::f16;
use half::slice::HalfFloatSliceExt;
use mlops_core::data::Value;
use mlops_core::{Dimension, ElementType, Error, Result, TensorSpec};

use super::fed::Fed;
use crate::tensor::{TensorBuf, TensorData, TensorView};

/// The inputs of a model, each of which takes the next cells of a row.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) parts: Vec<Part>,
    width: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) spec: TensorSpec,
    /// The elements of a row: the cells that it takes, without an encoder.
    pub(super) width: usize,
    /// Whether its shape is `[batch]`, not `[batch, width]`.
    is_vector: bool,
}

/// Views that fit on the stack.
const VIEWS: usize = 16;

impl Inputs {
    /// The inputs of a signature, or why rows cannot fill them.
    pub(super) fn of(specs: &[TensorSpec]) -> Result<Self, String> {
        let part = |spec: &TensorSpec| {
            let (width, is_vector) = match spec.shape.as_slice() {
                [Dimension::Symbol(_)] => (1, true),
                [_, Dimension::Fixed(width)] if *width > 0 => (*width, false),
                _ => return Err(format!("input {spec} is neither [batch] nor [batch, a fixed width]")),
            };
            Ok(Part { spec: spec.clone(), width, is_vector })
        };
        let parts = specs.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let width = parts.iter().map(|part| part.width).sum();
        if parts.is_empty() { Err("it takes no inputs".into()) } else { Ok(Self { parts, width }) }
    }

    /// The cells of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Fills a buffer for each input.
    #[inline]
    pub(super) fn fill<'r, 'v: 'r>(
        &self,
        rows: &(impl ExactSizeIterator<Item = &'r [Value<'v>]> + Clone),
        buffers: &mut Vec<TensorBuf>,
    ) -> Result<()> {
        if let Some(row) = rows.clone().find(|row| row.len() != self.width) {
            return Err(wrong_width(row.len(), self.width));
        }
        buffers.resize_with(self.parts.len(), TensorBuf::default);
        let mut start = 0;
        for (part, buffer) in self.parts.iter().zip(buffers) {
            let cells = start..start + part.width;
            start = cells.end;
            part.fill(rows.clone().map(|row| &row[cells.clone()]), buffer)?;
        }
        Ok(())
    }

    /// Fills a buffer for each input with what the encoder makes for it. `narrow` holds floats on the way to 16 or
    /// 64 bits.
    #[inline]
    pub(super) fn encode<'r, 'v: 'r>(
        &self,
        fed: &Fed,
        rows: &(impl ExactSizeIterator<Item = &'r [Value<'v>]> + Clone),
        buffers: &mut Vec<TensorBuf>,
        narrow: &mut TensorBuf,
    ) -> Result<()> {
        buffers.resize_with(self.parts.len(), TensorBuf::default);
        for ((part, feed), buffer) in self.parts.iter().zip(fed.feeds()).zip(buffers) {
            part.encode(fed, feed, rows.clone(), buffer, narrow)?;
        }
        Ok(())
    }

    /// Calls `f` with a view of each buffer.
    #[inline]
    pub(super) fn with_views<T>(buffers: &[TensorBuf], f: impl FnOnce(&[TensorView<'_>]) -> T) -> T {
        match buffers {
            [one] => f(&[one.view()]),
            _ if buffers.len() <= VIEWS => {
                let views: [TensorView<'_>; VIEWS] =
                    std::array::from_fn(|index| buffers[index.min(buffers.len() - 1)].view());
                f(&views[..buffers.len()])
            }
            _ => f(&buffers.iter().map(TensorBuf::view).collect::<Vec<_>>()),
        }
    }

    /// The first number among the inputs of a row that is NaN or infinite, with its place.
    pub(super) fn gap(views: &[TensorView<'_>], row: usize, rows: usize) -> Option<(usize, f64)> {
        let mut start = 0;
        for view in views {
            let width = view.data().len() / rows.max(1);
            let cells = row * width..(row + 1) * width;
            let found = match view.data() {
                TensorData::F16(values) => gap_in(&values[cells]),
                TensorData::F32(values) => gap_in(&values[cells]),
                TensorData::F64(values) => gap_in(&values[cells]),
                _ => None,
            };
            if let Some((cell, value)) = found {
                return Some((start + cell, value));
            }
            start += width;
        }
        None
    }
}

impl Part {
    #[inline]
    fn encode<'r, 'v: 'r, Rows: ExactSizeIterator<Item = &'r [Value<'v>]>>(
        &self,
        fed: &Fed,
        feed: usize,
        rows: Rows,
        buffer: &mut TensorBuf,
        narrow: &mut TensorBuf,
    ) -> Result<()> {
        let (encoder, element) = (fed.encoder(), self.spec.element);
        let (shape, axes) = self.shape(rows.len());
        let shape = &shape[..axes];
        let floats = |rows: Rows, out: &mut [f32]| {
            let mut all = rows.zip(out.chunks_exact_mut(self.width));
            all.try_for_each(|(row, out)| encoder.encode_floats(feed, row, out))
        };
        match element {
            ElementType::I64 => {
                let mut all = rows.zip(buffer.reset::<i64>(shape)?.chunks_exact_mut(self.width));
                all.try_for_each(|(row, out)| encoder.encode_indices(feed, row, out))
            }
            ElementType::I32 => {
                let mut all = rows.zip(buffer.reset::<i32>(shape)?.chunks_exact_mut(self.width));
                all.try_for_each(|(row, out)| encoder.encode_indices(feed, row, out))
            }
            ElementType::F16 => {
                let narrow = narrow.reset::<f32>(shape)?;
                floats(rows, narrow)?;
                let half = buffer.reset::<f16>(shape)?;
                half.convert_from_f32_slice(narrow);
                let mut pairs = narrow.iter().zip(half);
                match pairs.find(|(value, half)| value.is_finite() && half.is_infinite()) {
                    Some((value, _)) => Err(self.misfit(Value::Float((*value).into()), Misfit::TooLarge)),
                    None => Ok(()),
                }
            }
            ElementType::F64 => {
                let narrow = narrow.reset::<f32>(shape)?;
                floats(rows, narrow)?;
                let wide = buffer.reset::<f64>(shape)?;
                wide.iter_mut().zip(narrow).for_each(|(wide, value)| *wide = f64::from(*value));
                Ok(())
            }
            _ => floats(rows, buffer.reset::<f32>(shape)?),
        }
    }

    /// The shape of so many rows, and how much of it counts.
    fn shape(&self, rows: usize) -> ([usize; 2], usize) {
        ([rows, self.width], if self.is_vector { 1 } else { 2 })
    }

    #[inline]
    fn fill<'r, 'v: 'r>(
        &self,
        rows: impl ExactSizeIterator<Item = &'r [Value<'v>]>,
        buffer: &mut TensorBuf,
    ) -> Result<()> {
        let (shape, axes) = self.shape(rows.len());
        let shape = &shape[..axes];
        match self.spec.element {
            ElementType::F16 => self.put(buffer.reset::<f16>(shape)?, rows, |cell| {
                let value = number(cell)?;
                let half = f16::from_f64(value);
                if value.is_finite() && half.is_infinite() { Err(Misfit::TooLarge) } else { Ok(half) }
            }),
            ElementType::F32 => self.put(buffer.reset::<f32>(shape)?, rows, |cell| {
                let value = number(cell)?;
                let narrow = value as f32;
                if value.is_finite() && !narrow.is_finite() { Err(Misfit::TooLarge) } else { Ok(narrow) }
            }),
            ElementType::F64 => self.put(buffer.reset::<f64>(shape)?, rows, number),
            ElementType::I32 => self.put(buffer.reset::<i32>(shape)?, rows, |cell| {
                i32::try_from(whole(cell)?).map_err(|_| Misfit::TooLarge)
            }),
            ElementType::I64 => self.put(buffer.reset::<i64>(shape)?, rows, whole),
            ElementType::Bool => self.put(buffer.reset::<bool>(shape)?, rows, |cell| match cell {
                Value::Boolean(value) => Ok(value),
                _ => Err(Misfit::Kind("truth value")),
            }),
            ElementType::Text => buffer.reset_text(shape, |texts| {
                rows.flatten().try_for_each(|cell| match *cell {
                    Value::Text(text) => {
                        texts.push(text);
                        Ok(())
                    }
                    cell => Err(self.misfit(cell, Misfit::Kind("text"))),
                })
            }),
            other => {
                Err(Error::unsupported(format!("input `{}` holds {other}: no cell does", self.spec.name)))
            }
        }
    }

    #[inline]
    fn put<'r, 'v: 'r, T>(
        &self,
        values: &mut [T],
        rows: impl Iterator<Item = &'r [Value<'v>]>,
        convert: impl Fn(Value<'v>) -> Result<T, Misfit>,
    ) -> Result<()> {
        for (row, values) in rows.zip(values.chunks_exact_mut(self.width)) {
            for (cell, value) in row.iter().zip(values) {
                *value = convert(*cell).map_err(|misfit| self.misfit(*cell, misfit))?;
            }
        }
        Ok(())
    }

    #[cold]
    fn misfit(&self, cell: Value<'_>, misfit: Misfit) -> Error {
        let TensorSpec { name, element, .. } = &self.spec;
        Error::invalid(match misfit {
            Misfit::TooLarge => format!("cell {cell} is beyond the {element} that input `{name}` takes"),
            Misfit::Kind(want) => {
                format!("cell {cell} is no {want}, which input `{name}` takes without an encoder")
            }
        })
    }
}

/// Why a cell does not fit an input.
#[derive(Clone, Copy)]
enum Misfit {
    TooLarge,
    Kind(&'static str),
}

/// Missing cells are NaN.
#[inline]
fn number(cell: Value<'_>) -> Result<f64, Misfit> {
    match cell.as_f64() {
        Some(value) => Ok(value),
        None if cell.is_missing() => Ok(f64::NAN),
        None => Err(Misfit::Kind("number")),
    }
}

#[inline]
fn whole(cell: Value<'_>) -> Result<i64, Misfit> {
    /// Beyond it not every whole number is a float.
    const EXACT: f64 = (1_u64 << 53) as f64;
    match cell {
        Value::Integer(value) => Ok(value),
        Value::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => Ok(value as i64),
        _ => Err(Misfit::Kind("whole number")),
    }
}

fn gap_in<T: Copy + Into<f64>>(cells: &[T]) -> Option<(usize, f64)> {
    cells.iter().map(|cell| (*cell).into()).enumerate().find(|(_, cell): &(usize, f64)| !cell.is_finite())
}

#[cold]
fn wrong_width(got: usize, want: usize) -> Error {
    Error::invalid(format!("the row has {got} cells, the model takes {want}"))
}
