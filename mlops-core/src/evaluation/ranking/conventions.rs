//! Where the tools disagree, and what each does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ranking;
use crate::Result;

/// The order of items with equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// As they were given.
    #[default]
    AsGiven,
    /// The last one given comes first: scikit-learn with `ignore_ties` on short lists.
    LastFirst,
    /// No order: DCG and NDCG are the mean over all orders. Everything else takes the last one given first.
    Averaged,
    /// By name, ascending: the MS MARCO script, which ir_measures uses for RR at k.
    NameAscending,
    /// By name, descending, after rounding scores to single precision: trec_eval.
    NameDescending,
}

/// How much an item of some relevance adds to DCG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// The relevance itself: K. Jarvelin, J. Kekalainen, "Cumulated gain-based evaluation of IR techniques", 2002.
    #[default]
    Linear,
    /// 2^relevance - 1: C. Burges and others, "Learning to rank using gradient descent", 2005.
    Exponential,
}

/// What average precision at k divides by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApDenominator {
    /// All relevant items: trec_eval, ranx, Spark. A perfect list shorter than them stays below 1.
    #[default]
    Relevant,
    /// All relevant items, but at most k: a perfect list is 1.
    RelevantUpToK,
    /// The relevant items that were found among the first k: torchmetrics. Not finding some costs nothing.
    Hits,
}

/// What a query without any relevant item does to the mean over queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoRelevant {
    /// It counts 0.
    #[default]
    Zero,
    /// It is left out.
    Skip,
}

/// What a judged query without any answer does to the mean over queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswer {
    /// It counts 0: ir_measures.
    #[default]
    Zero,
    /// It is left out: trec_eval without `-c`, pytrec_eval.
    Skip,
}

/// The choices where tools disagree. The default is the least surprising set: ties as given, linear gain, all
/// relevant items as denominator, and every query counts.
///
/// ```
/// use mlops_core::evaluation::ranking::{Conventions, Ranking};
///
/// // Three items tied, only the first is relevant.
/// let named = [("a", 1.0), ("b", 0.0), ("c", 0.0)];
/// let answers = [("a", 0.5), ("b", 0.5), ("c", 0.5)];
/// let rank = |conventions| Ranking::from_names(&named, &answers, conventions).map(|list| list.reciprocal_rank(None));
/// assert_eq!(rank(Conventions::ranx())?, 1.0);
/// assert_eq!(rank(Conventions::trec_eval())?, 1.0 / 3.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conventions {
    /// The order of items with equal scores.
    pub ties: Ties,
    /// The gain in DCG.
    pub gain: Gain,
    /// The denominator of average precision at k.
    pub ap_denominator: ApDenominator,
    /// Queries without any relevant item.
    pub no_relevant: NoRelevant,
    /// Judged queries without any answer.
    pub no_answer: NoAnswer,
}

impl Conventions {
    /// scikit-learn 1.9: `ndcg_score` and `dcg_score`.
    pub fn sklearn() -> Self {
        Self { ties: Ties::Averaged, ..Self::default() }
    }

    /// trec_eval 9, and pytrec_eval.
    pub fn trec_eval() -> Self {
        Self { ties: Ties::NameDescending, no_answer: NoAnswer::Skip, ..Self::default() }
    }

    /// ranx 0.3: the same as the default.
    pub fn ranx() -> Self {
        Self::default()
    }
}

/// Numbers by query and item: relevances that were judged, or scores that were answered.
pub type Judgements = BTreeMap<String, BTreeMap<String, f64>>;

/// The ranking of every judged query, in order of name; answers to queries that nobody judged are left out.
///
/// The answers of a query come in order of name, so [`Ties::AsGiven`] means that order.
///
/// # Errors
/// `Data` if a relevance is negative or a number is not finite.
pub fn rankings(
    judged: &Judgements,
    answered: &Judgements,
    conventions: Conventions,
) -> Result<Vec<(String, Ranking)>> {
    let mut found = Vec::new();
    for (query, relevance) in judged {
        let answers = answered.get(query);
        if answers.is_none() && conventions.no_answer == NoAnswer::Skip {
            continue;
        }
        let relevance: Vec<_> = relevance.iter().map(|(item, value)| (item.as_str(), *value)).collect();
        let answers = answers.into_iter().flatten();
        let answers: Vec<_> = answers.map(|(item, score)| (item.as_str(), *score)).collect();
        let ranking = Ranking::from_names(&relevance, &answers, conventions);
        let ranking = ranking.map_err(|error| error.context(format!("cannot rank query `{query}`")))?;
        found.push((query.clone(), ranking));
    }
    Ok(found)
}
