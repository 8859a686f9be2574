//! An owned tensor that is filled again and again.

use half::f16;
use mlops_core::ElementType;

use super::view::wrong_element;
use super::{Element, Shape, TensorData, TensorView, TextBuf};
use crate::{Error, Result};

/// An owned, dense, row-major tensor that keeps its memory when it is filled again.
///
/// Runtimes write their outputs into it; whoever forms batches gathers rows in it.
///
/// ```
/// use mlops_serve::tensor::{TensorBuf, TensorView};
///
/// let mut scores = TensorBuf::default();
/// scores.reset::<f32>([2, 1])?.copy_from_slice(&[0.25, 0.75]);
/// assert_eq!(scores.view().values::<f32>()?, [0.25, 0.75]);
///
/// // Gather the rows of two requests into one batch.
/// let mut batch = TensorBuf::default();
/// batch.assign(&TensorView::new(&[1.0_f32, 2.0], [1, 2])?)?;
/// batch.append_rows(&TensorView::new(&[3.0_f32, 4.0], [1, 2])?)?;
/// assert_eq!(*batch.view().shape(), [2, 2]);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TensorBuf {
    storage: Storage,
    shape: Shape,
}

#[doc(hidden)]
#[allow(unnameable_types, reason = "named by the hidden methods of the sealed `Element` alone")]
#[derive(Clone, Debug)]
pub enum Storage {
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(TextBuf),
}

impl Default for TensorBuf {
    fn default() -> Self {
        Self::new(ElementType::F32)
    }
}

impl TensorBuf {
    /// An empty buffer for elements of this type. Any buffer takes any type; the right one saves an
    /// allocation.
    pub fn new(element: ElementType) -> Self {
        let storage = match element {
            ElementType::F16 => f16::storage(),
            ElementType::F64 => f64::storage(),
            ElementType::I32 => i32::storage(),
            ElementType::I64 => i64::storage(),
            ElementType::Bool => bool::storage(),
            ElementType::Text => Storage::Text(TextBuf::default()),
            // 32-bit floats, and types that core adds later: the storage changes with the first `reset`.
            _ => f32::storage(),
        };
        Self { storage, shape: nothing() }
    }

    /// Makes the buffer hold this shape and gives the elements to fill. What they are before is not
    /// specified; memory is reused where it suffices.
    ///
    /// # Errors
    /// `Invalid` or `Unsupported` if the shape is impossible, `Unavailable` if memory runs out.
    #[inline]
    pub fn reset<T: Element>(&mut self, shape: impl AsRef<[usize]>) -> Result<&mut [T]> {
        let axes = shape.as_ref();
        // A warm call finds what it left.
        if !self.shape.has_axes(axes) || T::of_storage(&mut self.storage).is_none() {
            self.reshape::<T>(Shape::new(axes)?)?;
        }
        let values = T::of_storage(&mut self.storage);
        values.map(Vec::as_mut_slice).ok_or_else(|| Error::internal("a storage contradicts its element type"))
    }

    fn reshape<T: Element>(&mut self, shape: Shape) -> Result<()> {
        if T::of_storage(&mut self.storage).is_none() {
            *self = Self { storage: T::storage(), shape: nothing() };
        }
        let elements = shape.elements();
        if let Some(values) = T::of_storage(&mut self.storage) {
            if values.len() < elements {
                values.try_reserve(elements - values.len()).map_err(|_| out_of_memory(shape))?;
            }
            values.resize(elements, T::default());
        }
        self.shape = shape;
        Ok(())
    }

    /// Makes the buffer hold texts of this shape, pushed by `fill` in row-major order.
    ///
    /// # Errors
    /// `Invalid` if the shape is impossible or `fill` pushed too few or too many.
    pub fn reset_text(
        &mut self,
        shape: impl AsRef<[usize]>,
        fill: impl FnOnce(&mut TextBuf) -> Result<()>,
    ) -> Result<()> {
        let shape = Shape::new(shape)?;
        let mut texts = match std::mem::replace(&mut self.storage, f32::storage()) {
            Storage::Text(texts) => texts,
            _ => TextBuf::default(),
        };
        texts.clear();
        // Should `fill` panic, the shape still counts what is there.
        self.shape = nothing();
        let filled = fill(&mut texts);
        let got = texts.len();
        self.storage = Storage::Text(texts);
        self.shape = Shape::vector(got);
        filled?;
        if got != shape.elements() {
            let want = shape.elements();
            return Err(Error::invalid(format!("shape {shape} wants {want} texts, got {got}")));
        }
        self.shape = shape;
        Ok(())
    }

    /// Makes it hold nothing: one axis of length 0. Element type and memory are kept.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.shape = nothing();
        match &mut self.storage {
            Storage::F16(values) => values.clear(),
            Storage::F32(values) => values.clear(),
            Storage::F64(values) => values.clear(),
            Storage::I32(values) => values.clear(),
            Storage::I64(values) => values.clear(),
            Storage::Bool(values) => values.clear(),
            Storage::Text(texts) => texts.clear(),
        }
    }

    /// The elements, to be changed in place.
    ///
    /// # Errors
    /// `Invalid` if they are of another type.
    #[inline]
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let got = self.element();
        T::of_storage(&mut self.storage).map(Vec::as_mut_slice).ok_or_else(|| wrong_element(got, T::TYPE))
    }

    /// Copies a tensor into the buffer.
    ///
    /// # Errors
    /// `Unavailable` if memory runs out.
    pub fn assign(&mut self, tensor: &TensorView<'_>) -> Result<()> {
        let shape = tensor.shape();
        match tensor.data() {
            TensorData::F16(values) => self.reset(shape)?.copy_from_slice(values),
            TensorData::F32(values) => self.reset(shape)?.copy_from_slice(values),
            TensorData::F64(values) => self.reset(shape)?.copy_from_slice(values),
            TensorData::I32(values) => self.reset(shape)?.copy_from_slice(values),
            TensorData::I64(values) => self.reset(shape)?.copy_from_slice(values),
            TensorData::Bool(values) => self.reset(shape)?.copy_from_slice(values),
            TensorData::Text(texts) => self.reset_text(shape, |buf| {
                texts.iter().for_each(|text| buf.push(text));
                Ok(())
            })?,
        }
        Ok(())
    }

    /// Appends the rows of a tensor whose type and row shape are the buffer's.
    ///
    /// # Errors
    /// `Invalid` if type or row shape differ, `Unavailable` if memory runs out. The buffer is unchanged then.
    pub fn append_rows(&mut self, tensor: &TensorView<'_>) -> Result<()> {
        let (mine, theirs) = (self.shape, *tensor.shape());
        if mine.is_empty() || theirs.is_empty() || mine[1..] != theirs[1..] {
            return Err(Error::invalid(format!("cannot append rows of shape {theirs} to shape {mine}")));
        }
        let shape = mine.with_rows(mine[0].saturating_add(theirs[0]))?;
        fn extend<T: Element>(values: &mut Vec<T>, more: &[T], shape: Shape) -> Result<()> {
            values.try_reserve(more.len()).map_err(|_| out_of_memory(shape))?;
            values.extend_from_slice(more);
            Ok(())
        }
        match (&mut self.storage, tensor.data()) {
            (Storage::F16(values), TensorData::F16(more)) => extend(values, more, shape)?,
            (Storage::F32(values), TensorData::F32(more)) => extend(values, more, shape)?,
            (Storage::F64(values), TensorData::F64(more)) => extend(values, more, shape)?,
            (Storage::I32(values), TensorData::I32(more)) => extend(values, more, shape)?,
            (Storage::I64(values), TensorData::I64(more)) => extend(values, more, shape)?,
            (Storage::Bool(values), TensorData::Bool(more)) => extend(values, more, shape)?,
            (Storage::Text(values), TensorData::Text(more)) => more.iter().for_each(|text| values.push(text)),
            (_, more) => return Err(wrong_element(more.element(), self.element())),
        }
        self.shape = shape;
        Ok(())
    }

    /// The tensor that the buffer holds.
    #[inline]
    pub fn view(&self) -> TensorView<'_> {
        let data = match &self.storage {
            Storage::F16(values) => TensorData::F16(values),
            Storage::F32(values) => TensorData::F32(values),
            Storage::F64(values) => TensorData::F64(values),
            Storage::I32(values) => TensorData::I32(values),
            Storage::I64(values) => TensorData::I64(values),
            Storage::Bool(values) => TensorData::Bool(values),
            Storage::Text(texts) => TensorData::Text(texts.as_text()),
        };
        TensorView::of_buf(data, self.shape)
    }

    /// The type of the elements.
    #[inline]
    pub fn element(&self) -> ElementType {
        self.view().element()
    }

    /// Bytes of heap memory held.
    pub fn memory_usage(&self) -> usize {
        match &self.storage {
            Storage::F16(values) => values.capacity() * size_of::<f16>(),
            Storage::F32(values) => values.capacity() * size_of::<f32>(),
            Storage::F64(values) => values.capacity() * size_of::<f64>(),
            Storage::I32(values) => values.capacity() * size_of::<i32>(),
            Storage::I64(values) => values.capacity() * size_of::<i64>(),
            Storage::Bool(values) => values.capacity(),
            Storage::Text(texts) => texts.memory_usage(),
        }
    }
}

/// One axis of length 0.
fn nothing() -> Shape {
    Shape::vector(0)
}

#[cold]
fn out_of_memory(shape: Shape) -> Error {
    Error::unavailable(format!("no memory for a tensor of shape {shape}: send fewer rows at a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_from_call_to_call() {
        let mut buf = TensorBuf::default();
        let place = buf.reset::<f32>([64, 3]).unwrap().as_ptr();
        for rows in [1, 64, 7] {
            assert_eq!(buf.reset::<f32>([rows, 3]).unwrap().as_ptr(), place);
            assert_eq!(buf.view().rows(), rows);
        }
        let error = buf.reset::<f32>([1 << 60, 8]).unwrap_err();
        assert!(error.is_retryable() || error.kind() == crate::ErrorKind::Invalid, "{error}");
    }

    #[test]
    fn a_type_may_change_and_rows_must_match() {
        let mut buf = TensorBuf::new(ElementType::Text);
        buf.reset_text([2, 1], |texts| {
            texts.push("a");
            texts.push("");
            Ok(())
        })
        .unwrap();
        buf.append_rows(&TensorView::new(&["c"], [1, 1]).unwrap()).unwrap();
        assert_eq!(buf.view().text().unwrap().iter().collect::<Vec<_>>(), ["a", "", "c"]);
        let cut = buf.view().slice_rows(1..3).unwrap();
        assert_eq!(cut.text().unwrap().iter().collect::<Vec<_>>(), ["", "c"]);
        assert!(buf.reset_text([3], |_| Ok(())).is_err());
        assert_eq!(buf.view().text().unwrap().len(), 0);
        buf.reset::<f64>([1, 2]).unwrap();
        assert_eq!(buf.element(), ElementType::F64);
        assert!(buf.append_rows(&TensorView::new(&[1.0_f64; 3], [1, 3]).unwrap()).is_err());
        assert!(buf.append_rows(&TensorView::new(&[1.0_f32; 2], [1, 2]).unwrap()).is_err());
        assert!(buf.values_mut::<i32>().is_err());
    }
}
