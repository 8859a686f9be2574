//! The lengths of a tensor's axes, held in place.

use std::fmt;
use std::ops::Deref;

use crate::{Error, Result};

/// The lengths of up to [`MAX_RANK`](Self::MAX_RANK) axes. `Copy`, no allocation; reads as a slice.
///
/// ```
/// use mlops_serve::tensor::Shape;
///
/// let shape = Shape::new([8, 17])?;
/// assert_eq!(shape.rows(), 8);
/// assert_eq!(shape.row_elements(), 17);
/// assert_eq!(shape.elements(), 136);
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    // Unused axes are 0, so that derived equality holds.
    axes: [usize; Shape::MAX_RANK],
}

impl Shape {
    /// The most axes that a tensor may have.
    pub const MAX_RANK: usize = 6;

    /// A shape with these axes.
    ///
    /// # Errors
    /// `Unsupported` if there are too many axes, `Invalid` if the number of elements overflows.
    #[inline]
    pub fn new(axes: impl AsRef<[usize]>) -> Result<Self> {
        let axes = axes.as_ref();
        if axes.len() > Self::MAX_RANK {
            return Err(too_many_axes(axes));
        }
        let mut elements = 1_usize;
        let mut held = [0; Self::MAX_RANK];
        for (held, &axis) in held.iter_mut().zip(axes) {
            // A zero axis must not hide an overflow of the others: row counts are multiplied again later.
            elements = elements.checked_mul(axis.max(1)).ok_or_else(|| too_many_elements(axes))?;
            *held = axis;
        }
        Ok(Self { rank: axes.len() as u8, axes: held })
    }

    /// One axis of this length.
    #[inline]
    pub fn vector(length: usize) -> Self {
        Self { rank: 1, axes: [length, 0, 0, 0, 0, 0] }
    }

    /// Whether these are its axes.
    #[inline]
    pub(super) fn has_axes(&self, axes: &[usize]) -> bool {
        // Not as slices, whose comparison is a call.
        usize::from(self.rank) == axes.len() && self.axes.iter().zip(axes).all(|(mine, axis)| mine == axis)
    }

    /// The number of elements: the product of the axes, 1 without axes.
    #[inline]
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// The length of the first axis; 1 without axes.
    #[inline]
    pub fn rows(&self) -> usize {
        self.first().copied().unwrap_or(1)
    }

    /// The number of elements in one row: the product of all axes but the first.
    #[inline]
    pub fn row_elements(&self) -> usize {
        self.iter().skip(1).product()
    }

    /// The same shape with another number of rows.
    ///
    /// # Errors
    /// `Invalid` if there is no axis to change or the number of elements overflows.
    #[inline]
    pub fn with_rows(mut self, rows: usize) -> Result<Self> {
        if self.rank == 0 {
            return Err(Error::invalid(format!("a tensor without axes cannot have {rows} rows")));
        }
        self.axes[0] = rows;
        Self::new(self)
    }
}

#[cold]
fn too_many_axes(axes: &[usize]) -> Error {
    let (rank, limit) = (axes.len(), Shape::MAX_RANK);
    Error::unsupported(format!("a tensor of {rank} axes: at most {limit} are supported, flatten some"))
}

#[cold]
fn too_many_elements(axes: &[usize]) -> Error {
    Error::invalid(format!("shape {axes:?} has more elements than a machine word counts"))
}

impl Deref for Shape {
    type Target = [usize];

    #[inline]
    fn deref(&self) -> &[usize] {
        &self.axes[..usize::from(self.rank)]
    }
}

impl AsRef<[usize]> for Shape {
    #[inline]
    fn as_ref(&self) -> &[usize] {
        self
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_and_rank_are_refused() {
        assert!(Shape::new([usize::MAX, 2]).is_err());
        assert!(Shape::new([0, usize::MAX, 2]).is_err(), "a zero axis hides nothing");
        assert!(Shape::new([1; 7]).is_err());
        assert_eq!(Shape::new([]).unwrap().elements(), 1);
        assert_eq!(Shape::new([0, 5]).unwrap().elements(), 0);
        assert!(Shape::new([]).unwrap().with_rows(3).is_err());
        assert_eq!(Shape::new([1, 5]).unwrap().with_rows(3).unwrap(), Shape::new([3, 5]).unwrap());
    }
}
