//! A model as a list of steps over blocks of rows.

use std::cell::RefCell;

use super::step::Step;
use crate::tensor::{TensorBuf, TensorView};
use crate::{Error, Result};

/// Steps in an order in which they can be computed. Every value is a matrix: rows, and so many elements each.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Output>,
    /// Elements of scratch memory for each row.
    pub(super) floats: usize,
    pub(super) integers: usize,
}

/// Where the elements of a value are: an input of the call, or so many elements per row into the scratch
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Input(usize),
    Scratch(usize),
}

/// A value: where it is, and how many elements a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) place: Place,
    pub(super) width: usize,
}

/// What a caller gets. `dims` are the axes after the rows.
#[derive(Debug)]
pub(super) enum Output {
    Floats {
        value: Matrix,
        dims: Vec<usize>,
    },
    Integers {
        value: Matrix,
        dims: Vec<usize>,
    },
    /// The label at the index that the value holds.
    Labels {
        value: Matrix,
        dims: Vec<usize>,
        labels: Vec<String>,
    },
}

impl Output {
    fn dims(&self) -> &[usize] {
        let (Self::Floats { dims, .. } | Self::Integers { dims, .. } | Self::Labels { dims, .. }) = self;
        dims
    }
}

/// Scratch memory for a block of rows: small enough to stay in the first caches, and to be kept by every
/// thread.
const BLOCK_BYTES: usize = 128 << 10;
/// More rows than this at a time bring nothing.
const BLOCK_ROWS: usize = 256;

/// Labels of more rows than this are given back to the allocator after the call.
const LABELS_KEPT: usize = 1 << 16;

#[derive(Default)]
struct Scratch {
    floats: Vec<f32>,
    integers: Vec<i64>,
    /// The indices of labels, for each output of labels.
    labels: Vec<Vec<i64>>,
}

thread_local! {
    /// Shared by all models: a thread runs one at a time.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Plan {
    pub(super) fn memory_usage(&self) -> usize {
        self.steps.iter().map(Step::memory_usage).sum::<usize>() + size_of_val(&self.steps[..])
    }

    /// The axes of an output of so many rows, and how many they are.
    #[inline(always)]
    fn shape(rows: usize, dims: &[usize]) -> ([usize; crate::tensor::Shape::MAX_RANK], usize) {
        let mut axes = [0; crate::tensor::Shape::MAX_RANK];
        axes[0] = rows;
        axes[1..].iter_mut().zip(dims).for_each(|(axis, length)| *axis = *length);
        (axes, dims.len() + 1)
    }

    pub(super) fn run(
        &self,
        rows: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
    ) -> Result<()> {
        if let ([step], [Output::Floats { value, dims }]) = (&self.steps[..], &self.outputs[..])
            && value.place == Place::Scratch(0)
            && let Some(x) = step.lone_input()
        {
            let (axes, rank) = Self::shape(rows, dims);
            let y = outputs[0].reset::<f32>(&axes[..rank])?;
            step.run_lone(inputs[x].values::<f32>()?, y);
            return Ok(());
        }
        for (output, buffer) in self.outputs.iter().zip(&mut *outputs) {
            let (axes, rank) = Self::shape(rows, output.dims());
            match output {
                Output::Floats { .. } => {
                    buffer.reset::<f32>(&axes[..rank])?;
                }
                Output::Integers { .. } => {
                    buffer.reset::<i64>(&axes[..rank])?;
                }
                // Named when all rows are there.
                Output::Labels { .. } => {}
            }
        }
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => {
                scratch.labels.resize_with(self.outputs.len(), Vec::new);
                scratch.labels.iter_mut().for_each(Vec::clear);
                self.run_blocks(rows, inputs, outputs, &mut scratch)?;
                let named = self.name_labels(rows, outputs, &scratch.labels);
                scratch.labels.retain(|labels| labels.capacity() <= LABELS_KEPT);
                named
            }
            Err(_) => Err(Error::internal("a native model was called from within itself")),
        })
    }

    fn run_blocks(
        &self,
        rows: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let bytes = self.floats * size_of::<f32>() + self.integers * size_of::<i64>();
        let block = (BLOCK_BYTES / bytes.max(1)).clamp(1, BLOCK_ROWS).min(rows);
        grow(&mut scratch.floats, self.floats * block)?;
        grow(&mut scratch.integers, self.integers * block)?;
        for start in (0..rows).step_by(block) {
            let mut frame = Frame {
                inputs,
                start,
                rows: block.min(rows - start),
                block,
                floats: &mut scratch.floats,
                integers: &mut scratch.integers,
            };
            for step in &self.steps {
                step.run(&mut frame)?;
            }
            frame.give(&self.outputs, outputs, &mut scratch.labels)?;
        }
        Ok(())
    }

    /// Writes the names of the labels.
    fn name_labels(&self, rows: usize, outputs: &mut [TensorBuf], indices: &[Vec<i64>]) -> Result<()> {
        for ((output, buffer), indices) in self.outputs.iter().zip(outputs).zip(indices) {
            let Output::Labels { labels, dims, .. } = output else { continue };
            let (axes, rank) = Self::shape(rows, dims);
            buffer.reset_text(&axes[..rank], |texts| {
                for index in indices {
                    let label = usize::try_from(*index).ok().and_then(|index| labels.get(index));
                    texts.push(label.ok_or_else(|| Error::internal(format!("label {index} has no name")))?);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, length: usize) -> Result<()> {
    if buffer.len() < length {
        let more = length - buffer.len();
        buffer.try_reserve(more).map_err(|_| {
            Error::unavailable(format!(
                "no memory for {length} intermediate values: send fewer rows at a time"
            ))
        })?;
        buffer.resize(length, T::default());
    }
    Ok(())
}

/// One block of rows on its way through the steps.
pub(super) struct Frame<'a> {
    inputs: &'a [TensorView<'a>],
    start: usize,
    pub(super) rows: usize,
    /// Rows that the scratch memory is laid out for.
    block: usize,
    floats: &'a mut [f32],
    integers: &'a mut [i64],
}

/// The values that a step may read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    inputs: &'a [TensorView<'a>],
    start: usize,
    rows: usize,
    block: usize,
    floats: &'a [f32],
    integers: &'a [i64],
}

impl<'a> Reader<'a> {
    pub(super) fn floats(&self, value: Matrix) -> Result<&'a [f32]> {
        match value.place {
            Place::Input(input) => Ok(&self.inputs[input].values::<f32>()?[self.range(value.width)]),
            Place::Scratch(offset) => Ok(&self.floats[offset * self.block..][..self.rows * value.width]),
        }
    }

    pub(super) fn integers(&self, value: Matrix) -> Result<&'a [i64]> {
        match value.place {
            Place::Input(input) => Ok(&self.inputs[input].values::<i64>()?[self.range(value.width)]),
            Place::Scratch(offset) => Ok(&self.integers[offset * self.block..][..self.rows * value.width]),
        }
    }

    /// Rows in this block.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// An input of the call, and the range of its elements that this block holds.
    pub(super) fn input(&self, input: usize, width: usize) -> (&'a TensorView<'a>, std::ops::Range<usize>) {
        (&self.inputs[input], self.range(width))
    }

    fn range(&self, width: usize) -> std::ops::Range<usize> {
        self.start * width..(self.start + self.rows) * width
    }
}

impl Frame<'_> {
    fn reader(&self) -> Reader<'_> {
        Reader {
            inputs: self.inputs,
            start: self.start,
            rows: self.rows,
            block: self.block,
            floats: self.floats,
            integers: self.integers,
        }
    }

    /// Copies this block's rows of the outputs to the caller's buffers.
    fn give(&self, outputs: &[Output], buffers: &mut [TensorBuf], labels: &mut [Vec<i64>]) -> Result<()> {
        let reader = self.reader();
        for ((output, buffer), labels) in outputs.iter().zip(buffers).zip(labels) {
            match output {
                Output::Floats { value, .. } => {
                    buffer.values_mut::<f32>()?[reader.range(value.width)]
                        .copy_from_slice(reader.floats(*value)?);
                }
                Output::Labels { value, .. } => labels.extend_from_slice(reader.integers(*value)?),
                Output::Integers { value, .. } => {
                    buffer.values_mut::<i64>()?[reader.range(value.width)]
                        .copy_from_slice(reader.integers(*value)?);
                }
            }
        }
        Ok(())
    }

    /// All that comes before a float value, and the value itself. Steps read what earlier steps wrote, and
    /// scratch places ascend, so that nothing a step reads lies behind.
    pub(super) fn floats(&mut self, value: Matrix) -> (Reader<'_>, &mut [f32]) {
        let Place::Scratch(offset) = value.place else { return (self.reader(), &mut []) };
        let (floats, rest) = self.floats.split_at_mut(offset * self.block);
        let reader = Reader {
            inputs: self.inputs,
            start: self.start,
            rows: self.rows,
            block: self.block,
            floats,
            integers: self.integers,
        };
        (reader, &mut rest[..self.rows * value.width])
    }

    /// The same for an integer value.
    pub(super) fn integers(&mut self, value: Matrix) -> (Reader<'_>, &mut [i64]) {
        let Place::Scratch(offset) = value.place else { return (self.reader(), &mut []) };
        let (integers, rest) = self.integers.split_at_mut(offset * self.block);
        let reader = Reader {
            inputs: self.inputs,
            start: self.start,
            rows: self.rows,
            block: self.block,
            floats: self.floats,
            integers,
        };
        (reader, &mut rest[..self.rows * value.width])
    }
}
