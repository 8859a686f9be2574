//! The standard operations that move elements and compute none.

use mlops_core::onnx::proto::NodeProto;

use super::{Compiler, Value, int, ints};
use crate::runtime::native::step::Operation;
use crate::{Error, Result};

impl<'a> Compiler<'a> {
    pub(super) fn concat(&mut self, node: &'a NodeProto) -> Result<()> {
        let values =
            (0..node.input.len()).map(|index| self.float_value(node, index)).collect::<Result<Vec<_>>>()?;
        let Some((_, first)) = values.first() else { return Err(Error::data("joins nothing")) };
        let mut dims = first.clone();
        let axis = self.axis(int(node, "axis", 1), dims.len())?;
        let alike = |other: &Vec<usize>| {
            other.len() == dims.len()
                && (0..dims.len()).all(|place| place == axis || other[place] == dims[place])
        };
        if let Some((_, other)) = values.iter().find(|(_, other)| !alike(other)) {
            return Err(Error::data(format!("joins rows of shape {dims:?} and {other:?}")));
        }
        let repeat = dims[..axis].iter().product();
        dims[axis] = values.iter().map(|(_, dims)| dims[axis]).sum();
        let parts = values.into_iter().map(|(x, _)| x).collect();
        self.give_floats(node, Operation::Concat { parts, repeat }, &dims)
    }

    pub(super) fn transpose(&mut self, node: &'a NodeProto) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        let order = ints(node, "perm");
        let axes: Vec<usize> = match order {
            [0, rest @ ..] => {
                rest.iter().filter_map(|axis| usize::try_from(axis.checked_sub(1)?).ok()).collect()
            }
            _ => vec![],
        };
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if order.len() != axes.len() + 1 || sorted != Vec::from_iter(0..dims.len()) {
            return Err(Error::unsupported(format!("the order of axes {order:?}: want the rows first")));
        }
        // For each element of the result, where it comes from; the last axis turns fastest.
        let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
        let mut columns = vec![0];
        let mut out = Vec::with_capacity(dims.len());
        for axis in axes {
            out.push(dims[axis]);
            let step = stride(axis);
            columns = columns.iter().flat_map(|from| (0..dims[axis]).map(move |n| from + n * step)).collect();
        }
        self.give_floats(node, Operation::Columns { x, columns }, &out)
    }

    /// Changes of shape that keep a row's elements together.
    pub(super) fn reshape(&mut self, node: &'a NodeProto) -> Result<()> {
        let value = self.value(node, 0)?.clone();
        let (dims, width) = match &value {
            Value::Floats { at, dims } | Value::Integers { at, dims } => (dims.clone(), at.width),
            Value::Input { dims, .. } => (dims.clone(), super::width(dims)?),
            Value::Labels { .. } | Value::Constant(_) => {
                return Err(Error::unsupported("changes the shape of something that is no row of numbers"));
            }
        };
        let target = match node.op_type.as_str() {
            "Flatten" if int(node, "axis", 1) == 1 => vec![width],
            "Flatten" => return Err(Error::unsupported("flattens another axis than the second")),
            "Reshape" => {
                let target = self.required(node, 1)?.to_i64()?;
                reshaped(&target, &dims, width)?
            }
            op => {
                let axes = match self.constant(node, 1)? {
                    Some(tensor) => tensor.to_i64()?,
                    None => ints(node, "axes").to_vec(),
                };
                let rank = dims.len() as i64 + 1;
                let mut dims = dims;
                if op == "Squeeze" {
                    for axis in descending(&axes, rank)? {
                        if dims.get(axis) != Some(&1) {
                            return Err(Error::unsupported(format!("removes axis {} of {dims:?}", axis + 1)));
                        }
                        dims.remove(axis);
                    }
                } else {
                    for axis in descending(&axes, rank + axes.len() as i64)?.into_iter().rev() {
                        if axis > dims.len() {
                            return Err(Error::unsupported(format!("adds axis {} to {dims:?}", axis + 1)));
                        }
                        dims.insert(axis, 1);
                    }
                }
                dims
            }
        };
        let value = match value {
            Value::Floats { at, .. } => Value::Floats { at, dims: target },
            Value::Integers { at, .. } => Value::Integers { at, dims: target },
            Value::Input { input, element, .. } => Value::Input { input, element, dims: target },
            other => other,
        };
        self.give(node, 0, value);
        Ok(())
    }

    /// Rows of a constant table by a computed index: embeddings. Or fixed columns of a computed row.
    pub(super) fn gather(&mut self, node: &'a NodeProto) -> Result<()> {
        let axis = int(node, "axis", 0);
        if let Value::Constant(table) = *self.value(node, 0)? {
            let Value::Integers { at, dims } = self.value(node, 1)?.clone() else {
                return Err(Error::unsupported("an index that is no 64-bit integer"));
            };
            let shape = table.shape()?;
            let [entries, entry @ ..] = &shape[..] else {
                return Err(Error::data("looks into a table without axes"));
            };
            let row: usize = entry.iter().product();
            if axis != 0 || *entries == 0 || row == 0 {
                return Err(Error::unsupported(format!(
                    "looks along axis {axis} into a table of shape {shape:?}"
                )));
            }
            let dims: Vec<usize> = dims.iter().chain(entry).copied().collect();
            let operation = Operation::Lookup {
                index: at,
                name: node.input[1].as_str().into(),
                table: self.table(table)?,
                row,
            };
            return self.give_floats(node, operation, &dims);
        }
        let (x, dims) = self.float_value(node, 0)?;
        self.last_axis(axis, dims.len())?;
        let places = self.required(node, 1)?;
        let columns = columns(&places.to_i64()?, x.width)?;
        let out = if places.shape()?.is_empty() { vec![] } else { vec![columns.len()] };
        if dims.len() != 1 {
            return Err(Error::unsupported(format!("takes columns of rows of shape {dims:?}")));
        }
        self.give_floats(node, Operation::Columns { x, columns }, &out)
    }
}

/// The columns that indices name; negative ones count from the end.
pub(super) fn columns(places: &[i64], width: usize) -> Result<Vec<usize>> {
    let column = |place: &i64| {
        let from_start = if *place < 0 { place.saturating_add(width as i64) } else { *place };
        usize::try_from(from_start).ok().filter(|column| *column < width)
    };
    let found: Option<Vec<_>> = places.iter().map(column).collect();
    found.ok_or_else(|| Error::data(format!("takes columns {places:?} of rows of {width}")))
}

/// The axes after the rows, from the target of a `Reshape` that must leave the rows alone.
fn reshaped(target: &[i64], dims: &[usize], width: usize) -> Result<Vec<usize>> {
    let wrong = || {
        Error::unsupported(format!(
            "reshapes rows of {dims:?} to {target:?}: want -1 or 0 first, the rest fixed"
        ))
    };
    let [rows, rest @ ..] = target else { return Err(wrong()) };
    // `[-1, n]` leaves the rows alone if n is a row; `[0, -1]` always does.
    let mut axes = Vec::with_capacity(rest.len());
    let mut open = None;
    for (index, axis) in rest.iter().enumerate() {
        match (*axis, usize::try_from(*axis)) {
            (-1, _) if *rows == 0 && open.is_none() => {
                open = Some(index);
                axes.push(1);
            }
            (0, _) => axes.push(*dims.get(index).ok_or_else(wrong)?),
            (_, Ok(axis)) => axes.push(axis),
            _ => return Err(wrong()),
        }
    }
    let known = super::width(&axes)?;
    if let Some(index) = open
        && width.is_multiple_of(known)
    {
        axes[index] = width / known;
    }
    if matches!(rows, -1 | 0) && super::width(&axes)? == width { Ok(axes) } else { Err(wrong()) }
}

/// Axes after the rows, the last first.
fn descending(axes: &[i64], rank: i64) -> Result<Vec<usize>> {
    let place = |axis: &i64| {
        let axis = if *axis < 0 { axis.checked_add(rank)? } else { *axis };
        usize::try_from(axis.checked_sub(1)?).ok().filter(|axis| *axis < rank as usize)
    };
    let places: Option<Vec<_>> = axes.iter().map(place).collect();
    let mut places = places.ok_or_else(|| Error::unsupported(format!("changes the axes {axes:?}")))?;
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.dedup();
    Ok(places)
}
