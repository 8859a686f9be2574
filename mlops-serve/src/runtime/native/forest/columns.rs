//! Comparisons of one form: every split sends a cell to its second child if `cell >= threshold`.
//!
//! NaN is not, so it goes to the first child. A split that sends NaN where large numbers go compares the
//! negated feature instead, with its children exchanged: `x < t` is `-x >= successor(-t)`, exactly. So no
//! kernel looks for NaN, and none has a second comparison.

use std::collections::HashMap;

use super::spec::{ForestSpec, NodeSpec, Real, Split};

/// Columns are numbered with 8 bits: an index into a row of so many needs no check of its bounds.
pub(super) const COLUMNS: usize = 256;

/// The features that the splits of a forest compare, as they are or negated, in the order of first use.
#[derive(Debug, Default)]
pub(super) struct Columns {
    features: Vec<(u32, bool)>,
    numbers: HashMap<(u32, bool), u8>,
}

/// A split in that form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<T> {
    pub(super) column: u8,
    pub(super) threshold: T,
    pub(super) first: u32,
    pub(super) second: u32,
}

impl Columns {
    /// The columns of a forest; `None` if there are too many.
    pub(super) fn of<T: Real>(spec: &ForestSpec<T>) -> Option<Self> {
        let mut columns = Self::default();
        for node in spec.trees.iter().flatten() {
            let NodeSpec::Split(split) = node else { continue };
            let key = (split.feature, !split.missing_yes);
            if !columns.numbers.contains_key(&key) {
                columns.numbers.insert(key, u8::try_from(columns.features.len()).ok()?);
                columns.features.push(key);
            }
        }
        Some(columns)
    }

    /// A split of the forest that the columns are of.
    pub(super) fn step<T: Real>(&self, split: &Split<T>) -> Step<T> {
        let Split { feature, threshold, yes, no, missing_yes } = *split;
        let column = self.numbers.get(&(feature, !missing_yes)).copied().unwrap_or_default();
        if missing_yes {
            return Step { column, threshold, first: yes, second: no };
        }
        let threshold = match -threshold {
            // Every number goes to `yes`, NaN does not.
            negated if negated.missing() => T::NEG_INFINITY,
            // No number is below minus infinity.
            negated if negated.infinite() => T::NAN,
            negated => negated.successor(),
        };
        Step { column, threshold, first: no, second: yes }
    }

    /// The number of columns.
    pub(super) fn len(&self) -> usize {
        self.features.len()
    }

    /// The feature of each column, and whether it is negated.
    pub(super) fn features(&self) -> impl Iterator<Item = (u32, bool)> {
        self.features.iter().copied()
    }

    /// The cells of a row, by column.
    #[inline(always)]
    pub(super) fn pick<T: Real>(&self, row: &[T], mut put: impl FnMut(usize, T)) {
        for (column, (feature, negated)) in self.features.iter().enumerate().take(COLUMNS) {
            let value = row[*feature as usize];
            put(column, if *negated { -value } else { value });
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.features.len() * (size_of::<(u32, bool)>() + size_of::<((u32, bool), u8)>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_sends_every_value_where_the_split_does() {
        let values = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::from_bits(1),
            -0.0,
            0.0,
            f32::from_bits(1),
            1.0,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ];
        for threshold in values {
            for missing_yes in [true, false] {
                let split = Split { feature: 0, threshold, yes: 1, no: 2, missing_yes };
                let tree = vec![
                    NodeSpec::Split(split),
                    NodeSpec::Leaf { first: 0, count: 1 },
                    NodeSpec::Leaf { first: 0, count: 1 },
                ];
                let spec = ForestSpec {
                    features: 1,
                    targets: 1,
                    trees: vec![tree],
                    weights: vec![(0, 0.0)],
                    base: vec![],
                    base_first: false,
                    divisor: None,
                };
                let columns = Columns::of(&spec).unwrap();
                let step = columns.step(&split);
                for value in values {
                    let no = if value.is_nan() { !missing_yes } else { value >= threshold };
                    let mut cell = 0.0;
                    columns.pick(&[value], |_, value| cell = value);
                    let got = if cell >= step.threshold { step.second } else { step.first };
                    assert_eq!(got, if no { 2 } else { 1 }, "{value} at {threshold}, missing {missing_yes}");
                }
            }
        }
    }
}
