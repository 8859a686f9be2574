//! One model after the other.

use mlops_core::{Dimension, Error, ModelSignature, Result, TensorSpec};

use super::common;
use crate::batch::Call;
use crate::runtime::{Capabilities, Runtime, RuntimeExt};
use crate::spares::{Held, Spares};
use crate::tensor::{TensorBuf, TensorView};

/// Feeds the outputs of each model to the next: an embedding to a ranker, a score to its calibration.
///
/// An input of a later model is the earlier output of the same name, of the model just before or further up;
/// a model with one input takes the only output of the model before, whatever it is called.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
    engine: String,
    signature: ModelSignature,
    spares: Spares<Between>,
}

/// What all links but the last give.
type Between = Vec<Vec<TensorBuf>>;

#[derive(Debug)]
struct Link {
    runtime: Box<dyn Runtime>,
    /// For each input: the link whose output it is, and which; the first link takes the chain's inputs.
    sources: Vec<(usize, usize)>,
}

/// More buffers than this are given back to the allocator.
const SPARES_MAX: usize = 16;

impl Chain {
    /// A chain of these models.
    ///
    /// # Errors
    /// `Invalid` if there is none, or an input has no earlier output that fits.
    pub fn new(models: Vec<Box<dyn Runtime>>) -> Result<Self> {
        let (Some(first), Some(last)) = (models.first(), models.last()) else {
            return Err(Error::invalid("a chain without models cannot answer: name at least one"));
        };
        let signature = ModelSignature {
            inputs: first.signature().inputs.clone(),
            outputs: last.signature().outputs.clone(),
        };
        let engine = models.iter().map(Runtime::engine).collect::<Vec<_>>().join(" -> ");
        let mut links: Vec<Link> = Vec::new();
        for runtime in models {
            let inputs = &runtime.signature().inputs;
            let source = |input: &TensorSpec| {
                let by_name = links.iter().enumerate().rev().find_map(|(link, earlier)| {
                    let outputs = &earlier.runtime.signature().outputs;
                    Some((link, outputs.iter().position(|output| output.name == input.name)?))
                });
                let only = || match (&**inputs, links.last()?.runtime.signature().outputs.len()) {
                    ([_], 1) => Some((links.len() - 1, 0)),
                    _ => None,
                };
                let (link, output) = by_name.or_else(only).ok_or_else(|| {
                    let engine = runtime.engine();
                    Error::invalid(format!("input `{input}` of {engine} is no output of a model before it"))
                })?;
                fits(&links[link].runtime.signature().outputs[output], input)?;
                Ok((link, output))
            };
            let sources = if links.is_empty() {
                Vec::new()
            } else {
                inputs.iter().map(source).collect::<Result<Vec<_>>>()?
            };
            links.push(Link { runtime, sources });
        }
        Ok(Self { links, engine, signature, spares: Spares::new(SPARES_MAX) })
    }

    fn run_with(
        &self,
        between: &mut Between,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
        call: Call<'_>,
    ) -> Result<()> {
        if between.len() + 1 != self.links.len() {
            let inner = &self.links[..self.links.len() - 1];
            *between = inner.iter().map(|link| link.runtime.outputs()).collect();
        }
        for (index, link) in self.links.iter().enumerate() {
            // The last link writes into the caller's buffers.
            let place = index.min(between.len());
            let (earlier, rest) = between.split_at_mut(place);
            let views: Vec<TensorView<'_>>;
            let inputs = if index == 0 {
                inputs
            } else {
                views = link.sources.iter().map(|(link, output)| earlier[*link][*output].view()).collect();
                &views
            };
            match rest.first_mut() {
                Some(outputs) => link.runtime.run_call(inputs, outputs, call)?,
                None => link.runtime.run_call(inputs, outputs, call)?,
            }
        }
        Ok(())
    }
}

impl Held for Between {
    fn held_bytes(&self) -> usize {
        self.iter().map(|outputs| outputs.held_bytes()).sum()
    }
}

/// Whether an output can be an input: the same type, and no two fixed axes that differ.
fn fits(output: &TensorSpec, input: &TensorSpec) -> Result<()> {
    let axis = |(output, input): (&Dimension, &Dimension)| match (output, input) {
        (Dimension::Fixed(output), Dimension::Fixed(input)) => output == input,
        _ => true,
    };
    let same_rank = output.shape.len() == input.shape.len();
    if output.element == input.element && same_rank && output.shape.iter().zip(&input.shape).all(axis) {
        return Ok(());
    }
    Err(Error::invalid(format!("output `{output}` does not fit input `{input}`")))
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for Chain {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn capabilities(&self) -> Capabilities {
        common(self.links.iter().map(|link| &*link.runtime))
    }

    fn memory_usage(&self) -> usize {
        self.links.iter().map(|link| link.runtime.memory_usage()).sum::<usize>() + self.spares.memory_usage()
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.run_call(inputs, outputs, Call::default())
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], call: Call<'_>) -> Result<()> {
        let mut between = self.spares.take();
        let result = self.run_with(&mut between, inputs, outputs, call);
        self.spares.give_back(between);
        result
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::ElementType;

    use super::*;
    use crate::runtime::FnRuntime;

    /// Adds a number to each of its inputs' sum.
    fn adds(inputs: &[&str], output: &str, addend: f32) -> Box<dyn Runtime> {
        let spec = |name: &str| TensorSpec::batch(name, ElementType::F32, 1);
        let signature = ModelSignature {
            inputs: inputs.iter().map(|name| spec(name)).collect(),
            outputs: vec![spec(output)],
        };
        let runtime = FnRuntime::new(format!("+{addend}"), signature, move |inputs, outputs| {
            let sums = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
            sums.fill(addend);
            for input in inputs {
                sums.iter_mut().zip(input.values::<f32>()?).for_each(|(sum, value)| *sum += value);
            }
            Ok(())
        });
        Box::new(runtime.unwrap())
    }

    fn answer(model: &impl Runtime, x: &[f32]) -> Vec<f32> {
        let outputs = model.predict(&[TensorView::new(x, [x.len(), 1]).unwrap()]).unwrap();
        outputs[0].view().values::<f32>().unwrap().to_vec()
    }

    #[test]
    fn outputs_go_on_by_name_and_from_further_up() {
        let chain =
            Chain::new(vec![adds(&["x"], "a", 1.0), adds(&["a"], "b", 10.0), adds(&["a", "b"], "c", 100.0)]);
        let chain = chain.unwrap();
        for _ in 0..2 {
            assert_eq!(answer(&chain, &[0.0, 1.0]), [112.0, 114.0]);
        }
        assert_eq!(chain.engine(), "+1 -> +10 -> +100");
        assert_eq!(chain.signature().to_string(), "(x: f32[batch, 1]) -> (c: f32[batch, 1])");
        assert_eq!(answer(&Chain::new(vec![adds(&["x"], "a", 1.0)]).unwrap(), &[3.0]), [4.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Chain::new(Vec::new()).is_err());
        let error = Chain::new(vec![adds(&["x"], "a", 1.0), adds(&["a", "z"], "b", 1.0)]).unwrap_err();
        assert_eq!(error.to_string(), "input `z: f32[batch, 1]` of +1 is no output of a model before it");
        let wide = TensorSpec::batch("a", ElementType::F32, 2);
        assert!(fits(&TensorSpec::batch("a", ElementType::F32, 1), &wide).is_err());
        assert!(fits(&TensorSpec::batch("a", ElementType::I64, 2), &wide).is_err());
    }

    #[test]
    fn an_ensemble_is_the_weighted_mean_of_its_members() {
        let members = vec![(adds(&["x"], "a", 1.0), 1.0), (adds(&["x"], "a", 5.0), 3.0)];
        let ensemble = crate::compose::Ensemble::new(members).unwrap();
        for _ in 0..2 {
            assert_eq!(answer(&ensemble, &[0.0, 2.0, 4.0]), [4.0, 6.0, 8.0]);
        }
        assert_eq!(ensemble.engine(), "0.25 * +1 + 0.75 * +5");
        let bad = |members| crate::compose::Ensemble::new(members).unwrap_err().to_string();
        assert!(bad(Vec::new()).contains("without members"));
        assert!(bad(vec![(adds(&["x"], "a", 1.0), f64::NAN)]).contains("weight NaN"));
        let other = vec![(adds(&["x"], "a", 1.0), 1.0), (adds(&["y"], "a", 1.0), 1.0)];
        assert!(bad(other).contains("shares one signature"));
    }
}
