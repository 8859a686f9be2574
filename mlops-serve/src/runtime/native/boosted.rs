//! A forest with what its learner does to the scores.

use mlops_core::{ModelSignature, TensorSpec};

use super::forest::{Forest, Real};
use crate::Result;
use crate::tensor::{Element, TensorBuf, TensorView};

/// One input `features`, one output `score`, both in the numbers of the learner.
#[derive(Debug)]
pub(super) struct Boosted<T> {
    pub(super) forest: Forest<T>,
    pub(super) convert: Convert,
}

/// From raw scores to answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Convert {
    Identity,
    /// 1 / (1 + exp(-slope x))
    Logistic(f64),
    Softmax,
    Exp,
    /// ln(1 + exp(x))
    SoftPlus,
    /// x |x|
    SignedSquare,
    /// 1 above zero
    Step,
}

impl<T: Real + Element> Boosted<T> {
    pub(super) fn signature(&self) -> ModelSignature {
        ModelSignature {
            inputs: vec![TensorSpec::batch("features", T::TYPE, self.forest.features())],
            outputs: vec![TensorSpec::batch("score", T::TYPE, self.forest.targets())],
        }
    }

    #[inline]
    pub(super) fn run(
        &self,
        rows: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorBuf],
    ) -> Result<()> {
        let targets = self.forest.targets();
        // The check of the signature found one of each.
        let y = outputs[0].reset::<T>([rows, targets])?;
        self.forest.run(inputs[0].values::<T>()?, y);
        match self.convert {
            Convert::Identity => {}
            Convert::Logistic(slope) => y.iter_mut().for_each(|y| *y = y.logistic(slope)),
            Convert::Softmax => y.chunks_exact_mut(targets).for_each(softmax),
            Convert::Exp => y.iter_mut().for_each(|y| *y = y.exp()),
            Convert::SoftPlus => y.iter_mut().for_each(|y| *y = y.soft_plus()),
            Convert::SignedSquare => y.iter_mut().for_each(|y| *y = y.signed_square()),
            Convert::Step => y.iter_mut().for_each(|y| *y = y.step()),
        }
        Ok(())
    }
}

fn softmax<T: Real>(row: &mut [T]) {
    let mut max = row[0];
    for x in &*row {
        if *x > max {
            max = *x;
        }
    }
    let mut sum = T::default();
    for x in &mut *row {
        *x = (*x - max).exp();
        sum += *x;
    }
    row.iter_mut().for_each(|x| *x /= sum);
}
