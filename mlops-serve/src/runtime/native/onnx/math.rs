//! The standard operations.

use mlops_core::onnx::proto::{NodeProto, TensorProto, data_type};

use super::{Compiler, Value, attribute, float, float_constant, int, ints};
use crate::runtime::native::arithmetic::{Arithmetic, Operand};
use crate::runtime::native::dense::Dense;
use crate::runtime::native::link::Activation;
use crate::runtime::native::step::Operation;
use crate::{Error, Result};

impl<'a> Compiler<'a> {
    /// Compiles an operation of the standard; `false` if it is not known here.
    pub(super) fn math(&mut self, node: &'a NodeProto) -> Result<bool> {
        match node.op_type.as_str() {
            "Constant" => {
                let tensor = attribute(node, "value").and_then(|attribute| attribute.t.as_ref());
                let tensor = tensor.ok_or_else(|| Error::unsupported("a constant that is no tensor"))?;
                self.give(node, 0, Value::Constant(tensor));
            }
            "Identity" | "Dropout" => {
                let value = self.value(node, 0)?.clone();
                self.give(node, 0, value);
            }
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.mat_mul(node)?,
            "Add" => self.combine(node, Arithmetic::Add)?,
            "Sub" => self.combine(node, Arithmetic::Subtract)?,
            "Mul" => self.combine(node, Arithmetic::Multiply)?,
            "Div" => self.combine(node, Arithmetic::Divide)?,
            "Relu" => self.activate(node, |_| Activation::Relu)?,
            "LeakyRelu" => {
                let slope = float(node, "alpha", 0.01);
                self.activate(node, |_| Activation::LeakyRelu(slope))?;
            }
            "Sigmoid" => self.activate(node, |_| Activation::Logistic)?,
            "Tanh" => self.activate(node, |_| Activation::Tanh)?,
            "Softmax" => {
                let (_, dims) = self.float_value(node, 0)?;
                if self.opset < 13 {
                    // It ran over all axes from this one on.
                    if self.axis(int(node, "axis", 1), dims.len())? + 1 != dims.len() {
                        return Err(Error::unsupported("version 12 or less over several axes"));
                    }
                } else {
                    self.last_axis(int(node, "axis", -1), dims.len())?;
                }
                self.activate(node, Activation::Softmax)?;
            }
            "Cast" => self.cast(node)?,
            "Concat" => self.concat(node)?,
            "Transpose" => self.transpose(node)?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(node)?,
            "Gather" => self.gather(node)?,
            "ReduceSum" | "ReduceMean" => self.reduce(node)?,
            "ArgMax" => self.arg_max(node)?,
            "TopK" => self.top(node)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn gemm(&mut self, node: &'a NodeProto) -> Result<()> {
        if int(node, "transA", 0) != 0 {
            return Err(Error::unsupported("transA"));
        }
        let (alpha, beta) = (float(node, "alpha", 1.0), float(node, "beta", 1.0));
        let (weights, [rows, columns]) = matrix(self.required(node, 1)?)?;
        let (mut weights, inputs, outputs) = match int(node, "transB", 0) {
            0 => (weights, rows, columns),
            _ => (transposed(&weights, rows, columns), columns, rows),
        };
        weights.iter_mut().for_each(|weight| *weight *= alpha);
        let bias = match self.constant(node, 2)? {
            None => vec![0.0; outputs],
            Some(tensor) => {
                let bias = row(tensor, outputs)?;
                let bias = if bias.len() == 1 { vec![bias[0]; outputs] } else { bias };
                bias.into_iter().map(|bias| bias * beta).collect()
            }
        };
        self.dense(node, Dense::new(inputs, outputs, &weights, bias))
    }

    fn mat_mul(&mut self, node: &'a NodeProto) -> Result<()> {
        if !matches!(self.value(node, 1)?, Value::Constant(_)) {
            let (a, a_dims) = self.float_value(node, 0)?;
            let (b, b_dims) = self.float_value(node, 1)?;
            return match (&a_dims[..], &b_dims[..]) {
                (&[rows, inner], &[same, columns]) if inner == same => {
                    self.give_floats(node, Operation::Product { a, b, inner }, &[rows, columns])
                }
                _ => Err(Error::unsupported(format!("the product of rows of {a_dims:?} and {b_dims:?}"))),
            };
        }
        let (weights, [inputs, outputs]) = matrix(self.required(node, 1)?)?;
        self.dense(node, Dense::new(inputs, outputs, &weights, vec![0.0; outputs]))
    }

    pub(super) fn dense(&mut self, node: &'a NodeProto, dense: Dense) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        if dims[..] != [dense.inputs()] {
            let want = dense.inputs();
            return Err(Error::data(format!(
                "multiplies rows of shape {dims:?} with {want} rows of weights"
            )));
        }
        let outputs = dense.outputs();
        self.give_floats(node, Operation::Dense { x, dense, then: Activation::Identity }, &[outputs])
    }

    fn combine(&mut self, node: &'a NodeProto, how: Arithmetic) -> Result<()> {
        let constant = |value: &Value<'a>| match value {
            Value::Constant(tensor) => Some(*tensor),
            _ => None,
        };
        let (left, right) = (constant(self.value(node, 0)?), constant(self.value(node, 1)?));
        if let (Arithmetic::Add, None, Some(tensor)) = (how, left, right)
            && self.add_bias(node, tensor)?
        {
            return Ok(());
        }
        let (a, b, dims) = match (left, right) {
            (None, Some(tensor)) => {
                self.copied(tensor)?;
                let (x, dims) = self.float_value(node, 0)?;
                (Operand::Value(x), Operand::Row(row(tensor, x.width)?), dims)
            }
            (Some(tensor), None) => {
                self.copied(tensor)?;
                let (x, dims) = self.float_value(node, 1)?;
                (Operand::Row(row(tensor, x.width)?), Operand::Value(x), dims)
            }
            (None, None) => {
                let (a, a_dims) = self.float_value(node, 0)?;
                let (b, b_dims) = self.float_value(node, 1)?;
                // Axes are matched from the last: with unlike ranks, rows would meet other axes.
                let dims = match (a_dims.len() == b_dims.len(), a.width, b.width) {
                    _ if a_dims == b_dims => a_dims,
                    (true, 1, _) => b_dims,
                    (true, _, 1) => a_dims,
                    _ => {
                        return Err(Error::unsupported(format!(
                            "combines rows of {a_dims:?} with {b_dims:?}"
                        )));
                    }
                };
                (Operand::Value(a), Operand::Value(b), dims)
            }
            (Some(_), Some(_)) => return Err(Error::unsupported("combines constants with each other")),
        };
        self.give_floats(node, Operation::Combine { a, b, how }, &dims)
    }

    /// An addition right after a matrix product, which nobody else reads, is its bias.
    fn add_bias(&mut self, node: &'a NodeProto, tensor: &TensorProto) -> Result<bool> {
        let (x, dims) = self.float_value(node, 0)?;
        let once = node.input.first().is_some_and(|name| self.uses.get(name.as_str()) == Some(&1));
        let Some(step) = self.plan.steps.last_mut() else { return Ok(false) };
        let Operation::Dense { dense, then: Activation::Identity, .. } = &mut step.operation else {
            return Ok(false);
        };
        if step.out != x || !once || dense.bias_mut().iter().any(|bias| *bias != 0.0) {
            return Ok(false);
        }
        let row = row(tensor, x.width)?;
        dense.bias_mut().iter_mut().zip(row.iter().cycle()).for_each(|(bias, value)| *bias = *value);
        self.give(node, 0, Value::Floats { at: x, dims });
        Ok(true)
    }

    fn cast(&mut self, node: &'a NodeProto) -> Result<()> {
        let to = int(node, "to", 0);
        let value = self.value(node, 0)?.clone();
        let value = match (i32::try_from(to).unwrap_or(0), value) {
            (data_type::FLOAT, _) => {
                let (at, dims) = self.float_value(node, 0)?;
                Value::Floats { at, dims }
            }
            (data_type::INT64, value @ Value::Integers { .. }) => value,
            (data_type::INT64, Value::Floats { at, dims }) => {
                Value::Integers { at: self.integers(Operation::ToIntegers { x: at }, &dims)?, dims }
            }
            (data_type::STRING, value @ (Value::Labels { .. } | Value::Input { .. })) if !matches!(&value, Value::Input { element, .. } if *element != mlops_core::ElementType::Text) => {
                value
            }
            (other, _) => return Err(Error::unsupported(format!("a conversion to ONNX type {other}"))),
        };
        self.give(node, 0, value);
        Ok(())
    }

    fn reduce(&mut self, node: &'a NodeProto) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        let axes = match self.constant(node, 1)? {
            Some(tensor) => tensor.to_i64()?,
            None => ints(node, "axes").to_vec(),
        };
        let [axis] = axes[..] else {
            return Err(Error::unsupported(format!("sums over the axes {axes:?}: want the last alone")));
        };
        self.last_axis(axis, dims.len())?;
        let (group, rest) = dims.split_last().ok_or_else(|| Error::unsupported("sums over the rows"))?;
        let mut out = rest.to_vec();
        if int(node, "keepdims", 1) != 0 {
            out.push(1);
        }
        let mean = node.op_type == "ReduceMean";
        self.give_floats(node, Operation::Sum { x, group: *group, mean }, &out)
    }

    fn arg_max(&mut self, node: &'a NodeProto) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        self.last_axis(int(node, "axis", 0), dims.len())?;
        if dims.len() != 1 || int(node, "select_last_index", 0) != 0 {
            return Err(Error::unsupported(format!("the largest element of rows of shape {dims:?}")));
        }
        let out = if int(node, "keepdims", 1) != 0 { vec![1] } else { vec![] };
        let at = self.integers(Operation::ArgMax { x }, &out)?;
        self.give(node, 0, Value::Integers { at, dims: out });
        Ok(())
    }

    fn top(&mut self, node: &'a NodeProto) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        self.last_axis(int(node, "axis", -1), dims.len())?;
        if dims.len() != 1 || int(node, "largest", 1) == 0 {
            return Err(Error::unsupported(format!(
                "the smallest elements, or those of rows of shape {dims:?}"
            )));
        }
        let count = match self.required(node, 1)?.to_i64()?[..] {
            [count] if (1..=x.width as i64).contains(&count) => count as usize,
            ref other => {
                return Err(Error::data(format!("takes the {other:?} largest of {} elements", x.width)));
            }
        };
        let places = self.integers(Operation::TopPlaces { x }, &[count])?;
        self.give(node, 1, Value::Integers { at: places, dims: vec![count] });
        self.give_floats(node, Operation::Pick { x, places }, &[count])
    }

    /// The place of an axis among those after the rows.
    pub(super) fn axis(&self, axis: i64, dims: usize) -> Result<usize> {
        let rank = dims as i64 + 1;
        let place = if axis < 0 { axis.saturating_add(rank) } else { axis };
        if (1..rank).contains(&place) {
            return Ok(place as usize - 1);
        }
        Err(Error::unsupported(format!("works along axis {axis} of {rank}: want one after the rows")))
    }

    /// Whether an axis is the last of a value with so many axes after the rows.
    pub(super) fn last_axis(&self, axis: i64, dims: usize) -> Result<()> {
        if dims > 0 && (axis == -1 || axis == dims as i64) {
            return Ok(());
        }
        Err(Error::unsupported(format!("works along axis {axis} of {}: want the last", dims + 1)))
    }
}

fn matrix(tensor: &TensorProto) -> Result<(Vec<f32>, [usize; 2])> {
    match tensor.shape()?[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok((tensor.to_f32()?, [rows, columns])),
        ref shape => {
            Err(Error::unsupported(format!("constant `{}` of shape {shape:?}: want a matrix", tensor.name)))
        }
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// A constant that is one element, or a row of `width` of them.
fn row(tensor: &TensorProto, width: usize) -> Result<Vec<f32>> {
    let shape = tensor.shape()?;
    let values = float_constant(tensor)?;
    let along_rows = shape.iter().rev().skip(1).all(|axis| *axis == 1);
    if values.len() == 1 || values.len() == width && along_rows {
        return Ok(values);
    }
    Err(Error::unsupported(format!("constant `{}` of shape {shape:?}: want one row of {width}", tensor.name)))
}
