//! Views into `ndarray` and Arrow arrays.

use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, FixedSizeListArray, PrimitiveArray, StringArray};
use arrow_schema::DataType;
use ndarray::{ArrayRef, Data, Dimension};

use super::text::missing_cells;
use super::{Element, Shape, TensorData, TensorView, Text};
use crate::{Error, Result};

impl<'a, T, S, D> TryFrom<&'a ndarray::ArrayBase<S, D>> for TensorView<'a>
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
    TensorData<'a>: From<&'a [T]>,
{
    type Error = Error;

    fn try_from(array: &'a ndarray::ArrayBase<S, D>) -> Result<Self> {
        let array: &'a ArrayRef<T, D> = array;
        let Some(values) = array.as_slice() else {
            return Err(Error::invalid(format!(
                "an array of shape {:?} with strides {:?} is not in row-major order: call `as_standard_layout`",
                array.shape(),
                array.strides()
            )));
        };
        Self::new(values, array.shape())
    }
}

macro_rules! primitive {
    ($($arrow:ty),*) => {$(
        impl<'a> TryFrom<&'a PrimitiveArray<$arrow>> for TensorView<'a> {
            type Error = Error;

            fn try_from(array: &'a PrimitiveArray<$arrow>) -> Result<Self> {
                match array.null_count() {
                    0 => Self::new(&array.values()[..], [array.len()]),
                    nulls => Err(missing_cells(nulls, array.len())),
                }
            }
        }
    )*};
}

primitive!(Float16Type, Float32Type, Float64Type, Int32Type, Int64Type);

impl<'a> TryFrom<&'a StringArray> for TensorView<'a> {
    type Error = Error;

    fn try_from(array: &'a StringArray) -> Result<Self> {
        Self::checked(TensorData::Text(Text::try_from(array)?), Shape::vector(array.len()))
    }
}

/// Rows of equal length: embeddings, feature vectors. The view's shape is `[rows, length]`.
impl<'a> TryFrom<&'a FixedSizeListArray> for TensorView<'a> {
    type Error = Error;

    fn try_from(array: &'a FixedSizeListArray) -> Result<Self> {
        if array.null_count() > 0 {
            return Err(missing_cells(array.null_count(), array.len()));
        }
        let values = array.values().as_any();
        let flat = match array.value_type() {
            DataType::Float16 => values.downcast_ref::<PrimitiveArray<Float16Type>>().map(Self::try_from),
            DataType::Float32 => values.downcast_ref::<PrimitiveArray<Float32Type>>().map(Self::try_from),
            DataType::Float64 => values.downcast_ref::<PrimitiveArray<Float64Type>>().map(Self::try_from),
            DataType::Int32 => values.downcast_ref::<PrimitiveArray<Int32Type>>().map(Self::try_from),
            DataType::Int64 => values.downcast_ref::<PrimitiveArray<Int64Type>>().map(Self::try_from),
            other => {
                return Err(Error::unsupported(format!(
                    "a list of {other} as a tensor: cast it to floats, or 32- or 64-bit integers, first"
                )));
            }
        };
        let Some(flat) = flat else { return Err(Error::internal("an Arrow array contradicts its type")) };
        let width = usize::try_from(array.value_length())
            .map_err(|_| Error::invalid(format!("lists of negative length {}", array.value_length())))?;
        flat?.reshape([array.len(), width])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Float32Array;
    use arrow_schema::Field;
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn transposed_arrays_and_missing_cells_are_refused() {
        let matrix = array![[1.0_f32, 2.0], [3.0, 4.0]];
        let transposed = matrix.t();
        let error = TensorView::try_from(&transposed).unwrap_err();
        assert!(error.to_string().contains("as_standard_layout"), "{error}");
        let empty = Array2::<f32>::zeros((0, 3));
        assert_eq!(*TensorView::try_from(&empty).unwrap().shape(), [0, 3]);
        let holes = Float32Array::from(vec![Some(1.0), None]);
        assert!(TensorView::try_from(&holes).unwrap_err().to_string().starts_with("1 of 2 cells"));
        let texts = StringArray::from(vec![Some("a"), None]);
        assert!(TensorView::try_from(&texts).is_err());
    }

    #[test]
    fn lists_become_matrices_without_a_copy() {
        let values = Float32Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let place = values.values().as_ptr();
        let field = Arc::new(Field::new_list_field(DataType::Float32, false));
        let lists = FixedSizeListArray::new(field, 3, Arc::new(values), None);
        let view = TensorView::try_from(&lists).unwrap();
        assert_eq!(*view.shape(), [2, 3]);
        assert_eq!(view.values::<f32>().unwrap().as_ptr(), place);
        let cut = lists.slice(1, 1);
        assert_eq!(TensorView::try_from(&cut).unwrap().values::<f32>().unwrap(), [4.0, 5.0, 6.0]);
    }
}
