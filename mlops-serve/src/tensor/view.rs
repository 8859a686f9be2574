//! A borrowed tensor.

use std::fmt;
use std::ops::Range;

use half::f16;
use mlops_core::ElementType;

use super::{Element, Shape, Text};
use crate::{Error, Result};

/// The borrowed elements of a tensor, in row-major order.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TensorData<'a> {
    /// 16-bit floats.
    F16(&'a [f16]),
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 64-bit floats.
    F64(&'a [f64]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// 64-bit integers.
    I64(&'a [i64]),
    /// Truth values.
    Bool(&'a [bool]),
    /// Texts.
    Text(Text<'a>),
}

impl TensorData<'_> {
    /// The type of the elements.
    #[inline]
    pub fn element(self) -> ElementType {
        match self {
            Self::F16(_) => ElementType::F16,
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
            Self::I32(_) => ElementType::I32,
            Self::I64(_) => ElementType::I64,
            Self::Bool(_) => ElementType::Bool,
            Self::Text(_) => ElementType::Text,
        }
    }

    /// The number of elements.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    fn slice(self, range: Range<usize>) -> Option<Self> {
        Some(match self {
            Self::F16(values) => Self::F16(values.get(range)?),
            Self::F32(values) => Self::F32(values.get(range)?),
            Self::F64(values) => Self::F64(values.get(range)?),
            Self::I32(values) => Self::I32(values.get(range)?),
            Self::I64(values) => Self::I64(values.get(range)?),
            Self::Bool(values) => Self::Bool(values.get(range)?),
            Self::Text(texts) => Self::Text(texts.slice(range)?),
        })
    }
}

/// A borrowed, dense, row-major tensor. `Copy`; making one neither copies elements nor allocates.
///
/// ```
/// use mlops_serve::tensor::TensorView;
///
/// let features = [0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0];
/// let view = TensorView::new(&features, [2, 3])?;
/// assert_eq!(view.rows(), 2);
/// assert_eq!(view.values::<f32>()?[3..], [3.0, 4.0, 5.0]);
/// assert_eq!(view.values::<f64>().unwrap_err().to_string(), "the tensor holds f32, not f64");
///
/// let error = TensorView::new(&features, [1_000_000_000, 3]).unwrap_err();
/// assert_eq!(error.to_string(), "shape [1000000000, 3] wants 3000000000 elements, got 6");
/// # Ok::<(), mlops_serve::Error>(())
/// ```
///
/// From `ndarray` and Arrow:
///
/// ```
/// use arrow_array::StringArray;
/// use mlops_serve::tensor::TensorView;
/// use ndarray::array;
///
/// let matrix = array![[1.0_f32, 2.0], [3.0, 4.0]];
/// assert_eq!(*TensorView::try_from(&matrix)?.shape(), [2, 2]);
///
/// let visitors = StringArray::from(vec!["new", "returning"]);
/// let column = TensorView::try_from(&visitors)?.reshape([2, 1])?;
/// assert_eq!(column.text()?.get(1), Some("returning"));
///
/// // A column of a record batch, of whichever type.
/// let column: arrow_array::ArrayRef = std::sync::Arc::new(visitors);
/// assert_eq!(*TensorView::try_from(column.as_ref())?.shape(), [2]);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    data: TensorData<'a>,
    shape: Shape,
}

impl<'a> TensorView<'a> {
    /// These elements in this shape.
    ///
    /// # Errors
    /// `Invalid` if the shape's product is not the number of elements.
    #[inline]
    pub fn new(data: impl Into<TensorData<'a>>, shape: impl AsRef<[usize]>) -> Result<Self> {
        Self::checked(data.into(), Shape::new(shape)?)
    }

    #[inline]
    pub(super) fn checked(data: TensorData<'a>, shape: Shape) -> Result<Self> {
        if shape.elements() == data.len() {
            return Ok(Self { data, shape });
        }
        Err(wrong_count(shape, data.len()))
    }

    /// A buffer's shape always counts its elements.
    #[inline]
    pub(super) fn of_buf(data: TensorData<'a>, shape: Shape) -> Self {
        Self { data, shape }
    }

    /// The lengths of the axes.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The type of the elements.
    #[inline]
    pub fn element(&self) -> ElementType {
        self.data.element()
    }

    /// The elements, whichever they are.
    #[inline]
    pub fn data(&self) -> TensorData<'a> {
        self.data
    }

    /// The length of the first axis; 1 without axes.
    #[inline]
    pub fn rows(&self) -> usize {
        self.shape.rows()
    }

    /// The elements as `T`.
    ///
    /// # Errors
    /// `Invalid` if they are of another type.
    #[inline]
    pub fn values<T: Element>(&self) -> Result<&'a [T]> {
        T::of(self.data).ok_or_else(|| wrong_element(self.element(), T::TYPE))
    }

    /// The elements as texts.
    ///
    /// # Errors
    /// `Invalid` if they are numbers.
    #[inline]
    pub fn text(&self) -> Result<Text<'a>> {
        match self.data {
            TensorData::Text(text) => Ok(text),
            _ => Err(wrong_element(self.element(), ElementType::Text)),
        }
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// `Invalid` if the shape's product is not the number of elements.
    pub fn reshape(self, shape: impl AsRef<[usize]>) -> Result<Self> {
        Self::new(self.data, shape)
    }

    /// Some of the rows.
    ///
    /// # Errors
    /// `Invalid` if the range reaches beyond the rows.
    pub fn slice_rows(self, range: Range<usize>) -> Result<Self> {
        let (rows, width) = (self.rows(), self.shape.row_elements());
        let beyond = || Error::invalid(format!("rows {range:?} of a tensor of {rows} rows"));
        if range.start > range.end || range.end > rows || self.shape.is_empty() {
            return Err(beyond());
        }
        let shape = self.shape.with_rows(range.len())?;
        // Within the tensor, whose number of elements fits a word.
        let data = self.data.slice(range.start * width..range.end * width).ok_or_else(beyond)?;
        Ok(Self { data, shape })
    }

    /// The elements as an `ndarray` view. Costs no copy; allocates for more than four axes.
    ///
    /// # Errors
    /// `Invalid` if they are of another type.
    pub fn to_ndarray<T: Element>(&self) -> Result<ndarray::ArrayViewD<'a, T>> {
        let values = self.values::<T>()?;
        ndarray::ArrayViewD::from_shape(&*self.shape, values)
            .map_err(|error| Error::invalid("the tensor has no ndarray view").with_source(error))
    }
}

#[cold]
fn wrong_count(shape: Shape, got: usize) -> Error {
    let want = shape.elements();
    Error::invalid(format!("shape {shape} wants {want} elements, got {got}"))
}

#[cold]
pub(super) fn wrong_element(got: ElementType, want: ElementType) -> Error {
    Error::invalid(format!("the tensor holds {got}, not {want}"))
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.element(), self.shape)
    }
}

impl<'a> From<Text<'a>> for TensorData<'a> {
    fn from(texts: Text<'a>) -> Self {
        Self::Text(texts)
    }
}

impl<'a> From<&'a [&'a str]> for TensorData<'a> {
    fn from(texts: &'a [&'a str]) -> Self {
        Self::Text(Text::Borrowed(texts))
    }
}

impl<'a, const N: usize> From<&'a [&'a str; N]> for TensorData<'a> {
    fn from(texts: &'a [&'a str; N]) -> Self {
        Self::Text(Text::Borrowed(texts))
    }
}

impl<'a> From<&'a [String]> for TensorData<'a> {
    fn from(texts: &'a [String]) -> Self {
        Self::Text(Text::Owned(texts))
    }
}

impl<'a> From<&'a Vec<String>> for TensorData<'a> {
    fn from(texts: &'a Vec<String>) -> Self {
        Self::Text(Text::Owned(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_at_row_bounds() {
        let values = [1_i64, 2, 3, 4, 5, 6];
        let view = TensorView::new(&values, [3, 2]).unwrap();
        assert_eq!(view.slice_rows(1..3).unwrap().values::<i64>().unwrap(), [3, 4, 5, 6]);
        assert_eq!(view.slice_rows(3..3).unwrap().rows(), 0);
        for bad in [2..4, Range { start: 2, end: 1 }, 0..usize::MAX] {
            assert!(view.slice_rows(bad).is_err());
        }
        assert!(TensorView::new(&values[..1], []).unwrap().slice_rows(0..1).is_err(), "a scalar has no rows");
        let texts = ["a", "b", "c"];
        let cut = TensorView::new(&texts, [3, 1]).unwrap().slice_rows(2..3).unwrap();
        assert_eq!(cut.text().unwrap().iter().collect::<Vec<_>>(), ["c"]);
    }
}
