//! Whether tensors fit a signature: compiled once, checked without allocation.

use mlops_core::{Dimension, ModelSignature, TensorSpec};

use crate::tensor::{Shape, TensorBuf, TensorView};
use crate::{Error, Result};

/// A signature compiled for the request path.
///
/// [`inputs`](Self::inputs) checks the number, element types and shapes of the inputs, that a symbol has the
/// same length wherever it occurs, and that there is at least one row.
///
/// ```
/// use mlops_core::{ElementType, ModelSignature, TensorSpec};
/// use mlops_serve::runtime::SignatureCheck;
/// use mlops_serve::tensor::TensorView;
///
/// let signature = ModelSignature {
///     inputs: vec![
///         TensorSpec::batch("user", ElementType::F32, 2),
///         TensorSpec::batch("item", ElementType::I64, 1),
///     ],
///     outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
/// };
/// let check = SignatureCheck::new(signature)?;
/// let user = TensorView::new(&[0.0_f32; 4], [2, 2])?;
/// let item = TensorView::new(&[7_i64; 3], [3, 1])?;
/// let error = check.inputs(&[user, item]).unwrap_err();
/// assert_eq!(error.to_string(), "input `item` has batch = 3, but input `user` has batch = 2");
/// let error = check.inputs(&[item, item]).unwrap_err();
/// assert_eq!(error.to_string(), "input `user` wants f32[batch, 2], got i64[3, 1]");
/// let error = check.inputs(&[user]).unwrap_err();
/// assert_eq!(error.to_string(), "the model takes 2 inputs (user, item), got 1");
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SignatureCheck {
    signature: ModelSignature,
    inputs: Vec<Axes>,
    outputs: Vec<Axes>,
}

/// The axes of one tensor.
#[derive(Clone, Debug)]
struct Axes(Vec<Axis>);

#[derive(Clone, Copy, Debug)]
enum Axis {
    Fixed(usize),
    Symbol(usize),
}

/// The lengths of the symbols in one call; `usize::MAX` while unknown.
type Lengths = [usize; MAX_SYMBOLS];

const MAX_SYMBOLS: usize = 16;

impl SignatureCheck {
    /// Compiles a signature.
    ///
    /// # Errors
    /// `Unsupported` if a tensor has too many axes or the signature too many symbols, `Invalid` if two inputs
    /// or two outputs share a name.
    pub fn new(signature: ModelSignature) -> Result<Self> {
        unique(&signature.inputs, "input")?;
        unique(&signature.outputs, "output")?;
        let mut names = Vec::new();
        let inputs =
            signature.inputs.iter().map(|spec| compile(spec, &mut names)).collect::<Result<Vec<_>>>()?;
        let outputs =
            signature.outputs.iter().map(|spec| compile(spec, &mut names)).collect::<Result<_>>()?;
        Ok(Self { signature, inputs, outputs })
    }

    /// The signature.
    pub fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    /// Checks the inputs of a call. Gives the number of rows: the length of the first input's first axis,
    /// 1 if there is none.
    ///
    /// # Errors
    /// `Invalid`, naming the input, what was expected and what came.
    #[inline]
    pub fn inputs(&self, inputs: &[TensorView<'_>]) -> Result<usize> {
        let specs = &self.signature.inputs;
        if inputs.len() != specs.len() {
            return Err(wrong_number("takes", "inputs", specs, inputs.len()));
        }
        let mut lengths = [usize::MAX; MAX_SYMBOLS];
        for (index, (axes, input)) in self.inputs.iter().zip(inputs).enumerate() {
            if specs[index].element != input.element() || !axes.fit(input.shape(), &mut lengths) {
                return Err(self.wrong_input(index, inputs));
            }
            if input.shape().elements() == 0 {
                return Err(no_rows(&specs[index], input.shape()));
            }
        }
        Ok(inputs.first().map_or(1, TensorView::rows))
    }

    /// Checks the number of output buffers.
    ///
    /// # Errors
    /// `Invalid` if it is not that of the signature.
    #[inline]
    pub fn buffers(&self, outputs: &[TensorBuf]) -> Result<()> {
        if outputs.len() == self.signature.outputs.len() {
            return Ok(());
        }
        Err(wrong_number("gives", "outputs", &self.signature.outputs, outputs.len()))
    }

    /// Checks what a model wrote, for these inputs.
    ///
    /// # Errors
    /// `Data`, naming the output, what was declared and what came.
    pub fn outputs(&self, inputs: &[TensorView<'_>], outputs: &[TensorBuf]) -> Result<()> {
        let mut lengths = [usize::MAX; MAX_SYMBOLS];
        for (axes, input) in self.inputs.iter().zip(inputs) {
            axes.fit(input.shape(), &mut lengths);
        }
        for ((spec, axes), output) in self.signature.outputs.iter().zip(&self.outputs).zip(outputs) {
            let output = output.view();
            if spec.element != output.element() || !axes.fit(output.shape(), &mut lengths) {
                let rows = inputs.first().map_or(1, TensorView::rows);
                if output.shape().elements() == 0 {
                    return Err(Error::data(format!(
                        "the model wrote nothing to output `{}`: want {} for {rows} rows",
                        spec.name,
                        declared(spec)
                    )));
                }
                return Err(Error::data(format!(
                    "the model declares output `{}` as {}, and gave {output:?} for {rows} rows",
                    spec.name,
                    declared(spec)
                )));
            }
        }
        Ok(())
    }

    #[cold]
    fn wrong_input(&self, index: usize, inputs: &[TensorView<'_>]) -> Error {
        let (spec, got) = (&self.signature.inputs[index], &inputs[index]);
        if spec.element != got.element() {
            return Error::invalid(format!("input `{}` wants {}, got {got:?}", spec.name, declared(spec)));
        }
        if let Err(error) = spec.check_shape(got.shape()) {
            return error;
        }
        // Type, rank and fixed axes fit: a symbol has two lengths.
        for (axis, length) in spec.shape.iter().zip(got.shape().iter()) {
            let Dimension::Symbol(symbol) = axis else { continue };
            let seen = self.signature.inputs.iter().zip(inputs).find_map(|(spec, input)| {
                let place = spec.shape.iter().position(|other| other == axis)?;
                Some((&spec.name, *input.shape().get(place)?))
            });
            if let Some((other, first)) = seen
                && first != *length
            {
                let name = &spec.name;
                return Error::invalid(format!(
                    "input `{name}` has {symbol} = {length}, but input `{other}` has {symbol} = {first}"
                ));
            }
        }
        Error::internal(format!("input `{}` was refused without a reason", spec.name))
    }
}

impl Axes {
    #[inline]
    fn fit(&self, shape: &Shape, lengths: &mut Lengths) -> bool {
        self.0.len() == shape.len()
            && self.0.iter().zip(shape.iter()).all(|(axis, &length)| match *axis {
                Axis::Fixed(want) => want == length,
                Axis::Symbol(symbol) => {
                    let seen = &mut lengths[symbol];
                    let known = if *seen == usize::MAX { length } else { *seen };
                    *seen = known;
                    known == length
                }
            })
    }
}

fn compile<'a>(spec: &'a TensorSpec, names: &mut Vec<&'a str>) -> Result<Axes> {
    if spec.shape.len() > Shape::MAX_RANK {
        return Err(Error::unsupported(format!(
            "`{}` has {} axes: at most {} are supported",
            spec.name,
            spec.shape.len(),
            Shape::MAX_RANK
        )));
    }
    let axis = |dimension: &'a Dimension| match dimension {
        Dimension::Fixed(length) => Ok(Axis::Fixed(*length)),
        Dimension::Symbol(name) => match names.iter().position(|known| known == name) {
            Some(symbol) => Ok(Axis::Symbol(symbol)),
            None if names.len() == MAX_SYMBOLS => Err(Error::unsupported(format!(
                "the signature has more than {MAX_SYMBOLS} symbols, `{name}` is one too many"
            ))),
            None => {
                names.push(name);
                Ok(Axis::Symbol(names.len() - 1))
            }
        },
    };
    spec.shape.iter().map(axis).collect::<Result<_>>().map(Axes)
}

fn unique(specs: &[TensorSpec], what: &str) -> Result<()> {
    for (index, spec) in specs.iter().enumerate() {
        if specs[..index].iter().any(|earlier| earlier.name == spec.name) {
            return Err(Error::invalid(format!("two {what}s are called `{}`: names are unique", spec.name)));
        }
    }
    Ok(())
}

/// `f32[batch, 2]`: the spec without its name.
fn declared(spec: &TensorSpec) -> String {
    let text = spec.to_string();
    text.strip_prefix(&format!("{}: ", spec.name)).map(str::to_owned).unwrap_or(text)
}

#[cold]
fn wrong_number(verb: &str, what: &str, specs: &[TensorSpec], got: usize) -> Error {
    let names = specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
    Error::invalid(format!("the model {verb} {} {what} ({names}), got {got}", specs.len()))
}

#[cold]
fn no_rows(spec: &TensorSpec, shape: &Shape) -> Error {
    Error::invalid(format!("input `{}` is empty: its shape is {shape}, want at least one row", spec.name))
}
