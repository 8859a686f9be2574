//! The elements of constants, whichever way they are stored.

use bytes::Bytes;

use super::proto::{AttributeProto, TensorProto, attribute_type, data_type};
use crate::{Error, Result};

impl TensorProto {
    /// A constant of 32-bit floats.
    ///
    /// # Errors
    /// `Invalid` if the shape's product is not the number of elements.
    pub fn of_f32(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Result<Self> {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::of_raw(name.into(), shape, values.len(), data_type::FLOAT, raw)
    }

    /// A constant of 64-bit integers.
    ///
    /// # Errors
    /// `Invalid` if the shape's product is not the number of elements.
    pub fn of_i64(name: impl Into<String>, shape: &[usize], values: &[i64]) -> Result<Self> {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::of_raw(name.into(), shape, values.len(), data_type::INT64, raw)
    }

    fn of_raw(name: String, shape: &[usize], count: usize, data_type: i32, raw: Vec<u8>) -> Result<Self> {
        if shape.iter().product::<usize>() != count {
            return Err(Error::invalid(format!("constant `{name}` of shape {shape:?} got {count} elements")));
        }
        let dims = shape.iter().map(|&axis| axis as i64).collect();
        Ok(Self { name, dims, data_type, raw_data: raw.into(), ..Self::default() })
    }

    /// The lengths of the axes.
    ///
    /// # Errors
    /// `Data` if one is negative or the number of elements overflows.
    pub fn shape(&self) -> Result<Vec<usize>> {
        let wrong =
            || Error::data(format!("constant `{}` has the impossible shape {:?}", self.name, self.dims));
        let axes: Vec<usize> = self
            .dims
            .iter()
            .map(|&axis| usize::try_from(axis))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong())?;
        axes.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis)).ok_or_else(wrong)?;
        Ok(axes)
    }

    /// The elements as 32-bit floats.
    ///
    /// # Errors
    /// `Data` if they are of another type, in another file, or not as many as the shape wants.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.elements(data_type::FLOAT, "float", &self.float_data, f32::from_le_bytes)
    }

    /// The elements as 64-bit floats.
    ///
    /// # Errors
    /// As [`to_f32`](Self::to_f32).
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        self.elements(data_type::DOUBLE, "double", &self.double_data, f64::from_le_bytes)
    }

    /// The elements as 64-bit integers.
    ///
    /// # Errors
    /// As [`to_f32`](Self::to_f32).
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        self.elements(data_type::INT64, "int64", &self.int64_data, i64::from_le_bytes)
    }

    /// The elements as 32-bit integers.
    ///
    /// # Errors
    /// As [`to_f32`](Self::to_f32).
    pub fn to_i32(&self) -> Result<Vec<i32>> {
        self.elements(data_type::INT32, "int32", &self.int32_data, i32::from_le_bytes)
    }

    fn elements<T: Copy, const N: usize>(
        &self,
        data_type: i32,
        wanted: &str,
        typed: &[T],
        from_bytes: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let name = &self.name;
        if self.data_location != 0 {
            return Err(Error::data(format!(
                "constant `{name}` is in another file: load it by a `Loader`, or save the model with its data inside"
            )));
        }
        if self.data_type != data_type {
            let got = self.data_type;
            return Err(Error::data(format!("constant `{name}` is of ONNX type {got}, want {wanted}")));
        }
        let count: usize = self.shape()?.iter().product();
        let values = if self.raw_data.is_empty() {
            typed.to_vec()
        } else {
            let (chunks, rest) = self.raw_data.as_chunks::<N>();
            if !rest.is_empty() {
                return Err(Error::data(format!("constant `{name}` ends in the middle of an element")));
            }
            chunks.iter().map(|bytes| from_bytes(*bytes)).collect()
        };
        if values.len() != count {
            let (got, shape) = (values.len(), &self.dims);
            return Err(Error::data(format!("constant `{name}` of shape {shape:?} holds {got} elements")));
        }
        Ok(values)
    }
}

impl AttributeProto {
    /// A whole number.
    pub fn of_int(name: impl Into<String>, value: i64) -> Self {
        Self { name: name.into(), i: value, r#type: attribute_type::INT, ..Self::default() }
    }

    /// A text.
    pub fn of_text(name: impl Into<String>, value: impl Into<String>) -> Self {
        let s = Bytes::from(value.into());
        Self { name: name.into(), s, r#type: attribute_type::STRING, ..Self::default() }
    }

    /// Numbers.
    pub fn of_floats(name: impl Into<String>, floats: Vec<f32>) -> Self {
        Self { name: name.into(), floats, r#type: attribute_type::FLOATS, ..Self::default() }
    }

    /// Whole numbers.
    pub fn of_ints(name: impl Into<String>, ints: Vec<i64>) -> Self {
        Self { name: name.into(), ints, r#type: attribute_type::INTS, ..Self::default() }
    }

    /// Texts.
    pub fn of_texts(name: impl Into<String>, texts: impl IntoIterator<Item = &'static str>) -> Self {
        let strings = texts.into_iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        Self { name: name.into(), strings, r#type: attribute_type::STRINGS, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_must_match_type_shape_and_size() {
        let good = TensorProto::of_f32("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(good.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert!(good.to_i64().unwrap_err().to_string().contains("type 1, want int64"));
        let short = TensorProto { dims: vec![5], ..good.clone() };
        assert!(short.to_f32().unwrap_err().to_string().contains("holds 4 elements"));
        let torn = TensorProto { raw_data: good.raw_data.slice(..7), ..good.clone() };
        assert!(torn.to_f32().unwrap_err().to_string().contains("middle of an element"));
        for dims in [vec![-1], vec![i64::MAX, 4]] {
            assert!(TensorProto { dims, ..good.clone() }.to_f32().is_err());
        }
        let elsewhere = TensorProto { data_location: 1, ..good };
        assert!(elsewhere.to_f32().unwrap_err().to_string().contains("another file"));
        assert!(TensorProto::of_i64("n", &[3], &[1]).is_err());
    }
}
