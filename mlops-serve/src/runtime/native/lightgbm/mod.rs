//! Models that LightGBM saves as text (`Booster.save_model`, versions v3 and v4).
//!
//! Features, thresholds, leaves and sums are 64-bit, as in LightGBM.

mod section;
mod tree;

use super::WIDEST;
use super::boosted::{Boosted, Convert};
use super::forest::{Forest, ForestSpec};
use crate::{Error, Result};
use section::{Section, parse};
use tree::{CATEGORY_NODES_EXTRA, tree};

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
