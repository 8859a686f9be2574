//! Models that LightGBM saves as text (`Booster.save_model`, versions v3 and v4).
//!
//! Features, thresholds, leaves and sums are 64-bit, as in LightGBM.

use std::collections::HashMap;
use std::str::FromStr;

use super::WIDEST;
use super::boosted::{Boosted, Convert};
use super::forest::{Comparison, Forest, ForestSpec, NodeSpec, Split};
use crate::{Error, Result};

/// Reads a model.
pub(super) fn read(text: &str) -> Result<Boosted<f64>> {
    let mut lines = text.lines().enumerate();
    let header = Section::read(&mut lines)?;
    if !header.has("tree") {
        return Err(Error::data("the text is no LightGBM model: its first line is not `tree`"));
    }
    let version = header.text("version")?;
    if !matches!(version, "v3" | "v4") {
        return Err(Error::unsupported(format!("LightGBM's format {version}: v3 and v4 are known")));
    }
    let targets: usize = header.one("num_tree_per_iteration")?;
    if targets == 0 {
        return Err(Error::data("a LightGBM model of no trees for each iteration"));
    }
    let last: usize = header.one("max_feature_idx")?;
    let features = last.checked_add(1).filter(|features| *features <= WIDEST);
    let features = features
        .ok_or_else(|| Error::unsupported(format!("features up to number {last}: {WIDEST} are the limit")))?;
    let convert = convert(header.optional("objective").unwrap_or_default())?;

    let mut spec = ForestSpec {
        features,
        targets,
        trees: Vec::new(),
        weights: Vec::new(),
        base: Vec::new(),
        base_first: false,
        divisor: None,
    };
    // A few bytes of text name many categories.
    let mut nodes_left = text.len() + CATEGORY_NODES_EXTRA;
    loop {
        let section = Section::read(&mut lines)?;
        if section.has("end of trees") {
            break;
        }
        let Some(name) = section.optional("Tree") else {
            return Err(Error::data("the LightGBM model ends before `end of trees`: it is truncated"));
        };
        let target = (spec.trees.len() % targets) as u32;
        let tree = tree(&section, target, &mut spec.weights, &mut nodes_left)
            .map_err(|error| error.context(format!("tree {name} of the LightGBM model")))?;
        spec.trees.push(tree);
    }
    let trees = spec.trees.len();
    if trees == 0 || !trees.is_multiple_of(targets) {
        return Err(Error::data(format!("{trees} trees for {targets} scores: want as many for each")));
    }
    if header.has("average_output") {
        spec.divisor = Some((spec.trees.len() / targets) as f64);
    }
    Ok(Boosted { forest: Forest::new(spec)?, convert })
}

/// Lines up to an empty one: names, with values where there are any.
struct Section<'a>(HashMap<&'a str, &'a str>);

impl<'a> Section<'a> {
    fn read(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Result<Self> {
        let mut fields = HashMap::new();
        for (index, line) in lines {
            let line = line.trim_end();
            if line.is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            if fields.insert(name, value).is_some() {
                return Err(Error::data(format!("line {} repeats `{name}`", index + 1)));
            }
        }
        Ok(Self(fields))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn optional(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn text(&self, name: &str) -> Result<&'a str> {
        self.optional(name).ok_or_else(|| Error::data(format!("`{name}` is missing")))
    }

    fn one<T: FromStr>(&self, name: &str) -> Result<T> {
        parse(name, self.text(name)?)
    }

    fn list<T: FromStr>(&self, name: &str) -> Result<Vec<T>> {
        self.optional(name)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|word| parse(name, word))
            .collect()
    }

    fn list_of<T: FromStr>(&self, name: &str, length: usize) -> Result<Vec<T>> {
        let list = self.list(name)?;
        if list.len() == length {
            return Ok(list);
        }
        Err(Error::data(format!("`{name}` has {} entries, want {length}", list.len())))
    }
}

fn parse<T: FromStr>(name: &str, word: &str) -> Result<T> {
    word.parse().map_err(|_| Error::data(format!("`{name}` is `{word}`: want a number")))
}

fn convert(objective: &str) -> Result<Convert> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let sigmoid = || {
        let slope = words.iter().find_map(|word| word.strip_prefix("sigmoid:"));
        slope.map_or(Ok(1.0), |slope| parse("sigmoid", slope))
    };
    Ok(match name {
        "regression" | "regression_l2" if words.contains(&"sqrt") => Convert::SignedSquare,
        "binary" | "multiclassova" => Convert::Logistic(sigmoid()?),
        "cross_entropy" | "xentropy" => Convert::Logistic(1.0),
        "cross_entropy_lambda" | "xentlambda" => Convert::SoftPlus,
        "multiclass" => Convert::Softmax,
        "poisson" | "gamma" | "tweedie" => Convert::Exp,
        "" | "regression" | "regression_l1" | "regression_l2" | "huber" | "fair" | "quantile" | "mape"
        | "lambdarank" | "rank_xendcg" | "custom" => Convert::Identity,
        other => return Err(Error::unsupported(format!("LightGBM's objective `{other}`"))),
    })
}

// The bits of `decision_type`.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING_SHIFT: u8 = 2;
const MISSING_ZERO: u8 = 1;
const MISSING_NAN: u8 = 2;
/// What LightGBM takes for zero.
const ZERO: f64 = 1e-35_f32 as f64;

/// Sets of categories become nodes: at most one for each byte of the text, and this many more.
const CATEGORY_NODES_EXTRA: usize = 1 << 16;

fn tree(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let refuse = |text: &str, part: &str| {
            let error = read(text).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        };
        let header =
            "tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=regression\n\n";
        let leaf = "Tree=0\nnum_leaves=1\nleaf_value=0.5\n\n";
        assert!(read(&format!("{header}{leaf}end of trees\n")).is_ok());
        refuse("", "first line is not `tree`");
        refuse("tree\nversion=v9\n", "format v9");
        refuse(&format!("{header}{leaf}"), "truncated");
        refuse(&header.replace("regression", "magic"), "objective `magic`");
        refuse(&format!("{header}{}end of trees\n", leaf.replace("0.5", "x")), "`leaf_value` is `x`");
        refuse(
            &format!("{header}{}end of trees\n", leaf.replace("num_leaves=1", "num_leaves=2")),
            "has 1 entries, want 2",
        );
        let split = "Tree=0\nnum_leaves=2\nsplit_feature=0\nthreshold=0\ndecision_type=2\nleft_child=-1\nright_child=-2\n\
                     leaf_value=1 2\n\nend of trees\n";
        assert!(read(&format!("{header}{split}")).is_ok());
        refuse(&format!("{header}{}", split.replace("right_child=-2", "right_child=-3")), "no child -3");
        refuse(&format!("{header}{}", split.replace("right_child=-2", "right_child=0")), "its own ancestor");
        refuse(&format!("{header}{}", split.replace("split_feature=0", "split_feature=7")), "feature 7");
        refuse(
            &format!("{header}{}", split.replace("decision_type=2", "decision_type=1")),
            "set of categories",
        );
        refuse(
            &format!("{header}{}", split.replace("num_leaves=2", "num_leaves=2\nis_linear=1")),
            "linear models",
        );
    }
}
