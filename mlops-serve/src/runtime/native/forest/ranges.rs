//! Splits by sets of numbers, as search trees of comparisons.

use super::spec::{Comparison, ForestSpec, NodeSpec, Real, Split};
use crate::Result;

impl<T: Real> ForestSpec<T> {
    /// Appends a split to `tree` at `place` that goes to `yes` within ranges, as comparisons that search them.
    /// `edges` are where the ranges begin and end, ascending: the first range starts at the first, which it has, and
    /// ends before the second. The threshold of `split` is not read. At most as many nodes as edges are added.
    pub(in crate::runtime::native) fn split_by_ranges(
        tree: &mut Vec<NodeSpec<T>>,
        place: usize,
        split: Split<T>,
        edges: &[T],
    ) -> Result<()> {
        if edges.is_empty() {
            let next = if split.missing_yes { split.yes } else { split.no };
            let outside = Split {
                threshold: T::NAN,
                yes: split.no,
                no: next,
                missing_yes: !split.missing_yes,
                ..split
            };
            tree[place] = NodeSpec::Split(outside);
            return Ok(());
        }
        search(tree, Some(place), split, edges, 0).map(|_| ())
    }
}

/// The place of the node that decides between `edges`, of which `first` are below all of them.
fn search<T: Real>(
    tree: &mut Vec<NodeSpec<T>>,
    own: Option<usize>,
    split: Split<T>,
    edges: &[T],
    first: usize,
) -> Result<u32> {
    if edges.is_empty() {
        let inside = first % 2 == 1;
        return Ok(if inside { split.yes } else { split.no });
    }
    let place = own.unwrap_or_else(|| {
        tree.push(NodeSpec::Leaf { first: 0, count: 0 });
        tree.len() - 1
    });
    let middle = edges.len() / 2;
    let below = search(tree, None, split, &edges[..middle], first)?;
    let above = search(tree, None, split, &edges[middle + 1..], first + middle + 1)?;
    // NaN goes below everything, which is outside, or between the first two edges, which is inside.
    let missing_yes = !split.missing_yes || first + middle >= 1;
    let node = Split { threshold: edges[middle], yes: below, no: above, missing_yes, ..split };
    ForestSpec::split(tree, place, Comparison::Less, node)?;
    // Forests of 2^31 nodes are refused.
    Ok(place as u32)
}
