//! One tree of the text.

use super::section::Section;
use crate::runtime::native::forest::{Comparison, ForestSpec, NodeSpec, Split};
use crate::{Error, Result};

// The bits of `decision_type`.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING_SHIFT: u8 = 2;
const MISSING_ZERO: u8 = 1;
const MISSING_NAN: u8 = 2;
/// What LightGBM takes for zero.
const ZERO: f64 = 1e-35_f32 as f64;

/// Sets of categories become nodes: at most one for each byte of the text, and this many more.
pub(super) const CATEGORY_NODES_EXTRA: usize = 1 << 16;

pub(super) fn tree(
    section: &Section<'_>,
    target: u32,
    weights: &mut Vec<(u32, f64)>,
    nodes_left: &mut usize,
) -> Result<Vec<NodeSpec<f64>>> {
    if section.optional("is_linear").is_some_and(|linear| linear != "0") {
        return Err(Error::unsupported("linear models in the leaves"));
    }
    let leaves: usize = section.one("num_leaves")?;
    let values: Vec<f64> = section.list_of("leaf_value", leaves)?;
    let splits = leaves.checked_sub(1).ok_or_else(|| Error::data("a tree without leaves"))?;
    let features: Vec<u32> = section.list_of("split_feature", splits)?;
    let thresholds: Vec<f64> = section.list_of("threshold", splits)?;
    let decisions: Vec<u8> = section.list_of("decision_type", splits)?;
    let left: Vec<i64> = section.list_of("left_child", splits)?;
    let right: Vec<i64> = section.list_of("right_child", splits)?;
    let bounds: Vec<usize> = section.list("cat_boundaries")?;
    let bits: Vec<u32> = section.list("cat_threshold")?;

    // Splits first, in their order, so that the root is the first node; then the leaves.
    let mut tree = vec![NodeSpec::Leaf { first: 0, count: 0 }; splits];
    for value in values {
        let first = u32::try_from(weights.len()).map_err(|_| Error::unsupported("2^32 leaves"))?;
        tree.push(NodeSpec::Leaf { first, count: 1 });
        weights.push((target, value));
    }
    let child = |number: i64| {
        let place = if number < 0 {
            usize::try_from(!number).ok().map(|leaf| splits + leaf)
        } else {
            usize::try_from(number).ok().filter(|place| *place < splits)
        };
        let place = place.filter(|place| *place < splits + leaves);
        place.map(|place| place as u32).ok_or_else(|| Error::data(format!("there is no child {number}")))
    };
    for place in 0..splits {
        let (yes, no) = (child(left[place])?, child(right[place])?);
        let split =
            Split { feature: features[place], threshold: thresholds[place], yes, no, missing_yes: false };
        if decisions[place] & CATEGORICAL != 0 {
            let set = categories(thresholds[place], &bounds, &bits)?;
            let left = set.len().checked_mul(2).and_then(|nodes| nodes_left.checked_sub(nodes));
            *nodes_left =
                left.ok_or_else(|| Error::unsupported("sets of so many categories: encode them as numbers"))?;
            // NaN is in no set.
            ForestSpec::split_by_ranges(&mut tree, place, split, &edges(&set))?;
        } else {
            number_nodes(&mut tree, place, split, decisions[place])?;
        }
    }
    Ok(tree)
}

/// `x <= threshold`, with LightGBM's three ways to treat missing values.
fn number_nodes(
    tree: &mut Vec<NodeSpec<f64>>,
    place: usize,
    mut split: Split<f64>,
    decision: u8,
) -> Result<()> {
    let default_yes = decision & DEFAULT_LEFT != 0;
    let zero_yes = 0.0 <= split.threshold;
    // LightGBM takes numbers around zero for zero before it compares them.
    if split.threshold.abs() <= ZERO {
        split.threshold = if zero_yes { ZERO } else { (-ZERO).next_down() };
    }
    match (decision >> MISSING_SHIFT) & 3 {
        MISSING_NAN => split.missing_yes = default_yes,
        MISSING_ZERO => {
            split.missing_yes = default_yes;
            // Zeros are missing: they leave the numbers where they would go another way.
            if zero_yes != default_yes {
                let default = if default_yes { split.yes } else { split.no };
                let numbers = push(tree);
                let near = push(tree);
                ForestSpec::split(tree, numbers as usize, Comparison::LessOrEqual, split)?;
                let zero = Split { threshold: ZERO, yes: default, no: numbers, missing_yes: true, ..split };
                ForestSpec::split(tree, near as usize, Comparison::LessOrEqual, zero)?;
                let below = Split { threshold: -ZERO, yes: numbers, no: near, missing_yes: false, ..split };
                return ForestSpec::split(tree, place, Comparison::Less, below);
            }
        }
        // NaN counts as zero.
        _ => split.missing_yes = zero_yes,
    }
    ForestSpec::split(tree, place, Comparison::LessOrEqual, split)
}

/// The categories of a split, as ranges `from..to`.
fn categories(index: f64, bounds: &[usize], bits: &[u32]) -> Result<Vec<(u32, u32)>> {
    let first = index as usize;
    let next = first.checked_add(1).and_then(|next| bounds.get(next));
    let words = match (bounds.get(first), next) {
        (Some(from), Some(to)) if index >= 0.0 => bits.get(*from..*to),
        _ => None,
    };
    let words = words.ok_or_else(|| Error::data(format!("there is no set of categories {index}")))?;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (word, bits) in words.iter().enumerate() {
        for bit in (0..32).filter(|bit| bits >> bit & 1 == 1) {
            // A set of 2^27 words would take a gigabyte of text.
            let category = u32::try_from(word * 32 + bit).map_err(|_| Error::data("2^32 categories"))?;
            match ranges.last_mut() {
                Some((_, to)) if *to == category => *to += 1,
                _ => ranges.push((category, category + 1)),
            }
        }
    }
    Ok(ranges)
}

/// Where membership changes, from outside at minus infinity. Fractions are cut off, so that category 0 begins
/// above -1.
fn edges(ranges: &[(u32, u32)]) -> Vec<f64> {
    let edges = |(from, to): &(u32, u32)| {
        [if *from == 0 { (-1.0_f64).next_up() } else { f64::from(*from) }, f64::from(*to)]
    };
    ranges.iter().flat_map(edges).collect()
}

/// Room for a node at the end of the tree, to be filled by the caller.
fn push(tree: &mut Vec<NodeSpec<f64>>) -> u32 {
    tree.push(NodeSpec::Leaf { first: 0, count: 0 });
    // A tree is read from text: it has fewer than 2^32 nodes.
    (tree.len() - 1) as u32
}
