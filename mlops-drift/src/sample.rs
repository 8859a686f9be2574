//! Values that were checked and sorted once, for all tests to share.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, Float64Array};
use arrow_schema::DataType;

use crate::sort::sort;
use crate::{Error, Result};

/// At least one number, none NaN, in ascending order.
///
/// Sorting costs O(n log n) once; every test on samples is then linear. Infinities are kept: they are
/// ordered, and the tests for which they have no answer say so.
///
/// ```
/// use mlops_drift::Sample;
///
/// let sample = Sample::new([3.0, 1.0, 2.0])?;
/// assert_eq!(sample.sorted(), [1.0, 2.0, 3.0]);
/// assert_eq!(Sample::new([0.5f32])?.len(), 1);
/// assert!(Sample::new([f64::NAN]).is_err());
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// A sample of these numbers: a slice's `iter().copied()`, an `ndarray` view's, any iterator's.
    ///
    /// # Errors
    /// `Data` if there is no number, or if one is NaN.
    pub fn new(values: impl IntoIterator<Item = impl Into<f64>>) -> Result<Self> {
        let values: Vec<f64> = values.into_iter().map(Into::into).collect();
        if let Some(index) = values.iter().position(|value| value.is_nan()) {
            return Err(Error::data(format!(
                "the value at index {index}, counted from 0, is NaN: drop missing values before testing"
            )));
        }
        Self::from_unsorted(values)
    }

    /// A sample of the cells of a numeric Arrow array; null and NaN cells are left out and counted.
    ///
    /// Integers beyond 2^53 are rounded.
    ///
    /// # Errors
    /// `Data` if the array is not numeric or no number remains.
    pub fn from_array(array: &dyn Array) -> Result<(Self, usize)> {
        let array = numbers(array)?;
        let values: Vec<f64> = array.iter().flatten().filter(|value| !value.is_nan()).collect();
        let left_out = array.len() - values.len();
        Ok((Self::from_unsorted(values)?, left_out))
    }

    /// The numbers in ascending order.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// How many numbers there are: at least one.
    #[allow(clippy::len_without_is_empty, reason = "a sample is never empty")]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    fn from_unsorted(values: Vec<f64>) -> Result<Self> {
        if values.is_empty() {
            return Err(Error::data("a sample needs at least one number, got none"));
        }
        Ok(Self { sorted: sort(values) })
    }
}

/// A numeric array as `Float64`, without a copy if it is that already.
pub(crate) fn numbers(array: &dyn Array) -> Result<Float64Array> {
    match array.data_type() {
        DataType::Float64 => Ok(array.as_primitive::<Float64Type>().clone()),
        kind if kind.is_numeric() => {
            Ok(arrow_cast::cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        }
        kind => Err(Error::data(format!("want numbers, got {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int32Array, StringArray};

    #[test]
    fn arrays_of_any_number_type_and_views() {
        let (sample, left_out) = Sample::from_array(&Int32Array::from(vec![Some(2), None, Some(1)])).unwrap();
        assert_eq!((sample.sorted(), left_out), (&[1.0, 2.0][..], 1));
        let view = ndarray::arr2(&[[4.0f32, 1.0], [3.0, 2.0]]);
        assert_eq!(Sample::new(view.column(0).iter().copied()).unwrap().sorted(), [3.0, 4.0]);
        assert!(Sample::from_array(&StringArray::from(vec!["1"])).is_err());
        assert!(Sample::from_array(&Float64Array::from(vec![f64::NAN])).is_err());
        assert!(Sample::new(Vec::<f64>::new()).is_err());
    }
}
