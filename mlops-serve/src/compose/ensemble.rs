//! The weighted mean of several models.

use half::f16;
use mlops_core::{ElementType, Error, ModelSignature, Result};

use super::common;
use crate::batch::Call;
use crate::runtime::{Capabilities, Runtime, RuntimeExt};
use crate::spares::{Held, Spares};
use crate::tensor::{TensorBuf, TensorData, TensorView};

/// Answers with the weighted mean of what its members answer to the same inputs.
///
/// `y = sum w_i y_i / sum w_i`, computed in 64 bits and rounded to the type of the output. Outputs that are
/// not floating-point, such as a class label, are those of the member with the largest weight. The cost is
/// the sum of the members' costs.
#[derive(Debug)]
pub struct Ensemble {
    members: Vec<(Box<dyn Runtime>, f64)>,
    engine: String,
    /// The member whose labels count.
    leading: usize,
    spares: Spares<Work>,
}

#[derive(Debug, Default)]
struct Work {
    outputs: Vec<TensorBuf>,
    sums: Vec<Vec<f64>>,
}

impl Held for Work {
    fn held_bytes(&self) -> usize {
        let sums: usize = self.sums.iter().map(|sums| sums.capacity() * size_of::<f64>()).sum();
        self.outputs.held_bytes() + sums
    }
}

/// More buffers than this are given back to the allocator.
const SPARES_MAX: usize = 16;

impl Ensemble {
    /// An ensemble of these models with their weights, in any unit.
    ///
    /// # Errors
    /// `Invalid` if there is no member, a weight is not above 0, or the signatures differ in anything but
    /// the length of their output declarations.
    pub fn new(members: Vec<(Box<dyn Runtime>, f64)>) -> Result<Self> {
        let Some((first, _)) = members.first() else {
            return Err(Error::invalid("an ensemble without members cannot answer: name at least one"));
        };
        let kind = |runtime: &dyn Runtime| -> Vec<(String, ElementType)> {
            let outputs = &runtime.signature().outputs;
            outputs.iter().map(|spec| (spec.name.clone(), spec.element)).collect()
        };
        for (index, (member, weight)) in members.iter().enumerate() {
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(Error::invalid(format!(
                    "member {index} has weight {weight}: want a finite number above 0"
                )));
            }
            let same = member.signature().inputs == first.signature().inputs && kind(member) == kind(first);
            if !same {
                let (got, want) = (member.signature(), first.signature());
                return Err(Error::invalid(format!(
                    "member {index} is {got}, the first is {want}: an ensemble shares one signature"
                )));
            }
        }
        let total: f64 = members.iter().map(|(_, weight)| weight).sum();
        let names: Vec<String> = members
            .iter()
            .map(|(member, weight)| format!("{} * {}", weight / total, member.engine()))
            .collect();
        let leading =
            (0..members.len()).rev().max_by(|a, b| members[*a].1.total_cmp(&members[*b].1)).unwrap_or(0);
        let members = members.into_iter().map(|(member, weight)| (member, weight / total)).collect();
        Ok(Self { members, engine: names.join(" + "), leading, spares: Spares::new(SPARES_MAX) })
    }

    fn run_with(
        &self,
        work: &mut Work,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
        call: Call<'_>,
    ) -> Result<()> {
        let Work { outputs: theirs, sums } = work;
        if theirs.len() != outputs.len() {
            *theirs = self.outputs();
        }
        sums.resize_with(outputs.len(), Vec::new);
        sums.iter_mut().for_each(Vec::clear);
        for (index, (member, weight)) in self.members.iter().enumerate() {
            member.run_call(inputs, theirs, call)?;
            for ((sum, theirs), output) in sums.iter_mut().zip(theirs.iter()).zip(&mut *outputs) {
                let view = theirs.view();
                if index == 0 || index == self.leading {
                    output.assign(&view)?;
                }
                let elements = view.data().len();
                if index == 0 {
                    sum.resize(elements, 0.0);
                } else if sum.len() != elements {
                    let (engine, want) = (member.engine(), sum.len());
                    return Err(Error::data(format!(
                        "{engine} gave {elements} numbers where another member gave {want}"
                    )));
                }
                match view.data() {
                    TensorData::F16(values) => {
                        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value.to_f64());
                    }
                    TensorData::F32(values) => {
                        sum.iter_mut()
                            .zip(values)
                            .for_each(|(sum, value)| *sum += weight * f64::from(*value));
                    }
                    TensorData::F64(values) => {
                        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
                    }
                    _ => {}
                }
            }
        }
        for (sum, output) in sums.iter().zip(outputs) {
            match output.element() {
                ElementType::F16 => {
                    let values = output.values_mut::<f16>()?;
                    values.iter_mut().zip(sum).for_each(|(value, sum)| *value = f16::from_f64(*sum));
                }
                ElementType::F32 => {
                    let values = output.values_mut::<f32>()?;
                    values.iter_mut().zip(sum).for_each(|(value, sum)| *value = *sum as f32);
                }
                ElementType::F64 => output.values_mut::<f64>()?.copy_from_slice(sum),
                _ => {}
            }
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for Ensemble {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn signature(&self) -> &ModelSignature {
        self.members[self.leading].0.signature()
    }

    fn capabilities(&self) -> Capabilities {
        common(self.members.iter().map(|(member, _)| member as &dyn Runtime))
    }

    fn memory_usage(&self) -> usize {
        self.members.iter().map(|(member, _)| member.memory_usage()).sum::<usize>()
            + self.spares.memory_usage()
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.run_call(inputs, outputs, Call::default())
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], call: Call<'_>) -> Result<()> {
        let want = self.signature().outputs.len();
        if outputs.len() != want {
            return Err(Error::invalid(format!(
                "the model gives {want} outputs, got {} buffers",
                outputs.len()
            )));
        }
        let mut work = self.spares.take();
        let result = self.run_with(&mut work, inputs, outputs, call);
        self.spares.give_back(work);
        result
    }
}
