//! Where a number falls among sorted numbers, in a few steps.

use std::fmt;

/// A table from cells of equal width to places in a sorted list. Where cells of one width would be crowded, sixteen
/// pieces of equal count have cells of their own width each, so that neither outliers nor skew do harm; what still
/// shares a cell is searched by halving.
///
/// Cost: one look into the table and a comparison or two, after one pass over the splits if there are pieces; four
/// bytes a number.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Index {
    /// Where pieces begin, but the first.
    splits: [f64; PIECES - 1],
    pieces: Vec<Piece>,
    /// The first place of each cell, and the end.
    starts: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Piece {
    low: f64,
    /// Cells a unit; 0 if all lies in one.
    scale: f64,
    first: u32,
    last: u32,
}

impl Index {
    /// Of ascending, distinct, finite numbers. Empty for so few or many that it would not pay.
    pub(super) fn new(values: &[f64]) -> Self {
        if !(FROM..u32::MAX as usize).contains(&values.len()) {
            return Self::default();
        }
        let whole = Self::with_pieces(values, 1);
        let most = whole.starts.windows(2).map(|pair| pair[1] - pair[0]).max();
        if most.is_some_and(|most| most as usize <= CROWDED) {
            whole
        } else {
            Self::with_pieces(values, PIECES)
        }
    }

    fn with_pieces(values: &[f64], pieces: usize) -> Self {
        let mut index = Self::default();
        let n = values.len();
        let place = |piece: usize| n * piece / pieces;
        for piece in 0..pieces {
            let part = &values[place(piece)..place(piece + 1)];
            let (low, high) = (part[0], part[part.len() - 1]);
            let scale = part.len() as f64 / (high - low);
            let (scale, cells) = if scale.is_normal() { (scale, part.len() as u32) } else { (0.0, 1) };
            let first = index.pieces.last().map_or(0, |piece| piece.last + 1);
            index.pieces.push(Piece { low, scale, first, last: first + cells - 1 });
            if piece > 0 {
                index.splits[piece - 1] = low;
            }
        }
        let cells = index.pieces[pieces - 1].last as usize + 1;
        let mut starts = Vec::with_capacity(cells + 1);
        for (place, value) in values.iter().enumerate() {
            let cell = index.cell(*value);
            while starts.len() <= cell {
                starts.push(place as u32);
            }
        }
        starts.resize(cells + 1, n as u32);
        index.starts = starts;
        index
    }

    /// How many of these numbers, those that the index was made of, lie below a value, which may be infinite.
    #[inline]
    pub(super) fn lower_bound(&self, values: &[f64], value: f64) -> usize {
        if self.starts.is_empty() {
            return if values.len() < FROM {
                values.iter().map(|other| usize::from(*other < value)).sum()
            } else {
                values.partition_point(|other| *other < value)
            };
        }
        let cell = self.cell(value);
        let start = self.starts[cell] as usize;
        // What lies in later cells is larger, so that a fixed number of comparisons needs no end, and no branch.
        let rest = &values[start..];
        let near = rest.first_chunk::<LOOK>().map_or(rest, |near| near);
        let below: usize = near.iter().map(|other| usize::from(*other < value)).sum();
        if below < LOOK {
            return start + below;
        }
        let end = self.starts[cell + 1] as usize;
        start + LOOK + values[start + LOOK..end].partition_point(|other| *other < value)
    }

    /// Never falls as the value grows, rounding included: numbers in lower cells lie below it.
    fn cell(&self, value: f64) -> usize {
        let piece = if self.pieces.len() == 1 {
            0
        } else {
            self.splits.iter().map(|split| usize::from(*split <= value)).sum::<usize>()
        };
        let Piece { low, scale, first, last } = self.pieces[piece];
        // Casting saturates: what lies below is in the first cell, what lies beyond in the last.
        let offset = ((value - low) * scale) as u32;
        first.saturating_add(offset).min(last) as usize
    }
}

impl fmt::Debug for Index {
    /// It follows from the numbers, so its size will do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({})", self.starts.len())
    }
}

const PIECES: usize = 16;
/// Fewer numbers are compared one by one.
const FROM: usize = 32;
/// More in a cell of equal width call for pieces.
const CROWDED: usize = 16;
/// So many numbers from the start of a cell on are looked at; few cells hold more.
const LOOK: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;
    use crate::sort::sort;

    #[test]
    fn places_are_those_of_a_search() {
        let mut random = SplitMix64::new(4);
        let mut lists: Vec<Vec<f64>> = vec![
            vec![],
            vec![1.0],
            (0..31).map(f64::from).collect(),
            (0..5000).map(f64::from).collect(),
            (0..1000).map(|i| 1.0 + f64::from(i) * f64::EPSILON).collect(),
            (0..100).map(|i| f64::from(i) * 5e-324).collect(),
            (-500..500).map(|i| f64::from(i) * 1e300).chain([-1.7e308, 1.7e308]).collect(),
            (0..2000).map(|_| random.uniform()).chain([1e9, -1e300, 1e-300]).collect(),
        ];
        lists.push((0..3000).map(|_| f64::from_bits(random.next())).filter(|x| x.is_finite()).collect());
        for list in lists {
            let mut values = sort(list);
            values.dedup();
            let index = Index::new(&values);
            let near = values.iter().flat_map(|x| [x.next_down(), *x, x.next_up(), x * 1.1, x + 0.3]);
            let far = [f64::NEG_INFINITY, f64::INFINITY, 0.0, -0.0, f64::MAX, f64::MIN, 0.5];
            for value in near.chain(far).filter(|value| !value.is_nan()) {
                let want = values.partition_point(|other| *other < value);
                assert_eq!(index.lower_bound(&values, value), want, "{value} of {}", values.len());
            }
        }
    }
}
