//! Which number of what a model gives is the score.

use mlops_core::{Dimension, ElementType, TensorSpec};
use serde::{Deserialize, Serialize};

use crate::tensor::TensorView;

/// Which column of which output is the score.
///
/// Without a head, the model must have one floating-point output of one column, or of two, as classifiers
/// give the probabilities of no and yes; the score is the last column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The name of the output.
    pub output: String,
    /// The column.
    pub column: usize,
}

/// A head found in a signature; without a column it is the last of one or two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) output: usize,
    pub(super) column: Option<usize>,
}

impl Score {
    /// The score of a model without a head, or why there is none.
    pub(super) fn of(outputs: &[TensorSpec]) -> Result<Self, String> {
        let floats: Vec<usize> = outputs
            .iter()
            .enumerate()
            .filter(|(_, spec)| {
                matches!(spec.element, ElementType::F16 | ElementType::F32 | ElementType::F64)
            })
            .map(|(index, _)| index)
            .collect();
        match floats[..] {
            // Declared shapes are hints: what comes is looked at when it comes.
            [output] => Ok(Self { output, column: None }),
            _ => Err(format!("it has {} floating-point outputs, name one by a head", floats.len())),
        }
    }

    /// The columns of an output and the one that is the score, if there is one.
    #[inline]
    pub(super) fn column_in(self, output: &TensorView<'_>, rows: usize) -> Option<(usize, usize)> {
        let elements = output.data().len();
        let columns = elements / rows.max(1);
        let column = self.column.unwrap_or(columns.wrapping_sub(1));
        let fits = columns * rows == elements && column < columns && (self.column.is_some() || columns <= 2);
        fits.then_some((columns, column))
    }
}

/// How many numbers an output declares for each row, if it says.
pub(super) fn columns_of(spec: &TensorSpec) -> Option<usize> {
    let [_, rest @ ..] = spec.shape.as_slice() else { return None };
    rest.iter().try_fold(1_usize, |columns, dimension| match dimension {
        Dimension::Fixed(length) => columns.checked_mul(*length),
        Dimension::Symbol(_) => None,
    })
}
