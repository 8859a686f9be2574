//! The operations that look categories up.

use mlops_core::ElementType;
use mlops_core::onnx::proto::NodeProto;

use super::{Compiler, Value, float, floats, int, ints, texts};
use crate::runtime::native::category::Category;
use crate::runtime::native::step::Operation;
use crate::{Error, Result};

impl<'a> Compiler<'a> {
    pub(super) fn one_hot(&mut self, node: &'a NodeProto) -> Result<()> {
        let (strings, integers) = (texts(node, "cats_strings")?, ints(node, "cats_int64s"));
        let strict = int(node, "zeros", 1) == 0;
        let categories = strings.len().max(integers.len());
        let (x, mut dims) = self.category(node, numbered(strings), numbered(integers.to_vec()), -1)?;
        // One column of categories becomes one column for each of them.
        if categories == 0 || !matches!(dims[..], [] | [1]) {
            return Err(Error::unsupported(format!("{categories} categories over rows of shape {dims:?}")));
        }
        dims.push(categories);
        self.give_floats(node, Operation::OneHot { x, categories, strict }, &dims)
    }

    pub(super) fn label_encoder(&mut self, node: &'a NodeProto) -> Result<()> {
        let (strings, integers) = (texts(node, "keys_strings")?, ints(node, "keys_int64s"));
        let (to_integers, to_floats) = (ints(node, "values_int64s"), floats(node, "values_floats"));
        let keys = strings.len().max(integers.len());
        if keys == 0 || keys != to_integers.len().max(to_floats.len()) {
            let values = to_integers.len().max(to_floats.len());
            return Err(Error::unsupported(format!(
                "{keys} text or integer keys for {values} integer or float values"
            )));
        }
        if to_floats.is_empty() {
            let strings = strings.into_iter().zip(to_integers.iter().copied()).collect();
            let integers = integers.iter().copied().zip(to_integers.iter().copied()).collect();
            let (x, dims) = self.category(node, strings, integers, int(node, "default_int64", -1))?;
            let at = self.integers(Operation::Category { x }, &dims)?;
            self.give(node, 0, Value::Integers { at, dims });
            return Ok(());
        }
        let (x, dims) = self.category(node, numbered(strings), numbered(integers.to_vec()), -1)?;
        let otherwise = float(node, "default_float", -0.0);
        self.give_floats(node, Operation::CategoryValue { x, values: to_floats.to_vec(), otherwise }, &dims)
    }

    fn category(
        &mut self,
        node: &'a NodeProto,
        texts: Vec<(String, i64)>,
        integers: Vec<(i64, i64)>,
        otherwise: i64,
    ) -> Result<(Category, Vec<usize>)> {
        match self.value(node, 0)?.clone() {
            Value::Input { input, element: ElementType::Text, dims } if !texts.is_empty() => {
                Ok((Category::Text { input, places: texts.into_iter().collect(), otherwise }, dims))
            }
            Value::Integers { at: x, dims } if !integers.is_empty() => {
                Ok((Category::Integers { x, places: integers.into_iter().collect(), otherwise }, dims))
            }
            _ => {
                Err(Error::unsupported("looks up something that is neither a text input nor 64-bit integers"))
            }
        }
    }
}

fn numbered<T>(keys: Vec<T>) -> Vec<(T, i64)> {
    keys.into_iter().zip(0..).collect()
}
