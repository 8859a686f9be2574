//! Ensembles of decision trees.

mod columns;
mod compact;
mod heap;
mod kernel;
mod panels;
mod ranges;
mod spec;
mod untangle;
mod walk;

use kernel::Kernel;
pub(super) use spec::{Comparison, ForestSpec, NodeSpec, Real, Split};

use crate::{Error, Result};

/// A forest ready to score rows. Each target's sum goes over the trees in their order, whatever the number of
/// rows, so that a row's answer does not depend on its batch.
#[derive(Debug)]
pub(super) struct Forest<T> {
    features: usize,
    targets: usize,
    kernel: Kernel<T>,
    leaves: Leaves<T>,
    base: Vec<T>,
    base_first: bool,
    /// What the sum of the trees is divided by.
    divisor: Option<T>,
}

/// What the leaves add, by the number that the kernel gives a leaf.
#[derive(Debug)]
enum Leaves<T> {
    /// A value for the one target.
    One(Vec<T>),
    /// Ranges of the weights, which have a target each.
    Many { ranges: Vec<(u32, u32)>, weights: Vec<(u32, T)> },
}

impl<T: Real> Forest<T> {
    pub(super) fn new(mut spec: ForestSpec<T>) -> Result<Self> {
        spec.check()?;
        if spec.features == 0 || spec.targets == 0 || spec.trees.is_empty() {
            let (features, targets, trees) = (spec.features, spec.targets, spec.trees.len());
            return Err(Error::data(format!(
                "a forest of {trees} trees with {features} features and {targets} targets: want one of each"
            )));
        }
        // Children and payloads are 32-bit places over all trees.
        let nodes: usize = spec.trees.iter().map(Vec::len).sum();
        if nodes > u32::MAX as usize / 2 || spec.features > u32::MAX as usize / 2 {
            return Err(Error::unsupported(format!("a forest of {nodes} nodes: 2^31 is the limit")));
        }
        spec.untangle();
        let one = spec.targets == 1
            && spec
                .trees
                .iter()
                .flatten()
                .all(|node| !matches!(node, NodeSpec::Leaf { count, .. } if *count != 1));
        let (kernel, ranges) = Kernel::new(&spec, one);
        let leaves = if one {
            let value = |(first, count): &(u32, u32)| match count {
                0 => T::default(),
                _ => spec.weights[*first as usize].1,
            };
            Leaves::One(ranges.iter().map(value).collect())
        } else {
            Leaves::Many { ranges, weights: std::mem::take(&mut spec.weights) }
        };
        let ForestSpec { features, targets, base, base_first, divisor, .. } = spec;
        Ok(Self { features, targets, kernel, leaves, base, base_first, divisor })
    }

    /// Leaves out the division.
    pub(super) fn sum_alone(&mut self) {
        self.divisor = None;
    }

    pub(super) fn features(&self) -> usize {
        self.features
    }

    pub(super) fn targets(&self) -> usize {
        self.targets
    }

    pub(super) fn memory_usage(&self) -> usize {
        let leaves = match &self.leaves {
            Leaves::One(values) => values.len() * size_of::<T>(),
            Leaves::Many { ranges, weights } => ranges.len() * 8 + weights.len() * size_of::<(u32, T)>(),
        };
        self.kernel.memory_usage() + leaves
    }

    /// Fills `y` with the targets of each row of `x`.
    #[inline]
    pub(super) fn run(&self, x: &[T], y: &mut [T]) {
        if self.base_first && !self.base.is_empty() {
            y.chunks_exact_mut(self.targets).for_each(|y| y.copy_from_slice(&self.base));
        } else {
            y.fill(T::default());
        }
        match &self.leaves {
            Leaves::One(values) => self.kernel.sum(x, self.features, values, y),
            Leaves::Many { ranges, weights } => self.kernel.each(x, self.features, |row, leaf| {
                let (first, count) = ranges[leaf as usize];
                let y = &mut y[row * self.targets..(row + 1) * self.targets];
                for (target, weight) in &weights[first as usize..first as usize + count as usize] {
                    y[*target as usize] += *weight;
                }
            }),
        }
        if let Some(divisor) = self.divisor {
            y.iter_mut().for_each(|y| *y /= divisor);
        }
        if !self.base_first && !self.base.is_empty() {
            for y in y.chunks_exact_mut(self.targets) {
                y.iter_mut().zip(&self.base).for_each(|(y, base)| *y += *base);
            }
        }
    }
}
