//! What is known of a graph while it is compiled.

use std::collections::HashMap;
use std::sync::Arc;

use mlops_core::onnx::proto::{GraphProto, NodeProto, TensorProto};
use mlops_core::{Dimension, ElementType, ModelSignature};

use super::{Value, input, widen, width};
use crate::runtime::native::link::Activation;
use crate::runtime::native::plan::{Matrix, Output, Place, Plan};
use crate::runtime::native::step::{Operation, Step};
use crate::tensor::Shape;
use crate::{Error, Result};

pub(super) struct Compiler<'a> {
    pub(super) values: HashMap<&'a str, Value<'a>>,
    /// How often a value is read, outputs included.
    pub(super) uses: HashMap<&'a str, usize>,
    pub(super) plan: Plan,
    /// The version of the standard operations.
    pub(super) opset: i64,
    /// Tables that operations look into: several may share one.
    pub(super) tables: HashMap<*const TensorProto, Arc<[f32]>>,
    /// Elements of constants that the plan may still copy.
    pub(super) copies_left: usize,
}

/// The plan copies at most so many times the elements of all constants, and this many more.
const COPIES: usize = 8;
const COPIES_EXTRA: usize = 1 << 20;

impl<'a> Compiler<'a> {
    pub(super) fn new(graph: &'a GraphProto, declared: &ModelSignature, opset: i64) -> Result<Self> {
        let mut values = HashMap::new();
        for tensor in &graph.initializer {
            values.insert(tensor.name.as_str(), Value::Constant(tensor));
        }
        let in_nodes = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|a| a.t.as_ref());
        let elements = graph.initializer.iter().chain(in_nodes).map(stored).fold(0, usize::saturating_add);
        let copies_left = elements.saturating_mul(COPIES).saturating_add(COPIES_EXTRA);
        let plan = Plan { steps: Vec::new(), outputs: Vec::new(), floats: 0, integers: 0 };
        let (uses, tables) = (HashMap::new(), HashMap::new());
        let mut compiler = Self { values, uses, plan, opset, tables, copies_left };
        let mut index = 0;
        for value in &graph.input {
            if compiler.values.contains_key(value.name.as_str()) {
                continue;
            }
            let spec = &declared.inputs[index];
            compiler.values.insert(&value.name, input(index, spec)?);
            index += 1;
        }
        let read = graph.node.iter().flat_map(|node| &node.input);
        for name in read.map(String::as_str).chain(graph.output.iter().map(|output| output.name.as_str())) {
            *compiler.uses.entry(name).or_default() += 1;
        }
        Ok(compiler)
    }

    /// The nodes that the outputs depend on, in their order.
    pub(super) fn needed(&self, graph: &'a GraphProto, declared: &ModelSignature) -> Vec<&'a NodeProto> {
        let mut wanted: std::collections::HashSet<&str> =
            declared.outputs.iter().map(|spec| spec.name.as_str()).collect();
        let mut nodes = Vec::new();
        for node in graph.node.iter().rev() {
            if node.output.iter().any(|output| wanted.contains(output.as_str())) {
                wanted.extend(node.input.iter().map(String::as_str));
                nodes.push(node);
            }
        }
        nodes.reverse();
        nodes
    }

    pub(super) fn node(&mut self, node: &'a NodeProto) -> Result<()> {
        let done = match node.domain.as_str() {
            "" | "ai.onnx" => self.math(node)?,
            "ai.onnx.ml" => self.ml(node)?,
            _ => false,
        };
        if done {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "{}{} is not among the operations of the native runtime: load the model with `ort` or `tract`",
            if node.domain.is_empty() { String::new() } else { format!("{}.", node.domain) },
            node.op_type
        )))
    }

    pub(super) fn finish(mut self, mut declared: ModelSignature) -> Result<(ModelSignature, Plan)> {
        for spec in &mut declared.outputs {
            let value = self.values.get(spec.name.as_str()).cloned();
            let value =
                value.ok_or_else(|| Error::data(format!("nothing computes output `{}`", spec.name)))?;
            let output = match value {
                Value::Floats { at, dims } => {
                    let at = self.in_scratch(at, &dims)?;
                    Output::Floats { value: at, dims }
                }
                Value::Integers { at, dims } if matches!(at.place, Place::Scratch(_)) => {
                    Output::Integers { value: at, dims }
                }
                Value::Labels { at, dims, labels } => Output::Labels { value: at, dims, labels },
                Value::Integers { .. } | Value::Input { .. } | Value::Constant(_) => {
                    let name = &spec.name;
                    return Err(Error::unsupported(format!(
                        "output `{name}` is not computed from the inputs"
                    )));
                }
            };
            let (element, dims) = match &output {
                Output::Floats { dims, .. } => (ElementType::F32, dims),
                Output::Integers { dims, .. } => (ElementType::I64, dims),
                Output::Labels { dims, .. } => (ElementType::Text, dims),
            };
            if dims.len() >= Shape::MAX_RANK {
                return Err(Error::unsupported(format!(
                    "output `{}` has {} axes",
                    spec.name,
                    dims.len() + 1
                )));
            }
            // What is computed counts, not what the exporter declared.
            spec.element = element;
            let rows = declared.inputs.first().and_then(|spec| spec.shape.first()).cloned();
            spec.shape = rows.into_iter().chain(dims.iter().map(|axis| Dimension::Fixed(*axis))).collect();
            self.plan.outputs.push(output);
        }
        Ok((declared, self.plan))
    }

    /// A value that is an input becomes a copy: outputs are copied from scratch memory.
    pub(super) fn in_scratch(&mut self, at: Matrix, dims: &[usize]) -> Result<Matrix> {
        match at.place {
            Place::Scratch(_) => Ok(at),
            Place::Input(_) => {
                self.floats(Operation::Map { x: at, then: Activation::Identity }, dims).map(|(at, _)| at)
            }
        }
    }

    // What the operations are built from.

    pub(super) fn value(&self, node: &NodeProto, index: usize) -> Result<&Value<'a>> {
        let name = node.input.get(index).map(String::as_str).unwrap_or_default();
        if name.is_empty() {
            return Err(Error::data(format!("has no input {index}")));
        }
        self.values
            .get(name)
            .ok_or_else(|| Error::data(format!("reads `{name}`, which nothing computes before")))
    }

    /// A constant input; `None` if it is left out.
    pub(super) fn constant(&mut self, node: &NodeProto, index: usize) -> Result<Option<&'a TensorProto>> {
        if node.input.get(index).is_none_or(String::is_empty) {
            return Ok(None);
        }
        match *self.value(node, index)? {
            Value::Constant(tensor) => self.copied(tensor).map(Some),
            _ => Err(Error::unsupported(format!(
                "input {index} is computed: the native runtime wants a constant"
            ))),
        }
    }

    /// A constant that a step will hold a copy of. Many steps may name one large constant: the file would be
    /// small, and the plan without a limit.
    pub(super) fn copied(&mut self, tensor: &'a TensorProto) -> Result<&'a TensorProto> {
        let left = self.copies_left.checked_sub(stored(tensor));
        self.copies_left = left.ok_or_else(|| {
            let name = &tensor.name;
            Error::unsupported(format!(
                "reads constant `{name}` once more than memory allows: {COPIES} times the constants of the file"
            ))
        })?;
        Ok(tensor)
    }

    /// A table, which all steps that look into it share.
    pub(super) fn table(&mut self, tensor: &'a TensorProto) -> Result<Arc<[f32]>> {
        let key = std::ptr::from_ref(tensor);
        if let Some(table) = self.tables.get(&key) {
            return Ok(Arc::clone(table));
        }
        let table: Arc<[f32]> = self.copied(tensor)?.to_f32()?.into();
        self.tables.insert(key, Arc::clone(&table));
        Ok(table)
    }

    pub(super) fn required(&mut self, node: &NodeProto, index: usize) -> Result<&'a TensorProto> {
        self.constant(node, index)?.ok_or_else(|| Error::data(format!("has no input {index}")))
    }

    /// A float value; inputs of other number types and integers are converted.
    pub(super) fn float_value(&mut self, node: &NodeProto, index: usize) -> Result<(Matrix, Vec<usize>)> {
        match self.value(node, index)?.clone() {
            Value::Floats { at, dims } => Ok((at, dims)),
            Value::Integers { at, dims } => self.floats(Operation::ToFloats { x: at }, &dims),
            Value::Input { element: ElementType::Text, .. } => {
                Err(Error::unsupported("reads texts as numbers"))
            }
            Value::Input { input, dims, .. } => self.floats(Operation::Convert { input }, &dims),
            Value::Labels { .. } => Err(Error::unsupported("reads labels as numbers")),
            Value::Constant(_) => Err(Error::unsupported("reads nothing but constants")),
        }
    }

    /// Adds a step that computes floats.
    pub(super) fn floats(&mut self, operation: Operation, dims: &[usize]) -> Result<(Matrix, Vec<usize>)> {
        let width = width(dims)?;
        let out = Matrix { place: Place::Scratch(self.plan.floats), width };
        self.plan.floats = widen(self.plan.floats, width)?;
        self.plan.steps.push(Step { operation, out });
        Ok((out, dims.to_vec()))
    }

    /// Adds a step that computes integers.
    pub(super) fn integers(&mut self, operation: Operation, dims: &[usize]) -> Result<Matrix> {
        let width = width(dims)?;
        let out = Matrix { place: Place::Scratch(self.plan.integers), width };
        self.plan.integers = widen(self.plan.integers, width)?;
        self.plan.steps.push(Step { operation, out });
        Ok(out)
    }

    pub(super) fn give(&mut self, node: &'a NodeProto, index: usize, value: Value<'a>) {
        if let Some(name) = node.output.get(index).filter(|name| !name.is_empty()) {
            self.values.insert(name, value);
        }
    }

    pub(super) fn give_floats(
        &mut self,
        node: &'a NodeProto,
        operation: Operation,
        dims: &[usize],
    ) -> Result<()> {
        let (at, dims) = self.floats(operation, dims)?;
        self.give(node, 0, Value::Floats { at, dims });
        Ok(())
    }

    /// A function of each element: part of the step that computes `x`, if nobody else reads that.
    pub(super) fn activate(
        &mut self,
        node: &'a NodeProto,
        function: impl Fn(usize) -> Activation,
    ) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        let row = dims.last().copied().unwrap_or(1);
        if row == 0 {
            return Err(Error::data("reads rows of no elements"));
        }
        let once = node.input.first().is_some_and(|name| self.uses.get(name.as_str()) == Some(&1));
        if let Some(Step { operation, out }) = self.plan.steps.last_mut()
            && *out == x
            && once
            && let Operation::Dense { then, .. } | Operation::Forest { then, .. } = operation
            && *then == Activation::Identity
        {
            *then = function(row);
            self.give(node, 0, Value::Floats { at: x, dims });
            return Ok(());
        }
        self.give_floats(node, Operation::Map { x, then: function(row) }, &dims)
    }
}

/// The elements that are in the file, whatever the shape says.
fn stored(tensor: &TensorProto) -> usize {
    let lists = tensor.float_data.len() + tensor.double_data.len() + tensor.int64_data.len();
    lists + tensor.int32_data.len() + tensor.raw_data.len() / size_of::<f32>()
}
