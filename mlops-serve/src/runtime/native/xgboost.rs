//! Models that XGBoost saves as JSON or UBJSON (`Booster.save_model`, version 1.3 and later).
//!
//! Features, thresholds, leaves and sums are 32-bit, as in XGBoost.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::boosted::{Boosted, Convert};
use super::forest::{Comparison, Forest, ForestSpec, NodeSpec, Split};
use super::{WIDEST, ubjson};
use crate::{Error, Result};

#[derive(Deserialize)]
struct File {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    gradient_booster: Booster,
    learner_model_param: Parameters,
    objective: Objective,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    trees: Vec<Tree>,
    tree_info: Vec<i64>,
}

#[derive(Deserialize)]
struct Parameters {
    base_score: String,
    num_class: String,
    num_feature: String,
    #[serde(default)]
    num_target: Option<String>,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Tree {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<u32>,
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<u8>,
    /// The categories of all splits by categories; `categories_nodes` says of which node, the two below where.
    #[serde(default)]
    categories: Vec<i64>,
    #[serde(default)]
    categories_nodes: Vec<i64>,
    #[serde(default)]
    categories_segments: Vec<i64>,
    #[serde(default)]
    categories_sizes: Vec<i64>,
}

/// Up to version 1.5 a truth value, then a number.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// Takes nothing but a truth value or a number: whatever else a file has there is not even held for a moment.
struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a truth value, 0 or 1")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<Flag, E> {
        Ok(Flag(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<Flag, E> {
        Ok(Flag(value != 0))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Flag, E> {
        Ok(Flag(value != 0))
    }
}

/// Reads a model.
pub(super) fn read(bytes: &[u8]) -> Result<Boosted<f32>> {
    let file: File = if ubjson::begins(bytes) {
        ubjson::from_slice(bytes)
            .map_err(|error| Error::data("the bytes are no XGBoost model in UBJSON").with_source(error))?
    } else {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::data("the bytes are no XGBoost model in JSON").with_source(error))?
    };
    let Learner { gradient_booster, learner_model_param: parameters, objective } = file.learner;
    let (name, model) = (gradient_booster.name, gradient_booster.model);
    let (Some(model), "gbtree") = (model, name.as_str()) else {
        return Err(Error::unsupported(format!("XGBoost's booster `{name}`: want gbtree")));
    };
    let features: usize = number("num_feature", &parameters.num_feature)?;
    let classes: usize = number("num_class", &parameters.num_class)?;
    if !matches!(parameters.num_target.as_deref(), None | Some("0" | "1")) {
        return Err(Error::unsupported("an XGBoost model of several targets"));
    }
    let targets = classes.max(1);
    if features > WIDEST {
        return Err(Error::unsupported(format!("{features} features: {WIDEST} are the limit")));
    }
    if targets > model.trees.len() {
        let trees = model.trees.len();
        return Err(Error::data(format!("{trees} trees for {targets} classes: want one each")));
    }
    let (convert, margin) = convert(&objective.name)?;
    let base = base_score(&parameters.base_score, targets, margin)?;
    if model.tree_info.len() != model.trees.len() {
        let (trees, targets) = (model.trees.len(), model.tree_info.len());
        return Err(Error::data(format!("{trees} trees and {targets} places of trees")));
    }

    let mut weights = Vec::new();
    let trees = model.trees.iter().zip(&model.tree_info).enumerate().map(|(index, (tree, target))| {
        let target = u32::try_from(*target).map_err(|_| Error::data(format!("a tree of class {target}")))?;
        tree.nodes(target, &mut weights)
            .map_err(|error| error.context(format!("tree {index} of the XGBoost model")))
    });
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let spec = ForestSpec { features, targets, trees, weights, base, base_first: true, divisor: None };
    Ok(Boosted { forest: Forest::new(spec)?, convert })
}

impl Tree {
    fn nodes(&self, target: u32, weights: &mut Vec<(u32, f32)>) -> Result<Vec<NodeSpec<f32>>> {
        let count = self.left_children.len();
        let lengths = [
            self.right_children.len(),
            self.split_indices.len(),
            self.split_conditions.len(),
            self.default_left.len(),
        ];
        if let Some(length) = lengths.into_iter().find(|length| *length != count) {
            return Err(Error::data(format!("{length} entries for {count} nodes")));
        }
        let sets = self.sets(count)?;
        let mut tree = vec![NodeSpec::Leaf { first: 0, count: 0 }; count];
        for place in 0..count {
            let value = self.split_conditions[place];
            if self.left_children[place] == -1 {
                let first = u32::try_from(weights.len()).map_err(|_| Error::unsupported("2^32 leaves"))?;
                tree[place] = NodeSpec::Leaf { first, count: 1 };
                weights.push((target, value));
                continue;
            }
            let child = |number: i64| {
                u32::try_from(number).map_err(|_| Error::data(format!("node {place} has the child {number}")))
            };
            let split = Split {
                feature: self.split_indices[place],
                threshold: value,
                yes: child(self.left_children[place])?,
                no: child(self.right_children[place])?,
                missing_yes: self.default_left[place].0,
            };
            if self.split_type.get(place).is_none_or(|kind| *kind == 0) {
                ForestSpec::split(&mut tree, place, Comparison::Less, split)?;
                continue;
            }
            let Some(Some(set)) = sets.get(place) else {
                return Err(Error::data(format!("node {place} splits by categories and has none")));
            };
            // The categories go right; what is unknown, negative or too large goes left.
            let split = Split { yes: split.no, no: split.yes, missing_yes: !split.missing_yes, ..split };
            ForestSpec::split_by_ranges(&mut tree, place, split, &edges(set)?)?;
        }
        Ok(tree)
    }

    /// The categories of each node that splits by them.
    fn sets(&self, nodes: usize) -> Result<Vec<Option<&[i64]>>> {
        let mut sets = vec![None; if self.categories_nodes.is_empty() { 0 } else { nodes }];
        let count = self.categories_nodes.len();
        if self.categories_segments.len() != count || self.categories_sizes.len() != count {
            return Err(Error::data(format!(
                "{count} nodes split by categories, with another number of sets"
            )));
        }
        // Sets that overlap would be a small file, and a forest without a limit.
        let named = self.categories_sizes.iter().fold(0_i64, |sum, size| sum.saturating_add((*size).max(0)));
        if named > self.categories.len() as i64 {
            let there = self.categories.len();
            return Err(Error::data(format!("sets of {named} categories, of which {there} are there")));
        }
        let places = self.categories_nodes.iter().zip(&self.categories_segments).zip(&self.categories_sizes);
        for ((node, from), size) in places {
            let place = |number: &i64| usize::try_from(*number).ok();
            let range =
                place(from).zip(place(size)).and_then(|(from, size)| Some(from..from.checked_add(size)?));
            let set = range.and_then(|range| self.categories.get(range));
            match (place(node).and_then(|node| sets.get_mut(node)), set) {
                (Some(own @ None), Some(set)) => *own = Some(set),
                _ => {
                    return Err(Error::data(format!(
                        "the categories of node {node} are not there, or twice"
                    )));
                }
            }
        }
        Ok(sets)
    }
}

/// Where membership of categories changes. Fractions are cut off by XGBoost, negative numbers are in no set.
fn edges(set: &[i64]) -> Result<Vec<f32>> {
    /// From here on not every whole number has a 32-bit float.
    const CATEGORIES: i64 = 1 << 24;
    let mut set = set.to_vec();
    set.sort_unstable();
    set.dedup();
    if let Some(category) = set.iter().find(|category| !(0..CATEGORIES).contains(*category)) {
        return Err(Error::data(format!("the category {category}: want 0 to {}", CATEGORIES - 1)));
    }
    let mut edges: Vec<f32> = Vec::new();
    for category in set {
        match edges.last_mut() {
            Some(end) if *end == category as f32 => *end += 1.0,
            _ => edges.extend([category as f32, (category + 1) as f32]),
        }
    }
    Ok(edges)
}

/// How the saved base score becomes a raw score.
#[derive(Clone, Copy)]
enum Margin {
    Same,
    LogOdds,
    Log,
}

fn convert(objective: &str) -> Result<(Convert, Margin)> {
    Ok(match objective {
        "binary:logistic" | "reg:logistic" => (Convert::Logistic(1.0), Margin::LogOdds),
        "binary:logitraw" => (Convert::Identity, Margin::LogOdds),
        "binary:hinge" => (Convert::Step, Margin::Same),
        "multi:softprob" => (Convert::Softmax, Margin::Same),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" => (Convert::Exp, Margin::Log),
        "reg:squarederror"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map" => (Convert::Identity, Margin::Same),
        other => return Err(Error::unsupported(format!("XGBoost's objective `{other}`"))),
    })
}

/// `5E-1` for all targets, or `[5E-1,2E-1]`, one for each.
fn base_score(text: &str, targets: usize, margin: Margin) -> Result<Vec<f32>> {
    let list = text.trim().trim_start_matches('[').trim_end_matches(']');
    let scores: Vec<f32> = list.split(',').map(|word| number("base_score", word)).collect::<Result<_>>()?;
    let scores = match scores.len() {
        1 => vec![scores[0]; targets],
        length if length == targets => scores,
        length => return Err(Error::data(format!("{length} base scores for {targets} targets"))),
    };
    let margin = |score: f32| match margin {
        Margin::Same => score,
        Margin::LogOdds => -(1.0 / score - 1.0).ln(),
        Margin::Log => score.ln(),
    };
    let margins: Vec<f32> = scores.into_iter().map(margin).collect();
    if margins.iter().all(|margin| margin.is_finite()) {
        return Ok(margins);
    }
    Err(Error::data(format!("the base score {text} is not possible for the objective")))
}

fn number<T: std::str::FromStr>(name: &str, word: &str) -> Result<T> {
    word.trim().parse().map_err(|_| Error::data(format!("`{name}` is `{word}`: want a number")))
}
