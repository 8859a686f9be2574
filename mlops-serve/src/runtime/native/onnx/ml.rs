//! The operations of classical models: `ai.onnx.ml`.

use mlops_core::onnx::proto::NodeProto;

use super::{Compiler, Value, floats, int, ints, text, texts};
use crate::runtime::native::arithmetic::{Arithmetic, Operand};
use crate::runtime::native::classify::{Classify, Rule};
use crate::runtime::native::dense::Dense;
use crate::runtime::native::link::Activation;
use crate::runtime::native::plan::Matrix;
use crate::runtime::native::step::Operation;
use crate::{Error, Result};

/// The names of classes.
pub(super) enum Names {
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl<'a> Compiler<'a> {
    /// Compiles an operation of `ai.onnx.ml`; `false` if it is not known here.
    pub(super) fn ml(&mut self, node: &'a NodeProto) -> Result<bool> {
        match node.op_type.as_str() {
            "LinearRegressor" => self.linear_regressor(node)?,
            "LinearClassifier" => self.linear_classifier(node)?,
            "TreeEnsembleRegressor" => self.tree_regressor(node)?,
            "TreeEnsembleClassifier" => self.tree_classifier(node)?,
            "TreeEnsemble" => self.tree_ensemble(node)?,
            "Scaler" => self.scaler(node)?,
            "Normalizer" => match text(node, "norm", "MAX")? {
                "L1" => self.activate(node, Activation::NormalizeL1)?,
                "L2" => self.activate(node, Activation::NormalizeL2)?,
                "MAX" => self.activate(node, Activation::NormalizeMax)?,
                other => return Err(Error::data(format!("the norm `{other}`: want L1, L2 or MAX"))),
            },
            "FeatureVectorizer" => self.vectorize(node)?,
            "ArrayFeatureExtractor" => self.extract(node)?,
            "OneHotEncoder" => self.one_hot(node)?,
            "LabelEncoder" => self.label_encoder(node)?,
            "ZipMap" => {
                return Err(Error::unsupported(
                    "gives maps, not tensors: export the model with `zipmap=False`",
                ));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn linear_regressor(&mut self, node: &'a NodeProto) -> Result<()> {
        let targets = usize::try_from(int(node, "targets", 1)).unwrap_or(0);
        let dense = linear(floats(node, "coefficients"), floats(node, "intercepts"), targets)?;
        self.dense(node, dense)?;
        match text(node, "post_transform", "NONE")? {
            "NONE" => Ok(()),
            other => Err(Error::unsupported(format!("the transform `{other}` after a regression"))),
        }
    }

    fn linear_classifier(&mut self, node: &'a NodeProto) -> Result<()> {
        let intercepts = floats(node, "intercepts");
        let names = names(node, "classlabels_ints", "classlabels_strings")?;
        let classes = names.len();
        if classes < 2 || intercepts.len() != classes {
            return Err(Error::unsupported(format!("{} scores for {classes} classes", intercepts.len())));
        }
        let transform = match text(node, "post_transform", "NONE")? {
            "NONE" => Activation::Identity,
            "LOGISTIC" => Activation::Logistic,
            "SOFTMAX" => Activation::Softmax(classes),
            other => return Err(Error::unsupported(format!("the transform `{other}`"))),
        };
        let dense = linear(floats(node, "coefficients"), intercepts, classes)?;
        let (x, dims) = self.float_value(node, 0)?;
        if dims[..] != [dense.inputs()] {
            let want = dense.inputs();
            return Err(Error::data(format!("scores rows of shape {dims:?} with {want} coefficients")));
        }
        let operation = Operation::Dense { x, dense, then: Activation::Identity };
        let (scores, _) = self.floats(operation, &[classes])?;
        self.classify(node, scores, Classify { classes, transform, rule: Rule::Largest }, names)
    }

    /// The label and the probabilities.
    pub(super) fn classify(
        &mut self,
        node: &'a NodeProto,
        scores: Matrix,
        classify: Classify,
        names: Names,
    ) -> Result<()> {
        let read = |index: usize| {
            node.output
                .get(index)
                .is_some_and(|name| self.uses.get(name.as_str()).is_some_and(|uses| *uses > 0))
        };
        let (label, probabilities) = (read(0), read(1));
        if label {
            let winner = self.integers(Operation::Winner { x: scores, classify: classify.clone() }, &[])?;
            let value = match names {
                Names::Texts(labels) => Value::Labels { at: winner, dims: vec![], labels },
                Names::Integers(names) => {
                    let in_place = names.iter().enumerate().all(|(place, name)| place as i64 == *name);
                    let at = match in_place {
                        true => winner,
                        false => self.integers(Operation::Names { x: winner, names }, &[])?,
                    };
                    Value::Integers { at, dims: vec![] }
                }
            };
            self.give(node, 0, value);
        }
        if probabilities {
            let classes = classify.classes;
            let (at, dims) = self.floats(Operation::Classify { x: scores, classify }, &[classes])?;
            self.give(node, 1, Value::Floats { at, dims });
        }
        Ok(())
    }

    fn scaler(&mut self, node: &'a NodeProto) -> Result<()> {
        let (mut x, dims) = self.float_value(node, 0)?;
        let (offset, scale) = (floats(node, "offset"), floats(node, "scale"));
        let whole = |values: &[f32]| values.len() == 1 || values.len() == x.width;
        if !whole(offset) || !whole(scale) {
            let (offsets, scales) = (offset.len(), scale.len());
            return Err(Error::data(format!(
                "{offsets} offsets and {scales} scales for rows of {}",
                x.width
            )));
        }
        for (values, how) in [(offset, Arithmetic::Subtract), (scale, Arithmetic::Multiply)] {
            let operation =
                Operation::Combine { a: Operand::Value(x), b: Operand::Row(values.to_vec()), how };
            (x, _) = self.floats(operation, &dims)?;
        }
        self.give(node, 0, Value::Floats { at: x, dims });
        Ok(())
    }

    fn vectorize(&mut self, node: &'a NodeProto) -> Result<()> {
        let parts = (0..node.input.len())
            .map(|index| self.float_value(node, index).map(|(x, _)| x))
            .collect::<Result<Vec<_>>>()?;
        let total = parts.iter().map(|part| part.width).sum();
        self.give_floats(node, Operation::Concat { parts, repeat: 1 }, &[total])
    }

    fn extract(&mut self, node: &'a NodeProto) -> Result<()> {
        let (x, dims) = self.float_value(node, 0)?;
        if dims.len() != 1 {
            return Err(Error::unsupported(format!("takes columns of rows of shape {dims:?}")));
        }
        let columns = super::shapes::columns(&self.required(node, 1)?.to_i64()?, x.width)?;
        let out = [columns.len()];
        self.give_floats(node, Operation::Columns { x, columns }, &out)
    }
}

impl Names {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integers(names) => names.len(),
            Self::Texts(names) => names.len(),
        }
    }
}

pub(super) fn names(node: &NodeProto, integers: &str, strings: &str) -> Result<Names> {
    let strings = texts(node, strings)?;
    Ok(if strings.is_empty() {
        Names::Integers(ints(node, integers).to_vec())
    } else {
        Names::Texts(strings)
    })
}

/// `coefficients` has a row for each target.
fn linear(coefficients: &[f32], intercepts: &[f32], targets: usize) -> Result<Dense> {
    let (count, bases) = (coefficients.len(), intercepts.len());
    if targets == 0 || count == 0 || !count.is_multiple_of(targets) || !(bases == 0 || bases == targets) {
        return Err(Error::data(format!(
            "{count} coefficients and {bases} intercepts for {targets} targets"
        )));
    }
    let inputs = count / targets;
    let weights: Vec<f32> = (0..inputs)
        .flat_map(|input| (0..targets).map(move |target| coefficients[target * inputs + input]))
        .collect();
    let bias = if bases == 0 { vec![0.0; targets] } else { intercepts.to_vec() };
    Ok(Dense::new(inputs, targets, &weights, bias))
}
