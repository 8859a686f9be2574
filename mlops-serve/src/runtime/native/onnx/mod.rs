//! From an ONNX graph to a plan.

mod math;
mod ml;
mod trees;
mod trees5;
mod vocabulary;

use std::collections::HashMap;
use std::sync::Arc;

use mlops_core::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, data_type};
use mlops_core::onnx::{ModelProto, signature};
use mlops_core::{Dimension, ElementType, ModelSignature};

use super::WIDEST;
use super::link::Activation;
use super::plan::{Matrix, Output, Place, Plan};
use super::step::{Operation, Step};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Compiles a model. `wanted` names the outputs to compute; `None` stands for all.
pub(super) fn compile(model: &ModelProto, wanted: Option<&[String]>) -> Result<(ModelSignature, Plan)> {
    let mut declared = signature(model)?;
    let graph = model.graph.as_ref().ok_or_else(|| Error::data("the ONNX model holds no graph"))?;
    if let Some(wanted) = wanted {
        let names = || declared.outputs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in wanted {
            if !declared.outputs.iter().any(|spec| spec.name == *name) {
                return Err(Error::invalid(format!("no output `{name}`: the model gives {}", names())));
            }
        }
        declared.outputs.retain(|spec| wanted.contains(&spec.name));
    }
    refuse_reduced(graph, &declared)?;
    let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
    let opset = model.opset_import.iter().find(|opset| standard(&opset.domain)).map(|opset| opset.version);
    // A model of other operations alone need not name the version of the standard ones.
    let opset = opset.unwrap_or(i64::MAX);
    if opset < OPSET_MIN {
        return Err(Error::unsupported(format!(
            "operations of version {opset}: export the model with version {OPSET_MIN} or later"
        )));
    }
    let mut compiler = Compiler::new(graph, &declared, opset)?;
    for node in compiler.needed(graph, &declared) {
        compiler
            .node(node)
            .map_err(|error| error.context(format!("ONNX operation {} `{}`", node.op_type, node.name)))?;
    }
    compiler.finish(declared)
}

/// Computed in 32 bits, a model in half precision would answer otherwise than where it was checked; of quantised
/// ones the kernels know nothing.
fn refuse_reduced(graph: &GraphProto, declared: &ModelSignature) -> Result<()> {
    let specs = declared.inputs.iter().chain(&declared.outputs);
    let mut specs = specs.filter(|spec| spec.element == ElementType::F16).map(|spec| spec.name.as_str());
    let constant = |types: &[i32]| {
        let found = graph.initializer.iter().find(|tensor| types.contains(&tensor.data_type));
        found.map(|tensor| tensor.name.as_str())
    };
    if let Some(name) = specs.next().or_else(|| constant(&[data_type::FLOAT16])) {
        return Err(Error::unsupported(format!(
            "`{name}` holds 16-bit floats, the native runtime computes in 32 bits: load the model with `ort`"
        )));
    }
    if let Some(name) = constant(&[data_type::INT8, data_type::UINT8]) {
        return Err(Error::unsupported(format!(
            "`{name}` holds 8-bit integers, the native runtime computes in 32-bit floats: load the model with `ort` \
             or `tract`"
        )));
    }
    Ok(())
}

/// What is known about a value of the graph. The first axis of everything that is computed counts the rows.
#[derive(Clone, Debug)]
enum Value<'a> {
    /// Floats; `dims` are the axes after the rows.
    Floats {
        at: Matrix,
        dims: Vec<usize>,
    },
    Integers {
        at: Matrix,
        dims: Vec<usize>,
    },
    /// The index of a label.
    Labels {
        at: Matrix,
        dims: Vec<usize>,
        labels: Vec<String>,
    },
    /// An input of another type, as it came.
    Input {
        input: usize,
        element: ElementType,
        dims: Vec<usize>,
    },
    Constant(&'a TensorProto),
}

struct Compiler<'a> {
    values: HashMap<&'a str, Value<'a>>,
    /// How often a value is read, outputs included.
    uses: HashMap<&'a str, usize>,
    plan: Plan,
    /// The version of the standard operations.
    opset: i64,
    /// Tables that operations look into: several may share one.
    tables: HashMap<*const TensorProto, Arc<[f32]>>,
    /// Elements of constants that the plan may still copy.
    copies_left: usize,
}

/// The plan copies at most so many times the elements of all constants, and this many more.
const COPIES: usize = 8;
const COPIES_EXTRA: usize = 1 << 20;
/// Before this version, arithmetic had other rules for shapes.
const OPSET_MIN: i64 = 7;

impl<'a> Compiler<'a> {
    fn new(graph: &'a GraphProto, declared: &ModelSignature, opset: i64) -> Result<Self> {
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
    fn needed(&self, graph: &'a GraphProto, declared: &ModelSignature) -> Vec<&'a NodeProto> {
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

    fn node(&mut self, node: &'a NodeProto) -> Result<()> {
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

    fn finish(mut self, mut declared: ModelSignature) -> Result<(ModelSignature, Plan)> {
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
    fn in_scratch(&mut self, at: Matrix, dims: &[usize]) -> Result<Matrix> {
        match at.place {
            Place::Scratch(_) => Ok(at),
            Place::Input(_) => {
                self.floats(Operation::Map { x: at, then: Activation::Identity }, dims).map(|(at, _)| at)
            }
        }
    }

    // What the operations are built from.

    fn value(&self, node: &NodeProto, index: usize) -> Result<&Value<'a>> {
        let name = node.input.get(index).map(String::as_str).unwrap_or_default();
        if name.is_empty() {
            return Err(Error::data(format!("has no input {index}")));
        }
        self.values
            .get(name)
            .ok_or_else(|| Error::data(format!("reads `{name}`, which nothing computes before")))
    }

    /// A constant input; `None` if it is left out.
    fn constant(&mut self, node: &NodeProto, index: usize) -> Result<Option<&'a TensorProto>> {
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
    fn copied(&mut self, tensor: &'a TensorProto) -> Result<&'a TensorProto> {
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
    fn table(&mut self, tensor: &'a TensorProto) -> Result<Arc<[f32]>> {
        let key = std::ptr::from_ref(tensor);
        if let Some(table) = self.tables.get(&key) {
            return Ok(Arc::clone(table));
        }
        let table: Arc<[f32]> = self.copied(tensor)?.to_f32()?.into();
        self.tables.insert(key, Arc::clone(&table));
        Ok(table)
    }

    fn required(&mut self, node: &NodeProto, index: usize) -> Result<&'a TensorProto> {
        self.constant(node, index)?.ok_or_else(|| Error::data(format!("has no input {index}")))
    }

    /// A float value; inputs of other number types and integers are converted.
    fn float_value(&mut self, node: &NodeProto, index: usize) -> Result<(Matrix, Vec<usize>)> {
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
    fn floats(&mut self, operation: Operation, dims: &[usize]) -> Result<(Matrix, Vec<usize>)> {
        let width = width(dims)?;
        let out = Matrix { place: Place::Scratch(self.plan.floats), width };
        self.plan.floats = widen(self.plan.floats, width)?;
        self.plan.steps.push(Step { operation, out });
        Ok((out, dims.to_vec()))
    }

    /// Adds a step that computes integers.
    fn integers(&mut self, operation: Operation, dims: &[usize]) -> Result<Matrix> {
        let width = width(dims)?;
        let out = Matrix { place: Place::Scratch(self.plan.integers), width };
        self.plan.integers = widen(self.plan.integers, width)?;
        self.plan.steps.push(Step { operation, out });
        Ok(out)
    }

    fn give(&mut self, node: &'a NodeProto, index: usize, value: Value<'a>) {
        if let Some(name) = node.output.get(index).filter(|name| !name.is_empty()) {
            self.values.insert(name, value);
        }
    }

    fn give_floats(&mut self, node: &'a NodeProto, operation: Operation, dims: &[usize]) -> Result<()> {
        let (at, dims) = self.floats(operation, dims)?;
        self.give(node, 0, Value::Floats { at, dims });
        Ok(())
    }

    /// A function of each element: part of the step that computes `x`, if nobody else reads that.
    fn activate(&mut self, node: &'a NodeProto, function: impl Fn(usize) -> Activation) -> Result<()> {
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

fn input<'a>(input: usize, spec: &mlops_core::TensorSpec) -> Result<Value<'a>> {
    let name = &spec.name;
    let dims = spec.shape.iter().skip(1).map(|axis| match axis {
        Dimension::Fixed(length) => Ok(*length),
        Dimension::Symbol(symbol) => Err(Error::unsupported(format!(
            "input `{name}` has the open axis `{symbol}`: the native runtime wants all axes but the first fixed"
        ))),
    });
    let dims = dims.collect::<Result<Vec<_>>>()?;
    if !matches!(spec.shape.first(), Some(Dimension::Symbol(_))) {
        return Err(Error::unsupported(format!(
            "input {spec} has no open first axis: the native runtime counts rows there"
        )));
    }
    let at = Matrix { place: Place::Input(input), width: width(&dims)? };
    Ok(match spec.element {
        ElementType::F32 => Value::Floats { at, dims },
        ElementType::I64 => Value::Integers { at, dims },
        element => Value::Input { input, element, dims },
    })
}

fn width(dims: &[usize]) -> Result<usize> {
    let product = dims.iter().try_fold(1_usize, |product, axis| product.checked_mul(*axis));
    match product {
        Some(0) => Err(Error::data("a value without elements")),
        Some(width) if width <= WIDEST => Ok(width),
        _ => Err(Error::unsupported(format!(
            "a value of shape {dims:?} a row: {WIDEST} elements are the limit"
        ))),
    }
}

fn widen(total: usize, width: usize) -> Result<usize> {
    let total = total.checked_add(width).filter(|total| *total <= WIDEST);
    total.ok_or_else(|| {
        Error::unsupported(format!("intermediate values of more than {WIDEST} elements a row"))
    })
}

// Attributes.

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f)
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

fn floats<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(node, name).map_or(&[], |attribute| &attribute.floats)
}

fn text<'a>(node: &'a NodeProto, name: &str, default: &'a str) -> Result<&'a str> {
    attribute(node, name).map_or(Ok(default), |attribute| utf8(&attribute.s))
}

fn texts(node: &NodeProto, name: &str) -> Result<Vec<String>> {
    let strings = attribute(node, name).map_or(&[][..], |attribute| &attribute.strings);
    strings.iter().map(|text| utf8(text).map(str::to_owned)).collect()
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::data("a text is not UTF-8").with_source(error))
}

/// A constant of floats, whichever number type it is stored in.
fn float_constant(tensor: &TensorProto) -> Result<Vec<f32>> {
    match tensor.data_type {
        data_type::INT64 => Ok(tensor.to_i64()?.into_iter().map(|value| value as f32).collect()),
        data_type::DOUBLE => Ok(tensor.to_f64()?.into_iter().map(|value| value as f32).collect()),
        _ => tensor.to_f32(),
    }
}
