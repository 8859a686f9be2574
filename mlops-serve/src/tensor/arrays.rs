//! Views into `ndarray` and Arrow arrays.

use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, FixedSizeListArray, LargeStringArray, PrimitiveArray, StringArray, StringViewArray,
};
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

macro_rules! text {
    ($($array:ident),*) => {$(
        impl<'a> TryFrom<&'a $array> for TensorView<'a> {
            type Error = Error;

            fn try_from(array: &'a $array) -> Result<Self> {
                Self::checked(TensorData::Text(Text::try_from(array)?), Shape::vector(array.len()))
            }
        }
    )*};
}

text!(StringArray, LargeStringArray, StringViewArray);

/// Rows of equal length: embeddings, feature vectors. The view's shape is `[rows, length]`, with the lengths of lists
/// in the lists behind it.
impl<'a> TryFrom<&'a FixedSizeListArray> for TensorView<'a> {
    type Error = Error;

    fn try_from(array: &'a FixedSizeListArray) -> Result<Self> {
        if array.null_count() > 0 {
            return Err(missing_cells(array.null_count(), array.len()));
        }
        let width = usize::try_from(array.value_length())
            .map_err(|_| Error::invalid(format!("lists of negative length {}", array.value_length())))?;
        let flat = Self::try_from(array.values().as_ref())?;
        let shape = [&[array.len(), width], &flat.shape()[1..]].concat();
        flat.reshape(shape)
    }
}

/// A column of whichever type, as a record batch holds it: floats of 16, 32 and 64 bits, whole numbers of 32 and 64,
/// the three kinds of text, and lists of fixed size of these, without missing cells. The others are `Unsupported`:
/// what is stored in another way than a tensor is, truth values in bits for instance, cannot be borrowed.
impl<'a> TryFrom<&'a dyn Array> for TensorView<'a> {
    type Error = Error;

    fn try_from(array: &'a dyn Array) -> Result<Self> {
        let any = array.as_any();
        let view = match array.data_type() {
            DataType::Float16 => any.downcast_ref::<PrimitiveArray<Float16Type>>().map(Self::try_from),
            DataType::Float32 => any.downcast_ref::<PrimitiveArray<Float32Type>>().map(Self::try_from),
            DataType::Float64 => any.downcast_ref::<PrimitiveArray<Float64Type>>().map(Self::try_from),
            DataType::Int32 => any.downcast_ref::<PrimitiveArray<Int32Type>>().map(Self::try_from),
            DataType::Int64 => any.downcast_ref::<PrimitiveArray<Int64Type>>().map(Self::try_from),
            DataType::Utf8 => any.downcast_ref::<StringArray>().map(Self::try_from),
            DataType::LargeUtf8 => any.downcast_ref::<LargeStringArray>().map(Self::try_from),
            DataType::Utf8View => any.downcast_ref::<StringViewArray>().map(Self::try_from),
            DataType::FixedSizeList(..) => any.downcast_ref::<FixedSizeListArray>().map(Self::try_from),
            DataType::Boolean => {
                return Err(Error::unsupported(
                    "an Arrow array of truth values holds them in bits, a tensor in bytes: collect them into a \
                     `Vec<bool>`, or cast them to numbers",
                ));
            }
            other => {
                return Err(Error::unsupported(format!(
                    "an Arrow array of {other} as a tensor: cast it to floats, to 32- or 64-bit integers, or to text"
                )));
            }
        };
        view.unwrap_or_else(|| Err(Error::internal("an Arrow array contradicts its type")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, DictionaryArray, Float16Array, Float32Array, Float64Array, Int32Array, Int64Array,
        UInt8Array,
    };
    use arrow_schema::Field;
    use mlops_core::ErrorKind;
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

    #[test]
    fn texts_of_all_kinds_are_borrowed_and_sliced() {
        let texts = ["new", "a text too long to lie in the view itself", ""];
        let arrays: [&dyn Array; 3] = [
            &StringArray::from(texts.to_vec()),
            &LargeStringArray::from(texts.to_vec()),
            &StringViewArray::from(texts.to_vec()),
        ];
        for array in arrays {
            let view = TensorView::try_from(array).unwrap();
            assert_eq!(view.text().unwrap().iter().collect::<Vec<_>>(), texts);
            assert_eq!(view.text().unwrap().get(3), None);
            let column = view.reshape([3, 1]).unwrap().slice_rows(1..3).unwrap();
            let cut = column.slice_rows(0..1).unwrap();
            assert_eq!(cut.text().unwrap().iter().collect::<Vec<_>>(), [texts[1]]);
            assert_eq!(cut.text().unwrap().get(1), None, "beyond the slice");
            let sliced = array.slice(1, 2);
            let view = TensorView::try_from(sliced.as_ref()).unwrap();
            assert_eq!(view.text().unwrap().iter().collect::<Vec<_>>(), texts[1..]);
        }
        let held = LargeStringArray::from(texts.to_vec());
        let view = TensorView::try_from(&held).unwrap();
        let text = view.text().unwrap().get(0).unwrap();
        assert_eq!(text.as_ptr(), held.value_data().as_ptr(), "without a copy");
        for holes in [
            &LargeStringArray::from(vec![Some("a"), None]) as &dyn Array,
            &StringViewArray::from(vec![Some("a"), None]),
        ] {
            assert!(TensorView::try_from(holes).unwrap_err().to_string().starts_with("1 of 2 cells"));
        }
    }

    #[test]
    fn columns_of_any_type_are_borrowed_or_refused() {
        let borrowed: [(&dyn Array, &str); 5] = [
            (&Float16Array::from(vec![half::f16::ONE]), "f16[1]"),
            (&Float32Array::from(vec![1.0]), "f32[1]"),
            (&Float64Array::from(vec![1.0, 2.0]), "f64[2]"),
            (&Int32Array::from(vec![1]), "i32[1]"),
            (&Int64Array::from(Vec::<i64>::new()), "i64[0]"),
        ];
        for (array, want) in borrowed {
            assert_eq!(format!("{:?}", TensorView::try_from(array).unwrap()), want);
        }
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let refused: [(&dyn Array, &str); 3] = [
            (&BooleanArray::from(vec![true]), "holds them in bits"),
            (&UInt8Array::from(vec![1]), "of UInt8 as a tensor: cast it"),
            (&words, "of Dictionary(Int32, Utf8) as a tensor: cast it"),
        ];
        for (array, words) in refused {
            let error = TensorView::try_from(array).unwrap_err();
            assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn lists_of_lists_and_of_texts_keep_their_lengths() {
        let list = |values: Arc<dyn Array>, length| {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), false));
            FixedSizeListArray::new(field, length, values, None)
        };
        let values = Float32Array::from_iter_values((0..12).map(|value| value as f32));
        let nested = list(Arc::new(list(Arc::new(values), 2)), 3);
        let view = TensorView::try_from(&nested).unwrap();
        assert_eq!(*view.shape(), [2, 3, 2]);
        let cut = nested.slice(1, 1);
        assert_eq!(TensorView::try_from(&cut).unwrap().values::<f32>().unwrap()[0], 6.0);
        let texts = list(Arc::new(StringArray::from(vec!["a", "b", "c", "d"])), 2);
        let view = TensorView::try_from(&texts).unwrap();
        assert_eq!((view.shape()[..].to_vec(), view.text().unwrap().get(2)), (vec![2, 2], Some("c")));
        let bits = list(Arc::new(BooleanArray::from(vec![true, false])), 2);
        assert!(TensorView::try_from(&bits).is_err());
    }
}
